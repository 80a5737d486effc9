"""BBOB, the noiseless blackbox suite (Hansen et al., 2009), through ``ioh``.

24 functions x dimensions x instances. Hyperparameters ``x00``, ``x01``, ... in [-5, 5], read by
name; the objective is the precision f(x) - f(x_opt), which is 0 at the optimum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from carps_like.description import Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._spaces import box, names_of
from carps_like.trial import Configuration

if TYPE_CHECKING:
    from carps_like.trial import Outcome

DIMENSIONS = (2, 3, 5, 10, 20, 40)
INSTANCES = range(1, 16)
FUNCTIONS = (
    "Sphere", "Ellipsoid", "Rastrigin", "BuecheRastrigin", "LinearSlope", "AttractiveSector",
    "StepEllipsoid", "Rosenbrock", "RosenbrockRotated", "EllipsoidRotated", "Discus", "BentCigar",
    "SharpRidge", "DifferentPowers", "RastriginRotated", "Weierstrass", "Schaffers10",
    "Schaffers1000", "GriewankRosenBrock", "Schwefel", "Gallagher101", "Gallagher21", "Katsuura",
    "LunacekBiRastrigin",
)  # fmt: skip
_NAME = re.compile(r"bbob-d(\d{2,})-f(\d{2})-i(\d{2,})")
_OBJECTIVES = (Objective("precision", lower=0.0, optimum=0.0),)


class BbobTask(Task):
    """One BBOB function. ``ioh`` counts calls and keeps the best; neither is used."""

    def __init__(self, description: TaskDescription) -> None:
        import ioh

        self.description = description
        meta = description.metadata
        self._problem = ioh.get_problem(
            meta["function"], meta["instance"], description.dimension, ioh.ProblemClass.BBOB
        )
        self._optimum = self._problem.optimum.y
        self._names = names_of(description.dimension)

    def __reduce__(self) -> Any:
        return BbobTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome | dict[str, float]:
        value = self._problem([config[name] for name in self._names])
        return {"precision": value - self._optimum}


class Bbob(Collection):
    name, requires = "bbob", ("ioh",)

    def names(self) -> Iterator[str]:
        for d in DIMENSIONS:
            for f in range(1, len(FUNCTIONS) + 1):
                for i in INSTANCES:
                    yield f"bbob-d{d:02}-f{f:02}-i{i:02}"

    def describe(self, name: str) -> TaskDescription:
        match = _NAME.fullmatch(name)
        if match is None:
            raise self.unknown(name)
        d, f, i = map(int, match.groups())
        if d not in DIMENSIONS or not 1 <= f <= len(FUNCTIONS) or i not in INSTANCES:
            raise self.unknown(name)
        return TaskDescription(
            name=name,
            make_space=partial(box, d, -5.0, 5.0),
            objectives=_OBJECTIVES,
            collection="bbob",
            kind="synthetic",
            n_continuous=d,
            optimum_source="the function's definition (Hansen et al., 2009)",
            evaluation_seconds=2e-6,
            metadata={"function": f, "instance": i, "title": FUNCTIONS[f - 1]},
        )

    def build(self, description: TaskDescription) -> BbobTask:
        return BbobTask(description)


collections = (Bbob(),)
