"""Simultaneous p-values and critical values: studentised range, Dunnett, and simpler ones.

The studentised range and the maximum modulus are integrated here because the usual tools have a
floor: scipy stops at 1e-13 and table-based approximations at 1e-3. Upper tails are computed as
such, never as one minus a probability, so p-values keep their relative accuracy down to the
smallest floating-point number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, special, stats

from carps_like.errors import BadValue

Floats = npt.NDArray[np.float64]

ADJUSTMENTS = ("tukey", "holm", "bonferroni", "sidak", "none")
QMC_POINTS = 2**15


# -- studentised range -----------------------------------------------------------------------------


def range_sf(q: float, k: int, df: float) -> float:
    """``P(range of k means / s > q)``, the upper tail of the studentised range distribution.

    ``s`` is an independent root mean square with ``df`` degrees of freedom (infinite allowed).
    """
    if np.isnan(q) or np.isnan(df):
        return np.nan
    if q <= 0:
        return 1.0
    if np.isinf(q):
        return 0.0
    return _mix(lambda w: _range_tail(w, k), q, df)


def range_quantile(probability: float, k: int, df: float) -> float:
    """The q with ``range_sf(q, k, df) == probability``."""
    return _quantile(lambda q: range_sf(q, k, df), probability)


def _range_tail(w: Floats, k: int) -> Floats:
    """``P(range of k standard normals > w)`` for an array of w.

    With a = Phi(z), b = Phi(z - w) the density of the largest value z gives the integral of
    ``k phi(z) (a^(k-1) - (a-b)^(k-1))``.
    """
    nodes, weights = _gauss(24)
    low, high = -9.0, 9.0 + w.max()
    n_panels = int(np.ceil((high - low) / 1.5))
    edges = np.linspace(low, high, n_panels + 1)
    half = (edges[1] - edges[0]) / 2
    z = (edges[:-1, None] + half * (1 + nodes)).ravel()
    weight = np.tile(weights * half, n_panels)
    a = special.ndtr(z)
    density = k * np.exp(-0.5 * z**2 + (k - 1) * np.log(a)) / np.sqrt(2 * np.pi) * weight
    ratio = np.minimum(special.ndtr(z[None, :] - w[:, None]) / a, 1.0)
    with np.errstate(divide="ignore"):
        missing = -np.expm1((k - 1) * np.log1p(-ratio))
    return np.asarray(missing @ density)


def _mix(tail: Callable[[Floats], Floats], q: float, df: float) -> float:
    """Average of ``tail(q s)`` over ``s = sqrt(chi2_df / df)``."""
    if np.isinf(df):
        return float(tail(np.array([q]))[0])
    # log of the density of u = log s, without its constant: trapezoid sums over the real line
    # converge exponentially
    constant = np.log(2.0) + (df / 2) * np.log(df / 2) - special.gammaln(df / 2)

    def log_density(u: Floats) -> Floats:
        return np.asarray(constant + df * u - df / 2 * np.exp(2 * u))

    def log_integrand(u: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return log_density(u) + np.log(tail(q * np.exp(u)))

    width = 1 / np.sqrt(2 * df)
    lowest = min(-12 * width, -np.log(max(q, 1.0)) - 12 * max(width, 1 / np.sqrt(df)))
    coarse = np.linspace(lowest - 40 / df, 12 * width + 0.5 / df, 101)
    values = log_integrand(coarse)
    inside = np.flatnonzero(values > values.max() - 46)
    low = coarse[max(inside[0] - 1, 0)]
    high = coarse[min(inside[-1] + 1, len(coarse) - 1)]
    u = np.linspace(low, high, 81 if df > 5 else 321)
    return float(min(np.exp(log_integrand(u)).sum() * (u[1] - u[0]), 1.0))


@lru_cache(maxsize=8)
def _gauss(n: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return nodes, weights


def _quantile(sf: Callable[[float], float], probability: float) -> float:
    target = np.log(probability)
    low, high = 1.0, 4.0
    while sf(high) > probability:
        low, high = high, 2 * high
    while sf(low) < probability:
        low, high = low / 2, low
    return float(optimize.brentq(lambda q: np.log(sf(q)) - target, low, high, xtol=1e-9))


# -- maximum modulus with a correlation matrix (Dunnett) -----------------------------------------


def modulus_sf(t: float, correlation: Floats, df: float) -> float:
    """``P(max |T_i| > t)`` for a multivariate t with the given correlation matrix."""
    if np.isnan(t) or np.isnan(df):
        return np.nan
    if t <= 0:
        return 1.0
    if len(correlation) == 1:
        return float(2 * (stats.norm.sf(t) if np.isinf(df) else stats.t.sf(t, df)))
    loadings = _one_factor(correlation)
    if loadings is None:
        return _modulus_qmc(t, correlation, df)
    return _mix(lambda w: _one_factor_tail(w, loadings), t, df)


def modulus_quantile(probability: float, correlation: Floats, df: float) -> float:
    """The t with ``modulus_sf(t, correlation, df) == probability``."""
    return _quantile(lambda t: modulus_sf(t, correlation, df), probability)


def _one_factor(correlation: Floats) -> Floats | None:
    """Loadings l with ``r_ij = l_i l_j``, which is exact for balanced comparisons; else None."""
    n = len(correlation)
    off = correlation[~np.eye(n, dtype=bool)]
    if n == 2:
        root = np.sqrt(abs(off[0]))
        return np.array([root, np.copysign(root, off[0])])
    if np.any(off <= 0):
        return None
    logs = np.log(np.where(np.eye(n, dtype=bool), 1.0, correlation))
    loadings = np.exp((logs.sum(axis=1) - logs.sum() / (2 * (n - 1))) / (n - 2))
    fitted = np.outer(loadings, loadings)[~np.eye(n, dtype=bool)]
    if np.any(loadings > 1) or np.max(np.abs(fitted - off)) > 1e-9:
        return None
    return np.asarray(loadings)


def _one_factor_tail(w: Floats, loadings: Floats) -> Floats:
    """``P(max |X_i| > w)``, integrated over the common factor."""
    nodes, weights = _gauss(24)
    edges = np.linspace(-9.0 - w.max(), 9.0 + w.max(), 13 + int(2 * w.max()))
    half = (edges[1] - edges[0]) / 2
    z = (edges[:-1, None] + half * (1 + nodes)).ravel()
    weight = np.tile(weights * half, len(edges) - 1) * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    unique, counts = np.unique(np.round(loadings, 14), return_counts=True)
    log_inside = np.zeros((len(w), len(z)))
    for loading, count in zip(unique, counts, strict=True):
        rest = np.sqrt(max(1 - loading**2, 1e-300))
        outside = special.ndtr(-(w[:, None] - loading * z) / rest)
        outside = outside + special.ndtr(-(w[:, None] + loading * z) / rest)
        with np.errstate(divide="ignore"):
            log_inside += count * np.log1p(-np.minimum(outside, 1.0))
    return np.asarray(-np.expm1(log_inside) @ weight)


def _modulus_qmc(t: float, correlation: Floats, df: float) -> float:
    """Separation of variables (Genz 1992) on a fixed lattice: error about 1e-5, no randomness."""
    root = _cholesky(correlation)
    u = _lattice(len(root))
    scale = np.ones(len(u))
    if np.isfinite(df):
        scale = np.sqrt(special.chdtri(df, 1 - u[:, -1]) / df)
    bound = t * scale
    inside = np.ones(len(u))
    y = np.zeros((len(u), len(root)))
    for i in range(len(root)):
        shift = y[:, :i] @ root[i, :i]
        low = special.ndtr((-bound - shift) / root[i, i])
        high = special.ndtr((bound - shift) / root[i, i])
        inside *= high - low
        y[:, i] = special.ndtri(np.clip(low + u[:, i] * (high - low), 1e-16, 1 - 1e-16))
    return float(np.clip(1 - inside.mean(), 0.0, 1.0))


def _cholesky(correlation: Floats) -> Floats:
    values, vectors = linalg.eigh(correlation)
    values = np.maximum(values, 1e-10)
    lower = linalg.qr((vectors * np.sqrt(values)).T, mode="r")[0].T
    return np.asarray(lower * np.where(np.diag(lower) < 0, -1.0, 1.0))


@lru_cache(maxsize=4)
def _lattice(dimension: int) -> Floats:
    """Richtmyer points folded by the baker transformation."""
    primes = [p for p in range(2, 2000) if all(p % d for d in range(2, int(p**0.5) + 1))]
    steps = np.sqrt(np.array(primes[: dimension + 1], dtype=float))
    points = np.arange(1, QMC_POINTS + 1)[:, None] * steps % 1.0
    return np.asarray(np.clip(np.abs(2 * points - 1), 1e-12, 1 - 1e-12))


# -- families --------------------------------------------------------------------------------------


def adjusted(
    t: Floats, df: Floats, p: Floats, adjust: str, n_means: int, correlation: Floats | None
) -> Floats:
    """Adjusted p-values of one family; NaN entries do not count.

    ``n_means`` is the number of means compared (tukey), ``correlation`` that of the contrasts
    (dunnett).
    """
    result = np.full(len(p), np.nan)
    ok = ~np.isnan(p)
    n = int(ok.sum())
    if adjust == "tukey":
        tail = [
            range_sf(abs(a) * np.sqrt(2), n_means, b) for a, b in zip(t[ok], df[ok], strict=True)
        ]
        result[ok] = tail
    elif adjust == "dunnett":
        assert correlation is not None
        r = correlation[np.ix_(ok, ok)]
        tail = [modulus_sf(abs(a), r, b) for a, b in zip(t[ok], df[ok], strict=True)]
        result[ok] = np.maximum(tail, p[ok])
    elif adjust == "holm":
        result[ok] = _holm(p[ok])
    elif adjust == "bonferroni":
        result[ok] = np.minimum(p[ok] * n, 1.0)
    elif adjust == "sidak":
        with np.errstate(divide="ignore"):
            result[ok] = -np.expm1(n * np.log1p(-p[ok]))
    else:
        result[ok] = p[ok]
    return result


def critical(
    df: Floats, level: float, adjust: str, n_means: int, correlation: Floats | None
) -> Floats:
    """Half-widths of simultaneous intervals in standard errors; holm uses Bonferroni's."""
    ok = ~np.isnan(df)
    n, alpha = int(ok.sum()), 1 - level
    cache: dict[float, float] = {}

    def one(d: float) -> float:
        if adjust == "tukey":
            return float(range_quantile(alpha, n_means, d) / np.sqrt(2))
        if adjust == "dunnett":
            assert correlation is not None
            return modulus_quantile(alpha, correlation[np.ix_(ok, ok)], d)
        share = {"none": alpha, "sidak": -np.expm1(np.log1p(-alpha) / n)}.get(adjust, alpha / n)
        return float(stats.norm.isf(share / 2) if np.isinf(d) else stats.t.isf(share / 2, d))

    result = np.full(len(df), np.nan)
    for i in np.flatnonzero(ok):
        key = float(df[i])
        if key not in cache:
            cache[key] = one(key)
        result[i] = cache[key]
    return result


def check_adjust(adjust: str) -> None:
    """Raise for an unknown adjustment."""
    if adjust not in ADJUSTMENTS:
        raise BadValue(f"adjust={adjust!r}: must be one of {', '.join(ADJUSTMENTS)}")


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    result = np.empty(len(p))
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return result
