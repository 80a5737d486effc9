"""BBOB, the noiseless blackbox suite (Hansen et al., 2009), and SBOX, its box-constrained twin.

Both through ``ioh``: 24 functions x dimensions x instances. Hyperparameters ``x00``, ``x01``, ...
in [-5, 5], read by name; the objective is the precision f(x) - f(x_opt), 0 at the optimum. SBOX
(Vermetten et al., 2023) spreads the optima over the whole box, out to its sides.
"""

from __future__ import annotations

from collections.abc import Iterator

from carps_like.description import Objective, TaskDescription
from carps_like.registry import Collection
from carps_like.tasks._ioh import IohTask
from carps_like.tasks._spaces import Grid, box

DIMENSIONS = (2, 3, 5, 10, 20, 40)
INSTANCES = range(1, 16)
FUNCTIONS = (
    "Sphere", "Ellipsoid", "Rastrigin", "BuecheRastrigin", "LinearSlope", "AttractiveSector",
    "StepEllipsoid", "Rosenbrock", "RosenbrockRotated", "EllipsoidRotated", "Discus", "BentCigar",
    "SharpRidge", "DifferentPowers", "RastriginRotated", "Weierstrass", "Schaffers10",
    "Schaffers1000", "GriewankRosenBrock", "Schwefel", "Gallagher101", "Gallagher21", "Katsuura",
    "LunacekBiRastrigin",
)  # fmt: skip
_OBJECTIVES = (Objective("precision", lower=0.0, optimum=0.0),)


class Bbob(Collection):
    name, requires = "bbob", ("ioh",)
    source = "the function's definition (Hansen et al., 2009)"

    def __init__(self) -> None:
        self._grid = Grid(self.name, DIMENSIONS, range(1, len(FUNCTIONS) + 1), INSTANCES)

    def names(self) -> Iterator[str]:
        return iter(self._grid)

    def describe(self, name: str) -> TaskDescription:
        place = self._grid.place(name)
        if place is None:
            raise self.unknown(name)
        d, f, i = place
        return TaskDescription(
            name=name,
            make_space=box(d, -5.0, 5.0),
            objectives=_OBJECTIVES,
            collection=self.name,
            kind="synthetic",
            n_continuous=d,
            optimum_source=self.source,
            evaluation_seconds=2e-6,
            metadata={
                "problem_class": self.name.upper(),
                "function": f,
                "instance": i,
                "title": FUNCTIONS[f - 1],
            },
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


class Sbox(Bbob):
    name = "sbox"
    source = "the function's definition (Vermetten et al., 2023)"


collections = (Bbob(), Sbox())
