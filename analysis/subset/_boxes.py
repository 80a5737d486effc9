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
def count_inside(inside: Words, cells: Ints, cell: int, end: int) -> int:
    """Number of points within the box whose threshold indices are ``cells[cell, end]``."""
    total = np.int64(0)
    for w in range(inside.shape[2]):
        word = inside[0, cells[cell, end, 0], w]
        for j in range(1, cells.shape[2]):
            word &= inside[j, cells[cell, end, j], w]
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
    side: int, cells: Ints, cell: int, grid: Ints, inside: Words, work: Ints, field: Field, k: int
) -> tuple[float, bool]:
    """Upper bound of the score over a cell of threshold indices, and whether it is attained."""
    few, many = count_inside(inside, cells, cell, 0), count_inside(inside, cells, cell, 1)
    for j in range(len(work)):
        work[j] = grid[j, cells[cell, side, j]]
    target = measure(side, work, field, k)
    if side == CLOSED:
        return mass(many, k, field.full) - target, few == many
    return target - mass(few, k, field.full), few == many


@compiled
def split_axis(cells: Ints, cell: int) -> int:
    """The axis whose range of thresholds is the largest part of the box; 0 for a single corner."""
    axis, widest = 0, 0.0
    for j in range(cells.shape[2]):
        width = (cells[cell, 1, j] - cells[cell, 0, j]) / (cells[cell, 1, j] + 1.0)
        if width > widest:
            axis, widest = j, width
    return axis


@compiled
def copy_cell(cells: Ints, source: int, goal: int) -> None:
    """cells[goal] = cells[source]."""
    for j in range(cells.shape[2]):
        cells[goal, 0, j] = cells[source, 0, j]
        cells[goal, 1, j] = cells[source, 1, j]


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
    trail: Ints,
    nodes: int,
) -> tuple[int, float, float, int, int]:
    """Depth-first branch and bound; resumable.

    ``cells``: (stack, 2, d) with ``depth`` open cells of threshold indices, ``bounds`` theirs.
    ``best``: score to beat. ``trail``: (size, d), a ring that gets the ranks of every box that
    improved on ``best``, the worst box last. Ends when ``depth`` is 0 or ``nodes`` cells were
    bounded. Returns depth, best, the largest bound among cells dropped only since it is within
    ``slack`` of best, the number of boxes in the trail, and nodes left.
    """  # fmt: skip
    spare = len(cells) - 1  # keeps the cell that is being split
    work = np.empty(trail.shape[1], np.int64)
    skipped, hits = best, 0
    while depth > 0 and nodes > 0:
        depth -= 1
        if bounds[depth] <= best + slack:
            skipped = max(skipped, bounds[depth])
            continue
        copy_cell(cells, depth, spare)
        axis = split_axis(cells, spare)
        middle = (cells[spare, 0, axis] + cells[spare, 1, axis]) // 2
        first = depth
        for half in range(2):
            copy_cell(cells, spare, depth)
            if half == 0:
                cells[depth, 1, axis] = middle
            else:
                cells[depth, 0, axis] = middle + 1
            if cells[depth, 0, axis] > cells[depth, 1, axis]:
                continue
            nodes -= 1
            score, attained = bound(side, cells, depth, grid, inside, work, field, k)
            if score <= best:
                continue
            if attained:
                best = score
                for j in range(len(work)):
                    trail[hits % len(trail), j] = work[j]
                hits += 1
            elif score <= best + slack:
                skipped = max(skipped, score)
            else:
                bounds[depth] = score
                depth += 1
        if depth == first + 2 and bounds[first] > bounds[first + 1]:
            # the more promising half is on top of the stack
            copy_cell(cells, first, spare)
            copy_cell(cells, first + 1, first)
            copy_cell(cells, spare, first + 1)
            bounds[first], bounds[first + 1] = bounds[first + 1], bounds[first]
    return depth, best, max(skipped, best), hits, nodes


@compiled
def root_cell(sizes: Ints, cells: Ints, bounds: Floats) -> None:
    """Make the stack hold the one cell of all threshold vectors."""
    for j in range(len(sizes)):
        cells[0, 0, j], cells[0, 1, j] = 0, sizes[j] - 1
    bounds[0] = np.inf
