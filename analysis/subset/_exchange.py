"""Compiled search for a subset whose every box stays within a level: weighted exchanges on a pool.

At level D a subset is good when every closed box holds at most floor(k*(mass + D)) of its points
and every open box at least ceil(k*(mass - D)). Counted from the other side (k minus the points in
the open box), both kinds say: at most ``cap`` chosen points among the ``member`` rows. Only boxes
that some subset once violated are in the pool. One step takes a point of a violated box out and
puts the point in that raises the weighted violation least; the weight of every row that stays
violated then grows, so that the search leaves local minima (breakout, Morris 1993; two-stage
exchange with weights as in NuMVC, Cai et al. 2013). A subset that satisfies the pool is tested
exactly, and the boxes that it violates join the pool.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carps_like.analysis.subset._boxes import (
    CLOSED,
    Field,
    Floats,
    Ints,
    Words,
    measure,
    root_cell,
    thresholds,
    worst_box,
)
from carps_like.analysis.subset._compiled import compiled
from carps_like.analysis.subset._random import Stream, below
from carps_like.analysis.subset._sweep import CORNERS, WORD, sweep

Bytes = NDArray[np.uint8]
Singles = NDArray[np.float32]
Shorts = NDArray[np.int16]
MANY = 1 << 60
# weights are halved every so many steps, so that old difficulties fade
FADE_STEPS = 1000
FADE = np.float32(0.5)
# counters in State.tally
ROWS, STEPS, VIOLATED = 0, 1, 2


class Pool(NamedTuple):
    """Known boxes; the first ``tally[ROWS]`` entries are in use."""

    member: Singles  # (capacity, n): 1 if the point counts against the cap
    column: Shorts  # (n, capacity): the same, transposed
    side: Ints  # (capacity,)
    base: Floats  # (capacity,) score of the target's mass in the box
    corner: Ints  # (capacity, d) ranks
    over: Shorts  # (capacity,) chosen members minus the cap at the current level
    weight: Singles  # (capacity,)
    seen: Ints  # (capacity,) step at which the row was last violated
    violated: Ints  # (capacity,) the first tally[VIOLATED]: the rows with over > 0


class State(NamedTuple):
    """Where the search stands; everything that a step reads or writes."""

    chosen: Bytes  # (n,) 1 if in the subset
    since: Ints  # (n,) step of the last change
    until: Ints  # (n,) step before which the point may not change back
    gain: Singles  # (n,) memory: weight of the violated rows with the point
    cost: Singles  # (n,) memory: weight of the violated or tight rows with the point
    tally: Ints  # (3,) counters
    stream: Stream


class Scratch(NamedTuple):
    """Memory of the exact test."""

    ranks: Ints  # (k, d)
    grid: Ints  # (d, k + 1)
    sizes: Ints  # (d,)
    inside: Words  # (d, k + 2, words)
    cells: Ints  # (stack, 2, d)
    bounds: Floats  # (stack,)
    trail: Ints  # (size, d)


@compiled
def cap_of(side: int, base: float, level: float, k: int, full: int) -> int:
    """Largest number of member points that keeps the box's score at or below ``level``."""
    unit = 1.0 / k if full == 0 else float(full)
    if side == CLOSED:
        return int(np.floor((base + level) / unit))
    return k - max(int(np.ceil((base - level) / unit)), 0)


@compiled
def lift(side: int, corner: Ints, level: float, field: Field, k: int, stream: Stream) -> None:
    """Move ``corner`` (d,) in place, axis by axis at random, while the box's cap stays the same.

    A larger closed box (a smaller open one) with the same cap is the stronger row.
    """
    d = len(corner)
    cap = cap_of(side, measure(side, corner, field, k), level, k, field.full)
    step = 1 if side == CLOSED else -1
    blocked = np.zeros(d, np.uint8)
    while np.sum(blocked) < d:
        j = below(stream, d)
        if blocked[j]:
            continue
        corner[j] += step
        if (
            0 <= corner[j] <= field.tops[j]
            and cap_of(side, measure(side, corner, field, k), level, k, field.full) == cap
        ):
            continue
        corner[j] -= step
        blocked[j] = 1


