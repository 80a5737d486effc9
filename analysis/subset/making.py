"""From results to a subset file: what ``carps-like subset`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from carps_like.analysis.frames import Results
from carps_like.analysis.subset.axes import Target
from carps_like.analysis.subset.discrepancy import star_discrepancy
from carps_like.analysis.subset.files import Part, SubsetFile
from carps_like.analysis.subset.methods import METHODS, Method, choose
from carps_like.analysis.subset.performance import Scale, points
from carps_like.analysis.subset.selection import Selection, check_size
from carps_like.analysis.subset.splitting import split
from carps_like.errors import BadValue, UnknownName


def make(
    results: Results | pd.DataFrame,
    k: int,
    parts: Sequence[str] = ("subset",),
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    scale: Scale = "log regret",
    target: Target = "empirical",
    method: Method = "discrepancy",
    seed: int = 0,
    evaluations: int | None = None,
    time_limit: float | None = 10.0,
    prove: float = 25.0,
    missing: Literal["raise", "drop"] = "raise",
) -> tuple[SubsetFile, tuple[Selection, ...]]:
    """Disjoint subsets of ``k`` tasks each, named by ``parts``, with the facts they came from.

    Arguments as in ``points``, ``select`` and ``choose``; the selections are empty for a method
    other than "discrepancy". Print ``selection.describe()`` of each for value, bound and gap.
    """
    if not parts or not all(parts) or len(set(parts)) < len(parts):
        raise BadValue(f"parts {list(parts)}: give each subset a name of its own")
    if method not in METHODS:
        raise UnknownName("method", str(method), METHODS, f"one of {', '.join(METHODS)}")
    table = points(results, optimizers, budget, scale, missing)
    check_size(k, len(table))
    check_size(k * len(parts), len(table), f"k times {len(parts)} parts")
    if method == "discrepancy":
        found = split(table, [k] * len(parts), target, seed, evaluations, time_limit, prove)
        made = [
            Part(_tasks(table, s.indices), s.value, s.lower_bound, s.optimal, s.seed, s.evaluations)
            for s in found
        ]
    else:
        found, made = (), _by_method(table, k, len(parts), target, method, seed)
    return (
        SubsetFile(
            parts=dict(zip(parts, made, strict=True)),
            target=target,
            scale=scale,
            method=method,
            optimizers=tuple(table.columns),
            budget=budget,
            n_tasks=len(table),
        ),
        found,
    )


def _by_method(
    table: pd.DataFrame, k: int, times: int, target: Target, method: Method, seed: int
) -> list[Part]:
    left, made = table, []
    for at in range(times):
        chosen = choose(left, k, method, seed + at)
        tasks = _tasks(left, chosen)
        reference = "uniform" if target == "uniform" else table.to_numpy()
        value = star_discrepancy(table.loc[list(tasks)], reference).value
        made.append(Part(tasks, value, 0.0, False, seed + at, 0))
        left = left.drop(index=list(tasks))
    return made


def _tasks(table: pd.DataFrame, indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(table.index[i]) for i in indices)
