"""Select k of n points so that their worst anchored box is as small as the search can make it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from carps_like.analysis.subset import _exchange, _lanes, _pool, _sweep
from carps_like.analysis.subset._boxes import Ints, pack, rank_masks
from carps_like.analysis.subset.axes import Axes, Side, Target, as_points, build_axes
from carps_like.analysis.subset.discrepancy import BoxSearch, Discrepancy, worst
from carps_like.errors import BadValue

# improvements of the uniform target below this are rounding, not progress
RESOLUTION = 1e-9
# boxes known at once, whole blocks: in four dimensions a search that forgets boxes sooner mostly
# finds them again
POOL = 257 * _lanes.BLOCK
# exchanges between two looks at the clock and at Ctrl-C
CHUNK = 500


@dataclass(frozen=True)
class Selection:
    """A subset, what it is worth, and how good it could at best be."""

    indices: tuple[int, ...]  # rows of the points, ascending
    value: float  # exact star discrepancy of these rows (best lower bound beyond the exact range)
    lower_bound: float  # no subset of this size is below; weak unless ``prove`` worked on it
    optimal: bool  # whether value is proved to be the smallest possible
    corner: tuple[float, ...]  # upper corner of the worst box
    side: Side  # whether that box contains its upper faces
    target: Target  # what the subset is compared with
    seed: int
    evaluations: int  # exchanges and exact tests made; repeats the search with the same seed
    history: tuple[tuple[float, int, float], ...]  # (CPU seconds, evaluations, value) of each best
    bounds: tuple[tuple[float, float], ...] = ()  # (CPU seconds, lower bound) as they were proved

    @property
    def gap(self) -> float:
        """value - lower_bound: what is at most left to gain."""
        return self.value - self.lower_bound

    def describe(self) -> str:
        """One line with value, bound and gap."""
        state = "proved optimal" if self.optimal else f"gap {self.gap:.6f}"
        return (
            f"{len(self.indices)} points, star discrepancy {self.value:.6f} ({self.target} "
            f"target), lower bound {self.lower_bound:.6f}, {state}"
        )


def select(
    points: ArrayLike,
    k: int,
    target: Literal["empirical", "uniform"] = "empirical",
    seed: int = 0,
    evaluations: int | None = None,
    time_limit: float | None = 10.0,
    prove: float = 0.0,
) -> Selection:
    """The ``k`` rows of ``points`` (n, d) with the smallest star discrepancy that is found.

    ``target``: "empirical" compares the subset with all rows, so only the order of coordinates
    matters; "uniform" with the unit cube, and needs coordinates in [0, 1].
    ``seed`` and ``evaluations``: the same pair gives the same indices, if ``time_limit`` (seconds
    of CPU, None for no limit, compilation not counted) does not end the search first; the result
    states how many evaluations were made. Without both limits only Ctrl-C ends it; Ctrl-C returns
    the best so far. ``prove``: seconds of CPU to spend on a lower bound afterwards, see ``prove``;
    without, ``lower_bound`` is that of ``whole_points_bound``.

    Weighted exchange search on a lazily grown pool of boxes, see ``_exchange``.
    Raises BadValue for a bad table, ``k``, target or limit.
    """
    axes = check_problem(points, k, target)
    check_limits(seed, evaluations, time_limit, prove)
    search = Search(axes, k, seed)
    search.run(evaluations, math.inf if time_limit is None else time_limit)
    found = search.selection()
    if prove > 0:
        from carps_like.analysis.subset.proof import improve_and_prove

        return improve_and_prove(found, axes, prove)
    return found


def check_problem(points: ArrayLike, k: int, target: str) -> Axes:
    """The axes of a checked table."""
    if target not in ("empirical", "uniform"):
        raise BadValue(f"target {target!r}: must be 'empirical' or 'uniform'")
    table = as_points(points, cube=target == "uniform")
    check_size(k, len(table))
    return build_axes(table, table if target == "empirical" else None)


def check_size(k: int, n: int, what: str = "k") -> None:
    """``k`` must be a whole number in 1..n."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise BadValue(f"{what} is {k!r}: must be a whole number")
    if k < 1:
        raise BadValue(f"{what} is {k}: a subset needs at least 1 task")
    if k > n:
        raise BadValue(f"{what} is {k}, but there are only {n} tasks to choose from")


