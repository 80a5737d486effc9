"""Fixtures of the tests that go through the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import carps_like

# one thread per process, as in the runner's workers: read when numpy and torch are first imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# what a user has built at home is neither used nor touched
os.environ.setdefault("CARPS_LIKE_ENVS", str(Path(sys.prefix) / "optimizer-environments"))

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``carps-like ARGUMENTS`` in an empty folder; the completed process."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        return carps_like(*arguments, **{"cwd": tmp_path, **options})

    return run


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """The one line of a command that must be refused: exit code 2, nothing else printed."""

    def run(*arguments: Any, **options: Any) -> str:
        done = command(*arguments, **options)
        assert done.returncode == 2, done
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("carps-like: ")
        return lines[0]

    return run


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A worker that ran in this process leaves its signal handlers to no other test."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
