"""Search spaces that several collections share.

A space belongs to all tasks that look alike: building one of 640 numbers takes 25 ms.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

KEPT = 32  # spaces of one kind; the largest, of 4,039 bits, takes some 10 MB


@cache
def names_of(dimension: int) -> tuple[str, ...]:
    """``x00``, ``x01``, ...: zero-padded, so that alphabetical order is the order of positions."""
    width = max(2, len(str(dimension - 1)))
    return tuple(f"x{i:0{width}}" for i in range(dimension))


def box(dimension: int, lower: float, upper: float) -> ConfigurationSpace:
    """``dimension`` floats in [lower, upper]."""
    return boxes(((lower, upper),) * dimension)


@lru_cache(KEPT)
def boxes(bounds: tuple[tuple[float, float], ...]) -> ConfigurationSpace:
    """One float per (lower, upper)."""
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    names = names_of(len(bounds))
    space.add(*(Float(n, (float(a), float(b))) for n, (a, b) in zip(names, bounds, strict=True)))
    return space


@lru_cache(KEPT)
def integers(dimension: int, lower: int, upper: int) -> ConfigurationSpace:
    """``dimension`` whole numbers in [lower, upper]."""
    from ConfigSpace import ConfigurationSpace, Integer

    space = ConfigurationSpace()
    space.add(*(Integer(name, (lower, upper)) for name in names_of(dimension)))
    return space
