"""Ax (Olson et al., 2025) through its ``Client``, which chooses the method by the space.

Failed trials are marked as failed. A forbidden proposal is told to be as bad as the worst trial: a
failed one leaves no trace in the model, which would propose it again.
"""

from __future__ import annotations

import logging
from typing import Any

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._common import TRIES, checked, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value


def parameter(name: str, param: Param) -> Any:
    """The hyperparameter as one of Ax's, under a name that its expressions can hold."""
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if param.choices:
        places = list(range(len(param.choices)))
        ordered = param.kind == "ordinal"
        return ChoiceParameterConfig(name, places, "int", is_ordered=ordered)
    kind = "int" if param.kind == "int" else "float"
    ends = (int(param.lower), int(param.upper)) if kind == "int" else (param.lower, param.upper)
    return RangeParameterConfig(name, ends, kind, scaling="log" if param.log else "linear")


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


class Ax(Optimizer):
    """``options`` go to ``configure_generation_strategy``: ``method`` (fast, quality,
    random_search), ``initialization_budget``, ...
    """

    capabilities = Capabilities(constraints=True, noise=True, global_seeds=True)
    requires = ("ax",)

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        from ax.api.client import Client

        logging.getLogger("ax").setLevel(logging.WARNING)
        self._cube = Cube(task.checker)
        self._only = {p.name: p.choices[0] for p in self._cube.params if len(p.choices) == 1}
        self._names = {
            f"x{i:04}": p for i, p in enumerate(self._cube.params) if p.name not in self._only
        }
        self._objectives = [f"o{i}" for i in range(len(task.objectives))]
        self._constraints = [f"c{i}" for i in range(len(task.constraints))]
        client = Client(random_seed=seed % 2**31)
        client.configure_experiment([parameter(n, p) for n, p in self._names.items()])
        client.configure_optimization(
            ", ".join(f"-{name}" for name in self._objectives),
            outcome_constraints=[f"{name} <= 0" for name in self._constraints] or None,
        )
        strategy = client.configure_generation_strategy
        strategy(initialization_random_seed=seed % 2**31, **checked(strategy, options))
        self._client = client
        self._worst: dict[str, float] = {}  # of each objective and constraint

    def ask(self) -> Trial:
        for _ in range(TRIES):
            found = self._client.get_next_trials(max_trials=1)
            if not found:
                raise Exhausted
            ((index, x),) = found.items()
            values = {p.name: value(p, x[name]) for name, p in self._names.items()}
            config = self._cube.complete(values | self._only)
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=index)
            self._reject(index)
        raise no_legal(self._cube.checker.where)

    def _reject(self, index: int) -> None:
        if self._worst:
            self._client.complete_trial(index, raw_data=self._worst)
        else:
            self._client.mark_trial_failed(index)

    def tell(self, trial: Trial, result: Result) -> None:
        if not result.ok:
            self._client.mark_trial_failed(trial.tag)
            return
        data = dict(zip(self._objectives, result.values, strict=True))
        data |= dict(zip(self._constraints, result.constraints, strict=True))
        self._worst = {name: max(x, self._worst.get(name, x)) for name, x in data.items()}
        self._client.complete_trial(trial.tag, raw_data=data)


class AxMany(Ax):
    """The same for several objectives."""

    capabilities = Capabilities(
        multi_objective=True,
        single_objective=False,
        constraints=True,
        noise=True,
        global_seeds=True,
    )
