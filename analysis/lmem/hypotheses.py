"""Tests of several coefficients, and of one model against another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.parser.types import Factor
from scipy import linalg, special, stats

from carps_like.analysis.lmem.design import chunks
from carps_like.analysis.lmem.elimination import Floats
from carps_like.analysis.lmem.formula import quote
from carps_like.analysis.lmem.inference import DfMethod
from carps_like.errors import BadValue

if TYPE_CHECKING:
    from carps_like.analysis.lmem.model import MixedModel


def type_three(model: MixedModel, df_method: DfMethod | None) -> pd.DataFrame:
    """Type III F tests of the terms of the fixed part.

    A term is tested in the coding in which all factors sum to zero, so a main effect is the effect
    averaged with equal weights over the other factors (and at zero of covariates).
    """
    design = model._design
    spec = design.fixed.spec
    table = []
    if spec is not None:
        frame = model._cells.frame
        owners, rows = _sum_coded(model, frame)
        tested = [i for i, t in enumerate(spec.terms) if str(t) != "1"]
        for number in tested:
            term = spec.terms[number]
            chosen = _basis(model, rows[[o == number for o in owners]], number, len(tested) == 1)
            scaled = linalg.solve_triangular(design.r, chosen.T, trans="T").T
            # beta in units of y_scale and standardised columns, its least-squares part included
            beta = design.r @ model.coefficients.to_numpy() / design.y_scale
            test = model.inference(df_method).f_test(scaled, beta)
            table.append((str(term), test.num_df, test.den_df, test.statistic, test.p))
    frame = pd.DataFrame(table, columns=["term", "num_df", "den_df", "F", "p"])
    return frame.set_index("term")


def _basis(model: MixedModel, rows: Floats, number: int, alone: bool) -> Floats:
    """The basis of a hypothesis on which Satterthwaite's pooled df depends, as lmerTest takes it.

    The term's own coefficients have unit coefficients; for a term that stands alone the rows are
    those of the triangular (sequential) decomposition of X'X.
    """
    design = model._design
    spec = design.fixed.spec
    assert spec is not None
    owner = [i for i, part in enumerate(spec.structure) for _ in part.columns]
    own = [i for i, j in enumerate(design.kept) if owner[j] == number]
    if len(own) != len(rows) or np.linalg.cond(rows[:, own]) > 1e8:
        return rows
    rows = linalg.solve(rows[:, own], rows)
    if not alone:
        return np.asarray(rows)
    gram = sum(
        (x.T @ (x * model._cells.count[part, None]))
        for part in chunks(model._cells)
        for x in [design.fixed.matrix(model._cells.frame.iloc[part])[:, list(design.kept)]]
    )
    upper = linalg.cholesky(gram)
    unit = upper / np.diag(upper)[:, None]
    return np.asarray(unit[np.ix_(own, own)] @ rows)


def _sum_coded(model: MixedModel, frame: pd.DataFrame) -> tuple[list[int], Floats]:
    """The term of every column in sum-to-zero coding, and the columns as functions of beta."""
    design = model._design
    spec = design.fixed.spec
    assert spec is not None
    sample = _distinct(frame, model)
    formula = " + ".join(
        ["0", *(":".join(_sum_factor(f, model) for f in t.factors) for t in spec.terms)]
    )
    formula = formula.replace("0 + 1 +", "1 +").replace("0 + 1", "1")
    matrix = Formula(formula, _ordering="none").get_model_matrix(
        sample, na_action="ignore", output="numpy", transform_state=dict(spec.transform_state)
    )
    coded = np.asarray(matrix, dtype=float)
    owners = [i for i, part in enumerate(matrix.model_spec.structure) for _ in part.columns]
    x = design.fixed.matrix(sample)[:, list(design.kept)]
    kept = _independent(coded)
    rows = linalg.lstsq(coded[:, kept], x)[0]
    return [owners[j] for j in kept], np.asarray(rows)


def _distinct(frame: pd.DataFrame, model: MixedModel) -> pd.DataFrame:
    """Enough rows to span the design."""
    needed = sorted(map(str, model._design.fixed.spec.required_variables))  # type: ignore[union-attr]
    return frame[needed].drop_duplicates().reset_index(drop=True)


def _sum_factor(factor: Factor, model: MixedModel) -> str:
    """A factor of the formula, coded to sum to zero when it is categorical."""
    expression = str(factor.expr)
    if expression == "1":
        return "1"
    spec = model._design.fixed.spec
    assert spec is not None
    kind = spec.encoder_state[expression][0]
    by_name = str(factor.eval_method.value) == "lookup"
    if str(getattr(kind, "value", kind)) != "categorical":
        if by_name:
            return quote(expression)
        return expression if re.fullmatch(r"[\w.]+\(.*\)", expression) else f"{{{expression}}}"
    inner = re.match(r"C\(\s*(`[^`]*`|[^,()]+)", expression)
    name = inner.group(1).strip() if inner else quote(expression)
    return f"C({name}, contr.sum)"


def _independent(matrix: Floats) -> list[int]:
    kept: list[int] = []
    r = linalg.qr(matrix, mode="r")[0]
    for j in range(matrix.shape[1]):
        length = linalg.norm(matrix[:, j])
        if length == 0:
            continue
        column = r[:, j] / length
        if kept:
            basis = linalg.qr(r[:, kept], mode="economic")[0]
            column = column - basis @ (basis.T @ column)
        if linalg.norm(column) > 1e-9:
            kept.append(j)
    return kept


# -- likelihood ratio ------------------------------------------------------------------------------


def compare(null: MixedModel, alternative: MixedModel) -> pd.Series[Any]:
    """Likelihood-ratio test of nested models, both by maximum likelihood.

    Models fitted by REML are refitted with ML, and ``note`` says so. ``df`` counts all parameters.
    ``p`` refers to a chi-square with ``df``; ``p_boundary`` to the mixture that holds when the null
    puts variances at the edge of their range (Self & Liang 1987, Stram & Lee 1994); it equals ``p``
    when no variance is tested.

    Raises:
        BadValue: different data, or models that are not nested.
    """
    small, large = null, alternative
    if small.n_parameters > large.n_parameters:
        raise BadValue(
            f"the first model ({small.formula!r}) has more parameters than the second "
            f"({large.formula!r}): give the smaller one first"
        )
    _same_data(small, large)
    _fixed_nested(small, large)
    mixture = _random_nested(small, large)
    refitted = [m.formula for m in (small, large) if m.method == "REML"]
    small, large = (m if m.method == "ML" else m.refit("ML") for m in (small, large))
    chi2 = max(2 * (large.log_likelihood - small.log_likelihood), 0.0)
    df = large.n_parameters - small.n_parameters
    if df == 0:
        raise BadValue(f"models {null.formula!r} and {alternative.formula!r} are the same")
    fixed_df = large._profile.p - small._profile.p
    note = f"refitted with ML: {'; '.join(refitted)}" if refitted else "both fitted with ML"
    return pd.Series(
        {
            "null": small.formula,
            "alternative": large.formula,
            "log_likelihood_null": small.log_likelihood,
            "log_likelihood_alternative": large.log_likelihood,
            "chi2": chi2,
            "df": df,
            "p": float(stats.chi2.sf(chi2, df)),
            "p_boundary": sum(w * _chi2_sf(chi2, fixed_df + d) for d, w in mixture.items()),
            "method": "ML",
            "note": note,
        },
        name="likelihood-ratio test",
    )


def _chi2_sf(value: float, df: int) -> float:
    return float(stats.chi2.sf(value, df)) if df else float(value <= 0)


def _same_data(small: MixedModel, large: MixedModel) -> None:
    a, b = small._cells, large._cells
    same = a.n_rows == b.n_rows and np.array_equal(a.response, b.response)
    if not same:
        raise BadValue(
            f"the models are fitted to different data ({a.n_rows} and {b.n_rows} rows); "
            "fit both to the same rows"
        )
    if not np.allclose(small.row_weights(), large.row_weights()):
        raise BadValue("the models have different weights")


def _fixed_nested(small: MixedModel, large: MixedModel) -> None:
    """Every fixed column of the small model must be a combination of the large one's."""
    x, y = _fixed_rows(small, large)
    residual = x - y @ linalg.lstsq(y, x)[0]
    size = linalg.norm(x, axis=0)
    outside = np.flatnonzero(linalg.norm(residual, axis=0) > 1e-7 * size)
    if len(outside):
        names = ", ".join(repr(small._design.names[i]) for i in outside)
        raise BadValue(
            f"models are not nested: fixed term {names} of {small.formula!r} "
            f"is not in {large.formula!r}"
        )


