"""Syne Tune's schedulers (Salinas et al., 2022), driven step by step by the runner's clock.

A scheduler decides after each report whether its trial goes on; here every report is a trial of
ours at the next rung, which continues the one before. Its generators are the global ones.
"""

from __future__ import annotations

import datetime
import inspect
from dataclasses import dataclass, replace
from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._brackets import rungs
from carps_like.optimizers._common import TRIES, construct, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value

RESOURCE = "resource"


def domain(param: Param) -> Any:
    """The hyperparameter as a domain of Syne Tune; choices and ordinals by position."""
    from syne_tune import config_space as c

    if param.kind == "categorical":
        return c.choice(list(range(len(param.choices))))
    if param.kind == "ordinal":
        return c.randint(0, len(param.choices) - 1)
    if param.kind == "int":
        draw = c.lograndint if param.log else c.randint
        return draw(int(param.lower), int(param.upper))
    return (c.loguniform if param.log else c.uniform)(param.lower, param.upper)


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


def ranks() -> Any:
    """The non-dominated rank of each point, lowest first.

    Syne Tune's own class (0.16) gives the order of the points, which its schedulers read as ranks:
    they would then choose without regard to the values.
    """
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import (
        NonDominatedPriority,
    )

    class Ranks(NonDominatedPriority):  # type: ignore[misc]
        def priority_unsafe(self, objectives: Any) -> Any:
            return super().priority_unsafe(objectives).argsort()

    return Ranks()


@dataclass
class Job:
    """A trial of Syne Tune's."""

    trial: Any
    config: dict[str, Value]
    step: int = 0  # reports so far
    number: int | None = None  # our last trial of it


class _SyneTune(Optimizer):
    """``scheduler`` is a class of ``syne_tune.optimizer.baselines``; ``options`` go to it."""

    requires = ("syne_tune",)

    def __init__(self, task: TaskDescription, seed: int, scheduler: str, **options: Any) -> None:
        self._cube = Cube(task.checker)
        self._metrics = [f"m{i}" for i in range(len(task.objectives))]
        self._space = {p.name: domain(p) for p in self._cube.params}
        cls = self._class(scheduler)
        known = inspect.signature(cls).parameters
        fixed = {"config_space": self._space, "random_seed": seed % 2**31}
        fixed |= {"metrics": self._metrics} if "metrics" in known else {"metric": "m0"}
        self._scheduler = construct(cls, options, **fixed | self._fixed(task))
        self._count = self._asked = 0

    def _class(self, scheduler: str) -> Any:
        from syne_tune.optimizer import baselines

        found = getattr(baselines, scheduler, None)
        if found is None:
            hint = did_you_mean(scheduler, dir(baselines))
            raise BadValue(f"syne_tune has no scheduler {scheduler!r}{hint}")
        return found

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        return {}

    def _suggested(self) -> tuple[Job, int | None]:
        """A new job, and the job whose checkpoint it begins from."""
        from syne_tune.backend.trial_status import Trial as Theirs

        for _ in range(TRIES):
            found = self._scheduler.suggest()
            if found is None:
                raise Exhausted
            trial = Theirs(self._count, found.config, datetime.datetime(2000, 1, 1))
            self._count += 1
            config = self._cube.complete(
                {p.name: value(p, found.config[p.name]) for p in self._cube.params}
            )
            self._scheduler.on_trial_add(trial)
            if not self._cube.checker.forbidden(config):
                return Job(trial, config), found.checkpoint_trial_id
            self._scheduler.on_trial_error(trial)
        raise no_legal(self._cube.checker.where)

    def _report(self, result: Result) -> dict[str, float]:
        return dict(zip(self._metrics, result.values, strict=True))

    def ask(self) -> Trial | None:
        job, _ = self._suggested()
        return Trial(job.config, tag=job)

    def tell(self, trial: Trial, result: Result) -> None:
        job = trial.tag
        if result.ok:
            self._scheduler.on_trial_complete(job.trial, self._report(result))
        else:
            self._scheduler.on_trial_error(job.trial)


class SyneTune(_SyneTune):
    """One objective at the full fidelity: TPE, BORE, CQR."""

    capabilities = Capabilities(global_seeds=True)


class SyneTuneInTurn(_SyneTune):
    """BOTorch, whose searcher pairs configurations with results by the order in which they come."""

    capabilities = Capabilities(global_seeds=True, noise=True, parallel=False)


class SyneTuneRandom(_SyneTune):
    """Syne Tune's random search, which refuses a second objective."""

    capabilities = Capabilities(global_seeds=True, learns=None)


class SyneTuneEvolution(_SyneTune):
    """Regularised evolution (Real et al., 2019): its first population is 100 random ones."""

    capabilities = Capabilities(global_seeds=True, learns=300)


