"""Estimated marginal means and their contrasts, on the reference grid of a fitted model.

The grid holds every level of every factor and the mean over rows of every covariate (both values
of a covariate that has two), other factors are averaged with equal weights: the conventions of
Searle, Speed & Milliken (1980) and of R's emmeans.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from carps_like.analysis.lmem.elimination import Floats
from carps_like.analysis.lmem.formula import variables
from carps_like.analysis.lmem.inference import DfMethod
from carps_like.analysis.lmem.multiplicity import adjusted, check_adjust, critical
from carps_like.errors import BadValue, UnknownName

if TYPE_CHECKING:
    from carps_like.analysis.lmem.model import MixedModel

Names = str | Sequence[str] | None


def means(
    model: MixedModel,
    factors: str | Sequence[str],
    by: Names,
    at: dict[str, object] | None,
    df_method: DfMethod | None,
    level: float,
) -> pd.DataFrame:
    """Marginal means, indexed by ``by`` and ``factors``."""
    wanted, outer = _names(factors), _names(by)
    keys, rows = _mean_rows(model, [*outer, *wanted], at)
    table = model.test(rows, df_method, level)
    names = [*outer, *wanted]
    table.index = (
        pd.Index([k[0] for k in keys], name=names[0])
        if len(names) == 1
        else pd.MultiIndex.from_tuples(keys, names=names)
    )
    table = table.drop(columns=["t", "p"])
    labels = [_label(k) for k in keys]
    return _noted(table, labels, "mean of")


def contrasts(
    model: MixedModel,
    factors: str | Sequence[str],
    adjust: str,
    df_method: DfMethod | None,
    against: object,
    by: Names,
    at: dict[str, object] | None,
    level: float | None,
) -> pd.DataFrame:
    """Differences of means, one family per combination of the levels of ``by``."""
    wanted, outer = _names(factors), _names(by)
    if against is not None and adjust in ("tukey", "dunnett"):
        adjust = "dunnett"
    else:
        check_adjust(adjust)
    keys, rows = _mean_rows(model, [*outer, *wanted], at)
    families: dict[tuple[object, ...], list[int]] = {}
    for i, key in enumerate(keys):
        families.setdefault(key[: len(outer)], []).append(i)
    tables = []
    for family, members in families.items():
        labels = [_label(keys[i][len(outer) :]) for i in members]
        table = _family(model, rows[members], labels, adjust, df_method, against, level)
        for name, value in zip(reversed(outer), reversed(family), strict=True):
            table.insert(0, name, [value] * len(table))
        tables.append(table)
    result = pd.concat(tables, ignore_index=True)
    where = [" ".join(f" at {n}={row[n]}" for n in outer) for _, row in result.iterrows()]
    names = [
        f"{a} - {b}{w}" for a, b, w in zip(result["left"], result["right"], where, strict=True)
    ]
    return _noted(result, names, "contrast")


def _family(
    model: MixedModel,
    rows: Floats,
    labels: list[object],
    adjust: str,
    df_method: DfMethod | None,
    against: object,
    level: float | None,
) -> pd.DataFrame:
    pairs = _pairs(labels, against)
    left, right = [p[0] for p in pairs], [p[1] for p in pairs]
    differences = rows[left] - rows[right]
    table = model.test(differences, df_method)
    estimable = ~np.isnan(table["p"].to_numpy())
    correlation = _correlation(model, differences, df_method) if adjust == "dunnett" else None
    used = {i for pair, ok in zip(pairs, estimable, strict=True) if ok for i in pair}
    p_adjusted = adjusted(
        table["t"].to_numpy(), table["df"].to_numpy(), table["p"].to_numpy(), adjust,
        len(used), correlation,
    )  # fmt: skip
    table = table[["estimate", "std_error", "df", "t", "p"]].assign(p_adjusted=p_adjusted)
    if level is not None:
        width = critical(table["df"].to_numpy(), level, adjust, len(used), correlation)
        table["ci_low"] = table["estimate"] - width * table["std_error"]
        table["ci_high"] = table["estimate"] + width * table["std_error"]
    table.insert(0, "left", [labels[i] for i in left])
    table.insert(1, "right", [labels[i] for i in right])
    return table


def _pairs(labels: list[object], against: object) -> list[tuple[int, int]]:
    if against is None:
        return list(itertools.combinations(range(len(labels)), 2))
    if against not in labels:
        raise UnknownName("level", str(against), map(str, labels))
    control = labels.index(against)
    return [(i, control) for i in range(len(labels)) if i != control]


def _correlation(model: MixedModel, rows: Floats, df_method: DfMethod | None) -> Floats:
    kept = rows[:, [model._design.fixed.names.index(n) for n in model._design.names]]
    covariance = kept @ model.covariance(df_method).to_numpy() @ kept.T
    sd = np.sqrt(np.diag(covariance))
    sd[sd == 0] = 1.0
    return np.asarray(covariance / np.outer(sd, sd))


def _noted(table: pd.DataFrame, labels: Sequence[object], what: str) -> pd.DataFrame:
    """Name what cannot be estimated, in a column and in a warning; a number is never made up."""
    missing = table["estimate"].isna().to_numpy()
    if not missing.any():
        return table
    names = ", ".join(f"{what} {name}" for name, gone in zip(labels, missing, strict=True) if gone)
    warnings.warn(f"not estimable, some cells are empty: {names}", UserWarning, stacklevel=4)
    return table.assign(note=np.where(missing, "not estimable: empty cells", ""))


# -- reference grid --------------------------------------------------------------------------------


def _mean_rows(
    model: MixedModel, names: list[str], at: dict[str, object] | None
) -> tuple[list[tuple[object, ...]], Floats]:
    """One linear function of the fixed effects per combination of the levels of ``names``."""
    axes = _axes(model, dict(at or {}))
    for name in names:
        if name not in axes:
            raise UnknownName("factor", name, axes, f"the fixed part has {', '.join(axes)}")
    if len(set(names)) < len(names):
        raise BadValue(f"factors {names} name one factor twice")
    ordered = [*names, *(a for a in axes if a not in names)]
    size = int(np.prod([len(axes[a]) for a in ordered]))
    if size > 2_000_000:
        raise BadValue(f"the reference grid has {size} points; fix some factors with at=")
    index = pd.MultiIndex.from_product([axes[a] for a in ordered], names=ordered)
    grid = index.to_frame(index=False)
    matrix = model._design.fixed.matrix(model.as_model_frame(grid))
    n_keys = int(np.prod([len(axes[a]) for a in names]))
    rows = matrix.reshape(n_keys, size // n_keys, -1).mean(axis=1)
    return list(itertools.product(*(axes[a] for a in names))), rows


def _axes(model: MixedModel, at: dict[str, object]) -> dict[str, list[object]]:
    """Values of every variable of the fixed part on the grid."""
    axes: dict[str, list[object]] = {}
    for column in variables(model._design.fixed.text):
        if column in at:
            values = at.pop(column)
            axes[column] = (
                list(values) if isinstance(values, (list, tuple, np.ndarray)) else [values]
            )
            continue
        cells = model._cells
        known = cells.frame[column]
        if isinstance(known.dtype, pd.CategoricalDtype):
            axes[column] = list(known.cat.categories)
            continue
        values = np.unique(known.to_numpy())
        if column in _wrapped(model) or len(values) <= 2:
            axes[column] = list(values)
        else:
            mean = float(np.average(known.to_numpy(dtype=float), weights=cells.count))
            axes[column] = [mean]
    if at:
        raise UnknownName("variable", str(next(iter(at))), axes, "at= takes fixed variables")
    return axes


def _wrapped(model: MixedModel) -> set[str]:
    """Numeric columns that the formula makes categorical, e.g. by ``C(budget)``."""
    spec = model._design.fixed.spec
    if spec is None:
        return set()
    return {
        column
        for expression, (kind, _) in spec.encoder_state.items()
        if str(getattr(kind, "value", kind)) == "categorical"
        for column in variables(f"0 + {expression}" if "(" in expression else f"0 + `{expression}`")
    }


def _names(value: Names) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(":")] if ":" in value else [value]
    return list(value)


def _label(key: tuple[object, ...]) -> object:
    return key[0] if len(key) == 1 else ":".join(map(str, key))
