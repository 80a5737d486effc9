"""scikit-optimize (Head et al., 2018): sequential model-based optimization.

It proposes one point until it is told the outcome, hence no parallel asks. A forbidden proposal
is told with the worst value so far.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, construct, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value


def dimension(param: Param) -> Any:
    """The hyperparameter as a dimension of skopt's; choices by position."""
    from skopt.space import Categorical, Integer, Real

    if param.kind == "categorical":
        return Categorical([str(i) for i in range(len(param.choices))])
    if param.kind == "ordinal":
        return Integer(0, len(param.choices) - 1)
    prior = "log-uniform" if param.log else "uniform"
    if param.kind == "int":
        return Integer(int(param.lower), int(param.upper), prior=prior)
    return Real(param.lower, param.upper, prior=prior)


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


class Skopt(Optimizer):
    """``base_estimator``: RF (random forest), ET (extra trees) or GP."""

    capabilities = Capabilities(parallel=False)
    requires = ("skopt",)
    extra = "skopt"

    def __init__(
        self, task: TaskDescription, seed: int, base_estimator: str, **options: Any
    ) -> None:
        import skopt

        self._cube = Cube(task.checker)
        self._optimizer = construct(
            skopt.Optimizer,
            options,
            dimensions=[dimension(p) for p in self._cube.params],
            base_estimator=base_estimator,
            random_state=np.random.RandomState(seed % 2**32),
        )
        self._worst: float | None = None

    def ask(self) -> Trial | None:
        for _ in range(TRIES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of points evaluated before
                x = self._optimizer.ask()
            config = self._cube.complete(
                {p.name: value(p, v) for p, v in zip(self._cube.params, x, strict=True)}
            )
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=x)
            self._tell(x, 0.0 if self._worst is None else self._worst)
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        value = result.value
        self._worst = value if self._worst is None else max(value, self._worst)
        self._tell(trial.tag, value)

    def _tell(self, x: Any, value: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lbfgs
            self._optimizer.tell(x, value)


class GaussianProcess(Skopt):
    """A Gaussian process, whose noise is estimated; one of three acquisitions, by their gains."""

    capabilities = replace(Skopt.capabilities, noise=True)
