"""How good a subset could at best be: linear and integer programs over the boxes that matter.

A subset of k points with discrepancy at most D has at most floor(k*(mass + D)) points in every
closed box and at least ceil(k*(mass - D)) in every open one. If fractions of points that sum to k
cannot satisfy these rows, no subset is that good: D is a lower bound. Rows are added lazily, and D
is found by bisection. A bound is only reported when the program's dual values prove it in plain
arithmetic: for weights y >= 0 of the rows, the k points with the smallest weighted coefficients
already exceed y * caps. With an integer program that is infeasible just below the value at hand
(HiGHS, within its floating-point tolerances) the subset is optimal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from carps_like.analysis.subset import _pool, _separate
from carps_like.analysis.subset._boxes import OPEN, Field, Floats, Ints, measure
from carps_like.analysis.subset.axes import Axes
from carps_like.analysis.subset.selection import RESOLUTION, Selection, check_problem, evaluate
from carps_like.errors import BadValue

# corners of the full grid that are looked at in one separation (both sides)
GRID_LIMIT = 1e9
# low levels are refuted by few rows: a bound is there early, and its rows serve the next level
FIRST_STRIDE = 1 / 8
ROWS_AT_ONCE = 60
LEAST_EXCESS = 1e-6


def prove(
    points: ArrayLike,
    found: Selection,
    time_limit: float = 25.0,
) -> Selection:
    """``found`` of ``select(points, ...)`` with a proved lower bound, or a better subset.

    ``time_limit``: seconds of CPU, looked at between two programs. The bound holds whenever it
    ends. The grid is searched completely up to 1e9 corners (n <= 1,000 for d = 3); beyond, only
    boxes that some subset violated are used, which gives a weaker bound but a valid one.
    """
    axes = check_problem(points, len(found.indices), found.target)
    if not time_limit > 0:
        raise BadValue(f"time_limit is {time_limit}: must be positive seconds")
    return improve_and_prove(found, axes, time_limit)


def improve_and_prove(
    found: Selection, axes: Axes, time_limit: float, banned: Sequence[int] = ()
) -> Selection:
    """The work of ``prove`` on axes that are already built; ``banned`` rows may not be chosen."""
    if found.optimal:
        return replace(found, lower_bound=found.value)
    proof = Proof(axes, found, time_limit, banned)
    try:
        proof.bisect(share=0.4)
        proof.settle()
        proof.bisect(share=1.0)
    except KeyboardInterrupt:
        pass  # the bound proved so far stands
    return proof.selection()


class Proof:
    """Rows known so far, the best subset, and the bound proved for it."""

    def __init__(
        self, axes: Axes, found: Selection, time_limit: float, banned: Sequence[int] = ()
    ) -> None:
        self._axes, self._found, self._k = axes, found, len(found.indices)
        self._unit = axes.unit(self._k)
        self._began, self._limit = time.process_time(), time_limit
        self._best = found.value * self._unit
        self._bound = found.lower_bound * self._unit
        if axes.field.full:
            self._bound = float(round(self._bound))
        self._optimal, self._reach = False, self._best
        self._bounds: list[tuple[float, float]] = [(0.0, found.lower_bound)]
        self._stride = FIRST_STRIDE
        n = len(axes.ranks)
        self._most = np.ones(n)  # 1 for points that may be chosen
        self._most[list(banned)] = 0.0
        self._member = np.zeros((0, n))
        self._base: list[float] = []
        self._side: list[int] = []
        self._known: set[tuple[int, ...]] = set()
        self._all_boxes = float(np.prod(axes.field.tops + 1.0)) <= GRID_LIMIT
        chosen = np.zeros(n)
        chosen[list(found.indices)] = 1.0
        self._separate(chosen, self._next_below())

    def selection(self) -> Selection:
        """The best subset known, with its bound."""
        value = self._found.value
        bound = value if self._optimal else min(self._bound / self._unit, value)
        # a bound that meets the value proves it as well as the integer program does
        optimal = self._optimal or bound >= value - RESOLUTION / 2
        return replace(self._found, lower_bound=bound, optimal=optimal, bounds=tuple(self._bounds))

    def bisect(self, share: float) -> None:
        """Raise the bound by linear programs until ``share`` of the time is spent."""
        step = 1.0 if self._axes.field.full else 0.0  # scores of the empirical target are whole
        reach = min(self._reach, self._best)  # the smallest level known to be feasible
        while not self._optimal and self._left(share) > 0:
            if reach - self._bound < max(step, RESOLUTION, 0.0 if step else 1e-4 * self._best):
                return
            middle = self._bound + self._stride * (reach - step - self._bound)
            middle = float(math.floor(middle)) if step else middle
            verdict = self._infeasible(middle, share)
            if verdict is None:
                return
            if verdict:
                self._bound = middle + step
                self._bounds.append((self._spent(), self._bound / self._unit))
                self._stride = min(2 * self._stride, 0.5)
            else:
                self._reach = reach = middle

    def settle(self) -> None:
        """Decide by integer programs whether any subset is better; take it if there is one."""
        while not self._optimal and self._left() > 0:
            level = self._next_below()
            if level < 0:
                self._optimal = True
                return
            answer = milp(
                np.zeros(self._member.shape[1]),
                constraints=[
                    LinearConstraint(csr_array(self._member), ub=self._caps(level)),
                    LinearConstraint(np.ones((1, self._member.shape[1])), self._k, self._k),
                ],
                integrality=np.ones(self._member.shape[1]),
                bounds=Bounds(0.0, self._most),
                options={"time_limit": self._left()},
            )
            if answer.status == 2:
                self._optimal = True
                self._bounds.append((self._spent(), self._best / self._unit))
            elif answer.x is None:
                return
            else:
                self._try(np.round(answer.x), level)

    def _try(self, x: Floats, level: float) -> None:
        """A subset that satisfies all rows: better than the best, or a source of new rows."""
        indices = np.flatnonzero(x > 0.5)
        exact = evaluate(self._axes, indices)
        if exact.value * self._unit <= level:
            self._best = exact.value * self._unit
            self._found = replace(
                self._found,
                indices=tuple(int(i) for i in indices),
                value=exact.value,
                corner=exact.corner,
                side=exact.side,
            )
        self._separate(x, self._next_below())
        corner = np.array(
            [np.searchsorted(row[: top + 1], c) for row, top, c in zip(
                self._axes.field.values, self._axes.field.tops, exact.corner, strict=True
            )]
        )  # fmt: skip
        self._add(int(exact.side == "open"), corner)

    def _infeasible(self, level: float, share: float) -> bool | None:
        """Whether no fractional subset reaches ``level``; None if time ran out first."""
        n = self._member.shape[1]
        while self._left(share) > 0:
            caps = self._caps(level)
            rows = len(caps)
            # minimise the common excess t of all rows
            answer = linprog(
                np.append(np.zeros(n), 1.0),
                A_ub=csr_array(np.hstack([self._member, -np.ones((rows, 1))])),
                b_ub=caps,
                A_eq=np.append(np.ones(n), 0.0)[None, :],
                b_eq=[self._k],
                bounds=[*((0.0, most) for most in self._most), (0.0, None)],
                method="highs",
                options={"time_limit": max(self._left(share), 0.1)},
            )
            if answer.x is None:
                return None
            if answer.x[-1] > LEAST_EXCESS:
                return self._certified(np.maximum(-answer.ineqlin.marginals, 0.0), caps)
            if not self._separate(answer.x[:n], level):
                return False
        return None

    def _certified(self, weights: Floats, caps: Floats) -> bool:
        """Whether ``weights`` of the rows prove that no k points satisfy them all."""
        coefficients = np.sort((weights @ self._member)[self._most > 0])[: self._k]
        return bool(math.fsum(coefficients) - math.fsum(weights * caps) > RESOLUTION)

    def _separate(self, x: Floats, level: float) -> bool:
        """Add the rows that ``x`` violates most at ``level``; whether there were any."""
        if not self._all_boxes:
            return False
        ranks, d = self._axes.ranks, self._axes.ranks.shape[1]
        field = self._axes.field
        if d == 1:
            ranks, field = _with_flat_axis(ranks, field)
        new = False
        lines = int(min(np.prod(field.tops[:-1] + 1.0), 500_000))
        for side in range(2):
            excess, corners = np.zeros(lines), np.zeros((lines, ranks.shape[1]), np.int64)
            found = _separate.separate(
                side, x, level, ranks, field, self._k, LEAST_EXCESS, excess, corners
            )
            for at in np.argsort(-excess[:found], kind="stable")[:ROWS_AT_ONCE]:
                new |= self._add(side, corners[at, -d:])
        return new

    def _add(self, side: int, corner: Ints) -> bool:
        """Add the row of one box; False if it is known."""
        key = (side, *(int(r) for r in corner))
        if key in self._known:
            return False
        self._known.add(key)
        inside = (self._axes.ranks < corner + (1 - side)).all(axis=1)
        self._member = np.vstack([self._member, ~inside if side == OPEN else inside])
        self._base.append(measure(side, np.asarray(corner), self._axes.field, self._k))
        self._side.append(side)
        return True

    def _caps(self, level: float) -> Floats:
        caps = _pool.caps_of(
            np.array(self._side, np.int64), np.array(self._base), level, self._k,
            self._axes.field.full,
        )  # fmt: skip
        return caps.astype(np.float64)

    def _next_below(self) -> float:
        """The largest score that would be an improvement."""
        if self._axes.field.full:
            return round(self._best) - 1.0
        return self._best - RESOLUTION

    def _spent(self) -> float:
        return time.process_time() - self._began

    def _left(self, share: float = 1.0) -> float:
        return share * self._limit - self._spent()


def _with_flat_axis(ranks: Ints, field: Field) -> tuple[Ints, Field]:
    """One-dimensional points as two-dimensional ones, on one coordinate of the first axis."""
    ranks = np.ascontiguousarray(np.hstack([np.zeros_like(ranks), ranks]))
    values = np.vstack([np.ones_like(field.values), field.values])
    return ranks, field._replace(values=values, tops=np.append(1, field.tops))
