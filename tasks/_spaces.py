"""Names and search spaces that several collections share.

A space belongs to all tasks that look alike: building one of 640 numbers takes 25 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from carps_like.space import SpaceData

KEPT = 32  # spaces of one kind; the largest, of 4,039 bits, takes some 10 MB


@cache
def names_of(dimension: int) -> tuple[str, ...]:
    """``x00``, ``x01``, ...: zero-padded, so that alphabetical order is the order of positions."""
    width = max(2, len(str(dimension - 1)))
    return tuple(f"x{i:0{width}}" for i in range(dimension))


class Grid:
    """Tasks called ``<prefix>-d05-f01-i01``: each dimension with each function and instance."""

    def __init__(
        self,
        prefix: str,
        dimensions: Sequence[int],
        functions: Sequence[int],
        instances: Sequence[int],
    ) -> None:
        self._prefix = prefix
        axes = zip("dfi", (dimensions, functions, instances), strict=True)
        self._axes = [_axis(letter, values) for letter, values in axes]

    def __iter__(self) -> Iterator[str]:
        for parts in product(*self._axes):
            yield "-".join((self._prefix, *parts))

    def place(self, name: str) -> tuple[int, int, int] | None:
        """Dimension, function and instance of a name; ``None`` if it is not one of these."""
        parts = name.rsplit("-", 3)
        if len(parts) != 4 or parts[0] != self._prefix:
            return None
        dimensions, functions, instances = self._axes
        try:
            return dimensions[parts[1]], functions[parts[2]], instances[parts[3]]
        except KeyError:
            return None


def _axis(letter: str, values: Sequence[int]) -> dict[str, int]:
    width = max(2, len(str(max(values))))
    return {f"{letter}{value:0{width}}": value for value in values}


@dataclass(frozen=True)
class Box:
    """Floats between bounds: makes the space when it is called.

    As plain data it needs no ConfigSpace, whose import costs more than many a whole run.
    """

    bounds: tuple[tuple[float, float], ...]

    def __call__(self) -> ConfigurationSpace:
        return _box_space(self.bounds)

    def data(self) -> SpaceData:
        """What :func:`carps_like.configspace.space_data` says of the space."""
        return _box_data(self.bounds)


@lru_cache(KEPT)
def _box_space(bounds: tuple[tuple[float, float], ...]) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    space.add(*(Float(p.name, (p.lower, p.upper)) for p in _box_data(bounds).params))
    return space


@lru_cache(KEPT)
def _box_data(bounds: tuple[tuple[float, float], ...]) -> SpaceData:
    from carps_like.space import Param, SpaceData

    rows = zip(names_of(len(bounds)), bounds, strict=True)
    found = [
        Param(name, "float", float(a), float(b), default=(float(a) + float(b)) / 2)
        for name, (a, b) in rows
    ]
    return SpaceData(tuple(found), {}, ())


@lru_cache(4 * KEPT)
def box(dimension: int, lower: float, upper: float) -> Box:
    """``dimension`` floats in [lower, upper]."""
    return Box(((lower, upper),) * dimension)


@lru_cache(KEPT)
def integers(dimension: int, lower: int, upper: int) -> ConfigurationSpace:
    """``dimension`` whole numbers in [lower, upper]."""
    from ConfigSpace import ConfigurationSpace, Integer

    space = ConfigurationSpace()
    space.add(*(Integer(name, (lower, upper)) for name in names_of(dimension)))
    return space
