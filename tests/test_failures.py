"""Whatever an objective or an optimizer does, it ends with a record, and the grid goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from command import COMMAND, carps_like, environment, flaky
from conftest import Command

import carps_like as package
from carps_like.processes import tree
from carps_like.testing.flaky import FlakyOptimizer, FlakyTask

# what the trials with x < 0.5 become, and the first words of their error
IN_PROCESS = {
    "raise": ("failed", "ValueError: the objective"),
    "nan": ("failed", "objective loss is nan"),
    "inf": ("failed", "objective loss is inf"),
    "minus-inf": ("failed", "objective loss is -inf"),
    "text": ("failed", "the task must return a number for each objective (loss)"),
    "text-inf": ("failed", "objective loss is 'inf'"),
    "none": ("failed", "the task must return a number for each objective (loss)"),
    "huge-int": ("failed", "the task must return a number for each objective (loss)"),
    "quit": ("failed", "SystemExit: 0"),
    "eat-at-once": ("out_of_memory", "MemoryError: Unable to allocate"),
    "segfault": ("crashed", "the evaluation was ended by SIGSEGV"),
    "exit-0": ("crashed", "the evaluation ended its process with exit code 0"),
    "exit-2": ("crashed", "the evaluation ended its process with exit code 2"),
    "fork-and-return": ("ok", ""),
    "print": ("ok", ""),
}
WITH_LIMITS = {
    "hang": ("timeout", "the trial took more than 0.7 s"),
    "hang-deaf": ("timeout", "the trial took more than 0.7 s"),
    "fork-and-hang": ("ok", ""),
    "fork-and-return": ("ok", ""),
    "eat": ("out_of_memory", "the trial took more than 120 MB"),
    "eat-at-once": ("out_of_memory", ""),
    "eat-outside": ("out_of_memory", "the trial took more than 120 MB"),
    "segfault": ("crashed", "the evaluation was ended by SIGSEGV"),
    "exit-3": ("crashed", "the evaluation ended its process with exit code 3"),
    "raise": ("failed", "ValueError: the objective"),
    "nothing": ("ok", ""),
}
# how the run ends, its first words, and its trials
OPTIMIZERS = {
    "raise": ("failed", "ValueError: the objective", 2),
    "raise-in-tell": ("failed", "ValueError: the objective", 3),
    "none": ("failed", "RuntimeError: the optimizer proposes nothing", 2),
    "exhausted": ("ok", "", 2),
    "out-of-range": ("failed", "BadValue: hyperparameter x=1.5 of flaky-nothing is outside", 2),
    "nan": ("failed", "BadValue: hyperparameter x=nan of flaky-nothing is outside", 2),
    "unknown-name": ("failed", "BadValue: flaky-nothing has no hyperparameter 'y'", 2),
    "missing": ("failed", "BadValue: hyperparameter 'x' of flaky-nothing is missing", 2),
    "no-trial": ("failed", "BadValue: ask must return a Trial", 2),
    "quit": ("failed", "SystemExit: 0", 2),
    "segfault": ("crashed", "the worker process ended over this run again and again (SIGSEGV)", 2),
    "exit-0": ("crashed", "the worker process ended over this run again and again (exit code", 2),
    "fork-and-return": ("ok", "", 6),
    "nothing": ("ok", "", 6),
}


def _grid(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return carps_like(
        *("run", "-m", "--config-dir", "own", "results=r", "budget.trials=6", *more), cwd=folder
    )


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("in-process")
    for how in IN_PROCESS:
        flaky(folder / "own", "task", f"flaky-{how}", how=how)
    return folder, _grid(folder, "optimizer=random", "task=glob(flaky-*)")


@pytest.fixture(scope="module")
def with_limits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("with-limits")
    for how in WITH_LIMITS:
        flaky(folder / "own", "task", f"flaky-{how}", how=how)
    limits = ("limits.trial_seconds=0.7", "limits.trial_memory_mb=120")
    return folder, _grid(folder, "optimizer=random", "task=glob(flaky-*)", *limits)


@pytest.fixture(scope="module")
def optimizers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("optimizers")
    flaky(folder / "own", "task", "flaky-nothing", how="nothing")
    for how in OPTIMIZERS:
        in_tell = how.endswith("-in-tell")
        options = {"how": how.removesuffix("-in-tell"), "in_tell": in_tell}
        flaky(folder / "own", "optimizer", f"flaky-{how}", **options)
    return folder, _grid(folder, "optimizer=glob(flaky-*)", "task=flaky-nothing")


def _check_trials(folder: Path, how: str, status: str, error: str) -> None:
    found = package.load(folder / "r")
    run = found.runs[found.runs.task == f"flaky-{how}"].iloc[0]
    assert (run.status, run.n_trials) == ("ok", 6)
    trials = found.trials[found.trials.run_id == run.run_id]
    assert trials.trial.tolist() == list(range(6))
    low = [json.loads(c)["x"] < 0.5 for c in trials.config]
    assert True in low and False in low
    assert trials.status.tolist() == [status if bad else "ok" for bad in low]
    for text, value in zip(trials.error[low], trials.value[low], strict=True):
        if status != "ok":
            assert text.startswith(error)
            assert value != value


@pytest.mark.parametrize("how", IN_PROCESS)
def test_a_trial_that_misbehaves_is_recorded_and_its_run_goes_on(how: str, in_process: Any) -> None:
    _check_trials(in_process[0], how, *IN_PROCESS[how])


@pytest.mark.parametrize("how", WITH_LIMITS)
def test_a_trial_that_misbehaves_within_limits_is_recorded_too(how: str, with_limits: Any) -> None:
    _check_trials(with_limits[0], how, *WITH_LIMITS[how])


def test_failed_trials_alone_fail_no_run(in_process: Any, with_limits: Any) -> None:
    for folder, done in (in_process, with_limits):
        assert done.returncode == 0, done.stderr[-3000:]
        assert set(package.load(folder / "r").runs.status) == {"ok"}


def test_nothing_that_a_trial_started_outlives_a_run_with_limits(with_limits: Any) -> None:
    folder, _ = with_limits
    lines = [orjson.loads(p.read_bytes().split(b"\n")[0]) for p in folder.glob("r/logs/*.jsonl")]
    assert lines
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        assert str(folder).encode() not in command
        if b"kept.append" in command:
            pytest.fail(f"{process.name} is still eating memory")


@pytest.mark.parametrize("how", OPTIMIZERS)
def test_an_optimizer_that_misbehaves_ends_its_run_only(how: str, optimizers: Any) -> None:
    status, error, n_trials = OPTIMIZERS[how]
    found = package.load(optimizers[0] / "r")
    run = found.runs[found.runs.optimizer == f"flaky-{how}"].iloc[0]
    assert (run.status, run.n_trials) == (status, n_trials)
    assert run.error.startswith(error)
    if status == "failed":
        assert "Traceback (most recent call last)" in run.error
    assert (found.trials[found.trials.run_id == run.run_id].status == "ok").all()


def test_the_last_lines_say_which_runs_failed_and_how_to_see_why(optimizers: Any) -> None:
    folder, done = optimizers
    assert done.returncode == 1
    failed = sum(status != "ok" for status, _, _ in OPTIMIZERS.values())
    assert f"{failed} failed: carps-like status r --failed" in done.stderr.splitlines()[-1]
    for how, (status, _, _) in OPTIMIZERS.items():  # each once, while it runs or at the end
        line = f"  {status}: flaky-{how} on flaky-nothing, seed 0:"
        assert done.stderr.count(line) == (status != "ok"), line
    shown = carps_like("status", "r", "--failed", cwd=folder)
    assert shown.returncode == 1
    assert shown.stdout.count("Traceback (most recent call last)") >= 8
    assert "flaky-segfault on flaky-nothing, seed 0: the worker process ended" in shown.stdout


def test_a_failed_run_stays_failed_until_it_is_forced(optimizers: Any) -> None:
    folder, _ = optimizers
    again = _grid(folder, "optimizer=flaky-raise,flaky-nothing", "task=flaky-nothing")
    assert again.returncode == 1
    assert "nothing left to do; 1 failed" in again.stderr
    alone = _grid(folder, "optimizer=flaky-nothing", "task=flaky-nothing")
    assert alone.returncode == 0


# --- on_failure=abort ---


def test_abort_ends_a_run_at_its_first_failed_trial() -> None:
    found = package.run("random", FlakyTask(how="nan"), trials=6, on_failure="abort")
    assert found.runs.status.tolist() == ["failed"]
    assert found.runs.error[0] == "trial 1 failed: objective loss is nan"
    assert found.trials.status.tolist() == ["ok", "failed"]


def test_abort_holds_for_a_run_that_was_cut_after_its_failed_trial(tmp_path: Path) -> None:
    task = {"_target_": "carps_like.testing.flaky.FlakyTask", "how": "nan"}
    chosen: dict[str, Any] = {"trials": 6, "on_failure": "abort", "results": tmp_path}
    package.run("random", task, **chosen)
    (log,) = tmp_path.glob("logs/*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))  # killed between the failed trial and the done line
    for table in tmp_path.glob("*.parquet"):
        table.unlink()
    found = package.run("random", task, **chosen)
    assert found.runs.error[0] == "trial 1 failed: objective loss is nan"
    assert found.trials.status.tolist() == ["ok", "failed"]


def test_the_traceback_of_a_live_optimizer_is_stored() -> None:
    found = package.run(FlakyOptimizer, FlakyTask(how="nothing"), options={"at": 1})
    assert found.runs.status.tolist() == ["failed"]
    assert "raises on two lines" in found.runs.error[0]
    assert len(found) == 1


# --- Ctrl-C ---


def _interrupt(folder: Path, *arguments: str, trials: int) -> subprocess.CompletedProcess[str]:
    """Start a command, send Ctrl-C to its group once ``trials`` trials are logged."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell that put the tests in the background has told them to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until = time.monotonic() + 100
        while time.monotonic() < until and process.poll() is None:
            logs = [p.read_bytes() for p in folder.glob("r/logs/*.jsonl")]
            if sum(log.count(b"\n[") for log in logs) >= trials:
                break
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)
    finally:
        if process.poll() is None:
            for pid in tree(process.pid):
                os.kill(pid, signal.SIGKILL)


