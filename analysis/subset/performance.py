"""From results to points: one row per task, one coordinate per spanning optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from carps_like.errors import BadValue, UnknownName

Scale = Literal["log regret", "rank", "quantile"]
SCALES: tuple[Scale, ...] = ("log regret", "rank", "quantile")
# regrets below this share of a task's range are one and the same
LEAST_REGRET = 1e-8


class HasTrials(Protocol):
    """Results with one row per trial."""

    @property
    def trials(self) -> pd.DataFrame:
        """Columns optimizer, task, seed, value, and where known status, budget_used."""


def values(
    results: HasTrials | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """Best objective value of each optimizer on each task: (tasks, optimizers), smaller is better.

    ``results``: an object with a ``trials`` frame, or that frame: columns optimizer, task, seed,
    value, and optionally status (only "ok" counts) and budget_used (full-fidelity equivalents).
    ``optimizers``: columns wanted, all if None. ``budget``: trials beyond it do not count, and
    every run must have reached it. Several seeds are summarised by their median.
    ``missing``: "drop" leaves out tasks of the results that some of them has no run on.

    Raises UnknownName and BadValue, naming the optimizer, task or run.
    """
    frame = _frame(results)
    known = sorted(frame["optimizer"].unique())
    wanted = known if optimizers is None else list(optimizers)
    for name in wanted:
        if name not in known:
            raise UnknownName("optimizer", name, known, f"the results have {', '.join(known)}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise BadValue(f"optimizers {wanted}: name each at least and at most once")
    tasks = sorted(frame["task"].unique())
    frame = frame[frame["optimizer"].isin(wanted)]
    if budget is not None:
        frame = _within(frame, budget)
    ok = frame if "status" not in frame else frame[frame["status"] == "ok"]
    runs = ok.groupby(["optimizer", "task", "seed"], observed=True)["value"].min()
    table = runs.groupby(["task", "optimizer"], observed=True).median().unstack("optimizer")
    table = table.reindex(columns=wanted, index=tasks)
    table.columns.name = None
    return _complete(table, missing)


def points(
    results: HasTrials | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    scale: Scale = "log regret",
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """Scaled performances in [0, 1]: one row per task, one column per spanning optimizer.

    Arguments as in ``values``. The regret of a task is (value - best) / (worst - best), where best
    and worst are over all ok trials of the results on that task, of every optimizer: so a row
    need not hold a 0 or a 1. A task on which all values are equal has regret 0. ``scale`` works
    within each column: "log regret" is log10(max(regret, 1e-8)) stretched to [0, 1]; "rank" is
    (mid-rank - 1/2) / n; "quantile" is (mid-rank - 1) / (n - 1). A constant column is 0.5.
    ``attrs`` of the frame keep optimizers, budget and scale.
    """
    if scale not in SCALES:
        raise UnknownName("scale", str(scale), SCALES, f"one of {', '.join(SCALES)}")
    table = log_regret(results, optimizers, budget, missing)
    scaled = table.apply(lambda column: scale_column(column, scale))
    scaled.attrs = {"optimizers": list(table.columns), "budget": budget, "scale": scale}
    return scaled


def log_regret(
    results: HasTrials | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """log10(max(regret, 1e-8)) of ``points``, before its columns are scaled: columns compare."""
    table = values(results, optimizers, budget, missing)
    frame = _frame(results)
    ok = frame if "status" not in frame else frame[frame["status"] == "ok"]
    extremes = ok.groupby("task", observed=True)["value"].agg(["min", "max"]).loc[table.index]
    span = (extremes["max"] - extremes["min"]).to_numpy()
    regret = table.sub(extremes["min"], axis=0).div(np.where(span > 0, span, 1.0), axis=0)
    return regret.clip(lower=LEAST_REGRET).apply(np.log10)


def scale_column(logs: pd.Series[float], scale: Scale) -> pd.Series[float]:
    """One column of log regrets on ``scale``, see ``points``; 0.5 throughout if it is constant."""
    if logs.nunique() == 1:
        return pd.Series(0.5, index=logs.index)
    n = len(logs)
    if scale == "rank":
        return (logs.rank(method="average") - 0.5) / n
    if scale == "quantile":
        return (logs.rank(method="average") - 1.0) / (n - 1)
    return (logs - logs.min()) / (logs.max() - logs.min())


def _frame(results: HasTrials | pd.DataFrame) -> pd.DataFrame:
    frame = results if isinstance(results, pd.DataFrame) else results.trials
    for column in ("optimizer", "task", "seed", "value"):
        if column not in frame:
            raise UnknownName("column", column, frame.columns.astype(str), "results need it")
    if frame.empty:
        raise BadValue("the results hold no trials")
    return frame


def _within(frame: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Trials within ``budget``; raises BadValue naming a run that stopped before it."""
    if "budget_used" not in frame:
        raise BadValue("budget needs a column 'budget_used' in the results")
    if not budget > 0:
        raise BadValue(f"budget is {budget}: must be positive")
    reached = frame.groupby(["optimizer", "task", "seed"], observed=True)["budget_used"].max()
    short = reached[reached < budget * (1 - 1e-9)]
    if len(short):
        (optimizer, task, seed), used = short.index[0], short.iloc[0]
        raise BadValue(
            f"budget {budget:g} was not reached by {len(short)} of {len(reached)} runs: "
            f"{optimizer} on {task}, seed {seed} stopped at {used:g}; choose a smaller budget or "
            "run it again"
        )
    return frame[frame["budget_used"] <= budget * (1 + 1e-9)]


def _complete(table: pd.DataFrame, missing: Literal["raise", "drop"]) -> pd.DataFrame:
    """``table`` without gaps, or BadValue naming the first."""
    gaps = ~np.isfinite(table.to_numpy(dtype=float))
    if gaps.any() and missing == "raise":
        row, column = np.argwhere(gaps)[0]
        count = int(gaps[:, column].sum())
        raise BadValue(
            f"optimizer {table.columns[column]!r} has no successful run on {count} of "
            f"{len(table)} tasks, for example {table.index[row]!r}; run it there, or leave those "
            "tasks out with missing='drop' (--missing drop)"
        )
    table = table[~gaps.any(axis=1)]
    if table.empty:
        raise BadValue("no task has runs of all optimizers")
    return table
