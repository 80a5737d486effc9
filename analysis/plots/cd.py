"""Critical-difference diagrams: `carps_like.analysis.cd.Diagram` as a figure or as TikZ."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from carps_like.analysis.cd import Diagram
from carps_like.analysis.plots import style
from carps_like.errors import BadValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEP = 0.24  # inches between names
BAR = 0.13  # inches between bars


def draw(diagram: Diagram, *, width: float = 7.2) -> Figure:
    """The figure: an axis with the marginal means, names at both sides, bars below the axis."""
    from matplotlib.figure import Figure as NewFigure

    names = diagram.entries["optimizer"].tolist()
    half = (len(names) + 1) // 2
    caption = textwrap.wrap(diagram.caption, int(width * 15))
    depth = 0.2 + BAR * len(diagram.bars) + STEP * half
    height = 0.75 + depth + 0.1 + 0.17 * len(caption)
    with style.rc():
        figure = NewFigure(figsize=(width, height))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(0, width)
        axes.set_ylim(-height + 0.75, 0.75)
        axes.axis("off")
        positions = _positions(diagram, width)
        _axis(axes, diagram, positions, width)
        _names(axes, diagram, positions, width)
        _bars(axes, diagram, positions)
        axes.text(
            0.12, -height + 0.83, "\n".join(caption), fontsize=7.5, color=style.INK, va="bottom"
        )
    return figure


def save(diagram: Diagram, path: str | Path) -> Path:
    """Write the diagram as ``.svg``, ``.pdf``, ``.png`` or ``.tex`` (TikZ), by its ending."""
    path = Path(path)
    if path.suffix == ".tex":
        path.write_text(tikz(diagram), encoding="utf-8")
        return path
    if path.suffix not in (".svg", ".pdf", ".png"):
        raise BadValue(f"{path.name}: a diagram is written as .svg, .pdf, .png or .tex")
    with style.rc():
        undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": None}
        draw(diagram).savefig(path, dpi=200, metadata=undated[path.suffix])
    return path


def tikz(diagram: Diagram, *, width: float = 12.0) -> str:
    """A ``tikzpicture`` without packages beyond TikZ; ``width`` in centimetres."""
    x = _positions(diagram, width)
    names = diagram.entries["optimizer"].tolist()
    values = diagram.entries["estimate"].tolist()
    half = (len(names) + 1) // 2
    below = 0.3 + 0.3 * len(diagram.bars)
    lines = [r"\begin{tikzpicture}[font=\small]", f"% {_one_line(diagram.caption)}"]
    lines.append(rf"\draw ({_left(width):.3f},0) -- ({_right(width):.3f},0);")
    for name, value in zip(names, values, strict=True):
        i = names.index(name)
        left = i < half
        level = below + 0.5 * ((i if left else len(names) - 1 - i) + 1)
        side = _left(width) - 0.1 if left else _right(width) + 0.1
        anchor = "east" if left else "west"
        lines.append(
            rf"\draw ({x[name]:.3f},0) -- ({x[name]:.3f},{-level:.3f}) "
            rf"-- ({side:.3f},{-level:.3f}) "
            rf"node[anchor={anchor}] {{{_tex(name)} ({value:.3g})}};"
        )
    for i, bar in enumerate(diagram.bars):
        depth = 0.3 + 0.3 * i
        lines.append(
            rf"\draw[line width=2pt] ({x[bar[0]]:.3f},{-depth:.3f}) "
            rf"-- ({x[bar[-1]]:.3f},{-depth:.3f});"
        )
        lines += [rf"\fill ({x[name]:.3f},{-depth:.3f}) circle (1.6pt);" for name in bar]
    lines.append(rf"\node[above] at ({width / 2:.3f},0.1) {{{_tex(diagram.axis)}}};")
    bottom = below + 0.5 * (half + 1) + 0.2
    lines.append(
        rf"\node[below, text width={width:.1f}cm, font=\footnotesize] at ({width / 2:.3f},"
        rf"{-bottom:.3f}) {{{_tex(diagram.caption)}}};"
    )
    return "\n".join([*lines, r"\end{tikzpicture}", ""])


def _left(width: float) -> float:
    return 0.25 * width


def _right(width: float) -> float:
    return 0.75 * width


def _positions(diagram: Diagram, width: float) -> dict[str, float]:
    """Horizontal place of every optimizer, best on the left."""
    values = diagram.entries["estimate"].to_numpy()
    span = values[-1] - values[0] or 1.0
    share = (values - values[0]) / span
    left, right = _left(width), _right(width)
    names = diagram.entries["optimizer"]
    return {n: left + float(s) * (right - left) for n, s in zip(names, share, strict=True)}


def _axis(axes: Axes, diagram: Diagram, positions: dict[str, float], width: float) -> None:
    values = diagram.entries["estimate"].tolist()
    axes.plot([_left(width), _right(width)], [0, 0], color=style.INK, linewidth=1)
    for name, value in ((0, values[0]), (-1, values[-1])):
        place = positions[diagram.entries["optimizer"].iloc[name]]
        axes.plot([place, place], [0, 0.08], color=style.INK, linewidth=1)
        axes.text(place, 0.12, f"{value:.3g}", ha="center", va="bottom", fontsize=8)
    axes.text(width / 2, 0.42, diagram.axis, ha="center", va="bottom", color=style.INK)


def _names(axes: Axes, diagram: Diagram, positions: dict[str, float], width: float) -> None:
    names = diagram.entries["optimizer"].tolist()
    values = diagram.entries["estimate"].tolist()
    half = (len(names) + 1) // 2
    below = 0.12 + BAR * len(diagram.bars)
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        left = i < half
        level = -below - STEP * ((i if left else len(names) - 1 - i) + 1)
        side = _left(width) - 0.08 if left else _right(width) + 0.08
        x = positions[name]
        axes.plot([x, x, side], [0, level, level], color=style.INK, linewidth=0.8)
        label = f"{textwrap.shorten(name, 30, placeholder='...')} ({value:.3g})"
        shift = -0.04 if left else 0.04
        axes.text(side + shift, level, label, ha="right" if left else "left", va="center")


def _bars(axes: Axes, diagram: Diagram, positions: dict[str, float]) -> None:
    """A bar per group, with a dot at each member: who is passed over is not in it."""
    for i, bar in enumerate(diagram.bars):
        level = -0.1 - BAR * i
        xs = [positions[name] for name in bar]
        axes.plot([xs[0], xs[-1]], [level, level], color=style.INK, linewidth=3.2,
                  solid_capstyle="round", gid="bar")  # fmt: skip
        axes.plot(xs, [level] * len(xs), "o", color=style.INK, markersize=4.6)


def _tex(text: str) -> str:
    names = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum"}
    names |= {"<": "less", ">": "greater", "|": "bar"}  # other glyphs in LaTeX's default fonts
    special = {c: rf"\text{name}{{}}" for c, name in names.items()}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