@compiled
def add_box(
    side: int, corner: Ints, ranks: Ints, field: Field, k: int, pool: Pool, state: State
) -> None:
    """Append the box with ``corner`` ranks (d,) to the pool, for all points ``ranks`` (n, d)."""
    b = state.tally[ROWS]
    n, d = ranks.shape
    for i in range(n):
        inside = True
        for j in range(d):
            inside = inside and ranks[i, j] < corner[j] + 1 - side
        counts = inside if side == CLOSED else not inside
        pool.member[b, i] = 1 if counts else 0
        pool.column[i, b] = 1 if counts else 0
    pool.side[b] = side
    pool.base[b] = measure(side, corner, field, k)
    pool.corner[b] = corner
    pool.weight[b] = 1
    pool.seen[b] = state.tally[STEPS]
    state.tally[ROWS] += 1


@compiled
def forget(pool: Pool, state: State) -> None:
    """Drop the half of the rows that were violated longest ago."""
    rows = state.tally[ROWS]
    limit = np.sort(pool.seen[:rows])[rows // 2]
    kept = 0
    for b in range(rows):
        if pool.seen[b] >= limit and kept < rows - rows // 2:
            pool.member[kept] = pool.member[b]
            pool.column[:, kept] = pool.column[:, b]
            pool.side[kept] = pool.side[b]
            pool.base[kept] = pool.base[b]
            pool.corner[kept] = pool.corner[b]
            pool.weight[kept] = pool.weight[b]
            pool.seen[kept] = pool.seen[b]
            kept += 1
    state.tally[ROWS] = kept


@compiled
def enter(b: int, level: float, k: int, full: int, pool: Pool, state: State) -> None:
    """Make row ``b`` take part at ``level``."""
    over = -cap_of(pool.side[b], pool.base[b], level, k, full)
    for i in range(len(state.chosen)):
        if state.chosen[i]:
            over += pool.column[i, b]
    pool.over[b] = over
    if over > 0:
        pool.violated[state.tally[VIOLATED]] = b
        pool.seen[b] = state.tally[STEPS]
        state.tally[VIOLATED] += 1


@compiled
def set_level(level: float, k: int, full: int, pool: Pool, state: State) -> None:
    """Recompute all rows for ``level`` (a score)."""
    state.tally[VIOLATED] = 0
    for b in range(state.tally[ROWS]):
        enter(b, level, k, full, pool, state)


@compiled
def add_row(total: Singles, row: Singles, weight: float) -> None:
    """total += weight * row."""
    for i in range(len(total)):
        total[i] += weight * row[i]


@compiled
def flip(i: int, pool: Pool, state: State) -> None:
    """Put point ``i`` into the subset, or take it out."""
    rows = state.tally[ROWS]
    column, over = pool.column[i, :rows], pool.over[:rows]
    if state.chosen[i]:
        for b in range(rows):
            over[b] -= column[b]
    else:
        for b in range(rows):
            over[b] += column[b]
    state.chosen[i] = 1 - state.chosen[i]


@compiled
def weigh_violated(pool: Pool, state: State) -> None:
    """state.gain: for each point, the weight of its violated rows."""
    state.gain[:] = 0
    for at in range(state.tally[VIOLATED]):
        b = pool.violated[at]
        add_row(state.gain, pool.member[b], pool.weight[b])


@compiled
def weigh_tight(pool: Pool, state: State) -> None:
    """state.cost: for each point, the weight of its rows that cannot take another member."""
    member, weight, over, cost = pool.member, pool.weight, pool.over, state.cost
    cost[:] = 0
    for b in range(state.tally[ROWS]):
        if over[b] >= 0:
            add_row(cost, member[b], weight[b])


@compiled
def list_violated(pool: Pool, state: State) -> None:
    """Find the violated rows and raise their weights."""
    over, violated, weight, seen = pool.over, pool.violated, pool.weight, pool.seen
    size, now = 0, state.tally[STEPS]
    for b in range(state.tally[ROWS]):
        if over[b] > 0:
            violated[size] = b
            weight[b] += np.float32(1)
            seen[b] = now
            size += 1
    state.tally[VIOLATED] = size


@compiled
def leaver(row: Singles, state: State) -> int:
    """The free member of ``row`` whose leaving helps most, unchanged longest if equal; or -1."""
    chosen, until, since, gain = state.chosen, state.until, state.since, state.gain
    best, now = -1, state.tally[STEPS]
    for i in range(len(chosen)):
        free = chosen[i] and row[i] > 0 and until[i] <= now
        if free and (
            best < 0 or gain[i] > gain[best] or (gain[i] == gain[best] and since[i] < since[best])
        ):
            best = i
    return best


@compiled
def comer(state: State) -> int:
    """The free point outside whose coming hurts least, unchanged longest if equal; or -1."""
    chosen, until, since, cost = state.chosen, state.until, state.since, state.cost
    best, now = -1, state.tally[STEPS]
    for i in range(len(chosen)):
        free = chosen[i] == 0 and until[i] <= now
        if free and (
            best < 0 or cost[i] < cost[best] or (cost[i] == cost[best] and since[i] < since[best])
        ):
            best = i
    return best


@compiled
def exchange(pool: Pool, state: State, tenure: int) -> None:
    """One step: take a point of a violated row out, put the cheapest one in, raise weights."""
    tally = state.tally
    row = pool.violated[below(state.stream, tally[VIOLATED])]
    tally[STEPS] += 1
    now = tally[STEPS]
    weigh_violated(pool, state)
    out = leaver(pool.member[row], state)
    if out >= 0:
        flip(out, pool, state)
        weigh_tight(pool, state)
        state.until[out] = now + tenure + below(state.stream, tenure)
        came = comer(state)
        if came < 0:
            came = out
        flip(came, pool, state)
        state.since[out] = now
        state.since[came] = now
        state.until[came] = now + 1 + below(state.stream, 3)
    list_violated(pool, state)
    if now % FADE_STEPS == 0:
        for b in range(tally[ROWS]):
            pool.weight[b] = max(np.float32(1), pool.weight[b] * FADE)


@compiled
def test_exactly(
    level: float, ranks: Ints, field: Field, pool: Pool, state: State, scratch: Scratch
) -> float:
    """The subset's score if above ``level``, else ``level``; its violated boxes join the pool."""
    k = len(scratch.ranks)
    at = 0
    for i in range(len(state.chosen)):
        if state.chosen[i]:
            scratch.ranks[at] = ranks[i]
            at += 1
    if state.tally[ROWS] + 2 * len(scratch.trail) > len(pool.side):
        forget(pool, state)
        set_level(level, k, field.full, pool, state)
    best = level
    for side in range(2):
        thresholds(scratch.ranks, field.tops, side, scratch.grid, scratch.sizes, scratch.inside)
        if k <= WORD and np.prod(scratch.sizes.astype(np.float64)) <= CORNERS:
            found, hits = sweep(
                side, scratch.ranks, scratch.grid, scratch.sizes, scratch.inside, field, level,
                scratch.trail,
            )  # fmt: skip
        else:
            root_cell(scratch.sizes, scratch.cells, scratch.bounds)
            _, found, _, hits, _ = worst_box(
                side, scratch.grid, scratch.inside, field, k, scratch.cells, scratch.bounds,
                1, level, 0.0, scratch.trail, MANY,
            )  # fmt: skip
        best = max(best, found)
        for hit in range(min(hits, len(scratch.trail))):
            lift(side, scratch.trail[hit], level, field, k, state.stream)
            add_box(side, scratch.trail[hit], ranks, field, k, pool, state)
            enter(state.tally[ROWS] - 1, level, k, field.full, pool, state)
    return best


@compiled
def search(
    level: float,
    ranks: Ints,
    field: Field,
    pool: Pool,
    state: State,
    scratch: Scratch,
    tenure: int,
    last: int,
) -> bool:
    """Exchange until the subset's score is at most ``level`` (True) or step ``last`` (False)."""
    while state.tally[STEPS] < last:
        if state.tally[VIOLATED] == 0:
            state.tally[STEPS] += 1
            if test_exactly(level, ranks, field, pool, state, scratch) <= level:
                return True
        else:
            exchange(pool, state, tenure)
    return False
