"""Models beyond the golden ones, against dense or statsmodels likelihoods and known identities."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from lmem_data import DenseModel
from scipy import linalg, stats

from carps_like.analysis import lmem


def frame(seed: int, n: int = 120, tasks: int = 6, scales: tuple[float, ...] = (1, 0.5, 0.3, 0.2)):
    """Rows of a random, unbalanced experiment with effects of several groups."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "task": rng.integers(0, tasks, n),
            "optimizer": rng.choice(list("abc"), n),
            "seed": rng.integers(0, 5, n),
            "x": rng.normal(3, 1, n),
            "w": rng.uniform(0.3, 3, n),
        }
    )
    code = data["optimizer"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
    task, between, slope, seeds = scales
    data["loss"] = (
        (task * rng.normal(size=tasks))[data["task"]]
        + (between * rng.normal(size=(tasks, 3)))[data["task"], code]
        + (slope * rng.normal(size=tasks))[data["task"]] * data["x"]
        + (seeds * rng.normal(size=5))[data["seed"]]
        + 0.5 * rng.normal(size=n)
    )
    return data


def dummies(data: pd.DataFrame) -> np.ndarray:
    return (data["optimizer"].to_numpy()[:, None] == np.array(list("abc"))).astype(float)


def fixed(data: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(data)), dummies(data)[:, 1:]])


def groups(data: pd.DataFrame, *columns: str) -> np.ndarray:
    return pd.factorize(data[list(columns)].astype(str).agg(":".join, axis=1))[0]


RANDOM_PARTS = {
    "(1|task)": lambda d: [(groups(d, "task"), np.ones((len(d), 1)))],
    "(x|task)": lambda d: [(groups(d, "task"), np.column_stack([np.ones(len(d)), d["x"]]))],
    "(x||task)": lambda d: [
        (groups(d, "task"), np.ones((len(d), 1))),
        (groups(d, "task"), d[["x"]].to_numpy()),
    ],
    "(0+x|task)": lambda d: [(groups(d, "task"), d[["x"]].to_numpy())],
    "(1|task/optimizer)": lambda d: [
        (groups(d, "task", "optimizer"), np.ones((len(d), 1))),
        (groups(d, "task"), np.ones((len(d), 1))),
    ],
    "(1|task) + (1|seed)": lambda d: [
        (groups(d, "task"), np.ones((len(d), 1))),
        (groups(d, "seed"), np.ones((len(d), 1))),
    ],
    "(1|task) + (1|task:seed) + (1|seed)": lambda d: [
        (groups(d, "task", "seed"), np.ones((len(d), 1))),
        (groups(d, "task"), np.ones((len(d), 1))),
        (groups(d, "seed"), np.ones((len(d), 1))),
    ],
    "(x|task) + (1|task:optimizer)": lambda d: [
        (groups(d, "task", "optimizer"), np.ones((len(d), 1))),
        (groups(d, "task"), np.column_stack([np.ones(len(d)), d["x"]])),
    ],
    "(x|task) + (x|seed)": lambda d: [
        (groups(d, "task"), np.column_stack([np.ones(len(d)), d["x"]])),
        (groups(d, "seed"), np.column_stack([np.ones(len(d)), d["x"]])),
    ],
}


@pytest.mark.parametrize("random", RANDOM_PARTS)
@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_the_likelihood_is_that_of_the_dense_covariance_matrix(
    random: str, method: str, weights: str | None
) -> None:
    data = frame(3)
    model = lmem.fit(f"loss ~ optimizer + {random}", data, method=method, weights=weights)
    w = None if weights is None else data[weights].to_numpy()
    terms = _in_model_order(model, data, random)
    dense = DenseModel(data["loss"].to_numpy(), fixed(data), terms, method == "REML", w)
    assert -2 * model.log_likelihood == pytest.approx(dense.deviance(model.theta), abs=1e-7)


