"""Profiled likelihood of a Gaussian mixed model by block elimination of its random effects.

In units of the residual variance the response has covariance ``V = W^-1 + sum_g Z_g S_g Z_g'``.
One grouping factor after the other is eliminated. Eliminating a block with cross-products
``A = Z'V0^-1 Z`` and covariance ``S`` uses

    H = (I + S A)^-1,   K = H S,   log|V| += log|I + S A|,   M -= R' K R,

where ``R = Z'V0^-1 [other Z, X, y]`` and ``M`` are the cross-products of everything that remains
(Woodbury; Bates et al. 2015, section 3, do the same by a sparse Cholesky factor). No square root
of ``S`` is needed, so singular covariances are ordinary points. Three levels suffice:

1. the largest factor: its levels do not touch each other, one small block per level;
2. factors nested with it: one dense block per connected component, all padded to one size;
3. factors that cross everything: one dense block.

Derivatives are exact: ``d log|V| / dS`` by reverse accumulation through the levels, those of
``X'V^-1 X``, ``X'V^-1 y`` and ``y'V^-1 y`` from ``J = Z'V^-1 [X y]``: ``dM / dS_ab = -J_a'J_b``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.linalg import lapack

SMALL = 500_000  # numbers in a batch of products that are formed before they are summed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
S = TypeVar("S", bound="State")


@dataclass(frozen=True)
class Blocks:
    """Cross-products, ordered by level of elimination.

    Sizes: m levels of the first factor with k columns each, c components with s columns each,
    q crossed columns, P = columns of X plus one for y. Unused levels have size zero.
    """

    a11: Floats  # (m, k, k)
    r12: Floats  # (m, k, s), columns of the component that the level belongs to
    r13: sparse.csr_array  # (m k, q)
    b1: Floats  # (m, k, P)
    component: Ints  # (m,), sorted
    a22: Floats  # (c, s, s)
    r23: Floats  # (c, s, q)
    b2: Floats  # (c, s, P)
    a33: Floats  # (q, q)
    b3: Floats  # (q, P)
    c: Floats  # (P, P)


@dataclass(frozen=True)
class Sizes:
    """How the columns of one level of elimination are made up: ``copies`` of blocks of ``k``."""

    grouping: int  # number of the grouping factor
    copies: int
    k: int


@dataclass(frozen=True)
class State:
    """The elimination at one value of the covariances; ``m`` is [X y]'V^-1[X y]."""

    log_det: float
    m: Floats


@dataclass(frozen=True)
class BlockState(State):
    """What the derivatives need of every level."""

    h1: Floats
    k1: Floats
    h2: Floats
    k2: Floats
    r23: Floats
    b2: Floats
    a22: Floats
    s33: Floats
    k3: Floats
    b3: Floats


Levels = list[list[tuple[Sizes, Floats]]]  # per level of elimination, its factors' arrays


class Eliminator(Protocol[S]):
    """Log-determinant, cross-products and their derivatives for given covariances.

    ``covariances[g]`` is S of grouping factor g, (k, k). P counts the columns of X and y.
    """

    c: Floats  # [X y]'W[X y], (P, P)
    n_crossed: int  # effects that cross all others: they make an evaluation expensive

    def evaluate(self, covariances: list[Floats]) -> S:
        """Eliminate all random effects."""

    def modes(self, state: S, weights: Floats) -> Levels:
        """``S Z'V^-1 [X y] w`` per level of elimination: conditional modes for a contrast w."""

    def products(self, state: S, n_groupings: int) -> list[Floats]:
        """For every grouping factor ``sum over levels of J_a J_b'``, shape (k, k, P, P)."""

    def log_det_gradient(
        self, covariances: list[Floats], state: S, n_groupings: int
    ) -> list[Floats]:
        """``d log|V| / dS`` for every grouping factor, symmetric (k, k)."""

    def information(self, grouping: int) -> Floats:
        """``z'Wz`` of every level of a grouping factor, (levels, k, k)."""


