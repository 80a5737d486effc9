"""Verbs on results folders: status, retry, merge; claims and heartbeats underneath."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import digests, own_tasks
from command import carps_like as carps_like_command
from command import environment

import carps_like
from carps_like.cli import main
from carps_like.heartbeat import DEAD, Beat, Watch
from carps_like.plan import claim, claimed, holders
from carps_like.store import Index

FAILING = """
from ConfigSpace import ConfigurationSpace, Float
from carps_like import Task, describe
from pathlib import Path

class Failing(Task):
    def __init__(self, marker):
        space = ConfigurationSpace()
        space.add(Float("x", (0, 1)))
        self.marker = marker
        self.description = describe("own-failing", space)

    def compute(self, config, fidelity, seed, state):
        if not Path(self.marker).exists():
            raise ValueError("the licence server is away")
        return {"value": config["x"]}
"""


def run(folder: Path, *words: str, trials: int = 5) -> int:
    return main(["run", *words, f"budget.trials={trials}", f"results={folder}"])


GRID = ("-m", "optimizer=random", "task=bbob-d02-f01-i01", "seed=range(0,4)")


def status(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    capsys.readouterr()
    main(["status", *argv, "--json"])
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


CHATTY = """
import logging, warnings
from ConfigSpace import ConfigurationSpace, Float
from carps_like import Task, describe

class Chatty(Task):
    def __init__(self):
        space = ConfigurationSpace()
        space.add(Float("x", (0, 1)))
        self.description = describe("own-chatty", space)

    def compute(self, config, fidelity, seed, state):
        warnings.warn("this library is being renamed")
        logging.getLogger("a.library").warning("no low-cost point given")
        return {"value": config["x"]}
