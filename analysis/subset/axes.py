"""Points as ranks on their axes, checked: what every search over anchored boxes starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from carps_like.analysis.subset import _boxes
from carps_like.analysis.subset._boxes import Field, Floats, Ints
from carps_like.errors import BadValue

Target = Literal["empirical", "uniform"]
Side = Literal["closed", "open"]
SIDES: tuple[Side, Side] = ("closed", "open")
# bit sets take d * n * n / 8 bytes
MAX_MASK_BYTES = 2 << 30


def as_points(points: ArrayLike, what: str = "points", cube: bool = False) -> Floats:
    """``points`` as a float array (n, d), n and d at least 1, finite, in [0, 1] if ``cube``.

    Raises BadValue naming the first row and column that is wrong.
    """
    if isinstance(points, pd.DataFrame) and points.index.has_duplicates:
        twice = points.index[points.index.duplicated()][0]
        raise BadValue(f"{what}: task {twice!r} stands in more than one row")
    try:
        table = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadValue(f"{what} must be a table of numbers: {error}") from error
    if table.ndim != 2 or 0 in table.shape:
        raise BadValue(
            f"{what} must be a table with one row per task and one column per coordinate, "
            f"at least one of each; got shape {table.shape}"
        )
    wrong = ~np.isfinite(table)
    if wrong.any():
        raise BadValue(
            f"{what}: {_first(points, table, wrong)}; every coordinate must be a finite number "
            f"({int(wrong.any(axis=1).sum())} of {len(table)} rows affected)"
        )
    outside = (table < 0.0) | (table > 1.0)
    if cube and outside.any():
        raise BadValue(
            f"{what}: {_first(points, table, outside)}, outside [0, 1], which the uniform target "
            f"needs ({int(outside.any(axis=1).sum())} of {len(table)} rows affected); scale the "
            "points or use the empirical target"
        )
    return table


def _first(points: ArrayLike, table: Floats, bad: NDArray[np.bool_]) -> str:
    """Names the first bad entry of ``table``, by the labels of a frame if ``points`` is one."""
    row, column = np.argwhere(bad)[0]
    where = f"row {row}, column {column}"
    if isinstance(points, pd.DataFrame):
        where = f"row {points.index[row]!r}, column {points.columns[column]!r}"
    return f"{where} is {table[row, column]:g}"


@dataclass(frozen=True)
class Axes:
    """Ranks of points on axis grids, and the target's measure on them."""

    target: Target
    ranks: Ints  # (n, d) into the axis grids
    field: Field

    def unit(self, k: int) -> float:
        """The score that stands for a discrepancy of 1 with ``k`` points."""
        return float(k * self.field.full or 1)

    def value(self, score: float, k: int) -> float:
        """The discrepancy that a compiled score of a subset of size ``k`` stands for."""
        return score / self.unit(k)

    def corner(self, ranks: NDArray[np.int64]) -> tuple[float, ...]:
        """Coordinates of a corner given by ranks (d,)."""
        return tuple(float(self.field.values[j, r]) for j, r in enumerate(ranks))


def build_axes(points: Floats, reference: Floats | None) -> Axes:
    """Axes of checked ``points`` (n, d) against ``reference`` (m, d), or the cube if None."""
    d = points.shape[1]
    top = 1.0 if reference is None else np.inf
    everything = points if reference is None else np.concatenate([points, reference])
    # + 0.0 makes -0.0 and 0.0 one coordinate
    grids = [np.unique(np.append(everything[:, j] + 0.0, top)) for j in range(d)]
    sizes = np.array([len(grid) for grid in grids], dtype=np.int64)
    _check_memory(len(points) if reference is None else max(len(points), len(reference)), sizes)
    values = np.full((d, sizes.max()), top)
    for j, grid in enumerate(grids):
        values[j, : len(grid)] = grid
    masks = np.zeros((0, 0, 0), np.uint64)
    if reference is not None:
        masks = _boxes.rank_masks(_ranks(reference, grids), sizes)
    return Axes(
        target="uniform" if reference is None else "empirical",
        ranks=_ranks(points, grids),
        field=Field(values, sizes - 1, masks, 0 if reference is None else len(reference)),
    )


def _ranks(points: Floats, grids: list[Floats]) -> Ints:
    columns = [np.searchsorted(grid, points[:, j] + 0.0) for j, grid in enumerate(grids)]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.int64)


def _check_memory(n: int, sizes: Ints) -> None:
    need = len(sizes) * int(sizes.max() + 1) * ((n + 63) // 64) * 8
    if need > MAX_MASK_BYTES:
        raise BadValue(
            f"{n} points in {len(sizes)} dimensions need {need / 2**30:.1f} GiB of bit sets, more "
            f"than {MAX_MASK_BYTES >> 30} GiB: draw fewer points or drop coordinates"
        )
