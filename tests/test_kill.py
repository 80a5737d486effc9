"""kill -9 at random moments: nothing finished is lost or done again, and the end is the same."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import orjson
import pandas as pd
import pytest
from command import COMMAND, carps_like, environment, flaky

import carps_like as package
from carps_like.processes import children_of
from carps_like.store import Index, trial_lines

KILLS = 20
TRIALS, SEEDS = 30, 6
ARGUMENTS = ["run", "-m", "--config-dir", "own", "results=r", "workers=2"]
ARGUMENTS += ["optimizer=random,optuna-tpe", "task=slow", f"seed=range(0,{SEEDS})"]
ARGUMENTS += [f"budget.trials={TRIALS}", "simulate.workers=2"]
RUNS = 2 * SEEDS
NOT_DETERMINISTIC = {
    "runs": ["started", "ended", "attempt"],
    "trials": ["ask_seconds", "evaluate_seconds"],
}


def _folder(folder: Path) -> Path:
    options = {"how": "nan", "share": 0.1, "seconds": 0.02}
    flaky(folder / "own", "task", "slow", **options, counter=str(folder / "evaluations"))
    return folder


def _lines(folder: Path) -> int:
    return sum(p.read_bytes().count(b"\n[") for p in folder.glob("r/logs/*.jsonl"))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _finished(folder: Path) -> set[str]:
    """The evaluations whose trials are in the logs, as the task writes them down."""
    from carps_like.engine import trial_seed

    done = set()
    for executions in Index(folder / "r").refresh().executions.values():
        for execution in executions:
            seed = execution.header["spec"]["seed"]
            for line in trial_lines(execution):
                number, _, config = orjson.loads(line)[:3]
                done.add(f"slow {trial_seed(seed, number)} {config[0]!r}")
    return done


def _evaluations(folder: Path) -> list[str]:
    path = folder / "evaluations"
    return path.read_text().splitlines() if path.exists() else []


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    found = package.load(folder / "r")
    return {
        name: getattr(found, name).drop(columns=columns)
        for name, columns in NOT_DETERMINISTIC.items()
    }


@pytest.mark.slow
def test_a_grid_that_is_killed_twenty_times_ends_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    dice = random.Random(20)
    folder, quiet = _folder(tmp_path / "killed"), _folder(tmp_path / "quiet")
    process: subprocess.Popen[bytes] | None = None
    repeated: list[str] = []
    kills: Counter[str] = Counter()
    try:
        while kills.total() < KILLS:
            if process is None or process.poll() is not None:
                assert process is None or process.returncode < 0, "done before all kills"
                finished, seen = _finished(folder), len(_evaluations(folder))
                process = subprocess.Popen(
                    [*COMMAND, *ARGUMENTS],
                    cwd=folder,
                    env=environment(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            before, until = len(_evaluations(folder)), time.monotonic() + 120
            while len(_evaluations(folder)) == before and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(dice.random() * 0.1)
            workers = children_of(process.pid)
            if kills.total() % 3 == 2 or not workers:
                _kill(process.pid)
                process.wait()
                kills["main"] += 1
                _wait_for(workers)
                repeated += [e for e in _evaluations(folder)[seen:] if e in finished]
            else:
                _kill(dice.choice(workers))
                kills["worker"] += 1
    finally:
        if process is not None:
            for pid in (process.pid, *children_of(process.pid)):
                _kill(pid)
            process.wait()
    assert kills["main"] >= 5 and kills["worker"] >= 10
    assert repeated == []

    done = carps_like(*ARGUMENTS, cwd=folder)
    assert done.returncode == 0, done.stderr
    undisturbed = carps_like(*ARGUMENTS, cwd=quiet)
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected, found = _tables(quiet), _tables(folder)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(_ours(found[name], folder), _ours(table, quiet))
    assert len(expected["trials"]) == RUNS * TRIALS

    count = Counter(_evaluations(folder))
    assert set(count) == set(_evaluations(quiet))
    # only what was being evaluated when its process died was evaluated again
    assert sum(count.values()) - len(count) <= 2 * KILLS
    assert Counter(_evaluations(quiet)).most_common(1)[0][1] == 1


def _ours(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Without the name of the folder, which the task's counter carries into its identity."""
    table = table.drop(columns=["run_id"])
    if "dimension" in table:
        table["config"] = table.config.astype(str).str.replace(str(folder), "")
    return table.reset_index(drop=True)


def _wait_for(workers: list[int]) -> None:
    """Workers end with their parent; the kernel sees to it."""
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.01)
