"""One task of a job array: keeps one worker going until the plan is done or time is up.

Started by the script that ``carps-like submit`` writes. A worker that dies over a run is started
again, as on one's own machine; SIGTERM, SIGUSR1 and the time limit end the task with exit code 0,
since stopping loses nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from carps_like.errors import CarpsLikeError
from carps_like.local import LocalExecutor
from carps_like.processes import Stop, die_with_parent, stop_on_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 also where work is left; 2 when no worker can work here."""
    parser = argparse.ArgumentParser(prog="carps_like.executors.array_task", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--generation", type=int, required=True)
    parser.add_argument("--seconds", type=float, help="start no run after these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trust", action="append", default=[])
    parser.add_argument("--path", action="append", default=[])
    parser.add_argument("--parent", type=int, help="stop when this process ends")
    parser.add_argument("--limited", action="store_true", help="hold limits on runs")
    args = parser.parse_args(argv)
    stop_on_signals()
    if args.parent is not None:
        die_with_parent(args.parent, signal.SIGTERM)
    more = ["--take-over"]
    if args.seconds is not None:
        more += ["--seconds", str(args.seconds)]
    try:
        LocalExecutor(
            args.folder,
            args.generation,
            trusted=args.trust,
            paths=args.path,
            threads=args.threads,
            limited=args.limited,
            more=more,
        ).run()
    except Stop:
        print("carps-like: stopped; everything finished is kept", file=sys.stderr)
    except CarpsLikeError as error:
        print(f"carps-like: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
