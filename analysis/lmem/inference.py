"""Denominator degrees of freedom and adjusted covariances of the fixed effects.

- Satterthwaite: the variance of a contrast is treated as a scaled chi-square whose degrees of
  freedom match the delta-method variance of its estimate (Giesbrecht & Burns 1985; several rows
  combined as in Fai & Cornelius 1996, the method of lmerTest).
- Kenward-Roger: covariance corrected for small-sample bias and F statistic scaled (Kenward & Roger
  1997, equations as in Halekoh & Hojsgaard 2014), expected information.

Everything is in the standardised columns of :mod:`design`, with a residual variance of one for
Kenward-Roger; both methods do not depend on the units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy import linalg, stats

from carps_like.analysis.lmem.elimination import Floats, Ints
from carps_like.analysis.lmem.profile import Point, Profile

DfMethod = Literal["kenward-roger", "satterthwaite", "z"]


@dataclass(frozen=True)
class FTest:
    """An F test of several rows at once."""

    num_df: int
    den_df: float
    statistic: float
    p: float


class Inference(Protocol):
    """One way to get a covariance and degrees of freedom; ``rows`` are contrasts (n, p)."""

    covariance: Floats  # of the standardised coefficients

    def df(self, row: Floats) -> float:
        """Degrees of freedom of one contrast."""

    def f_test(self, rows: Floats, beta: Floats) -> FTest:
        """Joint test that all rows are zero."""


def make(method: DfMethod, profile: Profile, theta: Floats) -> Inference:
    """The inference of a fitted model at its optimum."""
    point = profile.at(profile.covariances(profile.unpack(theta)))
    sigma2 = point.rss / profile.nu
    covariance = sigma2 * point.xx_inverse
    if not profile.factors:
        n = profile.nu + profile.p if profile.reml else profile.nu
        scale = profile.nu / (n - profile.p)  # least squares: the unbiased variance under ML too
        return Fixed(covariance * scale, np.inf if method == "z" else float(n - profile.p))
    if method == "z":
        return Fixed(covariance, np.inf)
    if method == "satterthwaite":
        return Satterthwaite(profile, theta, point)
    return KenwardRoger(profile, point)


class Fixed:
    """The same degrees of freedom for all contrasts: least squares, or infinite for z tests."""

    def __init__(self, covariance: Floats, df: float) -> None:
        self.covariance, self._df = covariance, df

    def df(self, row: Floats) -> float:
        """The common degrees of freedom."""
        return self._df

    def f_test(self, rows: Floats, beta: Floats) -> FTest:
        """Wald F test."""
        return _f_test(rows, beta, self.covariance, self._df)


class Satterthwaite:
    """Degrees of freedom from the curvature of the deviance in (theta, sigma)."""

    def __init__(self, profile: Profile, theta: Floats, point: Point) -> None:
        sigma2 = point.rss / profile.nu
        self.covariance = sigma2 * point.xx_inverse
        free = _informative(profile, theta)
        hessian = _hessian(profile, theta, free, sigma2)
        values, vectors = linalg.eigh(hessian)
        positive = values > 1e-8
        scaled = vectors[:, positive] / np.sqrt(values[positive])
        self._root = np.sqrt(2.0) * scaled  # A = root root', the covariance of (theta, sigma)
        self._slopes = _covariance_slopes(profile, theta, free, point, sigma2)

    def df(self, row: Floats) -> float:
        """``2 v^2 / var(v)`` with ``v`` the variance of the contrast."""
        variance = float(row @ self.covariance @ row)
        gradient = np.einsum("i,tij,j->t", row, self._slopes, row)
        spread = float(np.square(gradient @ self._root).sum())
        return 2 * variance**2 / spread if spread > 0 else np.inf

    def f_test(self, rows: Floats, beta: Floats) -> FTest:
        """Fai and Cornelius: independent combinations, their t statistics' df pooled."""
        rows = _independent_rows(rows, self.covariance)
        vectors = linalg.eigh(rows @ self.covariance @ rows.T)[1]
        dfs = np.array([self.df(v @ rows) for v in vectors.T])
        return _f_test(rows, beta, self.covariance, _pooled_df(dfs))


