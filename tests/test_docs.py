"""What the documentation shows works as it is written there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from command import carps_like as command

import carps_like
from carps_like.schema import markdown

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """The files of docs/adapters.md, in an empty folder."""
    for name, text in BLOCK.findall((DOCS / "adapters.md").read_text()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_adapters_of_the_page_are_under_forty_lines_each(adapters: Path) -> None:
    for name in ("my_optimizer.py", "my_task.py"):
        assert len((adapters / name).read_text().splitlines()) < 40


@pytest.mark.parametrize(
    "line",
    [
        line.removeprefix("$ carps-like ")
        for line in (DOCS / "adapters.md").read_text().splitlines()
        if line.startswith("$ carps-like ")
    ],
)
def test_the_commands_of_the_page_run(adapters: Path, line: str) -> None:
    done = command(*shlex.split(line, comments=True), cwd=adapters)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {"run": "1 of 1 runs done", "check": "all checks passed"}
    assert said[line.split()[0]] in done.stdout + done.stderr


def test_the_objects_of_the_page_run_from_python(
    adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(adapters))
    from my_optimizer import Shrinking  # type: ignore[import-not-found]
    from my_task import Ridge  # type: ignore[import-not-found]

    results = carps_like.run(Shrinking, Ridge(), seed=0, trials=30)
    assert list(results.trials["trial"]) == list(range(30))
    assert results.trials["value"].min() < results.trials["value"].iloc[0]
    for module in ("my_optimizer", "my_task"):
        sys.modules.pop(module)


def test_the_page_of_columns_is_made_from_their_declaration() -> None:
    assert (DOCS / "schema.md").read_text() == markdown()


def test_every_link_of_the_pages_leads_somewhere() -> None:
    root = DOCS.parent
    for page in [root / "README.md", root / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+\.\w+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
