"""The ``cmaes`` library (Nomura and Shibata, 2024): CMA-ES on the unit cube of the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities
from carps_like.optimizers._common import Generational, checked, construct, values_of
from carps_like.optimizers._restarts import Restarts
from carps_like.space import Cube, Param
from carps_like.trial import Result, Value

# integers and ordinals are rounded coordinates; a category has no order to follow
_NUMBERS = Capabilities(categorical=False, min_dimension=2)


class _OneBox(Generational):
    """One strategy on the unit cube."""

    capabilities = _NUMBERS
    requires = ("cmaes",)
    extra = "cmaes"
    classes: ClassVar[tuple[str, ...]] = ("CMA", "SepCMA", "XNES")
    _cma: Any

    def __init__(self, task: TaskDescription, seed: int) -> None:
        self._checker = task.checker
        self._cube = Cube(task.checker)
        self._bounds = np.tile([0.0, 1.0], (self._cube.dimension, 1))
        self._middle = np.full(self._cube.dimension, 0.5)

    def _propose(self) -> Sequence[Any]:
        return [self._cma.ask() for _ in range(self._cma.population_size)]

    def _config(self, point: Any) -> dict[str, Value]:
        return self._cube.config(point.tolist())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        values = [v[0] for v in values_of(results)]
        self._cma.tell(list(zip(points, values, strict=True)))


class Cma(_OneBox):
    """CMA-ES (Hansen, 2016) and kin. Starts in the middle of the cube; ``options`` go to the
    constructor (``population_size``, ``n_max_resampling``, ``lr_adapt``).

    Args:
        algorithm: CMA, SepCMA (Ros and Hansen, 2008) or XNES (Glasmachers et al., 2010).
        sigma: initial step in widths of the cube; a sixth, as in the library's examples.
        restarts: none, ipop or bipop, from a uniform point when the library says it is done.
    """

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        algorithm: str = "CMA",
        sigma: float = 1 / 6,
        restarts: str = "none",
        **options: Any,
    ) -> None:
        super().__init__(task, seed)
        if algorithm not in self.classes:
            hint = did_you_mean(algorithm, self.classes, f"there are {', '.join(self.classes)}")
            raise BadValue(f"cmaes has no algorithm {algorithm!r}{hint}")
        self._name, self._options = algorithm, options
        self._rng = np.random.default_rng(seed)
        self._cma = self._start(self._middle, sigma, seed, {})
        self._restarts = Restarts(restarts, self._cma.population_size, sigma, self._rng)
        self._spent = 0

    def _start(self, mean: Any, sigma: float, seed: int, more: dict[str, Any]) -> Any:
        import cmaes

        return construct(
            getattr(cmaes, self._name),
            self._options | more,
            mean=mean,
            sigma=sigma,
            bounds=self._bounds,
            seed=seed % 2**32,
        )

    def _propose(self) -> Sequence[Any]:
        stop = getattr(self._cma, "should_stop", None)  # XNES has no such test
        if stop is not None and stop():
            population, sigma = self._restarts.next(self._spent)
            mean, seed = self._rng.uniform(size=len(self._middle)), int(self._rng.integers(2**31))
            self._cma = self._start(mean, sigma, seed, {"population_size": population})
            self._spent = 0
        points = super()._propose()
        self._spent += len(points)
        return points


class LearningRate(Cma):
    """CMA-ES that adapts its learning rate (Nomura et al., 2023; ``lr_adapt``), for rugged and
    noisy functions.
    """

    capabilities = replace(Cma.capabilities, noise=True)


class WarmStarted(_OneBox):
    """Warm-started CMA-ES (Nomura et al., 2021): the first ``n_startup_trials`` are uniform, and
    the best of them make the initial distribution. ``options`` go to ``get_warm_start_mgd``.
    """

    def __init__(
        self, task: TaskDescription, seed: int, n_startup_trials: int = 20, **options: Any
    ) -> None:
        from cmaes import get_warm_start_mgd

        gamma = options.get("gamma", 0.1)  # the part of them that is good enough
        if n_startup_trials * gamma < 1:
            raise BadValue(f"gamma={gamma} of {n_startup_trials} startup trials is none of them")
        super().__init__(task, seed)
        self._startup, self._seed = n_startup_trials, seed
        self._options = checked(get_warm_start_mgd, options, ["source_solutions"])
        self._rng = np.random.default_rng(seed)
        self._fit = get_warm_start_mgd

    def _propose(self) -> Sequence[Any]:
        if not hasattr(self, "_cma"):
            return list(self._rng.uniform(size=(self._startup, len(self._middle))))
        return super()._propose()

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        if hasattr(self, "_cma"):
            super()._learn(points, results)
            return
        from cmaes import CMA

        source = [(p, v[0]) for p, v in zip(points, values_of(results), strict=True)]
        mean, sigma, cov = construct(self._fit, self._options, source_solutions=source)
        self._cma = CMA(mean, sigma, self._bounds, seed=self._seed % 2**32, cov=cov)


class Margin(_OneBox):
    """CMA-ES with margin (Hamano et al., 2022): integers on a linear scale and ordinals keep a
    least probability of changing. ``options`` go to the constructor.
    """

    def __init__(
        self, task: TaskDescription, seed: int, sigma: float = 1 / 6, **options: Any
    ) -> None:
        import cmaes

        super().__init__(task, seed)
        # the cells of a hyperparameter are `step` wide, from the middle of the first to the last
        self._steps = np.array([_step(p) for p in self._cube.params])
        edge = self._steps / 2
        bounds = np.stack([edge, 1.0 - edge], axis=1)
        self._cma = construct(
            cmaes.CMAwM,
            options,
            mean=self._middle,
            sigma=sigma,
            bounds=bounds,
            steps=self._steps,
            seed=seed % 2**32,
        )

    def _propose(self) -> Sequence[Any]:
        return [self._cma.ask() for _ in range(self._cma.population_size)]

    def _config(self, point: Any) -> dict[str, Value]:
        return super()._config(point[0])

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        super()._learn([told for _, told in points], results)


def _step(param: Param) -> float:
    """Width of a value's cell; 0 where the coordinate counts as continuous."""
    discrete = param.kind in ("int", "ordinal") and not param.log
    return 1.0 / param.n_values if discrete else 0.0


