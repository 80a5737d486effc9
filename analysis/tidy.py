"""Runs as a comparison needs them: one row each, budgets chosen, gaps filled, on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from carps_like.analysis.checks import Finding
from carps_like.errors import BadResults, BadValue, UnknownName

Scale = Literal["value", "log", "rank", "normalised"]
Policy = Literal["drop", "worst", "fail"]
SCALES: tuple[Scale, ...] = ("value", "log", "rank", "normalised")


def tidy_runs(
    results: pd.DataFrame,
    columns: dict[str, str | None],
    budget: str | None,
    at_budget: float | None,
    run_term: bool,
) -> tuple[pd.DataFrame, list[Finding]]:
    """Columns optimizer, task, seed, by, budget, value, raw; one row per run (and budget)."""
    if budget is None and "budget" in results.columns:
        budget = "budget"
    for name in [*columns.values(), budget]:
        if name is not None and name not in results.columns:
            raise UnknownName("column", name, map(str, results.columns))
    tidy = pd.DataFrame(
        {new: results[old] for new, old in columns.items() if old is not None and new != "value"}
    )
    for name in ("optimizer", "task", "by"):
        tidy[name] = tidy[name].astype(str) if name in tidy else ""
    raw = results[columns["value"]].to_numpy(dtype=float, na_value=np.nan)
    tidy["raw"] = np.where(np.isfinite(raw), raw, np.nan)
    tidy["budget"] = results[budget].to_numpy() if budget else 0
    tidy, notes = _one_budget(tidy.reset_index(drop=True), at_budget, run_term)
    keys = ["optimizer", "task", "seed", "by", *(["budget"] if run_term else [])]
    repeated = int(tidy.duplicated(keys).sum())
    if repeated:
        others = [str(c) for c in results.columns if c not in {*columns.values(), budget}]
        raise BadResults(
            f"{repeated} rows repeat an optimizer, task and seed: one row per run is needed; "
            f"select rows, or name the factor that tells them apart with by= ({', '.join(others)})"
        )
    if tidy["optimizer"].nunique() < 2:
        raise BadResults(f"one optimizer ({tidy['optimizer'].iloc[0]}): nothing to compare")
    if tidy["task"].nunique() < 2:
        raise BadResults(
            "one task: nothing can be said about other tasks; a test on the seeds of one task "
            "is lmem.fit('value ~ optimizer', frame)"
        )
    return tidy.assign(value=tidy["raw"]), notes


def _one_budget(
    tidy: pd.DataFrame, at_budget: float | None, run_term: bool
) -> tuple[pd.DataFrame, list[Finding]]:
    budgets = sorted(tidy["budget"].unique())
    if at_budget is not None:
        if at_budget not in budgets:
            raise BadValue(
                f"at_budget={at_budget}: the results have {', '.join(f'{b:g}' for b in budgets)}"
            )
        tidy = tidy[tidy["budget"] == at_budget].reset_index(drop=True)
        return tidy, [Finding("budget", "ok", f"compared at budget {at_budget:g}")]
    if run_term or tidy.groupby(["optimizer", "task", "seed", "by"])["budget"].nunique().max() == 1:
        text = "all budgets, with a run term" if run_term else "one budget per run"
        return tidy, [Finding("budget", "ok", text)]
    listed = ", ".join(f"{b:g}" for b in budgets[:6]) + (", ..." if len(budgets) > 6 else "")
    raise BadResults(
        f"every run has up to {len(budgets)} budgets, which are not independent: choose one with "
        f"at_budget= ({listed}) or pass run_term=True"
    )


def fill_missing(
    tidy: pd.DataFrame, covered: pd.DataFrame, policy: Policy, minimise: bool
) -> pd.DataFrame:
    """Drop missing runs or give them the worst value of their task; ``fail`` names them."""
    n = int(covered["missing"].sum())
    if policy == "fail" and n:
        worst = covered.sort_values("missing").iloc[-1]
        raise BadResults(
            f"{n} runs are missing, most of them {worst['optimizer']} on {worst['task']} "
            f"({worst['missing']} of {worst['expected']}); missing='drop' or 'worst' goes on"
        )
    if policy != "worst":
        return tidy.dropna(subset=["raw"]).reset_index(drop=True)
    keys = tidy[["task", "seed", "by", "budget"]].drop_duplicates()
    names = pd.DataFrame({"optimizer": sorted(tidy["optimizer"].unique())})
    full = keys.merge(names, how="cross").merge(
        tidy, how="left", on=["optimizer", "task", "seed", "by", "budget"]
    )
    worst_of = full.groupby("task")["raw"].transform("max" if minimise else "min")
    full["raw"] = full["raw"].fillna(worst_of)
    return full.dropna(subset=["raw"]).assign(value=lambda f: f["raw"]).reset_index(drop=True)


def rescale(
    tidy: pd.DataFrame, scale: Scale, optimum: Mapping[str, float] | None, minimise: bool
) -> pd.Series[float]:
    """The values of the runs on one of the scales, lower still better when it was before."""
    raw, per_task = tidy["raw"], tidy.groupby("task", observed=True)["raw"]
    if scale == "value":
        return raw
    if scale == "rank":
        groups = tidy.groupby(["task", "seed", "by", "budget"], observed=True)["raw"]
        return groups.rank(method="average")
    low, high = per_task.transform("min"), per_task.transform("max")
    if scale == "normalised":
        return ((raw - low) / (high - low).where(high > low, 1.0)).astype(float)
    if optimum is not None:
        unknown = set(tidy["task"]) - set(optimum)
        if unknown:
            raise UnknownName("optimum of task", sorted(unknown)[0], optimum)
        gap = (raw - tidy["task"].map(optimum)) * (1 if minimise else -1)
        if (gap < 0).any():
            bad = tidy.loc[gap < 0, "task"].iloc[0]
            raise BadValue(f"task {bad!r} has a run better than its optimum {optimum[bad]:g}")
    elif (raw > 0).all():
        return pd.Series(np.log10(raw), index=tidy.index)
    else:
        gap = raw - low if minimise else high - raw
    floor = gap[gap > 0].groupby(tidy["task"]).min().reindex(tidy["task"]).to_numpy()
    floor = np.where(np.isfinite(floor), floor, 1.0)
    logs = np.log10(np.where(gap > 0, gap, floor / 2))
    return pd.Series(logs if minimise else -logs, index=tidy.index)
