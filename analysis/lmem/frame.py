"""From a data frame to cells: rows that are equal in every model column, counted and averaged.

For Gaussian models a cell's weight, mean and within-cell sum of squares are sufficient, so the
cost of a fit depends on the number of cells and not on the number of rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic import Formula
from formulaic.errors import FormulaicError

from carps_like.analysis.lmem.formula import MixedFormula, is_elementwise, unquote, variables
from carps_like.errors import BadValue, UnknownName

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Missing = Literal["raise", "drop"]


@dataclass(frozen=True)
class Factor:
    """A column read as categories; ``codes`` is -1 where the value is missing."""

    codes: Ints
    levels: pd.Index


@dataclass(frozen=True)
class Cells:
    """Sufficient statistics of the rows.

    ``frame`` has one row per cell and the columns that the model matrices need; ``groups`` holds
    for every grouping factor the level of each cell and the labels of the levels.
    """

    frame: pd.DataFrame
    groups: dict[tuple[str, ...], Factor]
    cell_of_row: Ints | None  # None: every row is a cell of its own
    row_index: pd.Index  # labels of the rows used
    response: Floats  # per row
    weight: Floats  # per cell, sum of the rows' weights
    count: Ints  # per cell, number of rows
    mean: Floats  # per cell, weighted mean of the response
    within: float  # sum over rows of weight * (response - cell mean)^2
    sum_log_weights: float  # over rows

    @property
    def n_rows(self) -> int:
        """Number of rows used."""
        return len(self.response)

    def to_rows(self, per_cell: Floats) -> Floats:
        """Spread values of the cells over their rows."""
        return per_cell if self.cell_of_row is None else per_cell[self.cell_of_row]


def prepare(
    formula: MixedFormula,
    data: pd.DataFrame,
    weights: str | Sequence[float] | Floats | pd.Series[float] | None,
    missing: Missing,
) -> Cells:
    """Check the columns a formula needs and collapse the rows of ``data`` to cells.

    Raises:
        UnknownName: a column that is not there.
        BadValue: missing or infinite values (``missing="raise"``), a factor with one level, a
            grouping factor with one level or with as many levels as rows, bad weights.
    """
    if missing not in ("raise", "drop"):
        raise BadValue(f"missing={missing!r}: must be 'raise' or 'drop'")
    if not isinstance(data, pd.DataFrame):
        raise BadValue(f"data must be a pandas DataFrame, got {type(data).__name__}")
    if not len(data):
        raise BadValue("the data frame has no rows")
    in_design = _design_columns(formula)
    in_groups = sorted({column for term in formula.random for column in term.groups})
    in_response = _response_columns(formula.response)
    _check_columns(data, [*in_response, *in_design, *in_groups])
    response = _response(formula.response, data)
    row_weights = _weights(weights, data)
    factors = {
        c: _factor(data[c]) for c in {*in_groups, *(c for c in in_design if _is_text(data[c]))}
    }
    bad = _bad_rows(data, response, row_weights, factors, in_design)
    keep = _keep(bad, missing, len(data))
    if keep is not None:
        response = response[keep]
        row_weights = None if row_weights is None else row_weights[keep]
        factors = {c: _drop_rows(f, keep) for c, f in factors.items()}
        data = data.loc[keep]
    _check_levels(formula, data, factors, in_design)
    return _collapse(formula, data, response, row_weights, factors, in_design)


def _design_columns(formula: MixedFormula) -> list[str]:
    parts = [formula.fixed, *(term.lhs for term in formula.random)]
    return sorted({column for part in parts for column in variables(part)})


def _response_columns(response: str) -> list[str]:
    return variables(f"0 + {response}")


def _check_columns(data: pd.DataFrame, columns: Iterable[str]) -> None:
    known = [str(c) for c in data.columns]
    for column in columns:
        if column not in data.columns:
            raise UnknownName("column", column, known, f"the data has {', '.join(known)}")
        if isinstance(data[column], pd.DataFrame):
            raise BadValue(f"column {column!r} stands more than once in the data")


def _is_text(column: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(column.dtype)


def _response(expression: str, data: pd.DataFrame) -> Floats:
    name = unquote(expression)
    if name in data.columns:
        if _is_text(data[name]):
            raise BadValue(f"response {name!r} is not numeric (dtype {data[name].dtype})")
        return data[name].to_numpy(dtype=float, na_value=np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            matrix = Formula(f"0 + {expression}").get_model_matrix(
                data[_response_columns(expression)], na_action="ignore", output="numpy"
            )
    except FormulaicError as error:
        raise BadValue(f"response {expression!r} cannot be computed: {error}") from None
    values = np.asarray(matrix, dtype=float)
    if values.shape != (len(data), 1):
        raise BadValue(f"response {expression!r} must be one numeric column")
    return values[:, 0]


def _weights(
    weights: str | Sequence[float] | Floats | pd.Series[float] | None, data: pd.DataFrame
) -> Floats | None:
    if weights is None:
        return None
    if isinstance(weights, str):
        _check_columns(data, [weights])
        weights = data[weights]
    try:
        values = np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise BadValue("weights must be numbers") from None
    if values.shape != (len(data),):
        raise BadValue(f"weights have shape {values.shape}, the data has {len(data)} rows")
    n_bad = int((values <= 0).sum())
    if n_bad:
        raise BadValue(f"weights must be positive: {n_bad} of {len(values)} are not")
    return values


def _factor(column: pd.Series[Any]) -> Factor:
    """Codes and sorted levels; a categorical column keeps its order and loses unused levels."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        categorical = column.cat.remove_unused_categories()
        codes = np.asarray(categorical.cat.codes, dtype=np.intp)
        return Factor(codes, categorical.cat.categories)
    try:
        codes, levels = pd.factorize(column.to_numpy(), sort=True)
    except TypeError:  # values of several types have no order
        codes, levels = pd.factorize(column.astype(str).where(column.notna()).to_numpy(), sort=True)
    return Factor(codes.astype(np.intp, copy=False), pd.Index(levels))


