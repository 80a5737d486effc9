"""Regret: values of different tasks on one scale, with the origin of that scale named."""

from __future__ import annotations

import numpy as np
import pandas as pd

from carps_like.analysis.frames import Results, declarations, runs_of
from carps_like.errors import BadResults

DECLARED = "optimum declared by the task"
COMPARED = "best of the compared runs"
WORST = "worst final value of the compared runs"
BEATEN = "best of the compared runs (better than the declared optimum)"


def scales(final: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Best and worst value per task: where the normalised regret is 0 and 1.

    The best is the declared optimum of a task with one objective, else the best final value of
    the compared runs, whatever their status; a declared optimum that a run has beaten is not
    believed. The worst is the worst final value of the compared runs.

    Args:
        final: of `final.final`, for the same ``results``.

    Returns:
        One row per task: task, measure, best, worst (minimised; nan where no run has a value),
        best_source, worst_source.
    """
    tasks = declarations(runs_of(results))
    rows = []
    for task, group in final.groupby("task", observed=True, sort=True):
        values = group["value"].dropna().to_numpy(dtype=float)
        best = float(values.min()) if len(values) else np.nan
        worst = float(values.max()) if len(values) else np.nan
        source, measure = COMPARED, str(group["measure"].iloc[0])
        optimum = tasks[str(task)].optimum
        if optimum is not None and measure == "value":
            slack = 1e-9 * max(1.0, abs(optimum))
            source = BEATEN if best < optimum - slack else DECLARED
            best = best if best < optimum - slack else optimum
        rows.append(
            (str(task), measure, best, worst, source, "worst final value of the compared runs")
        )
    names = ["task", "measure", "best", "worst", "best_source", "worst_source"]
    return pd.DataFrame(rows, columns=names)


def regret(frame: pd.DataFrame, scales: pd.DataFrame) -> pd.DataFrame:
    """``frame`` (with task and value) with regret and normalised_regret added.

    ``regret`` is value - best, at least 0; ``normalised_regret`` is regret / (worst - best), above
    1 where a value is worse than any final one, and 0 on a task where best and worst are equal.

    Raises:
        BadResults: a task of ``frame`` has no scale.
    """
    table = scales.set_index("task")
    task = frame["task"].astype(str)
    unknown = set(task.unique()) - set(table.index)
    if unknown:
        raise BadResults(f"there is no scale for task {min(unknown)!r}")
    best = task.map(table["best"]).to_numpy(dtype=float)
    span = task.map(table["worst"]).to_numpy(dtype=float) - best
    absolute = np.maximum(frame["value"].to_numpy(dtype=float) - best, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = np.where(span > 0, absolute / span, absolute * 0.0)
    return frame.assign(regret=absolute, normalised_regret=normalised)
