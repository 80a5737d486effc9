"""Fitting and what a fitted model tells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import linalg, stats

from carps_like.analysis.lmem import crossproducts, emmeans, hypotheses, inference
from carps_like.analysis.lmem.design import Design, build, chunks
from carps_like.analysis.lmem.elimination import Floats, Ints
from carps_like.analysis.lmem.formula import parse, variables
from carps_like.analysis.lmem.frame import Cells, Factor, prepare
from carps_like.analysis.lmem.inference import DfMethod, Inference
from carps_like.analysis.lmem.optimise import Optimum, minimise
from carps_like.analysis.lmem.profile import Profile
from carps_like.errors import BadValue, UnknownName

Method = Literal["REML", "ML"]
SINGULAR = 1e-4  # diagonal of theta in unit columns, as lme4's isSingular


class MixedModel:
    """A fitted linear mixed model (or, without random terms, a linear model).

    Made by :func:`fit`. Tables are DataFrames; p-values are never rounded.
    """

    formula: str
    method: Method
    df_method: DfMethod
    converged: bool  # the optimiser's own verdict
    singular: bool  # some random-effects covariance is at the boundary
    n_obs: int  # rows used
    log_likelihood: float  # restricted under REML
    sigma: float  # residual standard deviation
    theta: Floats  # relative covariance factors, lme4's order and units

    def __init__(
        self,
        formula: str,
        method: Method,
        df_method: DfMethod,
        cells: Cells,
        design: Design,
        profile: Profile,
        optimum: Optimum,
        positions: list[Ints],
    ) -> None:
        self.formula, self.method, self.df_method = formula, method, df_method
        self._cells, self._design, self._profile = cells, design, profile
        self._positions, self._optimum = positions, optimum
        self.converged, self.n_obs = optimum.converged, cells.n_rows
        roots = profile.unpack(optimum.theta)
        self._point = profile.at(profile.covariances(roots))
        self.singular = any(bool(np.any(np.abs(np.diag(r)) < SINGULAR)) for r in roots)
        self.sigma = float(np.sqrt(self._point.rss / profile.nu)) * design.y_scale
        self._roots = [
            linalg.solve_triangular(t.scale, r, lower=True)
            for t, r in zip(design.terms, roots, strict=True)
        ]
        self.theta = profile.pack(self._roots)
        self.log_likelihood = -self._deviance() / 2
        self._inferences: dict[DfMethod, Inference] = {}

    # -- fit -------------------------------------------------------------------------------------

    @property
    def aic(self) -> float:
        """Akaike's criterion, all parameters counted."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Bayesian information criterion with ``n_obs``."""
        return -2 * self.log_likelihood + float(np.log(self.n_obs)) * self.n_parameters

    @property
    def n_parameters(self) -> int:
        """Fixed effects, variances, covariances and the residual variance."""
        return int(self._profile.p + self._profile.n_theta + 1)

    @property
    def n_groups(self) -> dict[str, int]:
        """Number of levels of every grouping factor."""
        return {_name(f.group): f.n_levels for f in self._profile.factors}

    @property
    def aliased(self) -> list[str]:
        """Fixed columns left out because empty cells make them inestimable."""
        return self._design.aliased

    def _deviance(self) -> float:
        profile, design = self._profile, self._design
        value = profile.deviance(self._point)
        value += profile.nu * (1 + np.log(2 * np.pi / profile.nu) + 2 * np.log(design.y_scale))
        if profile.reml:
            value += 2 * float(np.log(np.abs(np.diag(design.r))).sum())
        return float(value) - self._cells.sum_log_weights

    def refit(self, method: Method) -> MixedModel:
        """The same model on the same data by the other method."""
        profile = Profile(
            self._profile.elimination,
            self._profile.factors,
            self._profile.sizes,
            self.n_obs,
            method == "REML",
        )
        chosen: DfMethod = self.df_method
        if method == "ML" and self._design.terms and chosen == "kenward-roger":
            chosen = "satterthwaite"
        return MixedModel(
            self.formula, method, chosen, self._cells, self._design, profile,
            minimise(profile), self._positions,
        )  # fmt: skip

    def row_weights(self) -> Floats:
        """Mean prior weight of the cell of every row."""
        return self._cells.to_rows(self._cells.weight / self._cells.count)

    # -- effects ---------------------------------------------------------------------------------

    @cached_property
    def coefficients(self) -> pd.Series[float]:
        """Estimates of the fixed effects in the units of the data."""
        design = self._design
        shift = linalg.solve_triangular(design.r, self._point.beta)
        return pd.Series(design.ols + design.y_scale * shift, index=design.names)

    def covariance(self, df_method: DfMethod | None = None) -> pd.DataFrame:
        """Covariance of the fixed effects; Kenward-Roger's is the adjusted one."""
        half = linalg.solve_triangular(self._design.r, np.eye(self._profile.p))
        scaled = self.inference(df_method).covariance * self._design.y_scale**2
        names = self._design.names
        return pd.DataFrame(half @ scaled @ half.T, index=names, columns=names)

    @cached_property
    def fixed_effects(self) -> pd.DataFrame:
        """Index term; columns estimate, std_error, df, t, p, ci_low, ci_high (95 %)."""
        table = self.test(np.eye(len(self._design.fixed.names))[list(self._design.kept)])
        table.index = pd.Index(self._design.names, name="term")
        return table

    @cached_property
    def random_effects(self) -> pd.DataFrame:
        """Columns group, term, variance, std; the residual is the last row."""
        rows = [
            (_name(term.group), name, float(variance))
            for term, covariance in zip(self._design.terms, self._covariances(), strict=True)
            for name, variance in zip(term.columns.names, np.diag(covariance), strict=True)
        ]
        rows.append(("Residual", "", self.sigma**2))
        table = pd.DataFrame(rows, columns=["group", "term", "variance"])
        return table.assign(std=np.sqrt(table["variance"]))

    @property
    def random_correlations(self) -> dict[str, pd.DataFrame]:
        """Group -> correlation matrix of its effects; zero between uncorrelated terms."""
        result = {}
        for factor in self._profile.factors:
            names = [n for t in factor.terms for n in self._design.terms[t].columns.names]
            covariances = self._covariances()
            full = linalg.block_diag(*(covariances[t] for t in factor.terms))
            sd = np.sqrt(np.diag(full))
            with np.errstate(invalid="ignore", divide="ignore"):
                matrix = full / np.outer(sd, sd)
            result[_name(factor.group)] = pd.DataFrame(matrix, index=names, columns=names)
        return result

    def _covariances(self) -> list[Floats]:
        return [self.sigma**2 * root @ root.T for root in self._roots]

    @cached_property
    def ranef(self) -> dict[str, pd.DataFrame]:
        """Group -> conditional modes, one row per level, one column per effect."""
        profile, design = self._profile, self._design
        weights = np.append(-self._point.beta, 1.0)
        levels = profile.elimination.modes(self._point.state, weights)
        modes = {size.grouping: block for level in levels for size, block in level}
        result = {}
        for number, factor in enumerate(profile.factors):
            block = modes[number][self._positions[number]] * design.y_scale
            columns, start = {}, 0
            for t in factor.terms:
                term = design.terms[t]
                part = linalg.solve_triangular(
                    term.scale, block[:, start : start + term.size].T, lower=True
                )
                columns.update(dict(zip(term.columns.names, part, strict=True)))
                start += term.size
            index = self._cells.groups[factor.group].levels.rename(_name(factor.group))
            result[_name(factor.group)] = pd.DataFrame(columns, index=index)
        return result

    # -- inference -------------------------------------------------------------------------------

    def inference(self, df_method: DfMethod | None = None) -> Inference:
        """Covariance and degrees of freedom by one method, computed when first asked for."""
        method = df_method or self.df_method
        _check_df_method(method, self.method)
        if method not in self._inferences:
            made = inference.make(method, self._profile, self._optimum.theta)
            self._inferences[method] = made
        return self._inferences[method]

    def test(
        self, rows: Floats, df_method: DfMethod | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """t tests of linear functions of the fixed effects, one per row.

        ``rows`` is (n, columns of the fixed part). Rows that the data cannot estimate are NaN.
        """
        design, engine = self._design, self.inference(df_method)
        estimable = self.estimable(rows)
        kept = rows[:, list(design.kept)]
        scaled = linalg.solve_triangular(design.r, kept.T, trans="T").T
        variance = np.einsum("ij,jk,ik->i", scaled, engine.covariance, scaled)
        error = np.sqrt(np.maximum(variance, 0.0)) * design.y_scale
        df = np.array([engine.df(row) if row.any() else np.inf for row in scaled])
        table = pd.DataFrame(
            {
                "estimate": kept @ self.coefficients.to_numpy(),
                "std_error": error,
                "df": df,
            }
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            table["t"] = table["estimate"] / table["std_error"]
        table["p"] = _two_sided(table["t"].to_numpy(), df)
        width = _quantile(df, level) * error
        table["ci_low"] = table["estimate"] - width
        table["ci_high"] = table["estimate"] + width
        table.loc[~estimable] = np.nan
        return table

    def estimable(self, rows: Floats) -> npt.NDArray[np.bool_]:
        """Whether each linear function (n, columns) is determined by the data."""
        null = self._design.null_space
        if not null.shape[1]:
            return np.ones(len(rows), dtype=bool)
        null = null / linalg.norm(null, axis=0)
        return np.asarray(np.max(np.abs(rows @ null), axis=1) < 1e-8)

    def means(
        self,
        factors: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        *,
        at: dict[str, object] | None = None,
        df_method: DfMethod | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Estimated marginal means: equal weights over the other factors, covariates at their mean.

        Indexed by the levels; columns estimate, std_error, df, ci_low, ci_high. ``at`` fixes
        covariates or restricts factors, e.g. ``at={"budget": [10, 100]}``.
        """
        return emmeans.means(self, factors, by, at, df_method, level)

    def contrasts(
        self,
        factors: str | Sequence[str],
        adjust: str = "tukey",
        df_method: DfMethod | None = None,
        *,
        against: object = None,
        by: str | Sequence[str] | None = None,
        at: dict[str, object] | None = None,
        level: float | None = 0.95,
    ) -> pd.DataFrame:
        """Differences of marginal means, all pairs or ``against`` one level (Dunnett).

        Columns: those of ``by``, left, right, estimate (left minus right), std_error, df, t, p,
        p_adjusted, ci_low, ci_high (simultaneous). ``adjust`` is tukey, holm, bonferroni, sidak or
        none; with ``against``, tukey becomes Dunnett. Each level of ``by`` is a family of its own.
        ``level=None`` leaves the intervals out, which are most of the work.
        """
        return emmeans.contrasts(self, factors, adjust, df_method, against, by, at, level)

    def anova(self, df_method: DfMethod | None = None) -> pd.DataFrame:
        """Type III F tests: index term; columns num_df, den_df, F, p."""
        return hypotheses.type_three(self, df_method)

    # -- rows ------------------------------------------------------------------------------------

    @property
    def fitted(self) -> pd.Series[float]:
        """Fixed part plus conditional modes, per row of the data used."""
        return pd.Series(self._cells.to_rows(self._fitted_cells), index=self._cells.row_index)

    @property
    def residuals(self) -> pd.Series[float]:
        """Response minus fitted, per row of the data used."""
        values = self._cells.response - self._cells.to_rows(self._fitted_cells)
        return pd.Series(values, index=self._cells.row_index)

    @cached_property
    def _fitted_cells(self) -> Floats:
        cells = self._cells
        result = np.empty(len(cells.weight))
        for part in chunks(cells):
            frame = cells.frame.iloc[part]
            codes = {g: f.codes[part] for g, f in cells.groups.items()}
            result[part] = self._predict(frame, codes)
        return result

    def _predict(self, frame: pd.DataFrame, codes: dict[tuple[str, ...], Ints]) -> Floats:
        """Prediction for prepared rows; a code of -1 is a level without a random effect."""
        design = self._design
        value = design.fixed.matrix(frame)[:, list(design.kept)] @ self.coefficients.to_numpy()
        for term in design.terms:
            if term.group not in codes:
                continue
            modes = self.ranef[_name(term.group)][list(term.columns.names)].to_numpy()
            code = codes[term.group]
            effect = np.where(code[:, None] >= 0, modes[code], 0.0)
            value = value + np.sum(term.columns.matrix(frame) * effect, axis=1)
        return np.asarray(value)

    def predict(self, new: pd.DataFrame, random: bool = True) -> pd.Series[float]:
        """Predictions for new rows; a group level that was not seen has a random effect of zero.

        Raises:
            UnknownName: a column is missing. BadValue: a level of a fixed factor is new, or a
                value is missing.
        """
        needed = variables(self._design.fixed.text)
        groups = []
        if random:
            needed += [v for t in self._design.terms for v in variables(t.columns.text)]
            groups = list(dict.fromkeys(t.group for t in self._design.terms))
        for column in [*needed, *(c for group in groups for c in group)]:
            if column not in new.columns:
                raise UnknownName("column", column, map(str, new.columns))
        frame = self.as_model_frame(new[list(dict.fromkeys(needed))])
        codes = {g: _lookup(new, g, self._cells.groups[g]) for g in groups}
        return pd.Series(self._predict(frame, codes), index=new.index)

    def as_model_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with factors coded by the levels of the model."""
        columns: dict[str, object] = {}
        for column in map(str, frame.columns):
            known = self._cells.frame[column]
            if frame[column].isna().any():
                raise BadValue(f"column {column!r} has missing values")
            if not isinstance(known.dtype, pd.CategoricalDtype):
                columns[column] = frame[column].to_numpy()
                continue
            levels = known.cat.categories
            strange = frame.loc[~frame[column].isin(levels), column]
            if len(strange):
                raise UnknownName(
                    f"level of factor {column!r}:", str(strange.iloc[0]), [str(v) for v in levels]
                )
            columns[column] = pd.Categorical(frame[column], categories=levels)
        return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))

    # -- text ------------------------------------------------------------------------------------

    def summary(self) -> str:
        """What was fitted and what came out, as text."""
        what = "Linear mixed model" if self._design.terms else "Linear model"
        groups = ", ".join(f"{g}: {n}" for g, n in self.n_groups.items())
        state = "singular" if self.singular else "regular"
        converged = "converged" if self.converged else "NOT converged"
        lines = [
            f"{what} fitted by {self.method}: {self.formula}",
            f"{self.n_obs} observations" + (f"; groups {groups}" if groups else ""),
            f"log-likelihood {self.log_likelihood:.6f}  AIC {self.aic:.4f}  BIC {self.bic:.4f}  "
            f"({converged}, {state})",
            "",
            "Random effects",
            self.random_effects.to_string(index=False),
            "",
            f"Fixed effects ({self.df_method})",
            self.fixed_effects.to_string(),
        ]
        if self.aliased:
            lines += ["", f"Not estimable (empty cells): {', '.join(self.aliased)}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<MixedModel {self.formula!r} {self.method} n={self.n_obs}>"


def fit(
    formula: str,
    data: pd.DataFrame,
    method: Method = "REML",
    df_method: DfMethod | None = None,
    weights: str | Sequence[float] | Floats | pd.Series[float] | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> MixedModel:
    """Fit a linear mixed model.

    Args:
        formula: lme4's notation, e.g. ``"loss ~ optimizer + (1|task) + (1|task:optimizer)"``; the
            fixed part is read by formulaic. Without a random term it is ordinary least squares.
        data: one row per observation.
        method: ``"REML"`` or ``"ML"``.
        df_method: ``"kenward-roger"`` (default for REML), ``"satterthwaite"`` (default for ML) or
            ``"z"``.
        weights: residual variance is ``sigma^2 / weight``; a column name or one number per row.
        missing: rows with missing or infinite values are an error, or are dropped.

    Raises:
        UnknownName: a column that is not there.
        BadValue: anything else that is wrong with formula or data, named in one line.
    """
    if method not in get_args(Method):
        raise BadValue(f"method={method!r}: must be 'REML' or 'ML'")
    chosen = df_method or ("kenward-roger" if method == "REML" else "satterthwaite")
    parsed = parse(formula)
    _check_df_method(chosen, method if parsed.random else "REML")
    cells = prepare(parsed, data, weights, missing)
    design = build(parsed, cells)
    factors = crossproducts.groupings(design, cells)
    elimination, positions = crossproducts.eliminate(design, cells, factors)
    sizes = [t.size for t in design.terms]
    profile = Profile(elimination, factors, sizes, cells.n_rows, method == "REML")
    optimum = minimise(profile)
    model = MixedModel(formula, method, chosen, cells, design, profile, optimum, positions)
    if not model.converged:
        warnings.warn(f"the fit of {formula!r} did not converge", RuntimeWarning, stacklevel=2)
    return model


def _check_df_method(df_method: str, method: str) -> None:
    if df_method not in get_args(DfMethod):
        known = ", ".join(map(repr, get_args(DfMethod)))
        raise BadValue(f"df_method={df_method!r}: must be one of {known}")
    if df_method == "kenward-roger" and method != "REML":
        raise BadValue("df_method='kenward-roger' needs method='REML'; ML has 'satterthwaite'")


def _name(group: tuple[str, ...]) -> str:
    return ":".join(group)


def _lookup(frame: pd.DataFrame, group: tuple[str, ...], factor: Factor) -> Ints:
    """Level number of every row, -1 where the level was not seen."""
    if len(group) == 1:
        return np.asarray(factor.levels.get_indexer(pd.Index(frame[group[0]])))
    labels = frame[group[0]].astype(str)
    for column in group[1:]:
        labels = labels + ":" + frame[column].astype(str)
    return np.asarray(factor.levels.get_indexer(pd.Index(labels)))


def _two_sided(t: Floats, df: Floats) -> Floats:
    normal, student = stats.norm.sf(np.abs(t)), stats.t.sf(np.abs(t), np.maximum(df, 1e-9))
    return np.asarray(2 * np.where(np.isinf(df), normal, student))


def _quantile(df: Floats, level: float) -> Floats:
    tail = (1 - level) / 2
    student = stats.t.isf(tail, np.maximum(df, 1e-9))
    return np.asarray(np.where(np.isinf(df), stats.norm.isf(tail), student))
