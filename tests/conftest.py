"""What the tests share: the installed command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the project importable from any folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), **more)
    env.pop("CARPS_LIKE_DATA", None)
    return env


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``carps-like ARGUMENTS`` in an empty folder; the completed process."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("cwd", tmp_path)
        options.setdefault("env", environment())
        return subprocess.run(
            [sys.executable, "-m", "carps_like", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            **options,
        )

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
