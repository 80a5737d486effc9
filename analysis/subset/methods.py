"""Other ways to choose k tasks, to compare with and to use: ``method=``."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carps_like.analysis.subset.axes import as_points
from carps_like.analysis.subset.selection import check_size, select
from carps_like.errors import UnknownName

Method = Literal["discrepancy", "k-medoids", "kernel-herding", "random"]
METHODS: tuple[Method, ...] = ("discrepancy", "k-medoids", "kernel-herding", "random")


def choose(
    points: ArrayLike,
    k: int,
    method: Method = "discrepancy",
    seed: int = 0,
    evaluations: int | None = 20_000,
) -> tuple[int, ...]:
    """Row indices of ``k`` of ``points`` (n, d), ascending, by the named method.

    "discrepancy" is ``select`` with the empirical target and ``evaluations``.
    """
    table = as_points(points)
    check_size(k, len(table))
    if method == "discrepancy":
        return select(table, k, seed=seed, evaluations=evaluations, time_limit=None).indices
    rng = np.random.default_rng(seed)
    if method == "random":
        chosen = rng.choice(len(table), k, replace=False)
    elif method == "k-medoids":
        chosen = k_medoids(table, k, rng)
    elif method == "kernel-herding":
        chosen = kernel_herding(table, k)
    else:
        raise UnknownName("method", str(method), METHODS, f"one of {', '.join(METHODS)}")
    return tuple(sorted(int(i) for i in chosen))


def _distances(table: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.sqrt(
        ((table[:, None, :] - table[None, :, :]) ** 2).sum(axis=2)
    )
    return distances


def k_medoids(
    table: NDArray[np.float64], k: int, rng: np.random.Generator, starts: int = 10
) -> NDArray[np.int64]:
    """Rows that minimise the mean Euclidean distance to the nearest chosen row.

    Alternating assignment and update (Park and Jun 2009), best of ``starts`` random starts.
    """
    distance = _distances(table)
    best, best_cost = np.arange(k), np.inf
    for _ in range(starts):
        medoids = rng.choice(len(table), k, replace=False)
        for _ in range(100):
            # a medoid belongs to itself, so that no cluster is empty
            nearest = distance[:, medoids].argmin(axis=1)
            nearest[medoids] = np.arange(k)
            groups = [np.flatnonzero(nearest == at) for at in range(k)]
            moved = np.array(
                [group[distance[np.ix_(group, group)].sum(axis=0).argmin()] for group in groups]
            )
            if (moved == medoids).all():
                break
            medoids = moved
        cost = distance[:, medoids].min(axis=1).sum()
        if cost < best_cost:
            best, best_cost = medoids, cost
    return best


def kernel_herding(table: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Rows whose mean in a Gaussian kernel's feature space follows that of all rows.

    Greedy without repetition (Chen, Welling and Smola 2010); bandwidth: median distance.
    """
    distance = _distances(table)
    apart = distance[np.triu_indices(len(table), 1)]
    bandwidth = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    kernel = np.exp(-((distance / bandwidth) ** 2) / 2)
    mean, chosen = kernel.mean(axis=1), list[int]()
    for _ in range(k):
        score = mean - kernel[:, chosen].sum(axis=1) / (len(chosen) + 1)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return np.array(chosen)
