"""The HTML report and the terminal's table: valid, self-contained, and true to the frames."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import Frames, results, run

from carps_like.analysis import report
from carps_like.analysis.html import Section, number
from carps_like.analysis.report import ranking_text, write
from carps_like.errors import BadResults

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "</svg><script>alert('x')</script> $\\frac{1}$ & \"q\" \x07"


class Page(HTMLParser):
    """Collects what a valid, self-contained page must satisfy; fails on a wrong nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has an event handler"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def check(path: Path) -> Page:
    """The page, once it is found valid and free of anything from outside."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    tags = " ".join(re.findall(r"<[^>]*>", text))
    assert set(re.findall(r"url\((.*?)\)", tags)) <= {f"#{i}" for i in page.ids}
    assert "http" not in re.sub(r">[^<]*<", "><", text)
    assert "@import" not in text
    for drawn in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(drawn)
    return page


def study(tasks: int = 2, optimizers: str = "abc", seeds: int = 3, trials: int = 12) -> Frames:
    generator = np.random.default_rng(0)
    return results(
        *(
            run(o, f"bbob-t{t:03}", s, (generator.random(trials) + i).tolist(), optimum=[0.0],
                collection=f"c{t % 2}", carps_like="0.1.0", python="3.11.7", host="node1",
                versions='{"lib": "1"}')
            for t in range(tasks) for i, o in enumerate(optimizers) for s in range(seeds)
        )
    )  # fmt: skip


def test_the_page_holds_every_part_of_the_report(tmp_path: Path) -> None:
    path = write(study(), tmp_path / "new" / "report.html", command="carps-like run <x>")
    assert path == tmp_path / "new" / "report.html"
    page = check(path)
    for part in ("Ranking", "Rank over time", "Anytime performance", "Final performance",
                 "Failures", "Provenance", "a small difference can be chance", "0.1.0", "node1",
                 "2026-01-02 03:04:06 UTC", "carps-like run <x>", "95% interval",
                 "optimum declared by the task"):  # fmt: skip
        assert part in page.text
    assert page.tags.index("table") < page.tags.index("figure")  # the ranking comes first


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(study(), tmp_path / name) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_names_and_messages_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    hostile = {"objectives": [f"loss{HOSTILE}"], "collection": HOSTILE, "host": HOSTILE}
    frames = results(
        run(f"a{HOSTILE}", f"t{HOSTILE}", 0, [3, 2], **hostile),
        run("b", f"t{HOSTILE}", 0, [3, 1], **hostile),
        run("b", f"t{HOSTILE}", 1, [1], status="failed", error=f"ValueError: {HOSTILE}", **hostile),
    )
    page = check(write(frames, tmp_path / "r.html", title=HOSTILE, command=HOSTILE))
    assert "alert('x')" in page.text
    assert "\x07" not in page.text


def test_a_dollar_in_a_name_is_a_dollar_in_the_figure(tmp_path: Path) -> None:
    frames = results(run("a$x$", "t", 0, [3, 2], objectives=["cost $"]))
    page = check(write(frames, tmp_path / "r.html"))
    assert "a$x$" in page.text and "cost $" in page.text


def test_names_that_look_like_markup_of_figures_stay_as_they_are(tmp_path: Path) -> None:
    odd = 'x id="a" #0072b2 url(#b)'
    frames = results(run(odd, "t", 0, [3, 2], objectives=['y d="1.2345" #1b1f24']))
    text = check(write(frames, tmp_path / "r.html")).text
    assert text.count(odd) >= 3 and 'y d="1.2345" #1b1f24' in text


def test_logarithmic_ticks_are_plain_text(tmp_path: Path) -> None:
    frames = results(run("a", "t", 0, [10.0**-i for i in range(9)], optimum=[0.0]))
    text = write(frames, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "mathdefault" not in text
    assert "10⁻⁶" in text or "10⁻⁵" in text


EDGES = {
    "one run of one trial": results(run("a", "t", 0, [1.0])),
    "one optimizer": study(optimizers="a"),
    "one task": study(tasks=1),
    "one seed": study(seeds=1),
    "a constant task": results(run("a", "t", 0, [0.0, 0.0]), run("b", "t", 0, [0.0])),
    "only failed runs": results(
        run("a", "t", 0, [1.0], status="crashed", error="E: x"),
        run("b", "t", 0, [], status="timeout"),
    ),
    "only failed trials": results(run("a", "t", 0, [1.0], statuses=["failed"])),
    "unfinished runs": results(
        run("a", "t", 0, [1.0, 2.0]), run("b", "t", 0, [1.0], status="killed", ended=pd.NaT)
    ),
    "nothing in common": results(run("a", "t", 0, [1.0]), run("b", "u", 0, [2.0])),
    "unequal budgets": results(run("a", "t", 0, [3, 2, 1]), run("b", "t", 0, [2] * 40)),
    "an unsupported pair": results(
        run("a", "t", 0, [1.0]), run("b", "t", 0, [], status="unsupported", error="no fidelity")
    ),
    "no runs": Frames(study().runs.head(0), study().trials.head(0)),
    "two objectives": results(
        run("a", "t", 0, [[1, 2], [2, 1]]), run("b", "t", 0, [[2, 2], [3, 0]])
    ),
    "fidelities never full": results(
        run("a", "t", 0, [1, 2], fidelities=[1, 1], max_fidelity=9.0),
        run("b", "t", 0, [1, 2], fidelities=[1, 9], max_fidelity=9.0),
    ),
    "a long budget": results(
        *(run(o, "t", s, np.geomspace(1e6, 1e-6, 2000), optimum=[0.0])
          for o in "ab" for s in (0, 1))
    ),
    "huge and tiny values": results(run("a", "t", 0, [1e300, -1e300]), run("b", "t", 0, [1e-300])),
    "maximised": results(run("a", "t", 0, [-90, -95], minimize=[False], objectives=["accuracy"])),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_the_report_copes_with(name: str, tmp_path: Path) -> None:
    page = check(write(EDGES[name], tmp_path / "r.html"))
    assert "Failures" in page.text and not re.search(r"\bnan\b", page.text)
    lines = ranking_text(EDGES[name]).splitlines()
    assert lines and all(len(line) <= 100 for line in lines)
    assert not re.search(r"\bnan\b", "\n".join(lines))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("one optimizer", "a ran alone: there is nothing to compare it with."),
        ("one seed", "With one seed the spread between repetitions is unknown."),
        ("one task", "One task says nothing about others."),
        ("a constant task", "a and b share the lowest mean rank (1.50)"),
        ("only failed runs", "No ranking: no run ended with status ok."),
        ("unfinished runs", "No ranking: no task and seed was run by all optimizers"),
        ("nothing in common", "No ranking: no task and seed was run by all optimizers"),
        ("unequal budgets", "3 to 40 trials"),
        ("no runs", "There are no runs."),
    ],
)
def test_the_text_says_what_cannot_be_concluded(name: str, sentence: str) -> None:
    assert sentence in ranking_text(EDGES[name]).replace("\n", " ")


def test_the_table_of_the_terminal_is_aligned_and_ordered() -> None:
    lines = ranking_text(study()).splitlines()
    assert lines[0].split() == ["optimizer", "mean", "rank", "norm.", "regret", "wins", "tasks",
                                "runs", "failed"]  # fmt: skip
    assert [line.split()[0] for line in lines[2:5]] == ["a", "b", "c"]
    assert len({len(line) for line in lines[:5]}) == 1


def test_a_long_or_many_lined_name_does_not_break_the_terminal() -> None:
    frames = results(run("o" * 200 + "\n\x1b[31m", "t", 0, [1.0]), run("b", "t", 0, [2.0]))
    text = ranking_text(frames)
    assert "\x1b" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_values_are_shown_in_the_direction_that_the_task_declares(tmp_path: Path) -> None:
    text = check(write(EDGES["maximised"], tmp_path / "r.html")).text
    assert "↑ accuracy" in text and "95" in text and "−95" not in text


def test_the_reference_point_of_a_hypervolume_is_stated(tmp_path: Path) -> None:
    frames = results(
        run("a", "t", 0, [[-90, 2], [-80, 1]], minimize=[False, True], reference_point=[0.0, 9.0],
            objectives=["accuracy", "time"]),
        run("a", "u", 0, [[1, 2], [2, 1]]),
    )  # fmt: skip
    text = check(write(frames, tmp_path / "r.html")).text
    assert "accuracy = 0, time = 9declared by the task" in text
    assert "f0 = 2, f1 = 2worst values of the compared runs" in text


def test_a_run_that_found_nothing_is_said_and_not_averaged_away(tmp_path: Path) -> None:
    frames = results(run("a", "t", 0, [1.0]), run("a", "t", 1, [1.0], statuses=["failed"]))
    assert "no value in 1 of 2" in check(write(frames, tmp_path / "r.html")).text


def test_hundreds_of_tasks_stay_a_small_page(tmp_path: Path) -> None:
    path = write(study(tasks=500, optimizers="ab", seeds=1, trials=3), tmp_path / "r.html")
    page = check(path)
    assert path.stat().st_size < 3_000_000
    assert "48 of 500 tasks are drawn" in page.text and "400 of 500 tasks are shown" in page.text


def test_many_optimizers_are_listed_and_the_first_are_drawn(tmp_path: Path) -> None:
    frames = results(*(run(f"opt{i:02}", "t", 0, [float(i)]) for i in range(30)))
    page = check(write(frames, tmp_path / "r.html"))
    assert "The first 12 of 30 optimizers are drawn" in page.text
    assert all(f"opt{i:02}" in page.text for i in range(30))


def test_a_section_of_ones_own_takes_its_place(tmp_path: Path) -> None:
    def own(summary: report.Summary) -> Section:
        return Section("own", "My section", f"<p>{len(summary.tasks)} tasks</p>")

    page = check(write(study(), tmp_path / "r.html", sections=[*report.SECTIONS, own]))
    assert "My section" in page.text and "2 tasks" in page.text


def test_runs_that_cannot_be_told_apart_are_one_line(tmp_path: Path) -> None:
    frames = results(run("a", "t", 0, [1.0], run_id="r1"), run("a", "t", 0, [2.0], run_id="r2"))
    with pytest.raises(BadResults, match="'r1' and 'r2' are both a on t, seed 0"):
        write(frames, tmp_path / "r.html")


def test_the_terminal_table_loads_no_plotting_library() -> None:
    code = (
        "import sys; from carps_like.analysis.report import ranking_text; "
        "print(sorted({'matplotlib', 'scipy', 'statsmodels', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00002361, "2.361e−5"), (123456.7, "123457"), (1.23456e9, "1.235e9"),
     (-1.5, "−1.5"), (-0.0, "0"),
     (float("nan"), "–"), (94.8766, "94.88")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
