"""Small results for the tests of the analysis, built from plain lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Frames:
    """What `carps_like.load` returns, as far as the analysis looks at it."""

    runs: pd.DataFrame
    trials: pd.DataFrame


def run(
    optimizer: str,
    task: str,
    seed: int,
    values: Iterable[float | Sequence[float]],
    *,
    fidelities: Sequence[float] | None = None,
    statuses: Sequence[str] | None = None,
    ends: Sequence[float] | None = None,
    **columns: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One run: its row of ``runs``, and a row of ``trials`` for each of ``values`` (minimised)."""
    points = [list(v) if isinstance(v, Sequence) else [v] for v in values]
    many = len(points[0]) if points else 1
    row = {
        "run_id": f"r-{optimizer}-{task}-{seed}",
        "optimizer": optimizer,
        "task": task,
        "seed": seed,
        "status": "ok",
        "error": "",
        "n_trials": len(points),
        "objectives": ["value"] if many == 1 else [f"f{i}" for i in range(many)],
        "started": pd.Timestamp("2026-01-02 03:04:05", tz="UTC"),
        "ended": pd.Timestamp("2026-01-02 03:04:06", tz="UTC"),
    } | columns
    trials, spent = [], 0.0
    for i, point in enumerate(points):
        fidelity = None if fidelities is None else fidelities[i]
        spent += 1.0 if fidelity is None else fidelity / max(fidelities or [1.0])
        trials.append(
            {
                "run_id": row["run_id"],
                "optimizer": optimizer,
                "task": task,
                "seed": seed,
                "trial": i,
                "status": "ok" if statuses is None else statuses[i],
                "fidelity": fidelity,
                "value": point[0],
                "objectives": point,
                "budget_used": spent,
                "end": float(i + 1) if ends is None else ends[i],
            }
        )
    return row, trials


def results(*runs: tuple[dict[str, Any], list[dict[str, Any]]]) -> Frames:
    """The two frames of ``runs``."""
    names = ["run_id", "optimizer", "task", "seed", "trial", "status", "fidelity", "value"]
    names += ["objectives", "budget_used", "end"]
    trials = [trial for _, rows in runs for trial in rows]
    frame = pd.DataFrame(trials, columns=None if trials else names)
    return Frames(pd.DataFrame([row for row, _ in runs]), frame)
