"""What can make a comparison of optimizers dishonest, looked for in the results.

Every check takes the tidy frame of :mod:`carps_like.analysis.comparison` (columns optimizer, task,
seed, value, raw, by; one row per run) and returns findings; nothing is changed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

FEW_TASKS = 8
UNEQUAL = 10.0  # ratio of residual standard deviations from which tasks should not be averaged raw

Level = Literal["ok", "note", "warning"]


@dataclass(frozen=True)
class Finding:
    """One line of the table of checks."""

    check: str
    level: Level
    finding: str
    offer: str = ""  # what to do about it


def table(findings: list[Finding]) -> pd.DataFrame:
    """Columns check, level, finding, offer."""
    return pd.DataFrame([vars(f) for f in findings], columns=["check", "level", "finding", "offer"])


def coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs of every optimizer on every task and how many are missing.

    Expected are the seeds that any optimizer ran on the task. Columns optimizer, task, expected,
    present, missing.
    """
    keys = ["task", "seed", "by"]
    expected = frame[keys].drop_duplicates().groupby("task", observed=True).size()
    optimizers = sorted(frame["optimizer"].unique())
    index = pd.MultiIndex.from_product(
        [optimizers, sorted(frame["task"].unique())], names=["optimizer", "task"]
    )
    present = frame[frame["value"].notna()].groupby(["optimizer", "task"], observed=True).size()
    result = pd.DataFrame(index=index).reset_index()
    result["expected"] = result["task"].map(expected).astype(int)
    result["present"] = present.reindex(index, fill_value=0).to_numpy()
    result["missing"] = result["expected"] - result["present"]
    return result


def copied_rows(frame: pd.DataFrame) -> list[Finding]:
    """Optimizers whose runs are exact copies over the levels of the inner factor, or of others."""
    findings = []
    wide = frame.pivot_table(
        index=["task", "seed"], columns=["by", "optimizer"], values="raw", observed=True
    )
    levels = sorted(frame["by"].unique())
    copies = [
        str(o)
        for o in sorted(frame["optimizer"].unique())
        if len(levels) > 1
        and all((b, o) in wide.columns for b in levels)
        and all(_same(wide[(a, o)], wide[(b, o)]) for a, b in itertools.combinations(levels, 2))
    ]
    if copies:
        findings.append(
            Finding(
                "copied rows",
                "warning",
                f"the runs of {_names(copies)} are exact copies for all of {', '.join(levels)}: "
                "they are one experiment counted more than once",
                "keep one copy and compare arms, or read only the contrasts within a level",
            )
        )
    for level in levels:
        there = [o for o in sorted(frame["optimizer"].unique()) if (level, o) in wide.columns]
        for a, b in itertools.combinations(there, 2):
            if _same(wide[(level, a)], wide[(level, b)]):
                findings.append(
                    Finding(
                        "copied rows",
                        "warning",
                        f"{a} and {b} have identical values in every run"
                        + (f" at {level}" if len(levels) > 1 else ""),
                        "check that two names do not stand for one set of runs",
                    )
                )
    return findings or [Finding("copied rows", "ok", "no optimizer's runs repeat another's")]


def _same(left: pd.Series[float], right: pd.Series[float]) -> bool:
    both = left.notna() & right.notna()
    return bool(both.sum() >= 3 and (left[both] == right[both]).all() and left[both].nunique() > 1)


def few_tasks(frame: pd.DataFrame) -> Finding:
    """Whether there are enough tasks to speak about new ones."""
    n = int(frame["task"].nunique())
    if n >= FEW_TASKS:
        return Finding("tasks", "ok", f"{n} tasks")
    return Finding(
        "tasks",
        "warning",
        f"{n} tasks: fewer than {FEW_TASKS}, so p_broad rests on a variance between tasks that is "
        "hardly known",
        "read p_narrow, or add tasks",
    )


def ties(frame: pd.DataFrame) -> Finding:
    """Share of pairs of runs on one task, by different optimizers, that are exactly equal."""
    equal = total = 0
    for _, group in frame.dropna(subset=["raw"]).groupby(["task", "by"], observed=True):
        counts = group.groupby(["raw", "optimizer"], observed=True).size().unstack(fill_value=0)
        matrix = counts.to_numpy(dtype=float)
        equal += (np.square(matrix.sum(axis=1)).sum() - np.square(matrix).sum()) / 2
        n = matrix.sum(axis=0)
        total += (n.sum() ** 2 - np.square(n).sum()) / 2
    share = equal / total if total else 0.0
    level: Level = "warning" if share > 0.2 else "note" if share > 0.02 else "ok"
    offer = "ranks and means weigh ties differently; see the multiverse" if share > 0.02 else ""
    return Finding("ties", level, f"{share:.1%} of the pairs of runs are exactly equal", offer)


