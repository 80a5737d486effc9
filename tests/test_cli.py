"""The command line: Hydra's habits, the listings, and the verbs on a results folder."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from command import COMMAND, carps_like, environment, write_config
from conftest import Command

import carps_like as package

TASK = "task=bbob-d02-f01-i01"


def _runs(folder: Path) -> set[tuple[str, str, int]]:
    runs = package.load(folder).runs
    return set(zip(runs.optimizer.astype(str), runs.task.astype(str), runs.seed, strict=True))


# --- Hydra's habits ---


def test_a_single_run_writes_its_results_and_running_it_again_is_free(
    command: Command, tmp_path: Path
) -> None:
    arguments = ("run", "optimizer=random", TASK, "seed=3", "budget.trials=4")
    first = command(*arguments)
    assert first.returncode == 0, first.stderr
    assert _runs(tmp_path / "results" / "default") == {("random", "bbob-d02-f01-i01", 3)}
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = command(*arguments)
    assert again.returncode == 0 and "nothing left to do" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == stamps
    assert {p.name for p in tmp_path.iterdir()} == {"results"}  # no outputs/, no .hydra
    forced = command(*arguments, "--force")
    assert forced.returncode == 0
    assert package.load(tmp_path / "results" / "default").runs["round"].tolist() == [1]


AXES = ["optimizer=random,optuna-tpe", "task=bbob-d02-f01-i01,bbob-d02-f02-i01", "seed=range(0,2)"]


def test_any_order_of_the_axes_and_any_number_of_workers_gives_the_same_runs(
    tmp_path: Path,
) -> None:
    tables = []
    for name, axes, workers in (("a", AXES, 1), ("b", [AXES[2], AXES[0], AXES[1]], 2)):
        more = [f"workers={workers}", f"results={name}", "budget.trials=3"]
        done = carps_like("run", "-m", *axes, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tables.append(package.load(tmp_path / name))
    assert len(tables[0].runs) == 8
    for name, wall in (
        ("runs", ["started", "ended", "attempt"]),
        ("trials", ["ask_seconds", "evaluate_seconds"]),
    ):
        a, b = (getattr(t, name).drop(columns=wall) for t in tables)
        pd.testing.assert_frame_equal(a, b, check_categorical=False)
    # the runs of another order are known already
    again = carps_like(
        *("run", *AXES[1:], AXES[0], "-m", "results=a", "budget.trials=3"), cwd=tmp_path
    )
    assert "nothing left to do" in again.stderr


def test_python_gives_the_same_bits_as_the_command_line(tmp_path: Path) -> None:
    done = carps_like("run", "optimizer=optuna-tpe", TASK, "budget.trials=12", cwd=tmp_path)
    assert done.returncode == 0
    there = package.load(tmp_path / "results" / "default").trials
    here = package.run(optimizer="optuna-tpe", task="bbob-d02-f01-i01", seed=0, trials=12).trials
    assert here.config.tolist() == there.config.tolist()
    assert here.value.tolist() == there.value.tolist()
    assert here.run_id.tolist() == there.run_id.tolist()


@pytest.mark.parametrize("name", ["budget", "simulate", "limits"])
def test_python_names_an_argument_that_must_be_a_mapping(name: str) -> None:
    with pytest.raises(package.CarpsLikeError, match=f"^{name} must be a mapping, not 50"):
        package.run(optimizer="random", task="bbob-d02-f01-i01", **{name: 50})


def test_cfg_job_prints_the_composed_configuration_with_its_overrides(command: Command) -> None:
    overrides = ["budget.trials=200", "optimizer.n_startup_trials=5", "simulate.workers=4"]
    done = command("run", "--cfg", "job", "optimizer=optuna-tpe", TASK, "seed=3", *overrides)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["optimizer"]["n_startup_trials"] == 5
    assert config["optimizer"]["_target_"] == "carps_like.optimizers.optuna.Tpe"
    assert config["task"]["name"] == "bbob-d02-f01-i01"
    assert (config["budget"]["trials"], config["simulate"]["workers"]) == (200, 4)
    assert config["seed"] == 3


def test_overrides_without_a_verb_name_the_verb(command: Command) -> None:
    done = command("optimizer=random", "task=bbob-d02-f01-i01")
    assert done.returncode == 2
    assert done.stderr == (
        "carps-like: 'optimizer=random' is no command; "
        "did you mean 'carps-like run optimizer=random'?\n"
    )


def test_flags_may_stand_anywhere(command: Command) -> None:
    done = command("run", "optimizer=random", "--cfg", "job", TASK)
    assert done.returncode == 0 and "bbob-d02-f01-i01" in done.stdout


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_starts_with_examples_and_fits_a_screen(flag: str, command: Command) -> None:
    done = command(flag)
    assert done.returncode == 0 and done.stdout.count("\n") < 40
    assert "carps-like run optimizer=random task=bbob-d02-f01-i01 seed=3" in done.stdout
    help_of_run = command("run", flag)
    assert help_of_run.returncode == 0
    assert "carps-like run -m" in help_of_run.stdout and "budget:" in help_of_run.stdout


def test_info_shows_where_configurations_come_from(command: Command) -> None:
    done = command("run", "--info", "searchpath")
    assert done.returncode == 0, done.stderr
    assert "pkg://carps_like.configs" in done.stdout
    assert "carps-like://" in done.stdout


def _complete(line: str, cwd: Path) -> list[str]:
    """What a real bash offers for ``line`` after the script that Hydra prints."""
    bin_ = cwd / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "carps-like").write_text(f'#!/bin/sh\nexec {sys.executable} -m carps_like "$@"\n')
    (bin_ / "carps-like").chmod(0o755)
    script = textwrap.dedent(
        """
        eval "$(carps-like run -sc install=bash)"
        COMP_LINE="$1"
        COMP_WORDS=($1)
        [[ "$1" == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMP_POINT=${#COMP_LINE}
        function_name=$(complete -p carps-like | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$function_name" carps-like
        printf '%s\\n' "${COMPREPLY[@]}"
        """
    )
    path = f"{bin_}:{environment()['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", line],
        cwd=cwd,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [word for word in done.stdout.split("\n") if word]


def test_tab_completes_names_and_fields_in_bash(tmp_path: Path) -> None:
    found = _complete("carps-like run optimizer=opt", tmp_path)
    assert any(word.endswith("optuna-tpe") for word in found), found
    found = _complete("carps-like run optimizer=random task=bbob-d02-f01-i0", tmp_path)
    assert found == [f"task=bbob-d02-f01-i{i:02}" for i in range(1, 10)]
    assert _complete("carps-like opt", tmp_path) == ["optimizers", "optimizer"]
    found = _complete("carps-like run optimizer=random budget.tri", tmp_path)
    assert any("budget.trials=" in word for word in found), found


def test_the_module_run_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "carps_like.run", "optimizer=random", TASK, "budget.trials=2"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(package.load(tmp_path / "results" / "default")) == 2


OWN = """
from carps_like import Optimizer, Task, Trial, describe
from ConfigSpace import ConfigurationSpace


class Middle(Optimizer):
    def __init__(self, task, seed, at=0.5):
        self._at = at

    def ask(self):
        return Trial({"a": self._at})

    def tell(self, trial, result):
        pass


class Line(Task):
    def __init__(self, slope=1.0):
        self._slope = slope
        self.description = describe("line", ConfigurationSpace({"a": (0.0, 1.0)}))

    def compute(self, config, fidelity, seed, state):
        return {"value": self._slope * config["a"]}
"""


def test_an_optimizer_and_a_task_of_ones_own_run_from_a_config_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_config(own, "optimizer", "middle", _target_="mine.Middle", at=0.25)
    write_config(own, "task", "line", _target_="mine.Line", slope=2.0)
    (own / "mine.py").write_text(OWN)
    base = ("run", "--config-dir", "own", "results=r", "budget.trials=2")
    done = carps_like(*base, "optimizer=middle", "task=line", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert package.load(tmp_path / "r").trials.value.tolist() == [0.5, 0.5]
    swept = carps_like(
        *(*base, "-m", "optimizer=middle,random", "task=line", "task.slope=2.0,4.0"), cwd=tmp_path
    )
    assert swept.returncode == 0, swept.stderr
    assert len(package.load(tmp_path / "r").runs) == 4
    wrong = carps_like(*base, "optimizer=middel", "task=line", cwd=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'middle'" in wrong.stderr
    pair = carps_like(*base, "optimizer=middle", "task=line", "task.slop=1", cwd=tmp_path)
    assert pair.returncode == 2 and "'slope'" in pair.stderr


def test_a_launcher_of_other_people_is_handed_the_sweep(tmp_path: Path) -> None:
    done = carps_like(
        *("run", "-m", "hydra/launcher=basic", "optimizer=random", TASK, "seed=0,1"),
        *("budget.trials=2", "results=r"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert {seed for _, _, seed in _runs(tmp_path / "r")} == {0, 1}


def test_an_impossible_pair_among_others_is_marked_and_the_rest_runs(tmp_path: Path) -> None:
    tasks = "task=bbob-d02-f01-i01,yahpo-lcbench-3945-mo"
    arguments = ("run", "-m", "optimizer=cmaes,random", tasks, "budget.trials=2", "results=r")
    done = carps_like(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "unsupported: cmaes on yahpo-lcbench-3945-mo: takes one objective" in done.stderr
    runs = package.load(tmp_path / "r").runs
    assert sorted(runs.status) == ["ok", "ok", "ok", "unsupported"]


def test_two_commands_at_once_on_one_folder_do_not_harm_each_other(tmp_path: Path) -> None:
    arguments = ["run", "-m", "optimizer=random", "task=glob(bbob-d02-f0*-i01)", "seed=range(0,4)"]
    arguments += ["budget.trials=20", "results=r"]
    both = [
        subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, env=environment(), stderr=-3)
        for _ in range(2)
    ]
    codes = [process.wait(timeout=200) for process in both]
    assert set(codes) <= {0, 1}
    last = carps_like(*arguments, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    found = package.load(tmp_path / "r")
    assert len(found.runs) == 36 and set(found.runs.status) == {"ok"}
    assert len(found) == 36 * 20
    assert not found.trials.duplicated(["run_id", "trial"]).any()


# --- listings ---

LIBRARIES = ("ioh", "onnxruntime", "optuna", "smac", "torch", "sklearn", "matplotlib", "cocoex")
LIBRARIES += ("pymoo", "nevergrad", "botorch", "gymnasium", "pandas")


@pytest.mark.parametrize("verb", ["tasks", "optimizers"])
def test_a_listing_imports_no_benchmark_library(verb: str, tmp_path: Path) -> None:
    code = f"""
import sys
from carps_like.cli import main
assert main([{verb!r}, "--json"]) == 0
print([name for name in {LIBRARIES!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    rows = json.loads(done.stdout)
    assert len(rows) > (1000 if verb == "tasks" else 3)
    assert all("ready" in row and row["name"] for row in rows)
    assert all(row["ready"] or row["missing"] for row in rows)


def _listed(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_filters_of_the_task_listing_hold(command: Command) -> None:
    rows = _listed(command("tasks", "--type", "mf", "--collection", "yahpo", "--json"))
    assert rows and {(r["type"], r["collection"]) for r in rows} == {("mf", "yahpo")}
    rows = _listed(command("tasks", "bbob-*", "--max-dim", "5", "--min-dim", "3", "--json"))
    assert {r["dimension"] for r in rows} == {3, 5}
    rows = _listed(command("tasks", "--where", "n_conditions > 0 and n_objectives == 1", "--json"))
    assert rows and all(r["n_conditions"] > 0 for r in rows)
    rows = _listed(command("tasks", "--where", "optimum is None and fidelity_upper > 9", "--json"))
    assert rows and all(r["optimum"] is None and r["fidelity_upper"] > 9 for r in rows)
    rows = _listed(command("tasks", "--where", "not ready or not deterministic", "--json"))
    assert {r["collection"] for r in rows} >= {"bbob-noisy", "training", "control"}
    assert all(r["noisy"] or r["unit_cost"] is None or r["missing"] for r in rows)
    rows = _listed(command("tasks", "@momf-dev", "--json"))
    assert len(rows) == 20 and {r["type"] for r in rows} == {"momf"}
    table = command("tasks", "bbob-d02-f01-*").stdout.splitlines()
    assert table[0].split() == ["name", "type", "dim", "objectives", "fidelity", "ready"]
    assert len(table) == 16 and table[1].startswith("bbob-d02-f01-i01")


def test_one_task_is_shown_with_all_that_it_declares(command: Command) -> None:
    text = command("task", "yahpo-lcbench-167152-momf").stdout
    for words in ("directions  max,min", "unit_cost", "trials=", "evaluations=", "reference_point",
                  "ideal_point", "cost_law", "batch_size, Type: UniformInteger"):  # fmt: skip
        assert words in text
    row = json.loads(command("task", "bbob-constrained-d02-f01-i01", "--json").stdout)
    assert row["constraints"] == ["c000"] and row["optimum"] == 0 and row["deterministic"]


def test_the_optimizer_listing_says_what_each_can_take(command: Command) -> None:
    rows = {r["name"]: r for r in _listed(command("optimizers", "--json"))}
    assert {"random", "optuna-tpe", "smac-hpo", "cmaes"} <= set(rows)
    assert "mo" in rows["optuna-tpe"]["types"] and "mo" not in rows["cmaes"]["types"]
    many = {r["name"] for r in _listed(command("optimizers", "--type", "mo", "--json"))}
    assert "random" in many and "cmaes" not in many


def test_one_optimizer_is_shown_with_its_capabilities_and_options(command: Command) -> None:
    text = command("optimizer", "neps-pibo").stdout
    assert "Hvarfner et al., 2022" in text and "neural-pipeline-search==" in text
    assert "priors  needs" in text and "cost_aware  null" in text
    row = json.loads(command("optimizer", "optuna-tpe", "--json").stdout)
    assert row["options"]["n_startup_trials"] is None and row["capabilities"]["constraints"]
    assert row["library"] == [f"optuna {version('optuna')}"]


@pytest.mark.parametrize("verb", ["optimizer", "optimizers"])
def test_an_unknown_optimizer_is_named_with_the_nearest(command: Command, verb: str) -> None:
    asked = command(verb, "optuna-tpee")
    assert asked.returncode == 2
    assert "unknown optimizer 'optuna-tpee'; did you mean 'optuna-tpe'" in asked.stderr


# --- verbs on a folder ---


def test_status_compact_and_report_work_on_a_finished_folder(tmp_path: Path) -> None:
    arguments = ("optimizer=random,optuna-tpe", TASK, "seed=range(0,2)", "budget.trials=5")
    carps_like("run", "-m", *arguments, "results=r", cwd=tmp_path)
    status = carps_like("status", "r", cwd=tmp_path)
    assert status.returncode == 0 and "4 runs, 20 trials" in status.stdout
    data = json.loads(carps_like("status", "r", "--json", cwd=tmp_path).stdout)
    assert data["counts"] == {"ok": 4} and data["trials"] == 20
    compacted = carps_like("compact", "r", cwd=tmp_path)
    assert compacted.returncode == 0 and "4 runs, 20 trials" in compacted.stdout
    report = carps_like("report", "r", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert report.stdout.splitlines()[-1] == "report: r/report.html"
    page = (tmp_path / "r" / "report.html").read_text()
    assert "optuna-tpe" in page and "<html" in page
    assert 'src="http' not in page and 'href="http' not in page.replace('href="https://doi', "")


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version").stdout == f"carps-like {package.__version__}\n"
