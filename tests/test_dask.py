"""The same workers through Dask: a real cluster of processes, of which one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from clusters import apart, digests, own_tasks, slow

from carps_like.cli import main
from carps_like.store import Index

distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")


def grid(conf: Path, folder: Path) -> list[str]:
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "task=own-slow"]
    return [*words, "seed=range(0,12)", "budget.trials=20", f"results={folder}"]


def test_a_lost_dask_worker_loses_nothing(tmp_path: Path) -> None:
    conf = own_tasks(tmp_path / "conf", **{"own-slow": slow(0.05)})
    here, there = tmp_path / "here", tmp_path / "there"
    assert main(["run", *grid(conf, here), "workers=2"]) == 0
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    killed = []

    def kill_one() -> None:
        while not (there / "logs").is_dir() or Index(there).refresh().n_trials < 20:
            time.sleep(0.05)
        nanny = next(iter(cluster.workers.values()))
        killed.append(nanny.pid)
        os.kill(nanny.pid, signal.SIGKILL)

    with cluster:
        killer = threading.Thread(target=kill_one)
        killer.start()
        words = ["executor=dask", f"executor.address={cluster.scheduler_address}"]
        assert main(["run", *grid(conf, there), *words]) == 0
        killer.join()
    assert killed and digests(there) == digests(here)


def test_without_an_address_a_cluster_is_started_here(tmp_path: Path) -> None:
    words = ["-m", "optimizer=random", "task=bbob-d02-f01-i01", "seed=range(0,4)"]
    words += ["budget.trials=5", "executor=dask", f"results={tmp_path}"]
    assert main(["submit", *words]) == 0
    assert len(digests(tmp_path)) == 4


def test_an_optimizer_with_an_interpreter_of_its_own_works_through_dask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path / "environments"))
    words = ["--config-dir", str(apart(tmp_path / "conf")), "-m", "optimizer=apart"]
    words += ["task=bbob-d02-f01-i01", "seed=range(0,3)", "budget.trials=10"]
    assert main(["run", *words, "executor=dask", f"results={tmp_path / 'there'}"]) == 0
    assert main(["run", *words, f"results={tmp_path / 'here'}"]) == 0
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


def test_an_address_where_nothing_answers_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["optimizer=random", "task=bbob-d02-f01-i01", "executor=dask", f"results={tmp_path}"]
    for address in ("nonsense://x", "tcp://127.0.0.1:1"):
        assert main(["run", *words, f"executor.address={address}"]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("carps-like: no Dask scheduler") and address in error
