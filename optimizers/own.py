"""Optimizers of our own, on numpy alone."""

from __future__ import annotations

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Optimizer
from carps_like.space import Sampler
from carps_like.trial import Result, Trial


class RandomSearch(Optimizer):
    """Independent uniform samples (log-uniform where the space says log); ignores results."""

    capabilities = Capabilities(multi_objective=True, conditions="native", forbidden="reject")

    def __init__(self, task: TaskDescription, seed: int) -> None:
        self._sampler = Sampler(task.checker, seed)

    def ask(self) -> Trial:
        return Trial(self._sampler.sample())

    def tell(self, trial: Trial, result: Result) -> None:
        pass
