"""From results to statements: the report's section on significance, and the analyze command."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from carps_like.analysis.cd import diagram
from carps_like.analysis.comparison import Comparison, compare
from carps_like.errors import CarpsLikeError

if TYPE_CHECKING:
    from carps_like.analysis.html import Section
    from carps_like.analysis.summary import Summary

TABLES = ("contrasts", "means", "checks", "coverage", "multiverse", "leave_one_out")


def runs(final: pd.DataFrame) -> pd.DataFrame:
    """Rows for a comparison from the frame of `final.final`: a run that failed has no value.

    A pair that was skipped because the optimizer does not support the task is left out.
    """
    rows = final[final["status"] != "unsupported"]
    value = rows["value"].where(rows["status"] == "ok")
    return rows[["optimizer", "task", "seed"]].assign(value=value).reset_index(drop=True)


def analyze(frame: pd.DataFrame, out: str | Path | None = None, **options: Any) -> str:
    """Compare the optimizers of a frame; the text to print, and CSV files and diagrams in ``out``.

    Args:
        frame: one row per run, columns as for `comparison.compare`.
        out: folder for ``contrasts.csv`` and the other tables, ``analysis.txt`` and ``cd.svg``,
            ``cd.pdf``, ``cd.png``, ``cd.tex`` (one set per level of ``by``).
        options: of `comparison.compare`.
    """
    result = compare(frame, **options)
    text = str(result)
    if out is not None:
        write(result, out)
    return text


def write(result: Comparison, folder: str | Path) -> list[Path]:
    """Write the tables, the text and the diagrams of a comparison; the files written."""
    from carps_like.analysis.plots import cd

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "analysis.txt"]
    paths[0].write_text(f"{result}\n", encoding="utf-8")
    for name in TABLES:
        path = folder / f"{name}.csv"
        getattr(result, name).to_csv(path, index=name == "means")
        paths.append(path)
    fixed, random = folder / "fixed_effects.csv", folder / "random_effects.csv"
    result.model.fixed_effects.to_csv(fixed)
    result.model.random_effects.to_csv(random, index=False)
    paths += [fixed, random]
    for level, drawn in diagrams(result).items():
        tail = f"-{re.sub(r'[^A-Za-z0-9_.-]+', '_', level)}" if level else ""
        paths += [cd.save(drawn, folder / f"cd{tail}.{e}") for e in ("svg", "pdf", "png", "tex")]
    return paths


def diagrams(result: Comparison) -> dict[str, Any]:
    """Critical-difference diagrams by level of the inner factor ("" without one)."""
    if result.adjust == "dunnett":
        return {}
    if result.by is None:
        return {"": diagram(result)}
    levels = result.contrasts[result.by].unique()
    return {str(level): diagram(result, str(level)) for level in levels}


def section(summary: Summary) -> Section | None:
    """The report's section: paragraph, diagram, table, checks; None when there is nothing to test.

    Values differ by orders of magnitude between tasks as a rule, so the section compares ranks
    within task and seed; the other scales stand in the table below.
    """
    from carps_like.analysis import html
    from carps_like.analysis.plots import cd

    if summary.problem:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = compare(runs(summary.final), scale="rank")
    except CarpsLikeError as error:
        body = html.paragraph(f"No test: {error}.")
        return html.Section("significance", "Are the differences real?", body)
    body = f'<p class="lead">{html.escape(result.paragraph)}</p>'
    for drawn in diagrams(result).values():
        figure = html.svg(cd.draw(drawn), "cd", "Critical-difference diagram")
        body += f'<figure class="wide">{figure}</figure>'
    body += _frame(_shown(result)) + "<h3>Checks</h3>" + _frame(result.checks)
    body += "<h3>Conclusions on other scales</h3>" + _frame(_sensitivity(result))
    body += "<h3>Random effects</h3>" + _frame(result.model.random_effects)
    return html.Section("significance", "Are the differences real?", body)


def _shown(result: Comparison) -> pd.DataFrame:
    columns = ["left", "right", "estimate", "std_error", "df", "p_adjusted", "p_broad", "p_narrow",
               "ci_low", "ci_high", "effect_size", "tasks_won"]  # fmt: skip
    return result.contrasts[columns]


def _sensitivity(result: Comparison) -> pd.DataFrame:
    many = result.multiverse
    return many[["left", "right", "scale", "interaction", "estimate", "p_adjusted", "conclusion"]]


def _frame(frame: pd.DataFrame) -> str:
    from carps_like.analysis import html

    words = [c for c in frame if not pd.api.types.is_float_dtype(frame[c])]
    rows = [
        [html.escape(row[c]) if c in words else html.number(float(row[c])) for c in [*words, *(
            c for c in frame if c not in words)]]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    head = [str(c).replace("_", " ") for c in [*words, *(c for c in frame if c not in words)]]
    return html.table(head, rows, text=len(words))
