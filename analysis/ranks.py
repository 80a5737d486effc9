"""Ranks of optimizers within task and seed, over time, and the table that says who leads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from carps_like.analysis.anytime import settle
from carps_like.analysis.frames import Floats, Ints, Policy, check_choice, points_of
from carps_like.errors import BadResults


def ranks(
    frame: pd.DataFrame,
    *,
    failed: Policy = "raise",
    missing: Policy = "raise",
) -> pd.DataFrame:
    """Rank of every optimizer among those that ran the same task and seed; 1 is best.

    Equal values share the mean of their ranks; a run without a value as yet is last. An optimizer
    that does not support a task has no rank there, and the others are ranked without it.

    Args:
        frame: of `final.final` (one rank per run) or `anytime.best_so_far` (one per budget).
        failed: what to do about runs that did not end with status ok: raise, rank them last, or
            leave the run's task and seed out (drop).
        missing: the same for runs that are not there or not finished, where others have run.

    Returns:
        One row per rank: task, seed, optimizer, run_id ("" where the run is missing), rank, and
        point and fraction where ``frame`` has them.

    Raises:
        BadResults: by these policies, or because nothing is left to compare.
    """
    for name, policy in (("failed", failed), ("missing", missing)):
        check_choice(name, policy, ("raise", "worst", "drop"))
    if len(frame) == 0:
        raise BadResults("there are no runs: there is nothing to rank")
    n_points = points_of(frame)
    runs = frame.iloc[::n_points]
    optimizers, blocks, row = _grid(runs)
    status = np.append(runs["status"].astype(str).to_numpy(dtype=object), "unfinished")[row]
    bad, absent = _judge(status, optimizers, blocks, failed, missing)
    values = np.full((len(runs) + 1, n_points), np.nan)
    values[:-1] = frame["value"].to_numpy(dtype=float).reshape(len(runs), n_points)
    values = np.where(np.isnan(values), np.inf, values)[row]
    values[bad | absent] = np.inf
    values[status == "unsupported"] = np.nan
    ranked = _rank(values)
    kept = np.ones(len(blocks), dtype=bool)
    if failed == "drop":
        kept &= ~bad.any(axis=1)
    if missing == "drop":
        kept &= ~absent.any(axis=1)
    if not kept.any():
        raise BadResults("no task and seed was run by all optimizers: there is nothing to rank")
    ids = np.append(runs["run_id"].astype(str).to_numpy(dtype=object), "")[row]
    return _long(ranked[kept], blocks[kept], optimizers, ids[kept], frame, n_points)


def over_time(ranks: pd.DataFrame) -> pd.DataFrame:
    """Mean rank of each optimizer at every share of the budget, over seeds and then over tasks.

    Args:
        ranks: of `ranks`, made from `anytime.best_so_far`.

    Returns:
        optimizer, point, fraction (of the task's budget), mean_rank, n_tasks.
    """
    keys = ["optimizer", "point", "fraction"]
    per_task = ranks.groupby([*keys, "task"], observed=True, sort=True)["rank"].mean()
    out = per_task.groupby(keys, observed=True, sort=True).agg(["mean", "size"]).reset_index()
    return out.rename(columns={"mean": "mean_rank", "size": "n_tasks"})


def table(
    final: pd.DataFrame, *, failed: Policy = "raise", missing: Policy = "raise"
) -> pd.DataFrame:
    """Who leads: one row per optimizer, the best mean rank first.

    Args:
        final: of `final.final` with the columns of `scale.regret`.
        failed, missing: as in `ranks`. The regrets are those of the ranked tasks and seeds; a
            failed run, and one without any value, has the worst regret of the task.

    Returns:
        optimizer; mean_rank (over seeds, then over tasks); mean_regret (normalised, over seeds,
        then over tasks); wins (tasks where its mean rank over seeds is the lowest; ties count for
        each); n_tasks; n_runs (that ended with status ok); n_failed; n_unfinished; n_unsupported.
    """
    by_task = ranks(final, failed=failed, missing=missing)
    keys = [by_task[name].astype(str) for name in ("task", "optimizer")]
    per_task = by_task["rank"].groupby(keys).mean()
    best = per_task.groupby("task").transform("min")
    regrets = _regrets(final, by_task, failed)
    status, by_name = final["status"].astype(str), final["optimizer"].astype(str)
    counts = {
        "n_runs": status == "ok",
        "n_failed": ~status.isin(["ok", "unfinished", "unsupported"]),
        "n_unfinished": status == "unfinished",
        "n_unsupported": status == "unsupported",
    }
    columns = {
        "mean_rank": per_task.groupby("optimizer").mean(),
        "mean_regret": regrets.groupby("optimizer").mean(),
        "wins": (per_task <= best + 1e-9).groupby("optimizer").sum(),
        "n_tasks": per_task.groupby("optimizer").size(),
    } | {name: cells.groupby(by_name).sum() for name, cells in counts.items()}
    out = pd.DataFrame(columns).rename_axis("optimizer").reset_index()
    for name in ("wins", "n_tasks"):
        out[name] = out[name].fillna(0).astype(int)
    return out.sort_values(["mean_rank", "mean_regret", "optimizer"], ignore_index=True)


def _regrets(final: pd.DataFrame, ranks: pd.DataFrame, failed: Policy) -> pd.Series[float]:
    """Mean normalised regret by task and optimizer, over the seeds that were ranked."""
    ranked = pd.MultiIndex.from_frame(ranks[["task", "seed"]].astype({"task": str}))
    blocks = pd.MultiIndex.from_frame(final[["task", "seed"]].astype({"task": str}))
    here = blocks.isin(ranked) & (final["status"].astype(str) != "unfinished").to_numpy()
    settled = settle(final[here], "normalised_regret", failed)
    worst = settled.groupby("task", observed=True)["normalised_regret"].transform("max")
    filled = settled.assign(normalised_regret=settled["normalised_regret"].fillna(worst))
    keys = [filled[name].astype(str) for name in ("task", "optimizer")]
    return filled["normalised_regret"].groupby(keys).mean()


def _grid(runs: pd.DataFrame) -> tuple[list[str], pd.DataFrame, Ints]:
    """Optimizers, blocks (task, seed), and the row of ``runs`` in each cell (-1: no run)."""
    names, task = runs["optimizer"].astype(str), runs["task"].astype(str)
    optimizers = sorted(names.unique())
    keys = pd.DataFrame({"task": task, "seed": runs["seed"].to_numpy()})
    blocks = keys.drop_duplicates().sort_values(["task", "seed"], ignore_index=True)
    at = pd.MultiIndex.from_frame(blocks).get_indexer(pd.MultiIndex.from_frame(keys))
    row = np.full((len(blocks), len(optimizers)), -1, dtype=np.int64)
    row[at, pd.Index(optimizers).get_indexer(pd.Index(names))] = np.arange(len(runs))
    return optimizers, blocks, row


def _judge(
    status: np.ndarray, optimizers: list[str], blocks: pd.DataFrame, failed: Policy, missing: Policy
) -> tuple[np.ndarray, np.ndarray]:
    """Cells whose run failed, and cells whose run is missing; raises where a policy says so."""
    absent = status == "unfinished"
    bad = ~absent & (status != "ok") & (status != "unsupported")
    for name, cells, policy in (("failed", bad, failed), ("missing", absent, missing)):
        if policy == "raise" and cells.any():
            i, j = np.argwhere(cells)[0]
            word = "failed" if name == "failed" else "missing or not finished"
            raise BadResults(
                f"{cells.sum()} runs are {word} (first: {optimizers[j]} on "
                f"{blocks['task'][i]}, seed {blocks['seed'][i]}); choose {name}='worst' or 'drop'"
            )
    return bad, absent


def _rank(values: Floats) -> Floats:
    """Ranks along axis 1, ties averaged; nan has none."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    n = values.shape[1]
    place = np.arange(n).reshape(1, n, 1)
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, n)[:, ::-1], axis=1)[:, ::-1]
    ranked = np.empty(values.shape)
    np.put_along_axis(ranked, order, (first + last) / 2 + 1, axis=1)
    return np.where(np.isnan(values), np.nan, ranked)


def _long(
    ranked: Floats,
    blocks: pd.DataFrame,
    optimizers: list[str],
    ids: np.ndarray,
    frame: pd.DataFrame,
    n_points: int,
) -> pd.DataFrame:
    n_blocks, n = ids.shape
    repeat = n * n_points
    out = pd.DataFrame(
        {
            "task": pd.Categorical(blocks["task"].to_numpy().repeat(repeat)),
            "seed": blocks["seed"].to_numpy().repeat(repeat),
            "optimizer": pd.Categorical(np.tile(np.repeat(optimizers, n_points), n_blocks)),
            "run_id": ids.ravel().repeat(n_points),
            "rank": ranked.ravel(),
        }
    )
    if "point" in frame:
        for name in ("point", "fraction"):
            out[name] = np.tile(frame[name].to_numpy()[:n_points], n_blocks * n)
    return out[out["rank"].notna()].reset_index(drop=True)
