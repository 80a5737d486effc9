"""What determines a run, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from carps_like.budget import Budget
from carps_like.description import TaskDescription
from carps_like.errors import BadValue, UnknownName
from carps_like.interface import Task
from carps_like.registry import (
    build_task,
    collection_of,
    describe_task,
    load_target,
    missing_for_task,
)
from carps_like.variants import Variant


@dataclass(frozen=True)
class Simulate:
    """The virtual clock: how many trials are evaluated side by side on it."""

    workers: int = 1
    charge_optimizer: bool = False  # add the optimizer's measured time: not reproducible

    def __post_init__(self) -> None:
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise BadValue(f"simulate.workers must be a whole number above 0, not {self.workers!r}")
        if not isinstance(self.charge_optimizer, bool):
            raise BadValue(
                f"simulate.charge_optimizer must be true or false, not {self.charge_optimizer!r}"
            )


@dataclass(frozen=True)
class Limits:
    """What one trial may use before it is ended and recorded; ``None`` is no limit."""

    trial_seconds: float | None = None  # wall seconds
    trial_memory_mb: float | None = None  # resident memory of its whole process tree
    run_seconds: float | None = None  # wall seconds of the whole run
    run_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise BadValue(f"limits.{name} must be a number above 0, not {value!r}")

    @property
    def on_trials(self) -> bool:
        return self.trial_seconds is not None or self.trial_memory_mb is not None


FIELDS = ("optimizer", "task", "seed", "budget", "simulate", "limits", "on_failure")
OnFailure = Literal["penalty", "abort"]


@dataclass(frozen=True)
class Spec:
    """One run, fully resolved: everything in it is plain JSON data.

    ``task`` holds ``name``, and for a task of the user's own ``_target_`` and its options.
    Limits and the failure policy do not enter the identity: they change which runs survive,
    not what is measured.
    """

    optimizer: Mapping[str, Any]
    task: Mapping[str, Any]
    seed: int
    budget: Mapping[str, Any]
    simulate: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    on_failure: OnFailure = "penalty"

    @cached_property
    def run_id(self) -> str:
        """16 characters, a letter first (a reader once turned 6585e555... into infinity)."""
        identity = {
            "optimizer": {k: v for k, v in self.optimizer.items() if v is not None},
            "task": {k: v for k, v in self.task.items() if v is not None},
            "seed": self.seed,
            "budget": self.budget,
            "simulate": self.simulate,
        }
        text = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        return "r" + hashlib.sha256(text).hexdigest()[:15]

    @cached_property
    def variant(self) -> Variant:
        return Variant.of(self.optimizer)

    def json(self) -> str:
        return orjson.dumps(self.data(), option=orjson.OPT_SORT_KEYS).decode()

    def data(self) -> dict[str, Any]:
        return {
            "optimizer": dict(self.optimizer),
            "task": dict(self.task),
            "seed": self.seed,
            "budget": dict(self.budget),
            "simulate": dict(self.simulate),
            "limits": dict(self.limits),
            "on_failure": self.on_failure,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Spec:
        """A spec from plain data, checked. Nothing is imported or built.

        Raises:
            BadValue, UnknownName: a field is missing, unknown, or of the wrong kind.
        """
        for key in data:
            if key not in FIELDS:
                raise UnknownName("field of a run", str(key), FIELDS)
        for key in ("optimizer", "task"):
            if not isinstance(data.get(key), Mapping):
                raise BadValue(f"a run needs {key}=<name>; see `carps-like {key}s`")
        for key in ("budget", "simulate", "limits"):
            if not isinstance(data.get(key) or {}, Mapping):
                raise BadValue(f"{key} has fields of its own, it cannot be {data[key]!r}")
        seed = data.get("seed")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise BadValue(f"seed must be a whole number from 0 to 2147483647, not {seed!r}")
        on_failure = data.get("on_failure", "penalty")
        if on_failure not in ("penalty", "abort"):
            raise BadValue(f"on_failure must be 'penalty' or 'abort', not {on_failure!r}")
        simulate, limits = dict(data.get("simulate") or {}), dict(data.get("limits") or {})
        _fields("simulate", Simulate, simulate)
        _fields("limits", Limits, limits)
        return cls(
            optimizer=dict(data["optimizer"]),
            task=dict(data["task"]),
            seed=seed,
            budget=dict(data.get("budget") or {}),
            simulate={k: v for k, v in vars(Simulate(**simulate)).items()},
            limits={k: v for k, v in vars(Limits(**limits)).items() if v is not None},
            on_failure=on_failure,
        )


def _fields(section: str, kind: type[Simulate] | type[Limits], data: Mapping[str, Any]) -> None:
    known = kind.__dataclass_fields__
    for key in data:
        if key not in known:
            raise UnknownName(section, str(key), known, f"there are {', '.join(known)}")


def own_task(task: Mapping[str, Any]) -> Task | None:
    """The task of the user's own that ``_target_`` names; ``None`` for one of the listing.

    Only called with a configuration that the user composed, never with one that was read back
    from a results folder unless the user's command line trusts its target.
    """
    target = task.get("_target_")
    if target is None:
        return None
    make = load_target(str(target), Task)
    options = {k: v for k, v in task.items() if k not in ("name", "_target_") and v is not None}
    if "name" in task and "name" in inspect.signature(make).parameters:
        options["name"] = task["name"]  # one class, several tasks: each is called what its file is
    try:
        made = make(**options)
    except TypeError as error:
        raise BadValue(f"task {task.get('name')!r} cannot be made: {error}") from error
    if not isinstance(made, Task):
        raise BadValue(f"_target_ {target!r} of task {task.get('name')!r} did not make a Task")
    return made


def describe_task_of(task: Mapping[str, Any]) -> TaskDescription:
    """The description of the task that a configuration names."""
    own = own_task(task)
    return describe_task(str(task.get("name"))) if own is None else own.description


def build_task_of(task: Mapping[str, Any]) -> Task:
    """The task that a configuration names, ready to evaluate."""
    own = own_task(task)
    if own is not None:
        return own
    name = str(task.get("name"))
    collection = collection_of(name)
    return build_task(collection.describe(name), collection)


def resolve(data: Mapping[str, Any], description: TaskDescription) -> Spec:
    """The spec of a composed configuration, the task's own budget filled in where none is given.

    What else ``configs/run.yaml`` holds says where and how to run, not what.
    """
    spec = Spec.of({key: data[key] for key in FIELDS if key in data})
    budget = Budget.of(spec.budget, description.budget)
    return Spec(
        spec.optimizer,
        {"name": description.name} | dict(spec.task),
        spec.seed,
        budget.data(),
        spec.simulate,
        spec.limits,
        spec.on_failure,
    )


__all__ = [
    "FIELDS",
    "Limits",
    "OnFailure",
    "Simulate",
    "Spec",
    "build_task_of",
    "describe_task_of",
    "missing_for_task",
    "own_task",
    "resolve",
]