def _bad_rows(
    data: pd.DataFrame,
    response: Floats,
    weights: Floats | None,
    factors: dict[str, Factor],
    in_design: list[str],
) -> dict[str, npt.NDArray[np.bool_]]:
    bad = {"the response": ~np.isfinite(response)}
    if weights is not None:
        bad["the weights"] = ~np.isfinite(weights)
    for column, factor in factors.items():
        bad[repr(column)] = factor.codes < 0
    for column in in_design:
        if not _is_text(data[column]):
            bad[repr(column)] = ~np.isfinite(data[column].to_numpy(dtype=float, na_value=np.nan))
    return {name: rows for name, rows in bad.items() if rows.any()}


def _keep(
    bad: dict[str, npt.NDArray[np.bool_]], missing: Missing, n: int
) -> npt.NDArray[np.bool_] | None:
    if not bad:
        return None
    any_bad = np.logical_or.reduce(list(bad.values()))
    counts = ", ".join(f"{name}: {int(rows.sum())}" for name, rows in bad.items())
    n_bad = int(any_bad.sum())
    if missing == "raise":
        raise BadValue(
            f"{n_bad} of {n} rows have missing or infinite values ({counts}); "
            "repair them or pass missing='drop'"
        )
    if n_bad == n:
        raise BadValue(f"all {n} rows have missing or infinite values ({counts})")
    keep: npt.NDArray[np.bool_] = ~any_bad
    return keep


def _drop_rows(factor: Factor, keep: npt.NDArray[np.bool_]) -> Factor:
    return _compress(Factor(factor.codes[keep], factor.levels))


def _compress(factor: Factor) -> Factor:
    """Drop levels without rows."""
    present = np.bincount(factor.codes, minlength=len(factor.levels)) > 0
    if present.all():
        return factor
    new = np.cumsum(present) - 1
    return Factor(new[factor.codes], factor.levels[present])


def _check_levels(
    formula: MixedFormula, data: pd.DataFrame, factors: dict[str, Factor], in_design: list[str]
) -> None:
    for column in in_design:
        if column in factors and _is_text(data[column]) and len(factors[column].levels) < 2:
            raise BadValue(
                f"factor {column!r} has one level ({factors[column].levels[0]!r}); "
                "a comparison needs two"
            )
    for term in formula.random:
        if all(len(factors[c].levels) == 1 for c in term.groups):
            raise BadValue(
                f"grouping factor {term.group!r} has one level; its variance cannot be estimated"
            )


