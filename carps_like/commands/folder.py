"""``carps-like status``, ``report`` and ``compact``: verbs on a results folder."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

from carps_like.cli import OK, SOME_FAILED
from carps_like.store import Execution, Index, check_results
from carps_like.trial import Status
from carps_like.worker import alive


def status(argv: Sequence[str]) -> int:
    """``carps-like status RESULTS``: exit code 1 when something failed."""
    args = argparse.ArgumentParser(prog="carps-like status", description="Count runs by state.")
    args.add_argument("results", type=Path)
    args.add_argument("--failed", action="store_true", help="each failed run with its whole error")
    args.add_argument("--json", action="store_true")
    given = args.parse_args(argv)
    check_results([given.results])
    index = Index(given.results).refresh()
    states = {e.run_id: _state(e, index) for e in index.winners()}
    counts = Counter(states.values())
    failed = [e for e in index.winners() if e.finished and e.status not in _GOOD]
    if given.json:
        rows = [
            {"run_id": e.run_id, "state": states[e.run_id], "n_trials": e.n_trials}
            | {"where": _where(e), "error": e.error}
            for e in index.winners()
        ]
        n_trials = sum(e.n_trials for e in index.winners())
        data = {"counts": dict(counts), "trials": n_trials, "runs": rows}
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
        return SOME_FAILED if failed else OK
    n_trials = sum(e.n_trials for e in index.winners())
    print(f"{given.results}: {len(states)} runs, {n_trials} trials")
    for state, n in counts.most_common():
        print(f"  {n:>7} {state}")
    for execution in failed if given.failed else failed[:5]:
        text = execution.error.rstrip() if given.failed else execution.error.split("\n")[0]
        print(f"{execution.status}: {_where(execution)}: {text}")
    if len(failed) > 5 and not given.failed:
        print(f"... {len(failed)} in all: carps-like status {given.results} --failed")
    return SOME_FAILED if failed else OK


_GOOD = (Status.OK, Status.UNSUPPORTED)


def _state(execution: Execution, index: Index) -> str:
    if execution.finished:
        return execution.status
    log = index.files[execution.path]
    running = log.current is execution and alive(log.attempt)
    return "running" if running else "not finished"


def _where(execution: Execution) -> str:
    spec = execution.header.get("spec") or {}
    optimizer, task = spec.get("optimizer") or {}, spec.get("task") or {}
    return f"{optimizer.get('name')} on {task.get('name')}, seed {spec.get('seed')}"


def report(argv: Sequence[str]) -> int:
    """``carps-like report RESULTS``."""
    args = argparse.ArgumentParser(
        prog="carps-like report", description="Write one self-contained page about results."
    )
    args.add_argument("results", type=Path, nargs="+", help="one folder, or several to join")
    args.add_argument("-o", "--output", type=Path, help="default: report.html in the first folder")
    given = args.parse_args(argv)
    from carps_like import load
    from carps_like.analysis.report import ranking_text, write

    results = load(*given.results)
    print(ranking_text(results))
    page = write(results, given.output or given.results[0] / "report.html")
    print(f"report: {page}")
    return OK


def compact(argv: Sequence[str]) -> int:
    """``carps-like compact RESULTS``."""
    args = argparse.ArgumentParser(
        prog="carps-like compact", description="Make runs.parquet and trials.parquet from the logs."
    )
    args.add_argument("results", type=Path)
    given = args.parse_args(argv)
    from carps_like.results import compact as make

    results = make(given.results)
    n = {name: table.num_rows for name, table in results.tables.items()}
    print(
        f"{given.results}: {n['runs']} runs, {n['trials']} trials in runs.parquet, trials.parquet"
    )
    return OK
