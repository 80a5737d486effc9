"""Cross-products of a model, computed once, and the choice of the order of elimination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components

from carps_like.analysis.lmem.design import Design, chunks
from carps_like.analysis.lmem.elimination import (
    Blocks,
    Elimination,
    Eliminator,
    Floats,
    Ints,
    Sizes,
)
from carps_like.analysis.lmem.frame import Cells
from carps_like.analysis.lmem.sparse import SparseElimination

DEAR = 3e9  # operations of an evaluation from which a sparse factorisation is tried for its fill
DENSE_LIMIT = 1e8  # numbers in dense blocks, 0.8 GB, above which elimination is sparse


@dataclass(frozen=True)
class Grouping:
    """A grouping factor with the columns of all its random terms side by side."""

    group: tuple[str, ...]
    codes: Ints  # level of every cell
    n_levels: int
    terms: tuple[int, ...]  # numbers of its terms in the design's order
    k: int  # columns of all its terms


@dataclass(frozen=True)
class _Sums:
    """Cross-products of all columns: ``a`` and ``b`` per grouping factor, ``pairs`` between two."""

    a: list[Floats]  # (levels, k, k)
    b: list[Floats]  # (levels, k, P)
    pairs: dict[tuple[int, int], sparse.csr_array]  # (i < j): (levels_i k_i, levels_j k_j)
    c: Floats  # (P, P)

    def pair(self, i: int, j: int) -> sparse.csr_array:
        """Cross-products between grouping factors i (rows) and j."""
        return self.pairs[i, j] if i < j else self.pairs[j, i].T.tocsr()


@dataclass(frozen=True)
class _Order:
    """An order of elimination: the first factor, nested ones, crossed ones."""

    cost: float  # rough number of floating-point operations of one evaluation
    numbers: float  # in its largest dense blocks
    first: int
    second: tuple[int, ...]
    third: tuple[int, ...]
    components: dict[int, Ints]  # component of every level of first and second


@dataclass(frozen=True)
class _Nested:
    """Where the levels of a nested factor stand in the blocks of their components."""

    component: Ints  # (levels,)
    local: Ints  # (levels,), 0 .. copies - 1
    start: int  # first column of the factor in the block
    size: Sizes

    def columns(self, a: int) -> Ints:
        """Column in the block of effect ``a`` of every level."""
        return self.start + self.local * self.size.k + a


def groupings(design: Design, cells: Cells) -> list[Grouping]:
    """Grouping factors in the order of their first term."""
    result = []
    for group in dict.fromkeys(t.group for t in design.terms):
        numbers = tuple(i for i, t in enumerate(design.terms) if t.group == group)
        k = sum(design.terms[i].size for i in numbers)
        factor = cells.groups[group]
        result.append(Grouping(group, factor.codes, len(factor.levels), numbers, k))
    return result


def eliminate(
    design: Design, cells: Cells, factors: list[Grouping]
) -> tuple[Eliminator[Any], list[Ints]]:
    """The cheapest elimination, and where it keeps every level of every factor.

    In dense blocks, or by a sparse factorisation where those would be dearer or would not fit.

    Raises:
        BadValue: crossed factors with too many levels for either.
    """
    sums = _accumulate(design, cells, factors)
    if not factors:
        return Elimination(_no_random(sums.c), None, [], []), []
    order = _best_order(factors)
    too_large = order.numbers > DENSE_LIMIT
    if too_large or order.cost > DEAR:
        found = sparse_elimination(sums, factors)
        if too_large or found.work() < order.cost:
            return found, [np.arange(f.n_levels) for f in factors]
    return dense_elimination(sums, factors, order)


def dense_elimination(
    sums: _Sums, factors: list[Grouping], order: _Order
) -> tuple[Elimination, list[Ints]]:
    """Elimination in dense blocks, and where it keeps every level of every factor."""
    p = sums.c.shape[0]
    first = factors[order.first]
    sorted_levels = np.argsort(order.components[order.first], kind="stable")
    nested = _nest(order, factors)
    s = sum(n.size.copies * n.size.k for n in nested)
    n_components = int(order.components[order.first].max()) + 1 if nested else 0
    r12 = np.zeros((first.n_levels, first.k, s))
    a22 = np.zeros((n_components, s, s))
    b2 = np.zeros((n_components, s, p))
    for i, part in enumerate(nested):
        _fill_rows(r12, sums.pair(order.first, part.size.grouping), part)
        _fill_own(a22, b2, sums, part)
        for other in nested[:i]:
            _fill_between(a22, sums.pair(part.size.grouping, other.size.grouping), part, other)
    a33, b3 = _crossed(sums, order.third, factors, p)
    blocks = Blocks(
        a11=sums.a[order.first][sorted_levels],
        r12=r12[sorted_levels],
        r13=_rows_of_crossed(sums, order, sorted_levels, first.k),
        b1=sums.b[order.first][sorted_levels],
        component=order.components[order.first][sorted_levels],
        a22=a22,
        r23=_nested_with_crossed(sums, order, nested, a22.shape[:2], a33.shape[0]),
        b2=b2,
        a33=a33,
        b3=b3,
        c=sums.c,
    )
    positions = [np.arange(f.n_levels) for f in factors]
    positions[order.first] = np.argsort(sorted_levels)
    for part in nested:
        positions[part.size.grouping] = part.component * part.size.copies + part.local
    third = [Sizes(g, factors[g].n_levels, factors[g].k) for g in order.third]
    sizes = Sizes(order.first, first.n_levels, first.k)
    return Elimination(blocks, sizes, [n.size for n in nested], third), positions


def sparse_elimination(sums: _Sums, factors: list[Grouping]) -> SparseElimination:
    numbers = range(len(factors))
    blocks = [[_own(sums.a[g]) if g == h else sums.pair(g, h) for h in numbers] for g in numbers]
    b = np.concatenate([part.reshape(-1, part.shape[2]) for part in sums.b])
    sizes = [Sizes(g, factors[g].n_levels, factors[g].k) for g in numbers]
    a = sparse.csr_array(sparse.block_array(blocks, format="csr"))
    return SparseElimination(a, b, sums.c, sizes)


def _own(a: Floats) -> sparse.bsr_array:
    """Cross-products of a factor with itself: its levels do not touch each other."""
    m, k = a.shape[:2]
    return sparse.bsr_array((a, np.arange(m), np.arange(m + 1)), shape=(m * k, m * k))


# -- sums over cells -------------------------------------------------------------------------------


def _accumulate(design: Design, cells: Cells, factors: list[Grouping]) -> _Sums:
    p = len(design.kept) + 1
    a = [np.zeros((f.n_levels, f.k, f.k)) for f in factors]
    b = [np.zeros((f.n_levels, f.k, p)) for f in factors]
    c = np.zeros((p, p))
    pairs: dict[tuple[int, int], sparse.csr_array] = {}
    for part in chunks(cells):
        frame, w = cells.frame.iloc[part], cells.weight[part]
        xy = standardised(design, cells, part)
        c += xy.T @ (xy * w[:, None])
        zs = [random_columns(design, f, frame) for f in factors]
        indicators = [
            [_indicator(f.codes[part], z[:, i], f.n_levels) for i in range(f.k)]
            for f, z in zip(factors, zs, strict=True)
        ]
        weighted = xy * w[:, None]
        for g, (f, z) in enumerate(zip(factors, zs, strict=True)):
            for i, j in itertools.product(range(f.k), repeat=2):
                values = w * z[:, i] * z[:, j]
                a[g][:, i, j] += np.bincount(f.codes[part], values, f.n_levels)
            for i in range(f.k):
                b[g][:, i] += indicators[g][i] @ weighted
        for g, h in itertools.combinations(range(len(factors)), 2):
            block = _pair_block(indicators[g], indicators[h], w)
            pairs[g, h] = block if (g, h) not in pairs else pairs[g, h] + block
    c[-1, -1] += cells.within / design.y_scale**2
    return _Sums(a, b, pairs, c)


def standardised(design: Design, cells: Cells, part: slice) -> Floats:
    """``[X R^-1, (y - X ols) / scale]`` of some cells."""
    x = design.fixed.matrix(cells.frame.iloc[part])[:, list(design.kept)]
    y = (cells.mean[part] - x @ design.ols) / design.y_scale
    q = linalg.solve_triangular(design.r, x.T, trans="T").T if x.shape[1] else x
    return np.concatenate([q, y[:, None]], axis=1)


def random_columns(design: Design, factor: Grouping, frame: object) -> Floats:
    """Standardised columns of all terms of a grouping factor, (rows, k)."""
    parts = []
    for number in factor.terms:
        term = design.terms[number]
        z = term.columns.matrix(frame)  # type: ignore[arg-type]
        parts.append(linalg.solve_triangular(term.scale, z.T, lower=True, trans="T").T)
    return np.concatenate(parts, axis=1)


def _indicator(codes: Ints, values: Floats, n_levels: int) -> sparse.csr_array:
    """(levels, cells) matrix with the column's values."""
    n = len(codes)
    columns = sparse.csc_array((values, codes, np.arange(n + 1)), shape=(n_levels, n))
    return columns.tocsr()


