"""Model matrices: built by formulaic on the cells, checked for rank, and brought to unit scale."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import FormulaicError
from scipy import linalg

from carps_like.analysis.lmem.formula import MixedFormula, is_elementwise
from carps_like.analysis.lmem.frame import Cells, Floats
from carps_like.errors import BadValue

CHUNK = 1_000_000  # cells whose matrices are in memory at a time
ALIASED = 1e-7  # a column is a combination of others below this share of its length


@dataclass(frozen=True)
class Columns:
    """A formula part that can be evaluated on any frame."""

    text: str
    spec: ModelSpec | None  # None: the constant column alone
    names: tuple[str, ...]

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Model matrix, one row per row of ``frame``."""
        if self.spec is None:
            return np.ones((len(frame), 1))
        matrix = self.spec.get_model_matrix(frame, na_action="ignore", output="numpy")
        return np.asarray(matrix, dtype=float).reshape(len(frame), len(self.names))


@dataclass(frozen=True)
class Term:
    """A random term: columns that share one covariance matrix, per level of its group."""

    columns: Columns
    group: tuple[str, ...]
    scale: Floats  # F, lower triangular: the standardised columns are Z F^-1, mean square one

    @property
    def size(self) -> int:
        """Number of columns k."""
        return len(self.columns.names)


@dataclass(frozen=True)
class Design:
    """Fixed and random columns of a model, with what is needed to go back to their own units.

    ``kept`` are the estimable columns of the fixed part; on them ``X = Q R`` with orthonormal Q in
    the metric of the weights. ``ols`` are least-squares coefficients, ``y_scale`` the residual
    standard deviation (y is centred at the least-squares fit and divided by it).
    """

    fixed: Columns
    kept: tuple[int, ...]
    null_space: Floats  # (all columns, aliased): combinations of columns that are zero
    r: Floats
    ols: Floats
    y_scale: float
    terms: tuple[Term, ...]  # in lme4's order
    n_columns: int

    @property
    def names(self) -> list[str]:
        """Names of the estimable columns."""
        return [self.fixed.names[j] for j in self.kept]

    @property
    def aliased(self) -> list[str]:
        """Names of the columns left out because no rows tell them from the others."""
        return [n for j, n in enumerate(self.fixed.names) if j not in self.kept]


def columns(text: str, frame: pd.DataFrame) -> Columns:
    """Prepare a formula part on ``frame``, whose factors must hold all their levels."""
    if text.strip() == "1":
        return Columns(text, None, ("Intercept",))
    sample = frame.iloc[:1000] if is_elementwise(text) and _has_no_lazy_factor(text) else frame
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            matrix = Formula(text).get_model_matrix(sample, na_action="ignore", output="numpy")
    except FormulaicError as error:
        raise BadValue(f"formula part {text!r} cannot be computed: {error}") from None
    names = tuple(str(n) for n in matrix.model_spec.column_names)
    if not names:
        raise BadValue(f"formula part {text!r} has no columns")
    result = Columns(text, matrix.model_spec, names)
    values = np.asarray(matrix, dtype=float)
    if not np.isfinite(values).all():
        bad = names[int(np.argmax(~np.isfinite(values).all(axis=0)))]
        raise BadValue(f"term {bad!r} is missing or infinite for some rows")
    return result


def _has_no_lazy_factor(text: str) -> bool:
    """``C(x)`` learns its levels from the data it sees, so it must see all of them."""
    return "C(" not in text


def build(formula: MixedFormula, cells: Cells) -> Design:
    """Build and check the design.

    Raises:
        BadValue: linearly dependent columns (all named), a residual variance of zero, more
            columns than rows, or random columns that are dependent.
    """
    fixed = columns(formula.fixed, cells.frame)
    r, columns_seen = _triangular_factor(fixed, cells)
    p = len(fixed.names)
    kept = _independent(r[:, :p], columns_seen)
    null_space = _null_space(r[:, :p], kept)
    if len(kept) < p:
        _explain_aliases(fixed, kept, null_space, cells)
    if len(kept) >= cells.n_rows:
        raise BadValue(f"{len(kept)} fixed columns for {cells.n_rows} rows: nothing is left over")
    r = linalg.qr(r[:, [*kept, p]], mode="r")[0][: len(kept) + 1]
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    r = r * signs[:, None]
    k = len(kept)
    ols = linalg.solve_triangular(r[:k, :k], r[:k, k]) if k else np.zeros(0)
    residual = float(r[k, k] ** 2) if r.shape[0] > k else 0.0
    y_scale = np.sqrt((residual + cells.within) / cells.n_rows)
    total = float(cells.weight @ np.square(cells.mean)) + cells.within
    if not y_scale > 1e-13 * np.sqrt(total / cells.n_rows):
        raise BadValue(
            f"response {formula.response!r} is fitted exactly by the fixed part (constant?): "
            "no variance is left to test against"
        )
    terms = _ordered(formula, cells)
    return Design(fixed, tuple(kept), null_space, r[:k, :k], ols, float(y_scale), terms, p)


def chunks(cells: Cells) -> Iterator[slice]:
    """Slices of cells that fit into memory together with their matrices."""
    for start in range(0, len(cells.weight), CHUNK):
        yield slice(start, start + CHUNK)


