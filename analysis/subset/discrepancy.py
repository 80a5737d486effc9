"""Star discrepancy of a point set: exact where that is affordable, bounded on both sides beyond."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from carps_like.analysis.subset import _accepting, _boxes, _sweep
from carps_like.analysis.subset._boxes import Ints
from carps_like.analysis.subset.axes import SIDES, Axes, Side, Target, as_points, build_axes
from carps_like.errors import BadValue

EXACT_DIMENSIONS = 5
EXACT_POINTS = 3000
# cells bounded between two looks at the clock and at Ctrl-C
CHUNK = 200_000


@dataclass(frozen=True)
class Discrepancy:
    """A star discrepancy and a box that attains it."""

    value: float  # in [0, 1]; exact, or a lower bound attained by the box
    corner: tuple[float, ...]  # upper corner; infinity: no limit on that axis (empirical target)
    side: Side  # whether the box contains its upper faces
    upper: float  # upper bound; equal to value when exact
    target: Target  # what the points are compared with

    @property
    def exact(self) -> bool:
        """Whether ``value`` is the discrepancy itself and not a lower bound."""
        return self.upper == self.value


def star_discrepancy(
    points: ArrayLike,
    target: Literal["uniform"] | ArrayLike = "uniform",
    effort: int = 2_000_000,
) -> Discrepancy:
    """L-infinity star discrepancy of ``points`` (k, d): the worst anchored box.

    With F the target's mass, it is the larger of sup #{p <= q}/k - F(closed box q) and
    sup F(open box q) - #{p < q}/k. ``target`` is "uniform", where F is volume and coordinates lie
    in [0, 1], or an array (n, d) of reference points, where F is their share in the box (closed
    with closed, open with open) and only the order of coordinates matters: any finite numbers are
    allowed. Points may repeat; a point with a coordinate 1 lies in no open box of the cube.

    Exact for d <= 5 and at most 3,000 points, by branch and bound on the critical grid
    (Niederreiter 1972; Dobkin, Eppstein and Mitchell 1996; Thiemard 2001). Beyond, ``value`` is a
    lower bound by threshold accepting (Gnewuch, Wahlstroem and Winzen 2012) and ``upper`` what
    branch and bound proves with about ``effort`` cells; both may still meet.

    Raises BadValue for anything but a finite table, or points outside the cube.
    """
    if isinstance(target, str):
        if target != "uniform":
            raise BadValue(f"target {target!r}: must be 'uniform' or an array of reference points")
        axes = build_axes(as_points(points, cube=True), None)
    else:
        table, reference = as_points(points), as_points(target, "reference points")
        if table.shape[1] != reference.shape[1]:
            raise BadValue(
                f"points have {table.shape[1]} coordinates, reference points {reference.shape[1]}"
            )
        axes = build_axes(table, reference)
    k, d = axes.ranks.shape
    exact = d <= EXACT_DIMENSIONS and max(k, axes.field.full) <= EXACT_POINTS
    return worst(axes, axes.ranks, None if exact else effort)


def worst(axes: Axes, ranks: Ints, effort: int | None = None) -> Discrepancy:
    """Star discrepancy of the points with ``ranks`` (k, d) on ``axes``; exact if no ``effort``."""
    k = len(ranks)
    best, corner, side = start(axes, ranks, 0 if effort is None else 20_000)
    upper = best
    if effort is None and _sweep.affordable(k, ranks.shape[1]):
        scratch = _sweep.make_scratch(k, axes.field)
        _sweep.sweep(np.arange(k), ranks, best, axes.field, scratch)
        which = int(scratch.found[1] > scratch.found[0])
        if scratch.hits[which]:
            best, side = float(scratch.found[which]), SIDES[which]
            corner = scratch.trail[which, (scratch.hits[which] - 1) % _sweep.TRAIL]
    else:
        for which, name in enumerate(SIDES):
            search = BoxSearch(axes, ranks, which)
            if effort is None:
                found, _, _ = search.run(best, 0.0)
            else:
                found, reach = search.deepen(best, effort // 2)
                upper = max(upper, reach)
            if found > best:
                best, corner, side = found, search.corner, name
    value = axes.value(best, k)
    return Discrepancy(
        value=value,
        corner=axes.corner(corner),
        side=side,
        upper=value if effort is None else max(value, axes.value(upper, k)),
        target=axes.target,
    )


def start(axes: Axes, ranks: Ints, steps: int) -> tuple[float, Ints, Side]:
    """A box that is attained, to prune with: score, corner ranks, side.

    The closed box around all points is one; threshold accepting with ``steps`` finds better.
    """
    corner = np.ascontiguousarray(ranks.max(axis=0))
    k, field = len(ranks), axes.field
    best = axes.unit(k) - _boxes.measure(_boxes.CLOSED, corner, field, k)
    side: Side = "closed"
    for which, name in enumerate(SIDES):
        if steps:
            score, found = _accepting.threshold_accepting(which, ranks, field, steps, 1)
            if score > best:
                best, corner, side = score, found, name
    return best, corner, side


class BoxSearch:
    """Branch and bound over the closed (side 0) or open (side 1) boxes of one subset."""

    def __init__(self, axes: Axes, ranks: Ints, side: int, trail: int = 1) -> None:
        self._axes, self._side = axes, side
        self._k, d = ranks.shape
        self.grid, self.sizes, self.inside = _boxes.thresholds(ranks, axes.field.tops, side)
        self._trail = np.zeros((trail, d), np.int64)
        self._hits = 0

    @property
    def corner(self) -> Ints:
        """Corner ranks (d,) of the worst box found."""
        corner: Ints = self._trail[(self._hits - 1) % len(self._trail)]
        return corner

    def violated(self, level: float) -> Ints:
        """Corner ranks (m, d) of boxes that score above ``level``, the worst among them."""
        self.run(level, 0.0)
        return self._trail[: min(self._hits, len(self._trail))]

    def run(
        self, best: float, slack: float, effort: float = math.inf
    ) -> tuple[float, float, float]:
        """(best score found, proved upper score, cells bounded); upper inf if out of effort."""
        stack = _boxes.root_stack(
            self._side, self.grid, self.sizes, self.inside, self._axes.field, self._k
        )
        depth, upper, spent = 1, best, 0.0
        while depth:
            chunk = int(min(CHUNK, effort - spent))
            if chunk <= 0:
                return best, math.inf, spent
            depth, best, skipped, self._hits, unused = _boxes.worst_box(
                self._side, self.grid, self.inside, self._axes.field, self._k,
                stack, depth, best, slack, self._trail, self._hits, chunk,
            )  # fmt: skip
            upper = max(upper, skipped)
            spent += chunk - unused
        return best, max(best, upper), spent

    def deepen(self, best: float, effort: float) -> tuple[float, float]:
        """Halve the slack until ``effort`` cells are spent: (best found, proved upper score)."""
        unit = self._axes.unit(self._k)
        upper, slack = unit, unit / 2
        while effort > 0:
            best, reach, spent = self.run(best, slack, effort)
            if math.isinf(reach):
                break
            upper = min(upper, reach)
            if upper <= best:
                break
            effort -= spent
            slack = slack / 2 if slack > unit * 1e-6 else 0.0
        return best, max(best, upper)