def _pair_block(
    left: list[sparse.csr_array], right: list[sparse.csr_array], w: Floats
) -> sparse.csr_array:
    """Cross-products between two factors with the effects of a level side by side."""
    (m, _), (n, _) = left[0].shape, right[0].shape
    k, h = len(left), len(right)
    rows, columns, values = [], [], []
    for i, j in itertools.product(range(k), range(h)):
        scaled = right[j].T.tocsr()
        scaled.data = scaled.data * w
        block = (left[i] @ scaled).tocoo()
        rows.append(block.row * k + i)
        columns.append(block.col * h + j)
        values.append(block.data)
    stacked = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(sparse.coo_array(stacked, shape=(m * k, n * h)))


# -- order of elimination --------------------------------------------------------------------------


def _best_order(factors: list[Grouping]) -> _Order:
    if len(factors) == 1:
        return _Order(0.0, 0.0, 0, (), (), {0: np.arange(factors[0].n_levels)})
    return min(_orders(factors), key=lambda order: order.cost)


def _orders(factors: list[Grouping]) -> Iterator[_Order]:
    numbers = range(len(factors))
    for size in range(len(factors)):
        for third in itertools.combinations(numbers, size):
            inner = [g for g in numbers if g not in third]
            components = _components([factors[g] for g in inner])
            by_factor = dict(zip(inner, components, strict=True))
            for first in inner:
                second = tuple(g for g in inner if g != first)
                yield _Order(
                    *_cost(factors, first, second, third, by_factor),
                    first,
                    second,
                    third,
                    by_factor if second else {first: np.arange(factors[first].n_levels)},
                )


