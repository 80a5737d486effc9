"""Restarts of CMA-ES with growing populations, for any implementation of it."""

from __future__ import annotations

from typing import Any

from carps_like.errors import BadValue, did_you_mean

SCHEDULES = ("none", "ipop", "bipop")


class Restarts:
    """Population and step of the next restart.

    ``ipop`` doubles the population each time (Auger and Hansen, 2005); ``bipop`` interleaves
    that with small populations and small steps, whichever has used fewer evaluations (Hansen,
    2009); ``none`` starts again with what it began with.

    Args:
        schedule: none, ipop or bipop.
        population: of the first start.
        sigma: of the first start.
        rng: numpy's ``RandomState`` or ``Generator``.
    """

    def __init__(self, schedule: str, population: int, sigma: float, rng: Any) -> None:
        if schedule not in SCHEDULES:
            hint = did_you_mean(schedule, SCHEDULES, f"there are {', '.join(SCHEDULES)}")
            raise BadValue(f"no schedule of restarts {schedule!r}{hint}")
        self._schedule, self._sigma, self._rng = schedule, sigma, rng
        self._first = self._large = population
        self._spent = {"large": 0, "small": 0}
        self._regime = "large"

    def next(self, spent: int) -> tuple[int, float]:
        """``(population, sigma)`` after a start that used ``spent`` evaluations."""
        self._spent[self._regime] += spent
        if self._schedule == "none":
            return self._first, self._sigma
        if self._schedule == "bipop" and self._spent["small"] < self._spent["large"]:
            first_large = self._regime == "large" and self._large == self._first
            if not first_large:
                self._regime = "small"
                ratio = 0.5 * self._large / self._first
                population = int(self._first * ratio ** (self._rng.uniform() ** 2))
                return max(2, population), self._sigma * 10 ** (-2 * self._rng.uniform())
        self._regime = "large"
        self._large *= 2
        return self._large, self._sigma
