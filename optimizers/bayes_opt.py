"""bayesian-optimization 3 (Nogueira, 2014): a Gaussian process on the unit cube of the space.

It maximises, and knows floats only; integers and choices are rounded coordinates. It has no log
scale of its own, the unit cube has. A forbidden proposal is told with the worst value so far.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, construct, no_legal
from carps_like.space import Cube
from carps_like.trial import Result, Trial

_ACQUISITIONS = {
    "ei": "ExpectedImprovement",
    "ucb": "UpperConfidenceBound",
    "poi": "ProbabilityOfImprovement",
}
_XI = {"ei": {"xi": 0.01}, "poi": {"xi": 0.01}, "ucb": {}}  # required by two of them


class BayesOpt(Optimizer):
    """``acquisition``: ei, ucb or poi; ``options`` go to its constructor (``kappa``, ``xi``).

    The first ``init_points`` are uniform, five as in the library's ``maximize``.
    """

    capabilities = Capabilities(parallel=False)
    requires = ("bayes_opt",)

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        acquisition: str,
        init_points: int = 5,
        **options: Any,
    ) -> None:
        from bayes_opt import BayesianOptimization
        from bayes_opt import acquisition as functions

        if acquisition not in _ACQUISITIONS:
            hint = did_you_mean(acquisition, _ACQUISITIONS, f"one of {', '.join(_ACQUISITIONS)}")
            raise BadValue(f"bayes_opt has no acquisition {acquisition!r}{hint}")
        self._cube = Cube(task.checker)
        self._rng = np.random.RandomState(seed % 2**32)
        self._init = init_points
        function = construct(
            getattr(functions, _ACQUISITIONS[acquisition]), _XI[acquisition] | options
        )
        self._names = [f"x{i:04}" for i in range(self._cube.dimension)]
        self._optimizer = BayesianOptimization(
            f=None,
            acquisition_function=function,
            pbounds=dict.fromkeys(self._names, (0.0, 1.0)),
            random_state=self._rng,
            verbose=0,
            allow_duplicate_points=True,
        )
        self._told = 0
        self._worst = -np.inf

    def ask(self) -> Trial:
        for _ in range(TRIES):
            x = self._suggest()
            config = self._cube.config([x[name] for name in self._names])
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=x)
            if self._told >= self._init:
                self._optimizer.register(params=x, target=-self._worst)
        raise no_legal(self._cube.checker.where)

    def _suggest(self) -> dict[str, float]:
        if self._told < self._init:
            values = self._rng.uniform(size=len(self._names)).tolist()
            return dict(zip(self._names, values, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Gaussian process's fit
            found = self._optimizer.suggest()
        return {name: min(1.0, max(0.0, float(x))) for name, x in found.items()}

    def tell(self, trial: Trial, result: Result) -> None:
        self._told += 1
        self._worst = max(self._worst, result.value)
        self._optimizer.register(params=trial.tag, target=-result.value)
