"""Search spaces that several collections share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace


@cache
def names_of(dimension: int) -> tuple[str, ...]:
    """``x00``, ``x01``, ...: zero-padded, so that alphabetical order is the order of positions."""
    width = max(2, len(str(dimension - 1)))
    return tuple(f"x{i:0{width}}" for i in range(dimension))


def box(dimension: int, lower: float, upper: float) -> ConfigurationSpace:
    """``dimension`` floats in [lower, upper]."""
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    space.add(*(Float(name, (lower, upper)) for name in names_of(dimension)))
    return space