def block_diagonal(parts: list[tuple[Floats, int]]) -> Floats:
    """Dense block-diagonal matrix with each matrix repeated."""
    if len(parts) == 1 and parts[0][1] == 1:
        return parts[0][0]
    if all(len(matrix) == 1 for matrix, _ in parts):
        return np.diag(np.repeat([m[0, 0] for m, _ in parts], [copies for _, copies in parts]))
    n = sum(len(matrix) * copies for matrix, copies in parts)
    result, start = np.zeros((n, n)), 0
    for matrix, copies in parts:
        k = len(matrix)
        for _ in range(copies):
            result[start : start + k, start : start + k] = matrix
            start += k
    return result


class Elimination:
    """Elimination level by level, in dense blocks."""

    def __init__(
        self, blocks: Blocks, first: Sizes | None, second: list[Sizes], third: list[Sizes]
    ) -> None:
        self.blocks, self.first, self.second, self.third = blocks, first, second, third
        self._starts = np.flatnonzero(np.r_[True, np.diff(blocks.component) > 0])
        self._r13_dense = blocks.r13.shape[1] and _worth_dense(blocks.r13)
        self._r13 = blocks.r13.toarray() if self._r13_dense else blocks.r13
        m, k, p = blocks.b1.shape
        self._flat_b1 = blocks.b1.reshape(m * k, p)
        self.c, self.n_crossed = blocks.c, len(blocks.a33)

    # -- forward ---------------------------------------------------------------------------------

    def evaluate(self, covariances: list[Floats]) -> BlockState:
        """See :class:`Eliminator`, as all below."""
        b = self.blocks
        log_det = 0.0
        m, a22, r23, b2, a33, b3 = b.c, b.a22, b.r23, b.b2, b.a33, b.b3
        h1 = k1 = np.zeros((0, 0, 0))
        if self.first is not None:
            h1, k1, log_det = _invert(covariances[self.first.grouping], b.a11)
            kb = k1 @ b.b1
            m = m - self._flat_b1.T @ kb.reshape(self._flat_b1.shape)
            if b.a22.shape[1]:
                kr = k1 @ b.r12
                a22 = a22 - self._per_component(kr, b.r12)
                b2 = b2 - self._per_component(kr, b.b1)
            if b.a33.size:
                kr13 = self._scale(k1)
                a33 = a33 - _dense(self._r13.T @ kr13)
                b3 = b3 - self._r13.T @ kb.reshape(self._flat_b1.shape)
                if b.a22.shape[1]:
                    r23 = r23 - self._component_times(b.r12, kr13)
        h2 = k2 = np.zeros((0, 0, 0))
        if b.a22.shape[1]:
            h2, k2, more = _invert(self._covariance(covariances, self.second), a22)
            log_det += more
            kb = k2 @ b2
            m = m - _stacked(b2, kb)
            if b.a33.size:
                kr = k2 @ r23
                a33 = a33 - _stacked(r23, kr)
                b3 = b3 - _stacked(r23, kb)
        k3 = np.zeros((0, 0))
        if b.a33.size:
            k3, more = self._invert_crossed(covariances, a33)
            log_det += more
            m = m - b3.T @ (k3 @ b3)
        return BlockState(log_det, (m + m.T) / 2, h1, k1, h2, k2, r23, b2, a22, a33, k3, b3)

    # -- derivatives -----------------------------------------------------------------------------

    def modes(self, state: BlockState, weights: Floats) -> Levels:
        x1, x2, x3 = self._solve(state)[0]
        return self._split(x1 @ weights, x2 @ weights, x3 @ weights)

    def products(self, state: BlockState, n_groupings: int) -> list[Floats]:
        _, (j1, j2, j3) = self._solve(state)
        p = self.blocks.c.shape[0]
        result: list[Floats] = [np.zeros((0, 0, p, p))] * n_groupings
        for level in self._split(j1, j2, j3):
            for size, j in level:
                flat = j.reshape(-1, size.k * p)
                gram = (flat.T @ flat).reshape(size.k, p, size.k, p)
                result[size.grouping] = gram.transpose(0, 2, 1, 3)
        return result

    def information(self, grouping: int) -> Floats:
        if self.first is not None and self.first.grouping == grouping:
            return self.blocks.a11
        nested = grouping in [size.grouping for size in self.second]
        start = 0
        for size in self.second if nested else self.third:
            stop = start + size.copies * size.k
            if size.grouping == grouping:
                break
            start = stop
        dense = self.blocks.a22 if nested else self.blocks.a33[None]
        shape = (-1, size.copies, size.k, size.copies, size.k)
        part = dense[:, start:stop, start:stop].reshape(shape)
        return np.asarray(np.einsum("ciaib->ciab", part).reshape(-1, size.k, size.k))

    def log_det_gradient(
        self, covariances: list[Floats], state: BlockState, n_groupings: int
    ) -> list[Floats]:
        b = self.blocks
        result: list[Floats] = [np.zeros((0, 0))] * n_groupings
        if b.a33.size:
            for size, block in self._crossed_gradient(covariances, state):
                result[size.grouping] = block
        if b.a22.shape[1]:
            n2 = _sandwich(state.r23, state.k3) if b.a33.size else np.zeros_like(state.a22)
            ht = np.swapaxes(state.h2, 1, 2)
            u2 = (state.a22 @ state.h2 - ht @ n2 @ state.h2).sum(axis=0)
            for size, block in _diagonal_blocks(u2, self.second):
                result[size.grouping] = block
        if self.first is not None:
            n1 = self._first_adjoint(state)
            u1 = b.a11 @ state.h1
            if n1 is not None:
                u1 = u1 - np.swapaxes(state.h1, 1, 2) @ n1 @ state.h1
            result[self.first.grouping] = u1.sum(axis=0)
        return [(g + g.T) / 2 for g in result]

    def _solve(self, s: BlockState) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
        """``S Z'V^-1[X y]`` and ``Z'V^-1[X y]`` for the three levels, last first eliminated."""
        b = self.blocks
        x3 = s.k3 @ s.b3
        j3 = s.b3 - s.s33 @ x3
        r2 = s.b2 - s.r23 @ x3 if b.a33.size else s.b2
        x2 = s.k2 @ r2 if b.a22.shape[1] else s.b2
        j2 = np.swapaxes(s.h2, 1, 2) @ r2 if b.a22.shape[1] else s.b2
        r1 = b.b1
        if self.first is not None:
            if b.a22.shape[1]:
                r1 = r1 - b.r12 @ x2[b.component]
            if b.a33.size:
                r1 = r1 - (self._r13 @ x3).reshape(r1.shape)
            return (s.k1 @ r1, x2, x3), (np.swapaxes(s.h1, 1, 2) @ r1, j2, j3)
        return (r1, x2, x3), (r1, j2, j3)

    def _split(self, v1: Floats, v2: Floats, v3: Floats) -> Levels:
        """Cut stacked columns into grouping factors; arrays of shape (..., copies, k, ...)."""
        levels: Levels = [[], [], []]
        if self.first is not None:
            levels[0].append((self.first, v1))
        start = 0
        for size in self.second:
            stop = start + size.copies * size.k
            part = v2[:, start:stop]
            levels[1].append((size, part.reshape(-1, size.k, *part.shape[2:])))
            start = stop
        start = 0
        for size in self.third:
            stop = start + size.copies * size.k
            part = v3[start:stop]
            levels[2].append((size, part.reshape(-1, size.k, *part.shape[1:])))
            start = stop
        return levels

    def _first_adjoint(self, s: BlockState) -> Floats | None:
        """``R1 F R1'`` per level, F the adjoint of what the first level is subtracted from."""
        b = self.blocks
        crossed, nested = bool(b.a33.size), bool(b.a22.shape[1])
        if not crossed and not nested:
            return None
        m, k = b.a11.shape[:2]
        result = np.zeros((m, k, k))
        if nested:
            kr = s.k2 @ s.r23 if crossed else None
            f22 = s.k2 if kr is None else s.k2 + _sandwich(kr, s.k3)
            result += b.r12 @ f22[b.component] @ np.swapaxes(b.r12, 1, 2)
            if kr is not None:
                f23 = -kr @ s.k3  # (c, s, q)
                for a in range(k):
                    # rows (level, a) of R12 F23, met with the rows (level, b) of R13
                    left = np.einsum("ms,msq->mq", b.r12[:, a], f23[b.component])
                    for c in range(k):
                        cross = _row_dot(self._r13[c::k], left)
                        result[:, a, c] += cross
                        result[:, c, a] += cross
        if crossed:
            product = self._r13 @ s.k3
            for a in range(k):
                for c in range(k):
                    result[:, a, c] += _row_dot(self._r13[c::k], product[a::k])
        return result

    def _crossed_gradient(
        self, covariances: list[Floats], s: BlockState
    ) -> list[tuple[Sizes, Floats]]:
        """Diagonal blocks of ``s33 - s33 k3 s33``, summed over the levels of each factor."""
        result, start = [], 0
        for size in self.third:
            rows = slice(start, start + size.copies * size.k)
            start = rows.stop
            diagonal = np.arange(rows.start, rows.stop)
            variance = float(covariances[size.grouping][0, 0])
            mean = float(s.s33[diagonal, diagonal].mean())
            if size.k == 1 and variance * mean > 1e-5:
                # (1 - K/S)/S: the identity S^-1 (S - K) S^-1 without a product of full matrices
                u = (1 - s.k3[diagonal, diagonal] / variance) / variance
                result.append((size, np.array([[u.sum()]])))
                continue
            product = s.s33[rows] @ s.k3
            total = np.zeros((size.k, size.k))
            for a in range(size.k):
                for c in range(size.k):
                    total[a, c] = s.s33[diagonal[a :: size.k], diagonal[c :: size.k]].sum()
                    total[a, c] -= np.sum(
                        product[a :: size.k] * s.s33[rows.start + c : rows.stop : size.k]
                    )
            result.append((size, total))
        return result

    # -- helpers ---------------------------------------------------------------------------------

    def _covariance(self, covariances: list[Floats], sizes: list[Sizes]) -> Floats:
        return block_diagonal([(covariances[s.grouping], s.copies) for s in sizes])

    def _per_component(self, left: Floats, right: Floats) -> Floats:
        """Sum over the levels of a component of ``left' right``: (m, k, s), (m, k, t) -> (c, s, t).

        Few levels a component are multiplied in one batch, many component by component.
        """
        m, k, s = left.shape
        if len(self._starts) == m:
            return np.swapaxes(left, 1, 2) @ right
        if m * s * right.shape[2] < SMALL:
            return np.add.reduceat(np.swapaxes(left, 1, 2) @ right, self._starts, axis=0)
        bounds = [*self._starts, m]
        return np.stack(
            [
                left[a:b].reshape(-1, s).T @ right[a:b].reshape((b - a) * k, -1)
                for a, b in itertools.pairwise(bounds)
            ]
        )

    def _scale(self, k1: Floats) -> Floats | sparse.csr_array:
        """``K1 R13`` with K1 block diagonal."""
        m, k = k1.shape[:2]
        if self._r13_dense:
            return (k1 @ self._r13.reshape(m, k, -1)).reshape(m * k, -1)
        if k == 1:
            return sparse.diags_array(k1[:, 0, 0]) @ self._r13
        indices, pointer = np.arange(m), np.arange(m + 1)
        return sparse.bsr_array((k1, indices, pointer), shape=(m * k, m * k)).tocsr() @ self._r13

    def _component_times(self, r12: Floats, kr13: Floats | sparse.csr_array) -> Floats:
        """Sum over the levels of a component of ``R12' K R13``, (c, s, q)."""
        m, k, s = r12.shape
        c, q = self.blocks.a22.shape[0], self.blocks.a33.shape[0]
        rows = np.repeat(self.blocks.component, k * s) * s + np.tile(np.arange(s), m * k)
        columns = np.repeat(np.arange(m * k), s)
        left = sparse.csr_array((r12.ravel(), (rows, columns)), shape=(c * s, m * k))
        return _dense(left @ kr13).reshape(c, s, q)

    def _invert_crossed(self, covariances: list[Floats], s33: Floats) -> tuple[Floats, float]:
        """``(S^-1 + s33)^-1`` and ``log|I + S s33|`` for the dense level."""
        roots = []
        for size in self.third:
            root = _root(covariances[size.grouping])
            if root is None:
                covariance = self._covariance(covariances, self.third)
                _, k, log_det = _invert(covariance, s33[None])
                return k[0], log_det
            roots.append((root, size))
        inner = _times_root(_times_root(s33, roots, left=True), roots, left=False)
        inner[np.diag_indices_from(inner)] += 1.0
        factor = linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
        log_det = 2 * float(np.log(np.diag(factor)).sum())
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse)
        inverse += np.tril(inverse, -1).T
        return _times_root(
            _times_root(inverse, roots, left=True, back=True), roots, left=False, back=True
        ), log_det


