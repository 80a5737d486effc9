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

from carps_like.analysis.subset._boxes import CLOSED, Field, Floats, Ints, measure
from carps_like.analysis.subset._compiled import compiled, helper
from carps_like.analysis.subset._random import Stream, below

Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]
# weights are halved every so many steps, so that old difficulties fade, and before their sum
# could leave 16 bits
FADE_STEPS = 1000
MOST_WEIGHT = 30_000
# counters in State.tally
ROWS, STEPS, VIOLATED, WEIGHT = 0, 1, 2, 3


class Pool(NamedTuple):
    """Known boxes; the first ``tally[ROWS]`` entries are in use."""

    member: Shorts  # (capacity, n): 1 if the point counts against the cap
    column: Shorts  # (n, capacity): the same, transposed
    side: Ints  # (capacity,)
    base: Floats  # (capacity,) score of the target's mass in the box
    over: Shorts  # (capacity,) chosen members minus the cap at the current level
    weight: Shorts  # (capacity,) at least 1
    seen: Ints  # (capacity,) step at which the row was last violated
    listed: Ints  # (capacity,) the first tally[VIOLATED]: the rows with over > 0


class State(NamedTuple):
    """Where the search stands; everything that a step reads or writes."""

    chosen: Bytes  # (n,) 1 if in the subset
    since: Ints  # (n,) step of the last change
    until: Ints  # (n,) step before which the point may not change back
    score: Shorts  # (n,) memory: weight of the violated, or of the full, rows with the point
    tally: Ints  # (4,) counters
    stream: Stream


@helper
def cap_of(side: int, base: float, level: float, k: int, full: int) -> int:
    """Largest number of member points that keeps the box's score at or below ``level``."""
    unit = 1.0 / k if full == 0 else float(full)
    cap = np.floor((base + level) / unit)
    if side != CLOSED:
        cap = k - max(np.ceil((base - level) / unit), 0.0)
    return int(cap)


@compiled
def caps_of(side: Ints, base: Floats, level: float, k: int, full: int) -> Shorts:
    """``cap_of`` for many rows."""
    caps = np.zeros(len(side), np.int16)
    for b in range(len(side)):
        caps[b] = cap_of(side[b], base[b], level, k, full)
    return caps


@helper
def lift(side: int, corner: Ints, level: float, field: Field, k: int, stream: Stream) -> float:
    """Move ``corner`` (d,) in place, axis by axis at random, while the box's cap stays the same.

    A larger closed box (a smaller open one) with the same cap is the stronger row. Returns the
    score of its mass.
    """
    d = len(corner)
    base = measure(side, corner, field, k)
    cap = cap_of(side, base, level, k, field.full)
    step = 1 if side == CLOSED else -1
    blocked, most = 0, (1 << d) - 1
    while blocked < most:
        j = below(stream, d)
        if (blocked >> j) & 1:
            continue
        corner[j] += step
        if 0 <= corner[j] <= field.tops[j]:
            moved = measure(side, corner, field, k)
            if cap_of(side, moved, level, k, field.full) == cap:
                base = moved
                continue
        corner[j] -= step
        blocked |= 1 << j
    return base


@compiled
def add_boxes(
    side: int, corners: Ints, level: float, ranks: Ints, field: Field, k: int, pool: Pool,
    state: State,
) -> None:  # fmt: skip
    """Append the boxes with ``corners`` ranks (m, d), lifted, to the pool; there must be room.

    ``ranks``: (n, d) of all points. The rows that are violated at ``level`` are listed.
    """
    n, d = ranks.shape
    chosen, tally = state.chosen, state.tally
    for at in range(len(corners)):
        corner, b = corners[at], tally[ROWS]
        base = lift(side, corner, level, field, k, state.stream)
        over = -cap_of(side, base, level, k, field.full)
        for i in range(n):
            inside = True
            for j in range(d):
                inside = inside and ranks[i, j] < corner[j] + 1 - side
            counts = 1 if inside == (side == CLOSED) else 0
            pool.member[b, i] = counts
            pool.column[i, b] = counts
            over += counts * chosen[i]
        pool.side[b], pool.base[b] = side, base
        pool.over[b], pool.weight[b] = over, 1
        pool.seen[b] = tally[STEPS]
        if over > 0:
            pool.listed[tally[VIOLATED]] = b
            tally[VIOLATED] += 1
        tally[ROWS] += 1
        tally[WEIGHT] += 1


