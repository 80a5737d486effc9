"""Whatever ends processes, fills disks or turns clocks: no finished trial is lost, none changes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clusters import digests, own_tasks, slow

import carps_like
from carps_like.cli import main
from carps_like.processes import children_of, tree
from carps_like.store import Index

ENVIRONMENT = dict(os.environ, PYTHONHASHSEED="0", OMP_NUM_THREADS="1")


def study(folder: Path, seeds: int = 40, *more: str) -> list[str]:
    """A grid of 5 x ``seeds`` short runs."""
    tasks = "bbob-d02-f01-i01,bbob-d03-f08-i01,bbob-d05-f15-i01,bbob-d10-f21-i01,sbox-d02-f01-i01"
    words = ["-m", "optimizer=random", f"task={tasks}", f"seed=range(0,{seeds})"]
    return [*words, "budget.trials=30", f"results={folder}", *more]


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A `carps-like` of its own; ended with everything it started, whatever the test does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "carps_like", *argv],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        for pid in tree(process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


def until(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed") / "r"
    assert main(["run", *study(folder)]) == 0
    found = digests(folder)
    assert len(found) == 200
    return found


def trials_logged(folder: Path) -> int:
    return Index(folder).refresh().n_trials


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("n_kills", [25, pytest.param(200, marks=pytest.mark.soak)])
def test_random_kills_change_no_trajectory_and_take_no_finished_run(
    tmp_path: Path, undisturbed: dict[str, str], n_kills: int
) -> None:
    """kill -9 of workers at work and, one time in ten, of the main process.

    A study that is done before all kills are is done over (``force``). A run of it that kills
    meet three times at the same trial is recorded as out of memory, and that later round counts
    then; so it is looked at which executions have ended, and not which of them counts.
    """
    chance, out = random.Random(7), tmp_path / "r"
    kills, starts, rounds = 0, 0, 0
    ended: set[tuple[str, str]] = set()
    while kills < n_kills:
        starts += 1
        with started("run", *study(out, 40, "workers=2", f"force={rounds > 0}")) as process:
            seen = trials_logged(out)
            while kills < n_kills and (seen := _more_trials(process, out, seen)):
                time.sleep(chance.uniform(0.0, 0.05))
                main_one = chance.random() < 0.1
                victims = [process.pid] if main_one else children_of(process.pid)
                if victims and process.poll() is None:
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    kills += 1
            done = process.poll() is not None and process.returncode >= 0
            rounds += done
        now = _ended_ok(out)
        assert ended <= now, f"finished and then gone: {sorted(ended - now)}"
        ended = now
    while main(["run", *study(out)]) != 0:  # runs that kills were blamed on
        assert main(["retry", str(out)]) == 0
    assert digests(out) == undisturbed
    n_trials = trials_logged(out)
    print(f"{kills} kills, {starts} starts, {rounds} whole studies, {len(ended)} executions ended")
    print(f"{n_trials} trials logged for 6000 that count")


def _ended_ok(folder: Path) -> set[tuple[str, str]]:
    """Run and attempt of every execution that has ended well."""
    found = Index(folder).refresh().executions.values()
    return {(e.run_id, e.path.stem) for es in found for e in es if e.status == "ok"}


def _more_trials(process: subprocess.Popen[str], folder: Path, seen: int) -> int:
    """Wait until there are more trials than ``seen``: somebody is at work; 0 when all is over."""
    index = Index(folder)
    while process.poll() is None:
        n_trials = index.refresh().n_trials
        if n_trials > seen:
            return n_trials
        time.sleep(0.01)
    return 0


def test_a_plan_and_the_status_know_what_is_running_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = own_tasks(tmp_path / "conf", **{"own-slow": slow(0.3)})
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "task=own-slow"]
    words += ["seed=range(0,3)", "budget.trials=200", f"results={tmp_path / 'r'}"]
    with started("run", *words):
        until(lambda: (tmp_path / "r" / "logs").exists() and trials_logged(tmp_path / "r") > 2)
        capsys.readouterr()
        assert main(["plan", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["counts"] == {"running": 1, "new": 2}
        assert main(["status", str(tmp_path / "r"), "--json"]) == 0
        seen = json.loads(capsys.readouterr().out)
        assert seen["counts"] == {"running": 1, "waiting": 2} and seen["workers"] == 1

    def counts() -> dict[str, int]:
        capsys.readouterr()
        assert main(["status", str(tmp_path / "r"), "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out)["counts"])

    until(lambda: "running" not in counts())  # the worker was a grandchild: its end takes a moment
    assert counts() == {"not finished": 1, "waiting": 2}


def test_a_killed_main_process_takes_its_workers_along_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    with started("run", *study(out)) as process:
        until(lambda: (out / "logs").exists() and trials_logged(out) > 300)
        workers = children_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}/maps").exists() for pid in workers))
    before = digests(out)
    assert 0 < len(before) < 200
    assert main(["run", *study(out)]) == 0
    assert digests(out) == undisturbed


def test_two_plans_at_once_on_one_folder_do_everything_and_disturb_nothing(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    with started("run", *study(out, 30)) as one, started("run", *study(out, 40)) as two:
        assert two.wait(300) == 0 and one.wait(300) == 0
    # how many runs both did is a matter of timing: they are shorter than a look at each other
    assert digests(out) == undisturbed


def test_what_was_done_before_a_second_plan_is_not_done_again(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    with started("run", *study(out, 30)) as one:
        until(lambda: (out / "logs").exists() and len(_ended_ok(out)) >= 50)
        done = {run for run, _ in _ended_ok(out)}
        with started("run", *study(out, 40)) as two:
            assert two.wait(300) == 0 and one.wait(300) == 0
    assert digests(out) == undisturbed
    executions = Index(out).refresh().executions
    assert len(executions) == 200
    assert not {run for run in done if sum(e.finished for e in executions[run]) > 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_study_goes_on_when_there_is_room(
    small_disk: Path, capfd: pytest.CaptureFixture[str], undisturbed: dict[str, str]
) -> None:
    out = small_disk / "r"
    assert main(["run", *study(out)]) == 2
    error = capfd.readouterr().err
    assert "No space left on device" in error and "Traceback" not in error
    before = digests(out)
    assert 0 < len(before) < 200
    assert all(undisturbed[run_id] == digest for run_id, digest in before.items())
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert main(["run", *study(out)]) == 0
    assert digests(out) == undisturbed


def test_a_folder_that_becomes_read_only_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    conf = own_tasks(tmp_path / "conf", **{"own-slow": slow(0.02)})
    out = tmp_path / "r"
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "task=own-slow"]
    words += ["seed=range(0,6)", "budget.trials=25", f"results={out}"]
    with started("run", *words) as process:
        until(lambda: (out / "logs").exists() and trials_logged(out) > 40)
        # holds for root too; a mount cannot be made read-only while files of it are written to
        if subprocess.run(["chattr", "-R", "+i", str(out)], capture_output=True).returncode:
            pytest.skip("this file system has no immutable folders (chattr +i)")
        try:
            code = process.wait(60)
        finally:
            subprocess.run(["chattr", "-R", "-i", str(out)], check=True)
        assert process.stderr is not None
        error = process.stderr.read()
    before = digests(out)
    assert code == 2 and "not permitted" in error and "Traceback" not in error
    assert 0 < len(before) < 6 and trials_logged(out) > 40
    assert main(["run", *words]) == 0
    after = digests(out)
    assert len(after) == 6 and all(after[run_id] == d for run_id, d in before.items())


def test_a_folder_without_permission_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main(["run", *study(tmp_path / "file" / "r", 1)]) == 2
    error = capfd.readouterr().err
    assert "cannot" in error and str(tmp_path / "file") in error and "Traceback" not in error


def test_jumps_of_the_wall_clock_change_no_trajectory_and_lose_nothing(
    tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock is text in the logs: runs that ended 'before they began' count the same."""
    from datetime import datetime, timedelta

    from carps_like import log, plan
    from carps_like.worker import Job, Worker

    chance, out = random.Random(3), tmp_path / "r"

    def jumping() -> str:
        shift = timedelta(days=chance.uniform(-4000, 4000))
        return (datetime.now().astimezone() + shift).isoformat(timespec="microseconds")

    monkeypatch.setattr(log, "now", jumping)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(0, 4e9))
    words = [*study(out), "executor=slurm", "executor.script_only=true", "executor.array=4"]
    assert main(["submit", *words]) == 0
    chunks = len(plan.read_generation(out, 0))
    workers = [threading.Thread(target=Worker(Job(out, 0)).work) for _ in range(1)]
    for worker in workers:
        worker.start()
        worker.join()
    assert chunks > 4 and digests(out) == undisturbed
    monkeypatch.undo()
    assert main(["run", *study(out)]) == 0
    assert len(carps_like.load(out).runs) == 200