class KenwardRoger:
    """Kenward and Roger's adjusted covariance and scaled F tests."""

    def __init__(self, profile: Profile, point: Point) -> None:
        phi = point.xx_inverse  # residual variance one
        d, k, q = _information_parts(profile, point)
        information = k.copy()
        pd = phi @ d
        for i in range(len(d)):
            for j in range(len(d)):
                information[i, j] += np.sum(pd[i] * pd[j].T) - np.sum(phi * q[i, j])
        w = 2 * _inverse(information)
        bias = np.einsum("ij,ijab->ab", w, q / 2)
        bias -= np.einsum("ij,iab,bc,jcd->ad", w, d, phi, d, optimize=True)
        sigma2 = point.rss / profile.nu
        self._phi, self._d, self._w = phi, d, w
        self._base = sigma2 * phi
        self.covariance = sigma2 * (phi + 2 * phi @ bias @ phi)

    def df(self, row: Floats) -> float:
        """Degrees of freedom of one contrast."""
        return self._scaled(row[None])[0]

    def f_test(self, rows: Floats, beta: Floats) -> FTest:
        """Scaled F test, equation (7) of Kenward and Roger."""
        rows = _independent_rows(rows, self._base)
        df, scale = self._scaled(rows)
        test = _f_test(rows, beta, self.covariance, df)
        statistic = scale * test.statistic
        return FTest(test.num_df, df, statistic, float(stats.f.sf(statistic, test.num_df, df)))

    def _scaled(self, rows: Floats) -> tuple[float, float]:
        """Denominator degrees of freedom and scale of the F statistic."""
        q = len(rows)
        theta = rows.T @ linalg.solve(rows @ self._phi @ rows.T, rows, assume_a="pos")
        u = -(theta @ self._phi) @ self._d @ self._phi
        traces = np.trace(u, axis1=1, axis2=2)
        a1 = float(traces @ self._w @ traces)
        a2 = float(np.einsum("ij,iab,jba->", self._w, u, u, optimize=True))
        if a2 <= 0:  # the variances do not enter this contrast
            return np.inf, 1.0
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
        bottom = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / bottom, (q - g) / bottom, (q + 2 - g) / bottom
        v0, v1, v2 = 1 + c1 * b, 1 - c2 * b, 1 - c3 * b
        v0 = 0.0 if abs(v0) < 1e-10 else v0
        rho = (_ratio(1 - a2 / q, v1)) ** 2 * _ratio(v0, v2) / q
        df = 4 + (q + 2) / (q * rho - 1) if q * rho != 1 else np.inf
        scale = df * (1 - a2 / q) / (df - 2) if abs(df - 2) > 1e-2 else 1 - a2 / q
        return float(df), float(scale)


# -- Satterthwaite ---------------------------------------------------------------------------------


def _informative(profile: Profile, theta: Floats) -> Ints:
    """Theta of terms that are not exactly zero; at zero the covariance has no slope."""
    free = np.zeros(len(theta), dtype=bool)
    for part in profile.slices:
        free[part] = np.any(theta[part] != 0)
    return np.flatnonzero(free)


def _slopes(profile: Profile, theta: Floats) -> Floats:
    """Gradients of ``log|V| [+ log|X'V^-1 X|]`` and of the residual sum of squares, (2, t)."""
    roots = profile.unpack(theta)
    point = profile.at(profile.covariances(roots))
    log_det, products = profile.derivatives(point)
    if profile.reml:
        weight = np.zeros_like(point.m)
        weight[: profile.p, : profile.p] = point.xx_inverse
        log_det = [
            g - np.tensordot(q, weight, ((2, 3), (0, 1)))
            for g, q in zip(log_det, products, strict=True)
        ]
    weight = profile.rss_weight(point)
    rss = [-np.tensordot(q, weight, ((2, 3), (0, 1))) for q in products]
    return np.stack([_to_theta(profile, part, roots) for part in (log_det, rss)])


def _to_theta(profile: Profile, per_factor: list[Floats], roots: list[Floats]) -> Floats:
    by_term = profile.by_term(per_factor)
    return profile.pack([(g + g.T) @ r for g, r in zip(by_term, roots, strict=True)])


