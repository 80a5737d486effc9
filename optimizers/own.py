"""Optimizers of our own without a model: random search, designs, and simple local ones."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._common import TRIES, no_legal
from carps_like.space import Cube, Param, Sampler
from carps_like.trial import Result, Trial, Value


class RandomSearch(Optimizer):
    """Independent uniform samples (log-uniform where the space says log); ignores results."""

    capabilities = Capabilities(multi_objective=True, conditions="native", learns=None)

    def __init__(self, task: TaskDescription, seed: int) -> None:
        self._sampler = Sampler(task.checker, seed)

    def ask(self) -> Trial:
        return Trial(self._sampler.sample())

    def tell(self, trial: Trial, result: Result) -> None:
        pass


class QuasiRandom(Optimizer):
    """A low-discrepancy sequence of ``scipy.stats.qmc`` on the unit cube; ignores results.

    ``sequence``: sobol (Sobol', 1967; scrambled after Owen, 1998), halton (1960; scrambled), or
    latin (McKay et al., 1979: one Latin hypercube of as many points as the budget has trials,
    then another).
    """

    capabilities = Capabilities(multi_objective=True, learns=None)

    def __init__(self, task: TaskDescription, seed: int, sequence: str = "sobol") -> None:
        from scipy.stats import qmc

        self._cube = Cube(task.checker)
        engines = {"sobol": qmc.Sobol, "halton": qmc.Halton, "latin": qmc.LatinHypercube}
        if sequence not in engines:
            hint = did_you_mean(sequence, engines, f"there are {', '.join(engines)}")
            raise BadValue(f"no sequence {sequence!r}{hint}")
        self._engine = engines[sequence](self._cube.dimension, rng=np.random.default_rng(seed))
        # a power of two for sobol, whose balance needs it
        self._block = (task.budget.trials or 128) if sequence == "latin" else 128
        self._points: list[Any] = []

    def ask(self) -> Trial:
        for _ in range(TRIES):
            if not self._points:
                self._points = self._engine.random(self._block)[::-1].tolist()
            config = self._cube.config(self._points.pop())
            if not self._cube.checker.forbidden(config):
                return Trial(config)
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        pass


class LatinHypercube(QuasiRandom):
    """The same, whose design depends on the number of trials."""

    capabilities = Capabilities(multi_objective=True, needs_trials=True, learns=None)


class GridSearch(Optimizer):
    """A full grid in random order; ends when every point was asked. Ignores results.

    Args:
        n_steps: values of a number; by default as many as let the grid stay within the trials of
            the budget, at least 2.
    """

    capabilities = Capabilities(multi_objective=True, learns=None)
    MOST = 1_000_000  # points; more would not fit in memory

    def __init__(self, task: TaskDescription, seed: int, n_steps: int | None = None) -> None:
        self._cube = Cube(task.checker)
        steps = n_steps or _steps(self._cube.params, task.budget.trials or 100)
        axes = [_axis(p, steps) for p in self._cube.params]
        size = math.prod(map(len, axes))
        if size > self.MOST:
            raise BadValue(f"a grid of {size} points over {task.name!r} is too large: set n_steps")
        points = list(itertools.product(*axes))
        np.random.default_rng(seed).shuffle(points)
        self._points = points
        self._seen: set[frozenset[tuple[str, Value]]] = set()

    def ask(self) -> Trial:
        names = [p.name for p in self._cube.params]
        while self._points:
            point = self._points.pop()
            config = self._cube.complete(dict(zip(names, point, strict=True)))
            key = frozenset(config.items())
            # points that differ in inactive hyperparameters only are one
            if key not in self._seen and not self._cube.checker.forbidden(config):
                self._seen.add(key)
                return Trial(config)
        raise Exhausted

    def tell(self, trial: Trial, result: Result) -> None:
        pass


def _steps(params: tuple[Param, ...], trials: int) -> int:
    steps = 2
    while math.prod(len(_axis(p, steps + 1)) for p in params) <= trials and steps < trials:
        steps += 1
    return steps


def _axis(param: Param, steps: int) -> list[Value]:
    if param.choices:
        return list(param.choices)
    values = (param.from_unit(x) for x in np.linspace(0.0, 1.0, steps).tolist())
    return list(dict.fromkeys(values))


class OnePlusOne(Optimizer):
    """(1+1) evolution strategy with the one-fifth success rule (Rechenberg, 1973).

    The parent begins at the default configuration. Numbers and ordinals take a normal step on
    the unit cube; a category is drawn anew with probability 1/dimension. ``sigma`` grows by
    exp(1/3) on success and shrinks by exp(-1/12) else, so that it is steady at one in five.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, task: TaskDescription, seed: int, sigma: float = 0.2) -> None:
        self._cube = Cube(task.checker)
        self._rng = np.random.default_rng(seed)
        self._sigma = sigma
        self._parent = self._cube.point(task.checker.default())
        self._best = math.inf
        self._asked = False

    def ask(self) -> Trial:
        for _ in range(TRIES):
            x = self._mutate(self._parent) if self._asked else self._parent
            self._asked = True
            config = self._cube.config(x)
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=x)
        raise no_legal(self._cube.checker.where)

    def _mutate(self, parent: Any) -> Any:
        child = _reflect(parent + self._sigma * self._rng.standard_normal(len(parent)))
        for i, p in enumerate(self._cube.params):
            if p.kind == "categorical":
                fresh = self._rng.random() < 1 / len(parent)
                child[i] = self._rng.random() if fresh else parent[i]
        return child

    def tell(self, trial: Trial, result: Result) -> None:
        if result.ok and result.value <= self._best:
            self._best, self._parent = result.value, trial.tag
            self._sigma = min(0.5, self._sigma * math.exp(1 / 3))
        else:
            self._sigma = max(1e-8, self._sigma * math.exp(-1 / 12))


