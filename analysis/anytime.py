"""Anytime performance: the best value so far over the budget, per run and over seeds.

Values are minimised. A task with several objectives is judged by the hypervolume of what the run
has found so far, with its sign turned (so that lower is better here too).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carps_like.analysis.frames import (
    Declared,
    Floats,
    Ints,
    Policy,
    Results,
    check_choice,
    declarations,
    numbers,
    points_of,
    positions,
    runs_of,
    text,
    trials_of,
)
from carps_like.analysis.hypervolume import trajectory
from carps_like.errors import BadResults, BadValue

Axis: TypeAlias = Literal["trials", "evaluations", "simulated_seconds"]
Incumbent: TypeAlias = Literal["full", "highest", "any"]
AXES = {
    "trials": "trials",
    "evaluations": "full evaluations",
    "simulated_seconds": "simulated seconds",
}
INCUMBENTS = {
    "full": "the best trial at the full fidelity",
    "highest": "the best trial at the highest fidelity so far",
    "any": "the best trial at any fidelity",
}


@dataclass(frozen=True)
class Incumbents:
    """Trials in order of run and budget, with the best value up to each; see `incumbents`."""

    runs: pd.DataFrame  # n_runs rows: run_id, optimizer, task, seed, status, measure
    run: Ints  # (n,) row of runs
    row: Ints  # (n,) row of the trials frame
    spent: Floats  # (n,) budget up to the end of the trial, on the chosen axis
    best: Floats  # (n,) minimised; nan as long as nothing counts
    starts: Ints  # (n_runs + 1,) where each run begins
    references: dict[str, tuple[tuple[float, ...], str]]  # task: reference point, its origin


def incumbents(
    results: Results, *, axis: Axis = "trials", incumbent: Incumbent = "full"
) -> Incumbents:
    """The best value up to every trial, in the order in which the budget was spent.

    A trial counts when its status is ok, its value finite and its budget not overdrawn
    (``over_budget``). Trials of runs that ``results.runs`` does not list are left out.

    Args:
        axis: trials, evaluations (full-fidelity equivalents, ``budget_used``) or
            simulated_seconds (``end``).
        incumbent: which trials count where fidelities differ; see ``INCUMBENTS``. The full
            fidelity is the declared one, else the highest of the compared runs.
    """
    check_choice("axis", axis, AXES)
    check_choice("incumbent", incumbent, INCUMBENTS)
    runs, trials = runs_of(results), trials_of(results)
    tasks = declarations(runs)
    run = positions(trials, runs)
    spent, trial = _spent(trials, axis), numbers(trials["trial"])
    counts = _counting(trials)
    order = _order(run, spent, trial)
    run, spent = run[order], spent[order]
    score = np.where(counts, numbers(trials["value"]), np.nan)[order]
    fidelity = _fidelity(trials)
    if fidelity is not None:
        score = _by_fidelity(score, fidelity[order], run, runs, tasks, incumbent)
    running = pd.Series(np.where(np.isnan(score), np.inf, score)).groupby(run).cummin()
    best = numbers(running.replace(np.inf, np.nan))
    if fidelity is not None and incumbent == "highest":
        best = _restarting(score, fidelity[order], run)
    references = _multi_objective(best, score, run, order, runs, trials, tasks)
    runs["measure"] = ["hypervolume" if t in references else "value" for t in runs["task"]]
    starts = np.searchsorted(run, np.arange(len(runs) + 1)).astype(np.int64)
    return Incumbents(runs, run, order, spent, best, starts, references)


def best_so_far(
    results: Results,
    *,
    axis: Axis = "trials",
    points: int = 50,
    spacing: Literal["linear", "log"] = "linear",
    incumbent: Incumbent = "full",
) -> pd.DataFrame:
    """Best value of every run at ``points`` budgets, up to the largest one spent on its task.

    A run that ended earlier keeps its last value; before the first trial that counts it has none
    (nan).

    Returns:
        One row per run and budget, ordered by task, optimizer, seed and budget: run_id,
        optimizer, task, seed, status (of the run), measure (value or hypervolume), point
        (0, 1, ...), fraction (of the task's budget, in (0, 1]), budget (in units of ``axis``),
        value (minimised; the hypervolume with its sign turned).

    Raises:
        BadValue: ``points`` below 1, or an unknown axis, spacing or incumbent.
        BadResults: a column is missing.
    """
    if points < 1:
        raise BadValue(f"points must be at least 1, not {points!r}")
    check_choice("spacing", spacing, ("linear", "log"))
    found = incumbents(results, axis=axis, incumbent=incumbent)
    task, names = pd.factorize(found.runs["task"])
    largest = _largest(found, task, len(names))
    fractions = np.arange(1, points + 1) / points
    if spacing == "log":
        fractions = np.geomspace(1 / max(largest.max(initial=points), points), 1, points)
    values = _at(found, largest[task], fractions)
    frame = found.runs.loc[
        found.runs.index.repeat(points), ["run_id", "optimizer", "task", "seed", "status"]
    ].reset_index(drop=True)
    for name in ("run_id", "optimizer", "task", "status"):
        frame[name] = frame[name].astype("category")
    frame["measure"] = pd.Categorical(np.repeat(found.runs["measure"].to_numpy(), points))
    frame["point"] = np.tile(np.arange(points), len(found.runs))
    frame["fraction"] = np.tile(fractions, len(found.runs))
    frame["budget"] = np.outer(largest[task], fractions).ravel()
    frame["value"] = values.ravel()
    return frame


def over_seeds(
    frame: pd.DataFrame,
    *,
    column: str = "value",
    interval: Literal["t", "bootstrap"] = "t",
    level: float = 0.95,
    failed: Policy = "raise",
) -> pd.DataFrame:
    """Mean and interval over the seeds of each optimizer and task, at every budget.

    There is a mean only from the budget on at which every run has a value, and an interval only
    where there are two seeds or more.

    Args:
        frame: of `best_so_far`, with or without the columns of `scale.regret`.
        column: what is averaged.
        interval: Student's t interval of the mean, or the percentile bootstrap (2000 samples,
            always the same ones).
        level: coverage, in (0, 1).
        failed: what to do about runs that did not end with status ok: raise, count as the worst
            value that any run has on that task at that budget, or leave them out. Unsupported
            pairs are always left out.

    Returns:
        One row per optimizer, task and budget: optimizer, task, measure, point, fraction, budget,
        n (seeds), mean, lower, upper.
    """
    check_choice("interval", interval, ("t", "bootstrap"))
    if not 0 < level < 1:
        raise BadValue(f"level must lie between 0 and 1, not {level!r}")
    kept = settle(frame, column, failed)
    if len(kept) == 0:
        raise BadResults("no run ended with status ok: there is nothing to average")
    points = points_of(kept)
    first = kept.iloc[::points]
    keys = [first["task"].astype(str).to_numpy(), first["optimizer"].astype(str).to_numpy()]
    order = np.lexsort((keys[1], keys[0]))
    task, optimizer = keys[0][order], keys[1][order]
    new = (task[1:] != task[:-1]) | (optimizer[1:] != optimizer[:-1])
    starts = np.concatenate([[0], np.flatnonzero(new) + 1, [len(order)]])
    values = numbers(kept[column]).reshape(-1, points)[order]
    groups = [values[a:b] for a, b in itertools.pairwise(starts)]
    bounds = np.array([_interval(group, interval, level) for group in groups])
    lead = (order[starts[:-1], None] * points + np.arange(points)).ravel()
    out = kept.iloc[lead][["measure", "point", "fraction", "budget"]].reset_index(drop=True)
    out.insert(0, "optimizer", optimizer[starts[:-1]].repeat(points))
    out.insert(1, "task", task[starts[:-1]].repeat(points))
    out["n"] = np.diff(starts).repeat(points)
    for name, column_of in (("mean", 0), ("lower", 1), ("upper", 2)):
        out[name] = bounds[:, column_of].ravel()
    return out


def settle(frame: pd.DataFrame, column: str, failed: Policy) -> pd.DataFrame:
    """``frame`` without unsupported pairs, and with failed runs dealt with as `over_seeds` says."""
    check_choice("failed", failed, ("raise", "worst", "drop"))
    status = text(frame["status"])
    kept, bad = frame[status != "unsupported"], (status != "ok")[status != "unsupported"]
    if not bad.any():
        return kept
    if failed == "raise":
        first = kept[bad].iloc[0]
        raise BadResults(
            f"{kept.loc[bad, 'run_id'].nunique()} runs did not end with status ok (first: "
            f"{first['optimizer']} on {first['task']}, seed {first['seed']}: "
            f"{first['status'] or 'unfinished'}); choose failed='worst' or 'drop'"
        )
    if failed == "drop":
        return kept[~bad]
    good = kept[column].where(~bad)
    keys = [kept["task"], kept["point"]] if "point" in kept else [kept["task"]]
    worst = good.groupby(keys, observed=True).transform("max")
    return kept.assign(**{column: kept[column].where(~bad, worst)})


# --- the order in which the budget is spent ---


def _spent(trials: pd.DataFrame, axis: Axis) -> Floats:
    if axis == "trials":
        return numbers(trials["trial"]) + 1.0
    return numbers(trials["budget_used" if axis == "evaluations" else "end"])


def _order(run: Ints, spent: Floats, trial: Floats) -> Ints:
    """Rows by run, budget, trial; trials of unlisted runs (-1) left out."""
    steps = np.diff(run)
    later, same = np.diff(spent), np.diff(trial) > 0
    sorted_already = (steps > 0) | ((steps == 0) & ((later > 0) | ((later == 0) & same)))
    rows = np.arange(len(run)) if sorted_already.all() else np.lexsort((trial, spent, run))
    return rows[run[rows] >= 0].astype(np.int64)


def _counting(trials: pd.DataFrame) -> NDArray[np.bool_]:
    """Trials that can become the incumbent."""
    status = trials["status"]
    counts: NDArray[np.bool_] = (status == "ok").to_numpy(dtype=bool, na_value=False)
    counts &= np.isfinite(numbers(trials["value"]))
    if "over_budget" in trials.columns:
        counts &= ~trials["over_budget"].fillna(False).to_numpy(dtype=bool)
    return counts


def _fidelity(trials: pd.DataFrame) -> Floats | None:
    """Fidelity per trial, nan for a full evaluation; ``None`` where no task has any."""
    if "fidelity" not in trials.columns:
        return None
    fidelity = numbers(trials["fidelity"])
    return None if np.isnan(fidelity).all() else fidelity


def _by_fidelity(
    score: Floats,
    fidelity: Floats,
    run: Ints,
    runs: pd.DataFrame,
    tasks: dict[str, Declared],
    incumbent: Incumbent,
) -> Floats:
    """``score`` with the trials masked (nan) that the rule does not count."""
    if incumbent != "full":
        return score
    full = runs["task"].map(lambda t: tasks[t].full_fidelity).to_numpy(dtype=float)
    task, names = pd.factorize(runs["task"])
    seen = np.full(len(names), -np.inf)
    np.maximum.at(seen, task[run], np.where(np.isnan(fidelity), -np.inf, fidelity))
    full = np.where(np.isnan(full), seen[task], full)
    below = fidelity < full[run] * (1 - 1e-12)  # nan (a full evaluation) is not below
    return np.where(below, np.nan, score)


def _restarting(score: Floats, fidelity: Floats, run: Ints) -> Floats:
    """Best value among the trials at the highest fidelity so far: begins anew with a higher one."""
    level = pd.Series(np.where(np.isnan(fidelity), np.inf, fidelity))
    reached = level.where(~np.isnan(score), -np.inf).groupby(run).cummax()
    at_top = pd.Series(np.where(level == reached, score, np.inf)).fillna(np.inf)
    best = at_top.groupby([run, reached]).cummin().to_numpy()
    return np.where(np.isinf(best), np.nan, best)


# --- several objectives ---


def _multi_objective(
    best: Floats,
    score: Floats,
    run: Ints,
    order: Ints,
    runs: pd.DataFrame,
    trials: pd.DataFrame,
    tasks: dict[str, Declared],
) -> dict[str, tuple[tuple[float, ...], str]]:
    """Put the hypervolume so far, sign turned, into ``best``; the reference points by task."""
    references: dict[str, tuple[tuple[float, ...], str]] = {}
    many = {t: d.objectives for t, d in tasks.items() if len(d.objectives) > 1}
    for task, names in many.items():
        of_task = np.flatnonzero((runs["task"] == task).to_numpy())
        rows = np.flatnonzero(np.isin(run, of_task))
        points = np.full((len(rows), len(names)), np.nan)
        counted = ~np.isnan(score[rows])
        column = trials["objectives"].iloc[order[rows[counted]]]
        if len(column):
            points[counted] = np.array([list(v) for v in column], dtype=float)
        reference, origin = _reference(points, tasks[task])
        references[task] = (reference, origin)
        for i in of_task:
            own = run[rows] == i
            volume = trajectory(points[own], reference)
            best[rows[own]] = np.where(np.cumsum(counted[own]) > 0, -volume, np.nan)
    return references


def _reference(points: Floats, task: Declared) -> tuple[tuple[float, ...], str]:
    if task.reference is not None:
        return task.reference, "declared by the task"
    finite = points[np.isfinite(points).all(axis=1)]
    if len(finite) == 0:
        return (0.0,) * points.shape[1], "no trial is ok"
    return tuple(finite.max(axis=0).tolist()), "worst values of the compared runs"


# --- on a grid ---


def _largest(found: Incumbents, task: Ints, n_tasks: int) -> Floats:
    """The largest budget spent per task."""
    largest = np.zeros(n_tasks)
    np.maximum.at(largest, task[found.run], np.nan_to_num(found.spent, nan=0.0))
    return np.where(largest > 0, largest, 1.0)


def _at(found: Incumbents, largest: Floats, fractions: Floats) -> Floats:
    """Best values (n_runs, points) at ``fractions`` of each run's ``largest`` budget."""
    points, n_runs = len(fractions), len(found.runs)
    relative = found.spent / largest[found.run]
    column = np.searchsorted(fractions * (1 + 1e-9), relative)  # sums of floats may overshoot
    cell = found.run * points + np.minimum(column, points - 1)
    counts = np.bincount(cell, minlength=n_runs * points).reshape(n_runs, points).cumsum(axis=1)
    last = found.starts[:-1, None] + counts - 1
    values = np.append(found.best, np.nan)
    return values[np.where(counts > 0, last, -1)]


# --- over seeds ---


def _interval(values: Floats, interval: str, level: float) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper bound (points,) of ``values`` (seeds, points)."""
    n = len(values)
    mean = values.mean(axis=0)
    nothing = np.full_like(mean, np.nan)
    if n < 2:
        return mean, nothing, nothing
    if interval == "bootstrap":
        means = _shares(n) @ values
        lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return mean, lower, upper
    from scipy.special import stdtrit

    half = stdtrit(n - 1, (1 + level) / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


@cache
def _shares(n: int) -> Floats:
    """Share of each of ``n`` values in 2000 samples drawn with replacement."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), 2000) / n


__all__ = ["AXES", "INCUMBENTS", "best_so_far", "incumbents", "over_seeds"]
