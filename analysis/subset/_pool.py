"""Compiled memory of the search: the boxes that some subset violated, as rows with a cap.

A box is a row: at most ``cap`` chosen points among its ``member`` points, see ``_exchange``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from carps_like.analysis.subset._boxes import CLOSED, Field, Floats, Ints, Words, measure
from carps_like.analysis.subset._compiled import compiled, helper, popcount
from carps_like.analysis.subset._lanes import BLOCK, Shorts, lowest
from carps_like.analysis.subset._random import Stream, below

# ``over`` of unused rows
UNUSED = -16_384
# ``until`` of points that may never be chosen
NEVER = 1 << 60
# counters in State.tally
ROWS, STEPS, VIOLATED, WEIGHT = 0, 1, 2, 3
# a word of ones
EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)


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


@helper
def implied(fresh: int, cap: int, pool: Pool, chosen: Words) -> int:
    """The first row that row ``fresh`` with its ``cap`` makes needless, or ``fresh``."""
    member = pool.member
    for b in range(fresh):
        g = 0
        while g < len(chosen) and not member[b, g] & ~member[fresh, g]:
            g += 1
        if g == len(chosen):
            held = np.int64(0)
            for g in range(len(chosen)):
                held += np.int64(popcount(member[b, g] & chosen[g]))
            if cap <= held - pool.over[b]:
                return b
    return fresh


@helper
def add_box(
    side: int, corner: Ints, level: float, masks: Words, field: Field, k: int, pool: Pool,
    state: State,
) -> None:  # fmt: skip
    """Put the box with ``corner`` ranks (d,), lifted, into the pool, where there must be room.

    A row that it makes needless is replaced.
    ``masks``: ``rank_masks`` of all points. A row that is violated at ``level`` is listed.
    """
    tally, chosen, member = state.tally, state.chosen, pool.member
    fresh = tally[ROWS]
    base = lift(side, corner, level, field, k, state.stream)
    cap = cap_of(side, base, level, k, field.full)
    held = np.int64(0)
    for g in range(len(chosen)):
        word = masks[0, corner[0] + 1 - side, g]
        for j in range(1, len(corner)):
            word &= masks[j, corner[j] + 1 - side, g]
        if side != CLOSED:
            word = ~word
        if g == len(chosen) - 1:
            word &= EVERY >> np.uint64(len(chosen) * BLOCK - len(pool.column))
        member[fresh, g] = word
        held += np.int64(popcount(word & chosen[g]))
    b = implied(fresh, cap, pool, chosen)
    bit = np.uint64(1) << np.uint64(b % BLOCK)
    for g in range(len(chosen)):
        word = member[b, g] ^ member[fresh, g] if b < fresh else member[b, g]
        while word:
            pool.column[g * BLOCK + lowest(word), b // BLOCK] ^= bit
            word &= word - np.uint64(1)
        member[b, g] = member[fresh, g]
    if b == fresh:
        pool.weight[b] = 1
        tally[ROWS] += 1
        tally[WEIGHT] += 1
    if held > cap and pool.over[b] <= 0:
        pool.listed[tally[VIOLATED]] = b
        tally[VIOLATED] += 1
    pool.side[b], pool.base[b], pool.over[b] = side, base, held - cap
    pool.seen[b] = tally[STEPS]


@compiled
def add_boxes(
    side: int, corners: Ints, level: float, masks: Words, field: Field, k: int, pool: Pool,
    state: State,
) -> None:  # fmt: skip
    """``add_box`` for each of ``corners`` (m, d)."""
    for at in range(len(corners)):
        add_box(side, corners[at], level, masks, field, k, pool, state)