def _invert(covariance: Floats, a: Floats) -> tuple[Floats, Floats, float]:
    """H, K and log-determinant for a batch of blocks (n, k, k)."""
    k = a.shape[1]
    if k == 1:
        h = 1.0 / (1.0 + covariance[0, 0] * a)
        return h, covariance[0, 0] * h, -float(np.log(np.abs(h)).sum())
    inner = covariance @ a
    inner[:, np.arange(k), np.arange(k)] += 1.0
    h = np.asarray(np.linalg.inv(inner), dtype=float)
    result = h @ covariance
    symmetric: Floats = (result + np.swapaxes(result, 1, 2)) / 2
    return h, symmetric, float(np.linalg.slogdet(inner)[1].sum())


def _root(covariance: Floats) -> Floats | None:
    """Any L with L L' = covariance; None when it is not positive semidefinite."""
    values, vectors = linalg.eigh(covariance)
    if values[0] < -1e-14 * max(values[-1], 1e-300):
        return None
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _times_root(
    matrix: Floats, roots: list[tuple[Floats, Sizes]], left: bool, back: bool = False
) -> Floats:
    """L'M (left) or M L (right) for block-diagonal L; with ``back`` L M and M L'."""
    if not left:
        return _times_root(matrix.T, roots, left=True, back=back).T
    result, start = np.empty_like(matrix), 0
    for root, size in roots:
        stop = start + size.copies * size.k
        part = matrix[start:stop]
        if size.k == 1:
            result[start:stop] = part * root[0, 0]
        else:
            factor = root if back else root.T
            cut = part.reshape(size.copies, size.k, -1)
            result[start:stop] = (factor @ cut).reshape(part.shape)
        start = stop
    return result


