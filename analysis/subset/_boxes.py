"""Compiled search for the worst anchored box: branch and bound over the critical grid.

A box is named by one rank per axis. The *axis grid* holds the sorted distinct coordinates of all
points in play, with the top (1 for the uniform target, infinity for an empirical one) last. Only
coordinates of the subset, and the top for open boxes, can be worst (Niederreiter 1972), so each
axis has a short list of *thresholds*.

The two sides of the discrepancy are one problem: maximise A(t) - B(t) over threshold vectors t,
with A and B growing in every coordinate. Closed boxes: A counts points, B measures. Open boxes:
the other way round. A cell [lo, hi] of threshold vectors is bounded by A(hi) - B(lo); it is
finished when no point lies between lo and hi, since then the bound is attained. Splitting the
coordinate space with counts that are exact on cells follows Dobkin, Eppstein and Mitchell (1996);
bounding cells by their two extreme corners follows Thiemard (2001).

Scores are ``scale`` times discrepancies: 1 for the uniform target; k*n for an empirical one, where
every score is then an integer and exact in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carps_like.analysis.subset._compiled import compiled, popcount

CLOSED, OPEN = 0, 1
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


class Field(NamedTuple):
    """The target's measure on the axis grids."""

    values: Floats  # (d, size): sorted distinct coordinates, the top last, then padding
    tops: Ints  # (d,) rank of the top: coordinate 1 (uniform) or infinity (empirical)
    reference: Words  # rank_masks of the full set; (0, 0, 0) for the uniform target
    full: int  # number of points of the full set; 0 for the uniform target


@compiled
def rank_masks(ranks: Ints, sizes: Ints) -> Words:
    """Bit sets of the points with rank < r: shape (d, max size + 1, words).

    ``ranks``: (n, d), into axis grids of ``sizes`` entries.
    """
    n, d = ranks.shape
    words = (n + 63) // 64
    masks = np.zeros((d, sizes.max() + 1, words), np.uint64)
    for j in range(d):
        for i in range(n):
            masks[j, ranks[i, j] + 1, i >> 6] |= np.uint64(1) << np.uint64(i & 63)
        for r in range(1, sizes[j] + 1):
            for w in range(words):
                masks[j, r, w] |= masks[j, r - 1, w]
    return masks


@compiled
def thresholds(ranks: Ints, tops: Ints, side: int, grid: Ints, sizes: Ints, inside: Words) -> None:
    """The candidate corners of ``side`` on every axis, written into the last three arguments.

    ``ranks``: (k, d) of the subset; ``tops``: (d,) rank of the top. ``grid``: (d, k+1) threshold
    ranks, ``sizes``: (d,) how many; ``inside``: (d, k+2, words) bit sets of the subset's points
    within each threshold: at or below it (closed), below it (open).
    """
    k, d = ranks.shape
    words = inside.shape[2]
    for j in range(d):
        order = np.argsort(ranks[:, j])
        used = 0
        for w in range(words):
            inside[j, 0, w] = np.uint64(0)
        for at in range(k):
            i = order[at]
            if at == 0 or ranks[i, j] != grid[j, used - 1]:
                grid[j, used] = ranks[i, j]
                used += 1
                before = max(used - 2 + side, 0)
                for w in range(words):
                    inside[j, used - 1 + side, w] = inside[j, before, w]
            inside[j, used - 1 + side, i >> 6] |= np.uint64(1) << np.uint64(i & 63)
        if side == OPEN and grid[j, used - 1] != tops[j]:
            grid[j, used] = tops[j]
            used += 1
        sizes[j] = used


@compiled
def count_inside(inside: Words, at: Ints) -> int:
    """Number of points within the box with threshold indices ``at`` (d,)."""
    total = np.int64(0)
    for w in range(inside.shape[2]):
        word = inside[0, at[0], w]
        for j in range(1, at.shape[0]):
            word &= inside[j, at[j], w]
        total += np.int64(popcount(word))
    return int(total)


