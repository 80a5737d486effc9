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

from carps_like.analysis.subset._compiled import compiled, helper, popcount

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


def pack(members: NDArray[np.bool_]) -> Words:
    """Bit sets (m, words) of the rows of ``members`` (m, n)."""
    m, n = members.shape
    padded = np.zeros((m, (n + 63) // 64 * 64), np.bool_)
    padded[:, :n] = members
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def rank_masks(ranks: Ints, sizes: Ints) -> Words:
    """Bit sets of the points with rank < r: shape (d, max size + 1, words).

    ``ranks``: (n, d), into axis grids of ``sizes`` entries.
    """
    limits = np.arange(sizes.max() + 1)
    return np.stack([pack(column < limits[:, None]) for column in ranks.T])


def thresholds(ranks: Ints, tops: Ints, side: int) -> tuple[Ints, Ints, Words]:
    """The candidate corners of ``side`` on every axis.

    ``ranks``: (k, d) of the subset; ``tops``: (d,) rank of the top. Returns threshold ranks
    (d, k + 1), how many there are (d,), and bit sets (d, k + 1, words) of the subset's points
    within each: at or below it (closed), below it (open).
    """
    k, d = ranks.shape
    grid, sizes = np.zeros((d, k + 1), np.int64), np.zeros(d, np.int64)
    inside = np.zeros((d, k + 1, (k + 63) // 64), np.uint64)
    for j, (column, top) in enumerate(zip(ranks.T, tops, strict=True)):
        distinct = np.unique(column if side == CLOSED else np.append(column, top))
        sizes[j] = len(distinct)
        grid[j, : len(distinct)] = distinct
        inside[j, : len(distinct)] = pack(column < distinct[:, None] + (1 - side))
    return grid, sizes, inside


@helper
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
    score = 1.0
    if field.full == 0:
        for j in range(d):
            score *= values[j, corner[j]]
    else:
        shift = 1 - side
        total = np.int64(0)
        for w in range(reference.shape[2]):
            word = reference[0, corner[0] + shift, w]
            for j in range(1, d):
                word &= reference[j, corner[j] + shift, w]
            total += np.int64(popcount(word))
        score = float(total * k)
    return score


@helper
def mass(count: int, k: int, full: int) -> float:
    """Score of ``count`` of the k chosen points; ``full``: size of the full set, 0 if uniform."""
    return count / k if full == 0 else float(count * full)


@helper
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


@helper
def split_axis(cells: Ints, cell: int) -> int:
    """The axis whose range of thresholds is the largest part of the box; 0 for a single corner."""
    axis, widest = 0, 0.0
    for j in range(cells.shape[2]):
        width = (cells[cell, 1, j] - cells[cell, 0, j]) / (cells[cell, 1, j] + 1.0)
        if width > widest:
            axis, widest = j, width
    return axis


@helper
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
    hits: int,
    nodes: int,
) -> tuple[int, float, float, int, int]:
    """Depth-first branch and bound; resumable.

    ``cells``: (stack, 2, d) with ``depth`` open cells of threshold indices, ``bounds`` theirs.
    ``best``: score to beat. ``trail``: (size, d), a ring that gets the ranks of every box that
    improved on ``best``, the worst last; ``hits`` counts them. Ends when ``depth`` is 0 or ``nodes`` cells were
    bounded. Returns depth, best, the largest bound among cells dropped only since it is within
    ``slack`` of best, ``hits``, and nodes left.
    """  # fmt: skip
    spare = len(cells) - 1  # keeps the cell that is being split
    work = np.empty(trail.shape[1], np.int64)
    skipped = best
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


def root_cell(sizes: Ints, cells: Ints, bounds: Floats) -> None:
    """Make the stack hold the one cell of all threshold vectors."""
    cells[0, 0], cells[0, 1] = 0, sizes - 1
    bounds[0] = np.inf
