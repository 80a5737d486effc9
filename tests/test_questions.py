"""Nested-model questions on simulated truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lmem_data import priorband, reference

from carps_like.analysis import questions
from carps_like.analysis.simulation import experiment
from carps_like.errors import BadResults, BadValue, UnknownName


def results(seed: int = 0, **options: object) -> pd.DataFrame:
    return experiment(np.random.default_rng(seed), **options)  # type: ignore[arg-type]


def test_seeds_that_all_optimizers_share_are_found_and_only_then() -> None:
    shared = questions.seed_dependency(results(1, seed_sd=0.8))
    assert "shared by optimizers" in shared.verdict
    row = shared.table[shared.table["question"].str.contains("shared")].iloc[0]
    assert row["share"] == pytest.approx(0.64 / 1.64, abs=0.12)
    assert (shared.table["p_adjusted"] >= shared.table["p"]).all()
    assert "does not matter" in questions.seed_dependency(results(2, seed_sd=0.0)).verdict


def test_tasks_that_tell_nothing_are_named() -> None:
    data = results(3, tasks=6, interaction_sd=2.0)
    same = data["task"] == "task-002"
    data.loc[same, "value"] = np.random.default_rng(0).normal(size=same.sum())
    constant = data["task"] == "task-004"
    data.loc[constant, "value"] = 1.0
    answer = questions.benchmark_information(data)
    assert "task-002, task-004 do not" in answer.verdict
    assert not answer.table.set_index("task").loc["task-002", "informative"]


def test_task_information_agrees_with_r() -> None:
    data = priorband().rename(columns={"algorithm": "optimizer", "benchmark": "task"})
    test = next(t for t in reference()["glrt"] if t["name"].endswith("JAHS-C10"))
    rows = data[data["task"] == "JAHS-C10"].copy()
    rows["seed"] = np.arange(len(rows))  # R's test takes all rows as independent
    table = questions.benchmark_information(rows).table
    assert table["p"].iloc[0] == pytest.approx(test["p"], rel=1e-6)


def over_budgets(slopes: tuple[float, float], seed: int = 0) -> pd.DataFrame:
    """Two optimizers that improve by different amounts per decade of budget."""
    rng = np.random.default_rng(seed)
    base = results(seed, tasks=10, optimizers=2, seeds=4, interaction_sd=0.2)
    parts = []
    for budget in (1, 10, 100, 1000):
        part = base.assign(budget=budget)
        second = part["optimizer"] == "optimizer-1"
        gain = np.where(second, slopes[1], slopes[0]) * np.log10(budget)
        part["value"] += gain + np.where(second, 1.5, 0.0) + 0.2 * rng.normal(size=len(part))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_the_point_of_overtaking_is_found_and_confirmed() -> None:
    answer = questions.budget_trend(over_budgets((-0.2, -1.2)))
    crossing = answer.details.iloc[0]
    assert crossing["before"] == "optimizer-0" and crossing["after"] == "optimizer-1"
    assert crossing["confirmed"] and 10 < crossing["crossing"] < 100
    assert "optimizer-1 overtakes optimizer-0" in answer.verdict
    assert len(answer.table) == 4 and set(answer.table["budget"]) == {1, 10, 100, 1000}
    never = questions.budget_trend(over_budgets((-0.5, -0.5)))
    assert "No optimizer overtakes" in never.verdict


def test_a_fidelity_that_changes_differences_is_told_from_one_that_shifts_all() -> None:
    both = questions.fidelity_effect(over_budgets((-0.2, -1.2)), fidelity="budget")
    assert "changes the values" in both.verdict and "changes the differences" in both.verdict
    slopes = both.details.set_index("optimizer")["estimate"]
    assert slopes["optimizer-0"] == pytest.approx(-0.2, abs=0.1)
    assert slopes["optimizer-1"] == pytest.approx(-1.2, abs=0.1)
    shift = questions.fidelity_effect(over_budgets((-0.7, -0.7), seed=3), fidelity="budget")
    assert "does not change the differences" in shift.verdict


def test_the_feature_that_decides_who_wins_is_found_with_its_winners() -> None:
    data = results(5, tasks=16, optimizers=2, seeds=5, interaction_sd=0.3)
    number = data["task"].str[-2:].astype(int)
    data["kind"] = np.where(number % 2, "noisy", "smooth")
    data["other"] = np.where(number % 4 < 2, "x", "y")
    data["dimension"] = 2.0 + number
    flip = (data["kind"] == "noisy") & (data["optimizer"] == "optimizer-0")
    data.loc[flip, "value"] += 2.0
    answer = questions.feature_impact(data, ["kind", "other", "dimension"])
    table = answer.table.set_index("feature")
    assert table.loc["kind", "p_adjusted"] < 1e-4 < 0.05 < table.loc["other", "p_adjusted"]
    assert "at noisy optimizer-1 beats optimizer-0" in answer.verdict
    assert "other" not in answer.verdict
    inner = answer.details[answer.details["feature"] == "kind"].set_index("level")
    assert inner.loc["noisy", "estimate"] - inner.loc["smooth", "estimate"] == pytest.approx(
        2, abs=0.6
    )
    assert table.loc["kind", "den_df"] < 20  # tasks are the unit, not runs


def test_a_feature_within_tasks_gets_its_own_variance_over_tasks() -> None:
    data = priorband().rename(columns={"algorithm": "optimizer", "benchmark": "task"})
    answer = questions.feature_impact(data[data["used_fidelity"] == 10], ["prior"])
    assert answer.table["den_df"].iloc[0] == pytest.approx(22, abs=0.5)


def test_bad_questions_are_refused() -> None:
    data = results(6, seeds=3)
    with pytest.raises(UnknownName, match="'dim'"):
        questions.feature_impact(data, ["dim"])
    with pytest.raises(BadValue, match="features is empty"):
        questions.feature_impact(data, [])
    with pytest.raises(BadResults, match="one value"):
        questions.budget_trend(data.assign(budget=1))
    with pytest.raises(BadResults, match="choose one budget"):
        questions.seed_dependency(pd.concat([data, data]))
    with pytest.raises(UnknownName, match="'budget'"):
        questions.fidelity_effect(data, fidelity="budget")
