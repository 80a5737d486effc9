"""The ``cmaes`` library (Nomura and Shibata, 2024): CMA-ES on the unit cube of the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities
from carps_like.optimizers._common import Generational, construct, values_of
from carps_like.space import Cube
from carps_like.trial import Result, Value

# integers and ordinals are rounded coordinates; a category has no order to follow
_NUMBERS = Capabilities(categorical=False, min_dimension=2)


class Cma(Generational):
    """CMA-ES (Hansen, 2016). Starts in the middle with ``sigma`` of the cube's width (1/6, as in
    the library's examples); other ``options`` go to the constructor (``population_size``,
    ``n_max_resampling``, ``lr_adapt``).
    """

    capabilities = _NUMBERS
    requires = ("cmaes",)
    extra = "cmaes"
    algorithm: ClassVar[str] = "CMA"

    def __init__(
        self, task: TaskDescription, seed: int, sigma: float = 1 / 6, **options: Any
    ) -> None:
        self._checker = task.checker
        self._cube = Cube(task.checker)
        self._sigma, self._seed, self._options = sigma, seed, options
        self._cma = self._strategy(np.full(self._cube.dimension, 0.5), sigma, seed, options)

    def _strategy(
        self, mean: np.ndarray[Any, Any], sigma: float, seed: int, options: dict[str, Any]
    ) -> Any:
        import cmaes

        bounds = np.tile([0.0, 1.0], (self._cube.dimension, 1))
        cls = getattr(cmaes, self.algorithm)
        return construct(cls, options, mean=mean, sigma=sigma, bounds=bounds, seed=seed)

    def _propose(self) -> Sequence[Any]:
        return [self._cma.ask() for _ in range(self._cma.population_size)]

    def _config(self, point: Any) -> dict[str, Value]:
        return self._cube.config(point.tolist())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        values = [v[0] for v in values_of(results)]
        self._cma.tell(list(zip(points, values, strict=True)))
