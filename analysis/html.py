"""Pieces of a self-contained HTML page: escaped text, tables, inline figures, the page itself."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """A part of the report; ``body`` is HTML, with every name in it escaped."""

    anchor: str
    title: str
    body: str


def escape(text: object) -> str:
    """Text for anywhere in the page; control characters, which HTML forbids, are replaced."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(text))
    return html.escape(clean)


def number(value: float, digits: int = 4) -> str:
    """A number for people to read: ``digits`` significant digits, or whole below ten million."""
    if math.isnan(value):
        return "–"
    value += 0.0  # no minus before a zero
    whole = 10**digits <= abs(value) < 1e7
    text = f"{value:.0f}" if whole else f"{value:.{digits}g}"
    mantissa, _, exponent = text.partition("e")
    if exponent:
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "\N{MINUS SIGN}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: int = 1) -> str:
    """A table of cells that are HTML already; the first ``text`` columns are words, not numbers."""
    top = "".join(
        f'<th scope="col"{"" if i < text else _NUMBER}>{cell}</th>' for i, cell in enumerate(head)
    )
    body = []
    for row in rows:
        first = f'<th scope="row">{row[0]}</th>'
        rest = "".join(
            f"<td{'' if i < text else _NUMBER}>{cell}</td>" for i, cell in enumerate(row[1:], 1)
        )
        body.append(f"<tr>{first}{rest}</tr>")
    lines = "\n".join(body)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def paragraph(*sentences: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(' '.join(sentences))}</p>"


def svg(figure: Figure, name: str, caption: str) -> str:
    """The figure as inline SVG whose colours follow the page; ``name`` sets its ids apart."""
    from carps_like.analysis.plots import style

    file = io.StringIO()
    with style.rc():
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", text))
    text = re.sub(r"<[^>]*>", lambda m: _tag(m[0], name, used), text)  # names in texts stay
    text = re.sub(r"\n\s*", "\n", text)
    label = f'<svg role="img" aria-label="{escape(caption)}"'
    text = text.replace("<svg", label, 1).strip()
    return re.sub(r'(<svg[^>]*?) width="[\d.]+pt" height="[\d.]+pt"', r"\1", text, count=1)


def _tag(tag: str, name: str, used: set[str]) -> str:
    """A tag of a figure with ids of its own, colours of the page, and no more digits than show."""
    from carps_like.analysis.plots import style

    ids = r' id="([\w.-]+)"'
    tag = re.sub(ids, lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    tag = re.sub(r"(?:xlink:)?href=\"#", f'href="#{name}-', tag)
    tag = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", tag)
    tag = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), tag)
    tag = tag.replace(style.INK, "var(--ink)").replace(style.GRID, "var(--grid)")
    for i, color in enumerate(style.LIGHT):
        tag = tag.replace(color, f"var(--s{i})")
    return tag


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """A whole document: one file, no script, nothing loaded from anywhere."""
    from carps_like.analysis.plots import style

    contents = "".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in sections)
    body = "\n".join(
        f'<section id="{s.anchor}">\n<h2>{escape(s.title)}</h2>\n{s.body}\n</section>'
        for s in sections
    )
    css = _CSS.replace("LIGHT", _series(style.LIGHT)).replace("DARK", _series(style.DARK))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{css}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>
<nav aria-label="Contents"><ol>{contents}</ol></nav>
<main>
{body}
</main>
</body>
</html>
"""


def _series(colors: Sequence[str]) -> str:
    return " ".join(f"--s{i}: {color};" for i, color in enumerate(colors))


_NUMBER = ' class="n"'
_CSS = """
:root { --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --grid: #d8dee4; --head: #f3f5f8;
  --mark: #e8f3ec; --link: #0b5cad; LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --ink: #e4e8ec; --soft: #9aa4af; --grid: #333a42; --head: #1d2228;
    --mark: #1c3327; --link: #7ab8ff; DARK }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 2.5rem) 4rem; max-width: 88rem;
  background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 48rem; margin: .5rem 0; overflow-wrap: anywhere; }
header p, .note, figcaption { color: var(--soft); }
.note, figcaption { font-size: .875rem; }
a { color: var(--link); }
nav ol { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; list-style: none; margin: 1rem 0 0;
  padding: 0; font-size: .95rem; }
.lead { font-size: 1.08rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { width: max-content; border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .34rem .8rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--grid); }
thead th { background: var(--head); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
td small, th small { font-weight: 400; display: block; color: var(--soft); font-size: .78rem; }
.best { background: var(--mark); font-weight: 600; border-radius: 3px; padding: 0 .3em; }
.wrap { overflow-wrap: anywhere; min-width: 12rem; display: inline-block;
  max-width: min(40rem, 70vw); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: .8rem 0; padding: 0;
  list-style: none; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .5rem; overflow-wrap: anywhere; }
.legend svg, th svg { width: 2.2rem; height: .7rem; flex: none; }
th svg { margin-right: .55rem; }
.panels { display: grid; gap: 1.2rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure > svg { width: 100%; height: auto; display: block; }
figure.wide { max-width: 60rem; margin: .8rem 0; overflow-x: auto; }
figure.wide > svg { min-width: 28rem; }
figure h4 { margin: 0 0 .2rem; font-size: .9rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem;
  max-width: 60rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em;
  overflow-wrap: anywhere; }
@media print { nav { display: none; } section { break-inside: auto; } }
"""
