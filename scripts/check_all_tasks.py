"""Hold every task to the checks of ``carps_like.testing.tasks``.

    python scripts/check_all_tasks.py [--every K] [COLLECTION ...]

All collections and all their tasks by default; ``--every K`` takes each K-th. Prints one line per
task that fails, and exits with 1 if any does.
"""

from __future__ import annotations

import argparse
import sys
import time

from carps_like.registry import build_task, collections, missing_for_task
from carps_like.testing.tasks import CHECKS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--skip", default="", help="checks whose name contains this")
    parser.add_argument("collections", nargs="*", choices=[*collections(), []])
    options = parser.parse_args()
    checks = [c for c in CHECKS if not options.skip or options.skip not in c.__name__]
    failed = 0
    for name in options.collections or collections():
        collection, started, n = collections()[name], time.process_time(), 0
        for task_name in list(collection.names())[:: options.every]:
            description = collection.describe(task_name)
            missing = missing_for_task(description, collection)
            if missing is not None:
                print(f"{task_name}: {missing}")
                failed += 1
                continue
            task = build_task(description, collection)
            n += 1
            for check in checks:
                try:
                    check(task)
                except AssertionError as error:
                    failed += 1
                    print(f"{task_name}: {check.__name__}: {error}", flush=True)
        print(f"{name}: {n} tasks, {time.process_time() - started:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
