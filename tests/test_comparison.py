"""The comparison of optimizers: what it refuses, warns of, and gets right on simulated truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lmem_data import priorband
from scipy import stats

from carps_like import analysis
from carps_like.analysis import lmem
from carps_like.analysis.comparison import compare
from carps_like.analysis.simulation import experiment
from carps_like.errors import BadResults, BadValue, UnknownName

NAMES = {"optimizer": "algorithm", "task": "benchmark", "budget": "used_fidelity"}


def results(seed: int = 0, **options: object) -> pd.DataFrame:
    return experiment(np.random.default_rng(seed), **options)  # type: ignore[arg-type]


def finding(result: analysis.Comparison, check: str) -> pd.Series:
    rows = result.checks[result.checks["check"] == check]
    assert len(rows) >= 1, f"no check {check!r} in {list(result.checks['check'])}"
    return rows.iloc[0]


def null_rejections(ratio: float, n: int, every: int) -> tuple[int, int]:
    """Of n unbalanced data sets with one task missing, how many the sound model rejects, and the
    naive one of each ``every``-th."""
    sound, naive = 0, 0
    pair = np.array([[0.0, 1.0, 0.0]])
    for i in range(n):
        data = results(i, seeds=30, interaction_sd=ratio, missing=0.2, drop_task_of_last=True)
        model = lmem.fit("value ~ optimizer + (1|task) + (1|task:optimizer)", data)
        sound += int(model.test(pair)["p"].iloc[0] < 0.05)
        if i % every == 0:
            model = lmem.fit("value ~ optimizer + (1|task)", data, method="ML")
            naive += int(model.anova()["p"].iloc[0] < 0.05)
    return sound, naive


@pytest.mark.parametrize("ratio", [0.1, 0.35, 0.5])
def test_a_true_null_is_rejected_as_often_as_claimed_and_the_naive_model_fails(
    ratio: float,
) -> None:
    n = 300
    sound, naive = null_rejections(ratio, n, 1)
    low, high = stats.binom.ppf([1e-2, 1 - 1e-2], n, 0.05)
    assert low <= sound <= high
    assert naive > stats.binom.ppf(1 - 1e-2, n, 0.05)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ratio", [0.1, 0.35, 0.5])
def test_false_positives_are_4_to_6_percent_over_2000_data_sets(ratio: float) -> None:
    sound, naive = null_rejections(ratio, 2000, 4)
    assert 0.04 <= sound / 2000 <= 0.06
    assert naive > stats.binom.ppf(1 - 1e-3, 500, 0.05)


def test_the_power_is_that_of_the_noncentral_f_distribution() -> None:
    n, tasks, seeds, effect = 150, 12, 8, 0.7
    hits = 0
    for i in range(n):
        data = results(1000 + i, tasks=tasks, seeds=seeds, interaction_sd=0.5, effect=effect)
        model = lmem.fit("value ~ optimizer + (1|task) + (1|task:optimizer)", data)
        hits += int(model.anova()["p"].iloc[0] < 0.05)
    shift = np.array([effect, 0, 0])
    noncentrality = tasks * np.square(shift - shift.mean()).sum() / (0.25 + 1 / seeds)
    theory = stats.ncf.sf(stats.f.isf(0.05, 2, 22), 2, 22, noncentrality)
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], n, theory)
    assert 0.2 < theory < 0.95 and low <= hits <= high


def test_broad_and_narrow_p_stand_side_by_side_with_effects_and_intervals() -> None:
    result = compare(results(1, seeds=10, effect=-0.4, interaction_sd=0.5))
    table = result.contrasts.set_index(["left", "right"])
    row = table.loc[("optimizer-0", "optimizer-1")]
    wide = result.frame.groupby(["task", "optimizer"])["value"].mean().unstack()
    difference = wide["optimizer-0"] - wide["optimizer-1"]
    assert row["estimate"] == pytest.approx(difference.mean())
    assert row["effect_size"] == pytest.approx(difference.mean() / difference.std())
    assert row["tasks_won"] == pytest.approx((difference < 0).mean())
    assert row["ci_low"] < row["estimate"] < row["ci_high"]
    assert row["effect_low"] < row["effect_size"] < row["effect_high"]
    cells = result.frame.groupby(["task", "optimizer"])["value"].var().unstack() / 10
    error = np.sqrt(cells[["optimizer-0", "optimizer-1"]].to_numpy().sum()) / 12
    assert row["narrow_std_error"] == pytest.approx(error)
    assert row["p_narrow"] < row["p_broad"] <= row["p_adjusted"]


def test_several_budgets_of_a_run_are_refused_without_a_choice() -> None:
    data = pd.concat([results(2, seeds=3).assign(budget=b) for b in (10, 100)])
    with pytest.raises(BadResults, match=r"at_budget= \(10, 100\) or pass run_term=True"):
        compare(data)
    with pytest.raises(BadValue, match="at_budget=5"):
        compare(data, at_budget=5)
    chosen = compare(data, at_budget=100)
    assert "at budget 100" in finding(chosen, "budget")["finding"] and len(chosen.frame) == 108
    data["value"] += np.random.default_rng(0).normal(size=len(data))
    every = compare(data, run_term=True)
    assert "(1|task:optimizer:seed)" in every.model.formula and len(every.frame) == 216


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: pd.concat([d, d.assign(prior="x")]), "repeat an optimizer, task and seed"),
        (lambda d: d[d["optimizer"] == "optimizer-0"], "one optimizer"),
        (lambda d: d[d["task"] == "task-000"], "one task"),
    ],
)
def test_results_that_cannot_answer_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(BadResults, match=message):
        compare(change(results(3, seeds=3)))


def test_unknown_columns_and_options_are_named() -> None:
    data = results(3, seeds=3)
    with pytest.raises(UnknownName, match="unknown column 'valeu'"):
        compare(data, value="valeu")
    with pytest.raises(BadValue, match="scale='logs'"):
        compare(data, scale="logs")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="optimum of task"):
        compare(data, scale="log", optimum={"task-000": 0.0})
    with pytest.raises(BadValue, match="better than its optimum"):
        compare(data, scale="log", optimum=dict.fromkeys(data["task"], 0.0))


def test_missing_runs_are_counted_and_treated_as_asked() -> None:
    data = results(4, seeds=5, drop_task_of_last=True)
    data.loc[data.index[:2], "value"] = [np.nan, np.inf]
    dropped = compare(data)
    assert dropped.coverage["missing"].sum() == 7
    text = finding(dropped, "missing runs")["finding"]
    assert "7 runs are missing" in text and "optimizer-2 on task-011" in text
    worst = compare(data, missing="worst")
    filled = worst.frame[
        (worst.frame["task"] == "task-011") & (worst.frame["optimizer"] == "optimizer-2")
    ]
    others = data.loc[(data["task"] == "task-011"), "value"]
    assert len(filled) == 5 and (filled["value"] == others.max()).all()
    with pytest.raises(
        BadResults, match=r"7 runs are missing, most of them optimizer-2 on task-011"
    ):
        compare(data, missing="fail")


def test_copies_across_the_levels_of_a_factor_are_found_in_the_priorband_data() -> None:
    result = compare(priorband(), value="value", at_budget=10, by="prior", **NAMES)
    copied = finding(result, "copied rows")
    assert copied["level"] == "warning" and "HB and RS are exact copies" in copied["finding"]
    unequal = finding(result, "residual sd per task")
    assert "differs 117x" in unequal["finding"] and "scale='log'" in unequal["offer"]
    assert finding(result, "shared seeds")["offer"] == "seed_term=True adds (1|task:seed)"
    assert finding(result, "levels of the inner factor")["level"] == "warning"
    assert "effective n = 12 tasks (3600 rows)" in finding(result, "unit of inference")["finding"]


def test_identical_optimizers_and_ties_are_found() -> None:
    data = results(5, seeds=4)
    first = data["optimizer"] == "optimizer-0"
    data.loc[data["optimizer"] == "optimizer-1", "value"] = data.loc[first, "value"].to_numpy()
    result = compare(data)
    assert (
        "optimizer-0 and optimizer-1 have identical values"
        in finding(result, "copied rows")["finding"]
    )
    rounded = compare(results(6, seeds=4).assign(value=lambda d: d["value"].round()))
    assert finding(rounded, "ties")["level"] == "warning"


def test_bounds_that_come_from_the_compared_runs_are_named() -> None:
    data = results(7, seeds=4)
    assert finding(compare(data), "bounds")["level"] == "ok"
    assert finding(compare(data, scale="normalised"), "bounds")["level"] == "warning"
    per_task = data.groupby("task")["value"]
    low, high = per_task.transform("min"), per_task.transform("max")
    scaled = data.assign(value=(data["value"] - low) / (high - low))
    assert "exactly 0 to exactly 1" in finding(compare(scaled), "bounds")["finding"]


def test_few_tasks_singular_terms_and_naive_models_are_named() -> None:
    few = compare(results(8, tasks=4, seeds=3, interaction_sd=0.0))
    assert "fewer than 8" in finding(few, "tasks")["finding"]
    singular = [compare(results(i, tasks=9, seeds=5, interaction_sd=0.0)) for i in range(3)]
    assert any("task:optimizer" in finding(r, "singular terms")["finding"] for r in singular)
    naive = compare(results(9, seeds=3), interaction=False)
    assert finding(naive, "unit of inference")["level"] == "warning"


def test_a_verdict_that_hangs_on_one_task_is_named() -> None:
    data = results(10, tasks=10, seeds=20, interaction_sd=0.05, task_sd=0.5)
    outlier = (data["task"] == "task-003") & (data["optimizer"] == "optimizer-0")
    steady = data["optimizer"] == "optimizer-0"
    data.loc[steady, "value"] -= 0.5
    data.loc[outlier, "value"] += 3.0
    result = compare(data)
    assert "task-003" in finding(result, "leave one task out")["finding"]
    assert result.leave_one_out["changes"].str.contains("task-003").any()


def test_the_multiverse_holds_every_scale_with_and_without_interaction() -> None:
    result = compare(results(11, seeds=4, effect=-2.0))
    many = result.multiverse
    assert len(many) == 4 * 2 * 3
    assert set(many["scale"]) == {"value", "log", "rank", "normalised"}
    best = many[(many["left"] == "optimizer-0")]
    assert (best["conclusion"] == "optimizer-0 better").all()
    rows = many[(many["scale"] == "value") & many["interaction"]]
    np.testing.assert_allclose(rows["p_adjusted"], result.contrasts["p_adjusted"])


def test_higher_can_be_better() -> None:
    data = results(12, seeds=4, effect=-2.0)
    for scale in ("rank", "log"):
        lower = compare(data, scale=scale)
        upper = compare(data.assign(value=-data["value"]), scale=scale, minimise=False)
        assert "optimizer-0 is better than optimizer-1" in lower.paragraph
        assert "optimizer-0 is better than optimizer-1" in upper.paragraph


def test_log_regret_uses_the_known_optimum() -> None:
    data = results(13, seeds=4)
    optimum = (data.groupby("task")["value"].min() - 1).to_dict()
    result = compare(data, scale="log", optimum=optimum)
    regret = np.log10(data["value"] - data["task"].map(optimum))
    expected = regret.groupby([data["task"], data["optimizer"]]).mean().groupby("optimizer").mean()
    np.testing.assert_allclose(result.means["estimate"], expected, rtol=1e-6)


def test_the_case_study_says_what_the_sound_model_says() -> None:
    result = compare(priorband(), value="log_regret", at_budget=10, by="prior", **NAMES)
    table = result.contrasts.set_index(["prior", "left", "right"])
    good, bad = table.loc[("at25", "HB", "PB")], table.loc[("bad", "HB", "PB")]
    assert good["estimate"] == pytest.approx(0.0974, abs=5e-5)
    assert good["std_error"] == pytest.approx(0.0188, abs=5e-5)
    assert good["p_adjusted"] == pytest.approx(2.3e-5, rel=0.01)
    assert bad["p_adjusted"] > 0.5
    assert "PB is better than HB by 0.0974 +- 0.019" in result.paragraph


def test_analyze_prints_the_paragraph_and_writes_tables_and_diagrams(tmp_path: Path) -> None:
    data = results(14, seeds=4, effect=-2.0)
    text = analysis.analyze(data, tmp_path)
    assert text.startswith("On 12 tasks, optimizer-0 is better than")
    for part in ("Contrasts", "Checks", "p_narrow", "Without one task"):
        assert part in text
    names = {p.name for p in tmp_path.iterdir()}
    assert {"contrasts.csv", "means.csv", "checks.csv", "coverage.csv", "multiverse.csv",
            "leave_one_out.csv", "random_effects.csv", "fixed_effects.csv", "analysis.txt",
            "cd.svg",
            "cd.pdf", "cd.png", "cd.tex"} <= names  # fmt: skip
    table = pd.read_csv(tmp_path / "contrasts.csv")
    np.testing.assert_allclose(table["p_broad"], compare(data).contrasts["p_broad"])


def test_one_run_per_optimizer_and_task_needs_no_interaction_term() -> None:
    result = compare(results(15, seeds=1))
    assert result.model.formula == "value ~ optimizer + (1|task)"
    assert "one run per optimizer and task" in finding(result, "unit of inference")["finding"]
    assert result.contrasts["p_narrow"].isna().all() and result.contrasts["p_broad"].notna().all()