def _triangular_factor(fixed: Columns, cells: Cells) -> tuple[Floats, Floats]:
    """R of the weighted ``[X y]`` (y centred), and the lengths of the columns."""
    r = np.zeros((0, len(fixed.names) + 1))
    lengths = np.zeros(len(fixed.names))
    for part in chunks(cells):
        x = fixed.matrix(cells.frame.iloc[part])
        root = np.sqrt(cells.weight[part])[:, None]
        block = np.concatenate([x, cells.mean[part, None]], axis=1) * root
        if not np.isfinite(block).all():
            bad = int(np.argmax(~np.isfinite(block[:, :-1]).all(axis=0)))
            raise BadValue(f"term {fixed.names[bad]!r} is missing or infinite for some rows")
        lengths += np.square(block[:, :-1]).sum(axis=0)
        r = linalg.qr(np.concatenate([r, block]), mode="r", check_finite=False)[0]
        r = r[: block.shape[1]]
    return r, np.sqrt(lengths)


def _independent(r: Floats, lengths: Floats) -> list[int]:
    """Columns that are not combinations of earlier ones."""
    kept: list[int] = []
    for j, length in enumerate(lengths):
        if length == 0:
            continue
        column = r[:, j] / length
        if kept:
            basis = linalg.qr(r[:, kept] / lengths[kept], mode="economic")[0]
            column = column - basis @ (basis.T @ column)
        if linalg.norm(column) > ALIASED:
            kept.append(j)
    return kept


def _null_space(r: Floats, kept: list[int]) -> Floats:
    p = r.shape[1]
    gone = [j for j in range(p) if j not in kept]
    basis = np.zeros((p, len(gone)))
    for i, j in enumerate(gone):
        if kept:
            basis[kept, i] = linalg.lstsq(r[:, kept], r[:, j])[0]
        basis[j, i] = -1.0
    return basis


def _explain_aliases(fixed: Columns, kept: list[int], null_space: Floats, cells: Cells) -> None:
    """Aliases of empty cells are left out with a warning, any other is an error."""
    gone = [j for j in range(len(fixed.names)) if j not in kept]
    owners = _term_of_column(fixed)
    errors = []
    for i, j in enumerate(gone):
        if owners[j] not in _terms_with_empty_cells(fixed, cells):
            others = [fixed.names[m] for m in kept if abs(null_space[m, i]) > 1e-8]
            what = " + ".join(map(repr, others)) if others else "zero everywhere"
            errors.append(f"{fixed.names[j]!r} ({what})")
    if errors:
        raise BadValue(
            f"rank-deficient design: aliased {'terms' if len(errors) > 1 else 'term'} "
            f"{', '.join(errors)}; leave it out or recode it"
        )
    names = ", ".join(repr(fixed.names[j]) for j in gone)
    warnings.warn(
        f"empty cells: {names} cannot be estimated and is left out; contrasts that need it are "
        "reported as not estimable",
        UserWarning,
        stacklevel=5,
    )


def _term_of_column(fixed: Columns) -> list[int]:
    assert fixed.spec is not None
    return [i for i, part in enumerate(fixed.spec.structure) for _ in part.columns]


def _terms_with_empty_cells(fixed: Columns, cells: Cells) -> set[int]:
    """Interactions of categorical columns of which some combination has no rows."""
    assert fixed.spec is not None
    empty = set()
    for i, part in enumerate(fixed.spec.structure):
        names = [str(f.expr) for f in part.term.factors]
        names = [n for n in names if n in cells.frame and _is_categorical(cells.frame[n])]
        if len(names) < 2:
            continue
        seen = set(map(tuple, cells.frame[names].drop_duplicates().to_numpy().tolist()))
        levels = [cells.frame[n].cat.categories for n in names]
        if any(combination not in seen for combination in itertools.product(*levels)):
            empty.add(i)
    return empty


def _is_categorical(column: pd.Series[Any]) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _ordered(formula: MixedFormula, cells: Cells) -> tuple[Term, ...]:
    """Random terms as lme4 orders them: by decreasing number of levels, ties reversed."""
    terms = [_term(term.lhs, term.groups, str(term), cells) for term in formula.random]
    sizes = [len(cells.groups[t.group].levels) for t in terms]
    if any(b > a for a, b in itertools.pairwise(sizes)):
        order = np.argsort(sizes, kind="stable")[::-1]
        terms = [terms[i] for i in order]
    return tuple(terms)


def _term(text: str, group: tuple[str, ...], name: str, cells: Cells) -> Term:
    parts = columns(text, cells.frame)
    k = len(parts.names)
    if k * len(cells.groups[group].levels) >= cells.n_rows and k > 1:
        raise BadValue(
            f"random term {name} has {k} effects for each of "
            f"{len(cells.groups[group].levels)} levels but there are {cells.n_rows} rows: "
            "its variances cannot be told from the residual"
        )
    gram = np.zeros((k, k))
    for part in chunks(cells):
        z = parts.matrix(cells.frame.iloc[part])
        gram += z.T @ (z * cells.weight[part, None])
    gram /= cells.n_rows
    diagonal = np.sqrt(np.diag(gram))
    if not (diagonal > 0).all():
        raise BadValue(f"random term {name}: {parts.names[int(diagonal.argmin())]!r} is zero")
    correlation = gram / np.outer(diagonal, diagonal)
    if linalg.eigvalsh(correlation)[0] < ALIASED**2 * 100:
        raise BadValue(f"random term {name}: its columns {list(parts.names)} are dependent")
    # G = F'F with F lower: Cholesky of the reversed matrix, so that a lower triangular Cholesky
    # factor of the covariance stays lower triangular in the new units
    factor: npt.NDArray[np.float64] = linalg.cholesky(correlation[::-1, ::-1], lower=True)
    return Term(parts, group, factor[::-1, ::-1].T * diagonal)
