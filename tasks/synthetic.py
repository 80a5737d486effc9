"""Synthetic functions with a fidelity: equations in ``_functions``, optima known.

``synthetic-<function>-bb`` is the highest fidelity, ``-mf`` adds the fidelity; functions of the
same dimension are joined to ``-mo`` and ``-momf``. A fidelity z in [0.04, 1] costs
c + (1 - c) z^p seconds, from scratch: nothing is continued.

The ``mfh`` functions are those of MFPBench: 98 steps of fidelity, and four levels of how far the
low ones mislead (bias, noise); cost 0.05 + 0.95 (z / 100)^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks import _functions as f
from carps_like.tasks._spaces import Box, names_of
from carps_like.trial import Configuration, Outcome

Bounds = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Function:
    """One function of the collection."""

    formula: Callable[..., float]
    bounds: Bounds
    optimum: float
    source: str
    minimize: bool = True
    cost: tuple[float, float] = (0.1, 2.0)  # c and p of c + (1 - c) z^p
    trap: tuple[float, float] | None = None  # bias and noise of mfh


_UNIT2, _UNIT3, _UNIT4, _UNIT6 = (((0.0, 1.0),) * n for n in (2, 3, 4, 6))
_WELL = (
    (0.05, 0.15), (100.0, 50000.0), (63070.0, 115600.0), (990.0, 1110.0),
    (63.1, 116.0), (700.0, 820.0), (1120.0, 1680.0), (9855.0, 12045.0),
)  # fmt: skip
_BEST_WELL = (0.15, 100.0, 115600.0, 1110.0, 116.0, 700.0, 1120.0, 12045.0)
_MISLEADING = {
    "good": (2.5, 2.0),
    "moderate": (3.0, 3.0),
    "bad": (3.5, 4.0),
    "terrible": (4.0, 5.0),
}
H3, H6 = -3.86277978733267, -3.32236801141551
_MALLIK = "Mallik et al. (2023), MFPBench"

FUNCTIONS = {
    "branin": Function(
        f.branin, ((-5.0, 10.0), (0.0, 15.0)), 0.397887357729738, "Branin (1972)", cost=(0.05, 6.5)
    ),
    "currin": Function(f.currin, _UNIT2, 13.7987221313286, "Currin et al. (1991)", False),
    "borehole": Function(
        f.borehole, _WELL, f.borehole(_BEST_WELL, 1.0), "Harper and Gupta (1983)", False, (0.1, 1.5)
    ),
    "hartmann3": Function(f.hartmann3, _UNIT3, H3, "Hartman (1973)", cost=(0.05, 2.0)),
    "hartmann6": Function(f.hartmann6, _UNIT6, H6, "Hartman (1973)", cost=(0.05, 2.0)),
    "forrester": Function(f.forrester, ((0.0, 1.0),), -6.02074005576708, "Forrester et al. (2007)"),
    "park1": Function(f.park1, _UNIT4, f.park1((1.0,) * 4, 1.0), "Park (1991)", False),
    "park2": Function(f.park2, _UNIT4, 2 / 3 * math.exp(2) + 1, "Park (1991)", False),
} | {
    f"mfh{d}_{level}": Function(
        f.biased_hartmann, bounds, optimum, _MALLIK, cost=(0.05, 2.0), trap=trap
    )
    for d, bounds, optimum in ((3, _UNIT3, H3), (6, _UNIT6, H6))
    for level, trap in _MISLEADING.items()
}


@dataclass(frozen=True)
class Pair:
    """Two functions on one unit box, both minimised."""

    parts: tuple[str, str]
    signs: tuple[int, int]
    reference: tuple[float, float]
    ideal: tuple[float, float]
    hypervolume: float | None
    source: str


PAIRS = {
    # the problem of Belakaria et al. (2019); hypervolume as BoTorch states it
    "branincurrin": Pair(
        ("branin", "currin"), (1, 1), (18.0, 6.0), (FUNCTIONS["branin"].optimum, 1.18049),
        59.36011874867746, "Belakaria et al. (2019); hypervolume from BoTorch",
    ),
    "park": Pair(
        ("park1", "park2"), (-1, -1), (0.0, 0.0),
        (-FUNCTIONS["park1"].optimum, -FUNCTIONS["park2"].optimum), None, "Irshad et al. (2021)",
    ),
}  # fmt: skip


def _fidelity(cost: tuple[float, float], steps: bool) -> Fidelity:
    c, p = cost
    law = f"{c:g} + {1 - c:g} (z / full)^{p:g} seconds, from scratch"
    if steps:
        return Fidelity("z", 3, 100, True, cost_law=law, continuable=False)
    return Fidelity("z", 0.04, 1.0, cost_law=law, continuable=False)


@cache
def parts_of(key: str) -> tuple[str, ...]:
    return PAIRS[key].parts if key in PAIRS else (key,)


def evaluate(name: str, x: tuple[float, ...], z: float) -> float:
    """The function called ``name`` at fidelity ``z``, in the function's own unit."""
    function = FUNCTIONS[name]
    if function.trap is not None:
        return f.biased_hartmann(x, int(z), *function.trap)
    return function.formula(x, z)


