"""pycma (the reference implementation of CMA-ES, Hansen, 2016) on the unit cube of the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities
from carps_like.optimizers._common import Generational, values_of
from carps_like.optimizers._restarts import Restarts
from carps_like.space import Cube
from carps_like.trial import Result, Value


class Cma(Generational):
    """``options`` are pycma's own (``CMA_active``, ``CMA_diagonal``, ``popsize``, ...).

    Args:
        sigma: initial step in widths of the cube; a quarter, as pycma advises.
        restarts: none, ipop or bipop, from a uniform point when pycma says that it is done.
    """

    capabilities = Capabilities(categorical=False, min_dimension=2)
    requires = ("cma",)
    extra = "cma"

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        sigma: float = 0.25,
        restarts: str = "none",
        **options: Any,
    ) -> None:
        import cma

        known = cma.CMAOptions.defaults()
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known, "see cma.CMAOptions()")
                raise BadValue(f"cma has no option {name!r}{hint}")
        self._checker = task.checker
        self._cube = Cube(task.checker)
        self._rng = np.random.RandomState(seed % 2**32)
        self._options = options
        self._es = self._start(np.full(self._cube.dimension, 0.5), sigma, {})
        self._restarts = Restarts(restarts, self._es.popsize, sigma, self._rng)

    def _start(self, mean: Any, sigma: float, more: dict[str, Any]) -> Any:
        import cma

        # its own generator, or pycma would seed numpy's global one
        fixed = {"bounds": [0, 1], "randn": self._rng.randn, "seed": np.nan, "verbose": -9}
        return cma.CMAEvolutionStrategy(mean, sigma, fixed | self._options | more)

    def _propose(self) -> Sequence[Any]:
        if self._es.stop():
            population, sigma = self._restarts.next(self._es.countevals)
            mean = self._rng.uniform(size=self._cube.dimension)
            self._es = self._start(mean, sigma, {"popsize": population})
        points: Sequence[Any] = self._es.ask()
        return points

    def _config(self, point: Any) -> dict[str, Value]:
        return self._cube.config(point.tolist())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        self._es.tell(points, [v[0] for v in values_of(results)])