def _in_model_order(model: lmem.MixedModel, data: pd.DataFrame, random: str):
    """The dense terms ordered as the model's theta is."""
    terms = RANDOM_PARTS[random](data)
    result = []
    for term in model._design.terms:
        sizes = [(i, t) for i, t in enumerate(terms) if t[1].shape[1] == term.size]
        code = groups(data, *term.group)
        same = [i for i, t in sizes if np.array_equal(t[0], code)]
        if len(same) > 1:  # the two terms of a double bar
            constant = term.columns.names == ("Intercept",)
            same = [i for i in same if bool(np.all(terms[i][1] == 1)) == constant]
        result.append(terms[same[0]])
    return result


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    random=st.sampled_from(sorted(RANDOM_PARTS)),
    reml=st.booleans(),
    scales=st.tuples(*[st.sampled_from([0.0, 0.0, 0.1, 1.0, 3.0])] * 4),
)
def test_no_other_theta_has_a_higher_likelihood(
    seed: int, random: str, reml: bool, scales: tuple[float, ...]
) -> None:
    """Global optimum on random designs, singular ones included."""
    data = frame(seed, n=70, tasks=5, scales=scales)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = lmem.fit(f"loss ~ optimizer + {random}", data, method="REML" if reml else "ML")
    terms = _in_model_order(model, data, random)
    dense = DenseModel(data["loss"].to_numpy(), fixed(data), terms, reml)
    assert -2 * model.log_likelihood <= dense.best(starts=2) + 1e-6


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("slope", [False, True])
def test_one_level_models_agree_with_statsmodels(reml: bool, slope: bool) -> None:
    data = frame(5, n=400, tasks=15)
    random = "(x|task)" if slope else "(1|task)"
    ours = lmem.fit(f"loss ~ optimizer + {random}", data, method="REML" if reml else "ML")
    theirs = smf.mixedlm(
        "loss ~ optimizer", data, groups="task", re_formula="~x" if slope else "~1"
    ).fit(reml=reml, method=["lbfgs", "bfgs"])
    assert ours.log_likelihood >= theirs.llf - 1e-6
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-4)
    np.testing.assert_allclose(ours.coefficients, theirs.fe_params, atol=1e-4)


def test_two_level_models_agree_with_statsmodels() -> None:
    data = frame(6, n=400, tasks=12)
    ours = lmem.fit("loss ~ optimizer + (1|task) + (1|task:optimizer)", data)
    theirs = smf.mixedlm(
        "loss ~ optimizer",
        data,
        groups="task",
        re_formula="1",
        vc_formula={"o": "0 + C(optimizer)"},
    ).fit(reml=True)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(ours.covariance("z"))), theirs.bse_fe, rtol=1e-3)


def test_without_a_random_part_it_is_ordinary_least_squares() -> None:
    data = frame(7)
    ours = lmem.fit("loss ~ optimizer * x", data)
    theirs = smf.ols("loss ~ optimizer * x", data).fit()
    table = ours.fixed_effects
    names = {n: n for n in theirs.params.index}
    for name in names:
        assert table.loc[name, "estimate"] == pytest.approx(theirs.params[name], rel=1e-8)
        assert table.loc[name, "std_error"] == pytest.approx(theirs.bse[name], rel=1e-8)
        assert table.loc[name, "p"] == pytest.approx(theirs.pvalues[name], rel=1e-6)
        assert table.loc[name, "df"] == theirs.df_resid
    ml = lmem.fit("loss ~ optimizer * x", data, method="ML")
    assert ml.log_likelihood == pytest.approx(theirs.llf)
    np.testing.assert_allclose(ml.fixed_effects["std_error"], table["std_error"])
    assert not ours.ranef and list(ours.random_effects["group"]) == ["Residual"]


def test_weighted_least_squares_agrees_with_statsmodels() -> None:
    data = frame(8)
    ours = lmem.fit("loss ~ optimizer + x", data, weights="w")
    theirs = smf.wls("loss ~ optimizer + x", data, weights=data["w"]).fit()
    np.testing.assert_allclose(ours.fixed_effects["std_error"], theirs.bse, rtol=1e-8)
    np.testing.assert_allclose(ours.fixed_effects["estimate"], theirs.params, rtol=1e-8)