"""


def test_what_libraries_log_and_warn_stands_beside_the_log_and_not_on_the_terminal(
    tmp_path: Path,
) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    own = tmp_path / "own" / "task"
    own.mkdir(parents=True)
    (own / "chatty.yaml").write_text("name: own-chatty\n_target_: chatty.Chatty\n")
    words = ["run", "--config-dir", "own", "optimizer=random", "task=chatty", "budget.trials=2"]
    done = carps_like_command(*words, "results=r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "renamed" not in done.stderr and "low-cost" not in done.stderr
    [log] = (tmp_path / "r" / "logs").glob("*.txt")
    run_id = carps_like.load(tmp_path / "r").runs["run_id"].iloc[0]
    lines = log.read_text().splitlines()
    assert sum("no low-cost point given" in line for line in lines) == 2
    assert any("renamed" in line for line in lines)
    assert all(run_id in line for line in lines if "low-cost" in line)


def test_status_counts_what_is_planned_and_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*GRID, "budget.trials=5", f"results={tmp_path / 'r'}"]
    words += ["executor=slurm", "executor.script_only=true"]
    assert main(["submit", *words]) == 0
    data = status(capsys, str(tmp_path / "r"))
    assert data["counts"] == {"waiting": 4} and data["workers"] == 0
    assert run(tmp_path / "r", *GRID) == 0
    data = status(capsys, str(tmp_path / "r"))
    assert data["counts"] == {"ok": 4} and data["seconds_left"] == 0


def test_status_watches_until_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "r", *GRID) == 0
    capsys.readouterr()
    assert main(["status", str(tmp_path / "r"), "--watch", "0.1"]) == 0
    assert "4/4 runs, 20 trials, 0 workers" in capsys.readouterr().out


def test_retry_does_failed_runs_again_and_keeps_the_earlier_attempt(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "marker"
    text = f"name: own-failing\n_target_: failing.Failing\nmarker: {marker}\n"
    conf = own_tasks(tmp_path / "conf", **{"own-failing": text})
    (conf / "failing.py").write_text(FAILING)
    out = tmp_path / "r"
    words = ["--config-dir", str(conf), "optimizer=random", "task=own-failing"]
    assert run(out, *words, "on_failure=abort") == 1
    (failed,) = carps_like.load(out).runs.itertuples()
    assert failed.status == "failed" and "licence server" in failed.error

    capfd.readouterr()
    assert main(["retry", str(out), "--status", "timeout"]) == 0
    assert "no runs with status timeout" in capfd.readouterr().out
    assert main(["retry", str(out), "--status", "tiemout"]) == 2
    assert capfd.readouterr().err.endswith("did you mean 'timeout'?\n")

    marker.touch()
    assert main(["retry", str(out), "--status", "failed"]) == 2  # its class was not trusted
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("if it is yours, add --trust failing.Failing")
    trust = ["--trust", "failing.Failing"]
    # limits bring a watcher of their own, which a worker that cannot begin must not trip over
    assert main(["retry", str(out), *trust, "limits.run_seconds=60"]) == 2
    assert "there is no module 'failing'" in capfd.readouterr().err
    assert main(["retry", str(out), *trust, "--config-dir", str(conf)]) == 0
    (again,) = carps_like.load(out).runs.itertuples()
    assert (again.status, again.round, again.run_id) == ("ok", 1, failed.run_id)
    rounds = [e.round for e in Index(out).refresh().executions[failed.run_id]]
    assert 0 in rounds and 1 in rounds


def test_merging_joins_what_several_machines_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    assert run(a, "-m", *GRID[1:3], "seed=0,1,2") == 0
    assert run(b, "-m", *GRID[1:3], "seed=2,3,4") == 0
    before = {**digests(a), **digests(b)}
    assert main(["merge", str(a), str(b), "-o", str(c)]) == 0
    assert "5 runs" in capsys.readouterr().out
    assert digests(c) == before
    assert len(carps_like.load(a, b)) == len(carps_like.load(c)) == 25
    assert main(["merge", str(a), "-o", str(c)]) == 2  # never into something
    # a merged folder goes on like any other
    assert run(c, "-m", *GRID[1:3], "seed=range(0,6)") == 0
    assert len(digests(c)) == 6


def test_merging_keeps_the_first_finished_and_prefers_ok(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    assert run(a, "-m", *GRID[1:3], "seed=0") == 0
    assert run(b, "-m", *GRID[1:3], "seed=0") == 0
    first = carps_like.load(a).runs["attempt"].iloc[0]
    assert main(["merge", str(b), str(a), "-o", str(c)]) == 0
    assert list(carps_like.load(c).runs["attempt"]) == [first]


def test_merging_takes_folders_of_which_only_the_tables_are_left(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    assert run(a, "-m", *GRID[1:3], "seed=0,1") == 0
    assert run(b, "-m", *GRID[1:3], "seed=1,2") == 0
    before = {**digests(a), **digests(b)}
    shutil.rmtree(b / "logs")
    assert main(["merge", str(a), str(b), "-o", str(c)]) == 0
    assert digests(c) == before


def test_merging_refuses_two_logs_of_one_name_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    assert run(a, "-m", *GRID[1:3], "seed=0") == 0
    shutil.copytree(a, b)
    (log,) = (b / "logs").glob("*.jsonl")
    log.write_bytes(log.read_bytes().replace(b'"seed":0', b'"seed":1'))
    assert main(["merge", str(a), str(b), "-o", str(tmp_path / "c")]) == 2
    assert "differs from the log of the same name" in capsys.readouterr().err


def test_a_chunk_is_claimed_once_and_can_be_taken_over_once(tmp_path: Path) -> None:
    assert claim(tmp_path, 0, 7, "first") and not claim(tmp_path, 0, 7, "second")
    assert claim(tmp_path, 1, 7, "second")  # claims belong to a generation
    assert claimed(tmp_path, 0) == {7} and holders(tmp_path, 0) == {7: (0, "first")}
    assert claim(tmp_path, 0, 7, "second", 1) and not claim(tmp_path, 0, 7, "third", 1)
    assert holders(tmp_path, 0) == {7: (1, "second")} and claimed(tmp_path, 0) == {7}


def test_a_worker_lives_as_long_as_its_number_moves_on_the_readers_clock(tmp_path: Path) -> None:
    now = [1000.0]
    beat, watch = Beat(tmp_path), Watch(tmp_path, lambda: now[0])
    assert watch.alive("nobody") is False
    beat.write("w")
    assert watch.alive("w") is None  # nobody can know at the first look
    beat(["w"])
    assert watch.alive("w") is True
    now[0] += DEAD + 1
    assert watch.alive("w") is False
    (tmp_path / "heartbeats" / "w").write_text("99")  # a clock of another year does not matter
    assert watch.alive("w") is True
    beat.end("w")
    assert watch.alive("w") is False


def test_status_watches_an_array_that_has_not_started_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=3"]
    out = tmp_path / "r"
    script = ["executor=slurm", "executor.script_only=true", f"results={out}"]
    assert main(["submit", *words, *script]) == 0

    def start() -> None:
        time.sleep(1)
        subprocess.run(["bash", str(out / "slurm" / "g000.sh")], env=environment(), check=True)

    job = threading.Thread(target=start)
    job.start()
    assert main(["status", "--watch", "0.2", str(out)]) == 0
    job.join()
    lines = capsys.readouterr().out.splitlines()
    assert "no worker has started yet" in next(line for line in lines if "0/1 runs" in line)
    assert lines[-1].split() == ["1", "ok"]


def test_options_may_stand_between_other_words(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    words = ["optimizer=random", "--config-dir", str(tmp_path / "conf"), "task=bbob-d02-f01-i01"]
    words += ["budget.trials=3", f"results={tmp_path / 'r'}"]
    assert main(["plan", *words]) == 0 and main(["run", *words]) == 0
    assert main(["retry", str(tmp_path / "r"), "--status", "timeout", "workers=2"]) == 0
    assert main(["status", "--watch", str(tmp_path / "r")]) == 0
