"""Ranks, regret and the ranking table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import Frames, results, run
from hypothesis import given, settings
from hypothesis import strategies as st

from carps_like.analysis import scale
from carps_like.analysis.anytime import best_so_far
from carps_like.analysis.failures import failed_trials, failures
from carps_like.analysis.final import final
from carps_like.analysis.ranks import over_time, ranks, table
from carps_like.errors import BadResults


def regrets(study: Frames) -> pd.DataFrame:
    frame = final(study)
    return scale.regret(frame, scale.scales(frame, study))


def by_optimizer(frame: pd.DataFrame) -> dict[str, float]:
    return dict(zip(frame["optimizer"], frame["rank"], strict=True))


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    study = results(*(run(o, "t", 0, [v]) for o, v in zip("abcd", [2, 1, 2, 5], strict=True)))
    assert by_optimizer(ranks(final(study))) == {"a": 2.5, "b": 1.0, "c": 2.5, "d": 4.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_ranks_of_a_block_sum_to_n_n_plus_1_over_2(rows: list[list[int]]) -> None:
    study = results(
        *(
            run(o, "t", s, [v])
            for s, row in enumerate(rows)
            for o, v in zip("abcd", row, strict=True)
        )
    )
    found = ranks(final(study))
    assert (found.groupby("seed")["rank"].sum() == 10).all()
    expected = pd.DataFrame(rows).rank(axis=1).to_numpy()
    np.testing.assert_allclose(found["rank"].to_numpy().reshape(-1, 4), expected)


def test_adding_a_constant_to_a_task_changes_no_rank() -> None:
    shift = [results(*(run(o, "t", s, [v + c]) for o, v in zip("abc", [3, 1, 2], strict=True)
             for s in range(2))) for c in (0.0, 100.0)]  # fmt: skip
    pd.testing.assert_frame_equal(ranks(final(shift[0])), ranks(final(shift[1])))


def test_a_run_without_a_value_yet_is_last() -> None:
    study = results(run("a", "t", 0, [9, 1], statuses=["failed", "ok"]), run("b", "t", 0, [5, 5]))
    frame = ranks(best_so_far(study, points=2))
    assert frame[frame["optimizer"] == "a"]["rank"].tolist() == [2, 1]


def test_rank_over_time_averages_seeds_then_tasks() -> None:
    study = results(
        run("a", "t", 0, [1]), run("b", "t", 0, [2]),
        run("a", "t", 1, [1]), run("b", "t", 1, [2]),
        run("a", "u", 0, [2]), run("b", "u", 0, [1]),
    )  # fmt: skip
    frame = over_time(ranks(best_so_far(study, points=1)))
    assert dict(zip(frame["optimizer"], frame["mean_rank"], strict=True)) == {"a": 1.5, "b": 1.5}
    assert frame["n_tasks"].tolist() == [2, 2]


def holes() -> Frames:
    return results(
        run("a", "t", 0, [1]), run("b", "t", 0, [2]),
        run("a", "t", 1, [3]),
        run("a", "t", 2, [1], status="crashed"), run("b", "t", 2, [2]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({}, "1 runs are failed .*a on t, seed 2.*failed='worst'"),
        ({"failed": "worst"}, "1 runs are missing.*b on t, seed 1.*missing='worst'"),
    ],
)
def test_failed_and_missing_runs_raise_by_default(policies: dict[str, str], message: str) -> None:
    with pytest.raises(BadResults, match=message):
        ranks(final(holes()), **policies)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failed", "missing", "expected"),
    [
        ("worst", "worst", {("a", 0): 1, ("b", 0): 2, ("a", 1): 1, ("b", 1): 2, ("a", 2): 2,
                            ("b", 2): 1}),
        ("worst", "drop", {("a", 0): 1, ("b", 0): 2, ("a", 2): 2, ("b", 2): 1}),
        ("drop", "drop", {("a", 0): 1, ("b", 0): 2}),
    ],
)  # fmt: skip
def test_policies_rank_last_or_leave_out(
    failed: str, missing: str, expected: dict[tuple[str, int], float]
) -> None:
    frame = ranks(final(holes()), failed=failed, missing=missing)  # type: ignore[arg-type]
    found = dict(
        zip(zip(frame["optimizer"], frame["seed"], strict=True), frame["rank"], strict=True)
    )
    assert found == expected


def test_an_interrupted_run_counts_as_missing_and_not_as_failed() -> None:
    study = results(
        run("a", "t", 0, [1]), run("b", "t", 0, [2], status="killed", ended=pd.NaT),
        run("a", "t", 1, [1]), run("b", "t", 1, [2]),
    )  # fmt: skip
    row = table(regrets(study), missing="drop").set_index("optimizer").loc["b"]
    assert (row["n_runs"], row["n_failed"], row["n_unfinished"]) == (1, 0, 1)


def test_an_unsupported_pair_is_ranked_by_nobody() -> None:
    study = results(
        run("a", "t", 0, [1]), run("b", "t", 0, [2]), run("c", "t", 0, [], status="unsupported"),
    )  # fmt: skip
    assert by_optimizer(ranks(final(study))) == {"a": 1.0, "b": 2.0}
    assert table(regrets(study)).set_index("optimizer").loc["c", "n_unsupported"] == 1


def test_nothing_in_common_says_so() -> None:
    study = results(run("a", "t", 0, [1]), run("b", "t", 1, [2]))
    with pytest.raises(BadResults, match="nothing to rank"):
        ranks(final(study), missing="drop")


def test_the_table_orders_by_mean_rank_and_counts_wins() -> None:
    study = results(
        run("a", "t", 0, [1]), run("b", "t", 0, [3]), run("c", "t", 0, [5]),
        run("a", "u", 0, [2]), run("b", "u", 0, [2]), run("c", "u", 0, [4]),
    )  # fmt: skip
    found = table(regrets(study)).set_index("optimizer")
    assert found.index.tolist() == ["a", "b", "c"]
    assert found["mean_rank"].tolist() == [1.25, 1.75, 3.0]
    assert found["mean_regret"].tolist() == [0.0, 0.25, 1.0]
    assert found["wins"].tolist() == [2, 1, 0]


def test_a_failed_run_and_one_without_values_have_the_worst_regret() -> None:
    study = results(
        run("a", "t", 0, [0]), run("b", "t", 0, [4]), run("c", "t", 0, [0], status="failed"),
        run("d", "t", 0, [1], statuses=["failed"]),
    )  # fmt: skip
    found = table(regrets(study), failed="worst").set_index("optimizer")["mean_regret"]
    assert found.to_dict() == {"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0}


def test_the_scale_says_where_it_comes_from() -> None:
    study = results(
        run("a", "declared", 0, [3], optimum=[1.0]), run("b", "declared", 0, [5], optimum=[1.0]),
        run("a", "beaten", 0, [3], optimum=[4.0]), run("b", "beaten", 0, [5], optimum=[4.0]),
        run("a", "unknown", 0, [3], optimum=[None]), run("b", "unknown", 0, [5], optimum=[None]),
    )  # fmt: skip
    found = scale.scales(final(study), study).set_index("task")
    assert found["best"].to_dict() == {"declared": 1.0, "beaten": 3.0, "unknown": 3.0}
    assert found["best_source"].to_dict() == {
        "declared": scale.DECLARED, "beaten": scale.BEATEN, "unknown": scale.COMPARED
    }  # fmt: skip
    frame = regrets(study)
    assert frame[frame["task"] == "declared"]["normalised_regret"].tolist() == [0.5, 1.0]


def test_a_constant_task_has_no_regret_and_shared_ranks() -> None:
    study = results(run("a", "t", 0, [7, 7]), run("b", "t", 0, [7, 7]))
    found = table(regrets(study))
    assert found["mean_regret"].tolist() == [0.0, 0.0]
    assert found["mean_rank"].tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("ValueError: x: y\nTraceback", "ValueError", "x: y"),
        ("json.decoder.JSONDecodeError: bad", "json.decoder.JSONDecodeError", "bad"),
        ("trial 3 failed: OSError: full", "OSError", "trial 3 failed: OSError: full"),
        ("took 3 s: the limit is 1 s", "", "took 3 s: the limit is 1 s"),
        ("\n  \n", "", ""),
        ("KeyError:", "KeyError", ""),
    ],
)
def test_the_class_of_an_error_is_told_from_its_message(
    error: str, kind: str, message: str
) -> None:
    row = failures(results(run("a", "t", 0, [1], status="failed", error=error))).iloc[0]
    assert (row["kind"], row["message"]) == (kind, message)


def test_failures_are_counted_by_class_and_message() -> None:
    bad = {"status": "crashed", "error": "ValueError: no <b>\nTraceback ..."}
    study = results(
        run("a", "t", 0, [1], **bad), run("a", "t", 3, [1], **bad),
        run("b", "t", 0, [1, 2], statuses=["ok", "timeout"]),
        run("b", "t", 1, [1], status="timeout", error="took 3 s: the limit is 1 s"),
    )  # fmt: skip
    found = failures(study)
    assert found[["optimizer", "kind", "message", "n_runs", "seeds"]].values.tolist() == [
        ["a", "ValueError", "no <b>", 2, "0, 3"],
        ["b", "", "took 3 s: the limit is 1 s", 1, "1"],
    ]
    assert failed_trials(study)[["optimizer", "status", "n_trials"]].values.tolist() == [
        ["b", "timeout", 1]
    ]
