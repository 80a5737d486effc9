"""Plans of studies: what is to be done, and why something cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from carps_like.cli import main
from carps_like.compose import Composer
from carps_like.errors import BadRequest, BadValue, CarpsLikeError, UnknownName
from carps_like.plan import make_plan
from carps_like.study import check_study, read_study, study_names, study_seeds

SHIPPED = [path.stem for path in (Path(__file__).parents[1] / "configs" / "study").glob("*.yaml")]


def planned(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["plan", *argv, "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_nothing_is_run_or_written_by_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = planned(capsys, "study=bb-small")
    assert data["counts"] == {"new": len(data["runs"])} and data["cpu_hours"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_plan_names_state_and_reason_of_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["-m", "optimizer=random,cmaes", "task=bbob-d02-f01-i01,yahpo-lcbench-3945-mo"]
    request += ["seed=0,1", "budget.trials=3", f"results={tmp_path}"]
    assert main(["run", *request]) == 0
    data = planned(capsys, *request)
    states = {(r["optimizer"], r["task"]): (r["state"], r["reason"]) for r in data["runs"]}
    assert states["random", "bbob-d02-f01-i01"] == ("done", "")
    state, reason = states["cmaes", "yahpo-lcbench-3945-mo"]
    assert state == "unsupported" and "objective" in reason
    assert data["cpu_hours_left"] == 0 < data["cpu_hours"]


def test_a_task_without_its_data_is_listed_and_the_others_are_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["-m", "optimizer=random", "task=bbob-d02-f01-i01,yahpo-rbv2_ranger-6-bb"]
    data = planned(capsys, *request, f"results={tmp_path}")
    states = {r["task"]: r for r in data["runs"]}
    assert states["bbob-d02-f01-i01"]["state"] == "new"
    missing = states["yahpo-rbv2_ranger-6-bb"]
    assert missing["state"] == "data missing" and "data=PATH" in missing["reason"]


def test_finished_runs_say_what_other_seeds_will_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=50"]
    request += [f"results={tmp_path}"]
    declared = planned(capsys, *request, "seed=1")["cpu_hours"]
    assert main(["run", *request, "seed=0"]) == 0
    assert planned(capsys, *request, "seed=1")["cpu_hours"] > declared


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("subset-")])
def test_every_shipped_study_has_runs_and_none_of_them_is_impossible(name: str) -> None:
    composer = Composer()
    plan = make_plan(composer.expand(composer.request([f"study={name}"], multirun=False)))
    assert {"new"} >= set(plan.counts()) - {"library missing"} and len(plan.runs) > 50


def test_there_is_a_small_study_for_each_type_of_task() -> None:
    assert {"bb-small", "mf-small", "mo-small", "momf-small"} <= set(SHIPPED)


def test_a_study_is_a_file_with_names_globs_filters_and_an_executor(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "optimizers: [random]\n"
        "tasks:\n"
        "  - bbob-d02-f01-i01\n"
        "  - bbob-d03-f0[12]-i01\n"
        "  - {collection: bbob, pattern: '*-f2?-i01', where: 'dimension == 2'}\n"
        "where: \"'f24' not in name\"\n"
        "seeds: range(2, 4)\n"
        "budget: {trials: 7}\n"
        "limits: {trial_seconds: 5}\n"
        "executor: {name: slurm, array: 3, time: 4:00:00}\n"
    )
    composer = Composer()
    configs = list(composer.expand(composer.request([f"study={file}"], multirun=False)))
    tasks = [c["task"]["name"] for c in configs if c["seed"] == 2]
    assert tasks == [
        "bbob-d02-f01-i01", "bbob-d03-f01-i01", "bbob-d03-f02-i01",
        *(f"bbob-d02-f{f}-i01" for f in (20, 21, 22, 23)),
    ]  # fmt: skip
    assert {c["seed"] for c in configs} == {2, 3}
    first = configs[0]
    assert first["budget"]["trials"] == 7 and first["limits"]["trial_seconds"] == 5
    assert first["name"] == "mine" and first["executor"]["name"] == "slurm"
    assert first["executor"]["array"] == 3 and first["executor"]["time"] == "4:00:00"


def test_the_command_line_beats_the_study_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "optimizers: [random]\ntasks: [bbob-d02-f01-i01]\nseeds: 3\nbudget: {trials: 7}\n"
        "executor: {name: slurm, array: 3}\n"
    )
    composer = Composer()
    words = [f"study={file}", "budget.trials=9", "seed=5", "executor.array=8"]
    (config,) = composer.expand(composer.request(words, multirun=False))
    assert (config["seed"], config["budget"]["trials"], config["executor"]["array"]) == (5, 9, 8)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("optimizer: [random]", UnknownName, "'optimizers'"),
        ("tasks: bbob-d02-f01-i01", BadValue, "tasks must be a list"),
        ("budget: 5", BadValue, "budget must be a mapping"),
        ("- a", BadRequest, "must hold a mapping"),
        ("a: [", BadRequest, "not YAML"),
        ("tasks: !!python/object/apply:os.system ['true']", BadRequest, "not YAML"),
    ],
)
def test_a_wrong_study_file_is_one_clear_line(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(error, match=r"wrong\.yaml") as caught:
        read_study(file)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_file_that_is_not_there_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optimizers: [random]")
    with pytest.raises(UnknownName, match=r"did you mean 'mine\.yaml'"):
        read_study(tmp_path / "mien.yaml")


def test_a_glob_may_be_written_as_on_the_command_line() -> None:
    study = check_study({"optimizers": ["glob(r*)"], "tasks": ["glob(b-[12])", "b-?"]}, "x")
    assert study_names(study, "optimizer", lambda: ["random", "sobol"]) == ["random"]
    assert study_names(study, "task", lambda: ["b-3", "b-1", "c"]) == ["b-1", "b-3"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("bbob-d99-*", "matches nothing"),
        ({"collection": "bbob", "where": "dimension > 999"}, "matches nothing"),
        ({"wher": "dimension > 1"}, "'where'"),
        ({"where": "dimensions > 1"}, "'dimension'"),
        ({"where": "__import__('os')"}, "only names"),
        ("@nothing-like-this", "nothing-like-this"),
    ],
)
def test_an_entry_that_stands_for_nothing_is_an_error(entry: Any, words: str) -> None:
    study = check_study({"optimizers": ["random"], "tasks": [entry]}, "x")
    with pytest.raises(CarpsLikeError, match=words):
        study_names(study, "task", lambda: ["bbob-d02-f01-i01"])


def test_a_subset_stands_for_its_tasks(tmp_path: Path) -> None:
    from carps_like.analysis.subset import Part, SubsetFile, save

    tasks = ("bbob-d02-f01-i01", "bbob-d03-f08-i01")
    part = Part(tasks, 0.1, 0.0, False, 0, 10)
    facts = SubsetFile({"dev": part}, "empirical", "log regret", "search", ("random",), None, 9)
    file = save(facts, tmp_path / "mine.yaml")
    study = check_study({"optimizers": ["random"], "tasks": [f"@{file}:dev"]}, "x")
    assert tuple(study_names(study, "task", list)) == tasks
    study = check_study({"optimizers": ["random"], "tasks": [f"@{file}:tets"]}, "x")
    with pytest.raises(UnknownName, match="'tets'"):
        study_names(study, "task", list)


def test_seeds_are_a_number_a_list_or_a_range() -> None:
    assert study_seeds(3) == study_seeds("range(3)") == study_seeds([0, 1, 2]) == [0, 1, 2]
    assert study_seeds("range(2, 4)") == [2, 3]
    for wrong in (-1, "many", [2**31], 0, []):
        with pytest.raises(BadValue, match="seed"):
            study_seeds(wrong)
