"""Critical-difference diagrams from the contrasts of a model, as data.

Bars join groups of optimizers in which *all* pairs are not separated, and only maximal groups: the
maximal cliques of the graph of non-significant pairs. (After Demsar 2006, with the tests of the
mixed model in the place of Nemenyi's.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from carps_like.errors import BadValue

if TYPE_CHECKING:
    from carps_like.analysis.comparison import Comparison


@dataclass(frozen=True)
class Diagram:
    """What a critical-difference diagram shows."""

    entries: pd.DataFrame  # optimizer, estimate; best first
    bars: tuple[tuple[str, ...], ...]  # optimizers of every bar, best first
    caption: str  # test, adjustment, n and model
    axis: str  # what the position is


def groups(contrasts: pd.DataFrame, alpha: float = 0.05) -> list[set[str]]:
    """Maximal groups in which no pair differs; pairs without a p-value count as different.

    Args:
        contrasts: columns left, right, p_adjusted; every pair once.
        alpha: pairs with a smaller adjusted p differ.

    Raises:
        BadValue: pairs are missing, so nothing can be said about their groups.
    """
    names = sorted({*contrasts["left"].astype(str), *contrasts["right"].astype(str)})
    if len(contrasts) < len(names) * (len(names) - 1) / 2:
        raise BadValue(
            f"{len(contrasts)} contrasts of {len(names)} optimizers: a critical-difference diagram "
            "needs all pairs (no against=)"
        )
    joined: dict[str, set[str]] = {name: set() for name in names}
    for row in contrasts.to_dict("records"):
        if row["p_adjusted"] >= alpha:
            joined[str(row["left"])].add(str(row["right"]))
            joined[str(row["right"])].add(str(row["left"]))
    found: list[set[str]] = []
    _cliques(set(), set(names), set(), joined, found)
    return sorted((g for g in found if len(g) > 1), key=lambda g: sorted(g))


def _cliques(
    clique: set[str],
    candidates: set[str],
    done: set[str],
    joined: dict[str, set[str]],
    found: list[set[str]],
) -> None:
    """Bron and Kerbosch (1973) with a pivot."""
    if not candidates and not done:
        found.append(clique)
        return
    pivot = max(candidates | done, key=lambda name: (len(joined[name] & candidates), name))
    for name in sorted(candidates - joined[pivot]):
        near = joined[name]
        _cliques(clique | {name}, candidates & near, done & near, joined, found)
        candidates = candidates - {name}
        done = done | {name}


def diagram(result: Comparison, level: str | None = None) -> Diagram:
    """The diagram of a comparison, at one level of its inner factor when it has one.

    Raises:
        BadValue: the comparison was made within levels and none, or an unknown one, is chosen.
    """
    means, contrasts = result.means["estimate"], result.contrasts
    where = ""
    if result.by is not None:
        known = [str(v) for v in contrasts[result.by].unique()]
        if level not in known:
            raise BadValue(f"level={level!r}: choose a level of {result.by}: {', '.join(known)}")
        means = means.xs(level, level="by")
        contrasts = contrasts[contrasts[result.by] == level]
        where = f", {result.by} = {level}"
    ordered = means.dropna().sort_values(ascending=result.minimise, kind="stable")
    entries = pd.DataFrame({"optimizer": ordered.index.astype(str), "estimate": ordered.to_numpy()})
    place = {name: i for i, name in enumerate(entries["optimizer"])}
    bars = [tuple(sorted(g, key=lambda n: place[n])) for g in groups(contrasts, result.alpha)]
    bars.sort(key=lambda bar: (place[bar[0]], place[bar[-1]]))
    test = {"kenward-roger": "Kenward-Roger t", "satterthwaite": "Satterthwaite t", "z": "z"}
    caption = (
        f"{test[result.model.df_method]} tests, {result.adjust}-adjusted, "
        f"alpha = {result.alpha:g}, "
        f"n = {result.n_tasks} tasks ({len(result.frame)} runs){where}; {result.model.formula}"
    )
    better = "lower" if result.minimise else "higher"
    return Diagram(
        entries, tuple(bars), caption, f"marginal mean ({result.scale}), {better} is better"
    )