def test_balanced_designs_have_the_degrees_of_freedom_of_the_classical_analysis() -> None:
    """Optimizers crossed with 7 tasks, 5 seeds: F on (2, 12) df, as in the split-plot table."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [range(7), list("abc"), range(5)], names=["task", "optimizer", "seed"]
    )
    data = index.to_frame(index=False)
    cell = rng.normal(size=(7, 3))
    data["loss"] = cell[data["task"], data["optimizer"].map(ord) - 97] + rng.normal(size=len(data))
    for df_method in ("kenward-roger", "satterthwaite"):
        model = lmem.fit(
            "loss ~ optimizer + (1|task) + (1|task:optimizer)", data, df_method=df_method
        )
        table = model.anova()
        means = data.groupby(["task", "optimizer"])["loss"].mean().unstack()
        residual = means.sub(means.mean(axis=1), axis=0) - means.mean() + means.to_numpy().mean()
        error = np.square(residual.to_numpy()).sum() / 12
        between = 7 * means.mean().var()
        assert table.loc["optimizer", "den_df"] == pytest.approx(12, rel=1e-4)
        assert table.loc["optimizer", "F"] == pytest.approx(between / error, rel=1e-6)
        assert model.contrasts("optimizer")["df"].to_numpy() == pytest.approx(12, rel=1e-4)


@pytest.mark.parametrize(
    "random", ["(1|task)", "(x|task)", "(x|task) + (1|task:optimizer)", "(1|task) + (1|seed)"]
)
def test_kenward_roger_agrees_with_its_definition_by_dense_matrices(random: str) -> None:
    data = frame(9, n=90)
    model = lmem.fit(f"loss ~ optimizer + {random}", data)
    df, se = dense_kenward_roger(model, data, random)
    np.testing.assert_allclose(model.fixed_effects["df"], df, rtol=1e-7)
    np.testing.assert_allclose(model.fixed_effects["std_error"], se, rtol=1e-7)


def dense_kenward_roger(model: lmem.MixedModel, data: pd.DataFrame, random: str):
    """Kenward and Roger (1997) literally, for single coefficients."""
    n, x = len(data), fixed(data)
    v, g = model.sigma**2 * np.eye(n), []
    for (codes, z), root in zip(_in_model_order(model, data, random), model._roots, strict=True):
        s, same = model.sigma**2 * root @ root.T, codes[:, None] == codes
        for a in range(len(s)):
            for b in range(a + 1):
                part = np.outer(z[:, a], z[:, b])
                matrix = same * (part if a == b else part + part.T)
                g.append(matrix)
                v = v + s[a, b] * matrix
    g.append(np.eye(n))
    inverse = linalg.inv(v)
    phi = linalg.inv(x.T @ inverse @ x)
    p = [-(x.T @ inverse @ m @ inverse @ x) for m in g]
    q = [[x.T @ inverse @ a @ inverse @ b @ inverse @ x for b in g] for a in g]
    k = np.array([[np.trace(inverse @ a @ inverse @ b) for b in g] for a in g])
    size = len(g)
    information = np.array(
        [
            [
                k[i, j] - 2 * np.trace(phi @ q[i][j]) + np.trace(phi @ p[i] @ phi @ p[j])
                for j in range(size)
            ]
            for i in range(size)
        ]
    )
    w = 2 * linalg.inv(information)
    u = sum(w[i, j] * (q[i][j] - p[i] @ phi @ p[j]) for i in range(size) for j in range(size))
    adjusted = phi + 2 * phi @ u @ phi
    dfs = []
    for row in np.eye(x.shape[1]):
        theta = np.outer(row, row) / (row @ phi @ row)
        t = np.array([np.trace(theta @ phi @ m @ phi) for m in p])
        a1 = a2 = float(t @ w @ t)
        b = (a1 + 6 * a2) / 2
        gg = (2 * a1 - 5 * a2) / (3 * a2)
        c1, c2, c3 = gg / (5 - 2 * gg), (1 - gg) / (5 - 2 * gg), (3 - gg) / (5 - 2 * gg)
        rho = ((1 - a2) / (1 - c2 * b)) ** 2 * (1 + c1 * b) / (1 - c3 * b)
        dfs.append(4 + 3 / (rho - 1))
    return np.array(dfs), np.sqrt(np.diag(adjusted))


def test_the_order_of_elimination_does_not_change_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every factor first, nested and crossed in turn: same likelihood, gradient and modes."""
    from carps_like.analysis.lmem import crossproducts

    data = frame(10, n=100)
    formula = "loss ~ optimizer + (x|task) + (1|task:optimizer) + (1|seed)"
    factors = crossproducts.groupings(
        lmem.fit(formula, data)._design, lmem.fit(formula, data)._cells
    )
    seen = []
    for order in list(crossproducts._orders(factors)):
        monkeypatch.setattr(crossproducts, "_best_order", lambda _, order=order: order)
        model = lmem.fit(formula, data)
        theta = np.array([0.7, 0.4, -0.2, 0.3, 0.5])
        value, gradient = model._profile.value_and_gradient(theta)
        seen.append(np.r_[model.log_likelihood, value, gradient, model.fitted])
    assert len(seen) >= 12
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], rtol=1e-6, atol=1e-6)


