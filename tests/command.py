"""The installed command, run as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "carps_like"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the project importable from any folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    env.pop("CARPS_LIKE_DATA", None)
    return env | more


def carps_like(*arguments: Any, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """``carps-like ARGUMENTS`` in ``cwd``; the completed process, not checked."""
    options.setdefault("env", environment())
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def write_config(folder: Path, group: str, name: str, **fields: Any) -> None:
    """``folder/group/name.yaml`` with the given fields, as a user would write it."""
    import yaml

    (folder / group).mkdir(parents=True, exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **fields}))


def flaky(folder: Path, group: str, name: str, **options: Any) -> None:
    """A misbehaving task or optimizer of the flaky kit as a config file of the user's own."""
    kind = {"task": "FlakyTask", "optimizer": "FlakyOptimizer"}[group]
    target = f"carps_like.testing.flaky.{kind}"
    write_config(folder, group, name, _target_=target, **options)
