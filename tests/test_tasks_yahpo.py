"""YAHPO: our reader of the surrogates, their spaces, and what is said when a file is missing."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import carps_like
from carps_like.errors import BadValue, MissingData, UnknownName
from carps_like.registry import collections
from carps_like.space import Sampler, count
from carps_like.tasks._data import SHIPPED
from carps_like.tasks.yahpo import scenarios

GOLDEN = Path(__file__).parent / "golden" / "yahpo" / "rows.json"
ROWS = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("scenario", sorted({r["scenario"] for r in ROWS}))
def test_every_output_equals_yahpo_gym_bit_for_bit(scenario: str) -> None:
    for row in (r for r in ROWS if r["scenario"] == scenario):
        task = carps_like.task(f"yahpo-{scenario}-{row['instance']}-momf")
        fidelity = row["config"][task.description.fidelity.name]
        fixed = (task.description.fidelity.name, "repl", "task_id", "OpenML_task_id")
        config = {k: v for k, v in row["config"].items() if k not in fixed}
        result = task.evaluate(config, fidelity)
        assert result.objectives == {o: row["outputs"][o] for o in result.objectives}
        runtime = scenarios()[scenario].meta["runtime"]
        assert result.cost == sum(max(0.0, row["outputs"][name]) for name in runtime)


def test_every_scenario_that_ships_has_golden_rows() -> None:
    assert {r["scenario"] for r in ROWS} == set(scenarios())


def test_the_four_types_of_an_instance_agree() -> None:
    tasks = {t: carps_like.task(f"yahpo-lcbench-167152-{t}") for t in ("bb", "mf", "mo", "momf")}
    assert {t: task.description.type for t, task in tasks.items()} == {t: t for t in tasks}
    config = tasks["bb"].description.checker.default()
    results = {t: task.evaluate(config) for t, task in tasks.items()}
    assert len({r.objectives["val_accuracy"] for r in results.values()}) == 1
    assert len({r.cost for r in results.values()}) == 1
    assert results["momf"].objectives["time"] == results["momf"].cost
    half = tasks["mf"].evaluate(config, 26)
    assert half.cost < results["mf"].cost
    assert tasks["momf"].evaluate(config, 26).cost == half.cost


def test_accuracy_is_maximised_and_time_minimised() -> None:
    description = carps_like.task("yahpo-lcbench-167152-mo").description
    assert description.directions == (("val_accuracy", -1.0), ("time", 1.0))


def test_instance_fidelity_and_repl_are_no_hyperparameters_and_f1_is_no_objective() -> None:
    collection = collections()["yahpo"]
    for name in list(collection.names())[::37]:
        description = collection.describe(name)
        names = set(description.space)
        assert not names & {"task_id", "OpenML_task_id", "repl", "trainsize", "epoch"}
        assert "f1" not in [o.name for o in description.objectives]
        counted = count(description.space)
        assert {k: getattr(description, k) for k in counted} == counted


def test_inactive_hyperparameters_count_as_absent() -> None:
    task = carps_like.task("yahpo-rbv2_xgboost-12-bb")
    config = task.description.checker.default()
    assert config["booster"] == "gblinear" and "eta" not in config
    with pytest.raises(BadValue, match=r"'eta' .* is inactive"):
        task.evaluate(config | {"eta": 0.1})
    assert task.evaluate(config).ok


def test_integers_and_fidelities_out_of_range_are_refused_by_name() -> None:
    task = carps_like.task("yahpo-lcbench-167152-mf")
    config = task.description.checker.default()
    with pytest.raises(BadValue, match="batch_size"):
        task.evaluate(config | {"batch_size": 91.5})
    for epochs in (0, 53, 26.5):
        with pytest.raises(BadValue, match="epoch"):
            task.evaluate(config, epochs)


def test_no_random_point_beats_the_best_known_value_by_much() -> None:
    for name in ("yahpo-lcbench-167152-mo", "yahpo-rbv2_xgboost-12-mo"):
        task = carps_like.task(name)
        sampler = Sampler(task.description.checker, 3)
        values = np.array([task.evaluate(sampler.sample()).values for _ in range(200)])
        for column, objective in zip(values.T, task.description.objectives, strict=True):
            assert objective.optimum is not None and objective.reference is not None
            assert column.min() >= objective.inside(objective.optimum)
            spread = objective.inside(objective.reference) - objective.inside(objective.optimum)
            assert column.max() <= objective.inside(objective.reference) + 0.2 * spread


def test_a_task_travels_to_another_process() -> None:
    task = carps_like.task("yahpo-rbv2_xgboost-12-bb")
    config = task.description.checker.default()
    copy = pickle.loads(pickle.dumps(task))
    assert copy.evaluate(config) == task.evaluate(config)


def test_unknown_instances_get_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="yahpo-lcbench-167152-bb"):
        carps_like.task("yahpo-lcbench-167153-bb")


def test_a_scenario_that_is_not_here_says_what_brings_it() -> None:
    with pytest.raises(MissingData, match=r"rbv2_super.*git clone .*yahpo_data.*data="):
        carps_like.task("yahpo-rbv2_super-3-bb")


def test_the_users_folder_comes_first_and_adds_scenarios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = set(collections()["yahpo"].names())
    source = SHIPPED / "yahpo" / "rbv2_xgboost"
    shutil.copytree(source, tmp_path / "yahpo" / "rbv2_xgboost")
    shutil.copytree(source, tmp_path / "yahpo" / "rbv2_svm")
    (tmp_path / "yahpo" / "rbv2_svm" / "model.onnx").unlink()
    monkeypatch.setenv("CARPS_LIKE_DATA", str(tmp_path))
    assert scenarios()["rbv2_xgboost"].folder == tmp_path / "yahpo" / "rbv2_xgboost"
    assert scenarios()["lcbench"].folder == SHIPPED / "yahpo" / "lcbench"
    assert {n for n in set(collections()["yahpo"].names()) - here} == {
        n.replace("rbv2_xgboost", "rbv2_svm") for n in here if "-rbv2_xgboost-" in n
    }
    with pytest.raises(MissingData, match=r"rbv2_svm/model\.onnx.*git clone"):
        carps_like.task("yahpo-rbv2_svm-12-bb")
    model = tmp_path / "yahpo" / "rbv2_xgboost" / "model.onnx"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(MissingData, match=r"model\.onnx cannot be read"):
        carps_like.task("yahpo-rbv2_xgboost-12-bb")


def test_a_data_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARPS_LIKE_DATA", "/nowhere/at/all")
    with pytest.raises(BadValue, match=r"/nowhere/at/all.*is not a folder"):
        carps_like.task("yahpo-lcbench-167152-bb")


def test_listing_imports_neither_onnxruntime_nor_configspace() -> None:
    code = (
        "import sys; from carps_like.registry import collections\n"
        "c = collections()['yahpo']; [c.describe(n) for n in c.names()]\n"
        "assert not {'onnxruntime', 'ConfigSpace'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
