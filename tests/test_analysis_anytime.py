"""Best so far, final performance and their means over seeds, on frames small enough to check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import Frames, results, run
from hypothesis import given, settings
from hypothesis import strategies as st

from carps_like.analysis.anytime import best_so_far, over_seeds
from carps_like.analysis.final import final
from carps_like.errors import BadResults, BadValue


def values(frame: pd.DataFrame, **keys: object) -> list[float]:
    for name, key in keys.items():
        frame = frame[frame[name] == key]
    return frame["value"].tolist()


def test_the_best_so_far_never_gets_worse_and_stands_at_every_budget() -> None:
    study = results(run("a", "t", 0, [5, 7, 3, 4]))
    frame = best_so_far(study, points=4)
    assert frame["budget"].tolist() == [1, 2, 3, 4]
    assert frame["value"].tolist() == [5, 5, 3, 3]
    assert frame["fraction"].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_a_shorter_run_keeps_its_last_value() -> None:
    study = results(run("a", "t", 0, [5, 4]), run("b", "t", 0, [9, 8, 7, 6]))
    frame = best_so_far(study, points=4)
    assert values(frame, optimizer="a") == [5, 4, 4, 4]
    assert values(frame, optimizer="b") == [9, 8, 7, 6]


def test_tasks_with_different_budgets_have_grids_of_their_own() -> None:
    study = results(run("a", "t", 0, [5, 4]), run("a", "u", 0, [9, 8, 7, 6]))
    frame = best_so_far(study, points=2)
    assert frame["budget"].tolist() == [1, 2, 2, 4]
    assert frame["value"].tolist() == [5, 4, 8, 6]


def test_failed_trials_cost_budget_and_never_lead() -> None:
    study = results(run("a", "t", 0, [1, 5, np.nan, 4], statuses=["failed", "ok", "timeout", "ok"]))
    frame = best_so_far(study, points=4)
    assert np.isnan(frame["value"][0])
    assert frame["value"].tolist()[1:] == [5, 5, 4]


def test_the_trial_that_overdraws_the_budget_does_not_count() -> None:
    study = results(run("a", "t", 0, [5, 4, 3]))
    study.trials["over_budget"] = [False, False, True]
    assert final(study)["value"].tolist() == [4]


def test_simulated_seconds_order_trials_by_their_end() -> None:
    study = results(run("a", "t", 0, [1, 5, 3], ends=[10.0, 2.0, 6.0]))
    frame = best_so_far(study, axis="simulated_seconds", points=5)
    assert frame["budget"].tolist() == [2, 4, 6, 8, 10]
    assert frame["value"].tolist() == [5, 5, 3, 3, 1]


def test_only_full_fidelity_makes_an_incumbent_by_default() -> None:
    study = results(run("a", "t", 0, [1, 5, 2, 4], fidelities=[1, 4, 2, 4]))
    frame = best_so_far(study, points=4)
    assert np.isnan(frame["value"][0])
    assert frame["value"].tolist()[1:] == [5, 5, 4]


@pytest.mark.parametrize(
    ("rule", "expected"), [("any", [1, 1, 1, 1]), ("highest", [1, 5, 5, 4]), ("full", [5, 5, 4])]
)
def test_incumbent_rules_differ_as_they_say(rule: str, expected: list[float]) -> None:
    study = results(run("a", "t", 0, [1, 5, 2, 4], fidelities=[1, 4, 2, 4]))
    frame = best_so_far(study, points=4, incumbent=rule)  # type: ignore[arg-type]
    assert frame["value"].dropna().tolist() == expected


def test_the_declared_full_fidelity_counts_and_not_the_highest_seen() -> None:
    study = results(run("a", "t", 0, [1, 2], fidelities=[1, 2], max_fidelity=4.0))
    assert final(study)["value"].isna().all()


def test_evaluations_are_full_fidelity_equivalents() -> None:
    study = results(run("a", "t", 0, [3, 2, 1], fidelities=[1, 1, 2]))
    frame = best_so_far(study, axis="evaluations", points=2, incumbent="any")
    assert frame["budget"].tolist() == [1, 2]
    assert frame["value"].tolist() == [2, 1]


def test_budgets_that_are_sums_of_floats_land_on_their_grid_point() -> None:
    study = results(run("a", "t", 0, range(10, 0, -1), fidelities=[0.1] * 10))
    study.trials["budget_used"] = np.cumsum([0.1] * 10)
    frame = best_so_far(study, axis="evaluations", points=10)
    assert frame["value"].tolist() == list(range(10, 0, -1))


def test_several_objectives_are_judged_by_hypervolume() -> None:
    study = results(
        run("a", "t", 0, [[3, 3], [1, 3], [3, 1], [0, 0]], reference_point=[4.0, 4.0]),
    )
    frame = best_so_far(study, points=4)
    assert set(frame["measure"]) == {"hypervolume"}
    assert frame["value"].tolist() == [-1, -3, -5, -16]


def test_without_a_declared_reference_the_worst_of_all_runs_is_it() -> None:
    study = results(run("a", "t", 0, [[3, 3]]), run("b", "t", 0, [[1, 4], [2, 2]]))
    frame = final(study)
    assert frame["value"].tolist() == [-0.0, -2.0]  # reference (3, 4): (3-2) x (4-2)


def test_final_names_the_trial_that_reached_it_first() -> None:
    study = results(run("a", "t", 0, [5, 3, 3, 4], statuses=["ok", "ok", "ok", "failed"]))
    row = final(study).iloc[0]
    assert (row["value"], row["trial"], row["n_trials"], row["n_failed"]) == (3, 1, 4, 1)
    assert (row["budget_used"], row["end"]) == (4.0, 4.0)


def test_a_run_without_trials_has_no_value() -> None:
    study = results(run("a", "t", 0, [1]), run("b", "t", 0, [], status="failed", error="E: x"))
    frame = final(study)
    assert np.isnan(frame["value"][1]) and frame["trial"][1] == -1
    assert len(best_so_far(study, points=3)) == 6


def test_runs_that_are_left_out_take_their_trials_along() -> None:
    study = results(run("a", "t", 0, [1]), run("b", "t", 0, [2]))
    one = Frames(study.runs[study.runs["optimizer"] == "b"], study.trials)
    assert final(one)["value"].tolist() == [2]


@pytest.mark.parametrize("kind", ["object", "category", "string[pyarrow]"])
def test_names_may_be_strings_categories_or_arrow(kind: str) -> None:
    study = results(run("b", "t", 0, [4, 2]), run("a", "t", 0, [3, 1]))
    names = ["run_id", "optimizer", "task", "status"]
    cast = Frames(study.runs.astype(dict.fromkeys(names, kind)), study.trials.astype(
        dict.fromkeys(names, kind)))  # fmt: skip
    pd.testing.assert_frame_equal(best_so_far(cast, points=2), best_so_far(study, points=2))
    assert final(cast)["value"].tolist() == [1, 2]


def test_trials_in_any_order_give_the_same_curves() -> None:
    study = results(*(run(o, "t", s, np.sin(np.arange(20) + s)) for o in "ab" for s in range(3)))
    mixed = Frames(study.runs.sample(frac=1, random_state=1), study.trials.sample(
        frac=1, random_state=2))  # fmt: skip
    pd.testing.assert_frame_equal(best_so_far(mixed), best_so_far(study))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=30), min_size=1, max_size=5),
    st.integers(1, 12),
)
def test_the_curve_equals_a_plain_loop(lengths: list[list[float]], points: int) -> None:
    study = results(*(run("a", "t", s, v) for s, v in enumerate(lengths)))
    frame = best_so_far(study, points=points)
    most = max(map(len, lengths))
    for s, v in enumerate(lengths):
        for p, found in enumerate(values(frame, seed=s)):
            seen = v[: int((p + 1) * most / points + 1e-9)]
            assert np.isnan(found) if not seen else found == min(seen)


def test_the_mean_has_students_interval() -> None:
    study = results(*(run("a", "t", s, [v]) for s, v in enumerate([1.0, 2.0, 6.0])))
    row = over_seeds(best_so_far(study, points=1)).iloc[0]
    half = 4.302652729696142 * np.std([1, 2, 6], ddof=1) / np.sqrt(3)  # t of 2 degrees, 97.5 %
    assert row["n"] == 3
    assert (row["mean"], row["lower"], row["upper"]) == pytest.approx((3, 3 - half, 3 + half))


def test_the_bootstrap_stays_within_the_data_and_repeats_itself() -> None:
    study = results(*(run("a", "t", s, [v]) for s, v in enumerate([1.0, 2.0, 60.0])))
    frame = best_so_far(study, points=1)
    first, second = (over_seeds(frame, interval="bootstrap").iloc[0] for _ in range(2))
    assert 1 <= first["lower"] < first["mean"] < first["upper"] <= 60
    assert first.equals(second)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    row = over_seeds(best_so_far(results(run("a", "t", 0, [2.0])), points=1)).iloc[0]
    assert row["mean"] == 2.0 and np.isnan(row["lower"]) and np.isnan(row["upper"])


def test_the_mean_begins_where_every_seed_has_a_value() -> None:
    study = results(run("a", "t", 0, [1, 1]), run("a", "t", 1, [9, 3], statuses=["failed", "ok"]))
    means = over_seeds(best_so_far(study, points=2))["mean"]
    assert np.isnan(means[0]) and means[1] == 2


def failing() -> Frames:
    return results(
        run("a", "t", 0, [1]), run("a", "t", 1, [2], status="crashed"), run("b", "t", 0, [8])
    )


def test_failed_runs_raise_unless_one_says_what_to_do() -> None:
    with pytest.raises(BadResults, match=r"1 runs did not .*a on t, seed 1: crashed.*'worst'"):
        over_seeds(best_so_far(failing(), points=1))


@pytest.mark.parametrize(("policy", "mean"), [("drop", 1.0), ("worst", 4.5)])
def test_failed_runs_are_dropped_or_count_as_the_worst(policy: str, mean: float) -> None:
    means = over_seeds(best_so_far(failing(), points=1), failed=policy)  # type: ignore[arg-type]
    assert means[means["optimizer"] == "a"]["mean"].tolist() == [mean]


def test_only_failed_runs_leave_nothing_to_average() -> None:
    study = results(run("a", "t", 0, [1], status="failed"))
    with pytest.raises(BadResults, match="nothing to average"):
        over_seeds(best_so_far(study, points=1), failed="drop")


def test_two_settings_of_one_optimizer_are_told_apart_by_what_differs() -> None:
    study = results(
        run("a", "t", 0, [1], run_id="r1", config='{"optimizer": {"k": 5, "same": 1}}'),
        run("a", "t", 0, [2], run_id="r2", config='{"optimizer": {"k": 10, "same": 1}}'),
    )
    study.trials["run_id"] = ["r1", "r2"]
    assert final(study)["optimizer"].tolist() == ["a [k=10]", "a [k=5]"]
    assert final(study)["value"].tolist() == [2, 1]


def test_two_runs_that_cannot_be_told_apart_are_named() -> None:
    study = results(run("a", "t", 0, [1], run_id="r1"), run("a", "t", 0, [2], run_id="r2"))
    with pytest.raises(BadResults, match="'r1' and 'r2' are both a on t, seed 0"):
        final(study)


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    study = results(run("a", "t", 0, [1]))
    with pytest.raises(BadResults, match=r"no column 'value'; did you mean 'values'\?"):
        final(Frames(study.runs, study.trials.rename(columns={"value": "values"})))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "points must be at least 1"),
        ({"axis": "trial"}, r"axis cannot be 'trial'; did you mean 'trials'\?"),
        ({"incumbent": "best"}, "incumbent cannot be 'best'"),
        ({"spacing": "logg"}, "did you mean 'log'"),
    ],
)
def test_a_wrong_option_gets_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        best_so_far(results(run("a", "t", 0, [1])), **options)  # type: ignore[arg-type]


def test_objectives_that_differ_between_runs_of_a_task_are_refused() -> None:
    study = results(run("a", "t", 0, [1]), run("b", "t", 0, [[1, 2]]))
    with pytest.raises(BadResults, match="different objectives"):
        final(study)


def test_rows_in_another_order_are_refused_and_a_part_of_the_budgets_is_not() -> None:
    study = results(run("a", "t", 0, [3, 2, 1]), run("a", "t", 1, [5, 4, 3]))
    frame = best_so_far(study, points=3)
    assert over_seeds(frame[frame["point"] > 0])["mean"].tolist() == [3, 2]
    for wrong in (frame.sample(frac=1, random_state=1), frame.head(5), frame.sort_values("point")):
        with pytest.raises(BadValue, match="sort them by run_id and point"):
            over_seeds(wrong)