def _hessian(profile: Profile, theta: Floats, free: Ints, sigma2: float) -> Floats:
    """Second derivatives of the deviance in (theta, sigma) at the optimum."""
    sigma, n = np.sqrt(sigma2), len(free)
    here = _slopes(profile, theta)[:, free]
    result = np.zeros((n + 1, n + 1))
    floor = 1e-2 * np.sqrt(1.0 / profile.nu)
    for row, index in enumerate(free):
        step = 1e-4 * max(abs(float(theta[index])), floor)
        moved = theta.copy()
        moved[index] = theta[index] + step
        up = _slopes(profile, moved)[:, free]
        moved[index] = theta[index] - step
        down = _slopes(profile, moved)[:, free]
        change = (up - down) / (2 * step)
        result[row, :n] = change[0] + change[1] / sigma2
    result[:n, :n] = (result[:n, :n] + result[:n, :n].T) / 2
    result[n, :n] = result[:n, n] = -2 * here[1] / sigma**3
    result[n, n] = 4 * profile.nu / sigma2
    return result


def _covariance_slopes(
    profile: Profile, theta: Floats, free: Ints, point: Point, sigma2: float
) -> Floats:
    """Derivatives of the covariance of the coefficients by (theta, sigma), (t + 1, p, p)."""
    roots, p = profile.unpack(theta), profile.p
    _, products = profile.derivatives(point)
    slopes = np.zeros((len(theta), p, p))
    starts = {t: (f, s) for f, s, t in _term_places(profile)}
    for term, (k, part) in enumerate(zip(profile.sizes, profile.slices, strict=True)):
        factor, start = starts[term]
        inner = products[factor][start : start + k, start : start + k, :p, :p]
        inner = inner + inner.transpose(1, 0, 2, 3)
        # dS = E_ij L' + L E_ij' for entry (i, j) of L: slope = sum_b L_bj (Q_ib + Q_bi)
        full = np.einsum("bj,ibxy->ijxy", roots[term], inner)
        columns, rows = np.triu_indices(k)
        slopes[part] = full[rows, columns]
    inverse = point.xx_inverse
    by_theta = sigma2 * inverse @ slopes[free] @ inverse
    by_sigma = 2 * np.sqrt(sigma2) * inverse
    return np.concatenate([by_theta, by_sigma[None]])


def _term_places(profile: Profile) -> list[tuple[int, int, int]]:
    """(grouping factor, first column in it, term) for every term."""
    places = []
    for number, factor in enumerate(profile.factors):
        start = 0
        for term in factor.terms:
            places.append((number, start, term))
            start += profile.sizes[term]
    return places


def _pooled_df(dfs: Floats) -> float:
    if len(dfs) == 1 or np.all(np.abs(np.diff(dfs)) < 1e-8):
        return float(dfs.mean())
    if not np.all(dfs > 2):
        return 2.0
    if np.any(np.isinf(dfs)):
        dfs = np.where(np.isinf(dfs), 1e300, dfs)
    expected = float(np.sum(dfs / (dfs - 2)))
    return 2 * expected / (expected - len(dfs))


# -- Kenward-Roger ---------------------------------------------------------------------------------


def _information_parts(profile: Profile, point: Point) -> tuple[Floats, Floats, Floats]:
    """For the variance parameters, residual last, with G_i = dV / d parameter i:

    ``d_i = X'V^-1 G_i V^-1 X``, ``k_ij = tr(V^-1 G_i V^-1 G_j)`` and
    ``q_ij = X'V^-1 (G_i V^-1 G_j + G_j V^-1 G_i) V^-1 X``.

    The second order comes from differences of exact first derivatives; those of the residual
    from ``sum_i s_i G_i = V``.
    """
    directions = [
        d for number in range(len(profile.factors)) for d in _basis(profile, point, number)
    ]
    t, d = _first_order(profile, point, directions)
    n_directions, p = len(directions), profile.p
    k = np.zeros((n_directions + 1, n_directions + 1))
    q = np.zeros((n_directions + 1, n_directions + 1, p, p))
    for j, direction in enumerate(directions):
        dt, dd = _difference(profile, point, directions, direction)
        k[:-1, j], q[:-1, j] = -dt, -dd
    k[:-1, :-1] = (k[:-1, :-1] + k[:-1, :-1].T) / 2
    q[:-1, :-1] = (q[:-1, :-1] + q[:-1, :-1].swapaxes(0, 1)) / 2
    s = np.array([direction.value for direction in directions])
    n = profile.nu + profile.p
    d0 = point.m[:p, :p] - np.tensordot(s, d, 1)
    k[-1, :-1] = k[:-1, -1] = t - k[:-1, :-1] @ s
    k[-1, -1] = (n - t @ s) - k[-1, :-1] @ s
    q0 = 2 * d - np.tensordot(s, q[:-1, :-1], (0, 0))
    q[-1, :-1] = q[:-1, -1] = q0
    q[-1, -1] = 2 * d0 - np.tensordot(s, q0, 1)
    return np.concatenate([d, d0[None]]), k, q


