"""Selection: brute-force optima, gates' inputs, determinism, limits, proofs and bad input."""

from __future__ import annotations

import _thread
import itertools
import json
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carps_like.analysis.subset import choose, prove, select, split, star_discrepancy
from carps_like.errors import BadValue, UnknownName

GOLDEN = Path(__file__).parent / "golden" / "discrepancy"
TINY = json.loads((GOLDEN / "subset_tiny.json").read_text())["cases"]


def load(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "inputs" / f"{name}.csv", index_col="task")


@pytest.mark.parametrize("case", TINY, ids=lambda c: c["name"])
@pytest.mark.parametrize(
    ("target", "golden"), [("uniform", "lebesgue"), ("empirical", "empirical")]
)
def test_tiny_inputs_are_solved_and_proved_optimal(case, target, golden):
    points = np.array(case["points"])
    found = select(points, case["k"], target, evaluations=20_000, time_limit=None, prove=20)
    assert found.value == pytest.approx(case[golden]["optimum"], abs=1e-12, rel=0)
    assert found.optimal and found.lower_bound == found.value and found.gap == 0
    if case[golden]["n_optimal"] <= 10:
        assert list(found.indices) in case[golden]["optimal_subsets"]


@pytest.mark.parametrize("target", ["uniform", "empirical"])
def test_a_lower_bound_is_never_above_the_best_of_all_subsets(target):
    points = np.random.default_rng(1).random((13, 2))
    reference = "uniform" if target == "uniform" else points
    best = min(
        star_discrepancy(points[list(s)], reference).value
        for s in itertools.combinations(range(13), 4)
    )
    # a bad subset on purpose: the proof must find a better one or stay below the optimum
    bad = select(points, 4, target, evaluations=0, time_limit=None)
    proved = prove(points, bad, 20)
    assert proved.lower_bound <= best + 1e-9 and proved.value <= bad.value
    assert proved.value == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("target", ["uniform", "empirical"])
@pytest.mark.parametrize(("n", "d", "k"), [(9, 1, 3), (10, 2, 4), (8, 3, 5), (7, 2, 1)])
def test_every_result_has_a_bound_that_holds(n, d, k, target):
    for digits in (1, 9):
        points = np.round(np.random.default_rng(n).random((n, d)), digits)
        reference = "uniform" if target == "uniform" else points
        best = min(
            star_discrepancy(points[list(s)], reference).value
            for s in itertools.combinations(range(n), k)
        )
        found = select(points, k, target, evaluations=500, time_limit=None)
        assert 0 <= found.lower_bound <= best + 1e-12
        assert not found.optimal or found.value == pytest.approx(best, abs=1e-12)
        assert found.lower_bound > 0 or target == "empirical"


@pytest.mark.parametrize(
    ("name", "k", "best"), [("correlated-150-3", 10, 0.204488), ("ties-120-3", 15, 0.183333)]
)
def test_the_gate_inputs_with_known_optimum_are_solved(name, k, best):
    points = load(name)
    found = select(points, k, "uniform", seed=5, evaluations=150_000, time_limit=None)
    assert found.value <= best + 1e-6
    assert star_discrepancy(points.iloc[list(found.indices)]).value == found.value


@pytest.mark.parametrize("target", ["uniform", "empirical"])
@pytest.mark.parametrize("name", ["uniform-300-2", "ties-120-3", "uniform-150-4"])
def test_the_value_is_the_exact_value_of_the_indices(name, target):
    points = load(name)
    found = select(points, 12, target, seed=2, evaluations=3_000, time_limit=None)
    chosen = points.iloc[list(found.indices)]
    exact = star_discrepancy(chosen, "uniform" if target == "uniform" else points)
    assert (found.value, found.corner, found.side) == (exact.value, exact.corner, exact.side)
    assert len(set(found.indices)) == 12 and found.target == target


@pytest.mark.parametrize("target", ["uniform", "empirical"])
def test_the_same_seed_and_evaluations_give_the_same_indices(target):
    points = load("uniform-100-3")
    first = select(points, 20, target, seed=3, evaluations=9_000, time_limit=None)
    again = select(points, 20, target, seed=3, evaluations=9_000, time_limit=None)
    other = select(points, 20, target, seed=4, evaluations=9_000, time_limit=None)
    assert first.indices == again.indices and first.evaluations == 9_000
    assert first.indices != other.indices


def test_a_search_ended_by_time_is_repeated_by_its_evaluations():
    points = load("uniform-100-3")
    timed = select(points, 20, "uniform", seed=1, time_limit=0.2)
    again = select(points, 20, "uniform", seed=1, evaluations=timed.evaluations, time_limit=None)
    assert timed.indices == again.indices


def test_more_evaluations_are_never_worse_and_beat_a_random_subset():
    points = load("uniform-100-3")
    values = [
        select(points, 20, seed=0, evaluations=e, time_limit=None).value for e in (0, 1_000, 20_000)
    ]
    assert values == sorted(values, reverse=True) and values[2] < 0.7 * values[0]