@compiled
def measure(side: int, corner: Ints, field: Field, k: int) -> float:
    """Score of the target's mass in the box with corner ranks ``corner`` (d,)."""
    values, reference = field.values, field.reference
    d = corner.shape[0]
    if field.full == 0:
        volume = 1.0
        for j in range(d):
            volume *= values[j, corner[j]]
        return volume
    shift = 1 - side
    total = 0
    for w in range(reference.shape[2]):
        word = reference[0, corner[0] + shift, w]
        for j in range(1, d):
            word &= reference[j, corner[j] + shift, w]
        total += popcount(word)
    return float(np.int64(total) * k)


@compiled
def mass(count: int, k: int, full: int) -> float:
    """Score of ``count`` of the k chosen points; ``full``: size of the full set, 0 if uniform."""
    return count / k if full == 0 else float(count * full)


@compiled
def bound(
    side: int, low: Ints, high: Ints, grid: Ints, inside: Words, work: Ints, field: Field, k: int
) -> tuple[float, bool]:
    """Upper bound of the score over a cell of threshold indices, and whether it is attained."""
    few, many = count_inside(inside, low), count_inside(inside, high)
    extreme = low if side == CLOSED else high
    for j in range(low.shape[0]):
        work[j] = grid[j, extreme[j]]
    target = measure(side, work, field, k)
    if side == CLOSED:
        return mass(many, k, field.full) - target, few == many
    return target - mass(few, k, field.full), few == many


@compiled
def split_axis(low: Ints, high: Ints) -> int:
    """The axis whose range of thresholds is the largest part of the box; -1 for a single corner."""
    axis, widest = -1, 0.0
    for j in range(low.shape[0]):
        width = (high[j] - low[j]) / (high[j] + 1.0)
        if width > widest:
            axis, widest = j, width
    return axis


@compiled
def worst_box(
    side: int,
    grid: Ints,
    inside: Words,
    field: Field,
    k: int,
    cells: Ints,
    bounds: Floats,
    depth: int,
    best: float,
    slack: float,
    corner: Ints,
    nodes: int,
) -> tuple[int, float, float, int]:
    """Depth-first branch and bound; resumable. Returns (depth, best, skipped, nodes left).

    ``cells``: (stack, 2, d) with ``depth`` open cells of threshold indices, ``bounds`` theirs.
    ``best``: score to beat by more than ``slack``; ``corner`` (d,) gets the ranks of the winner.
    ``skipped``: largest bound among cells dropped only thanks to ``slack``. Ends when ``depth`` is
    0 or ``nodes`` cells were bounded.
    """
    d = corner.shape[0]
    work = np.empty(d, np.int64)
    skipped = best
    while depth > 0 and nodes > 0:
        depth -= 1
        if bounds[depth] <= best + slack:
            skipped = max(skipped, bounds[depth])
            continue
        low, high = cells[depth, 0].copy(), cells[depth, 1].copy()
        axis = split_axis(low, high)
        middle = (low[axis] + high[axis]) // 2
        first = depth
        for half in range(2):
            cells[depth, 0], cells[depth, 1] = low, high
            if half == 0:
                cells[depth, 1, axis] = middle
            else:
                cells[depth, 0, axis] = middle + 1
            nodes -= 1
            score, attained = bound(
                side, cells[depth, 0], cells[depth, 1], grid, inside, work, field, k
            )
            if score <= best:
                continue
            if attained:
                best = score
                for j in range(d):
                    corner[j] = grid[j, cells[depth, side, j]]
            elif score <= best + slack:
                skipped = max(skipped, score)
            else:
                bounds[depth] = score
                depth += 1
        if depth == first + 2 and bounds[first] > bounds[first + 1]:
            # the more promising half is on top of the stack
            low, high = cells[first, 0].copy(), cells[first, 1].copy()
            cells[first], cells[first + 1, 0], cells[first + 1, 1] = cells[first + 1], low, high
            bounds[first], bounds[first + 1] = bounds[first + 1], bounds[first]
    return depth, best, max(skipped, best), nodes
