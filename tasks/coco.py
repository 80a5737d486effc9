"""The suites of COCO (Hansen et al., 2021) beside BBOB, through ``coco-experiment``.

A suite takes up to seven seconds to open; a task opens one with a single problem (0.3 ms), and a
description opens none. Objectives are shifted, as for BBOB, so that the optimum is 0:

- one objective: the precision f(x) - f_opt; in ``bbob-constrained``, f_opt is the best feasible
  value, and constraints hold when they are <= 0;
- two: each f_k is (f_k(x) - ideal_k) / (nadir_k - ideal_k), so that the ideal point is (0, 0)
  and the reference point, the nadir, is (1, 1): COCO's own normalisation.

The noise of ``bbob-noisy`` comes from one sequence per process that every call moves on. Here a
call opens the suite anew, which sets the sequence back, and moves it on by ``seed % 256``: the
value depends on the configuration and the seed alone. Without a seed, a task counts its calls.
Cauchy noise is ``alpha max(0, 1000 + outlier)`` there (Hansen et al., 2009), so that 1,000 alpha
are in nearly every value, that of the optimum among them: they are taken off. What is below 0 is an
outlier then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from carps_like.description import Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._data import shipped
from carps_like.tasks._spaces import KEPT, Grid, box, names_of
from carps_like.tasks.bbob import FUNCTIONS
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

NOISE_STATES = 256
_SMALL = (2, 3, 5, 10, 20, 40)
_MIXED = (5, 10, 20, 40, 80, 160)
_PRECISION = (Objective("precision", optimum=0.0),)
_TWO = tuple(Objective(name, lower=0.0, optimum=0.0, reference=1.0) for name in ("f1", "f2"))
# the BBOB function under each noisy one, three kinds of noise each: f101 to f130
_UNDER_NOISE = (1, 8, 1, 8, 7, 10, 14, 17, 19, 21)
_UNDER_CONSTRAINTS = (1, 2, 5, 10, 11, 12, 14, 3, 15)
# factors of the mixed-integer suites by function, 1 to 24 (Tusar et al., 2019)
_SCALES = (
    1.0, 1e-3, 0.1, 0.1, 1.0, 1e-2, 1.0, 1e-2, 1e-2, 1e-3, 1e-2, 1e-4,
    0.1, 1.0, 0.1, 1.0, 10.0, 1.0, 10.0, 0.1, 1.0, 1.0, 10.0, 0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Suite:
    """What a suite consists of."""

    name: str
    functions: Sequence[int]
    dimensions: tuple[int, ...]
    instances: Sequence[int] = range(1, 16)
    mixed: bool = False
    two: bool = False

    @property
    def bound(self) -> float:
        return 100.0 if self.two else 5.0


SUITES = {
    s.name: s
    for s in (
        Suite("bbob-noisy", range(101, 131), _SMALL),
        Suite("bbob-largescale", range(1, 25), (20, 40, 80, 160, 320, 640)),
        Suite("bbob-mixint", range(1, 25), _MIXED, mixed=True),
        Suite("bbob-constrained", range(1, 55), _SMALL),
        Suite("bbob-boxed", range(1, 25), _SMALL, (*range(1, 6), *range(101, 111))),
        Suite("bbob-biobj", range(1, 56), _SMALL, two=True),
        Suite("bbob-biobj-ext", range(1, 93), _SMALL, two=True),
        Suite("bbob-biobj-mixint", range(1, 93), _MIXED, mixed=True, two=True),
    )
}


@lru_cache(KEPT)
def mixed_box(dimension: int, bound: float) -> ConfigurationSpace:
    """A fifth each with 2, 4, 8 and 16 whole values from 0, the last fifth floats."""
    from ConfigSpace import ConfigurationSpace, Float, Integer

    fifth = dimension // 5
    space = ConfigurationSpace()
    space.add(
        *(
            Integer(name, (0, 2 ** (k // fifth + 1) - 1))
            if k < 4 * fifth
            else Float(name, (-bound, bound))
            for k, name in enumerate(names_of(dimension))
        )
    )
    return space


@cache
def constraint_names(function: int, dimension: int) -> tuple[str, ...]:
    """bbob-constrained: the number depends on the function's variant and on the dimension."""
    active = (1, 2, 6, 6 + dimension // 2, 6 + dimension, 6 + 3 * dimension)[(function - 1) % 6]
    return tuple(f"c{k:03}" for k in range(active + active // 2))


@cache
def _table(file: str) -> Any:
    import numpy as np

    return np.load(shipped(f"coco/{file}.npy"))


@cache
def _hypervolumes() -> list[list[list[float]]]:
    """By dimension, function and instance; nan where none is known."""
    table: list[list[list[float]]] = _table("biobj_hypervolumes").tolist()
    return table


def _bbob_optimum(function: int, instance: int) -> float:
    import ioh

    kind = ioh.ProblemClass.BBOB
    return float(ioh.get_problem(function, instance, 2, kind).optimum.y)


class CocoTask(Task):
    """One problem of a suite."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        meta = description.metadata
        suite = SUITES[meta["suite"]]
        self._options = (
            f"dimensions:{description.dimension} "
            f"function_indices:{suite.functions.index(meta['function']) + 1} "
            f"instance_indices:{suite.instances.index(meta['instance']) + 1}"
        )
        self._names = names_of(description.dimension)
        self._calls = 0
        self._open()
        self._zero, self._one = self._scale(suite, meta["function"], meta["instance"])

    def __reduce__(self) -> Any:
        return CocoTask, (self.description,)

    def _open(self) -> None:
        import cocoex

        self._suite = cocoex.Suite(self.description.metadata["suite"], "", self._options)
        self._problem = self._suite.get_problem(0)

    def _scale(self, suite: Suite, function: int, instance: int) -> tuple[Any, Any]:
        """Where 0 lies, and how long 1 is, per objective."""
        if suite.two:
            import numpy as np

            parts = re.findall(r"bbob_f(\d+)_i(\d+)", self._problem.name)
            factors = [_SCALES[int(f) - 1] if suite.mixed else 1.0 for f, _ in parts]
            ideal = [
                c * _bbob_optimum(int(f), int(i)) for c, (f, i) in zip(factors, parts, strict=True)
            ]
            return np.array(ideal), self._problem.largest_fvalues_of_interest - ideal
        if suite.name == "bbob-constrained":
            d = suite.dimensions.index(self.description.dimension)
            return float(_table("constrained_optima")[d, function - 1, instance - 1]), 1.0
        if suite.name == "bbob-noisy":
            cauchy = 0.0 if (function - 101) % 3 < 2 else 10.0 if function < 107 else 1000.0
            return _bbob_optimum(_UNDER_NOISE[(function - 101) // 3], instance) + cauchy, 1.0
        scale = _SCALES[function - 1] if suite.mixed else 1.0
        return scale * _bbob_optimum(function, instance), 1.0

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome | dict[str, float]:
        x = [config[name] for name in self._names]
        if self.description.noisy:
            self._set_noise(seed)
        value = self._problem(x)
        if len(self.description.objectives) == 2:
            first, second = ((value - self._zero) / self._one).tolist()
            return {"f1": first, "f2": second}
        objectives = {"precision": value - self._zero}
        if self.description.constraints:
            return Outcome(objectives, constraints=tuple(self._problem.constraint(x).tolist()))
        return objectives

    def _set_noise(self, seed: int | None) -> None:
        steps = (self._calls if seed is None else seed) % NOISE_STATES
        self._calls += 1
        self._open()
        somewhere = self._problem.initial_solution
        for _ in range(steps):
            self._problem(somewhere)


class Coco(Collection):
    """One suite as a collection."""

    requires, extra = ("cocoex", "ioh"), "coco"

    def __init__(self, suite: Suite) -> None:
        self.name = suite.name  # type: ignore[misc]
        self._suite = suite
        self._grid = Grid(suite.name, suite.dimensions, suite.functions, suite.instances)

    def names(self) -> Iterator[str]:
        return iter(self._grid)

    def describe(self, name: str) -> TaskDescription:
        place = self._grid.place(name)
        if place is None:
            raise self.unknown(name)
        d, f, i = place
        return TaskDescription(
            name=name,
            hypervolume=self._hypervolume(d, f, i),
            metadata={"suite": self.name, "function": f, "instance": i, "title": self._title(f)},
            **self._of_instances(d, f),
        )

    @cache  # noqa: B019 - a collection lives as long as the process
    def _of_instances(self, d: int, f: int) -> dict[str, Any]:
        """What all instances of a function share."""
        s = self._suite
        integers = 4 * (d // 5) if s.mixed else 0
        noisy = s.name == "bbob-noisy"
        return {
            "make_space": partial(mixed_box, d, s.bound) if s.mixed else box(d, -s.bound, s.bound),
            "objectives": _TWO if s.two else _PRECISION,
            "collection": s.name,
            "kind": "synthetic",
            "n_continuous": d - integers,
            "n_integer": integers,
            "constraints": constraint_names(f, d) if s.name == "bbob-constrained" else (),
            "noisy": noisy,
            "optimum_source": f"the suite {s.name} of COCO",
            "evaluation_seconds": 5e-4 if noisy else 1e-5,
        }

    def _hypervolume(self, d: int, f: int, i: int) -> float | None:
        if not self._suite.two or self._suite.mixed or i > 10:
            return None
        value = _hypervolumes()[_SMALL.index(d)][f - 1][i - 1]
        return value if value == value else None

    def _title(self, function: int) -> str:
        if self._suite.two:
            return ""
        if self.name == "bbob-noisy":
            noise = ("Gaussian", "uniform", "Cauchy")[(function - 101) % 3]
            under = FUNCTIONS[_UNDER_NOISE[(function - 101) // 3] - 1]
            return f"{under}, {'moderate' if function < 107 else 'severe'} {noise} noise"
        if self.name == "bbob-constrained":
            return FUNCTIONS[_UNDER_CONSTRAINTS[(function - 1) // 6] - 1]
        return FUNCTIONS[function - 1]

    def build(self, description: TaskDescription) -> CocoTask:
        return CocoTask(description)


collections = tuple(Coco(suite) for suite in SUITES.values())
