"""Elimination of all random effects at once by a sparse factorisation.

For crossed factors whose dense block would not fit: with ``A = Z'WZ`` of all random effects and
their covariance ``S``, ``H = (I + S A)^-1`` and ``K = H S`` are applied through the sparse LU
factors of ``I + S A`` (SuperLU, minimum degree on the pattern of ``A``; pivots stay on the
diagonal, since for regular ``S`` the matrix is a positive definite one with its rows scaled).

``d log|V| / dS`` is exact to rounding: the imaginary part of the log-determinant at a covariance
with an infinitesimal imaginary step (Squire and Trapp 1998), one factorisation per parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import SuperLU, splu

from carps_like.analysis.lmem.elimination import Floats, Ints, Levels, Sizes, State
from carps_like.errors import BadValue

STEP = 1e-100  # of the imaginary part: no difference is formed, so that it can be this small


@dataclass(frozen=True)
class SparseState(State):
    """``modes`` is S Z'V^-1 [X y], ``scores`` is Z'V^-1 [X y]."""

    modes: Floats
    scores: Floats


class SparseElimination:
    """Elimination by sparse LU; see :class:`~carps_like.analysis.lmem.elimination.Eliminator`.

    Args:
        a: Z'WZ of all grouping factors, (q, q), the effects of a level side by side.
        b: Z'W[X y], (q, P).
        c: [X y]'W[X y], (P, P).
        sizes: how many levels and effects each grouping factor has, in the order of the columns.
    """

    def __init__(self, a: sparse.csr_array, b: Floats, c: Floats, sizes: list[Sizes]) -> None:
        self.c, self.n_crossed = c, len(b)
        self._a, self._b, self._sizes = a, b, sizes
        self._identity = sparse.eye_array(len(b), format="csr")
        k = np.concatenate([np.full(s.copies * s.k, s.k) for s in sizes])  # entries per row of S
        starts = np.concatenate([np.arange(s.copies).repeat(s.k**2) * s.k for s in sizes])
        within = np.concatenate([np.tile(np.arange(s.k), s.copies * s.k) for s in sizes])
        firsts = np.cumsum([0, *(s.copies * s.k for s in sizes[:-1])])
        starts += firsts.repeat([s.copies * s.k**2 for s in sizes])
        self._pattern = starts + within, np.r_[0, np.cumsum(k)]
        self._order: Ints | None = None

    def work(self) -> float:
        """Cost of an evaluation and its gradient, in operations of a dense matrix product.

        Factor 20 for each parameter: measured, with 1,500 to 4,000 crossed effects.
        """
        unit = [np.eye(1)] * (1 + max(size.grouping for size in self._sizes))
        for size in self._sizes:
            unit[size.grouping] = np.eye(size.k)
        counts = np.diff(self._factor(self._covariance(unit)).L.indptr).astype(float)
        n_parameters = sum(size.k * (size.k + 1) // 2 for size in self._sizes)
        return 20.0 * n_parameters * float(np.square(counts).sum())

    def evaluate(self, covariances: list[Floats]) -> SparseState:
        s = self._covariance(covariances)
        factor = self._factor(s)
        modes = self._solve(factor, s @ self._b)
        m = self.c - self._b.T @ modes
        log_det = float(np.log(np.abs(factor.U.diagonal())).sum())
        return SparseState(log_det, (m + m.T) / 2, modes, self._b - self._a @ modes)

    def modes(self, state: SparseState, weights: Floats) -> Levels:
        return [self._split(state.modes @ weights)]

    def products(self, state: SparseState, n_groupings: int) -> list[Floats]:
        p = len(self.c)
        result: list[Floats] = [np.zeros((0, 0, p, p))] * n_groupings
        for size, scores in self._split(state.scores):
            flat = scores.reshape(-1, size.k * p)
            gram = (flat.T @ flat).reshape(size.k, p, size.k, p)
            result[size.grouping] = gram.transpose(0, 2, 1, 3)
        return result

    def log_det_gradient(
        self, covariances: list[Floats], state: SparseState, n_groupings: int
    ) -> list[Floats]:
        result: list[Floats] = [np.zeros((0, 0))] * n_groupings
        for size in self._sizes:
            gradient = np.zeros((size.k, size.k))
            for i in range(size.k):
                for j in range(i + 1):
                    moved: list[Any] = list(covariances)
                    step = np.zeros((size.k, size.k))
                    step[i, j] = step[j, i] = STEP
                    moved[size.grouping] = covariances[size.grouping] + 1j * step
                    pivots = self._factor(self._covariance(moved)).U.diagonal()
                    slope = float((pivots.imag / pivots.real).sum()) / STEP
                    gradient[i, j] = gradient[j, i] = slope / (1 if i == j else 2)
            result[size.grouping] = gradient
        return result

    def information(self, grouping: int) -> Floats:
        start = 0
        for size in self._sizes:
            if size.grouping == grouping:
                break
            start += size.copies * size.k
        rows = start + np.arange(size.copies)[:, None] * size.k + np.arange(size.k)
        values = self._a[
            np.repeat(rows, size.k, axis=1).ravel(), np.tile(rows, (1, size.k)).ravel()
        ]
        return np.asarray(values.reshape(size.copies, size.k, size.k))

    def _covariance(self, covariances: list[Any]) -> sparse.csr_array:
        values = [np.tile(covariances[s.grouping].ravel(), s.copies) for s in self._sizes]
        shape = (self.n_crossed, self.n_crossed)
        return sparse.csr_array((np.concatenate(values), *self._pattern), shape=shape)

    def _factor(self, s: sparse.csr_array) -> SuperLU:
        """LU factors of I + S A; the fill-reducing order of the first serves all others."""
        matrix = sparse.csc_array(self._identity + s @ self._a)
        known = self._order is not None
        if known:
            matrix = matrix[self._order][:, self._order]
        try:
            factor = splu(
                matrix,
                permc_spec="NATURAL" if known else "MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except MemoryError:
            raise BadValue(
                f"crossed grouping factors with {self.n_crossed} effects in all: "
                "their sparse factor does not fit into memory"
            ) from None
        except RuntimeError as error:  # SuperLU: exactly singular
            raise linalg.LinAlgError(str(error)) from None
        if not known:
            self._order = np.argsort(factor.perm_c)
            return self._factor(s)
        return factor

    def _solve(self, factor: SuperLU, right: Floats) -> Floats:
        result = np.empty_like(right)
        result[self._order] = factor.solve(right[self._order])
        return result

    def _split(self, values: Floats) -> list[tuple[Sizes, Floats]]:
        """Cut stacked rows into grouping factors; arrays of shape (levels, k, ...)."""
        result, start = [], 0
        for size in self._sizes:
            stop = start + size.copies * size.k
            result.append((size, values[start:stop].reshape(-1, size.k, *values.shape[1:])))
            start = stop
        return result