class SyneTuneMany(_SyneTune):
    """Multi-objective regularised evolution, from a population of 100 as well."""

    capabilities = Capabilities(
        global_seeds=True, multi_objective=True, single_objective=False, learns=300
    )

    def _class(self, scheduler: str) -> Any:
        from syne_tune.optimizer.schedulers import multiobjective as many
        from syne_tune.optimizer.schedulers.single_fidelity_scheduler import (
            SingleFidelityScheduler,
        )

        def build(config_space: Any, metrics: Any, random_seed: int, **options: Any) -> Any:
            searcher = construct(
                many.MultiObjectiveRegularizedEvolution,
                options,
                config_space=config_space,
                random_seed=random_seed,
                multiobjective_priority=ranks(),
            )
            return SingleFidelityScheduler(
                config_space=config_space,
                metrics=metrics,
                searcher=searcher,
                random_seed=random_seed,
            )

        return build


class SyneTuneFidelity(_SyneTune):
    """ASHA (``brackets=3``: Hyperband), BOHB, ASHABORE, ASHACQR: their stopping form.

    The rungs are those of the task's fidelity; a trial that may go on is asked for next.
    """

    capabilities = Capabilities(global_seeds=True, fidelity="needs", learns=300)

    def __init__(
        self, task: TaskDescription, seed: int, scheduler: str, reduction_factor: float = 3,
        **options: Any,
    ) -> None:  # fmt: skip
        self._factor = reduction_factor
        self._live: list[Job] = []  # may go on
        self._jobs: dict[int, Job] = {}
        super().__init__(task, seed, scheduler, **options)

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        assert task.fidelity is not None  # the capabilities say so
        self._levels = rungs(task.fidelity, self._factor)
        # whole powers of the factor, as its brackets count
        self._times = [self._factor**i for i in range(len(self._levels))]
        return {
            "time_attr": RESOURCE,
            "max_t": self._times[-1],
            "reduction_factor": self._factor,
        }

    def ask(self) -> Trial | None:
        job = self._next()
        number, self._asked = self._asked, self._asked + 1
        info = {"rung": job.step, "job": job.trial.trial_id}
        trial = Trial(job.config, self._levels[job.step], job.number, info, tag=job)
        job.number = number
        return trial

    def _next(self) -> Job:
        if self._live:
            return self._live.pop(0)
        job, checkpoint = self._suggested()
        self._jobs[job.trial.trial_id] = job
        if checkpoint is not None:
            source = self._jobs[checkpoint]
            job.number, job.step = source.number, min(source.step, len(self._levels) - 1)
        return job

    def tell(self, trial: Trial, result: Result) -> None:
        job: Job = trial.tag
        if not result.ok:
            self._scheduler.on_trial_error(job.trial)
            return
        told = self._report(result) | {RESOURCE: self._times[job.step]}
        job.step += 1
        decision = self._scheduler.on_trial_result(job.trial, told)
        if decision == "CONTINUE" and job.step < len(self._levels):
            self._live.append(job)


class SyneTuneManyFidelity(SyneTuneFidelity):
    """MO-ASHA (Schmucker et al., 2021)."""

    capabilities = replace(
        SyneTuneFidelity.capabilities, multi_objective=True, single_objective=False
    )

    def _class(self, scheduler: str) -> Any:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        return MOASHA

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        return super()._fixed(task) | {"multiobjective_priority": ranks()}


class Pbt(SyneTuneFidelity):
    """Syne Tune's Population Based Training: ``population_size`` jobs, furthest behind first, in
    ``n_steps`` equal parts of the fidelity.
    """

    capabilities = replace(SyneTuneFidelity.capabilities, continues=True)

    def __init__(
        self, task: TaskDescription, seed: int, population_size: int = 4, n_steps: int = 10,
        **options: Any,
    ) -> None:  # fmt: skip
        self._steps, self._size = n_steps, population_size
        self._busy = 0
        super().__init__(task, seed, "PBT", population_size=population_size, **options)

    def _class(self, scheduler: str) -> Any:
        from syne_tune.optimizer.schedulers.pbt import PopulationBasedTraining

        return PopulationBasedTraining

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        fidelity = task.fidelity
        assert fidelity is not None  # the capabilities say so
        parts = (fidelity.upper * (i + 1) / self._steps for i in range(self._steps))
        self._levels = list(dict.fromkeys(fidelity.nearest(x) for x in parts))
        self._times = [float(i + 1) for i in range(len(self._levels))]
        return {"time_attr": RESOURCE, "max_t": len(self._levels), "perturbation_interval": 1}

    def ask(self) -> Trial | None:
        if not self._live and self._busy >= self._size:
            return None
        trial = super().ask()
        self._busy += 1
        return trial

    def _next(self) -> Job:
        # a clone that the scheduler wants, or a member that is missing, comes first
        if len(self._live) + self._busy < self._size or not self._live:
            live, self._live = self._live, []
            job = super()._next()
            self._live = live
            return job
        self._live.sort(key=lambda j: j.step)
        return self._live.pop(0)

    def tell(self, trial: Trial, result: Result) -> None:
        self._busy -= 1
        super().tell(trial, result)
