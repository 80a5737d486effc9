"""Formulas of the synthetic multi-fidelity functions; z in [0, 1], 1 the highest fidelity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Point = Sequence[float]

_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A3 = ((3.0, 10.0, 30.0), (0.1, 10.0, 35.0), (3.0, 10.0, 30.0), (0.1, 10.0, 35.0))
_P3 = ((3689, 1170, 2673), (4699, 4387, 7470), (1091, 8732, 5547), (381, 5743, 8828))
_A6 = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P6 = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def branin(x: Point, z: float) -> float:
    """Branin with three perturbed constants (Kandasamy et al., 2017, appendix)."""
    b = 5.1 / (4 * math.pi**2) - 0.01 * (1 - z)
    c = 5 / math.pi - 0.1 * (1 - z)
    t = 1 / (8 * math.pi) + 0.05 * (1 - z)
    return (x[1] - b * x[0] ** 2 + c * x[0] - 6) ** 2 + 10 * (1 - t) * math.cos(x[0]) + 10


def currin(x: Point, z: float) -> float:
    """Currin's exponential function (Currin et al., 1991); fidelity as Kandasamy et al., 2017."""
    damped = math.exp(-1 / (2 * x[1])) if x[1] > 0 else 0.0
    top = 2300 * x[0] ** 3 + 1900 * x[0] ** 2 + 2092 * x[0] + 60
    bottom = 100 * x[0] ** 3 + 500 * x[0] ** 2 + 4 * x[0] + 20
    return (1 - (1 - 0.1 * (1 - z)) * damped) * top / bottom


def borehole(x: Point, z: float) -> float:
    """Flow through a borehole, m^3 a year; low fidelity after Xiong et al., 2013."""
    radius, influence, upper_t, upper_h, lower_t, lower_h, length, conductivity = x
    log = math.log(influence / radius)
    flow = upper_t * (upper_h - lower_h) / log
    loss = 2 * length * upper_t / (log * radius**2 * conductivity) + upper_t / lower_t
    high = 2 * math.pi * flow / (1 + loss)
    low = 5 * flow / (1.5 + loss)
    return z * high + (1 - z) * low


def _hartmann(
    x: Point, shift: float, a: Sequence[Sequence[float]], p: Sequence[Sequence[float]]
) -> float:
    total = 0.0
    for weight, row, centre in zip(_ALPHA, a, p, strict=True):
        inner = sum(w * (v - 1e-4 * c) ** 2 for w, v, c in zip(row, x, centre, strict=True))
        total += (weight - shift) * math.exp(-inner)
    return -total


def hartmann3(x: Point, z: float) -> float:
    """Hartmann's 3-d function; fidelity lowers the weights (Kandasamy et al., 2017)."""
    return _hartmann(x, 0.1 * (1 - z), _A3, _P3)


def hartmann6(x: Point, z: float) -> float:
    """Hartmann's 6-d function; fidelity lowers the weights (Kandasamy et al., 2017)."""
    return _hartmann(x, 0.1 * (1 - z), _A6, _P6)


def forrester(x: Point, z: float) -> float:
    """Forrester et al., 2007: the low fidelity is half the function plus a line."""
    high = (6 * x[0] - 2) ** 2 * math.sin(12 * x[0] - 4)
    return z * high + (1 - z) * (0.5 * high + 10 * (x[0] - 0.5) - 5)


def park1(x: Point, z: float) -> float:
    """First function of Park, 1991; low fidelity after Xiong et al., 2013."""
    root = math.sqrt(x[0] ** 2 + (x[1] + x[2] ** 2) * x[3])
    high = (root - x[0]) / 2 + (x[0] + 3 * x[3]) * math.exp(1 + math.sin(x[2]))
    low = (1 + math.sin(x[0]) / 10) * high - 2 * x[0] + x[1] ** 2 + x[2] ** 2 + 0.5
    return z * high + (1 - z) * low


def park2(x: Point, z: float) -> float:
    """Second function of Park, 1991; low fidelity after Xiong et al., 2013."""
    high = 2 / 3 * math.exp(x[0] + x[1]) - x[3] * math.sin(x[2]) + x[2]
    return z * high + (1 - z) * (1.2 * high - 1)


def biased_hartmann(x: tuple[float, ...], step: int, bias: float, noise: float) -> float:
    """MFHartmann of MFPBench (Mallik et al., 2023): ``step`` of 100, a bias, and frozen noise.

    The noise depends on the point and the step alone: asking twice gives the same value.
    """
    lack = 1 - math.log(step) / math.log(100)
    constants = (_A3, _P3) if len(x) == 3 else (_A6, _P6)
    rng = np.random.default_rng(abs(1337 * step * hash(x)))
    return _hartmann(x, bias * lack, *constants) + abs(float(rng.normal())) * noise * lack
