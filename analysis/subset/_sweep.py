"""Compiled enumeration of the critical boxes of a small subset: the inner test of the search.

For up to 64 points one machine word holds a subset of them, and visiting critical corners axis by
axis costs less than branch and bound. A corner is critical when each of its faces carries a point
of the box (Niederreiter 1972; closed and open boxes as in Doerr, Gnewuch and Wahlstroem 2014); a
prefix of coordinates that already loses that property, or whose share of points (closed) or mass
(open) cannot reach the best score, is skipped. Bits are numbered by the last coordinate, so that
only points of the prefix are visited on the last axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from carps_like.analysis.subset._boxes import CLOSED, OPEN, Field, Floats, Ints, Words
from carps_like.analysis.subset._compiled import compiled, helper, popcount

# points that fit a machine word, and corners worth visiting one by one
WORD = 64
CORNERS = 10_000_000.0
# boxes remembered per side
TRAIL = 8
# stands for a face that needs no point, since nothing lies beyond it
EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)


class Scratch(NamedTuple):
    """Memory of one sweep over a subset of k points."""

    ranks: Ints  # (k, d) of the subset, sorted by the last coordinate
    grid: Ints  # (d, k + 1) thresholds: distinct ranks of each axis, the top last for open boxes
    sizes: Ints  # (d,) how many
    order: Ints  # (k,)
    inside: Words  # (d, k + 1) points within a threshold: at or below it (closed), below it (open)
    at: Words  # (d, k + 1) points on a threshold; EVERY for the top of open boxes
    words: Words  # (d,) points within the first coordinates of the corner
    faces: Words  # (d, d) points on the face of each earlier axis
    within: Words  # (d, reference words) the same of the full set
    volume: Floats  # (d,)
    place: Ints  # (d,) thresholds of the corner
    # for closed and for open boxes, the result: largest score above the level (else the level),
    # how many boxes improved on the one before, and a ring of their corner ranks
    found: Floats  # (2,)
    hits: Ints  # (2,)
    trail: Ints  # (2, TRAIL, d)


def affordable(k: int, d: int) -> bool:
    """Whether ``sweep`` should test subsets of ``k`` points."""
    return k <= WORD and float(k + 1) ** d <= CORNERS


def make_scratch(k: int, field: Field) -> Scratch:
    """Memory for subsets of ``k`` points, at most ``WORD``."""
    d = len(field.tops)
    return Scratch(
        ranks=np.zeros((k, d), np.int64),
        grid=np.zeros((d, k + 1), np.int64),
        sizes=np.zeros(d, np.int64),
        order=np.zeros(k, np.int64),
        inside=np.zeros((d, k + 1), np.uint64),
        at=np.zeros((d, k + 1), np.uint64),
        words=np.full(d, EVERY >> np.uint64(WORD - k)),
        faces=np.zeros((d, d), np.uint64),
        within=np.full((d, field.reference.shape[2]), EVERY),
        volume=np.ones(d),
        place=np.zeros(d, np.int64),
        found=np.zeros(2),
        hits=np.zeros(2, np.int64),
        trail=np.zeros((2, TRAIL, d), np.int64),
    )


@helper
def sort_by_last(ranks: Ints) -> None:
    """Sort rows (k, d) in place by their last entry."""
    k, d = ranks.shape
    for i in range(1, k):
        at = i
        while at > 0 and ranks[at - 1, d - 1] > ranks[at, d - 1]:
            for j in range(d):
                ranks[at - 1, j], ranks[at, j] = ranks[at, j], ranks[at - 1, j]
            at -= 1


@helper
def list_thresholds(side: int, tops: Ints, scratch: Scratch) -> None:
    """Fill grid, sizes, inside and at from ``scratch.ranks``."""
    ranks, grid, order = scratch.ranks, scratch.grid, scratch.order
    inside, at = scratch.inside, scratch.at
    k, d = ranks.shape
    for j in range(d):
        for i in range(k):
            place = i
            while place > 0 and ranks[order[place - 1], j] > ranks[i, j]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = i
        used = -1
        below = np.uint64(0)
        for place in range(k):
            i = order[place]
            bit = np.uint64(1) << np.uint64(i)
            if used < 0 or grid[j, used] != ranks[i, j]:
                used += 1
                grid[j, used] = ranks[i, j]
                at[j, used] = np.uint64(0)
                inside[j, used] = below
            below |= bit
            at[j, used] |= bit
            if side == CLOSED:
                inside[j, used] = below
        if side == OPEN:
            if grid[j, used] != tops[j]:
                used += 1
                grid[j, used] = tops[j]
                inside[j, used] = below
            at[j, used] = EVERY
        scratch.sizes[j] = used + 1


@helper
def sweep_side(side: int, level: float, field: Field, scratch: Scratch) -> tuple[float, int]:
    """Largest score above ``level`` (else ``level``) and how many boxes improved on the last.

    ``scratch.ranks`` holds the subset, sorted by its last coordinate.
    """
    values, reference, full = field.values, field.reference, field.full
    grid, sizes, inside, at = scratch.grid, scratch.sizes, scratch.inside, scratch.at
    words, faces, within = scratch.words, scratch.faces, scratch.within
    volume, index, ranks, trail = scratch.volume, scratch.place, scratch.ranks, scratch.trail
    k, d = ranks.shape
    last = d - 1
    span = within.shape[1]
    unit = 1.0 / k if full == 0 else float(full)
    best, hits, axis = level, 0, 0
    index[0] = -1
    while axis >= 0:
        if axis < last:
            index[axis] += 1
            t = index[axis]
            if t == sizes[axis]:
                axis -= 1
                continue
            rank = grid[axis, t]
            mask, word = inside[axis, t], words[axis]
            face = at[axis, t]
            if face != EVERY:
                face &= word
            if face == np.uint64(0):
                continue
            touched = True
            faces[axis + 1, axis] = face
            for other in range(axis):
                face = faces[axis, other]
                if face != EVERY:
                    face &= mask
                faces[axis + 1, other] = face
                touched = touched and face != np.uint64(0)
            if not touched:
                continue
            words[axis + 1] = word & mask
            if full:
                total = np.int64(0)
                for w in range(span):
                    row = within[axis, w] & reference[axis, rank + 1 - side, w]
                    within[axis + 1, w] = row
                    total += np.int64(popcount(row))
                reach = float(total * k)
            else:
                volume[axis + 1] = volume[axis] * values[axis, rank]
                reach = volume[axis + 1]
            if side == CLOSED:
                reach = float(np.int64(popcount(word & mask))) * unit
            if reach > best:
                axis += 1
                index[axis] = -1
            continue
        # the last axis: points of the prefix one by one, and the top for open boxes
        rest = words[last]
        count = 0
        more = True
        while more:
            if rest:
                low = rest & (~rest + np.uint64(1))
                rank = ranks[np.int64(popcount(low - np.uint64(1))), last]
                rest ^= low
                more = side == OPEN or rest != np.uint64(0)
                count += 1 - side
            elif side == OPEN:
                rank = field.tops[last]
                more = False
            else:
                break
            if full:
                total = np.int64(0)
                for w in range(span):
                    total += np.int64(
                        popcount(within[last, w] & reference[last, rank + 1 - side, w])
                    )
                score = float(total * k)
            else:
                score = volume[last] * values[last, rank]
            points = count / k if full == 0 else float(count * full)
            score = points - score if side == CLOSED else score - points
            count += side
            if score > best:
                best = score
                place = hits % TRAIL
                for j in range(last):
                    trail[side, place, j] = grid[j, index[j]]
                trail[side, place, last] = rank
                hits += 1
        axis -= 1
    return best, hits


@compiled
def sweep(rows: Ints, ranks: Ints, level: float, field: Field, scratch: Scratch) -> None:
    """The worst boxes of the subset ``rows`` (k,) of all points ``ranks`` (n, d).

    Fills ``found``, ``hits`` and ``trail`` of ``scratch``.
    """
    found, hits = scratch.found, scratch.hits
    for at in range(len(rows)):
        for j in range(ranks.shape[1]):
            scratch.ranks[at, j] = ranks[rows[at], j]
    sort_by_last(scratch.ranks)
    for side in range(2):
        list_thresholds(side, field.tops, scratch)
        found[side], hits[side] = sweep_side(side, level, field, scratch)