def _stacked(left: Floats, right: Floats) -> Floats:
    """Sum over a batch of ``left' right``: (c, s, q), (c, s, p) -> (q, p)."""
    return np.asarray(left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2]))


def _sandwich(r: Floats, k: Floats) -> Floats:
    """``R K R'`` for a batch (c, s, q) of R."""
    return np.asarray((r @ k) @ np.swapaxes(r, 1, 2))


def _diagonal_blocks(matrix: Floats, sizes: list[Sizes]) -> list[tuple[Sizes, Floats]]:
    """Sum of the diagonal blocks of every grouping factor."""
    result, start = [], 0
    for size in sizes:
        stop = start + size.copies * size.k
        cut = matrix[start:stop, start:stop].reshape(size.copies, size.k, size.copies, size.k)
        result.append((size, np.einsum("iaib->ab", cut)))
        start = stop
    return result


def _row_dot(left: Floats | sparse.csr_array, right: Floats) -> Floats:
    """Sum over columns of the product, for a sparse or dense left side."""
    if not isinstance(left, np.ndarray):
        rows = np.repeat(np.arange(left.shape[0]), np.diff(left.indptr))
        sums = np.bincount(rows, left.data * right[rows, left.indices], left.shape[0])
        return np.asarray(sums, dtype=float)
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _dense(matrix: Floats | sparse.csr_array) -> Floats:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def _worth_dense(matrix: sparse.csr_array) -> bool:
    rows, columns = matrix.shape
    return bool(matrix.nnz > 0.2 * rows * columns and rows * columns < 5_000_000)