def check_limits(
    seed: int, evaluations: int | None, time_limit: float | None, prove: float
) -> None:
    """Raise BadValue for a limit that makes no sense."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise BadValue(f"seed is {seed!r}: must be a whole number, 0 or more")
    if evaluations is not None and evaluations < 0:
        raise BadValue(f"evaluations is {evaluations}: must be 0 or more, or None for no limit")
    if time_limit is not None and not time_limit > 0:
        raise BadValue(f"time_limit is {time_limit}: must be positive seconds, or None")
    if not prove >= 0:
        raise BadValue(f"prove is {prove}: must be 0 or more seconds")


class Search:
    """One search; a deterministic sequence of exchanges that any limit only cuts short.

    The level to reach lies a fraction ``aim`` below the best. When ``patience`` exchanges do not
    reach it the fraction is halved; when it is small, a new random start is made, with more
    patience. The pool of boxes is kept from start to start.
    """

    AIM, LEAST_AIM, LATER_AIM = 0.02, 4e-3, 4e-3
    PATIENCE, MORE_PATIENCE = 5_000, 1.2

    def __init__(self, axes: Axes, k: int, seed: int, banned: Ints | None = None) -> None:
        n, d = axes.ranks.shape
        self._axes, self._k, self._seed = axes, k, seed
        self._rng = np.random.default_rng(seed)
        self._unit = axes.unit(k)
        self._pool = _new_pool(n)
        self._state = _new_state(n, int(self._rng.integers(1 << 62)))
        few = _sweep.affordable(k, d)
        self._scratch = _sweep.make_scratch(k, axes.field) if few else None
        full = axes.field.full
        self._masks = axes.field.reference if full else rank_masks(axes.ranks, axes.field.tops + 1)
        self._free = np.setdiff1d(np.arange(n), [] if banned is None else banned)
        if banned is not None:
            self._state.until[banned] = _pool.NEVER
        self._aim, self._patience = self.AIM, self.PATIENCE
        self._best: tuple[Ints, Discrepancy] | None = None
        self._history: list[tuple[float, int, float]] = []
        self._restart()

    def run(self, evaluations: int | None, time_limit: float) -> None:
        """Search on until a limit, Ctrl-C, or a value of 0."""
        try:
            self._record(0.0)
            self._compile()
            began = time.process_time()
            last = math.inf if evaluations is None else evaluations
            deadline = self._steps + self._patience
            level = self._set_level()
            while self._score > 0 and level >= 0 and self._free.size > self._k:
                spent = time.process_time() - began
                if self._steps >= last or spent >= time_limit:
                    break
                until = int(min(self._steps + CHUNK, deadline, last))
                if self._advance(level, until):
                    self._record(time.process_time() - began)
                elif self._steps < deadline:
                    continue
                else:
                    self._give_up(level)
                deadline = self._steps + self._patience
                level = self._set_level()
        except KeyboardInterrupt:
            if self._best is None:
                raise

    def selection(self) -> Selection:
        """The best subset so far."""
        assert self._best is not None
        indices, found = self._best
        bound = min(whole_points_bound(self._axes, self._k), found.value)
        return Selection(
            indices=tuple(int(i) for i in indices),
            value=found.value,
            lower_bound=bound,
            optimal=found.exact and (found.value <= bound or self._free.size == self._k),
            corner=found.corner,
            side=found.side,
            target=self._axes.target,
            seed=self._seed,
            evaluations=self._steps,
            history=tuple(self._history),
        )

    def _chosen(self) -> Ints:
        return np.flatnonzero(_lanes.members(self._state.chosen, len(self._axes.ranks)))

    @property
    def _steps(self) -> int:
        return int(self._state.tally[_pool.STEPS])

    @property
    def _score(self) -> float:
        assert self._best is not None
        return self._best[1].value * self._unit

    def _advance(self, level: float, until: int) -> bool:
        """Exchange and test up to step ``until``; whether the level was reached."""
        axes, pool, state = self._axes, self._pool, self._state
        while self._steps < until:
            if self._scratch is None:
                _exchange.exchange(pool, state, until)
                if state.tally[_pool.VIOLATED]:
                    break
                if state.tally[_pool.ROWS] + 2 * _sweep.TRAIL > POOL:
                    self._forget(level)
                elif self._test(level):
                    return True
                continue
            ended = _exchange.advance(
                pool, state, self._scratch, until, level, axes.ranks, self._masks, axes.field,
                self._k,
            )  # fmt: skip
            if ended == _exchange.CROWDED:
                self._forget(level)
            elif ended == _exchange.REACHED:
                return True
        return False

    def _test(self, level: float) -> bool:
        """Whether the subset, too large to be swept, is within ``level``; its boxes join the pool.

        A test is a step.
        """
        axes = self._axes
        ranks = np.ascontiguousarray(axes.ranks[self._chosen()])
        self._state.tally[_pool.STEPS] += 1
        within = True
        for side in range(2):
            corners = BoxSearch(axes, ranks, side, _sweep.TRAIL).violated(level)
            if len(corners):
                within = False
                _pool.add_boxes(
                    side, corners, level, self._masks, axes.field, self._k, self._pool, self._state
                )
        return within

    def _compile(self) -> None:
        """Compile, or load what is compiled, before the clock starts."""
        self._advance(self._set_level(), self._steps + 1)

    def _forget(self, level: float) -> None:
        """Drop the half of the rows that were violated longest ago."""
        pool, rows = self._pool, int(self._state.tally[_pool.ROWS])
        kept = rows // 2
        order = np.sort(np.argsort(-pool.seen[:rows], kind="stable")[:kept])
        for part in (pool.member, pool.side, pool.base, pool.weight, pool.seen):
            part[:kept] = part[order]
        held = np.zeros((len(pool.column), POOL), np.bool_)
        held[:, :kept] = _lanes.members(pool.member[:kept], len(held)).T
        pool.column[:] = pack(held)
        pool.over[kept:] = _pool.UNUSED
        self._state.tally[_pool.ROWS] = kept
        self._state.tally[_pool.WEIGHT] = pool.weight[:kept].sum()
        self._enter(level)

    def _enter(self, level: float) -> None:
        """Make all rows take part at ``level`` (a score)."""
        pool, rows = self._pool, int(self._state.tally[_pool.ROWS])
        caps = _pool.caps_of(
            pool.side[:rows], pool.base[:rows], level, self._k, self._axes.field.full
        )
        held = _lanes.members(pool.column[self._chosen()], rows).sum(axis=0, dtype=np.int16)
        pool.over[:rows] = held - caps
        violated = np.flatnonzero(pool.over[:rows] > 0)
        pool.listed[: len(violated)] = violated
        self._state.tally[_pool.VIOLATED] = len(violated)

    def _record(self, spent: float) -> None:
        indices = self._chosen()
        found = evaluate(self._axes, indices)
        if self._best is None or found.value < self._best[1].value:
            self._best = indices, found
            self._history.append((spent, self._steps, found.value))

    def _set_level(self) -> float:
        level = min(self._score * (1 - self._aim), self._next_below())
        if self._axes.field.full:
            level = float(math.floor(level))
        self._enter(level)
        return level

    def _next_below(self) -> float:
        """The largest score that counts as an improvement."""
        if self._axes.field.full:
            return round(self._score) - 1.0
        return self._score - RESOLUTION

    def _give_up(self, level: float) -> None:
        """The level was not reached: aim at less, or start again."""
        if self._aim >= 2 * self.LEAST_AIM and level < self._next_below():
            self._aim /= 2
        else:
            self._aim = self.LATER_AIM
            self._patience = int(self._patience * self.MORE_PATIENCE)
            self._restart()

    def _restart(self) -> None:
        chosen = np.zeros(len(self._state.since), np.bool_)
        chosen[self._rng.choice(self._free, self._k, replace=False)] = True
        self._state.chosen[:] = pack(chosen[None])[0]
        free = self._state.until < _pool.NEVER
        self._state.until[free] = 0
        self._pool.weight[:] = 1
        self._state.tally[_pool.WEIGHT] = self._state.tally[_pool.ROWS]


def whole_points_bound(axes: Axes, k: int) -> float:
    """A lower bound that needs no search: a box holds a whole number of the ``k`` points.

    Uniform target: 1 / (2k), the least in one dimension. Empirical target: the largest distance
    between the share of the full set in a box and a multiple of 1/k, over boxes limited on one
    axis; too few points in a closed box are too few in the open box up to the next coordinate.
    """
    n = axes.field.full
    if n == 0:
        return 1 / (2 * k)
    bound = 0.0
    for column in axes.ranks.T:
        shares = np.cumsum(np.bincount(column)) * k % n
        bound = max(bound, float(np.minimum(shares, n - shares).max()))
    return axes.value(bound, k)


def evaluate(axes: Axes, indices: Ints) -> Discrepancy:
    """Exact discrepancy of the rows ``indices``; its corner in coordinates."""
    return worst(axes, np.ascontiguousarray(axes.ranks[indices]))


def _new_pool(n: int) -> _pool.Pool:
    return _pool.Pool(
        member=np.zeros((POOL, _lanes.blocks(n)), np.uint64),
        column=np.zeros((n, POOL // _lanes.BLOCK), np.uint64),
        side=np.zeros(POOL, np.int64),
        base=np.zeros(POOL),
        over=np.full(POOL, _pool.UNUSED, np.int16),
        weight=np.ones(POOL, np.int16),
        seen=np.zeros(POOL, np.int64),
        listed=np.zeros(POOL + _lanes.BLOCK, np.int64),  # see list_above
    )


def _new_state(n: int, seed: int) -> _pool.State:
    blocks = _lanes.blocks(n)
    points = blocks * _lanes.BLOCK
    return _pool.State(
        chosen=np.zeros(blocks, np.uint64),
        since=np.zeros(points, np.int64),
        until=np.where(np.arange(points) < n, 0, _pool.NEVER),
        score=np.zeros(points, np.int16),
        tally=np.zeros(4, np.int64),
        stream=np.array([seed], np.uint64),
    )
