"""One ask, one evaluation, one tell: what travels between an optimizer and a task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from carps_like.errors import BadValue

Value = bool | int | float | str
"""A hyperparameter's value, always a native Python object."""
Configuration = Mapping[str, Value]
"""Hyperparameter name -> value; inactive hyperparameters are absent."""
_NATIVE = frozenset((bool, int, float, str))


def native(value: Any) -> Value:
    """``value`` without numpy: ``numpy.str_`` and numpy scalars become Python's own."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain


class Status(StrEnum):
    """How a trial or a run ended."""

    OK = "ok"
    FAILED = "failed"  # raised, or returned nan or inf
    TIMEOUT = "timeout"  # went over a time limit
    OUT_OF_MEMORY = "out_of_memory"  # went over a memory limit
    CRASHED = "crashed"  # its process ended by itself: a segmentation fault, os._exit
    KILLED = "killed"  # its process was ended from outside
    UNSUPPORTED = "unsupported"  # the optimizer cannot take the task: never started


OK = Status.OK  # reading it off the class takes as long as a call: for what every trial does


@dataclass(slots=True)
class Trial:
    """What an optimizer proposes. Trials are numbered 0, 1, ... in the order of the asks.

    ``config`` may be any mapping, a ConfigSpace ``Configuration`` too, and hold numpy's scalars,
    which ConfigSpace samples for choices: it becomes a dict of native values.
    """

    config: dict[str, Value]  # active hyperparameters only
    fidelity: float | None = None  # in the task's own unit; None is the highest
    continues: int | None = None  # number of the trial whose state this one inherits
    info: dict[str, Any] = field(default_factory=dict)  # JSON values to log: bracket, rung, ...
    tag: Any = None  # the optimizer's own handle, untouched and never logged

    def __post_init__(self) -> None:
        config = self.config
        if config.__class__ is dict and _NATIVE.issuperset(map(type, config.values())):
            return
        if not isinstance(config, Mapping):
            raise BadValue(
                f"the config of a Trial must be a dict of hyperparameters, not {config!r}"
            )
        self.config = {name: native(value) for name, value in config.items()}


def proposed(found: Any) -> Trial | None:
    """What an optimizer's ``ask`` returned; :class:`BadValue` where it is none of the two."""
    if found is None or isinstance(found, Trial):
        return found
    raise BadValue(f"ask must return a Trial, or None to wait, not {found!r}")


@dataclass(slots=True)
class Result:
    """What a task answers to a trial. Not to be modified (frozen, it would cost 1 us more).

    ``objectives`` are as the task declares them (accuracy is high when good); ``values`` are the
    same in the task's order, each turned so that lower is better. When the trial failed,
    ``values`` hold the penalty: the task's own, or the worst value of the run so far.
    """

    objectives: Mapping[str, float]
    values: tuple[float, ...]
    cost: float = 0.0  # seconds that the evaluation takes on the simulated clock
    status: Status = Status.OK
    error: str = ""  # first line the message, then the traceback if there is one
    constraints: tuple[float, ...] = ()  # in the task's order, satisfied when <= 0
    extra: Mapping[str, Any] = field(default_factory=dict)  # JSON values to log: test scores, ...
    # what a later trial can continue from; kept in memory, never logged
    state: Any = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        return self.status is OK

    @property
    def value(self) -> float:
        """The first objective, lower is better."""
        return self.values[0]

    @property
    def feasible(self) -> bool:
        """Succeeded, and every constraint holds."""
        return self.ok and all(c <= 0 for c in self.constraints)


@dataclass(slots=True)
class Outcome:
    """What :meth:`Task.compute` may return when objectives alone do not say it all."""

    objectives: Mapping[str, float]
    cost: float | None = None  # simulated seconds; None: by the description's `unit_cost`
    constraints: tuple[float, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None


def all_finite(values: tuple[float, ...]) -> bool:
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))  # a sum may overflow
