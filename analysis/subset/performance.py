"""From results to points: one row per task, one coordinate per spanning optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from carps_like.analysis.anytime import Incumbents, incumbents
from carps_like.analysis.frames import Results
from carps_like.errors import BadValue, UnknownName

Scale = Literal["log regret", "rank", "quantile"]
SCALES: tuple[Scale, ...] = ("log regret", "rank", "quantile")
# regrets below this share of a task's range are one and the same
LEAST_REGRET = 1e-8


def values(
    results: Results | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """Best value of each optimizer on each task: (tasks, optimizers), smaller is better.

    The incumbent at the full fidelity; with several objectives the hypervolume with its sign turned
    (``analysis.incumbents``).

    ``results``: as ``carps_like.load`` returns them, or a frame of trials: columns optimizer, task,
    seed, value (minimised), and optionally objectives (lists, if several), status (only "ok"
    counts), fidelity, and budget_used (full-fidelity equivalents). ``optimizers``: columns wanted,
    all if None. ``budget``: trials beyond it do not count, and every run must have reached it.
    Several seeds are summarised by their median. ``missing``: "drop" leaves out tasks of the
    results that some of ``optimizers`` has no run on.

    Raises UnknownName and BadValue, naming the optimizer, task or run.
    """
    found = _incumbents(results)
    runs = found.runs.drop(columns="status").assign(value=_at(found, budget))
    known = sorted(runs["optimizer"].unique())
    wanted = known if optimizers is None else list(optimizers)
    for name in wanted:
        if name not in known:
            raise UnknownName("optimizer", name, known, f"the results have {', '.join(known)}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise BadValue(f"optimizers {wanted}: name each at least and at most once")
    if budget is not None:
        _reached(found, budget, wanted)
    tasks = sorted(runs["task"].unique())
    runs = runs[runs["optimizer"].isin(wanted)]
    table = runs.groupby(["task", "optimizer"])["value"].median().unstack("optimizer")
    table = table.reindex(columns=wanted, index=tasks)
    table.columns.name = None
    return _complete(table, missing)


def points(
    results: Results | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    scale: Scale = "log regret",
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """Scaled performances in [0, 1]: one row per task, one column per spanning optimizer.

    Arguments as in ``values``. The regret of a task is (value - best) / (worst - best), where best
    and worst are over the incumbents of every optimizer at any time: so a row need not hold a 0 or
    a 1. A task on which all values are equal has regret 0. ``scale`` works
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
    results: Results | pd.DataFrame,
    optimizers: Sequence[str] | None = None,
    budget: float | None = None,
    missing: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """log10(max(regret, 1e-8)) of ``points``, before its columns are scaled: columns compare."""
    table = values(results, optimizers, budget, missing)
    found = _incumbents(results)
    by_task = pd.Series(found.best).groupby(found.runs["task"].to_numpy()[found.run])
    least, most = by_task.min().loc[table.index], by_task.max().loc[table.index]
    span = (most - least).to_numpy()
    regret = table.sub(least, axis=0).div(np.where(span > 0, span, 1.0), axis=0)
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


def _incumbents(results: Results | pd.DataFrame) -> Incumbents:
    frame = results if isinstance(results, pd.DataFrame) else results.trials
    for column in ("optimizer", "task", "seed", "value"):
        if column not in frame:
            raise UnknownName("column", column, frame.columns.astype(str), "results need it")
    if frame.empty:
        raise BadValue("the results hold no trials")
    given = _Frames.of(frame) if isinstance(results, pd.DataFrame) else results
    return incumbents(given, axis="evaluations")


@dataclass(frozen=True)
class _Frames:
    runs: pd.DataFrame
    trials: pd.DataFrame

    @staticmethod
    def of(frame: pd.DataFrame) -> _Frames:
        """What a frame of trials tells; each is a full evaluation if it says no more."""
        keys = ["optimizer", "task", "seed"]
        by_run = frame.groupby(keys, observed=True, sort=False)
        trials = frame.assign(run_id=by_run.ngroup().astype(str))
        defaults: dict[str, Any] = {"status": "ok", "trial": by_run.cumcount(), "end": 0.0}
        defaults["budget_used"] = by_run.cumcount() + 1.0
        trials = trials.assign(**{k: v for k, v in defaults.items() if k not in frame})
        runs = trials.drop_duplicates("run_id")[["run_id", *keys]].assign(status="ok")
        names: tuple[str, ...] = ("value",)
        if "objectives" in frame:
            names = tuple(f"objective {i}" for i in range(len(frame["objectives"].iloc[0])))
        runs["objectives"] = pd.Series([names] * len(runs), index=runs.index, dtype=object)
        return _Frames(runs, trials)


def _at(found: Incumbents, budget: float | None) -> np.ndarray:
    """The best value (n_runs,) within ``budget``; nan where nothing counts."""
    if budget is not None and not budget > 0:
        raise BadValue(f"budget is {budget}: must be positive")
    within = np.ones(len(found.run), bool)
    if budget is not None:
        within = found.spent <= budget * (1 + 1e-9)
    counts = np.bincount(found.run[within], minlength=len(found.runs))
    best = np.append(found.best, np.nan)
    return best[np.where(counts > 0, found.starts[:-1] + counts - 1, -1)]


def _reached(found: Incumbents, budget: float, optimizers: Sequence[str]) -> None:
    """Raises BadValue naming a run of ``optimizers`` that stopped before ``budget``."""
    spent = pd.Series(found.spent).groupby(found.run).max().reindex(range(len(found.runs)))
    wanted = found.runs["optimizer"].isin(optimizers)
    short = wanted & ~(spent.fillna(0.0) >= budget * (1 - 1e-9))
    if short.any():
        run, used = found.runs[short].iloc[0], spent.fillna(0.0)[short].iloc[0]
        raise BadValue(
            f"budget {budget:g} was not reached by {short.sum()} of {wanted.sum()} runs: "
            f"{run['optimizer']} on {run['task']}, seed {run['seed']} stopped at {used:g}; choose "
            "a smaller budget or run it again"
        )


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
