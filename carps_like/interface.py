"""The whole interface: a task evaluates configurations, an optimizer asks and is told.

Both are usable by hand, without the runner::

    task = carps_like.task("bbob-d02-f01-i01")
    optimizer = carps_like.optimizer("optuna-tpe", task.description, seed=0)
    for _ in range(20):
        trial = optimizer.ask()
        result = task.evaluate(trial.config, trial.fidelity)
        optimizer.tell(trial, result)
"""

from __future__ import annotations

import importlib.util
import math
import os
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, ClassVar, Literal

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, MissingLibrary
from carps_like.trial import OK, Configuration, Outcome, Result, Status, Trial, all_finite


class Task(ABC):
    """An objective function with its description. Subclasses implement :meth:`compute`."""

    description: TaskDescription

    @abstractmethod
    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        """Evaluate a checked configuration.

        Args:
            config: active hyperparameters, native values, legal in the space.
            fidelity: within the declared range, or ``None`` if the task has none.
            seed: for the noise of this evaluation; ``None`` when called without one.
            state: what the trial that this one continues handed on, else ``None``.

        Returns:
            Objective name -> value in the declared direction, or an :class:`Outcome`.
        """

    def evaluate(
        self,
        config: Configuration,
        fidelity: float | None = None,
        seed: int | None = None,
        state: Any = None,
    ) -> Result:
        """Check ``config``, evaluate it, and turn what comes back into a :class:`Result`.

        An objective that raises or returns nan or inf gives a result with status ``failed``, one
        that raises ``MemoryError`` with ``out_of_memory``, and ``TimeoutError`` with ``timeout``.

        Raises:
            BadValue: the configuration or fidelity is not legal; the message names what.
        """
        description = self.description
        config = description.checker.check(config)
        if description.fidelity is not None:
            fidelity = description.fidelity.check(fidelity, description.name)
        elif fidelity is not None:
            raise BadValue(f"task {description.name!r} has no fidelity, but got {fidelity!r}")
        started, forks = time.perf_counter(), _forks
        try:
            out = self.compute(config, fidelity, seed, state)
        except (Exception, SystemExit) as error:
            _end_copy(forks)
            cost = self._cost(fidelity, started)
            return failure(description, _status_of(error), described(error), cost)
        _end_copy(forks)
        if not isinstance(out, Outcome):
            return _result(description, out, self._cost(fidelity, started))
        cost = self._cost(fidelity, started) if out.cost is None else out.cost
        return _result(description, out.objectives, cost, out.constraints, out.extra, out.state)

    def _cost(self, fidelity: float | None, started: float) -> float:
        """Simulated seconds of an evaluation that named none itself."""
        description = self.description
        if description.unit_cost is None:
            return time.perf_counter() - started
        if description.fidelity is None:
            return description.unit_cost
        return description.unit_cost * description.fidelity.share(fidelity)


def _status_of(error: BaseException) -> Status:
    if isinstance(error, MemoryError):
        return Status.OUT_OF_MEMORY
    return Status.TIMEOUT if isinstance(error, TimeoutError) else Status.FAILED


_forks = 0  # how many forks lie between this process and the one that imported this module


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # POSIX; asking for the process's number costs 1 us a trial
    os.register_at_fork(after_in_child=_count_fork)


def _end_copy(forks: int) -> None:
    """End a copy of this process that the objective forked and that came back out of it."""
    if forks != _forks:
        os._exit(0)


def _result(
    description: TaskDescription,
    objectives: Mapping[str, float],
    cost: float,
    constraints: tuple[float, ...] = (),
    extra: Mapping[str, Any] | None = None,
    state: Any = None,
) -> Result:
    try:
        values = tuple([sign * float(objectives[name]) for name, sign in description.directions])
        cost = float(cost)
    except (KeyError, TypeError, ValueError, OverflowError):
        known = ", ".join(name for name, _ in description.directions)
        text = f"the task must return a number for each objective ({known}), not {objectives!r}"
        text += "" if isinstance(cost, float | int) else f" at cost {cost!r}"
        return failure(description, Status.FAILED, text, 0.0)
    if not 0.0 <= cost < math.inf:
        return failure(description, Status.FAILED, f"cost is {cost!r}", 0.0, objectives)
    if all_finite(values):
        return Result(objectives, values, cost, OK, "", constraints, extra or {}, state)
    found = zip(description.directions, values, strict=True)
    bad = [name for (name, _), value in found if not math.isfinite(value)]
    error = ", ".join(f"objective {name} is {objectives[name]!r}" for name in bad)
    return failure(description, Status.FAILED, error, cost, objectives)


def failure(
    description: TaskDescription,
    status: Status,
    error: str,
    cost: float = 0.0,
    objectives: Mapping[str, float] | None = None,
) -> Result:
    """The result of a trial that gave no usable value; ``values`` are the task's penalty."""
    missing = {name: math.nan for name, _ in description.directions}
    return Result(objectives or missing, description.penalty, cost, status, error)