@dataclass(frozen=True)
class _Direction:
    """A variance parameter: ``S = sum of value * matrix`` over a factor's directions."""

    factor: int
    matrix: Floats  # symmetric
    value: float


def _basis(profile: Profile, point: Point, number: int) -> list[_Direction]:
    """Directions in which a step of 1e-3 is small against ``S + A^-1``, A the information of the
    best informed level: on that scale everything is smooth. Kenward-Roger does not depend on the
    basis of the variance parameters.
    """
    factor = profile.factors[number]
    covariance, information = point.covariances[number], _information(profile, number)
    result, start = [], 0
    for term in factor.terms:
        stop = start + profile.sizes[term]
        own = covariance[start:stop, start:stop]
        root = linalg.cholesky(own + linalg.inv(information[start:stop, start:stop]), lower=True)
        half = linalg.solve_triangular(root, own, lower=True)
        inner = linalg.solve_triangular(root, half.T, lower=True)
        for a in range(stop - start):
            for b in range(a + 1):
                outer = np.outer(root[:, a], root[:, b])
                matrix = np.zeros_like(covariance)
                matrix[start:stop, start:stop] = outer if a == b else outer + outer.T
                result.append(_Direction(number, matrix, float(inner[a, b])))
        start = stop
    return result


def _first_order(
    profile: Profile, point: Point, directions: list[_Direction]
) -> tuple[Floats, Floats]:
    log_det, products = profile.derivatives(point)
    p = profile.p
    t = np.array([np.sum(log_det[d.factor] * d.matrix) for d in directions])
    slopes = [np.tensordot(d.matrix, products[d.factor][..., :p, :p], 2) for d in directions]
    return t, np.array(slopes).reshape(len(directions), p, p)


def _difference(
    profile: Profile, point: Point, directions: list[_Direction], moved: _Direction
) -> tuple[Floats, Floats]:
    """Derivative of the first order in one direction, five-point rule."""
    step, p = 1e-3, profile.p
    change_t, change_d = np.zeros(len(directions)), np.zeros((len(directions), p, p))
    for weight, shift in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
        covariances = list(point.covariances)
        covariances[moved.factor] = covariances[moved.factor] + shift * step * moved.matrix
        t, d = _first_order(profile, profile.at(covariances), directions)
        change_t += weight * t / (12 * step)
        change_d += weight * d / (12 * step)
    return change_t, change_d


def _information(profile: Profile, number: int) -> Floats:
    """``z'Wz`` of a factor's levels: their mean, raised to the size of the largest."""
    a = profile.elimination.information(number)
    traces = np.trace(a, axis1=1, axis2=2)
    return np.asarray(a.sum(axis=0) * (traces.max() / traces.sum()))


def _inverse(information: Floats) -> Floats:
    """Inverse in units of the diagonal, pseudo-inverse when it is singular."""
    scale = np.sqrt(np.abs(np.diag(information)))
    scale[scale == 0] = 1.0
    unit = information / np.outer(scale, scale)
    return np.asarray(linalg.pinvh(unit, rtol=1e-12) / np.outer(scale, scale))


def _ratio(numerator: float, denominator: float) -> float:
    """A quotient that is one where both sides vanish."""
    if abs(numerator) < 1e-14 and abs(denominator) < 1e-14:
        return 1.0
    return numerator / denominator if denominator else np.inf


# -- F tests ---------------------------------------------------------------------------------------


def _independent_rows(rows: Floats, covariance: Floats) -> Floats:
    """A basis of the row space."""
    _, r, order = linalg.qr(rows.T, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(r))
    rank = int(np.sum(diagonal > 1e-9 * diagonal.max(initial=0.0)))
    return np.asarray(rows[np.sort(order[:rank])])


def _f_test(rows: Floats, beta: Floats, covariance: Floats, df: float) -> FTest:
    rows = _independent_rows(rows, covariance)
    q = len(rows)
    if q == 0:
        return FTest(0, np.nan, np.nan, np.nan)
    estimate = rows @ beta
    solved = linalg.solve(rows @ covariance @ rows.T, estimate, assume_a="pos")
    statistic = float(estimate @ solved) / q
    p = stats.chi2.sf(statistic * q, q) if np.isinf(df) else stats.f.sf(statistic, q, df)
    return FTest(q, df, statistic, float(p))