def _reflect(x: Any) -> Any:
    """``x`` folded back into [0, 1] at the faces of the cube."""
    folded = np.mod(x, 2.0)
    return np.where(folded > 1.0, 2.0 - folded, folded)


class LocalSearch(Optimizer):
    """First-improvement local search on mixed spaces with restarts (Hutter et al., 2011).

    One active hyperparameter changes per neighbour: a category or an ordinal to another value,
    a number by a normal step of ``step`` of its width, as in SMAC's neighbourhood. After
    ``patience`` neighbours in a row without improvement, or ten times the dimension, it starts
    again from a random configuration.
    """

    capabilities = Capabilities(conditions="native")

    def __init__(
        self, task: TaskDescription, seed: int, step: float = 0.2, patience: int | None = None
    ) -> None:
        self._cube = Cube(task.checker)
        self._checker = task.checker
        self._rng = np.random.default_rng(seed)
        self._sampler = Sampler(task.checker, seed)
        self._step = step
        self._patience = patience or 10 * max(1, self._cube.dimension)
        self._start: dict[str, Value] | None = task.checker.default()
        self._center: dict[str, Value] = {}
        self._value = math.inf
        self._failures = 0

    def ask(self) -> Trial:
        if self._start is not None or not self._center:
            config = self._start if self._start is not None else self._sampler.sample()
            self._start = None
            return Trial(config, tag="start")
        for _ in range(TRIES):
            config = self._neighbour()
            if not self._checker.forbidden(config):
                return Trial(config)
        return Trial(self._sampler.sample(), tag="start")  # clauses forbid every neighbour

    def _neighbour(self) -> dict[str, Value]:
        active = [p for p in self._cube.params if p.name in self._center and p.n_values > 1]
        values = {p.name: p.default for p in self._cube.params} | self._center
        if active:
            param = active[int(self._rng.integers(len(active)))]
            values[param.name] = self._changed(param, self._center[param.name])
            # what a change switches on gets a random value, not its default
            for child in self._cube.params:
                if param.name in child.parents and child.name not in self._center:
                    values[child.name] = child.from_unit(self._rng.random())
        return self._cube.complete(values)

    def _changed(self, param: Param, value: Value) -> Value:
        if param.kind == "categorical":
            others = [c for c in param.choices if c is not value and c != value]
            return others[int(self._rng.integers(len(others)))]
        if param.kind == "ordinal":
            i = param.choices.index(value) + int(self._rng.choice((-1, 1)))
            return param.choices[min(len(param.choices) - 1, max(0, i))]
        x = param.to_unit(value) + self._step * self._rng.standard_normal()
        return param.from_unit(float(_reflect(x)))

    def tell(self, trial: Trial, result: Result) -> None:
        if trial.tag == "start" or (result.ok and result.value < self._value):
            self._center, self._value = trial.config, result.value
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= self._patience:
            self._start = self._sampler.sample()
            self._value, self._failures = math.inf, 0
