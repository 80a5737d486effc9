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
    width = max(min(len(name), 28) for name in chosen) + 6
    ends: list[tuple[float, str]] = []
    with style.rc():
        figure, axes = style.new(*size, right=0.3 + 0.085 * width)
        for optimizer, group in frame.groupby("optimizer", observed=True, sort=True):
            name = str(optimizer)
            if name in chosen:
                line = chosen[name]
                axes.plot(group["fraction"] * 100, group["mean_rank"], color=line.color,
                          linestyle=line.dash, linewidth=1.9)  # fmt: skip
                ends.append((float(group["mean_rank"].iloc[-1]), name))
        top = max(float(frame["mean_rank"].max()), 1.0)
        axes.set_ylim(top + 0.15 * max(top - 1, 1), 1 - min(0.08 * max(top - 1, 1), 0.5))
        axes.set_xlim(frame["fraction"].min() * 100, 100)
        step = abs(axes.get_ylim()[0] - axes.get_ylim()[1]) / (size[1] * 4.6)
        ends.sort()
        places = _apart([rank for rank, _ in ends], step)
        for place, (rank, name) in zip(places, ends, strict=True):
            shown = name if len(name) <= 28 else name[:25] + "..."
            axes.annotate(f"{shown}  {rank:.2f}", (100, place), xytext=(6, 0),
                          textcoords="offset points", va="center",
                          color=chosen[name].color, annotation_clip=False)  # fmt: skip
        if log_x:
            style.logarithmic(axes.set_xscale, axes.xaxis)
        style.label(axes, "share of the budget spent, %", "mean rank (1 is best)")
    return figure


def _apart(wanted: list[float], step: float) -> list[float]:
    """Places for labels ``wanted`` in ascending order, ``step`` apart, as near as that allows.

    Labels that would touch form a group, which is centred on the mean of what its members want.
    """
    groups: list[list[float]] = []
    for place in wanted:
        groups.append([place])
        while (
            len(groups) > 1 and _places(groups[-2], step)[-1] + step > _places(groups[-1], step)[0]
        ):
            last = groups.pop()
            groups[-1] += last
    return [place for group in groups for place in _places(group, step)]


def _places(group: list[float], step: float) -> list[float]:
    first = sum(group) / len(group) - step * (len(group) - 1) / 2
    return [first + i * step for i in range(len(group))]