def _fixed_rows(small: MixedModel, large: MixedModel) -> tuple[Floats, Floats]:
    """Fixed columns of both models on rows that show all combinations of their cells."""
    a, b = small._cells, large._cells
    rows = np.arange(a.n_rows)
    cell_a = rows if a.cell_of_row is None else a.cell_of_row
    cell_b = rows if b.cell_of_row is None else b.cell_of_row
    pairs = pd.DataFrame({"a": cell_a, "b": cell_b}).drop_duplicates()
    x = small._design.fixed.matrix(a.frame.iloc[pairs["a"]])[:, list(small._design.kept)]
    y = large._design.fixed.matrix(b.frame.iloc[pairs["b"]])[:, list(large._design.kept)]
    return x, y


def _random_nested(small: MixedModel, large: MixedModel) -> dict[int, float]:
    """Check nesting of the random parts; mixture of chi-square df of the random parameters."""
    contained = dict.fromkeys(range(len(large._design.terms)), 0)
    for term in small._design.terms:
        for number, other in enumerate(large._design.terms):
            if set(other.group) == set(term.group) and _spans(small, large, term, other):
                contained[number] += term.size
                break
        else:
            raise BadValue(
                f"models are not nested: random term ({term.columns.text} | "
                f"{':'.join(term.group)}) of {small.formula!r} is not in {large.formula!r}"
            )
    mixture = {0: 1.0}
    extra = large._profile.n_theta - small._profile.n_theta
    explained = 0
    for number, term in enumerate(large._design.terms):
        new, old = term.size - contained[number], contained[number]
        if new <= 0:
            continue
        part = _boundary(new, old)
        explained += max(part)
        mixture = _convolve(mixture, part)
    if extra > explained:  # covariances between effects that both models have: no boundary
        mixture = _convolve(mixture, {extra - explained: 1.0})
    return mixture