class SyntheticTask(Task):
    """One function, or two joined ones."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        key = description.metadata["function"]
        self._parts = parts_of(key)
        self._pair = PAIRS.get(key)
        self._names = names_of(description.dimension)
        first = FUNCTIONS[self._parts[0]]
        self._law: tuple[float, float] = first.cost
        self._full = 100.0 if first.trap else 1.0

    def __reduce__(self) -> Any:
        return SyntheticTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        x = tuple([float(config[name]) for name in self._names])
        z = self._full if fidelity is None else fidelity
        c, p = self._law
        cost = c + (1 - c) * (z / self._full) ** p
        if self._pair is None:
            return Outcome({"value": evaluate(self._parts[0], x, z)}, cost)
        values = {}
        for part, sign in zip(self._pair.parts, self._pair.signs, strict=True):
            bounds = FUNCTIONS[part].bounds
            scaled = tuple([a + (b - a) * u for u, (a, b) in zip(x, bounds, strict=True)])
            values[part] = sign * evaluate(part, scaled, z)
        return Outcome(values, cost)


class Synthetic(Collection):
    name = "synthetic"

    def names(self) -> Iterator[str]:
        for key, function in FUNCTIONS.items():
            if function.trap is None:
                yield f"synthetic-{key}-bb"
            yield f"synthetic-{key}-mf"
        for key in PAIRS:
            yield from (f"synthetic-{key}-mo", f"synthetic-{key}-momf")

    def describe(self, name: str) -> TaskDescription:
        parts = name.split("-")
        if len(parts) != 3 or name not in set(self.names()):
            raise self.unknown(name)
        key, kind = parts[1:]
        first = FUNCTIONS[parts_of(key)[0]]
        pair = PAIRS.get(key)
        bounds = first.bounds if pair is None else ((0.0, 1.0),) * len(first.bounds)
        fidelity = _fidelity(first.cost, first.trap is not None) if kind.endswith("mf") else None
        return TaskDescription(
            name=name,
            make_space=Box(bounds),
            objectives=self._objectives(first, pair),
            fidelity=fidelity,
            collection=self.name,
            kind="synthetic",
            n_continuous=len(bounds),
            optimum_source=first.source if pair is None else pair.source,
            hypervolume=None if pair is None else pair.hypervolume,
            evaluation_seconds=1e-5,
            budget=Budget(trials=100) if fidelity is None else Budget(trials=1000, evaluations=100),
            metadata={"function": key},
        )

    @staticmethod
    def _objectives(first: Function, pair: Pair | None) -> tuple[Objective, ...]:
        if pair is None:
            return (Objective("value", first.minimize, optimum=first.optimum),)
        return tuple(
            Objective(name, optimum=ideal, reference=reference)
            for name, ideal, reference in zip(pair.parts, pair.ideal, pair.reference, strict=True)
        )

    def build(self, description: TaskDescription) -> SyntheticTask:
        return SyntheticTask(description)


collections = (Synthetic(),)
