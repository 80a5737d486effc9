"""Compiled enumeration of the critical boxes of a small subset: the inner test of the search.

For up to 64 points one machine word holds a subset of them, and visiting every critical corner
axis by axis costs less than branch and bound. A corner is critical when each of its faces carries
a point of the box (Niederreiter 1972; closed and open boxes as in Doerr, Gnewuch and Wahlstroem
2014); a prefix of coordinates that already loses that property is skipped.
"""

from __future__ import annotations

import numpy as np

from carps_like.analysis.subset._boxes import CLOSED, Field, Ints, Words
from carps_like.analysis.subset._compiled import compiled, popcount

# points that fit a machine word, and corners worth visiting one by one
WORD = 64
CORNERS = 10_000_000.0
# stands for a face that needs no point, since nothing lies beyond it
EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def narrow(side: int, axis: int, rank: int, field: Field, within: Words, level: int) -> None:
    """within[level + 1] = the full set's points of within[level] that are inside ``rank``."""
    for w in range(within.shape[1]):
        within[level + 1, w] = within[level, w] & field.reference[axis, rank + 1 - side, w]


@compiled
def faces_touched(
    axis: int, threshold: int, at: Words, inside: Words, faces: Words, word: int
) -> bool:
    """Update ``faces`` (d + 1, d) after fixing ``axis``; False if a face carries no point."""
    for other in range(axis):
        face = faces[axis, other]
        if face != EVERY:
            face &= inside[axis, threshold, 0]
        faces[axis + 1, other] = face
        if face == 0:
            return False
    face = at[axis, threshold]
    faces[axis + 1, axis] = face if face == EVERY else face & word
    return bool(faces[axis + 1, axis] != 0)


@compiled
def face_words(side: int, ranks: Ints, grid: Ints, sizes: Ints, tops: Ints, at: Words) -> None:
    """at[j, t]: points whose coordinate j is threshold t; EVERY for the top of open boxes."""
    k, d = ranks.shape
    for j in range(d):
        for t in range(sizes[j]):
            free = side != CLOSED and grid[j, t] == tops[j]
            at[j, t] = EVERY if free else np.uint64(0)
            for i in range(k):
                if ranks[i, j] == grid[j, t]:
                    at[j, t] |= np.uint64(1) << np.uint64(i)


@compiled
def sweep(
    side: int,
    ranks: Ints,
    grid: Ints,
    sizes: Ints,
    inside: Words,
    field: Field,
    level: float,
    trail: Ints,
) -> tuple[float, int]:
    """Largest score above ``level`` (else ``level``) and how many boxes improved on the last.

    ``trail`` (size, d) is a ring of the corner ranks of those, the worst box last.
    """
    k, d = ranks.shape
    full, last = field.full, d - 1
    at = np.zeros((d, k + 1), np.uint64)
    face_words(side, ranks, grid, sizes, field.tops, at)
    words = np.full(d + 1, EVERY)
    faces = np.zeros((d + 1, d), np.uint64)
    within = np.full((d + 1, field.reference.shape[2]), EVERY)
    volume = np.ones(d + 1)
    index = np.full(d, -1)
    best, hits, axis = level, 0, 0
    unit = 1.0 if full == 0 else float(full)
    while axis >= 0:
        if axis < last:
            index[axis] += 1
            if index[axis] == sizes[axis]:
                index[axis] = -1
                axis -= 1
                continue
            t = index[axis]
            word = words[axis]
            if not faces_touched(axis, t, at, inside, faces, word):
                continue
            words[axis + 1] = word & inside[axis, t, 0]
            volume[axis + 1] = volume[axis] * field.values[axis, grid[axis, t]]
            if full:
                narrow(side, axis, grid[axis, t], field, within, axis)
            axis += 1
            continue
        for t in range(sizes[last]):
            count = float(np.int64(popcount(words[last] & inside[last, t, 0]))) * unit
            if full:
                total = np.int64(0)
                for w in range(within.shape[1]):
                    row = field.reference[last, grid[last, t] + 1 - side, w]
                    total += np.int64(popcount(within[last, w] & row))
                target = float(total * k)
                score = count - target if side == CLOSED else target - count
            else:
                target = volume[last] * field.values[last, grid[last, t]]
                score = count / k - target if side == CLOSED else target - count / k
            if score > best:
                best = score
                for j in range(last):
                    trail[hits % len(trail), j] = grid[j, index[j]]
                trail[hits % len(trail), last] = grid[last, t]
                hits += 1
        axis -= 1
    return best, hits
