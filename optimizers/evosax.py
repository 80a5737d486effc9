"""evosax (Lange, 2022): evolution strategies in jax, on the unit cube of the space.

Its own initial step of 1.0 is as wide as the cube, so ``sigma`` is a quarter unless told
otherwise. Points outside are evaluated at the nearest face.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities
from carps_like.optimizers._common import Generational, values_of
from carps_like.space import Cube
from carps_like.trial import Result, Value

_STRATEGIES = ("CMA_ES", "SNES", "Sep_CMA_ES", "xNES")


class Evosax(Generational):
    """``strategy``: CMA_ES, Sep_CMA_ES, SNES or xNES; the population as in CMA-ES."""

    capabilities = Capabilities(categorical=False, min_dimension=2)
    requires = ("evosax", "jax")

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        strategy: str,
        sigma: float = 0.25,
        population_size: int | None = None,
    ) -> None:
        import jax
        from evosax import algorithms

        if strategy not in _STRATEGIES:
            hint = did_you_mean(strategy, _STRATEGIES, f"one of {', '.join(_STRATEGIES)}")
            raise BadValue(f"evosax has no strategy {strategy!r} here{hint}")
        self._checker, self._cube = task.checker, Cube(task.checker)
        d = self._cube.dimension
        self._split = jax.random.split
        self._key, start = self._split(jax.random.key(seed % 2**32))
        size = population_size or 4 + int(3 * log(d))
        self._es = getattr(algorithms, strategy)(population_size=size, solution=np.zeros(d))
        params = self._es.default_params
        self._params = params.replace(std_init=sigma * np.ones_like(params.std_init))
        self._state = self._es.init(start, np.full(d, 0.5), self._params)

    def _propose(self) -> Sequence[Any]:
        self._key, key = self._split(self._key)
        self._population, self._state = self._es.ask(key, self._state, self._params)
        points: Any = np.asarray(self._population, dtype=float)
        return list(points)

    def _config(self, point: Any) -> dict[str, Value]:
        return self._cube.config(np.clip(point, 0.0, 1.0).tolist())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        self._key, key = self._split(self._key)
        fitness = np.array([v[0] for v in values_of(results)])
        self._state, _ = self._es.tell(key, self._population, fitness, self._state, self._params)
