"""What long-running scripts measured of optimizer variants: JSON lines that are only added to.

They stand in ``docs/measured``, so that the next call, on whatever machine, goes on from there. A
row counts as long as the variant is what it was: its adapter's module and its options.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

from carps_like.registry import variant, variants
from carps_like.variants import Variant

Row = dict[str, Any]
DOCS = Path(__file__).parents[1] / "docs"
MEASURED = DOCS / "measured"


def measured(name: str) -> Variant:
    """The variant of a row: what follows an ``@`` in ``name`` says on what it was measured."""
    return variant(name.partition("@")[0])


@cache
def made_from(name: str) -> str:
    """Hash of the adapter's module and the options of the variant of that row."""
    chosen = measured(name)
    source = Path(inspect.getfile(chosen.adapter)).read_bytes()
    return hashlib.sha256(source + json.dumps(chosen.data).encode()).hexdigest()[:12]


class Rows:
    """The rows of a file whose variant is still what it was, in their order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        known = variants()
        found = (json.loads(line) for line in lines)
        self.rows: list[Row] = [
            r
            for r in found
            if r["name"].partition("@")[0] in known and r["made_from"] == made_from(r["name"])
        ]

    def add(self, row: Row) -> None:
        row = {"name": row["name"], "made_from": made_from(row["name"])} | row
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)

    def prune(self) -> None:
        """Take the rows of variants that have changed out of the file."""
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        self._path.with_suffix(".new").write_text(text)
        self._path.with_suffix(".new").replace(self._path)


def into_page(start: str, end: str, text: str) -> None:
    """Put ``text`` between two marks of docs/optimizers.md."""
    page = DOCS / "optimizers.md"
    whole = page.read_text()
    before, after = whole.split(start)[0], whole.split(end)[1]
    page.write_text(f"{before}{start}\n\n{text}\n{end}{after}")
