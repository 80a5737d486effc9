"""``carps-like report`` and ``compact``: verbs on a results folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from carps_like.cli import OK
from carps_like.commands.arguments import Arguments
from carps_like.errors import printable


def report(argv: Sequence[str]) -> int:
    """``carps-like report RESULTS``."""
    args = Arguments(
        prog="carps-like report", description="Write one self-contained page about results."
    )
    args.add_argument("results", type=Path, nargs="+", help="one folder, or several to join")
    args.add_argument("-o", "--output", type=Path, help="default: report.html in the first folder")
    given = args.parse_intermixed_args(argv)
    from carps_like import load
    from carps_like.analysis.report import ranking_text, write

    results = load(*given.results)
    print(printable(ranking_text(results)))
    command = shlex.join(["carps-like", "report", *argv])
    page = write(results, given.output or given.results[0] / "report.html", command=command)
    print(f"report: {page}")
    return OK


def compact(argv: Sequence[str]) -> int:
    """``carps-like compact RESULTS``."""
    args = Arguments(
        prog="carps-like compact", description="Make runs.parquet and trials.parquet from the logs."
    )
    args.add_argument("results", type=Path)
    given = args.parse_intermixed_args(argv)
    from carps_like.results import compact as make

    results = make(given.results)
    n = {name: table.num_rows for name, table in results.tables.items()}
    print(
        f"{given.results}: {n['runs']} runs, {n['trials']} trials in runs.parquet, trials.parquet"
    )
    return OK
