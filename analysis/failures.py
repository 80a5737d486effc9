"""What went wrong: runs that did not end well, and trials that failed in runs that did."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from carps_like.analysis.frames import Results, positions, runs_of, text, trials_of

_CLASS = re.compile(r"(?:^|: )((?:[a-z_]\w*\.)*[A-Z]\w*): ?(.*)", re.DOTALL)


def failures(results: Results) -> pd.DataFrame:
    """Failed, unfinished and unsupported runs, equal ones counted together.

    Returns:
        One row per optimizer, task, status and message: optimizer, task, status, kind (class of
        the error, "" where the message names none), message (its first line), n_runs, seeds (the
        seeds as text), run_id (of the first).
    """
    runs = runs_of(results)
    bad = runs[runs["status"] != "ok"].copy()
    errors = text(bad["error"]) if "error" in bad else pd.Series("", index=bad.index)
    parsed = [_parse(e) for e in errors]
    bad["kind"] = [kind for kind, _ in parsed]
    bad["message"] = [message for _, message in parsed]
    return _counted(bad, "run_id")


def failed_trials(results: Results) -> pd.DataFrame:
    """Trials that are not ok, counted by run's optimizer and task, status and message.

    Returns:
        optimizer, task, status, kind, message, n_trials, seeds, run_id (of the first).
    """
    runs, trials = runs_of(results), trials_of(results)
    row = positions(trials, runs)
    bad = (text(trials["status"]) != "ok").to_numpy() & (row >= 0)
    frame = runs.loc[row[bad], ["run_id", "optimizer", "task", "seed"]].reset_index(drop=True)
    frame["status"] = text(trials["status"][bad]).to_numpy()
    errors = text(trials.loc[bad, "error"]) if "error" in trials else [""] * len(frame)
    parsed = [_parse(e) for e in errors]
    frame["kind"] = [kind for kind, _ in parsed]
    frame["message"] = [message for _, message in parsed]
    return _counted(frame, "trial")


def _counted(frame: pd.DataFrame, unit: str) -> pd.DataFrame:
    keys = ["optimizer", "task", "status", "kind", "message"]
    count = "n_runs" if unit == "run_id" else "n_trials"
    groups = frame.groupby(keys, sort=True, observed=True)
    out = groups.agg(
        **{count: ("run_id", "size"), "seeds": ("seed", _seeds), "run_id": ("run_id", "first")}
    )
    return out.reset_index()


def _seeds(seeds: pd.Series[Any]) -> str:
    some = sorted({int(s) for s in seeds})
    return ", ".join(map(str, some[:10])) + (", ..." if len(some) > 10 else "")


def _parse(error: str) -> tuple[str, str]:
    """Class and first line of the message, from ``Class: message`` or ``where: Class: message``."""
    first = next((line.strip() for line in error.splitlines() if line.strip()), "")
    match = _CLASS.search(first)
    if match is None:
        return "", first
    return match[1], match[2] if match.start() == 0 else first
