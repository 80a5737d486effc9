"""The batch script that `carps-like submit` writes; no cluster is needed to write it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from carps_like.cli import main
from carps_like.errors import BadValue, UnknownName
from carps_like.executors.slurm import Slurm, script

STUDY = ["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=5", "executor=slurm"]


def test_the_script_stays_next_to_the_results_and_does_the_work_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "r"
    words = ["-m", *STUDY, "seed=range(0,3)", "executor.script_only=true", f"results={out}"]
    assert main(["submit", *words]) == 0
    path = out / "slurm" / "g000.sh"
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    # what SLURM does with it, without SLURM
    env = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1]))
    assert subprocess.run(["bash", str(path)], env=env, timeout=120).returncode == 0
    assert main(["status", str(out)]) == 0
    assert main(["plan", *words[:-2], f"results={out}", "--summary"]) == 0


def test_without_sbatch_the_message_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", *STUDY, f"results={tmp_path / 'r'}"]) == 2
    assert "executor.script_only=true" in capsys.readouterr().err


def test_run_does_not_pretend_to_submit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *STUDY]) == 2
    assert "carps-like submit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("04:00:00", 14400), (90, 5400), ("90", 5400), ("90:30", 5430),
        ("1-12", 129600), ("1-12:30", 131400), ("2-00:00:10", 172810),
    ],
)  # fmt: skip
def test_times_are_read_as_slurm_reads_them(time: str | int, seconds: int) -> None:
    assert Slurm(time=time).seconds == seconds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("array", 0), ("array", "many"), ("time", "soon"), ("time", 1), ("memory_mb", -1),
        ("partition", "a b"), ("partition", "a\n#SBATCH --x"), ("options", ["rm -rf"]),
        ("options", ["--x\ntouch /tmp/y"]), ("max_running", 0), ("cpus", True),
    ],
)  # fmt: skip
def test_a_wrong_field_of_the_executor_is_named(field: str, value: object) -> None:
    with pytest.raises(BadValue, match=rf"executor\.{field}"):
        Slurm.of({"name": "slurm", field: value})


def test_an_unknown_field_of_the_executor_has_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="'partition'"):
        Slurm.of({"name": "slurm", "partitoin": "main"})


def test_odd_paths_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "it's 100% $(touch x) `y`"
    folder.mkdir()
    text = script(Slurm(), folder, 0, 2, about="x", paths=["/a b/$(touch z)"])
    body = text.partition("exec ")[2]
    argv = subprocess.run(
        ["bash", "-c", f"set -- {body}\nprintf '%s\\n' \"$@\""], capture_output=True, text=True
    ).stdout.splitlines()
    assert str(folder) in argv and "/a b/$(touch z)" in argv
    assert "100%% " in text.partition("--output=")[2].splitlines()[0]
