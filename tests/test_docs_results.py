"""The snippets of docs/results.md and docs/reports.md run, in order, on results of a real run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import carps_like

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds ``results/my-study``: random search, two seeds."""
    home = tmp_path_factory.mktemp("home")
    for seed in (0, 1):
        carps_like.run(
            optimizer="random",
            task="bbob-d02-f01-i01",
            seed=seed,
            results=home / "results" / "my-study",
            trials=5,
        )
    return home


def snippets(page: str, flavour: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```python{flavour}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("page", "count"), [("results.md", 5), ("reports.md", 2)])
def test_the_snippets_run(
    page: str, count: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = snippets(page, "")
    assert len(found) == count
    names: dict[str, Any] = {}
    for code in found:
        exec(code, names)
    assert len(names["results"].runs) == 2


@pytest.mark.parametrize("library", ["polars", "duckdb"])
def test_other_readers_open_the_tables(
    library: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    (code,) = snippets("results.md", f" {library}")
    exec(code, names)
    assert len(names["best"]) == 2
