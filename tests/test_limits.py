"""Limits on whole runs hold whatever the code does, and leave a record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import own_tasks

import carps_like
from carps_like import limits
from carps_like.cli import main
from carps_like.limits import Cgroup, Warden, cgroup
from carps_like.processes import process_start

LIMITS = {
    "hangs": ("limits.run_seconds=8", "timeout", "more than 8 s"),
    "forks": ("limits.run_seconds=8", "timeout", "more than 8 s"),
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


def leaves(folder: Path, how: str, note: Path, **more: str) -> list[str]:
    """The words for three runs of a task that leaves something behind, and one that does not."""
    options = "".join(f"{key}: {value}\n" for key, value in more.items())
    text = f"name: own-{how}\n_target_: own_tasks.Leaves\nhow: {how}\nnote: {note}\n{options}"
    conf = own_tasks(folder / "conf", **{f"own-{how}": text})
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "budget.trials=3"]
    return [*words, f"task=own-{how},bbob-d02-f01-i01", f"results={folder / 'r'}"]


@pytest.mark.parametrize("how", ["daemon", "orphan"])
def test_what_a_run_leaves_running_ends_with_it_though_there_is_no_limit(
    tmp_path: Path, how: str
) -> None:
    note = tmp_path / "grandchild"
    assert main(["run", *leaves(tmp_path, how, note)]) == 0
    assert process_start(int(note.read_text())) == 0


@pytest.mark.parametrize("code", [75, 0, 2])
def test_an_objective_that_ends_its_process_is_a_crash_whatever_its_exit_code(
    tmp_path: Path, code: int
) -> None:
    words = leaves(tmp_path, f"exits{code}", tmp_path / "note")
    assert main(["run", *words]) == 0  # the trials have failed, the run has not
    trials = carps_like.load(tmp_path / "r").trials
    own = trials[trials["task"] == f"own-exits{code}"]
    assert list(own["status"]) == ["crashed"] * 3
    assert own["error"].str.contains(f"exit code {code}").all()
    assert list(trials.loc[trials["task"] == "bbob-d02-f01-i01", "status"]) == ["ok"] * 3
    assert main(["run", *words]) == 0  # nothing is left to do
    assert len(carps_like.load(tmp_path / "r").trials) == 6


@pytest.mark.parametrize(
    ("how", "limit", "status"),
    [
        ("exits75", "limits.run_seconds=300", "crashed"),
        ("hangs", "limits.run_seconds=12", "timeout"),
    ],
)
def test_a_task_that_cannot_even_be_built_is_a_record_and_its_neighbour_goes_on(
    tmp_path: Path, how: str, limit: str, status: str
) -> None:
    words = leaves(tmp_path, how, tmp_path / "note", at="build")
    assert main(["run", *words, limit]) == 1
    runs = carps_like.load(tmp_path / "r").runs.set_index("task")
    assert runs.loc[f"own-{how}", "status"] == status
    assert "before its task was built" in str(runs.loc[f"own-{how}", "error"])
    assert runs.loc["bbob-d02-f01-i01", "status"] == "ok"
    assert main(["status", str(tmp_path / "r")]) == 1
    assert main(["report", str(tmp_path / "r")]) == 0


def test_a_limit_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    request = ["run", "optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=20"]
    assert main([*request, f"results={tmp_path / 'a'}"]) == 0
    far = ["limits.run_seconds=60", "limits.run_memory_mb=2000"]
    assert main([*request, f"results={tmp_path / 'b'}", *far]) == 0
    a, b = (carps_like.load(tmp_path / name).trials for name in "ab")
    assert list(a["value"]) == list(b["value"]) and list(a["run_id"]) == list(b["run_id"])


@pytest.fixture
def group() -> Iterator[Cgroup]:
    """A control group of the kernel's own; `scripts/cgroup_v2.sh` has one anywhere."""
    made = cgroup("test")
    if made is None:
        pytest.skip("no cgroup v2 with the memory controller that can be written to")
    yield made
    made.kill()
    made.remove()
    assert not made.path.exists()


def test_a_cgroup_ends_what_is_in_it(group: Cgroup) -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", "60"])
    group.add(child)
    group.kill()
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_the_kernel_holds_the_memory_limit_of_a_cgroup(group: Cgroup) -> None:
    code = "import sys; sys.stdin.read(1); x = b'1' * (400 << 20)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE) as child:
        group.add(child.pid)
        group.allow(100)
        assert not group.out_of_memory()
        child.communicate(b"x")
    assert child.returncode == -signal.SIGKILL and group.out_of_memory()


def test_a_run_that_the_kernel_ended_over_its_memory_is_recorded(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watching process is blind here, so that only the kernel can have been the one."""
    monkeypatch.setattr(Warden, "_used", lambda self: 0.0)
    text = "name: own-allocates\n_target_: own_tasks.Stubborn\nhow: allocates\n"
    conf = own_tasks(tmp_path / "conf", **{"own-allocates": text})
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "limits.run_memory_mb=200"]
    words += ["task=own-allocates,bbob-d02-f01-i01", "budget.trials=3", f"results={tmp_path / 'r'}"]
    assert main(["run", *words]) == 1
    runs = carps_like.load(tmp_path / "r").runs.set_index("task")
    assert runs.loc["own-allocates", "status"] == "out_of_memory"
    assert "more than 200 MB" in str(runs.loc["own-allocates", "error"])
    assert runs.loc["bbob-d02-f01-i01", "status"] == "ok"


@pytest.mark.parametrize(
    ("layout", "found"),
    [
        ("v1 only", False), ("v2", True), ("v2 without memory", False), ("hybrid", False),
        ("v2, not ours", False),
    ],
)  # fmt: skip
def test_which_hierarchies_are_used_on_a_made_up_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, found: bool
) -> None:
    """Detection only: these are plain files, no kernel stands behind them."""
    own = tmp_path / "fs" / "user.slice" / "me"
    own.mkdir(parents=True)
    lines = "4:memory:/x\n1:name=systemd:/\n"
    lines += "" if layout == "v1 only" else "0::/user.slice/me\n"
    (tmp_path / "proc").write_text(lines)
    if layout.startswith("v2"):
        (own / "cgroup.controllers").write_text(
            "cpu pids\n" if layout == "v2 without memory" else "cpu memory pids\n"
        )
        (own / "cgroup.subtree_control").write_text("")
    if layout == "v2, not ours":
        (own / "carps-like-main").write_text("a file where the folder would be made")
    monkeypatch.setattr(limits, "_OF_THIS_PROCESS", tmp_path / "proc")
    monkeypatch.setattr(limits, "_MOUNTED", tmp_path / "fs")
    if layout == "v2":  # the kernel would make this file with the group
        (own / "carps-like-main").mkdir()
    assert (limits._parent() == own) is found
    assert ("cgroup v2" in limits.means()) is found
    if found:
        assert (own / "cgroup.subtree_control").read_text() == "+memory"
        assert (own / "carps-like-main" / "cgroup.procs").read_text() == str(os.getpid())
