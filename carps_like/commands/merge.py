"""``carps-like merge``: one results folder from those of several machines."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from carps_like.cli import OK
from carps_like.commands.arguments import Arguments
from carps_like.errors import BadRequest, BadResults
from carps_like.results import load, write_tables
from carps_like.store import LOGS, Index, check_results

RULE = (
    "Where several folders hold the same run, a finished execution beats an unfinished one, a "
    "later round (--force, retry) an earlier one, ok a failure; then the one that ended first."
)


def main(argv: Sequence[str]) -> int:
    """Join results; the folders that are joined stay as they are."""
    parser = Arguments(
        prog="carps-like merge", description="Join results folders into a new one.", epilog=RULE
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder")
    given = parser.parse_intermixed_args(argv)
    n_runs, n_twice = merge(given.results, given.output)
    print(f"{given.output}: {n_runs} runs from {len(given.results)} folders", end="")
    print(f", {n_twice} of them in several: {RULE}" if n_twice else "")
    return OK


def merge(folders: Sequence[Path], output: Path) -> tuple[int, int]:
    """Write logs and tables of all ``folders`` to ``output``; see :data:`RULE` for conflicts.

    Returns:
        Number of runs, and how many of them stood in more than one folder.

    Raises:
        BadResults: a folder holds no results, or two hold different logs of the same name.
        BadRequest: ``output`` is there and not empty.
    """
    check_results(folders)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadRequest(f"{str(output)!r} is there already: choose a new folder for -o")
    parts = [load(folder) for folder in folders]
    joined = load(*folders)
    (output / LOGS).mkdir(parents=True, exist_ok=True)
    for folder in folders:
        for log in sorted((folder / LOGS).glob("*.jsonl")):
            _copy(log, output / LOGS / log.name)
    index = Index(output).refresh()
    absorbed = {log.path.name: log.offset for log in index.files.values()}
    write_tables(output, joined.tables, absorbed)
    n_runs = joined.tables["runs"].num_rows
    return n_runs, sum(part.tables["runs"].num_rows for part in parts) - n_runs


def _copy(log: Path, target: Path) -> None:
    """Copy a log; of two copies of the same one, the longer stays."""
    if not stat.S_ISREG(log.lstat().st_mode):
        raise BadResults(f"{log} is not a plain file")
    if target.exists():
        shorter, longer = sorted((log, target), key=lambda p: p.stat().st_size)
        if not _begins_with(longer, shorter):
            raise BadResults(f"{log} differs from the log of the same name in another folder")
        if longer == target:
            return
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(log, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _begins_with(longer: Path, shorter: Path) -> bool:
    with longer.open("rb") as a, shorter.open("rb") as b:
        while block := b.read(1 << 20):
            if a.read(len(block)) != block:
                return False
    return True
