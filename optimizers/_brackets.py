"""The arithmetic of successive halving and Hyperband, on a task's own fidelity range."""

from __future__ import annotations

import math

from carps_like.description import Fidelity
from carps_like.errors import BadValue


def rungs(fidelity: Fidelity, eta: float) -> list[float]:
    """Fidelities from low to high, each ``eta`` times the one below, the last the highest.

    As many as fit between ``fidelity.lower`` and ``fidelity.upper`` (Li et al., 2018).
    """
    if eta <= 1:
        raise BadValue(f"eta must be above 1, not {eta}")
    if fidelity.lower <= 0:
        raise BadValue(f"fidelity {fidelity.name!r} begins at {fidelity.lower}, not above 0")
    n = int(math.log(fidelity.upper / fidelity.lower) / math.log(eta) + 1e-9)
    levels = [fidelity.nearest(fidelity.upper / eta**k) for k in range(n, -1, -1)]
    return list(dict.fromkeys(levels))


def hyperband(n_rungs: int, eta: float) -> list[list[tuple[int, int]]]:
    """Brackets, the most exploring first; each a list of ``(rung, configurations)``.

    Bracket s begins with ceil(s_max + 1) / (s + 1) * eta^s configurations at rung s_max - s and
    keeps the best 1/eta at each step (Li et al., 2018, algorithm 1).
    """
    top = n_rungs - 1
    brackets = []
    for s in range(top, -1, -1):
        n = math.ceil((top + 1) / (s + 1) * eta**s)
        steps = [(top - s + i, max(1, int(n * eta**-i))) for i in range(s + 1)]
        brackets.append(steps)
    return brackets


def halving(n_rungs: int, eta: float) -> list[tuple[int, int]]:
    """One bracket over all rungs: ``eta^top`` configurations, of which one reaches the top."""
    top = n_rungs - 1
    return [(i, max(1, round(eta ** (top - i)))) for i in range(n_rungs)]
