"""gradient-free-optimizers (Blanke, 2020) through its ask/tell classes.

They want evaluations to begin with: here ``n_startup_trials`` random legal configurations of our
own. A forbidden proposal, which few of them avoid by themselves, is told with the worst value so
far. Floats are continuous on the unit interval, so that a log scale is one, and choices are
lists. Its scores are maximised.

Annealing accepts a worse point by the difference of two scores divided by their sum. That has the
right sign for positive scores alone: with negative ones it accepts everything. So it is told
exp(-value / spread), and the quotient is tanh(difference / 2 spread).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, checked, no_legal
from carps_like.space import Cube, Param, Sampler
from carps_like.trial import Configuration, Result, Trial, Value

_ANNEALING = frozenset({"SimulatedAnnealingOptimizer", "ParallelTemperingOptimizer"})


def dimension(param: Param) -> Any:
    """(lower, upper) is continuous, a list is categorical, an array is ordered."""
    if param.kind == "float" or (param.kind == "int" and param.log):
        return (0.0, 1.0)
    if param.kind == "int":
        return np.arange(int(param.lower), int(param.upper) + 1)
    places = list(range(len(param.choices)))
    return places if param.kind == "categorical" else np.array(places)


def encode(param: Param, value: Value) -> Any:
    if param.choices:
        return param.choices.index(value)
    return value if param.kind == "int" and not param.log else param.to_unit(value)


def decode(param: Param, x: Any) -> Value:
    if param.choices:
        return param.choices[int(x)]
    return int(x) if param.kind == "int" and not param.log else param.from_unit(float(x))


class GradientFree(Optimizer):
    """``optimizer`` is a class of ``gradient_free_optimizers.ask_tell``, with or without the
    ending ``Optimizer``. One trial at a time.
    """

    capabilities = Capabilities(parallel=False, global_seeds=True, learns=300)
    requires = ("gradient_free_optimizers",)
    extra = "gfo"

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        optimizer: str,
        n_startup_trials: int = 10,
        **options: Any,
    ) -> None:
        from gradient_free_optimizers import ask_tell

        name = optimizer if hasattr(ask_tell, optimizer) else f"{optimizer}Optimizer"
        if not hasattr(ask_tell, name):
            hint = did_you_mean(name, ask_tell.__all__)
            raise BadValue(f"gradient_free_optimizers has no optimizer {optimizer!r}{hint}")
        self._class = getattr(ask_tell, name)
        self._options = checked(self._class, options, ("search_space", "random_state"))
        self._seed = seed % 2**31
        self._cube = Cube(task.checker)
        self._sampler = Sampler(task.checker, seed)
        self._startup = n_startup_trials
        self._told: list[tuple[dict[str, Any], float]] = []
        self._center, self._spread = 0.0, 0.0  # of the values to begin with, where they matter
        self._optimizer: Any = None
        self._worst = -np.inf

    def _encoded(self, config: Configuration) -> dict[str, Any]:
        return {p.name: encode(p, config.get(p.name, p.default)) for p in self._cube.params}

    def _config(self, x: dict[str, Any]) -> dict[str, Value]:
        return self._cube.complete({p.name: decode(p, x[p.name]) for p in self._cube.params})

    def ask(self) -> Trial:
        if self._optimizer is None:
            if len(self._told) < self._startup:
                return Trial(self._sampler.sample())
            if self._class.__name__ in _ANNEALING:
                values = [value for _, value in self._told]
                self._center, self._spread = float(np.median(values)), float(np.std(values)) or 1.0
            self._optimizer = self._class(
                {p.name: dimension(p) for p in self._cube.params},
                initial_evaluations=[(x, self._score(value)) for x, value in self._told],
                random_state=self._seed,
                **self._options,
            )
        for _ in range(TRIES):
            (x,) = self._optimizer.ask(n=1)
            config = self._config(x)
            if not self._cube.checker.forbidden(config):
                return Trial(config)
            self._optimizer.tell([self._score(self._worst)])
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        self._worst = max(self._worst, result.value)
        if self._optimizer is None:
            self._told.append((self._encoded(trial.config), result.value))
        else:
            self._optimizer.tell([self._score(result.value)])

    def _score(self, value: float) -> float:
        if not self._spread:
            return -value
        return float(np.exp(np.clip((self._center - value) / self._spread, -300.0, 300.0)))


class ParallelTempering(GradientFree):
    """Its temperatures stay between 1 and 9 for an energy below 1, so that it begins slowly."""

    capabilities = replace(GradientFree.capabilities, learns=3000)
