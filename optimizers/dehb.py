"""DEHB (Awad et al., 2021): differential evolution in the brackets of Hyperband.

Its log goes to a temporary folder, which is removed at once. Between brackets and rungs it waits
for open trials. Equal configurations at rising fidelities continue one another.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import Lineage, construct
from carps_like.trial import Result, Trial


class Dehb(Optimizer):
    """``options`` go to the constructor: ``eta``, ``mutation_factor``, ``crossover_prob``, ..."""

    capabilities = Capabilities(
        fidelity="needs", conditions="native", forbidden="no", global_seeds=True
    )
    requires = ("dehb",)
    extra = "dehb"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        from dehb import DEHB

        from carps_like.configspace import without_priors

        fidelity = task.fidelity
        assert fidelity is not None  # the capabilities say so
        self._fidelity = fidelity
        space = without_priors(task.space)
        space.seed(seed)
        folder = tempfile.mkdtemp(prefix="carps-like-dehb-")
        try:
            self._dehb = construct(
                DEHB,
                options,
                f=None,
                cs=space,
                min_fidelity=fidelity.lower,
                max_fidelity=fidelity.upper,
                seed=seed,
                n_workers=1,
                output_path=folder,
                save_freq="end",
                log_level="CRITICAL",
            )
        finally:
            self._dehb_logger_off()
            shutil.rmtree(folder, ignore_errors=True)
        self._lineage = Lineage()

    def _dehb_logger_off(self) -> None:
        from loguru import logger

        logger.remove()

    def ask(self) -> Trial:
        job = self._dehb.ask()
        fidelity = self._fidelity.nearest(job["fidelity"])
        info = {"bracket": int(job["bracket_id"])}
        return self._lineage.trial(dict(job["config"]), fidelity, info, tag=job)

    def tell(self, trial: Trial, result: Result) -> None:
        self._dehb.tell(trial.tag, {"fitness": result.value, "cost": result.cost})
