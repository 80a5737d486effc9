"""Compiled threshold accepting for the worst anchored box: a lower bound in any dimension.

After Gnewuch, Wahlstroem and Winzen (2012), SIAM J. Numer. Anal. 50(2), "A new randomized
algorithm to approximate the star discrepancy based on threshold accepting": open and closed boxes
are searched apart, neighbours are drawn from the measure with density d*r^(d-1), the neighbourhood
shrinks from half of each axis to one step while more axes change at once, the thresholds are
sampled differences of neighbours, and each box is snapped to a critical one before it is scored.
"""

from __future__ import annotations

import numpy as np

from carps_like.analysis.subset._boxes import CLOSED, OPEN, Field, Ints, mass, measure
from carps_like.analysis.subset._compiled import compiled, helper
from carps_like.analysis.subset._random import Stream, below, uniform


@helper
def snap(side: int, corner: Ints, ranks: Ints, tops: Ints, first: int) -> int:
    """Move ``corner`` (d,) to a critical box in place; returns the number of points in the box.

    Closed: shrink to the points inside. Open: grow axis by axis, from ``first`` on, until a point
    that would enter blocks the way.
    """
    k, d = ranks.shape
    count = 0
    if side == CLOSED:
        reach = np.full(d, -1)
        for i in range(k):
            if np.all(ranks[i] <= corner):
                count += 1
                reach = np.maximum(reach, ranks[i])
        if count:
            corner[:] = reach
        return count
    for step in range(d):
        j = (first + step) % d
        limit = tops[j]
        for i in range(k):
            if ranks[i, j] >= corner[j] and ranks[i, j] < limit:
                inside = True
                for other in range(d):
                    inside = inside and (other == j or ranks[i, other] < corner[other])
                if inside:
                    limit = ranks[i, j]
        corner[j] = limit
    for i in range(k):
        if np.all(ranks[i] < corner):
            count += 1
    return count


@helper
def score_box(side: int, corner: Ints, ranks: Ints, first: int, field: Field) -> float:
    """Snap ``corner`` in place and score it."""
    k = len(ranks)
    points = mass(snap(side, corner, ranks, field.tops, first), k, field.full)
    target = measure(side, corner, field, k)
    return points - target if side == CLOSED else target - points


@helper
def neighbour(
    centre: Ints,
    width: float,
    changes: int,
    grid: Ints,
    sizes: Ints,
    axes: Ints,
    stream: Stream,
    out: Ints,
) -> None:
    """Draw corner ranks ``out`` near the threshold indices ``centre``; ``axes`` is shuffled."""
    d = len(centre)
    for j in range(d):
        out[j] = grid[j, centre[j]]
    for step in range(changes):
        other = step + below(stream, d - step)
        axes[step], axes[other] = axes[other], axes[step]
        j = axes[step]
        reach = width * sizes[j] / 2.0 + 1.0
        low = max(centre[j] - reach, -0.5) + 0.5
        high = min(centre[j] + reach, sizes[j] - 0.5) + 0.5
        drawn = ((high**d - low**d) * uniform(stream) + low**d) ** (1.0 / d)
        out[j] = grid[j, min(int(drawn), sizes[j] - 1)]


@helper
def locate(corner: Ints, grid: Ints, sizes: Ints, out: Ints) -> None:
    """Threshold indices of corner ranks."""
    for j in range(len(corner)):
        out[j] = min(np.searchsorted(grid[j, : sizes[j]], corner[j]), sizes[j] - 1)


@compiled
def threshold_accepting(
    side: int, ranks: Ints, field: Field, steps: int, seed: int
) -> tuple[float, Ints]:
    """Best score of a box of ``side`` within ``steps`` evaluations, and its corner ranks (d,)."""
    k, d = ranks.shape
    stream = np.array([seed], np.uint64)
    tops = field.tops
    grid = np.zeros((d, k + 1), np.int64)
    sizes = np.zeros(d, np.int64)
    for j in range(d):
        distinct = np.unique(ranks[:, j])
        if side == OPEN and distinct[-1] != tops[j]:
            distinct = np.append(distinct, tops[j])
        sizes[j] = len(distinct)
        grid[j, : sizes[j]] = distinct
    axes = np.arange(d)
    centre, corner, trial = np.zeros(d, np.int64), np.zeros(d, np.int64), np.zeros(d, np.int64)
    best, best_corner = -np.inf, np.zeros(d, np.int64)
    rounds = max(int(np.sqrt(steps) / 2.0), 1)
    limits = np.zeros(rounds)
    for sample in range(rounds):
        for j in range(d):
            centre[j] = int(sizes[j] * uniform(stream) ** (1.0 / d))
        scores = np.zeros(2)
        for pick in range(2):
            neighbour(centre, 1.0 - sample / rounds, min(2, d), grid, sizes, axes, stream, trial)
            scores[pick] = score_box(side, trial, ranks, sample, field)
            if scores[pick] > best:
                best, best_corner = scores[pick], trial.copy()
        limits[sample] = -abs(scores[0] - scores[1])
    limits.sort()
    corner = best_corner.copy()
    current = best
    for outer in range(rounds):
        progress = outer / rounds
        changes = min(d, 2 + int(progress * max(d - 2, 0)))
        for _ in range(2 * rounds):
            locate(corner, grid, sizes, centre)
            neighbour(centre, 1.0 - progress, changes, grid, sizes, axes, stream, trial)
            first = below(stream, d)
            score = score_box(side, trial, ranks, first, field)
            if score - current >= limits[outer]:
                current = score
                corner[:] = trial
                if score > best:
                    best, best_corner = score, trial.copy()
    return best, best_corner