def described(error: BaseException) -> str:
    """``Class: message``, then the traceback."""
    text = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}".splitlines()[0] + "\n" + text


@dataclass(frozen=True)
class Capabilities:
    """What an optimizer can take: static and true, known without importing its library."""

    multi_objective: bool = False
    single_objective: bool = True
    fidelity: Literal["no", "yes", "needs"] = "no"  # "no": runs at the full fidelity only
    continuous: bool = True
    integer: bool = True
    categorical: bool = True
    ordinal: bool = True
    log: bool = True  # parameters on a logarithmic scale
    conditions: Literal["no", "flat", "native"] = "flat"  # flat: inactive ones are dropped
    forbidden: Literal["no", "reject", "native"] = "reject"  # reject: asks again until legal
    noise: bool = False  # reckons with noise; others take each value as it is
    constraints: bool = False  # uses constraint values; others see the objectives only
    priors: Literal["no", "yes", "needs"] = "no"
    parallel: bool = True  # several asks before a tell
    continues: bool = False  # its trials inherit the state of others (PBT)
    needs_trials: bool = False  # its plan depends on budget.trials
    deterministic: bool = True  # same seed, same bits; else resume restarts the run
    global_seeds: bool = False  # its library draws from the global generators
    learns: int | None = 60  # trials by which it beats random search on a separable quadratic;
    # None: it ignores results
    seeded: bool = True  # False: may propose the same whatever the seed
    pickles: bool = False  # its state can be pickled between an ask and a tell
    ranges: bool = False  # takes only objectives whose lowest and highest value the task declares
    min_dimension: int = 1
    max_dimension: int | None = None

    def problem(self, task: TaskDescription) -> str:
        """Why an optimizer that can do this cannot take ``task``; empty when it can."""
        return next(self._problems(task), "")

    def _problems(self, task: TaskDescription) -> Iterator[str]:
        if len(task.objectives) > 1 and not self.multi_objective:
            yield f"takes one objective, the task has {len(task.objectives)}"
        if len(task.objectives) == 1 and not self.single_objective:
            yield "takes several objectives, the task has one"
        if self.fidelity == "needs" and task.fidelity is None:
            yield "needs a fidelity, the task has none"
        for kind in ("continuous", "integer", "categorical", "ordinal"):
            if getattr(task, f"n_{kind}") and not getattr(self, kind):
                yield f"takes no {kind} hyperparameters, the task has {getattr(task, f'n_{kind}')}"
        if not self.log and any(p.log for p in task.checker.params):
            yield "takes no hyperparameters on a logarithmic scale"
        if task.n_conditions and self.conditions == "no":
            yield "takes no conditional hyperparameters"
        if task.n_forbidden and self.forbidden == "no":
            yield "takes no forbidden clauses"
        if self.priors == "needs" and not task.has_priors:
            yield "needs priors, the task has none"
        if self.ranges and any(o.lower is None or o.upper is None for o in task.objectives):
            yield "needs the range of each objective, the task declares none"
        if self.continues and not task.stateful:
            yield "continues the state of earlier trials, the task keeps none"
        if task.dimension < self.min_dimension:
            yield f"needs at least {self.min_dimension} dimensions, the task has {task.dimension}"
        if self.max_dimension is not None and task.dimension > self.max_dimension:
            yield f"takes at most {self.max_dimension} dimensions, the task has {task.dimension}"


class Exhausted(Exception):
    """Raised by :meth:`Optimizer.ask` when there is nothing left to propose: ends the run well."""


class Optimizer(ABC):
    """Ask/tell for one task description and one seed. One subclass per algorithm."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    requires: ClassVar[tuple[str, ...]] = ()  # modules of its library
    extra: ClassVar[str] = ""  # the extra that installs them
    files: ClassVar[Mapping[str, str]] = {}  # options that name a file or folder which it cannot
    # do without, and what that is

    @abstractmethod
    def __init__(self, task: TaskDescription, seed: int) -> None:
        """Subclasses add their options as keywords; ``task.budget`` is the run's budget."""

    @abstractmethod
    def ask(self) -> Trial | None:
        """Propose a trial; ``None`` waits for a pending one to end. Raises :class:`Exhausted`."""

    @abstractmethod
    def tell(self, trial: Trial, result: Result) -> None:
        """Learn how a trial ended; ``trial`` is the object that :meth:`ask` returned.

        ``result.values`` are minimised and finite; of a failed trial they are the penalty.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of files, threads and processes."""


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@cache
def version_of(module: str) -> str:
    """Version of the distribution that brings a module; importing nothing."""
    top = module.partition(".")[0]
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(top)
        return metadata.version(names[0]) if names else ""


def require(modules: Iterable[str], extra: str, what: str) -> None:
    """Raise :class:`MissingLibrary` with the command that installs it, unless all are here."""
    for module in modules:
        if not installed(module):
            raise MissingLibrary(module, extra, what)
