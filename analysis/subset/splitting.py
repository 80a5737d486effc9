"""Several disjoint subsets of one full set, each chosen to represent all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from carps_like.analysis.subset.axes import as_points
from carps_like.analysis.subset.proof import improve_and_prove
from carps_like.analysis.subset.selection import (
    Search,
    Selection,
    check_limits,
    check_problem,
    check_size,
)
from carps_like.errors import BadValue


def split(
    points: ArrayLike,
    sizes: Sequence[int] = (20, 20),
    target: Literal["empirical", "uniform"] = "empirical",
    seed: int = 0,
    evaluations: int | None = None,
    time_limit: float | None = 10.0,
    prove: float = 0.0,
) -> tuple[Selection, ...]:
    """Disjoint selections of ``sizes``, every one compared with the whole target.

    They are chosen one after the other from the tasks that are left; each gets ``evaluations``,
    ``time_limit`` and ``prove`` of ``select`` for itself, and seeds ``seed``, ``seed + 1``, ...
    A lower bound is one for subsets of the tasks that were left. Raises BadValue if the sizes sum
    to more than there are tasks.
    """
    n = len(as_points(points))
    if not sizes:
        raise BadValue("sizes is empty: name at least one subset size")
    for at, k in enumerate(sizes):
        check_size(k, n, f"sizes[{at}]")
    if sum(sizes) > n:
        raise BadValue(f"sizes {tuple(sizes)} sum to {sum(sizes)}, but there are only {n} tasks")
    check_limits(seed, evaluations, time_limit, prove)
    taken: list[int] = []
    chosen: list[Selection] = []
    for at, k in enumerate(sizes):
        axes = check_problem(points, k, target)
        search = Search(axes, k, seed + at, np.array(taken, dtype=np.int64))
        search.run(evaluations, math.inf if time_limit is None else time_limit)
        found = search.selection()
        if prove > 0:
            found = improve_and_prove(found, axes, prove, taken)
        chosen.append(found)
        taken.extend(found.indices)
    return tuple(chosen)
