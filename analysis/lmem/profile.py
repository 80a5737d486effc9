"""The profiled deviance as a function of theta, with its exact gradient.

``theta`` holds the lower triangles (column by column) of the relative covariance factors of the
random terms, as in lme4: ``S = L L'`` in units of the residual variance, on standardised columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from carps_like.analysis.lmem.crossproducts import Grouping
from carps_like.analysis.lmem.elimination import Eliminator, Floats, Ints, State, block_diagonal


@dataclass(frozen=True)
class Point:
    """Everything that depends on theta alone; ``m`` is [X y]'V^-1[X y]."""

    covariances: list[Floats]
    state: State
    m: Floats
    xx_inverse: Floats
    beta: Floats
    rss: float
    log_det_xx: float


class Profile:
    """Deviance (minus two log-likelihood, constants left out) profiled over beta and sigma."""

    def __init__(
        self,
        elimination: Eliminator[Any],
        factors: list[Grouping],
        sizes: list[int],
        n: int,
        reml: bool,
    ) -> None:
        self.elimination, self.factors, self.sizes = elimination, factors, sizes
        self.p = elimination.c.shape[0] - 1
        self.reml = reml
        self.nu = n - self.p if reml else n
        ends = np.cumsum([k * (k + 1) // 2 for k in sizes])
        self.slices = [
            slice(int(b) - k * (k + 1) // 2, int(b)) for b, k in zip(ends, sizes, strict=True)
        ]
        self.n_theta = int(ends[-1]) if sizes else 0
        self.n_evaluations = 0

    # -- theta -----------------------------------------------------------------------------------

    def unpack(self, theta: Floats) -> list[Floats]:
        """Lower triangular factors of the terms."""
        roots = []
        for k, part in zip(self.sizes, self.slices, strict=True):
            root = np.zeros((k, k))
            root[_lower(k)] = theta[part]
            roots.append(root)
        return roots

    def pack(self, roots: list[Floats]) -> Floats:
        """Inverse of :meth:`unpack`."""
        return np.concatenate([r[_lower(len(r))] for r in roots]) if roots else np.zeros(0)

    def covariances(self, roots: list[Floats]) -> list[Floats]:
        """One matrix per grouping factor, block diagonal over its terms."""
        return [block_diagonal([(roots[t] @ roots[t].T, 1) for t in f.terms]) for f in self.factors]

    # -- values ----------------------------------------------------------------------------------

    def at(self, covariances: list[Floats]) -> Point:
        """Evaluate at given covariances of the grouping factors."""
        self.n_evaluations += 1
        state = self.elimination.evaluate(covariances)
        p, m = self.p, state.m
        if not p:
            empty = np.zeros((0, 0))
            return Point(covariances, state, m, empty, np.zeros(0), float(m[0, 0]), 0.0)
        factor = np.linalg.cholesky(m[:p, :p])
        root, _ = lapack.dtrtri(factor, lower=1)
        inverse = root.T @ root
        half = root @ m[:p, p]
        beta = root.T @ half
        log_det = 2 * float(np.log(np.diag(factor)).sum())
        rss = float(m[p, p] - half @ half)
        return Point(covariances, state, m, inverse, beta, rss, log_det)

    def deviance(self, point: Point) -> float:
        """Profiled deviance of an evaluated point."""
        value = point.state.log_det + self.nu * np.log(max(point.rss, 1e-300))
        return float(value + point.log_det_xx if self.reml else value)

    def noise(self, theta: Floats) -> float:
        """Rounding error to expect in the deviance: the residual sum of squares is a difference."""
        point = self.at(self.covariances(self.unpack(theta)))
        total = float(self.elimination.c[-1, -1])
        return 1e-14 * self.nu * total / max(point.rss, 1e-300)

    def value(self, theta: Floats) -> float:
        """Profiled deviance; infinite where it cannot be evaluated."""
        try:
            return self.deviance(self.at(self.covariances(self.unpack(theta))))
        except linalg.LinAlgError:
            return np.inf

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Deviance and its exact gradient with respect to theta."""
        roots = self.unpack(theta)
        point = self.at(self.covariances(roots))
        by_term = self.by_term(self.gradient(point))
        slopes = [2 * g @ r for g, r in zip(by_term, roots, strict=True)]
        return self.deviance(point), self.pack(slopes)

    # -- derivatives -----------------------------------------------------------------------------

    def gradient(self, point: Point) -> list[Floats]:
        """``d deviance / dS`` per grouping factor, symmetric."""
        log_det, products = self.derivatives(point)
        weight = self.rss_weight(point) * (self.nu / point.rss)
        if self.reml:
            weight[: self.p, : self.p] += point.xx_inverse
        return [g - _contract(q, weight) for g, q in zip(log_det, products, strict=True)]

    def derivatives(self, point: Point) -> tuple[list[Floats], list[Floats]]:
        """Per grouping factor ``d log|V| / dS`` (k, k) and ``-d m / dS`` (k, k, P, P)."""
        n = len(self.factors)
        return (
            self.elimination.log_det_gradient(point.covariances, point.state, n),
            self.elimination.products(point.state, n),
        )

    def rss_weight(self, point: Point) -> Floats:
        """``d rss / d m``."""
        v = np.append(-point.beta, 1.0)
        return np.outer(v, v)

    def by_term(self, per_factor: list[Floats]) -> list[Floats]:
        """Cut matrices of the grouping factors into those of the terms, in the terms' order."""
        result: dict[int, Floats] = {}
        for factor, matrix in zip(self.factors, per_factor, strict=True):
            start = 0
            for term in factor.terms:
                stop = start + self.sizes[term]
                result[term] = matrix[start:stop, start:stop]
                start = stop
        return [result[t] for t in range(len(self.sizes))]


@lru_cache(maxsize=64)
def _lower(k: int) -> tuple[Ints, Ints]:
    """Indices of the lower triangle, column by column."""
    columns, rows = np.triu_indices(k)
    return rows, columns


def _contract(products: Floats, weight: Floats) -> Floats:
    matrix = np.tensordot(products, weight, ((2, 3), (0, 1)))
    return np.asarray((matrix + matrix.T) / 2)


def triangular_root(covariance: Floats) -> Floats:
    """Lower triangular L with L L' = covariance, for singular matrices too, diagonal >= 0."""
    values, vectors = linalg.eigh(covariance)
    # largest first: columns of zeros go to the right, where they hide no slope of the deviance
    root = (vectors * np.sqrt(np.maximum(values, 0.0)))[:, ::-1]
    lower = linalg.qr(root.T, mode="r")[0].T
    signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
    return np.asarray(lower * signs)
