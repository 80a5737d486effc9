"""A one-sided comparison that stops as soon as it is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEVEL = 0.01
LOOKS = (1 / 6, 1 / 3, 1 / 2, 1.0)  # of the sample: 5, 10, 15 and 30 of 30
FUTILE = 0.5  # a p-value above it, from the second look on, ends it


@dataclass(frozen=True)
class Verdict:
    """``p`` as it was when the comparison stopped, after ``n`` of our values."""

    better: bool
    p: float
    n: int
    ours: tuple[float, ...]
    others: tuple[float, ...]


def compare(
    draw: Callable[[int], float], others: Callable[[], Sequence[float]], size: int
) -> Verdict:
    """Whether the values that ``draw(0)``, ``draw(1)``, ... give are below ``others``.

    Mann-Whitney, one-sided, at 1 % in all: it is looked at up to four times, each at a quarter of
    the level (Bonferroni), so that stopping at the first success keeps the level. Stopping without
    success where our values are not even lower in the sample (p > 0.5) cannot raise it.

    Args:
        draw: our value of a seed; lower is better.
        others: the sample to beat; asked for at each look.
        size: how many of ours at most.
    """
    from scipy.stats import mannwhitneyu

    ours: list[float] = []
    looks = sorted({max(1, round(share * size)) for share in LOOKS})
    for number, look in enumerate(looks):
        while len(ours) < look:
            ours.append(draw(len(ours)))
        sample = tuple(others())
        p = float(mannwhitneyu(ours, sample, alternative="less").pvalue)
        better = p < LEVEL / len(looks)
        if better or look == size or (number and p > FUTILE):
            break
    return Verdict(better, p, len(ours), tuple(ours), sample)
