"""Compiled separation: the boxes of the whole grid that a fractional subset violates most."""

from __future__ import annotations

import numpy as np

from carps_like.analysis.subset._boxes import CLOSED, Field, Floats, Ints
from carps_like.analysis.subset._compiled import compiled, helper
from carps_like.analysis.subset._pool import cap_of


@helper
def plane_sums(
    ranks: Ints, weights: Floats, inside: Ints, first: int, second: int, sums: Floats
) -> None:
    """sums[a, b] = weight of the points inside with rank < a and < b on the last two axes."""
    sums[:] = 0.0
    for i in range(len(ranks)):
        if inside[i]:
            sums[ranks[i, first] + 1, ranks[i, second] + 1] += weights[i]
    for a in range(1, sums.shape[0]):
        for b in range(1, sums.shape[1]):
            sums[a, b] += sums[a - 1, b] + sums[a, b - 1] - sums[a - 1, b - 1]


@compiled
def separate(
    side: int,
    x: Floats,
    level: float,
    ranks: Ints,
    field: Field,
    k: int,
    least: float,
    excess: Floats,
    corners: Ints,
) -> int:
    """The worst box of every row of the grid's last axis that exceeds its cap by ``least``.

    ``x``: (n,) fractions of points chosen; ``ranks``: (n, d), d >= 2, of the full set. Writes
    excesses and corner ranks into ``excess`` (size,) and ``corners`` (size, d), keeping what fits;
    returns how many there are. Time: product of the grid's sizes.
    """
    n, d = ranks.shape
    first, second = d - 2, d - 1
    rows, columns = field.tops[first] + 1, field.tops[second] + 1
    shift = 1 - side
    sums = np.zeros((rows + 1, columns + 1))
    shares = np.zeros((rows + 1, columns + 1))
    ones = np.ones(n)
    inside = np.ones(n, np.int64)
    prefix = np.zeros(d, np.int64)
    found = 0
    while True:
        volume = 1.0
        for i in range(n):
            inside[i] = 1
            for j in range(first):
                if ranks[i, j] >= prefix[j] + shift:
                    inside[i] = 0
        for j in range(first):
            volume *= field.values[j, prefix[j]]
        plane_sums(ranks, x, inside, first, second, sums)
        if field.full:
            plane_sums(ranks, ones, inside, first, second, shares)
        for a in range(rows):
            worst, where = least, -1
            for b in range(columns):
                if field.full:
                    base = shares[a + shift, b + shift] * k
                else:
                    base = volume * field.values[first, a] * field.values[second, b]
                cap = cap_of(side, base, level, k, field.full)
                held = sums[a + shift, b + shift]
                over = (held if side == CLOSED else k - held) - cap
                if over > worst:
                    worst, where = over, b
            if where >= 0 and found < len(excess):
                excess[found] = worst
                for j in range(first):
                    corners[found, j] = prefix[j]
                corners[found, first] = a
                corners[found, second] = where
                found += 1
        j = first - 1
        while j >= 0:
            prefix[j] += 1
            if prefix[j] <= field.tops[j]:
                break
            prefix[j] = 0
            j -= 1
        if j < 0:
            return found