def test_the_gradient_is_the_derivative() -> None:
    data = frame(11, n=150)
    model = lmem.fit("loss ~ optimizer + (optimizer|task) + (x||seed)", data)
    rng = np.random.default_rng(0)
    theta = rng.normal(0.5, 0.3, model._profile.n_theta)
    _, gradient = model._profile.value_and_gradient(theta)
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = 1e-5
        up, down = model._profile.value(theta + step), model._profile.value(theta - step)
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-5)


def test_collapsing_rows_to_cells_changes_nothing() -> None:
    data = frame(12, n=300)
    data["x"] = data["x"].round()  # few values: rows collapse
    jittered = data.assign(x=data["x"] + np.linspace(0, 1e-13, len(data)))  # rows stay apart
    a = lmem.fit("loss ~ optimizer * x + (x|task)", data, weights="w")
    b = lmem.fit("loss ~ optimizer * x + (x|task)", jittered, weights="w")
    assert a._cells.cell_of_row is not None and len(a._cells.weight) < len(b._cells.weight)
    assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-7)
    np.testing.assert_allclose(a.residuals, b.residuals, atol=1e-6)
    np.testing.assert_allclose(a.fixed_effects["df"], b.fixed_effects["df"], rtol=1e-5)


def test_units_and_offsets_of_response_and_covariate_do_not_matter() -> None:
    data = frame(13)
    moved = data.assign(loss=1e7 + 1e3 * data["loss"], x=1e4 + 1e2 * data["x"])
    a = lmem.fit("loss ~ optimizer + x + (x|task)", data)
    b = lmem.fit("loss ~ optimizer + x + (x|task)", moved)
    np.testing.assert_allclose(
        a.fixed_effects["t"].iloc[1:], b.fixed_effects["t"].iloc[1:], rtol=1e-4
    )
    pairs = [m.contrasts("optimizer")["p_adjusted"] for m in (a, b)]
    np.testing.assert_allclose(pairs[0], pairs[1], rtol=1e-4)
    np.testing.assert_allclose(1e3 * a.residuals, b.residuals, atol=1e-2)


def test_the_order_of_rows_does_not_matter() -> None:
    data = frame(14)
    shuffled = data.sample(frac=1, random_state=1)
    a, b = (lmem.fit("loss ~ optimizer + (1|task/seed)", d) for d in (data, shuffled))
    assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(a.residuals.loc[shuffled.index], b.residuals, atol=1e-6)


def test_predictions_repeat_the_fit_and_know_no_effect_of_new_levels() -> None:
    data = frame(15)
    model = lmem.fit("loss ~ optimizer + x + (x|task) + (1|task:optimizer)", data)
    np.testing.assert_allclose(model.predict(data), model.fitted, atol=1e-10)
    np.testing.assert_allclose(model.fitted + model.residuals, data["loss"], atol=1e-10)
    new = data.assign(task=99)
    np.testing.assert_allclose(model.predict(new), model.predict(data, random=False))
    assert not np.allclose(model.predict(data), model.predict(data, random=False))
    assert list(model.predict(new.iloc[5:8]).index) == [5, 6, 7]


def test_means_average_factors_equally_and_hold_covariates_at_their_mean() -> None:
    data = frame(16)
    model = lmem.fit("loss ~ optimizer * x + C(seed) + (1|task)", data)
    grid = pd.MultiIndex.from_product(
        [list("abc"), sorted(data["seed"].unique())], names=["optimizer", "seed"]
    ).to_frame(index=False)
    grid["x"] = data["x"].mean()
    by_hand = grid.assign(value=model.predict(grid, random=False)).groupby("optimizer")["value"]
    np.testing.assert_allclose(model.means("optimizer")["estimate"], by_hand.mean())
    two = model.means("optimizer", at={"x": 0.0})
    grid["x"] = 0.0
    by_hand = grid.assign(value=model.predict(grid, random=False)).groupby("optimizer")["value"]
    np.testing.assert_allclose(two["estimate"], by_hand.mean())


