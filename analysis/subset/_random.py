"""A compiled random stream whose state is an array, so that a search can stop and go on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carps_like.analysis.subset._compiled import helper

Stream = NDArray[np.uint64]  # (1,)


@helper
def uniform(stream: Stream) -> float:
    """Next number of ``stream`` in [0, 1): SplitMix64 (Steele, Lea and Flood 2014)."""
    stream[0] += np.uint64(0x9E3779B97F4A7C15)
    z = stream[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.float64(z >> np.uint64(11)) * 2.0**-53


@helper
def below(stream: Stream, n: int) -> int:
    """Next whole number of ``stream`` in [0, n)."""
    return int(uniform(stream) * n)
