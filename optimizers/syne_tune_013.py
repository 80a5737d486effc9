"""Schedulers that Syne Tune had until 0.13: MOBSTER (Klein et al., 2020), Hyper-Tune (Li
et al., 2022), and the synchronous ones, DEHB (Awad et al., 2021) among them.

They tell in each suggestion up to which resource its trial shall go, and pause it there; those of
the stopping type decide at each rung.
"""

from __future__ import annotations

import datetime
import inspect
import sys
from dataclasses import replace
from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue
from carps_like.interface import Exhausted
from carps_like.optimizers._common import TRIES, no_legal
from carps_like.optimizers.syne_tune import Job, SyneTuneFidelity, value
from carps_like.trial import Result, Trial

_TARGET, _RESOURCE = "carps_like_target", "carps_like_resource"  # no hyperparameter is named so


class Classic(SyneTuneFidelity):
    """``scheduler`` is a multi-fidelity class of ``syne_tune.optimizer.baselines`` of 0.13."""

    def _class(self, scheduler: str) -> Any:
        cls = super()._class(scheduler)
        # its constructors take anything; what they make use of stands in their modules
        modules = [sys.modules[base.__module__] for base in cls.__mro__]
        names = sorted({key for m in modules for key in getattr(m, "_ARGUMENT_KEYS", ())})

        def build(**given: Any) -> Any:
            return cls(**given)

        keys = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
        build.__signature__ = inspect.Signature(keys)  # type: ignore[attr-defined]
        build.__name__ = scheduler
        return build

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        super()._fixed(task)
        if self._factor != int(self._factor):
            raise BadValue(f"reduction_factor must be a whole number, not {self._factor:g}")
        if len(self._times) < 2:
            raise BadValue(
                f"fidelity of {task.name!r} is too narrow for reduction_factor {self._factor:g}"
            )
        self._space[_TARGET] = int(self._times[-1])
        return {
            "resource_attr": _RESOURCE,
            "max_resource_attr": _TARGET,
            "reduction_factor": self._factor,
        }

    @property
    def _stops(self) -> bool:
        return bool(getattr(self._scheduler, "scheduler_type", "") == "stopping")

    def _next(self) -> Job:
        from syne_tune.backend.trial_status import Trial as Theirs

        if self._live:
            return self._live.pop(0)
        for _ in range(TRIES):
            found = self._scheduler.suggest(trial_id=self._count)
            if found is None:
                raise Exhausted
            if not found.spawn_new_trial_id:
                job = self._jobs[found.checkpoint_trial_id]
                job.step = self._step(found.config)
                return job
            chosen = {p.name: value(p, found.config[p.name]) for p in self._cube.params}
            trial = Theirs(self._count, found.config, datetime.datetime(2000, 1, 1))
            job = Job(trial, self._cube.complete(chosen))
            self._count += 1
            self._scheduler.on_trial_add(trial)
            if self._cube.checker.forbidden(job.config):
                self._scheduler.on_trial_error(trial)
                continue
            self._jobs[trial.trial_id] = job
            job.step = 0 if self._stops else self._step(found.config)
            return job
        raise no_legal(self._cube.checker.where)

    def _step(self, config: Any) -> int:
        return self._times.index(config[_TARGET])

    def tell(self, trial: Trial, result: Result) -> None:
        job: Job = trial.tag
        if not result.ok:
            self._scheduler.on_trial_error(job.trial)
            return
        told = self._report(result) | {_RESOURCE: self._times[job.step]}
        decision = self._scheduler.on_trial_result(job.trial, told)
        if decision != "CONTINUE":
            self._scheduler.on_trial_remove(job.trial)
        elif job.step + 1 < len(self._levels):
            job.step += 1
            self._live.append(job)
        else:
            self._scheduler.on_trial_complete(job.trial, told)


class ModelBased(Classic):
    """MOBSTER and Hyper-Tune: a Gaussian process over configurations and rungs."""

    capabilities = replace(Classic.capabilities, noise=True, learns=60)