def _collapse(
    formula: MixedFormula,
    data: pd.DataFrame,
    response: Floats,
    weights: Floats | None,
    factors: dict[str, Factor],
    in_design: list[str],
) -> Cells:
    n = len(response)
    parts = [formula.fixed, *(term.lhs for term in formula.random)]
    keys = _row_keys(data, factors, in_design) if all(map(is_elementwise, parts)) else None
    if keys is None:
        index, first = None, np.arange(n)
        weight = np.ones(n) if weights is None else weights
        count, mean, within = np.ones(n, dtype=np.intp), response, 0.0
    else:
        index, first = keys
        n_cells = len(first)
        count = np.bincount(index, minlength=n_cells)
        weight = np.asarray(
            count if weights is None else np.bincount(index, weights, n_cells), float
        )
        mean, within = _moments(index, response, weights, weight)
    groups = {}
    for term in formula.random:
        if term.groups not in groups:
            groups[term.groups] = _group(term.groups, factors, first)
            _check_group(term.group, len(groups[term.groups].levels), n)
    return Cells(
        frame=_cell_frame(data, factors, in_design, first),
        groups=groups,
        cell_of_row=index,
        row_index=data.index,
        response=response,
        weight=weight,
        count=count,
        mean=mean,
        within=within,
        sum_log_weights=0.0 if weights is None else float(np.log(weights).sum()),
    )


def _check_group(name: str, n_levels: int, n: int) -> None:
    if n_levels >= n:
        raise BadValue(
            f"grouping factor {name!r} has as many levels as there are rows ({n}): "
            "its variance cannot be told from the residual"
        )


def _moments(
    index: Ints, response: Floats, weights: Floats | None, weight: Floats
) -> tuple[Floats, float]:
    centre = float(response.mean())
    deviation = response - centre
    weighted = deviation if weights is None else deviation * weights
    mean = np.bincount(index, weighted, len(weight)) / weight
    deviation -= mean[index]
    np.square(deviation, out=deviation)
    within = float(deviation.sum() if weights is None else deviation @ weights)
    return mean + centre, within


def _row_keys(
    data: pd.DataFrame, factors: dict[str, Factor], in_design: list[str]
) -> tuple[Ints, Ints] | None:
    """Cell of every row and first row of every cell; None when a covariate is continuous."""
    used = dict(factors)
    for column in in_design:
        if column not in used:
            head = data[column].iloc[:10_000]
            if head.nunique() > max(50, len(head) // 4):
                return None
            used[column] = _factor(data[column])
    key, size = np.zeros(len(data), dtype=np.int64), 1
    for factor in used.values():
        if size * len(factor.levels) > 2**62:
            key, size = _renumber(key, size)
        key = key * len(factor.levels) + factor.codes
        size *= len(factor.levels)
    key, size = _renumber(key, size)
    first = np.empty(size, dtype=np.intp)
    first[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    return key.astype(np.intp, copy=False), first


def _renumber(key: npt.NDArray[np.int64], size: int) -> tuple[npt.NDArray[np.int64], int]:
    """Number the keys that occur from 0 on."""
    if size <= max(4 * len(key), 100_000):
        present = np.bincount(key, minlength=size) > 0
        new = np.cumsum(present) - 1
        return new[key], int(new[-1]) + 1
    codes, unique = pd.factorize(key)
    return codes.astype(np.int64, copy=False), len(unique)


def _group(columns: tuple[str, ...], factors: dict[str, Factor], first: Ints) -> Factor:
    if len(columns) == 1:
        factor = factors[columns[0]]
        return Factor(factor.codes[first], factor.levels)
    key = np.zeros(len(first), dtype=np.int64)
    for column in columns:
        key = key * len(factors[column].levels) + factors[column].codes[first]
    unique, codes = np.unique(key, return_inverse=True)
    labels = []
    for column in reversed(columns):
        unique, code = np.divmod(unique, len(factors[column].levels))
        labels.append(factors[column].levels.astype(str).to_numpy()[code])
    names = [":".join(parts) for parts in zip(*reversed(labels), strict=True)]
    return Factor(codes.astype(np.intp, copy=False), pd.Index(names))


def _cell_frame(
    data: pd.DataFrame, factors: dict[str, Factor], in_design: list[str], first: Ints
) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for column in in_design:
        if _is_text(data[column]):
            factor = factors[column]
            codes = cast("Sequence[int]", factor.codes[first])
            columns[column] = pd.Categorical.from_codes(codes, categories=factor.levels)
        else:
            columns[column] = data[column].to_numpy()[first]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(first)))
