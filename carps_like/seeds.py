"""A private stream of the global random generators, for libraries that draw from them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class GlobalSeeds:
    """Swaps a run's own state of the global generators in around each call, and out after it.

    ``random`` and ``numpy.random`` always, ``torch`` once it is imported. Two runs in one process
    do not disturb each other, nor the caller's own generators.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._states: dict[str, Any] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        outer = {name: get() for name, (get, _, _) in _generators().items()}
        self._enter()
        try:
            yield
        finally:
            generators = _generators()  # torch may be new
            self._states = {name: get() for name, (get, _, _) in generators.items()}
            for name, state in outer.items():
                generators[name][1](state)

    def _enter(self) -> None:
        for name, (_, put, seed) in _generators().items():
            if name in self._states:
                put(self._states[name])
            else:
                seed(self._seed)


def _generators() -> dict[
    str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[int], Any]]
]:
    """Name -> (get state, set state, seed)."""
    found: dict[str, Any] = {
        "random": (random.getstate, random.setstate, random.seed),
        "numpy": (np.random.get_state, np.random.set_state, np.random.seed),
    }
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        found["torch"] = (torch.get_rng_state, torch.set_rng_state, torch.manual_seed)
    return found
