"""Search for the global minimum of the profiled deviance.

The deviance is even in theta, so ``theta = 0`` is a stationary point whether or not it is a
minimum, and an optimiser that lands there stays. The search therefore starts from a coarse scan on
a logarithmic grid, descends by Newton steps (exact gradient, Hessian from differences of it), and
then tries to leave the point it found: exact zeros, the whole grid of every scalar term, and the
direction of steepest descent out of every singular covariance matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from carps_like.analysis.lmem.elimination import Floats
from carps_like.analysis.lmem.profile import Profile, triangular_root

GAIN = 1e-8  # a smaller drop in deviance is no reason to go on
ZERO = 1e-9  # a variance that costs no more than this in deviance is set to zero
MANY = 8  # parameters from which a quasi-Newton method goes first
NEAR = 1e-4  # Newton decrement below which the last Hessian serves while steps shrink tenfold
STALL = 12  # steps without progress beyond rounding after which descent ends
EXPENSIVE = 400  # crossed columns from which the scan is kept short


@dataclass(frozen=True)
class Optimum:
    """Where the search ended."""

    theta: Floats
    deviance: float
    converged: bool  # the Newton decrement is negligible and no escape was found


def minimise(profile: Profile) -> Optimum:
    """Global minimum of the profiled deviance over theta."""
    if not profile.n_theta:
        return Optimum(np.zeros(0), profile.value(np.zeros(0)), True)
    grid = _grid(profile)
    theta = _scan(profile, grid)
    best, converged = _descend(profile, theta)
    for _ in range(2 * len(profile.sizes) + 2):
        reduced = _to_zero(profile, best)
        if not np.array_equal(reduced, best):
            reduced, converged = _descend(profile, reduced)
        best = reduced
        escape = _escape(profile, best, grid)
        if escape is None:
            break
        best, converged = _descend(profile, escape)
    else:
        converged = False
    theta = profile.pack([_positive(root) for root in profile.unpack(best)])
    return Optimum(theta, profile.value(theta), converged)


def _grid(profile: Profile) -> Floats:
    """Multiples of the residual sd at which a term of unit columns is noticed at all, or rules."""
    levels = min(f.n_levels for f in profile.factors)
    low = 0.2 * np.sqrt(max(levels, 2) / (profile.nu + profile.p))
    n = 6 if _is_expensive(profile) else 13
    return np.geomspace(min(low, 0.1), 300.0, n)


def _is_expensive(profile: Profile) -> bool:
    return profile.elimination.n_crossed > EXPENSIVE


def _scan(profile: Profile, grid: Floats) -> Floats:
    """The best common scale of all terms, then that of each vector term by itself.

    Scalar terms are scanned one by one when descent has ended, in :func:`_escape`, unless that
    is too expensive: then here.
    """
    scales = np.ones(len(profile.sizes))
    common = [(profile.value(_diagonal(profile, scales * t)), t) for t in grid]
    scales *= min(common)[1]
    for i, size in enumerate(profile.sizes):
        if len(scales) == 1 or (size == 1 and not _is_expensive(profile)):
            continue
        tried = []
        for t in grid:
            scales[i] = t
            tried.append((profile.value(_diagonal(profile, scales)), t))
        scales[i] = min(tried)[1]
    return _diagonal(profile, scales)


def _diagonal(profile: Profile, scales: Floats) -> Floats:
    return profile.pack([s * np.eye(k) for s, k in zip(scales, profile.sizes, strict=True)])


# -- descent ---------------------------------------------------------------------------------------


def _descend(profile: Profile, theta: Floats) -> tuple[Floats, bool]:
    """Local minimum over the terms that are not exactly zero."""
    free = _free(profile, theta)
    if not free.any():
        return theta, True

    def value_and_gradient(x: Floats) -> tuple[float, Floats]:
        full = theta.copy()
        full[free] = x
        try:
            value, gradient = profile.value_and_gradient(full)
        except linalg.LinAlgError:
            return np.inf, np.zeros(len(x))
        return value, gradient[free]

    x = theta[free]
    if len(x) > MANY:
        result = optimize.minimize(
            value_and_gradient, x, jac=True, method="BFGS", options={"gtol": 1e-4, "maxiter": 500}
        )
        x = result.x
    tiny, noise = np.sqrt(1.0 / profile.nu), profile.noise(theta)
    x, converged = _newton(value_and_gradient, x, tiny, noise)
    result = theta.copy()
    result[free] = x
    return result, converged


def _free(profile: Profile, theta: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    free = np.zeros(len(theta), dtype=bool)
    for part in profile.slices:
        free[part] = np.any(theta[part] != 0)
    return free


def _newton(
    value_and_gradient: Callable[[Floats], tuple[float, Floats]],
    x: Floats,
    tiny: float,
    noise: float,
) -> tuple[Floats, bool]:
    """Damped Newton steps; curvature of the wrong sign is reversed.

    Below ``close`` the rounding error of the deviance decides nothing and the gradient is trusted.
    """
    close = max(1e-8, 3 * noise)
    history: list[float] = []
    value, gradient = value_and_gradient(x)
    hessian, decrement = np.zeros((0, 0)), np.inf
    for _ in range(100):
        scale = np.maximum(np.abs(x), tiny)
        before, again = decrement, decrement > NEAR
        if again:
            hessian = _hessian(value_and_gradient, x, gradient, 1e-5 * scale)
        step = -_solve(hessian, gradient, scale)
        decrement = -float(gradient @ step)
        if not again and decrement > 0.1 * before:
            hessian = _hessian(value_and_gradient, x, gradient, 1e-5 * scale)
            step = -_solve(hessian, gradient, scale)
            decrement = -float(gradient @ step)
        length = float(np.max(np.abs(step) / np.maximum(np.abs(x), 30 * tiny)))
        t = min(1.0, 1.5 / length) if length > 0 else 1.0
        for _ in range(40):
            new_value, new_gradient = value_and_gradient(x + t * step)
            if new_value <= value - 1e-4 * t * decrement or decrement < close:
                break
            t /= 3
        else:
            return x, decrement < max(1e-5, 10 * noise)
        x, gradient = x + t * step, new_gradient
        history.append(new_value)
        if len(history) > STALL and history[-STALL - 1] - min(history[-STALL:]) < max(
            1e-9, 3 * noise
        ):
            return x, decrement < max(1e-4, 10 * close)
        done = decrement < 1e-14 or (decrement < close and new_value >= value)
        value = min(value, new_value) if decrement < close else new_value
        if done:
            return x, True
    return x, False


def _hessian(
    value_and_gradient: Callable[[Floats], tuple[float, Floats]],
    x: Floats,
    gradient: Floats,
    steps: Floats,
) -> Floats:
    rows = []
    for i, h in enumerate(steps):
        moved = x.copy()
        moved[i] += h
        rows.append((value_and_gradient(moved)[1] - gradient) / h)
    matrix: Floats = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)


def _solve(hessian: Floats, gradient: Floats, scale: Floats) -> Floats:
    """``|H|^-1 g`` with eigenvalues bounded away from zero, in units of ``scale``."""
    values, vectors = linalg.eigh(hessian * np.outer(scale, scale))
    values = np.maximum(np.abs(values), 1e-9 * max(float(np.abs(values).max()), 1e-12))
    scaled = vectors @ ((vectors.T @ (gradient * scale)) / values)
    return np.asarray(scaled * scale)


# -- boundaries ------------------------------------------------------------------------------------


def _to_zero(profile: Profile, theta: Floats) -> Floats:
    """Set variances and eigenvalues to exactly zero where the deviance does not object."""
    value, slack = profile.value(theta), max(ZERO, profile.noise(theta))
    for number, part in enumerate(profile.slices):
        roots = profile.unpack(theta)
        for reduced in _reductions(roots[number]):
            candidate = theta.copy()
            candidate[part] = profile.pack([reduced])
            new = profile.value(candidate)
            if new <= value + slack:
                theta, value = candidate, min(value, new)
                break
    return theta


def _reductions(root: Floats) -> list[Floats]:
    """Covariance factors of lower rank, lowest first: the smallest eigenvalues set to zero."""
    values, vectors = linalg.eigh(root @ root.T)
    if not values[-1] > 0:
        return []
    small = [i for i in range(len(values)) if 0 < values[i] < 1e-3 * max(1.0, values[-1])]
    result = []
    for last in reversed(small):
        cut = np.where(np.arange(len(values)) <= last, 0.0, np.maximum(values, 0.0))
        result.append(triangular_root((vectors * cut) @ vectors.T))
    return result


def _escape(profile: Profile, theta: Floats, grid: Floats) -> Floats | None:
    """A point with a clearly lower deviance that descent did not reach, or None."""
    value, gain = profile.value(theta), max(GAIN, 10 * profile.noise(theta))
    roots = profile.unpack(theta)
    gradient: list[Floats] | None = None
    for number, (k, part) in enumerate(zip(profile.sizes, profile.slices, strict=True)):
        covariance = roots[number] @ roots[number].T
        if k == 1:
            if _is_expensive(profile) and covariance[0, 0] > 0:
                continue
            candidates = [np.array([[t]]) for t in grid]
        else:
            if gradient is None:
                point = profile.at(profile.covariances(roots))
                gradient = profile.by_term(profile.gradient(point))
            direction = _descent_direction(covariance, gradient[number])
            if direction is None:
                continue
            outer = np.outer(direction, direction)
            candidates = [triangular_root(covariance + t**2 * outer) for t in grid]
        best, found = value - gain, None
        for candidate in candidates:
            moved = theta.copy()
            moved[part] = profile.pack([candidate])
            new = profile.value(moved)
            if new < best:
                best, found = new, moved
        if found is not None:
            return found
    return None


def _descent_direction(covariance: Floats, gradient: Floats) -> Floats | None:
    """Vector v in the null space of S along which ``S + t v v'`` lowers the deviance."""
    values, vectors = linalg.eigh(covariance)
    null = vectors[:, values <= 1e-10 * max(float(values[-1]), 1e-10)]
    if not null.shape[1]:
        return None
    slopes, directions = linalg.eigh(null.T @ gradient @ null)
    return null @ directions[:, 0] if slopes[0] < -1e-10 else None


def _positive(root: Floats) -> Floats:
    """The same covariance with a non-negative diagonal of its factor."""
    return np.asarray(root * np.where(np.diag(root) < 0, -1.0, 1.0))
