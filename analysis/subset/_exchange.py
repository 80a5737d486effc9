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

import numpy as np

from carps_like.analysis.subset._boxes import Field, Ints, Words
from carps_like.analysis.subset._compiled import compiled, helper
from carps_like.analysis.subset._lanes import BLOCK, Shorts, add_where, lowest, ones, where_above
from carps_like.analysis.subset._pool import (
    ROWS,
    STEPS,
    VIOLATED,
    WEIGHT,
    Pool,
    State,
    add_box,
)
from carps_like.analysis.subset._random import below
from carps_like.analysis.subset._sweep import TRAIL, Scratch, sweep

# weights are halved before their sum could leave 16 bits; old difficulties fade that way. There
# must be fewer rows
MOST_WEIGHT = 30_000
# a point that came may leave again at most this many steps later; never more than one, or often
# more than two, takes twice the steps to reach a level
TENURE = 2
# score that a point starts from which may come
FREE = -32_768
# how ``advance`` ends
STOPPED, REACHED, CROWDED = 0, 1, 2


@helper
def flip(i: int, used: int, chosen: Words, column: Words, over: Shorts) -> None:
    """Put point ``i`` into the subset, or take it out; ``used``: blocks of rows in use."""
    bit = np.uint64(1) << np.uint64(i % BLOCK)
    more = np.int16(-1) if chosen[i // BLOCK] & bit else np.int16(1)
    for g in range(used):
        add_where(over, g * BLOCK, column[i, g], more)
    chosen[i // BLOCK] ^= bit


@helper
def list_above(bound: int, usual: int, used: int, over: Shorts, listed: Ints) -> int:
    """List the rows with ``over`` above ``bound``, ascending; returns how many.

    ``usual``: so many entries are written for every block without a look at how many there are,
    which a processor could not foresee; the next block writes over what was too much.
    """
    size = 0
    for g in range(used):
        word = where_above(over, g * BLOCK, bound)
        count = ones(word)
        for at in range(usual):
            listed[size + at] = g * BLOCK + lowest(word)
            word &= word - np.uint64(1)
        for at in range(usual, count):
            listed[size + at] = g * BLOCK + lowest(word)
            word &= word - np.uint64(1)
        size += count
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
def exchange(pool: Pool, state: State, last: int) -> None:
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
            state.until[out] = now + 1
            open_scores(now, state)
            weigh(score, list_above(-1, 8, used, over, listed), listed, member, weight)
            came = comer(state)
            if came < 0:
                came = out
            flip(came, used, chosen, column, over)
            state.since[out] = now
            state.since[came] = now
            state.until[came] = now + 1 + below(stream, TENURE)
            size = list_above(0, 1, used, over, listed)
        for at in range(size):
            weight[listed[at]] += 1
            seen[listed[at]] = now
        total += size
        if total > MOST_WEIGHT:
            total = fade(rows, weight)
    tally[STEPS], tally[VIOLATED], tally[WEIGHT] = now, size, total


@compiled
def advance(
    pool: Pool, state: State, scratch: Scratch, last: int, level: float, ranks: Ints,
    masks: Words, field: Field, k: int,
) -> int:  # fmt: skip
    """Exchange and test exactly until a subset is within ``level`` or step ``last`` is done.

    ``ranks``: (n, d) of all points; ``masks``: their ``rank_masks``. A test is a step. Returns
    REACHED, STOPPED, or CROWDED when the pool has no room for the boxes of a test.
    """
    tally, rows = state.tally, np.empty(k, np.int64)
    while tally[STEPS] < last:
        if tally[VIOLATED]:
            exchange(pool, state, last)
            continue
        if tally[ROWS] + 2 * TRAIL > len(pool.over):
            return CROWDED
        tally[STEPS] += 1
        size = 0
        for g in range(len(state.chosen)):
            word = state.chosen[g]
            while word:
                rows[size] = g * BLOCK + lowest(word)
                word &= word - np.uint64(1)
                size += 1
        sweep(rows, ranks, level, field, scratch)
        if scratch.hits[0] + scratch.hits[1] == 0:
            return REACHED
        for side in range(2):
            for at in range(min(scratch.hits[side], TRAIL)):
                add_box(side, scratch.trail[side, at], level, masks, field, k, pool, state)
    return STOPPED