def test_ctrl_c_gives_the_best_so_far():
    points = load("uniform-150-4")
    select(points, 15, "uniform", evaluations=10, time_limit=None)  # compiled before the clock
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    timer = threading.Timer(1.0, _thread.interrupt_main)
    timer.start()
    began = time.process_time()
    found = select(points, 15, "uniform", time_limit=60.0)
    timer.join()
    assert time.process_time() - began < 55  # ended by the signal and not by the limit
    assert len(found.indices) == 15 and found.evaluations > 0
    assert found.value < 0.5


def test_all_tasks_and_one_task_can_be_selected():
    points = np.random.default_rng(2).random((12, 2))
    everything = select(points, 12, evaluations=100)
    assert everything.indices == tuple(range(12)) and everything.value == 0 and everything.optimal
    one = select(points, 1, "uniform", evaluations=5_000, prove=10)
    best = min(star_discrepancy(points[[i]]).value for i in range(12))
    assert one.value == pytest.approx(best, abs=1e-12) and one.optimal


def test_repeated_and_constant_rows_are_selected_by_index():
    points = np.full((30, 3), 0.5)
    found = select(points, 7, evaluations=100)
    assert len(set(found.indices)) == 7 and found.value == 0.0
    half = np.repeat([[0.2, 0.3], [0.7, 0.9]], 10, axis=0)
    found = select(half, 4, evaluations=2_000)
    assert found.value == 0.0 and sum(i < 10 for i in found.indices) == 2


def test_subsets_of_more_than_64_tasks_work():
    points = np.random.default_rng(3).random((200, 2))
    found = select(points, 80, evaluations=1_500, time_limit=None)
    assert found.value == star_discrepancy(points[list(found.indices)], points).value
    assert found.value < select(points, 80, evaluations=0, time_limit=None).value


def test_splits_are_disjoint_and_all_better_than_random_ones():
    points = load("uniform-100-3")
    parts = split(points, (15, 15, 10), evaluations=5_000, time_limit=None)
    chosen = [i for part in parts for i in part.indices]
    assert [len(part.indices) for part in parts] == [15, 15, 10]
    assert len(set(chosen)) == 40
    for part in parts:
        k = len(part.indices)
        random = select(points, k, evaluations=0, time_limit=None, seed=9)
        assert part.value < random.value


@pytest.mark.parametrize("method", ["discrepancy", "k-medoids", "kernel-herding", "random"])
def test_every_method_chooses_k_distinct_rows_deterministically(method):
    points = load("ties-120-3")
    chosen = choose(points, 11, method, seed=1, evaluations=2_000)
    assert len(set(chosen)) == 11 and chosen == choose(
        points, 11, method, seed=1, evaluations=2_000
    )


@pytest.mark.parametrize("method", ["k-medoids", "kernel-herding"])
def test_clustering_methods_cover_separate_groups(method):
    rng = np.random.default_rng(0)
    centres = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]])
    points = np.repeat(centres, 10, axis=0) + rng.normal(0, 0.01, (30, 2))
    assert {i // 10 for i in choose(points, 3, method)} == {0, 1, 2}


POINTS = np.random.default_rng(0).random((10, 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 11}, "k is 11, but there are only 10 tasks"),
        ({"k": 0}, "k is 0"),
        ({"k": 2.5}, "whole number"),
        ({"k": 3, "target": "lebesgue"}, "'empirical' or 'uniform'"),
        ({"k": 3, "seed": -1}, "seed is -1"),
        ({"k": 3, "seed": 1.5}, "seed is 1.5"),
        ({"k": 3, "time_limit": float("nan")}, "time_limit is nan"),
        ({"k": 3, "time_limit": 0}, "time_limit"),
        ({"k": 3, "evaluations": -5}, "evaluations"),
        ({"k": 3, "prove": -1}, "prove"),
    ],
)
def test_bad_arguments_give_one_line(arguments, words):
    with pytest.raises(BadValue) as error:
        select(POINTS, **arguments)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_bad_points_and_names_give_one_line():
    bad = POINTS.copy()
    bad[4, 1] = np.nan
    with pytest.raises(BadValue, match="row 4, column 1 is nan"):
        select(bad, 3)
    with pytest.raises(BadValue, match="outside"):
        select(POINTS * 2, 3, "uniform")
    assert select(POINTS * 2, 3, evaluations=100).value == select(POINTS, 3, evaluations=100).value
    with pytest.raises(BadValue, match="'a' stands in more than one row"):
        select(pd.DataFrame(POINTS, index=[*"abcdefghia"]), 3)
    with pytest.raises(BadValue, match="sum to 12"):
        split(POINTS, (6, 6))
    with pytest.raises(UnknownName, match="k-medoids"):
        choose(POINTS, 3, "k-medoid")
