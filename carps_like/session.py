"""From composed configurations to results: plan, work, compact. What `run` does, in any form."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, CarpsLikeError, UnknownName, Unsupported
from carps_like.interface import Optimizer, Task
from carps_like.isolation.environment import Environment
from carps_like.live import Live
from carps_like.local import LocalExecutor
from carps_like.log import AttemptLog, DiskFull
from carps_like.plan import (
    DATA_MISSING,
    LIBRARY_MISSING,
    UNSUPPORTED,
    Plan,
    PlannedRun,
    make_plan,
    write_generation,
)
from carps_like.results import Results, compact, load
from carps_like.spec import Spec
from carps_like.store import LOGS, Index
from carps_like.trial import Status
from carps_like.worker import execute, foreign, header_of


@dataclass
class Outcome:
    """What a call of :func:`run_plan` did and what is left."""

    plan: Plan
    index: Index
    started: int = 0  # runs that were to be done
    failed: list[tuple[PlannedRun, str, str]] = field(default_factory=list)  # status, first line
    unfinished: int = 0  # runs cut or held by another process


def results_folder(config: Mapping[str, Any]) -> Path:
    """``results=PATH``, by default ``results/<name>``.

    Raises:
        BadValue: the name would lead out of ``results/``.
    """
    given = config.get("results")
    if given is not None:
        return Path(str(given)).expanduser()
    name = str(config.get("name") or "default")
    if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise BadValue(f"name {name!r} cannot be the name of a folder; use results=PATH")
    return Path("results") / name


def use_data(folder: Any) -> None:
    """Tasks look into the user's data folder first, here and in the workers."""
    if folder is None:
        return
    path = Path(str(folder)).expanduser().resolve()
    if not path.is_dir():
        raise BadValue(f"data={str(folder)!r} is not a folder")
    os.environ["CARPS_LIKE_DATA"] = str(path)


def own_targets(plan: Plan) -> list[str]:
    """What only this command line lets workers import or install: see :func:`worker.foreign`."""
    return sorted({name for run in plan.runs for name in foreign(run.spec)})


def run_plan(
    folder: Path,
    plan: Plan,
    *,
    workers: int = 1,
    paths: Sequence[str] = (),
    trusted: Sequence[str] | None = None,
    progress: Callable[[Index], None] | None = None,
    launch: Launch | None = None,
) -> Outcome:
    """Do what a plan says is to be done; what was done before is left alone.

    Args:
        trusted: ``_target_``s that workers may import besides the shipped ones; by default those
            of the plan, which is right for a plan that the user composed and for no other.
        launch: does a generation of the plan; by default worker processes of this machine.

    Raises:
        KeyboardInterrupt: interrupted; every finished trial is in the logs.
    """
    check_workers(workers)
    index = Index(folder).refresh()
    note_refused(folder, plan, index)
    to_do = plan.to_do
    if to_do:
        generation = write_generation(folder, to_do, workers)
        index = (launch or _launch_here)(
            folder,
            generation,
            min(workers, len(to_do)),
            trusted=own_targets(plan) if trusted is None else trusted,
            paths=paths,
            limited=has_run_limits(to_do),
            progress=progress,
        )
    return summarize(plan, index.refresh())


def check_workers(workers: Any) -> None:
    """Raise :class:`BadValue` unless ``workers`` counts processes."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise BadValue(f"workers must be a whole number above 0, not {workers!r}")


class Launch(Protocol):
    """Does a generation of a plan and returns when that is done."""

    def __call__(
        self,
        folder: Path,
        generation: int,
        workers: int,
        *,
        trusted: Sequence[str],
        paths: Sequence[str],
        limited: bool,
        progress: Callable[[Index], None] | None,
    ) -> Index: ...


def _launch_here(folder: Path, generation: int, workers: int, **how: Any) -> Index:
    return LocalExecutor(folder, generation, workers, **how).run()


def environments_of(runs: Sequence[PlannedRun]) -> list[Environment]:
    """The interpreters of their own that the optimizers of some runs live in."""
    found: dict[str, Environment] = {}
    for run in runs:
        if run.spec.optimizer.get("environment") is not None:
            environment = run.spec.variant.environment
            if environment is not None:
                found[environment.key] = environment
    return list(found.values())


def has_run_limits(runs: Sequence[PlannedRun]) -> bool:
    """Whether any run has a limit that must be held from outside its worker."""
    return any("run_seconds" in r.spec.limits or "run_memory_mb" in r.spec.limits for r in runs)


def note_refused(folder: Path, plan: Plan, index: Index) -> None:
    """Pairs that cannot work stand in the results too, as runs with status unsupported."""
    refused = [r for r in plan.runs if r.state == UNSUPPORTED and not index.finished(r.spec.run_id)]
    if not refused:
        return
    log = AttemptLog(folder / LOGS)
    try:
        for run in refused:
            task = plan.description(run)
            log.run(run.spec.run_id, [], header_of(run.spec, task, run.round))
            log.done(run.spec.run_id, Status.UNSUPPORTED, run.reason, 0)
    finally:
        log.close()


def summarize(plan: Plan, index: Index) -> Outcome:
    """How the plan's runs stand now."""
    outcome = Outcome(plan, index, started=len(plan.to_do))
    for run in plan.runs:
        if run.state in (LIBRARY_MISSING, DATA_MISSING):
            outcome.failed.append((run, run.state, run.reason))
            continue
        best = index.best(run.spec.run_id)
        if best is None or not best.finished:
            outcome.unfinished += run.state != UNSUPPORTED
        elif best.status not in (Status.OK, Status.UNSUPPORTED):
            first = best.error.splitlines()[0] if best.error else ""
            outcome.failed.append((run, best.status, first))
    return outcome


