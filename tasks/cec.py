"""Two competition suites of the IEEE Congress on Evolutionary Computation, through ``ioh``.

- ``cec2013``: 20 multimodal functions, maximised; each fixes its dimension and box (Li et al.,
  2013, "Benchmark functions for CEC'2013 special session on niching methods").
- ``cec2022``: 12 shifted, rotated, hybrid and composed functions on [-100, 100] (Kumar et al.,
  2022). The hybrid functions 6 to 8 have no 2-d version. The objective is f(x) - f(x_opt).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from carps_like.description import Objective, TaskDescription
from carps_like.registry import Collection
from carps_like.tasks._ioh import IohTask
from carps_like.tasks._spaces import box

_Niching = tuple[str, int, float, float, float]
NICHING: tuple[_Niching, ...] = (  # title, dimension, lower, upper, optimum
    ("FivePeaks", 1, 0.0, 30.0, 200.0),
    ("EqualMaxima", 1, 0.0, 1.0, 1.0),
    ("UnevenEqualMaxima", 1, 0.0, 1.0, 1.0),
    ("Himmelblau", 2, -6.0, 6.0, 200.0),
    ("SixHumpCamelback", 2, -1.9, 1.9, 1.0316284534898774),
    ("Shubert", 2, -10.0, 10.0, 186.7309088310240),
    ("Vincent", 2, 0.25, 10.0, 1.0),
    ("Shubert", 3, -10.0, 10.0, 2709.0935055728270),
    ("Vincent", 3, 0.25, 10.0, 1.0),
    ("ModifiedRastrigin", 2, 0.0, 1.0, -2.0),
    ("CompositionFunction1", 2, -5.0, 5.0, 0.0),
    ("CompositionFunction2", 2, -5.0, 5.0, 0.0),
    ("CompositionFunction3", 2, -5.0, 5.0, 0.0),
    ("CompositionFunction3", 3, -5.0, 5.0, 0.0),
    ("CompositionFunction4", 3, -5.0, 5.0, 0.0),
    ("CompositionFunction3", 5, -5.0, 5.0, 0.0),
    ("CompositionFunction4", 5, -5.0, 5.0, 0.0),
    ("CompositionFunction3", 10, -5.0, 5.0, 0.0),
    ("CompositionFunction4", 10, -5.0, 5.0, 0.0),
    ("CompositionFunction4", 20, -5.0, 5.0, 0.0),
)
CEC2022 = (
    "Zakharov", "Rosenbrock", "SchafferF7", "Rastrigin", "Levy", "HybridFunction1",
    "HybridFunction2", "HybridFunction3", "CompositionFunction1", "CompositionFunction2",
    "CompositionFunction3", "CompositionFunction4",
)  # fmt: skip
CEC2022_DIMENSIONS = (2, 10, 20)
_HYBRID = (6, 7, 8)


class Cec2013(Collection):
    name, requires = "cec2013", ("ioh",)

    def names(self) -> Iterator[str]:
        for f, row in enumerate(NICHING, 1):
            yield f"cec2013-d{row[1]:02}-f{f:02}"

    def describe(self, name: str) -> TaskDescription:
        found = dict(zip(self.names(), range(len(NICHING)), strict=True)).get(name)
        if found is None:
            raise self.unknown(name)
        title, d, lower, upper, optimum = NICHING[found]
        return TaskDescription(
            name=name,
            make_space=box(d, lower, upper),
            objectives=(Objective("value", minimize=False, optimum=optimum),),
            collection=self.name,
            kind="synthetic",
            n_continuous=d,
            optimum_source="Li et al. (2013)",
            evaluation_seconds=5e-6,
            metadata={
                "problem_class": "CEC2013",
                "function": 1101 + found,
                "instance": 1,
                "title": title,
            },
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


class Cec2022(Collection):
    name, requires = "cec2022", ("ioh",)

    def names(self) -> Iterator[str]:
        for d in CEC2022_DIMENSIONS:
            for f in range(1, len(CEC2022) + 1):
                if d > 2 or f not in _HYBRID:
                    yield f"cec2022-d{d:02}-f{f:02}"

    def describe(self, name: str) -> TaskDescription:
        match = re.fullmatch(r"cec2022-d(\d{2})-f(\d{2})", name)
        if match is None or name not in set(self.names()):
            raise self.unknown(name)
        d, f = map(int, match.groups())
        return TaskDescription(
            name=name,
            make_space=box(d, -100.0, 100.0),
            objectives=(Objective("precision", lower=0.0, optimum=0.0),),
            collection=self.name,
            kind="synthetic",
            n_continuous=d,
            optimum_source="Kumar et al. (2022)",
            evaluation_seconds=5e-6,
            metadata={
                "problem_class": "CEC2022",
                "function": 1000 + f,
                "instance": 1,
                "title": CEC2022[f - 1],
            },
        )

    def build(self, description: TaskDescription) -> IohTask:
        return IohTask(description)


collections = (Cec2013(), Cec2022())