class _Mixed:
    """A space as CatCMA with margin takes it: floats and log integers on [0, 1], linear integers
    and ordinals as lists of integers, categories by their number.
    """

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        steps = [(p, _step(p)) for p in cube.params]
        self._c = [p for p in cube.params if p.kind == "categorical" and len(p.choices) > 1]
        self._z = [p for p, step in steps if step and p.n_values > 1]
        self._x = [p for p, step in steps if not step and p.kind in ("float", "int")]
        self._only = {
            p.name: p.choices[0] for p in cube.params if p.choices and len(p.choices) == 1
        }

    def spaces(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        ends = [(0, len(p.choices) - 1) if p.choices else (p.lower, p.upper) for p in self._z]
        # a list per hyperparameter: the constructor pads them to one length
        return {
            "x_space": np.tile([0.0, 1.0], (len(self._x), 1)) if self._x else None,
            "z_space": [list(range(int(a), int(b) + 1)) for a, b in ends] if ends else None,
            "c_space": np.array([len(p.choices) for p in self._c]) if self._c else None,
        }

    def config(self, point: Any) -> dict[str, Value]:
        values: dict[str, Value] = dict(self._only)
        for i, p in enumerate(self._x):
            values[p.name] = p.from_unit(float(point.x[i]))
        for i, p in enumerate(self._z):
            values[p.name] = p.choices[int(point.z[i])] if p.choices else int(point.z[i])
        for i, p in enumerate(self._c):
            values[p.name] = p.choices[int(np.argmax(point.c[i]))]
        return self._cube.complete(values)


class CatCma(Generational):
    """CatCMA with margin (Hamano et al., 2025): floats, integers and categories together."""

    requires = ("cmaes",)
    extra = "cmaes"
    capabilities = Capabilities(min_dimension=2)
    algorithm: ClassVar[str] = "CatCMAwM"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        import cmaes

        self._checker = task.checker
        self._mixed = _Mixed(Cube(task.checker))
        cls = getattr(cmaes, self.algorithm)
        self._cma = construct(cls, options, seed=seed % 2**32, **self._mixed.spaces())

    def _propose(self) -> Sequence[Any]:
        return [self._cma.ask() for _ in range(self._cma.population_size)]

    def _config(self, point: Any) -> dict[str, Value]:
        return self._mixed.config(point)

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        values = [v[0] for v in values_of(results)]
        self._cma.tell(list(zip(points, values, strict=True)))


class Como(CatCma):
    """COMO-CatCMA with margin: several objectives, one kernel per point of the front."""

    capabilities = Capabilities(
        multi_objective=True, single_objective=False, min_dimension=2, learns=600
    )
    algorithm = "COMOCatCMAwM"

    def _propose(self) -> Sequence[Any]:
        return list(self._cma.ask_iter())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        self._cma.tell(list(zip(points, values_of(results), strict=True)))
