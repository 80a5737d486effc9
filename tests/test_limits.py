"""Limits on whole runs hold whatever the code does, and leave a record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clusters import own_tasks

import carps_like
from carps_like.cli import main
from carps_like.limits import cgroup
from carps_like.log import process_start

LIMITS = {
    "hangs": ("limits.run_seconds=3", "timeout", "more than 3 s"),
    "forks": ("limits.run_seconds=5", "timeout", "more than 5 s"),
    "allocates": ("limits.run_memory_mb=200", "out_of_memory", "more than 200 MB"),
}


@pytest.mark.parametrize("how", LIMITS)
def test_a_run_that_ignores_signals_and_breaks_a_limit_is_ended_and_recorded(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    limit, status, words = LIMITS[how]
    note = tmp_path / "grandchild"
    text = f"name: own-{how}\n_target_: own_tasks.Stubborn\nhow: {how}\nnote: {note}\n"
    conf = own_tasks(tmp_path / "conf", **{f"own-{how}": text})
    out = tmp_path / "results"
    request = ["--config-dir", str(conf), "-m", "optimizer=random", f"results={out}", limit]
    code = main(["run", *request, f"task=own-{how},bbob-d02-f01-i01", "budget.trials=3"])
    assert code == 1
    assert "limits on runs are held by" in capsys.readouterr().err  # what is used is said
    runs = carps_like.load(out).runs.set_index("task")
    assert runs.loc[f"own-{how}", "status"] == status
    assert words in str(runs.loc[f"own-{how}", "error"])
    assert runs.loc["bbob-d02-f01-i01", "status"] == "ok"  # its neighbour goes on
    if how == "forks":
        assert process_start(int(note.read_text())) == 0  # gone


def test_a_limit_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    request = ["run", "optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=20"]
    assert main([*request, f"results={tmp_path / 'a'}"]) == 0
    limits = ["limits.run_seconds=60", "limits.run_memory_mb=2000"]
    assert main([*request, f"results={tmp_path / 'b'}", *limits]) == 0
    a, b = (carps_like.load(tmp_path / name).trials for name in "ab")
    assert list(a["value"]) == list(b["value"]) and list(a["run_id"]) == list(b["run_id"])


def test_a_cgroup_ends_what_is_in_it() -> None:
    group = cgroup("test")
    if group is None:
        pytest.skip("no cgroup v2 with the memory controller that can be written to")
    child = os.fork()
    if child == 0:
        os.execvp("sleep", ["sleep", "60"])
    group.add(child)
    group.kill()
    assert os.waitpid(child, 0)[1] == 9
    group.remove()
    assert not group.path.exists()
