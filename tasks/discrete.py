"""Pseudo-Boolean, graph and star-discrepancy problems, through ``ioh``. All are maximised.

- ``pbo``: the 25 functions of Doerr et al. (2020), "Benchmarking discrete optimization
  heuristics with IOHprofiler". Instances above 1 permute and flip bits and map y to a y + b.
- ``graph``: maximum cut, coverage and influence, and packing while travelling, on real graphs that
  fix the dimension (Neumann et al., 2023). Violated constraints are penalties in the value. The
  five packing instances with 22,300 to 338,090 bits are left out: no search space holds them.
- ``star``: largest local star discrepancy of a point set (Clément et al., 2023), with real
  coordinates or on the grid of the points'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from carps_like.description import Objective, TaskDescription
from carps_like.registry import Collection
from carps_like.tasks._ioh import IohTask
from carps_like.tasks._spaces import Grid, box, integers

PBO = (
    "OneMax", "LeadingOnes", "Linear", "OneMaxDummy1", "OneMaxDummy2", "OneMaxNeutrality",
    "OneMaxEpistasis", "OneMaxRuggedness1", "OneMaxRuggedness2", "OneMaxRuggedness3",
    "LeadingOnesDummy1", "LeadingOnesDummy2", "LeadingOnesNeutrality", "LeadingOnesEpistasis",
    "LeadingOnesRuggedness1", "LeadingOnesRuggedness2", "LeadingOnesRuggedness3", "LABS",
    "IsingRing", "IsingTorus", "IsingTriangular", "MIS", "NQueens", "ConcatenatedTrap",
    "NKLandscapes",
)  # fmt: skip
PBO_DIMENSIONS = (16, 25, 64, 100)
PBO_INSTANCES = range(1, 6)
# y -> a y + b of instances 1 to 5, as ioh draws them
_TRANSFORMS = (
    (1.0, 0.0),
    (1.843034087141526, -315.4024636910309),
    (4.509995377580634, 795.8314073252635),
    (0.7170325296544627, -784.5697793106408),
    (1.0297306526590735, -654.2788947253855),
)
# energies of optimal low-autocorrelation sequences (Packebusch and Mertens, 2016)
_LABS_ENERGY = {16: 24, 25: 36, 64: 208}


def pbo_optimum(function: int, dimension: int, instance: int) -> float | None:
    """Best value of the function's definition; ``None`` where it is not known."""
    a, b = _TRANSFORMS[instance - 1]
    plain = _plain_optimum(PBO[function - 1], dimension)
    return None if plain is None else a * plain + b


def _plain_optimum(title: str, n: int) -> float | None:
    side = round(n**0.5)
    known: dict[str, float | None] = {
        "Linear": n * (n + 1) / 2,
        "LABS": n * n / (2 * _LABS_ENERGY[n]) if n in _LABS_ENERGY else None,
        "IsingTorus": 2 * n,
        "IsingTriangular": 3 * n,
        "MIS": n // 2,
        "NQueens": side,
        "ConcatenatedTrap": n // 5 if n % 5 == 0 else None,
        "NKLandscapes": None,
    }
    if title in known:
        return known[title]
    if title.endswith("Dummy1"):
        return n // 2
    if title.endswith("Dummy2"):
        return int(0.9 * n)
    if title.endswith("Neutrality"):
        return n // 3
    if title.endswith("Ruggedness1"):
        return n // 2 + 1 + (n % 2)
    return n


class Pbo(Collection):
    name, requires = "pbo", ("ioh",)

    grid = Grid(name, PBO_DIMENSIONS, range(1, len(PBO) + 1), PBO_INSTANCES)

    def names(self) -> Iterator[str]:
        return iter(self.grid)

    def describe(self, name: str) -> TaskDescription:
        place = self.grid.place(name)
        if place is None:
            raise self.unknown(name)
        d, f, i = place
        optimum = pbo_optimum(f, d, i)
        return TaskDescription(
            name=name,
            make_space=partial(integers, d, 0, 1),
            objectives=(Objective("value", minimize=False, optimum=optimum),),
            collection=self.name,
            kind="synthetic",
            n_integer=d,
            optimum_source="" if optimum is None else "the function's definition (Doerr, 2020)",
            evaluation_seconds=1e-5,
            metadata={
                "problem_class": "PBO",
                "function": f,
                "instance": i,
                "title": PBO[f - 1],
            },
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


def _graphs() -> dict[str, tuple[int, int]]:
    """Task name -> (number of the problem in ioh, bits)."""
    coverage = [450, 450, 595, 760] + [450, 450, 595, 760] * 6
    coverage += [425, 425, 204, 204, 379, 379, 615, 615, 715, 715, 500, 500]
    sizes = dict.fromkeys(range(2000, 2005), 800)
    sizes |= {2100 + i: n for i, n in enumerate(coverage)}
    sizes |= dict.fromkeys(range(2200, 2224), 4039)
    sizes |= dict(zip(range(2300, 2304), (279, 1395, 2790, 4460), strict=True))
    titles = {20: "maxcut", 21: "maxcoverage", 22: "maxinfluence", 23: "packing"}
    return {f"graph-{titles[f // 100]}-{f}": (f, n) for f, n in sizes.items()}


class Graph(Collection):
    name, requires = "graph", ("ioh",)
    known = _graphs()

    def names(self) -> Iterator[str]:
        yield from self.known

    def describe(self, name: str) -> TaskDescription:
        if name not in self.known:
            raise self.unknown(name)
        function, bits = self.known[name]
        return TaskDescription(
            name=name,
            make_space=partial(integers, bits, 0, 1),
            objectives=(Objective("value", minimize=False),),
            collection=self.name,
            kind="synthetic",
            n_integer=bits,
            evaluation_seconds=2e-3,
            metadata={"problem_class": "GRAPH", "function": function, "instance": 1},
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


STAR_POINTS = (10, 25, 50, 100, 150, 200, 250, 500, 750, 1000)
STAR_SETS = ("uniform", "sobol", "halton")
STAR_DIMENSIONS = (2, 3, 4, 6, 8, 10, 15)


class Star(Collection):
    name, requires = "star", ("ioh",)

    def names(self) -> Iterator[str]:
        for kind in ("real", "integer"):
            for d in STAR_DIMENSIONS:
                for points in STAR_SETS:
                    for n in STAR_POINTS:
                        yield f"star-{kind}-d{d:02}-{points}-{n:04}"

    def describe(self, name: str) -> TaskDescription:
        match = re.fullmatch(r"star-(real|integer)-d(\d{2})-([a-z]+)-(\d{4})", name)
        if match is None:
            raise self.unknown(name)
        kind, points = match[1], match[3]
        d, n = int(match[2]), int(match[4])
        if d not in STAR_DIMENSIONS or points not in STAR_SETS or n not in STAR_POINTS:
            raise self.unknown(name)
        real = kind == "real"
        return TaskDescription(
            name=name,
            make_space=box(d, 0.0, 1.0) if real else partial(integers, d, 0, n),
            objectives=(Objective("discrepancy", minimize=False, lower=0.0, upper=1.0),),
            collection=self.name,
            kind="synthetic",
            n_continuous=d if real else 0,
            n_integer=0 if real else d,
            evaluation_seconds=1e-5,
            metadata={
                "problem_class": f"STAR_{kind.upper()}",
                "function": 30 + 10 * STAR_SETS.index(points) + STAR_POINTS.index(n),
                "instance": 1,
            },
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


collections = (Pbo(), Graph(), Star())
