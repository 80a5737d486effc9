"""Hold every task to the checks of ``carps_like.testing.tasks``.

    python scripts/check_all_tasks.py [--every K] [--leaks K] [--log FILE] [COLLECTION ...]

All collections and all their tasks by default; ``--every K`` takes each K-th. All checks for each
of them, but that 1,000 evaluations leak nothing for each tenth, since tasks of one collection share
their code (``--leaks 1``: for all). Prints one line per task that fails, and exits with 1 if any
does.

With a log, a line of JSON per task is added to it, and a second call goes on where the first ended:
only tasks that have not passed yet are looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carps_like.interface import Task
from carps_like.registry import Collection, build_task, collections, missing_for_task
from carps_like.testing.tasks import CHECKS, check_nothing_leaks

Check = Callable[[Task], None]


def failures(collection: Collection, name: str, checks: list[Check]) -> list[str]:
    """What is wrong with the task called ``name``, a line each."""
    description = collection.describe(name)
    missing = missing_for_task(description, collection)
    if missing is not None:
        return [str(missing)]
    task, found = build_task(description, collection), []
    for check in checks:
        try:
            check(task)
        except Exception as error:
            found.append(f"{check.__name__}: {type(error).__name__}: {error}")
    return found


def logged(log: Path | None) -> dict[str, dict[str, Any]]:
    """The last line of each task; one that was cut off is no line."""
    found = {}
    if log is not None and log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            found[row["task"]] = row
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--leaks", type=int, default=10)
    parser.add_argument("--log", type=Path)
    parser.add_argument("collections", nargs="*", choices=[*collections(), []])
    options = parser.parse_args()
    before, failed = logged(options.log), 0
    for key in options.collections or collections():
        collection, seconds, n = collections()[key], 0.0, 0
        for k, name in enumerate(list(collection.names())[:: options.every]):
            row = before.get(name)
            if row is None or row["failures"]:
                checks = [
                    c for c in CHECKS if c is not check_nothing_leaks or not k % options.leaks
                ]
                started = time.process_time()
                found = failures(collection, name, checks)
                row = {"task": name, "failures": found, "seconds": time.process_time() - started}
                if options.log is not None:
                    with options.log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                for line in found:
                    print(f"{name}: {line}", flush=True)
            n, seconds, failed = n + 1, seconds + row["seconds"], failed + bool(row["failures"])
        print(f"{key}: {n:,} tasks, {seconds:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