def unequal_tasks(frame: pd.DataFrame, scale: str) -> Finding:
    """Ratio of the largest to the smallest residual standard deviation of a task."""
    inner = frame.groupby(["task", "optimizer", "by"], observed=True)["value"]
    residual = frame["value"] - inner.transform("mean")
    free = inner.transform("size") > 1
    sd = residual[free].groupby(frame.loc[free, "task"], observed=True).std().dropna()
    sd = sd[sd > 0]
    if len(sd) < 2:
        return Finding("residual sd per task", "note", "too few repeated runs to compare tasks")
    ratio = float(sd.max() / sd.min())
    text = (
        f"residual sd differs {ratio:.0f}x between tasks ({sd.idxmin()}: {sd.min():.3g}, "
        f"{sd.idxmax()}: {sd.max():.3g})"
    )
    if ratio < UNEQUAL:
        return Finding("residual sd per task", "ok", text.replace(f"{ratio:.0f}x", f"{ratio:.1f}x"))
    offer = "scale='log' (log-regret with optimum=), or scale='normalised' per task"
    offer = offer if scale == "value" else "scale='rank'"
    return Finding("residual sd per task", "warning", text, offer)


def bounds(frame: pd.DataFrame, scale: str, optimum_known: bool) -> Finding:
    """Whether values are scaled by bounds that come from the compared runs themselves."""
    if scale == "normalised" or (
        scale == "log" and not optimum_known and (frame["raw"] <= 0).any()
    ):
        return Finding(
            "bounds",
            "warning",
            f"scale={scale!r} uses the best and worst of the compared runs of each task: adding "
            "or removing an optimizer changes every value",
            "give optimum= with the known optima of the tasks",
        )
    per_task = frame.groupby("task", observed=True)["raw"].agg(["min", "max"])
    exact = ((per_task["min"] == 0) & (per_task["max"] == 1)).mean()
    if exact > 0.5:
        return Finding(
            "bounds",
            "warning",
            f"on {exact:.0%} of the tasks the values run from exactly 0 to exactly 1: they were "
            "normalised with the compared runs",
            "compare values that do not depend on who else was run",
        )
    return Finding("bounds", "ok", "no bound comes from the compared runs")


def absent(covered: pd.DataFrame, policy: str) -> Finding:
    """Missing runs by optimizer and what was done about them."""
    gone = covered[covered["missing"] > 0]
    if not len(gone):
        return Finding("missing runs", "ok", "every optimizer has every run")
    by_optimizer = gone.groupby("optimizer", observed=True)["missing"].sum()
    names = ", ".join(f"{o}: {n}" for o, n in by_optimizer.items())
    whole = gone[gone["present"] == 0]
    text = f"{int(gone['missing'].sum())} runs are missing ({names})"
    if len(whole):
        pairs = ", ".join(
            f"{r['optimizer']} on {r['task']}" for r in whole.head(3).to_dict("records")
        )
        pairs += ", ..." if len(whole) > 3 else ""
        text += f", {len(whole)} optimizer-task pairs altogether ({pairs})"
    done = {"drop": "left out", "worst": "given the worst value seen on the task"}[policy]
    share = float(gone["missing"].sum() / covered["expected"].sum())
    return Finding(
        "missing runs",
        "warning" if share > 0.05 or len(whole) else "note",
        f"{text}; they were {done}",
        "missing='worst' counts failures against an optimizer" if policy == "drop" else "",
    )


def shared_seeds(frame: pd.DataFrame) -> bool:
    """Whether all optimizers ran the same seeds on every task, several of them."""
    sets = frame.groupby(["task", "optimizer"], observed=True)["seed"].agg(frozenset)
    per_task = sets.groupby(level="task", observed=True).nunique()
    return bool(len(per_task) and (per_task == 1).all() and frame["seed"].nunique() > 1)


def _names(values: list[str]) -> str:
    return " and ".join(values) if len(values) < 3 else ", ".join(values)