def _spans(small: MixedModel, large: MixedModel, term, other) -> bool:  # type: ignore[no-untyped-def]
    """Whether the columns of a random term are combinations of those of another one."""
    a, b = small._cells, large._cells
    rows = np.arange(a.n_rows)
    cell_a = rows if a.cell_of_row is None else a.cell_of_row
    cell_b = rows if b.cell_of_row is None else b.cell_of_row
    pairs = pd.DataFrame({"a": cell_a, "b": cell_b}).drop_duplicates()
    x = term.columns.matrix(a.frame.iloc[pairs["a"]])
    y = other.columns.matrix(b.frame.iloc[pairs["b"]])
    residual = x - y @ linalg.lstsq(y, x)[0]
    return bool(np.all(linalg.norm(residual, axis=0) <= 1e-7 * linalg.norm(x, axis=0)))


def _boundary(new: int, old: int) -> dict[int, float]:
    """Weights of chi-square df when ``new`` effects join ``old`` ones in one covariance matrix.

    One new effect: half and half of df ``old`` and ``old + 1`` (Stram & Lee 1994, case 3). For
    several there is no closed form; the binomial mixture over them is used, with their
    covariances counted in full, which is conservative.
    """
    fixed = new * old + new * (new - 1) // 2
    return {fixed + i: float(special.comb(new, i)) / 2**new for i in range(new + 1)}


def _convolve(a: dict[int, float], b: dict[int, float]) -> dict[int, float]:
    result: dict[int, float] = {}
    for i, u in a.items():
        for j, v in b.items():
            result[i + j] = result.get(i + j, 0.0) + u * v
    return result