def _components(factors: list[Grouping]) -> list[Ints]:
    """Connected component of every level when cells join the levels they belong to."""
    if len(factors) == 1:
        return [np.arange(factors[0].n_levels)]
    starts = np.cumsum([0, *(f.n_levels for f in factors)])
    rows = np.concatenate([factors[0].codes] * (len(factors) - 1))
    columns = np.concatenate([f.codes + s for f, s in zip(factors[1:], starts[1:], strict=False)])
    total = int(starts[-1])
    graph = sparse.coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(total, total))
    labels = connected_components(graph.tocsr(), directed=False)[1].astype(np.intp)
    return [labels[a:b] for a, b in itertools.pairwise(starts)]


def _cost(
    factors: list[Grouping],
    first: int,
    second: tuple[int, ...],
    third: tuple[int, ...],
    components: dict[int, Ints],
) -> tuple[float, float]:
    """See the first two fields of :class:`_Order`."""
    m, k = factors[first].n_levels, factors[first].k
    c = int(components[first].max()) + 1 if second else 0
    s = sum(int(np.bincount(components[g]).max()) * factors[g].k for g in second)
    q = sum(factors[g].n_levels * factors[g].k for g in third)
    cells = len(factors[first].codes)
    crossed_per_level = min(cells / m * k * max(len(third), 1), q)
    cost = (
        20.0 * m * k**3
        + m * k * s**2
        + 4.0 * c * s**3
        + 1.0 * q**3
        + 10.0 * m * k * crossed_per_level**2 * bool(q)
        + 2.0 * c * s**2 * q
        + 2.0 * c * s * q**2
        + 50.0 * m * k * s * bool(q)
    )
    numbers = float(m * k * s + c * s * (s + q) + q**2)
    return cost, numbers


