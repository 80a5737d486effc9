"""Failures of checks that lie in a library and are known: expected, and an error once they pass."""

from __future__ import annotations

from collections.abc import Mapping

_LEARNS = "learns from its data"
_NEPS_ASYNC = (
    "NePS 0.17 leaves what was promoted out of a rung before it takes the best third of it"
    " (neps/optimizers/utils/brackets.py, Async.next), so nearly all are promoted, and 1,000 trials"
    " are no better than random search at the same cost"
)

# (variant, check) -> the reason
KNOWN: Mapping[tuple[str, str], str] = {
    ("gfo-stochastichillclimbing", _LEARNS): (
        "gradient-free-optimizers 1.13 accepts a worse point with a probability between a fourth"
        " and a half however much worse it is (StochasticHillClimbingOptimizer._p_accept_default)"
    ),
    ("neps-asha", _LEARNS): _NEPS_ASYNC,
    ("neps-async-hyperband", _LEARNS): _NEPS_ASYNC,
    ("neps-moasha", _LEARNS): _NEPS_ASYNC,
}
