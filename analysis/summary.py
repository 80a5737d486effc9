"""A study at a glance: who leads, by which rules, and what may be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pandas as pd

from carps_like.analysis import anytime, ranks, scale
from carps_like.analysis.failures import failures
from carps_like.analysis.final import final
from carps_like.analysis.frames import Declared, Policy, Results, declarations, runs_of
from carps_like.errors import BadResults

FAILED: Policy = "worst"
MISSING: Policy = "drop"
POINTS = 50
LONG = 300  # budgets above are drawn on a logarithmic axis


@dataclass(frozen=True)
class Summary:
    """The frames that a report shows, each computed when it is asked for.

    Failed runs rank last; a task and seed that some optimizer has not finished is left out of the
    ranks.
    """

    results: Results
    incumbent: anytime.Incumbent = "full"

    @cached_property
    def runs(self) -> pd.DataFrame:
        return runs_of(self.results)

    @cached_property
    def declared(self) -> dict[str, Declared]:
        return declarations(self.runs)

    @cached_property
    def axis(self) -> anytime.Axis:
        """Full evaluations where a task has fidelities, else trials."""
        many = any(d.full_fidelity is not None for d in self.declared.values())
        return "evaluations" if many else "trials"

    @cached_property
    def spacing(self) -> Literal["linear", "log"]:
        """Budgets at which curves are drawn: the early ones too where there are many."""
        column = "budget_used" if self.axis == "evaluations" else "n_trials"
        return "log" if self._values[column].max() > LONG else "linear"

    @cached_property
    def _values(self) -> pd.DataFrame:
        return final(self.results, axis=self.axis, incumbent=self.incumbent)

    @cached_property
    def scales(self) -> pd.DataFrame:
        return scale.scales(self._values, self.results)

    @cached_property
    def final(self) -> pd.DataFrame:
        return scale.regret(self._values, self.scales)

    @cached_property
    def trajectories(self) -> pd.DataFrame:
        frame = anytime.best_so_far(
            self.results,
            axis=self.axis,
            points=POINTS,
            spacing=self.spacing,
            incumbent=self.incumbent,
        )
        return scale.regret(frame, self.scales)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Raises :class:`BadResults` where there is nothing to rank."""
        return ranks.table(self.final, failed=FAILED, missing=MISSING)

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Ranks over time; raises as `table`."""
        return ranks.ranks(self.trajectories, failed=FAILED, missing=MISSING)

    @cached_property
    def failures(self) -> pd.DataFrame:
        return failures(self.results)

    @property
    def optimizers(self) -> list[str]:
        return sorted(self.runs["optimizer"].unique())

    @property
    def tasks(self) -> list[str]:
        return sorted(self.runs["task"].unique())

    @cached_property
    def problem(self) -> str:
        """Why there is no ranking; empty when there is one."""
        if len(self.runs) == 0:
            return "There are no runs."
        if not (self.runs["status"] == "ok").any():
            return "No ranking: no run ended with status ok."
        if not self.final["value"].notna().any():
            return f"No ranking: no run has a value ({anytime.INCUMBENTS[self.incumbent]})."
        try:
            self.table  # noqa: B018  # computed here, kept for later
        except BadResults as error:
            return f"No ranking: {error}."
        return ""


def conclusion(summary: Summary) -> list[str]:
    """What the ranking says and what it cannot say, one sentence an item."""
    if summary.problem:
        return [summary.problem]
    table = summary.table[summary.table["mean_rank"].notna()]
    ranked = summary.ranks[["task", "seed"]].drop_duplicates()
    n_tasks, n_seeds = ranked["task"].nunique(), ranked["seed"].nunique()
    over = f"Over {_count(n_tasks, 'task')} and {_count(n_seeds, 'seed')}"
    if len(table) == 1:
        said = [f"{table['optimizer'][0]} ran alone: there is nothing to compare it with."]
    else:
        said = [f"{over}, {_leaders(table)}."]
        said.append(
            "This describes these runs at this budget, and a small difference can be chance: "
            "the report and `carps-like analyze` test which are real."
        )
    if n_seeds == 1:
        said.append("With one seed the spread between repetitions is unknown.")
    if n_tasks == 1 and len(table) > 1:
        said.append("One task says nothing about others.")
    return said + caveats(summary)


def caveats(summary: Summary) -> list[str]:
    """What was left out, filled in, or does not compare; each a sentence with its numbers."""
    table, notes = summary.table, []
    if table["n_failed"].sum():
        n = int(table["n_failed"].sum())
        notes.append(f"{_count(n, 'run')} failed and {'ranks' if n == 1 else 'rank'} last.")
    blocks = summary.runs[summary.runs["status"] != "unsupported"][["task", "seed"]]
    left_out = len(blocks.drop_duplicates()) - len(
        summary.ranks[["task", "seed"]].drop_duplicates()
    )
    if left_out:
        pairs = _count(left_out, "pair")
        notes.append(
            f"{pairs} of task and seed that not every optimizer has finished "
            f"{'is' if left_out == 1 else 'are'} left out of the ranks."
        )
    if table["n_tasks"].nunique() > 1:
        notes.append(
            "The optimizers ran on different tasks (column tasks): "
            "their mean ranks are not of the same competition."
        )
    notes += _budgets(summary)
    return notes


def ranking_text(results: Results) -> str:
    """The ranking as plain text of at most 100 columns, for the end of a run in a terminal.

    Raises:
        BadResults: the frames lack a column, or hold runs that cannot be told apart.
    """
    summary = Summary(results)
    lines = _wrap(conclusion(summary))
    if summary.problem:
        return "\n".join(lines)
    t = summary.table
    columns = {
        "optimizer": [_short(name, 34) for name in t["optimizer"]],
        "mean rank": [_fixed(v, 2) for v in t["mean_rank"]],
        "norm. regret": [_fixed(v, 4) for v in t["mean_regret"]],
        "wins": [str(v) for v in t["wins"]],
        "tasks": [str(v) for v in t["n_tasks"]],
        "runs": [str(v) for v in t["n_runs"]],
        "failed": [str(v) for v in t["n_failed"]],
    }
    if t["n_unfinished"].any():
        columns["unfinished"] = [str(v) for v in t["n_unfinished"]]
    if t["n_unsupported"].any():
        columns["unsupp."] = [str(v) for v in t["n_unsupported"]]
    return "\n".join([*_aligned(columns), "", *lines, *_wrap([regret_note(summary)])])


def regret_note(summary: Summary) -> str:
    """Where the normalised regret is 0 and where it is 1."""
    sources = summary.scales["best_source"].value_counts()
    best = ", ".join(f"{source}: {_count(n, 'task')}" for source, n in sorted(sources.items()))
    return f"Normalised regret: 0 is the best value ({best}), 1 the worst final value of the runs."


def _leaders(table: pd.DataFrame) -> str:
    best = table["mean_rank"].min()
    first = table[table["mean_rank"] <= best + 1e-9]["optimizer"].tolist()
    rest = table[table["mean_rank"] > best + 1e-9]
    if len(first) > 1:
        return f"{_listed(first)} share the lowest mean rank ({best:.2f})"
    second = rest.iloc[0]
    return (
        f"{first[0]} has the lowest mean rank ({best:.2f}), followed by "
        f"{second['optimizer']} ({second['mean_rank']:.2f})"
    )


def _budgets(summary: Summary) -> list[str]:
    ended = summary.final[summary.final["status"] == "ok"]
    column = "budget_used" if summary.axis == "evaluations" else "n_trials"
    spread = ended.groupby("task")[column].agg(["min", "max"])
    unequal = spread[spread["max"] > spread["min"] * 1.5]
    if len(unequal) == 0:
        return []
    tasks = _count(len(unequal), "task")
    return [
        f"On {tasks} the runs spent unequal budgets (on {unequal.index[0]}: "
        f"{unequal['min'].iloc[0]:.4g} to {unequal['max'].iloc[0]:.4g} "
        f"{anytime.AXES[summary.axis]}); a shorter run keeps its last value."
    ]


# --- words and numbers ---


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _fixed(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _short(name: str, width: int) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in name)
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def _aligned(columns: dict[str, list[str]]) -> list[str]:
    """Rows of text, the first column to the left, the others to the right."""
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    lines = []
    for i, row in enumerate(rows):
        cells = [
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths.values(), strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if i == 0:
            lines.append("-" * len(lines[0]))
    return lines


def _wrap(sentences: Sequence[str]) -> list[str]:
    import textwrap

    clean = "".join(c if c.isprintable() else "?" for c in " ".join(sentences))
    return textwrap.wrap(clean, 100)