@helper
def flip(i: int, rows: int, chosen: Bytes, column: Shorts, over: Shorts) -> None:
    """Put point ``i`` into the subset, or take it out."""
    if chosen[i]:
        for b in range(rows):
            over[b] -= column[i, b]
    else:
        for b in range(rows):
            over[b] += column[i, b]
    chosen[i] = 1 - chosen[i]


@helper
def weigh(score: Shorts, size: int, listed: Ints, member: Shorts, weight: Shorts) -> None:
    """``score``: for each point, the weight of its rows among the first ``size`` listed."""
    score[:] = 0
    four = size // 4 * 4  # at once: half the traffic
    for at in range(0, four, 4):
        a, b, c, e = listed[at], listed[at + 1], listed[at + 2], listed[at + 3]
        u, v, w, x = weight[a], weight[b], weight[c], weight[e]
        for i in range(len(score)):
            score[i] += member[a, i] * u + member[b, i] * v + member[c, i] * w + member[e, i] * x
    for at in range(four, size):
        a = listed[at]
        for i in range(len(score)):
            score[i] += member[a, i] * weight[a]


@helper
def list_full(rows: int, over: Shorts, listed: Ints) -> int:
    """List the rows that cannot take another member; returns how many."""
    size = 0
    for b in range(rows):
        listed[size] = b
        size += over[b] >= 0
    return size


@helper
def list_violated(
    size: int, now: int, over: Shorts, listed: Ints, weight: Shorts, seen: Ints
) -> int:
    """Keep the violated ones of the first ``size`` listed rows and raise their weights."""
    kept = 0
    for at in range(size):
        b = listed[at]
        if over[b] > 0:
            listed[kept] = b
            weight[b] += 1
            seen[b] = now
            kept += 1
    return kept


@helper
def fade(rows: int, weight: Shorts) -> int:
    """Halve all weights; returns their sum."""
    total = 0
    for b in range(rows):
        weight[b] = max(1, weight[b] >> 1)
        total += weight[b]
    return total


@helper
def leaver(row: Shorts, now: int, state: State) -> int:
    """The free member of ``row`` whose leaving helps most, unchanged longest if equal; or -1."""
    chosen, until, since, score = state.chosen, state.until, state.since, state.score
    best = -1
    for i in range(len(chosen)):
        free = chosen[i] and row[i] > 0 and until[i] <= now
        if free and (
            best < 0
            or score[i] > score[best]
            or (score[i] == score[best] and since[i] < since[best])
        ):
            best = i
    return best


@helper
def comer(now: int, state: State) -> int:
    """The free point outside whose coming hurts least, unchanged longest if equal; or -1."""
    chosen, until, since, score = state.chosen, state.until, state.since, state.score
    best = -1
    for i in range(len(chosen)):
        free = chosen[i] == 0 and until[i] <= now
        if free and (
            best < 0
            or score[i] < score[best]
            or (score[i] == score[best] and since[i] < since[best])
        ):
            best = i
    return best


@compiled
def exchange(pool: Pool, state: State, tenure: int, last: int) -> None:
    """Exchange points until no row is violated or step ``last`` is done.

    One step takes a point of a violated row out, puts the cheapest one in, and raises the weights
    of rows that stay violated.
    """
    chosen, score, tally, stream = state.chosen, state.score, state.tally, state.stream
    member, column, over = pool.member, pool.column, pool.over
    weight, seen, listed = pool.weight, pool.seen, pool.listed
    rows, now, size, total = tally[ROWS], tally[STEPS], tally[VIOLATED], tally[WEIGHT]
    while size and now < last:
        now += 1
        row = listed[below(stream, size)]
        weigh(score, size, listed, member, weight)
        out = leaver(member[row], now, state)
        if out >= 0:
            flip(out, rows, chosen, column, over)
            size = list_full(rows, over, listed)
            weigh(score, size, listed, member, weight)
            state.until[out] = now + tenure + below(stream, tenure)
            came = comer(now, state)
            if came < 0:
                came = out
            flip(came, rows, chosen, column, over)
            state.since[out] = now
            state.since[came] = now
            state.until[came] = now + 1 + below(stream, 3)
        size = list_violated(size, now, over, listed, weight, seen)
        total += size
        if now % FADE_STEPS == 0 or total > MOST_WEIGHT:
            total = fade(rows, weight)
    tally[STEPS], tally[VIOLATED], tally[WEIGHT] = now, size, total
