"""Ranks over the budget: the frame of `carps_like.analysis.ranks.over_time`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from carps_like.analysis.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def over_time(
    frame: pd.DataFrame,
    *,
    log_x: bool = False,
    lines: dict[str, style.Line] | None = None,
    size: tuple[float, float] = (7.6, 3.6),
) -> Figure:
    """Mean rank over the share of the budget, the best on top, with the names at the line ends."""
    chosen = lines or style.lines(frame["optimizer"])
    ends: list[tuple[float, str]] = []
    with style.rc():
        figure, axes = style.new(*size)
        for optimizer, group in frame.groupby("optimizer", observed=True, sort=True):
            name = str(optimizer)
            if name in chosen:
                line = chosen[name]
                axes.plot(group["fraction"] * 100, group["mean_rank"], color=line.color,
                          linestyle=line.dash, linewidth=1.9)  # fmt: skip
                ends.append((float(group["mean_rank"].iloc[-1]), name))
        top = max(float(frame["mean_rank"].max()), 1.0)
        axes.set_ylim(top + 0.15 * max(top - 1, 1), 1 - 0.08 * max(top - 1, 1))
        axes.set_xlim(frame["fraction"].min() * 100, 100)
        step = abs(axes.get_ylim()[0] - axes.get_ylim()[1]) / (size[1] * 4.6)
        for place, (rank, name) in zip(_apart(sorted(ends), step), sorted(ends), strict=True):
            shown = name if len(name) <= 28 else name[:25] + "..."
            axes.annotate(f"{shown}  {rank:.2f}", (100, place), xytext=(6, 0),
                          textcoords="offset points", va="center",
                          color=chosen[name].color, annotation_clip=False)  # fmt: skip
        if log_x:
            style.logarithmic(axes.set_xscale, axes.xaxis)
        style.label(axes, "share of the budget spent, %", "mean rank (1 is best)")
    return figure


def _apart(ends: list[tuple[float, str]], step: float) -> list[float]:
    """Places for labels, at least ``step`` apart, as near to their lines as that allows."""
    places: list[float] = []
    for rank, _ in ends:
        places.append(max(rank, places[-1] + step) if places else rank)
    return places
