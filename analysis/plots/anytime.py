"""Anytime curves of one task: the frame of `carps_like.analysis.anytime.over_seeds`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from carps_like.analysis.frames import check_choice
from carps_like.analysis.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(
    frame: pd.DataFrame,
    task: str,
    *,
    x: str = "budget",
    y: str = "value",
    flip: bool = False,
    log: bool | None = None,
    log_x: bool = False,
    lines: dict[str, style.Line] | None = None,
    title: bool = True,
    size: tuple[float, float] = (4.2, 2.7),
) -> Figure:
    """Mean over seeds and its interval, a line per optimizer.

    Args:
        frame: of `over_seeds`.
        task: whose rows are drawn.
        x, y: what the axes show.
        title: name the task too.
        flip: turn the sign of the values (of an objective that is maximised, of hypervolume).
        log: logarithmic values; by default where they are all positive and span two decades.
        log_x: logarithmic budget.
        lines: how each optimizer is drawn; by default by alphabetical order.
        size: inches.
    """
    check_choice("task", task, frame["task"].astype(str).unique())
    rows = frame[frame["task"].astype(str) == task]
    chosen = lines or style.lines(rows["optimizer"])
    with style.rc():
        figure, axes = style.new(*size)
        sign = -1.0 if flip else 1.0
        positive = rows["mean"][rows["mean"] > 0]
        if log is None:
            log = not flip and _decades(rows["mean"]) >= 2
        for optimizer, group in rows.groupby("optimizer", observed=True, sort=True):
            if str(optimizer) in chosen:
                _line(axes, group, chosen[str(optimizer)], sign)
        if log and len(positive):
            style.logarithmic(axes.set_yscale, axes.yaxis)
            low = max(positive.min(), positive.max() * 1e-12)
            axes.set_ylim(low / 2, positive.max() * 2)
        axes.margins(x=0.0)
        if log_x:
            style.logarithmic(axes.set_xscale, axes.xaxis)
        style.label(axes, x, f"{task}: {y}" if title else y)
    return figure


def _line(axes: Axes, group: pd.DataFrame, line: style.Line, sign: float) -> None:
    budget = group["budget"].to_numpy()
    mean = sign * group["mean"].to_numpy()
    axes.plot(budget, mean, color=line.color, linestyle=line.dash, linewidth=1.6,
              drawstyle="steps-post", solid_capstyle="butt")  # fmt: skip
    low, high = (sign * group[name].to_numpy() for name in ("lower", "upper"))
    if np.isfinite(low).any():
        axes.fill_between(budget, low, high, color=line.color, alpha=0.15, linewidth=0, step="post")


def _decades(means: pd.Series[float]) -> float:
    found = means.dropna()
    if len(found) == 0 or (found < 0).any() or not (found > 0).any():
        return 0.0
    positive = found[found > 0]
    return float(np.log10(positive.max()) - np.log10(positive.min()))