def test_signals_that_come_together_stop_once_and_say_nothing() -> None:
    script = """
import os, signal
from carps_like.processes import STOPS, Stop, blocked, stop_on_signals
stop_on_signals()
try:
    with blocked(STOPS):
        for number in STOPS:
            os.kill(os.getpid(), number)
except Stop:
    for number in STOPS:
        os.kill(os.getpid(), number)
    print("stopped")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stopped\n", "")


def test_ctrl_c_stops_cleanly_and_the_same_command_continues(tmp_path: Path) -> None:
    options = {"how": "nothing", "share": 0.0, "seconds": 0.05, "counter": str(tmp_path / "count")}
    flaky(tmp_path / "own", "task", "slow", **options)
    arguments = ("run", "--config-dir", "own", "results=r", "optimizer=random", "task=slow")
    arguments += ("budget.trials=40",)
    stopped = _interrupt(tmp_path, *arguments, trials=5)
    assert stopped.returncode == 130
    assert "the same command continues" in stopped.stderr.splitlines()[-1]
    assert "Traceback" not in stopped.stderr
    before = package.load(tmp_path / "r")
    assert before.runs.status.tolist() == ["killed"]
    assert 5 <= len(before) < 40
    seen = carps_like("status", "r", cwd=tmp_path)
    assert "1 not finished" in seen.stdout
    done = carps_like(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = package.load(tmp_path / "r")
    assert after.runs.status.tolist() == ["ok"] and len(after) == 40
    assert after.trials.config.tolist()[: len(before)] == before.trials.config.tolist()
    evaluated = (tmp_path / "count").read_text().splitlines()
    assert 40 <= len(evaluated) <= 41  # the one that was being evaluated


def test_ctrl_c_ends_an_objective_that_hangs_without_a_limit(tmp_path: Path) -> None:
    flaky(tmp_path / "own", "task", "stuck", how="hang", share=0.5)
    stopped = _interrupt(
        tmp_path,
        *("run", "--config-dir", "own", "results=r", "optimizer=random", "task=stuck"),
        trials=1,
    )
    assert stopped.returncode == 130
    assert package.load(tmp_path / "r").runs.status.tolist() == ["killed"]


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optimizer=randm", "task=bbob-d02-f01-i01"], "optimizer 'randm'; did you mean 'random'"),
        (["optimizer=random", "task=bbob-d02-f01-i1"], "did you mean 'bbob-d02-f01-i"),
        (["optimizer=random"], "task"),
        (["task=bbob-d02-f01-i01"], "optimizer"),
        ([], "optimizer"),
        (["optimizer=cmaes", "task=yahpo-lcbench-167152-mo"], "takes one objective"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=0"], "budget.trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=-3"], "budget.trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=2.5"], "budget.trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=ten"], "budget.trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=inf"], "budget.trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.evaluations=inf"], "finite"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.evaluations=nan"], "evaluations"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget.trails=5"], "'trials'"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "+budget.trails=5"], "'trials'"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "bugdet.trials=5"], "'budget'"),
        (["optimizer=optuna-tpe", "task=bbob-d02-f01-i01", "optimizer.n_starup_trials=5"],
         "n_startup_trials"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "+optimizer.nope=5"], "'nope'"),
        (["-m", "optimizer=optuna-tpe,random", "task=bbob-d02-f01-i01",
          "optimizer.n_startup_trials=5"],
         "'optimizer.n_startup_trials' of 'random'; it has none"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "seed=-1"], "seed"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "seed=one"], "seed"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "seed=1.5"], "seed"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "seed=99999999999"], "seed"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "workers=0"], "workers"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "workers=two"], "workers"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "simulate.workers=0"], "simulate.workers"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "limits.trial_seconds=-1"], "trial_seconds"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "on_failure=maybe"], "on_failure"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "budget=5"], "budget"),
        (["optimizer=random,cmaes", "task=bbob-d02-f01-i01"], "-m"),
        (["-m", "optimizer=random", "task=glob(bbob-d99-*)"], "matches nothing"),
        (["-m", "optimizer=glob(nope*)", "task=bbob-d02-f01-i01"], "matches nothing"),
        (["-m", "optimizer=random", "task=bbob-d02-f01-i01", "seed=range(3,3)"], "seed"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "seed"], "seed"),
        (["study=dmo"], "'demo'"),
        (["study=nope.yaml"], "nope.yaml"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "data=nowhere"], "nowhere"),
        (["--config-dir", "nowhere", "optimizer=random", "task=bbob-d02-f01-i01"], "nowhere"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "name=../up"], "../up"),
        (["optimizer=random", "task=bbob-d02-f01-i01", "--nonsense"], "--nonsense"),
        (["--cfg", "job", "optimizer=random", "task=bbob-d02-f01-i01", "bugdet.trials=5"],
         "bugdet"),
    ],
    ids=lambda v: " ".join(v)[-60:] if isinstance(v, list) else "",
)  # fmt: skip
def test_a_bad_request_is_one_line(arguments: list[str], words: str, refused: Any) -> None:
    assert words in refused("run", *arguments)


def test_a_bad_request_leaves_no_results_folder(command: Command, tmp_path: Path) -> None:
    command("run", "optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=0", "results=r")
    command("run", "optimizer=random", "task=bbob-d02-f01-i01", "workers=0", "results=r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "did you mean 'run'"),
        (["status", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["compact", "nowhere"], "nowhere"),
        (["status", "."], "not a results folder"),
        (["tasks", "--collection", "bbb"], "'bbob'"),
        (["tasks", "--where", "dimenson < 3"], "'dimension'"),
        (["tasks", "--where", "__import__('os')"], "--where"),
        (["tasks", "--where", "'a' * 10000000000 == name"], "--where"),
        (["tasks", "--where", "not " * 5000 + "noisy"], "--where"),
        (["tasks", "--where", "name < 3"], "compared"),
        (["tasks", "--where", "kind == 'surogate'"], "did you mean 'surrogate'"),
        (["tasks", "--where", "type in ('mf', 'mfmo')"], "unknown type 'mfmo'"),
        (["tasks", "bbob-d04-*"], "did you mean 'bbob-d40"),
        (["tasks", "--data", "nowhere"], "nowhere"),
        (["task", "bbob-d02-f01-i99"], "bbob-d02-f01-i"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_a_bad_word_to_a_verb_is_one_line(arguments: list[str], words: str, refused: Any) -> None:
    assert words in refused(*arguments)


def test_a_data_folder_that_lacks_a_file_is_named_with_what_brings_it(
    refused: Any, tmp_path: Path
) -> None:
    (tmp_path / "data" / "iaml_ranger").mkdir(parents=True)
    line = refused("run", "optimizer=random", "task=yahpo-iaml_ranger-40981-bb", "data=data")
    assert "iaml_ranger" in line


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished folder, to be copied."""
    folder = tmp_path_factory.mktemp("results") / "r"
    package.run("random", "bbob-d02-f01-i01", trials=3, results=folder)
    return folder


