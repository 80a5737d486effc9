"""One look for all figures: a colour and a dash pattern per optimizer, the same everywhere.

The colours can be told apart with any common colour-vision deficiency (after Okabe and Ito, 2008,
darkened until each has a contrast of 3:1 with white).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#a87900", "#3a96d4", "#882255", "#5a5a5a")
DARK = ("#56b0ee", "#ff8f45", "#2fd0a0", "#e08fd2", "#e6b82e", "#9ad6ff", "#e0719a", "#c4c4c4")
INK, GRID = "#1b1f24", "#d8dee4"
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.6, 1.4, 1.6)))
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "carps-like",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Line:
    """How one optimizer is drawn."""

    index: int  # place among the optimizers

    @property
    def color(self) -> str:
        return LIGHT[self.index % len(LIGHT)]

    @property
    def dash(self) -> Any:
        return DASHES[(self.index // 4) % len(DASHES)]


def lines(optimizers: Iterable[str]) -> dict[str, Line]:
    """A line style per optimizer, by alphabetical order."""
    return {name: Line(i) for i, name in enumerate(sorted(set(map(str, optimizers))))}


def rc() -> Any:
    """The settings of every figure, as a context manager."""
    import matplotlib as mpl

    return mpl.rc_context(_RC)


def new(width: float, height: float, right: float = 0.12) -> tuple[Figure, Axes]:
    """A figure of ``width`` x ``height`` inches that belongs to no window, and its axes.

    The margins are fixed (finding them takes longer than drawing), ``right`` inches on the right.
    """
    from matplotlib.figure import Figure as NewFigure
    from matplotlib.ticker import MaxNLocator

    figure = NewFigure(figsize=(width, height))
    axes = figure.add_axes(
        (0.58 / width, 0.44 / height, 1 - (0.58 + right) / width, 1 - 0.8 / height)
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, which="both")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(_plain(axis))
    return figure, axes


def label(axes: Axes, x: str, y: str) -> None:
    """``x`` below the axes, ``y`` above them, where it can be read without turning the head."""
    axes.set_xlabel(x, color=INK)
    axes.set_title(y, color=INK, loc="left", fontsize=9.5)


def logarithmic(set_scale: Callable[[str], None], axis: Axis) -> None:
    """A logarithmic axis whose ticks are plain text: 10⁻³, not TeX."""
    from matplotlib.ticker import FuncFormatter as Formatter
    from matplotlib.ticker import LogLocator, NullFormatter

    set_scale("log")
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(Formatter(_power))
    axis.set_minor_formatter(NullFormatter())


def _power(value: float, _position: int | None = None) -> str:
    exponent = round(math.log10(value)) if value > 0 else 0
    if -3 < exponent < 4:
        return f"{value:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _plain(axis: Axis) -> FuncFormatter:
    """Ticks with as many digits as tell them apart, and no offset beside the axis."""
    from matplotlib.ticker import FuncFormatter as Formatter

    def text(value: float, _position: int | None = None) -> str:
        low, high = axis.get_view_interval()
        span, largest = abs(high - low) or 1.0, max(abs(low), abs(high))
        if abs(value) < 1e-9 * span:
            return "0"
        digits = min(max(math.ceil(math.log10(largest / span)) + 2, 4), 12)
        whole = 10**digits <= abs(value) < 1e6
        text = f"{value:.0f}" if whole else f"{value:.{digits}g}"
        return text.replace("-", "\N{MINUS SIGN}").replace("e+0", "e")

    return Formatter(text)