def _nest(order: _Order, factors: list[Grouping]) -> list[_Nested]:
    result, start = [], 0
    for g in order.second:
        component = order.components[g]
        by_component = np.argsort(component, kind="stable")
        counts = np.bincount(component)
        firsts = np.cumsum(counts) - counts
        local = np.empty(len(component), dtype=np.intp)
        local[by_component] = np.arange(len(component)) - np.repeat(firsts, counts)
        size = Sizes(g, int(counts.max()), factors[g].k)
        result.append(_Nested(component, local, start, size))
        start += size.copies * size.k
    return result


# -- blocks ----------------------------------------------------------------------------------------


def _no_random(c: Floats) -> Blocks:
    p = c.shape[0]
    return Blocks(
        a11=np.zeros((0, 0, 0)),
        r12=np.zeros((0, 0, 0)),
        r13=sparse.csr_array((0, 0)),
        b1=np.zeros((0, 0, p)),
        component=np.zeros(0, np.intp),
        a22=np.zeros((0, 0, 0)),
        r23=np.zeros((0, 0, 0)),
        b2=np.zeros((0, 0, p)),
        a33=np.zeros((0, 0)),
        b3=np.zeros((0, p)),
        c=c,
    )


def _fill_rows(r12: Floats, pair: sparse.csr_array, part: _Nested) -> None:
    entries = pair.tocoo()
    k, h = r12.shape[1], part.size.k
    level, effect = np.divmod(entries.col, h)
    columns = part.start + part.local[level] * h + effect
    r12[entries.row // k, entries.row % k, columns] = entries.data


def _fill_own(a22: Floats, b2: Floats, sums: _Sums, part: _Nested) -> None:
    g, k = part.size.grouping, part.size.k
    for i in range(k):
        b2[part.component, part.columns(i)] = sums.b[g][:, i]
        for j in range(k):
            a22[part.component, part.columns(i), part.columns(j)] = sums.a[g][:, i, j]


def _fill_between(a22: Floats, pair: sparse.csr_array, part: _Nested, other: _Nested) -> None:
    entries = pair.tocoo()
    level, effect = np.divmod(entries.row, part.size.k)
    level2, effect2 = np.divmod(entries.col, other.size.k)
    rows = part.start + part.local[level] * part.size.k + effect
    columns = other.start + other.local[level2] * other.size.k + effect2
    component = part.component[level]
    a22[component, rows, columns] = entries.data
    a22[component, columns, rows] = entries.data


def _crossed(
    sums: _Sums, third: tuple[int, ...], factors: list[Grouping], p: int
) -> tuple[Floats, Floats]:
    widths = [factors[g].n_levels * factors[g].k for g in third]
    starts = np.cumsum([0, *widths])
    a33, b3 = np.zeros((starts[-1], starts[-1])), np.zeros((starts[-1], p))
    for i, g in enumerate(third):
        n, k = factors[g].n_levels, factors[g].k
        rows = starts[i] + np.arange(n)[:, None] * k + np.arange(k)
        a33[rows[:, :, None], rows[:, None, :]] = sums.a[g]
        b3[starts[i] : starts[i + 1]] = sums.b[g].reshape(n * k, p)
        for j in range(i):
            block = sums.pair(g, third[j]).toarray()
            a33[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = block
            a33[starts[j] : starts[j + 1], starts[i] : starts[i + 1]] = block.T
    return a33, b3


def _rows_of_crossed(sums: _Sums, order: _Order, sorted_levels: Ints, k: int) -> sparse.csr_array:
    if not order.third:
        return sparse.csr_array((len(sorted_levels) * k, 0))
    rows = (sorted_levels[:, None] * k + np.arange(k)).ravel()
    stacked = sparse.hstack([sums.pair(order.first, g) for g in order.third], format="csr")
    return sparse.csr_array(stacked)[rows]


def _nested_with_crossed(
    sums: _Sums, order: _Order, nested: list[_Nested], shape: tuple[int, int], q: int
) -> Floats:
    result = np.zeros((*shape, q))
    start = 0
    for g in order.third:
        width = sums.a[g].shape[0] * sums.a[g].shape[1]
        for part in nested:
            entries = sums.pair(part.size.grouping, g).tocoo()
            level, effect = np.divmod(entries.row, part.size.k)
            rows = part.start + part.local[level] * part.size.k + effect
            result[part.component[level], rows, start + entries.col] = entries.data
        start += width
    return result