def impossible(plan: Plan) -> CarpsLikeError | None:
    """Why nothing of a plan can run, if nothing can."""
    states = plan.counts()
    bad = (UNSUPPORTED, LIBRARY_MISSING, DATA_MISSING)
    if not plan.runs or sum(states[s] for s in bad) < len(plan.runs):
        return None
    first = plan.runs[0]
    if first.state != UNSUPPORTED:
        return CarpsLikeError(first.reason)
    name, task = first.spec.optimizer["name"], first.spec.task["name"]
    return Unsupported(f"optimizer {name!r} cannot run task {task!r}: {first.reason}")


def run(
    optimizer: str | type[Optimizer] | Mapping[str, Any],
    task: str | Task | Mapping[str, Any],
    seed: int = 0,
    *,
    results: str | Path | None = None,
    **overrides: Any,
) -> Results:
    """Run one optimizer on one task, and return what was logged.

    Args:
        optimizer: a variant's name, a mapping with ``_target_`` and options, or a class.
        task: a task's name, a mapping with ``_target_``, or a :class:`Task`.
        seed: 0 to 2^31 - 1.
        results: folder that keeps the logs, so that the call can be repeated or continued for
            free; by default nothing is kept.
        overrides: fields of ``configs/run.yaml``: ``budget=dict(trials=50)`` or ``trials=50``
            for short, ``simulate``, ``limits``, ``on_failure``, ``workers``, ``data``, ``force``,
            and ``options`` for the optimizer.

    Returns:
        Results; ``.trials`` is the trajectory, and its columns can be read off it directly.

    Raises:
        CarpsLikeError: an unknown name, an impossible pair, a value out of range.
    """
    force = bool(overrides.pop("force", False))
    use_data(overrides.pop("data", None))
    workers = overrides.pop("workers", 1)
    config, live = _configuration(optimizer, task, seed, overrides)
    with tempfile.TemporaryDirectory(prefix="carps-like-") as temporary:
        folder = Path(temporary if results is None else results).expanduser()
        index = Index(folder).refresh()
        plan = make_plan([config], index, force=force, live=live)
        problem = impossible(plan)
        if problem is not None:
            raise problem
        if live is None:
            run_plan(folder, plan, workers=workers, paths=[str(Path.cwd())])
        else:
            _run_live(folder, plan, live)
        found = load(folder) if results is None else compact(folder)
        return found.only(plan.runs[0].spec.run_id)


_SHORT = {"trials": "budget", "evaluations": "budget", "simulated_seconds": "budget"}


_ARGUMENTS = (*_SHORT, "budget", "simulate", "limits", "on_failure", "workers", "data", "force")
_ARGUMENTS += ("options", "results")


def _configuration(
    optimizer: Any, task: Any, seed: int, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], Live | None]:
    """The arguments of :func:`run` as one configuration, and the live objects among them."""
    from carps_like.registry import variant

    config: dict[str, Any] = {"seed": seed, "budget": {}, "simulate": {}, "limits": {}}
    options = dict(overrides.get("options") or {})
    for key, value in overrides.items():
        if key in _SHORT:
            config[_SHORT[key]][key] = value
        elif key in ("budget", "simulate", "limits"):
            if value is not None and not isinstance(value, Mapping):
                example = " (trials=50 is short for budget={'trials': 50})" * (key == "budget")
                raise BadValue(f"{key} must be a mapping, not {value!r}{example}")
            config[key].update(value or {})
        elif key == "on_failure":
            config[key] = value
        elif key != "options":
            raise UnknownName("argument of run()", key, _ARGUMENTS)
    chosen, own_task = None, None
    if isinstance(optimizer, str):
        found = variant(optimizer)
        config["optimizer"] = found.data
    elif isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        chosen = optimizer
        target = f"{optimizer.__module__}.{optimizer.__qualname__}"
        config["optimizer"] = {"name": optimizer.__name__, "_target_": target}
    elif isinstance(optimizer, Mapping):
        config["optimizer"] = dict(optimizer)
    else:
        raise BadValue(f"optimizer must be a name, a class or a mapping, not {optimizer!r}")
    config["optimizer"].update(options)
    if isinstance(task, str):
        config["task"] = {"name": task}
    elif isinstance(task, Task):
        own_task = task
        config["task"] = {"name": task.description.name}
    elif isinstance(task, Mapping):
        config["task"] = dict(task)
    else:
        raise BadValue(f"task must be a name, a Task or a mapping, not {task!r}")
    live = Live(chosen, options, own_task) if chosen or own_task else None
    return config, live


def _run_live(folder: Path, plan: Plan, live: Live) -> None:
    """Objects of this process run in this process: they cannot be sent to a worker."""
    for planned in plan.to_do:
        log = AttemptLog(folder / LOGS)
        try:
            execute(planned.spec, log, planned.round, live=live)
        except DiskFull:
            raise
        finally:
            log.close()


__all__ = ["Outcome", "Spec", "TaskDescription", "impossible", "results_folder", "run", "run_plan"]
