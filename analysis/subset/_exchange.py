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

from carps_like.analysis.subset._boxes import CLOSED, Field, Floats, Ints, Words, measure
from carps_like.analysis.subset._compiled import compiled, helper
from carps_like.analysis.subset._lanes import BLOCK, Shorts, add_where, lowest, where_above
from carps_like.analysis.subset._random import Stream, below

# weights are halved every so many steps, so that old difficulties fade, and before their sum
# could leave 16 bits
FADE_STEPS = 1000
MOST_WEIGHT = 30_000
# ``over`` of unused rows, and the score that a free point starts from
UNUSED = -16_384
FREE = -32_768
# ``until`` of points that may never be chosen
NEVER = 1 << 60
# counters in State.tally
ROWS, STEPS, VIOLATED, WEIGHT = 0, 1, 2, 3


class Pool(NamedTuple):
    """Known boxes; the first ``tally[ROWS]`` entries are in use. Capacity is whole blocks."""

    member: Words  # (capacity, blocks of points): bit set if the point counts against the cap
    column: Words  # (n, blocks of rows): the same, transposed
    side: Ints  # (capacity,)
    base: Floats  # (capacity,) score of the target's mass in the box
    over: Shorts  # (capacity,) chosen members minus the cap at the current level
    weight: Shorts  # (capacity,) at least 1
    seen: Ints  # (capacity,) step at which the row was last violated
    listed: Ints  # (capacity,) the first tally[VIOLATED]: the rows with over > 0


class State(NamedTuple):
    """Where the search stands; everything that a step reads or writes. Points fill whole blocks."""

    chosen: Words  # (blocks of points,) bit set if in the subset
    since: Ints  # (points,) step of the last change
    until: Ints  # (points,) step before which the point may not change back
    score: Shorts  # (points,) memory: weight of the violated, or of the full, rows with the point
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
    one, tally = np.uint64(1), state.tally
    for at in range(len(corners)):
        corner, b = corners[at], tally[ROWS]
        base = lift(side, corner, level, field, k, state.stream)
        over = -cap_of(side, base, level, k, field.full)
        pool.member[b] = 0
        bit = one << np.uint64(b % BLOCK)
        for i in range(n):
            inside = True
            for j in range(d):
                inside = inside and ranks[i, j] < corner[j] + 1 - side
            if inside == (side == CLOSED):
                here = one << np.uint64(i % BLOCK)
                pool.member[b, i // BLOCK] |= here
                pool.column[i, b // BLOCK] |= bit
                if state.chosen[i // BLOCK] & here:
                    over += 1
        pool.side[b], pool.base[b] = side, base
        pool.over[b], pool.weight[b] = over, 1
        pool.seen[b] = tally[STEPS]
        if over > 0:
            pool.listed[tally[VIOLATED]] = b
            tally[VIOLATED] += 1
        tally[ROWS] += 1
        tally[WEIGHT] += 1


@helper
def flip(i: int, used: int, chosen: Words, column: Words, over: Shorts) -> None:
    """Put point ``i`` into the subset, or take it out; ``used``: blocks of rows in use."""
    bit = np.uint64(1) << np.uint64(i % BLOCK)
    more = np.int16(-1) if chosen[i // BLOCK] & bit else np.int16(1)
    for g in range(used):
        add_where(over, g * BLOCK, column[i, g], more)
    chosen[i // BLOCK] ^= bit


@helper
def list_above(bound: int, used: int, over: Shorts, listed: Ints) -> int:
    """List the rows with ``over`` above ``bound``, ascending; returns how many."""
    size = 0
    for g in range(used):
        word = where_above(over, g * BLOCK, bound)
        while word:
            listed[size] = g * BLOCK + lowest(word)
            word &= word - np.uint64(1)
            size += 1
    return size


@helper
def weigh(score: Shorts, size: int, listed: Ints, member: Words, weight: Shorts) -> None:
    """Add to the ``score`` of each point the weight of its rows among the first ``size`` listed."""
    span = member.shape[1]
    four = size // 4 * 4  # at once: a quarter of the traffic
    for at in range(0, four, 4):
        a, b, c, e = listed[at], listed[at + 1], listed[at + 2], listed[at + 3]
        u, v, w, x = weight[a], weight[b], weight[c], weight[e]
        for g in range(span):
            p, q, r, s = member[a, g], member[b, g], member[c, g], member[e, g]
            add_where(score, g * BLOCK, p, u)
            add_where(score, g * BLOCK, q, v)
            add_where(score, g * BLOCK, r, w)
            add_where(score, g * BLOCK, s, x)
    for at in range(four, size):
        a = listed[at]
        for g in range(span):
            add_where(score, g * BLOCK, member[a, g], weight[a])


@helper
def fade(rows: int, weight: Shorts) -> int:
    """Halve all weights; returns their sum."""
    total = 0
    for b in range(rows):
        weight[b] = max(1, weight[b] >> 1)
        total += weight[b]
    return total


@helper
def leaver(row: Words, now: int, state: State) -> int:
    """The free member of ``row`` whose leaving helps most, unchanged longest if equal; or -1."""
    until, since, score = state.until, state.since, state.score
    best = -1
    for g in range(len(row)):
        word = row[g] & state.chosen[g]
        while word:
            i = g * BLOCK + lowest(word)
            word &= word - np.uint64(1)
            if until[i] <= now and (
                best < 0
                or score[i] > score[best]
                or (score[i] == score[best] and since[i] < since[best])
            ):
                best = i
    return best


@helper
def open_scores(now: int, state: State) -> None:
    """Start the scores of ``comer``: FREE for points that may come, 0 for others."""
    until, score = state.until, state.score
    for i in range(len(score)):
        score[i] = 0 if until[i] > now else FREE
    for g in range(len(state.chosen)):
        word = state.chosen[g]
        while word:
            score[g * BLOCK + lowest(word)] = 0
            word &= word - np.uint64(1)


@helper
def comer(state: State) -> int:
    """The free point outside whose coming hurts least, unchanged longest if equal; or -1."""
    score, since = state.score, state.since
    least = np.int16(-1)
    for i in range(len(score)):
        least = min(least, score[i])
    if least == -1:
        return -1
    best = -1
    for g in range(len(score) // BLOCK):
        word = ~where_above(score, g * BLOCK, least)
        while word:
            i = g * BLOCK + lowest(word)
            word &= word - np.uint64(1)
            if best < 0 or since[i] < since[best]:
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
    used = (rows + BLOCK - 1) // BLOCK
    while size and now < last:
        now += 1
        row = listed[below(stream, size)]
        score[:] = 0
        weigh(score, size, listed, member, weight)
        out = leaver(member[row], now, state)
        if out >= 0:
            flip(out, used, chosen, column, over)
            state.until[out] = now + tenure + below(stream, tenure)
            open_scores(now, state)
            weigh(score, list_above(-1, used, over, listed), listed, member, weight)
            came = comer(state)
            if came < 0:
                came = out
            flip(came, used, chosen, column, over)
            state.since[out] = now
            state.since[came] = now
            state.until[came] = now + 1 + below(stream, 3)
            size = list_above(0, used, over, listed)
        for at in range(size):
            weight[listed[at]] += 1
            seen[listed[at]] = now
        total += size
        if now % FADE_STEPS == 0 or total > MOST_WEIGHT:
            total = fade(rows, weight)
    tally[STEPS], tally[VIOLATED], tally[WEIGHT] = now, size, total