@pytest.mark.parametrize("verb", ["report", "compact", "status"])
def test_a_folder_of_a_newer_schema_is_one_line(
    verb: str, results: Path, tmp_path: Path, refused: Any
) -> None:
    (tmp_path / "r" / "logs").mkdir(parents=True)
    (log,) = results.glob("logs/*.jsonl")
    text = log.read_text().replace('"schema":1', '"schema":2', 1)
    (tmp_path / "r" / "logs" / log.name).write_text(text)
    assert "schema version 2" in refused(verb, "r")


def test_running_on_a_folder_of_a_newer_schema_is_one_line(
    results: Path, tmp_path: Path, refused: Any
) -> None:
    (tmp_path / "r" / "logs").mkdir(parents=True)
    (log,) = results.glob("logs/*.jsonl")
    text = log.read_text().replace('"schema":1', '"schema":2', 1)
    (tmp_path / "r" / "logs" / log.name).write_text(text)
    line = refused("run", "optimizer=random", "task=bbob-d02-f01-i01", "results=r")
    assert "install a newer carps-like" in line


@pytest.mark.parametrize("table", ["runs", "trials"])
@pytest.mark.parametrize("verb", ["report", "compact"])
def test_a_corrupt_parquet_file_is_one_line(
    verb: str, table: str, results: Path, tmp_path: Path, refused: Any
) -> None:
    import shutil

    shutil.copytree(results, tmp_path / "r")
    path = tmp_path / "r" / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:-100] + b"x" * 100)
    line = refused(verb, "r")
    assert f"{table}.parquet is corrupt" in line and "carps-like compact r" in line
