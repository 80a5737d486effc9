"""The report's section on significance, from results as they are read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from frames import Frames, run
from frames import results as gathered

from carps_like.analysis import report
from carps_like.analysis.final import final
from carps_like.analysis.significance import runs, section
from carps_like.analysis.simulation import experiment


def results(n_tasks: int = 8, seeds: int = 3) -> Frames:
    data = experiment(np.random.default_rng(0), tasks=n_tasks, seeds=seeds, effect=-3.0)
    rows = data.to_dict("records")
    return gathered(
        *(run(r["optimizer"], r["task"], r["seed"], [r["value"] + 1, r["value"]]) for r in rows)
    )


def test_runs_that_failed_have_no_value() -> None:
    table = final(results())
    table.loc[0, "status"] = "failed"
    table.loc[1, "status"] = "unsupported"
    rows = runs(table)
    assert len(rows) == len(table) - 1
    assert np.isnan(rows["value"].iloc[0]) and rows["value"].iloc[1:].notna().all()


def test_the_report_has_the_paragraph_the_diagram_the_table_and_the_checks(tmp_path: Path) -> None:
    path = report.write(results(), tmp_path / "report.html", sections=[section])
    text = path.read_text()
    assert "On 8 tasks, optimizer-0 is better than" in text
    for part in ("<svg", "Kenward-Roger", "p adjusted", "unit of inference", "Random effects"):
        assert part in text


def test_one_task_has_a_sentence_instead_of_a_test(tmp_path: Path) -> None:
    path = report.write(results(n_tasks=1), tmp_path / "report.html", sections=[section])
    assert "No test: one task" in path.read_text()
