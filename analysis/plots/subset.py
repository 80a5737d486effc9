"""Pictures of subsets: what was chosen, how the search went, and how far to trust it."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from carps_like.analysis.subset.selection import Selection

CHOSEN, REST, BOX = "#c2410c", "#94a3b8", "#1d4ed8"


def projections(points: pd.DataFrame, selection: Selection) -> Figure:
    """Every pair of coordinates: the full set, the subset, and the worst box's shadow.

    ``points``: (tasks, optimizers) as given to ``select``.
    """
    pairs = list(itertools.combinations(range(points.shape[1]), 2)) or [(0, 0)]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 3.7 * rows), squeeze=False, layout="constrained"
    )
    table, chosen = points.to_numpy(), list(selection.indices)
    for panel, (x, y) in zip(axes.flat, pairs, strict=False):
        panel.plot(table[:, x], table[:, y], "o", ms=4, color=REST, label=f"all {len(table)}")
        panel.plot(
            table[chosen, x],
            table[chosen, y],
            "o",
            ms=6,
            color=CHOSEN,
            label="chosen",
        )
        low, high = table[:, [x, y]].min(axis=0), table[:, [x, y]].max(axis=0)
        margin = 0.05 * np.where(high > low, high - low, 1.0)
        corner = np.minimum([selection.corner[x], selection.corner[y]], high + margin)
        panel.add_patch(
            Rectangle(
                tuple(low - margin), *(corner - low + margin), fill=True, facecolor=BOX, alpha=0.08
            )
        )
        panel.add_patch(
            Rectangle(
                tuple(low - margin), *(corner - low + margin), fill=False, edgecolor=BOX,
                linestyle="-" if selection.side == "closed" else "--",
                label=f"worst box ({selection.side})",
            )
        )  # fmt: skip
        panel.set(xlabel=str(points.columns[x]), ylabel=str(points.columns[y]))
    for panel in axes.flat[len(pairs) :]:
        panel.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def search_progress(selection: Selection) -> Figure:
    """Discrepancy of the best subset over CPU time: the search, then the bound of the proof."""
    figure, panel = plt.subplots(figsize=(6, 3.6), layout="constrained")
    seconds = [max(row[0], 1e-3) for row in selection.history]
    best = [row[2] for row in selection.history]
    bounds = [(seconds[-1] + spent, bound) for spent, bound in selection.bounds]
    end = 1.5 * (bounds[-1][0] if bounds else seconds[-1])
    panel.step([*seconds, end], [*best, selection.value], where="post", color=CHOSEN, label="best")
    if bounds:
        bounds.append((end, selection.lower_bound))
        panel.step(*zip(*bounds, strict=True), where="post", color=BOX, label="lower bound")
    panel.set(xscale="log", xlabel="CPU time of search and proof [s]", ylabel="star discrepancy")
    panel.set_title(selection.describe().replace(" target), ", " target)\n"), fontsize=9)
    panel.legend(frameon=False)
    return figure


def rank_agreement(frame: pd.DataFrame, group: str = "held-out") -> Figure:
    """Kendall's tau against subset size, one line per method.

    ``frame``: rows of ``validate``; one panel per budget.
    """
    frame = frame[frame["group"] == group]
    budgets = sorted(frame["budget"].unique())
    figure, axes = plt.subplots(
        1, len(budgets), figsize=(4.2 * len(budgets), 3.6), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for panel, budget in zip(axes.flat, budgets, strict=True):
        for method, rows in frame[frame["budget"] == budget].groupby("method", sort=False):
            rows = rows.sort_values("k")
            style = {"color": REST, "linestyle": "--"} if method == "random" else {}
            panel.plot(rows["k"], rows["kendall"], marker="o", ms=4, label=str(method), **style)
        panel.set(xlabel="subset size k", title=f"budget {budget:g}, {group} optimizers")
    axes[0, 0].set_ylabel("Kendall's tau with the full set")
    axes[0, 0].legend(frameon=False)
    return figure


def surviving(frame: pd.DataFrame) -> Figure:
    """Share of pairwise conclusions that survive, against subset size.

    ``frame``: of ``surviving_conclusions``.
    """
    figure, panel = plt.subplots(figsize=(5, 3.6), layout="constrained")
    panel.plot(frame["k"], frame["share"], marker="o", color=CHOSEN, label="mean")
    panel.plot(frame["k"], frame["lowest"], marker="o", ms=3, color=REST, label="lowest")
    panel.set(xlabel="subset size k", ylabel="share of conclusions kept", ylim=(0, 1.02))
    panel.legend(frameon=False)
    return figure
