"""The case study is a notebook that runs, with its assertions on the printed numbers."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "lmem_case_study.ipynb"


@pytest.mark.slow
def test_the_case_study_runs_and_prints_the_numbers_it_claims() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()
    text = "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    for number in ("1.992028", "1.938685", "2.072949", "-0.134265", "0.053343"):
        assert number in text
    assert "PB is better than HB by 0.0974 +- 0.019 (p = 2e-05)" in text
    assert "HB and RS are exact copies" in text
