"""Exact hypervolume: how much of the objective space a set of points dominates.

Every objective is minimised, and only what lies below the reference point counts (Zitzler and
Thiele, 1998). Two objectives by a sweep over the staircase of the front, three by a sweep over
the third objective (Fonseca, Paquete and Lopez-Ibanez, 2006), more through the library moocore.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carps_like.errors import BadValue, MissingLibrary

Floats: TypeAlias = NDArray[np.float64]


def hypervolume(points: ArrayLike, reference: Sequence[float]) -> float:
    """Volume between ``points`` (n, d) and ``reference`` (d,); rows with nan are left out.

    Raises:
        BadValue: the two differ in their number of objectives, or the reference is not finite.
        MissingLibrary: more than three objectives, and moocore is not installed.
    """
    array, ref = _checked(points, reference)
    return _volume(array[(array < ref).all(axis=1)], ref)


def trajectory(points: ArrayLike, reference: Sequence[float]) -> Floats:
    """Hypervolume (n,) of the first 1, 2, ... n ``points`` (n, d); raises as `hypervolume`.

    A row that holds nan (a failed trial) adds nothing.
    """
    array, ref = _checked(points, reference)
    gains = np.zeros(len(array))
    inside = np.flatnonzero((array < ref).all(axis=1))
    if array.shape[1] == 2:
        stairs = _Staircase(ref)
        for i in inside:
            gains[i] = stairs.insert(array[i, 0], array[i, 1])
    else:
        front = np.empty((0, array.shape[1]))
        for i in inside:
            gains[i], front = _gain(array[i], front, ref)
    return np.cumsum(gains)


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mask (n,) of the ``points`` (n, d) that no other is better than; of equal ones the first."""
    array = np.asarray(points, dtype=float)
    mask: NDArray[np.bool_] = ~np.isnan(array).any(axis=1)
    for i in np.flatnonzero(mask):
        others = np.flatnonzero(mask)
        dominated = (array[others] >= array[i]).all(axis=1)
        equal = (array[others] == array[i]).all(axis=1)
        mask[others[dominated & (~equal | (others > i))]] = False
    return mask


def _checked(points: ArrayLike, reference: Sequence[float]) -> tuple[Floats, Floats]:
    ref = np.asarray(reference, dtype=float)
    array = np.asarray(points, dtype=float)
    if array.size == 0:
        array = np.empty((0, len(ref)))
    if array.ndim != 2 or ref.ndim != 1 or array.shape[1] != len(ref) or len(ref) == 0:
        raise BadValue(
            f"points of shape {array.shape} do not go with a reference point of shape {ref.shape}"
        )
    if not np.isfinite(ref).all():
        raise BadValue(f"the reference point {ref.tolist()} is not finite")
    return array, ref


def _volume(points: Floats, ref: Floats) -> float:
    """``points`` all lie below ``ref``."""
    if len(points) == 0:
        return 0.0
    if len(ref) == 1:
        return float(ref[0] - points.min())
    if len(ref) == 2:
        stairs = _Staircase(ref)
        return sum(stairs.insert(x, y) for x, y in points.tolist())
    if len(ref) == 3:
        return _volume3(points, ref)
    try:
        import moocore
    except ImportError:
        what = f"the hypervolume of {len(ref)} objectives"
        raise MissingLibrary("moocore", "", what) from None
    return float(moocore.hypervolume(points, ref=ref))


def _volume3(points: Floats, ref: Floats) -> float:
    stairs = _Staircase(ref)
    area = volume = 0.0
    ordered = points[np.argsort(points[:, 2], kind="stable")].tolist()
    above = [z for _, _, z in ordered[1:]] + [float(ref[2])]
    for (x, y, z), upper in zip(ordered, above, strict=True):
        area += stairs.insert(x, y)
        volume += area * (upper - z)
    return volume


def _gain(point: Floats, front: Floats, ref: Floats) -> tuple[float, Floats]:
    """What ``point`` adds to the volume of ``front``, and the front with it.

    Its own box less the part that the front dominates already (While et al., 2012).
    """
    if (front <= point).all(axis=1).any():
        return 0.0, front
    box = float(np.prod(ref - point))
    gain = max(box - _volume(np.maximum(front, point), ref), 0.0)
    kept = front[~(front >= point).all(axis=1)]
    return gain, np.vstack([kept, point])


class _Staircase:
    """A front of two objectives, by ascending first one; `insert` returns the area it adds."""

    def __init__(self, ref: Floats) -> None:
        self._x = [-np.inf, float(ref[0])]  # the boundary's height from x[k] to x[k + 1] is y[k]
        self._y = [float(ref[1]), -np.inf]

    def insert(self, x: float, y: float) -> float:
        i = bisect_right(self._x, x)
        height = self._y[i - 1]
        if y >= height:
            return 0.0
        area, left, j = 0.0, x, i
        while self._y[j] >= y:
            area += (self._x[j] - left) * (height - y)
            left, height = self._x[j], self._y[j]
            j += 1
        area += (self._x[j] - left) * (height - y)
        start = i - 1 if self._x[i - 1] == x else i
        self._x[start:j] = [x]
        self._y[start:j] = [y]
        return float(area)