def test_contrasts_within_levels_are_families_of_their_own() -> None:
    data = frame(17).assign(prior=lambda d: np.where(d["seed"] % 2, "good", "bad"))
    model = lmem.fit("loss ~ optimizer * prior + (1|task)", data)
    table = model.contrasts("optimizer", "bonferroni", by="prior")
    assert list(table["prior"]) == ["bad"] * 3 + ["good"] * 3
    np.testing.assert_allclose(table["p_adjusted"], np.minimum(3 * table["p"], 1))
    means = model.means("optimizer", by="prior")["estimate"]
    first = table.iloc[0]
    expected = means[("bad", first["left"])] - means[("bad", first["right"])]
    assert first["estimate"] == pytest.approx(expected)


def test_dunnett_agrees_with_scipy_when_there_are_no_groups() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.normal(0.4 * i, 1, 9) for i in range(4)]
    data = pd.DataFrame({"y": np.concatenate(samples), "g": np.repeat(list("abcd"), 9)})
    table = lmem.fit("y ~ g", data).contrasts("g", against="a")
    expected = stats.dunnett(*samples[1:], control=samples[0], rng=np.random.default_rng(0))
    assert list(table["left"]) == list("bcd") and set(table["right"]) == {"a"}
    np.testing.assert_allclose(table["p_adjusted"], expected.pvalue, atol=2e-4)
    interval = expected.confidence_interval()
    np.testing.assert_allclose(table["ci_low"], interval.low, atol=5e-3)


@pytest.mark.parametrize(
    ("null", "alternative", "df", "weights"),
    [
        ("loss ~ optimizer + (1|task)", "loss ~ optimizer + (x|task)", 2, {1: 0.5, 2: 0.5}),
        ("loss ~ optimizer", "loss ~ optimizer + (1|task)", 1, {0: 0.5, 1: 0.5}),
        ("loss ~ 1 + (1|task)", "loss ~ optimizer + (1|task)", 2, {2: 1.0}),
        ("loss ~ (1|task)", "loss ~ x + (1|task) + (1|task:optimizer)", 2, {1: 0.5, 2: 0.5}),
        ("loss ~ (x||task)", "loss ~ (x|task)", 1, {1: 1.0}),
        ("loss ~ x", "loss ~ x + (1|task) + (1|seed)", 2, {0: 0.25, 1: 0.5, 2: 0.25}),
    ],
)
def test_likelihood_ratios_count_all_parameters_and_know_the_boundary(
    null: str, alternative: str, df: int, weights: dict[int, float]
) -> None:
    data = frame(18, scales=(0.4, 0.1, 0.1, 0.05))
    result = lmem.compare(lmem.fit(null, data), lmem.fit(alternative, data, method="ML"))
    assert result["df"] == df
    assert result["p"] == pytest.approx(stats.chi2.sf(result["chi2"], df))
    mixture = sum(w * (stats.chi2.sf(result["chi2"], d) if d else 0) for d, w in weights.items())
    assert result["p_boundary"] == pytest.approx(mixture)


def test_86400_rows_are_fitted_by_their_1800_cells() -> None:
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [range(12), list("abc"), range(50), range(48)], names=["task", "optimizer", "seed", "rep"]
    )
    data = index.to_frame(index=False)
    code = data["optimizer"].map(ord).to_numpy() - 97
    data["loss"] = (
        rng.normal(size=12)[data["task"]]
        + 0.3 * rng.normal(size=(12, 3))[data["task"], code]
        + 0.2 * rng.normal(size=(12, 50))[data["task"], data["seed"]]
        + 0.5 * rng.normal(size=len(data))
    )
    model = lmem.fit("loss ~ optimizer + (1|task) + (1|task:optimizer) + (1|task:seed)", data)
    assert len(data) == 86_400 and len(model._cells.weight) == 1_800
    assert model.sigma == pytest.approx(0.5, rel=0.02)
    assert model.residuals.std() == pytest.approx(model.sigma, rel=0.02)
    sd = model.random_effects.set_index("group")["std"]
    assert sd["task:optimizer"] == pytest.approx(0.3, rel=0.4)
    assert sd["task:seed"] == pytest.approx(0.2, rel=0.1)
