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


class Stack(NamedTuple):
    """Open cells of threshold indices; a cell keeps what its halves can take over."""

    cells: Ints  # (size, 2, d): lower and upper corner
    bounds: Floats  # (size,) upper bound of the score
    counts: Ints  # (size, 2): the subset's points within the lower and the upper corner
    targets: Floats  # (size,) score of the target's mass, lower (closed) or upper corner (open)
    within: Words  # (size, words): the subset's points within the upper corner


def root_stack(side: int, grid: Ints, sizes: Ints, inside: Words, field: Field, k: int) -> Stack:
    """A stack that holds the one cell of all threshold vectors."""
    d = len(sizes)
    size = 5 + 2 * int(np.ceil(np.log2(sizes + 1)).sum())
    axes = np.arange(d)
    stack = Stack(
        cells=np.zeros((size, 2, d), np.int64),
        bounds=np.full(size, np.inf),
        counts=np.zeros((size, 2), np.int64),
        targets=np.zeros(size),
        within=np.zeros((size, inside.shape[2]), np.uint64),
    )
    stack.cells[0, 1] = sizes - 1
    for end in range(2):
        corner = stack.cells[0, end]
        words = np.bitwise_and.reduce(inside[axes, corner], axis=0)
        stack.counts[0, end] = np.unpackbits(words.view(np.uint8)).sum()
        stack.within[0] = words
        if end == side:
            stack.targets[0] = measure(side, grid[axes, corner], field, k)
    return stack


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
def copy_cell(stack: Stack, source: int, goal: int) -> None:
    """Make entry ``goal`` what entry ``source`` is."""
    for j in range(stack.cells.shape[2]):
        stack.cells[goal, 0, j] = stack.cells[source, 0, j]
        stack.cells[goal, 1, j] = stack.cells[source, 1, j]
    for w in range(stack.within.shape[1]):
        stack.within[goal, w] = stack.within[source, w]
    stack.bounds[goal], stack.targets[goal] = stack.bounds[source], stack.targets[source]
    stack.counts[goal, 0], stack.counts[goal, 1] = stack.counts[source, 0], stack.counts[source, 1]


@helper
def count_again(half: int, axis: int, cell: int, inside: Words, stack: Stack) -> None:
    """Count anew within the corner of ``cell`` that was moved along ``axis``.

    ``half`` 0: the upper corner came down; 1: the lower one went up.
    """
    cells, within = stack.cells, stack.within
    total = np.int64(0)
    if half == 0:
        moved = cells[cell, 1, axis]
        for w in range(within.shape[1]):
            within[cell, w] &= inside[axis, moved, w]
            total += np.int64(popcount(within[cell, w]))
        stack.counts[cell, 1] = total
        return
    for w in range(within.shape[1]):
        word = within[cell, w]
        if word:
            for j in range(cells.shape[2]):
                word &= inside[j, cells[cell, 0, j], w]
            total += np.int64(popcount(word))
    stack.counts[cell, 0] = total


@compiled
def worst_box(
    side: int,
    grid: Ints,
    inside: Words,
    field: Field,
    k: int,
    stack: Stack,
    depth: int,
    best: float,
    slack: float,
    trail: Ints,
    hits: int,
    nodes: int,
) -> tuple[int, float, float, int, int]:
    """Depth-first branch and bound; resumable.

    ``stack``: ``depth`` open cells. ``best``: score to beat. ``trail``: (size, d), a ring that
    gets the ranks of every box that improved on ``best``, the worst last; ``hits`` counts them.
    Ends when ``depth`` is 0 or ``nodes`` cells were bounded. Returns depth, best, the largest
    bound among cells dropped only since it is within ``slack`` of best, ``hits``, and nodes left.
    """
    cells, bounds, counts, targets = stack.cells, stack.bounds, stack.counts, stack.targets
    spare = len(cells) - 1  # keeps the cell that is being split
    work = np.empty(trail.shape[1], np.int64)
    skipped = best
    while depth > 0 and nodes > 0:
        depth -= 1
        if bounds[depth] <= best + slack:
            skipped = max(skipped, bounds[depth])
            continue
        copy_cell(stack, depth, spare)
        axis = split_axis(cells, spare)
        middle = (cells[spare, 0, axis] + cells[spare, 1, axis]) // 2
        first = depth
        for half in range(2):
            if half == 1 and middle == cells[spare, 1, axis]:
                continue
            copy_cell(stack, spare, depth)
            cells[depth, 1 - half, axis] = middle + half
            count_again(half, axis, depth, inside, stack)
            for j in range(len(work)):
                work[j] = grid[j, cells[depth, side, j]]
            if side != half:
                targets[depth] = measure(side, work, field, k)
            nodes -= 1
            if side == CLOSED:
                score = mass(counts[depth, 1], k, field.full) - targets[depth]
            else:
                score = targets[depth] - mass(counts[depth, 0], k, field.full)
            if score <= best:
                continue
            if counts[depth, 0] == counts[depth, 1]:
                # no point lies between the corners: the bound is attained
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
            copy_cell(stack, first, spare)
            copy_cell(stack, first + 1, first)
            copy_cell(stack, spare, first + 1)
    return depth, best, max(skipped, best), hits, nodes
