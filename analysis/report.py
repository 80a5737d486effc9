"""The report of a study: one HTML file that can be mailed, and the table for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from carps_like.analysis import anytime, html, ranks
from carps_like.analysis.failures import failed_trials
from carps_like.analysis.frames import Declared, Results, text
from carps_like.analysis.html import Section, escape, number, paragraph
from carps_like.analysis.plots import style
from carps_like.analysis.summary import Summary, conclusion, ranking_text, regret_note
from carps_like.errors import BadResults

Maker: TypeAlias = Callable[[Summary], "Section | None"]
MAX_LINES = 12  # optimizers drawn: the first of the ranking
MAX_PANELS = 48  # tasks drawn
MAX_ROWS = 400  # tasks in the table of final performance
_INTERVAL = "percentile bootstrap over seeds, too narrow with few; none with one"
_RANKING = ("mean rank", "normalised regret", "tasks won", "tasks", "runs", "failed")
_PROVENANCE = ("carps_like", "python", "versions", "host", "cpu", "threads", "git_commit")

__all__ = ["SECTIONS", "ranking_text", "write"]


def write(
    results: Results,
    path: str | Path,
    *,
    title: str = "Comparison of optimizers",
    command: str = "",
    incumbent: anytime.Incumbent = "full",
    sections: Sequence[Maker] | None = None,
) -> Path:
    """Write the report of ``results`` to ``path`` as one HTML file without script, and return it.

    The same results give the same bytes.

    Args:
        title: heading of the page.
        command: the command that made the results, shown under provenance.
        incumbent: which trials count where fidelities differ; see `anytime.incumbents`.
        sections: functions that each make a section, or ``None`` to leave it out; by default
            `SECTIONS`.

    Raises:
        BadResults: the frames lack a column, or hold runs that cannot be told apart.
    """
    summary = Summary(results, incumbent)
    made = [make(summary) for make in (SECTIONS if sections is None else sections)]
    if command:
        made.append(Section("command", "Command", f"<p><code>{escape(command)}</code></p>"))
    page = html.page(title, _subtitle(summary), [s for s in made if s is not None])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def ranking(summary: Summary) -> Section:
    """Who leads, and what that says."""
    body = f'<p class="lead">{escape(" ".join(conclusion(summary)))}</p>'
    if not summary.problem:
        head = ["optimizer", *_RANKING]
        extra = [n for n in ("n_unfinished", "n_unsupported") if summary.table[n].any()]
        head += [name.removeprefix("n_") for name in extra]
        lines = _lines(summary)
        rows = [
            [
                _sample(lines.get(row["optimizer"])) + escape(row["optimizer"]),
                number(row["mean_rank"], 3),
                number(row["mean_regret"]),
                *(str(row[n]) for n in ("wins", "n_tasks", "n_runs", "n_failed", *extra)),
            ]
            for row in summary.table.to_dict("records")
        ]
        body += html.table(head, rows)
        body += (
            '<p class="note">Ranks are within task and seed (1 is best, ties share), averaged over '
            f"seeds and then over tasks. {escape(regret_note(summary))} "
            f"{escape(_incumbent(summary))}</p>"
        )
    return Section("ranking", "Ranking", body)


def rank_over_time(summary: Summary) -> Section | None:
    """Mean rank over the share of the budget."""
    if summary.problem:
        return None
    from carps_like.analysis.plots import ranks as plot

    frame = ranks.over_time(summary.ranks)
    figure = plot.over_time(frame, lines=_lines(summary), log_x=summary.spacing == "log")
    caption = "Mean rank of each optimizer over the share of the budget spent"
    body = (
        f'<figure class="wide">{html.svg(figure, "ranks", caption)}<figcaption>Ranks within task '
        "and seed of the best value so far, averaged over seeds and then over tasks; the budget is "
        f"that of each task, in {anytime.AXES[summary.axis]}.{_cut_lines(summary)}</figcaption>"
        "</figure>"
    )
    return Section("rank-over-time", "Rank over time", body)


def anytime_curves(summary: Summary) -> Section | None:
    """A panel per task, by collection."""
    chosen = _spread(summary.tasks, MAX_PANELS)
    frame = summary.trajectories
    frame = frame[frame["task"].isin(chosen)]
    if not (text(frame["status"]) == "ok").any():
        return None
    notes = [
        "Mean of the best value so far over the seeds whose run ended well, with a 95% interval of "
        f"that mean ({_INTERVAL}). A line begins where every seed has a value."
    ]
    if len(chosen) < len(summary.tasks):
        notes.append(
            f"{len(chosen)} of {len(summary.tasks)} tasks are drawn, evenly over their names."
        )
    body = f'<p class="note">{escape(" ".join(notes))}{_cut_lines(summary)}</p>{_legend(summary)}'
    groups: dict[str, list[str]] = {}
    for task in chosen:
        groups.setdefault(summary.declared[task].collection, []).append(task)
    panel = 0
    for collection, tasks in sorted(groups.items()):
        figures = []
        for task in tasks:
            figures.append(_panel(summary, frame, task, f"c{panel}"))
            panel += 1
        body += f'<h3>{escape(collection)}</h3><div class="panels">{"".join(figures)}</div>'
    return Section("anytime", "Anytime performance", body)


def final_performance(summary: Summary) -> Section:
    """Mean of the final values per task and optimizer, with the interval."""
    chosen = _spread(summary.tasks, MAX_ROWS)
    values = summary.final.assign(point=0, fraction=1.0, budget=summary.final["budget_used"])
    values = values[values["task"].isin(chosen)]
    rows = []
    cells = _final_cells(summary, values)
    for task in chosen:
        arrow = "↑" if _flipped(summary, task) else "↓"
        head = f"{escape(task)}<small>{arrow} {escape(_measure(summary, task))}</small>"
        rows.append([head, *(cells.get((task, o), "–") for o in summary.optimizers)])
    notes = (
        "Mean over the seeds whose run ended well, the number of these runs, and a 95% interval of "
        f"the mean ({_INTERVAL}). ↓ lower is better, ↑ higher is better; the best mean is marked. "
        f"{_incumbent(summary)}"
    )
    if len(chosen) < len(summary.tasks):
        notes += f" {len(chosen)} of {len(summary.tasks)} tasks are shown, evenly over their names."
    body = html.table(["task", *map(escape, summary.optimizers)], rows)
    return Section("final", "Final performance", f'<p class="note">{escape(notes)}</p>{body}')


def scales(summary: Summary) -> Section:
    """Where the normalised regret of each task is 0 and 1, and what hypervolumes refer to."""
    rows = []
    for row in summary.scales.head(MAX_ROWS).to_dict("records"):
        task = row["task"]
        best, worst = (_as_shown(summary, task, row[n]) for n in ("best", "worst"))
        rows.append(
            [escape(task), escape(_measure(summary, task)), escape(row["best_source"]),
             number(best), number(worst)]
        )  # fmt: skip
    head = ["task", "measure", "best is the", "best (0)", "worst (1)"]
    note = '<p class="note">Worst: the worst final value of the compared runs.</p>'
    body = note + html.table(head, rows, text=3)
    several = summary.final[summary.final["measure"] == "hypervolume"].drop_duplicates("task")
    if len(several):
        points = [
            [escape(row["task"]), _point(summary.declared[row["task"]], row["reference"]),
             escape(row["reference_source"])]
            for row in several.head(MAX_ROWS).to_dict("records")
        ]  # fmt: skip
        body += "<h3>Reference points of the hypervolume</h3>"
        body += html.table(["task", "reference point", "origin"], points, text=3)
    return Section("scales", "Scales of the regret", body)


def _point(task: Declared, values: Sequence[float]) -> str:
    """A point of the objectives, by name and in the declared direction."""
    signs = [1 if low else -1 for low in task.minimize] or [1] * len(values)
    named = zip(task.objectives, signs, values, strict=True)
    return ", ".join(f"{escape(name)} = {number(sign * value)}" for name, sign, value in named)


def failure_table(summary: Summary) -> Section:
    """Runs that did not end well, and trials that failed."""
    runs, trials = summary.failures, failed_trials(summary.results)
    if len(runs) + len(trials) == 0:
        return Section("failures", "Failures", paragraph("No run and no trial failed."))
    body = "" if len(runs) else paragraph("Every run ended well.")
    for frame, count, title in ((runs, "n_runs", "Runs"), (trials, "n_trials", "Trials")):
        if len(frame) == 0:
            continue
        rows = [
            [
                escape(row["optimizer"]),
                escape(row["task"]),
                escape(row["status"]),
                escape(row["kind"]),
                f'<span class="wrap">{escape(row["message"][:500])}</span>',
                f"<code>{escape(row['run_id'])}</code>",
                escape(row["seeds"]),
                str(row[count]),
            ]
            for row in frame.head(MAX_ROWS).to_dict("records")
        ]
        head = ["optimizer", "task", "status", "class", "message", "first run", "seeds", "count"]
        body += f"<h3>{title}</h3>" + html.table(head, rows, text=7)
        if len(frame) > MAX_ROWS:
            body += paragraph(f"The first {MAX_ROWS} of {len(frame)} kinds are shown.")
    return Section("failures", "Failures", body)


def provenance(summary: Summary) -> Section:
    """Versions, machines and dates of the runs."""
    runs = summary.runs
    items = [
        ("runs", f"{len(runs)}, {(runs['status'] == 'ok').sum()} of them ended well"),
        ("trials", str(int(summary.final["n_trials"].sum()))),
        ("seeds", _some(runs["seed"])),
    ]
    for name in ("started", "ended"):
        if name in runs and runs[name].notna().any():
            times = pd.to_datetime(runs[name].dropna(), utc=True)
            label = "first started" if name == "started" else "last ended"
            when = times.min() if name == "started" else times.max()
            items.append((label, when.strftime("%Y-%m-%d %H:%M:%S UTC")))
    for name in _PROVENANCE:
        if name in runs and (known := text(runs[name])).any():
            items.append((name.replace("_", " "), _some(known[known != ""])))
    body = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in items)
    return Section("provenance", "Provenance", f"<dl>{body}</dl>")


def significance(summary: Summary) -> Section | None:
    """Which differences are real; the statistics libraries are imported only here."""
    from carps_like.analysis.significance import section

    return section(summary)


SECTIONS: tuple[Maker, ...] = (
    ranking,
    significance,
    rank_over_time,
    anytime_curves,
    final_performance,
    scales,
    failure_table,
    provenance,
)
"""The sections of the default report, in order; others make their own with the same shape."""


# --- lines ---


def _lines(summary: Summary) -> dict[str, style.Line]:
    """The optimizers that are drawn: all, or the first of the ranking."""
    names = summary.optimizers
    if len(names) > MAX_LINES and not summary.problem:
        names = summary.table["optimizer"].tolist()
    return style.lines(names[:MAX_LINES])


def _cut_lines(summary: Summary) -> str:
    n = len(summary.optimizers)
    return "" if n <= MAX_LINES else f" The first {MAX_LINES} of {n} optimizers are drawn."


def _sample(line: style.Line | None) -> str:
    """A piece of the line in the table or legend."""
    if line is None:
        return ""
    dash = "" if line.dash == "solid" else ",".join(str(2 * d) for d in line.dash[1])
    return (
        '<svg viewBox="0 0 44 14" aria-hidden="true"><line x1="1" x2="43" y1="7" y2="7" '
        f'stroke="var(--s{line.index % len(style.LIGHT)})" stroke-width="3.4" '
        f'stroke-dasharray="{dash or "none"}"/></svg>'
    )


def _legend(summary: Summary) -> str:
    items = (f"<li>{_sample(line)}{escape(o)}</li>" for o, line in _lines(summary).items())
    return f'<ul class="legend">{"".join(items)}</ul>'


# --- values as the tasks declare them ---


def _flipped(summary: Summary, task: str) -> bool:
    """Whether higher is better in what is shown."""
    shown = summary.declared[task]
    return len(shown.objectives) > 1 or not all(shown.minimize[:1])


def _as_shown(summary: Summary, task: str, value: float) -> float:
    return -value if _flipped(summary, task) else value


def _measure(summary: Summary, task: str) -> str:
    task_declares: Declared = summary.declared[task]
    names = task_declares.objectives
    return f"hypervolume of {', '.join(names)}" if len(names) > 1 else names[0]


def _panel(summary: Summary, frame: pd.DataFrame, task: str, name: str) -> str:
    from carps_like.analysis.plots import anytime as plot

    own = frame[frame["task"] == task]
    if not (text(own["status"]) == "ok").any():
        return f"<figure><h4>{escape(task)}</h4>{paragraph('No run ended well.')}</figure>"
    known = summary.declared[task].optimum is not None and own["measure"].iloc[0] == "value"
    column = "regret" if known else "value"
    means = anytime.over_seeds(own, column=column, interval="bootstrap", failed="drop")
    label = f"regret of {_measure(summary, task)}" if known else _measure(summary, task)
    figure = plot.curves(
        means,
        task,
        x=anytime.AXES[summary.axis],
        y=label if len(label) < 40 else label[:37] + "...",
        flip=not known and _flipped(summary, task),
        log_x=summary.spacing == "log",
        lines=_lines(summary),
        title=False,
    )
    drawn = html.svg(figure, name, f"{label} on {task} over the budget")
    return f"<figure><h4>{escape(task)}</h4>{drawn}</figure>"


def _final_cells(summary: Summary, values: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Cells of the table by task and optimizer."""
    try:
        means = anytime.over_seeds(values, interval="bootstrap", failed="drop")
    except BadResults:
        return {}
    lacking = values[(values["status"] == "ok") & values["value"].isna()]
    without = lacking.groupby(["task", "optimizer"]).size().to_dict()
    best = means.groupby("task")["mean"].transform("min")
    cells = {}
    for row, lead in zip(means.to_dict("records"), means["mean"] <= best, strict=True):
        task = row["task"]
        if (n := without.get((task, row["optimizer"]), 0)) > 0:
            cells[task, row["optimizer"]] = f"–<small>no value in {n} of {row['n']}</small>"
            continue
        bounds = sorted(_as_shown(summary, task, row[n]) for n in ("lower", "upper"))
        mean = number(_as_shown(summary, task, row["mean"]))
        shown = f'<span class="best">{mean}</span>' if lead else mean
        interval = f"[{number(bounds[0], 3)}, {number(bounds[1], 3)}] · " if row["n"] > 1 else ""
        cells[task, row["optimizer"]] = f"{shown}<small>{interval}n = {row['n']}</small>"
    return cells


# --- words ---


def _incumbent(summary: Summary) -> str:
    """The rule where fidelities differ."""
    if summary.axis == "trials":
        return ""
    return f"Where fidelities differ, what counts is {anytime.INCUMBENTS[summary.incumbent]}."


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most ``most`` names, evenly over all."""
    if len(names) <= most:
        return list(names)
    return [names[i * len(names) // most] for i in range(most)]


def _some(values: pd.Series[Any]) -> str:
    unique = sorted(values.unique().tolist())
    more = f" and {len(unique) - 12} more" if len(unique) > 12 else ""
    return ", ".join(map(str, unique[:12])) + more


def _subtitle(summary: Summary) -> str:
    runs = summary.runs
    return (
        f"{runs['optimizer'].nunique()} optimizers, {runs['task'].nunique()} tasks, "
        f"{runs['seed'].nunique()} seeds, {len(runs)} runs"
    )
