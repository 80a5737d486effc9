"""BOHB (Falkner et al., 2018): hpbandster's own model in the brackets of Hyperband.

hpbandster runs its brackets only over a network of workers; its proposals come from
``config_generators.bohb.BOHB``, which is what is used here, in our synchronous Hyperband.
"""

from __future__ import annotations

from typing import Any

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities
from carps_like.optimizers._common import TRIES, construct, no_legal
from carps_like.optimizers.own_fidelity import Hyperband
from carps_like.trial import Result, Trial, Value


class _Job:
    """What the model reads of a finished evaluation."""

    def __init__(self, config: dict[str, Value], budget: float, loss: float | None) -> None:
        self.id = (0, 0, 0)  # only for its log
        self.kwargs = {"config": config, "budget": budget}
        self.result = None if loss is None else {"loss": loss}
        self.exception = None if loss is not None else "failed"


class Bohb(Hyperband):
    """``options`` go to the model: ``min_points_in_model``, ``top_n_percent``, ``num_samples``,
    ``random_fraction``, ``bandwidth_factor``, ``min_bandwidth``.
    """

    capabilities = Capabilities(
        fidelity="needs", conditions="native", ordinal=False, global_seeds=True
    )
    requires = ("hpbandster",)

    def __init__(self, task: TaskDescription, seed: int, eta: float = 3, **options: Any) -> None:
        from hpbandster.optimizers.config_generators.bohb import BOHB

        from carps_like.configspace import without_priors

        super().__init__(task, seed, eta)
        space = without_priors(task.space)
        space.seed(seed)
        self._checker = task.checker
        self._model = construct(BOHB, options, configspace=space)

    def _sample(self, rung: int) -> dict[str, Value]:
        for _ in range(TRIES):
            config: dict[str, Value]
            config, _ = self._model.get_config(self._rungs[rung])
            if not self._checker.forbidden(config):
                return config
        raise no_legal(self._checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        super().tell(trial, result)
        assert trial.fidelity is not None
        loss = result.value if result.ok else None
        self._model.new_result(_Job(trial.config, trial.fidelity, loss))
