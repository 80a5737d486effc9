"""Agreement with lme4, lmerTest, pbkrtest and emmeans, within the tolerances that R supports."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from lmem_data import case_data, priorband, reference, synthetic

from carps_like.analysis import lmem

CASES = list(reference()["cases"])
FITS = [(case, method) for case in CASES for method in ("ML", "REML")]
DF_METHODS = {"satterthwaite": "satterthwaite", "kenward_roger": "kenward-roger"}
MODES = {"asymptotic": "z", **DF_METHODS}


@cache
def fitted(case: str, method: str) -> lmem.MixedModel:
    entry = reference()["cases"][case]
    return lmem.fit(entry["formula"], case_data(entry), method=method)


def expected(case: str, method: str) -> dict[str, Any]:
    result: dict[str, Any] = reference()["cases"][case][method]
    return result


def floats(values: object) -> np.ndarray:
    return np.atleast_1d(np.array(values, dtype=float))


@pytest.mark.parametrize(("case", "method"), FITS)
def test_a_fit_agrees_with_lme4(case: str, method: str) -> None:
    model, r = fitted(case, method), expected(case, method)
    se = floats(list(r["se"].values()))
    ours = np.sqrt(np.diag(model.covariance("z")))
    assert model.converged and model.singular == r["is_singular"] and model.n_obs == r["n"]
    assert model.log_likelihood == pytest.approx(r["logLik"], abs=1e-6)
    assert model.aic == pytest.approx(r["AIC"], abs=1e-5)
    assert model.bic == pytest.approx(r["BIC"], abs=1e-5)
    assert model.sigma == pytest.approx(r["sigma"], rel=5e-5)
    assert np.max(np.abs(model.coefficients - floats(list(r["fixef"].values()))) / se) < 1e-6
    np.testing.assert_allclose(ours, se, rtol=5e-5)
    np.testing.assert_allclose(model.theta, floats(r["theta"]), rtol=1e-4, atol=1e-6)
    variances = [v for v, second in zip(r["varcorr"]["vcov"], r["varcorr"]["var2"], strict=True)
                 if second in (None, "NA")]  # fmt: skip
    np.testing.assert_allclose(
        model.random_effects["variance"], floats(variances), rtol=2e-4, atol=1e-12
    )
    assert model.n_groups == r["ngroups"]


@pytest.mark.parametrize(("case", "method"), FITS)
@pytest.mark.parametrize("df_method", ["satterthwaite", "kenward_roger"])
def test_degrees_of_freedom_and_anova_agree_with_r(case: str, method: str, df_method: str) -> None:
    r = expected(case, method)
    if df_method not in r:
        assert df_method == "kenward_roger" and (
            method == "ML" or "nested" in case or r["n"] > 2000
        )
        return
    model, ours = fitted(case, method), DF_METHODS[df_method]
    table, want = model.test(np.eye(len(r["fixef"])), ours), r[df_method]
    tolerance = 2e-4 if df_method == "satterthwaite" else 1e-6
    np.testing.assert_allclose(table["df"], floats(want["df"]), rtol=tolerance)
    np.testing.assert_allclose(table["std_error"], floats(want["se"]), rtol=5e-5)
    np.testing.assert_allclose(table["p"], floats(want["p"]), atol=5e-6)
    anova, want = model.anova(ours), r[f"anova3_{df_method}"]
    assert list(anova.index) == ([want["term"]] if isinstance(want["term"], str) else want["term"])
    np.testing.assert_allclose(anova["F"], floats(want["F"]), rtol=1e-5)
    np.testing.assert_allclose(anova["den_df"], floats(want["den_df"]), rtol=tolerance)


@pytest.mark.parametrize(("case", "method"), FITS)
def test_means_and_adjusted_contrasts_agree_with_emmeans(case: str, method: str) -> None:
    model = fitted(case, method)
    for spec, modes in expected(case, method)["emmeans"].items():
        factor, _, by = spec.removeprefix("~").replace(" ", "").partition("|")
        for mode, want in modes.items():
            means = model.means(factor, by=by or None, df_method=MODES[mode])
            np.testing.assert_allclose(
                means["estimate"], floats(want["means"]["emmean"]), rtol=1e-6
            )
            np.testing.assert_allclose(means["std_error"], floats(want["means"]["SE"]), rtol=5e-5)
            low = want["means"].get("lower.CL", want["means"].get("asymp.LCL"))
            np.testing.assert_allclose(means["ci_low"], floats(low), atol=2e-4)
            for adjust in ("none", "tukey", "holm", "bonferroni", "sidak"):
                pairs = model.contrasts(factor, adjust, MODES[mode], by=by or None)
                r = want[f"pairs_{adjust}"]
                below = pairs["df"].max() <= 25_000 or mode == "asymptotic"
                np.testing.assert_allclose(pairs["estimate"], floats(r["estimate"]), atol=1e-6)
                np.testing.assert_allclose(
                    pairs["p_adjusted"], floats(r["p.value"]), atol=1e-6 if below else 3e-5
                )
            r = want["pairs_ci_tukey"]
            low = r.get("lower.CL", r.get("asymp.LCL"))
            pairs = model.contrasts(factor, df_method=MODES[mode], by=by or None)
            np.testing.assert_allclose(pairs["ci_low"], floats(low), atol=2e-5)


@pytest.mark.parametrize("case", [c for c in CASES if "ranef" in expected(c, "REML")])
def test_conditional_modes_agree_with_lme4(case: str) -> None:
    for group, want in expected(case, "REML")["ranef"].items():
        ours = fitted(case, "REML").ranef[group.replace(" ", "")]
        names, values = want["level"], want["effects"]["(Intercept)"]
        for name, value in zip(names, floats(values), strict=True):
            assert ours.loc[name, "Intercept"] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("test", reference()["glrt"], ids=lambda t: t["name"])
def test_likelihood_ratio_tests_agree_with_r(test: dict[str, Any]) -> None:
    if test["dataset"] == "hpo_synth":
        data = synthetic()[synthetic()["budget"] == 100]
    else:
        benchmark = test["subset"].split("'")[1]
        data = priorband()[priorband()["benchmark"] == benchmark]
    result = lmem.compare(lmem.fit(test["null"], data), lmem.fit(test["alternative"], data))
    assert result["chi2"] == pytest.approx(test["chi2"], abs=2e-6)
    assert result["df"] == test["df"]
    if test["p"] > 0:
        assert result["p"] == pytest.approx(test["p"], rel=1e-6)
    assert "refitted with ML" in result["note"]
    halved = "task_var" in test["name"]
    assert result["p_boundary"] == pytest.approx(result["p"] / (2 if halved else 1))


@pytest.mark.parametrize("case", ["pb_f10_logregret", "pb_f10_dedup"])
def test_a_variance_of_zero_is_a_stationary_point_that_is_not_the_optimum(case: str) -> None:
    """The traps: at theta = 0 for the smaller term the gradient vanishes 10 log-units too low."""
    model = fitted(case, "REML")
    stuck = model.theta.copy()
    stuck[0] = 0.0
    roots = [r * t.scale for r, t in zip(stuck, model._design.terms, strict=True)]
    value, gradient = model._profile.value_and_gradient(np.concatenate([r.ravel() for r in roots]))
    assert gradient[0] == 0.0
    assert (value - model._optimum.deviance) / 2 > 0.05
