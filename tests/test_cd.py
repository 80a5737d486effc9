"""Critical-difference diagrams: bars only over groups in which no pair differs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carps_like.analysis import cd
from carps_like.analysis.comparison import compare
from carps_like.analysis.plots import cd as plot
from carps_like.analysis.simulation import experiment
from carps_like.errors import BadValue


def contrasts(p: dict[tuple[str, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [(a, b, v) for (a, b), v in p.items()], columns=["left", "right", "p_adjusted"]
    )


def test_a_chain_of_pairs_gives_two_bars_and_not_one() -> None:
    """a ~ b and b ~ c, but a differs from c."""
    table = contrasts({("a", "b"): 0.5, ("b", "c"): 0.5, ("a", "c"): 0.01})
    assert cd.groups(table) == [{"a", "b"}, {"b", "c"}]


def test_single_optimizers_have_no_bar_and_nan_is_no_evidence_of_equality() -> None:
    table = contrasts({("a", "b"): 0.001, ("b", "c"): np.nan, ("a", "c"): 0.2})
    assert cd.groups(table) == [{"a", "c"}]


@given(st.integers(2, 7), st.integers(0, 2**21 - 1))
def test_bars_are_exactly_the_maximal_groups(n: int, bits: int) -> None:
    names = [f"o{i}" for i in range(n)]
    pairs = list(itertools.combinations(names, 2))
    equal = {frozenset(pair): bool(bits >> i & 1) for i, pair in enumerate(pairs)}
    table = contrasts({pair: 0.9 if equal[frozenset(pair)] else 0.01 for pair in pairs})
    whole = [
        set(group)
        for size in range(2, n + 1)
        for group in itertools.combinations(names, size)
        if all(equal[frozenset(pair)] for pair in itertools.combinations(group, 2))
    ]
    maximal = [g for g in whole if not any(g < other for other in whole)]
    assert sorted(map(sorted, cd.groups(table))) == sorted(map(sorted, maximal))


def test_a_table_without_all_pairs_is_refused() -> None:
    with pytest.raises(BadValue, match="needs all pairs"):
        cd.groups(contrasts({("a", "c"): 0.5, ("b", "c"): 0.5}))


@pytest.fixture(scope="module")
def diagram() -> cd.Diagram:
    data = experiment(np.random.default_rng(0), optimizers=5, seeds=5, effect=-2.0)
    data["optimizer"] = data["optimizer"].replace("optimizer-1", "100%_&<odd>")
    return cd.diagram(compare(data))


def test_the_diagram_names_test_adjustment_n_and_model(diagram: cd.Diagram) -> None:
    for part in (
        "Kenward-Roger",
        "tukey-adjusted",
        "n = 12 tasks (300 runs)",
        "(1|task:optimizer)",
    ):
        assert part in diagram.caption
    assert diagram.entries["optimizer"].iloc[0] == "optimizer-0"
    assert diagram.entries["estimate"].is_monotonic_increasing
    assert all("optimizer-0" not in bar for bar in diagram.bars)


def test_the_figure_has_one_bar_per_group_from_its_first_to_its_last_member(
    diagram: cd.Diagram,
) -> None:
    axes = plot.draw(diagram).axes[0]
    bars = [line for line in axes.lines if line.get_gid() == "bar"]
    places = plot._positions(diagram, 7.2)
    assert len(bars) == len(diagram.bars) > 0
    for line, bar in zip(bars, diagram.bars, strict=True):
        np.testing.assert_allclose(line.get_xdata(), [places[bar[0]], places[bar[-1]]])


@pytest.mark.parametrize("ending", ["svg", "pdf", "png", "tex"])
def test_diagrams_are_written_in_every_format_the_same_each_time(
    diagram: cd.Diagram, tmp_path: Path, ending: str
) -> None:
    first = plot.save(diagram, tmp_path / f"a.{ending}").read_bytes()
    second = plot.save(diagram, tmp_path / f"b.{ending}").read_bytes()
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG", "tex": b"\\begin{tikzpicture}"}
    assert first.startswith(starts[ending]) and first == second
    if ending == "svg":
        text = " ".join(ElementTree.fromstring(first).itertext())
        assert "100%_&<odd>" in text and "Kenward-Roger" in text


def test_tikz_escapes_names_and_balances_braces(diagram: cd.Diagram) -> None:
    text = plot.tikz(diagram)
    assert r"100\%\_\&\textless{}odd\textgreater{}" in text
    assert "(1\\textbar{}task)" in text
    body = text.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    assert text.count("line width=2pt") == len(diagram.bars)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_tikz_compiles(diagram: cd.Diagram, tmp_path: Path) -> None:
    body = plot.tikz(diagram)
    page = rf"\documentclass{{article}}\usepackage{{tikz}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_other_endings_are_refused(diagram: cd.Diagram, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"a\.gif"):
        plot.save(diagram, tmp_path / "a.gif")
