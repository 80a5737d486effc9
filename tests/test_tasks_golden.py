"""Values of the tasks against their sources: the library's own call, published optima, raw rows."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

import carps_like
from carps_like.registry import collections
from carps_like.tasks._functions import forrester, park1, park2
from carps_like.tasks._spaces import names_of
from carps_like.tasks.discrete import PBO, PBO_DIMENSIONS, PBO_INSTANCES, pbo_optimum
from carps_like.tasks.synthetic import FUNCTIONS

GOLDEN = Path(__file__).parent / "golden"


def rows(folder: str) -> list[dict]:
    return json.loads((GOLDEN / folder / "rows.json").read_text())


def at(x: np.ndarray) -> dict[str, float]:
    return dict(zip(names_of(len(x)), np.asarray(x, float).tolist(), strict=True))


def bits(x: np.ndarray) -> dict[str, int]:
    return dict(zip(names_of(len(x)), map(int, x), strict=True))


@pytest.mark.parametrize("collection", ["bbob", "sbox"])
@pytest.mark.parametrize("dimension", [2, 3, 5, 10, 20, 40])
def test_bbob_equals_ioh_at_two_thousand_points(collection: str, dimension: int) -> None:
    """Shuffled names, too: coordinates are read by name, and d > 10 is where order would show."""
    ioh = pytest.importorskip("ioh")
    rng = np.random.default_rng(dimension)
    for f in range(1, 25):
        i = int(rng.integers(1, 16))
        task = carps_like.task(f"{collection}-d{dimension:02}-f{f:02}-i{i:02}")
        problem = ioh.get_problem(f, i, dimension, ioh.ProblemClass[collection.upper()])
        for x in rng.uniform(-5, 5, (84, dimension)):  # 2,016 in each dimension
            config = at(x)
            shuffled = {name: config[name] for name in rng.permutation(list(config)).tolist()}
            expected = problem(x.tolist()) - problem.optimum.y
            assert task.evaluate(shuffled).objectives["precision"] == expected


@pytest.mark.parametrize("collection", ["bbob", "sbox", "cec2013", "cec2022"])
def test_the_optimum_of_ioh_scores_the_declared_value(collection: str) -> None:
    for name in list(collections()[collection].names())[::29]:
        task = carps_like.task(name)
        x = np.array(task._problem.optimum.x)  # type: ignore[attr-defined]
        objective = task.description.objectives[0]
        found = task.evaluate(at(x)).objectives[objective.name]
        assert found == pytest.approx(objective.optimum, abs=1e-6)


def test_pseudo_boolean_optima_are_those_of_ioh() -> None:
    ioh = pytest.importorskip("ioh")
    wrong_in_ioh = {"MIS", "LABS", "NKLandscapes"}  # mapped twice, and given as infinite
    for f, title in enumerate(PBO, 1):
        for d in PBO_DIMENSIONS:
            for i in PBO_INSTANCES:
                said = ioh.get_problem(f, i, d, ioh.ProblemClass.PBO).optimum.y
                ours = pbo_optimum(f, d, i)
                if ours is not None and title not in wrong_in_ioh:
                    assert ours == pytest.approx(said, rel=1e-12)


def test_small_pseudo_boolean_optima_are_found_by_trying_all() -> None:
    ioh = pytest.importorskip("ioh")
    every = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).tolist()
    for title in ("MIS", "LABS", "NQueens", "OneMaxRuggedness1", "IsingTriangular"):
        f = PBO.index(title) + 1
        problem = ioh.get_problem(f, 1, 16, ioh.ProblemClass.PBO)
        assert max(map(problem, every)) == pytest.approx(pbo_optimum(f, 16, 1), rel=1e-12)


@pytest.mark.parametrize("suite", ["bbob-largescale", "bbob-boxed", "bbob-mixint"])
def test_coco_scores_zero_at_its_own_best_parameter(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cocoex")
    for name in list(collections()[suite].names())[::331]:
        task = carps_like.task(name)
        with contextlib.chdir(tmp_path):
            task._problem._best_parameter("print")  # type: ignore[attr-defined]
            x = np.loadtxt("._bbob_problem_best_parameter.txt")
        params = task.description.checker.params
        config = {
            p.name: round(v) if p.kind == "int" else float(v)
            for p, v in zip(params, x.tolist(), strict=True)
        }
        assert task.evaluate(config).objectives["precision"] == pytest.approx(0, abs=1e-6)


def test_noise_follows_from_the_seed_alone() -> None:
    pytest.importorskip("cocoex")
    first = carps_like.task("bbob-noisy-d05-f101-i01")
    other = carps_like.task("bbob-noisy-d05-f116-i02")
    config = at(np.full(5, 1.5))
    alone = [first.evaluate(config, seed=s).value for s in (1, 2, 3)]
    between = []
    for s in (3, 2, 1):
        other.evaluate(config, seed=s)
        between.append(first.evaluate(config, seed=s).value)
    assert alone == between[::-1]
    assert len(set(alone)) == 3


def test_nevergrad_reaches_its_optima() -> None:
    pytest.importorskip("nevergrad")
    for name in ("nevergrad-rastrigin-d05-i02", "nevergrad-bentcigar-d10-i03"):
        task = carps_like.task(name)
        function = task._function  # type: ignore[attr-defined]
        function(np.zeros(task.description.dimension))
        best = function.transform_var._transforms[0].translation
        assert task.evaluate(at(best)).value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "best", "tolerance"),
    [
        ("branin", (np.pi, 2.275), 1e-9),
        ("currin", (13 / 60, 0.0), 1e-3),
        ("borehole", (0.15, 100.0, 115600.0, 1110.0, 116.0, 700.0, 1120.0, 12045.0), 1e-9),
        ("hartmann3", (0.114614, 0.555649, 0.852547), 1e-6),
        ("hartmann6", (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573), 1e-6),
        ("forrester", (0.757249,), 1e-6),
        ("park1", (1.0,) * 4, 1e-9),
        ("park2", (1.0, 1.0, 1.0, 0.0), 1e-9),
    ],
)
def test_synthetic_functions_have_their_published_optima(
    name: str, best: tuple[float, ...], tolerance: float
) -> None:
    found = carps_like.task(f"synthetic-{name}-bb").evaluate(at(np.array(best)))
    assert found.objectives["value"] == pytest.approx(FUNCTIONS[name].optimum, abs=tolerance)


def test_low_fidelities_are_those_of_the_literature() -> None:
    """Values at z = 0 that Xiong et al. (2013) and Forrester et al. (2007) define."""
    x = (0.3, 0.6, 0.2, 0.9)
    high1, high2 = park1(x, 1.0), park2(x, 1.0)
    low1 = (1 + np.sin(x[0]) / 10) * high1 - 2 * x[0] + x[1] ** 2 + x[2] ** 2 + 0.5
    assert park1(x, 0.0) == pytest.approx(low1, rel=1e-14)
    assert park2(x, 0.0) == pytest.approx(1.2 * high2 - 1, rel=1e-14)
    assert forrester((0.0,), 0.0) == pytest.approx(0.5 * forrester((0.0,), 1.0) - 10, rel=1e-14)


def test_biased_hartmann_equals_mfpbench() -> None:
    for row in rows("mfh"):
        task = carps_like.task(f"synthetic-{row['function']}-mf")
        value = task.evaluate(at(np.array(row["x"])), row["z"]).value
        assert value == pytest.approx(row["value"], abs=1e-12)


def test_tables_answer_with_the_rows_of_their_sources() -> None:
    for row in rows("tables"):
        task = carps_like.task(row["task"])
        config = {  # the source writes 1.0 where the space has 1
            p.name: next(
                (c for c in p.choices if c == row["config"][p.name]), row["config"][p.name]
            )
            for p in task.description.checker.params
        }
        result = task.evaluate(config, row["fidelity"])
        assert result.ok and "distance" not in result.extra
        for name, value in row["objectives"].items():
            assert result.objectives[name] == pytest.approx(value, rel=1e-12), row["task"]
