"""What a task declares: data alone, known before any benchmark library is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from carps_like.budget import Budget
from carps_like.errors import BadValue, UnknownName
from carps_like.trial import native

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from carps_like.space import Checker

_DEFAULT_BUDGET = Budget(trials=100)
TYPES = ("bb", "mf", "mo", "momf")
Kind = Literal["synthetic", "surrogate", "table", "training", "simulator", "program", "own"]


@dataclass(frozen=True)
class Objective:
    """One objective, on the scale and in the direction of its source."""

    name: str
    minimize: bool = True  # False: high is good; values are negated inside
    unit: str = ""
    lower: float | None = None  # no value can be below, rounding apart (declared scale)
    upper: float | None = None
    optimum: float | None = None  # best possible, or best known, value (declared scale)
    reference: float | None = None  # its coordinate of the reference point (declared scale)
    penalty: float | None = None  # told to optimizers when a trial fails (declared scale)

    def inside(self, value: float) -> float:
        """``value`` turned so that lower is better; its own inverse."""
        return value if self.minimize else -value

    @property
    def worst(self) -> float | None:
        """The penalty on the minimised scale, from ``penalty`` or else the declared range."""
        declared = self.penalty
        if declared is None:
            declared = self.upper if self.minimize else self.lower
        return None if declared is None else self.inside(declared)


@dataclass(frozen=True)
class Fidelity:
    """A cheaper approximation of the objective: epochs, training-set size, repetitions."""

    name: str
    lower: float
    upper: float  # the full fidelity
    integer: bool = False
    unit: str = ""
    cost_law: str = "cost grows in proportion to the fidelity"
    continuable: bool = True  # training can go on from a lower fidelity

    def check(self, value: float | None, task: str) -> float:
        """``value`` as the task takes it; ``None`` is the full fidelity.

        Raises:
            BadValue: out of range, not a number, or not whole where it must be.
        """
        if value is None:
            return self.upper
        plain: Any = native(value)
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise BadValue(f"fidelity {self.name!r} of {task!r} must be a number, not {plain!r}")
        if not self.lower <= plain <= self.upper:
            raise BadValue(
                f"fidelity {self.name}={plain!r} of {task!r} is outside "
                f"[{self.lower:g}, {self.upper:g}]"
            )
        if self.integer and plain != int(plain):
            raise BadValue(f"fidelity {self.name}={plain!r} of {task!r} must be a whole number")
        return int(plain) if self.integer else float(plain)

    def nearest(self, value: float) -> float:
        """The legal fidelity nearest to ``value``."""
        inside = min(self.upper, max(self.lower, float(value)))
        return int(min(self.upper, round(inside))) if self.integer else inside

    def share(self, value: float | None) -> float:
        """Part of a full evaluation that one at ``value`` is charged as, in (0, 1]."""
        return 1.0 if value is None else value / self.upper


@dataclass(frozen=True)
class TaskDescription:
    """A task as data: enough to list it, to plan it, and to build an optimizer for it.

    The counts ``n_*`` describe the search space without building it; :attr:`space` builds it.
    """

    name: str
    make_space: Callable[[], ConfigurationSpace] = field(repr=False, compare=False)
    objectives: tuple[Objective, ...] = (Objective("value"),)
    fidelity: Fidelity | None = None
    collection: str = "own"
    kind: Kind = "own"
    n_continuous: int = 0
    n_integer: int = 0
    n_categorical: int = 0
    n_ordinal: int = 0
    n_constant: int = 0
    n_conditions: int = 0  # hyperparameters that are active only under a condition
    n_forbidden: int = 0  # forbidden clauses
    constraints: tuple[str, ...] = ()  # names; satisfied when the value is <= 0
    noisy: bool = False
    stateful: bool = False  # trials hand on a state, and may continue another trial's
    has_priors: bool = False  # hyperparameters carry an expert's distribution
    optimum_source: str = ""  # where the objectives' optimum comes from
    hypervolume: float | None = None  # best known, with respect to the reference point
    evaluation_seconds: float = 1e-5  # typical CPU seconds of one evaluation here
    unit_cost: float | None = 1.0  # simulated seconds of a full evaluation, where `compute` gives
    # no cost of its own; None: the time that it really took, which no two runs share
    budget: Budget = _DEFAULT_BUDGET
    requires: tuple[str, ...] = ()  # modules that must be importable to evaluate it
    extra: str = ""  # the extra that installs them
    metadata: Mapping[str, Any] = field(default_factory=dict)  # JSON values

    def __getstate__(self) -> dict[str, Any]:
        """The declaration alone travels; what was built from it is built again on arrival."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def type(self) -> str:
        """``bb``, ``mf``, ``mo`` or ``momf``."""
        many = len(self.objectives) > 1
        if self.fidelity is not None:
            return "momf" if many else "mf"
        return "mo" if many else "bb"

    @property
    def dimension(self) -> int:
        """Number of hyperparameters, constants not counted."""
        return self.n_continuous + self.n_integer + self.n_categorical + self.n_ordinal

    @cached_property
    def space(self) -> ConfigurationSpace:
        """The search space; built once, and not to be modified."""
        return self.make_space()

    @cached_property
    def checker(self) -> Checker:
        from carps_like.space import Checker

        plain = getattr(self.make_space, "data", None)  # some spaces are known without ConfigSpace
        return Checker(self.space if plain is None else plain(), self.name)

    @cached_property
    def directions(self) -> tuple[tuple[str, float], ...]:
        """``(name, sign)`` per objective: sign x declared value is minimised."""
        return tuple((o.name, 1.0 if o.minimize else -1.0) for o in self.objectives)

    @property
    def penalty(self) -> tuple[float, ...]:
        """Minimised values told for a failed trial; nan where the task declares none."""
        worst = (o.worst for o in self.objectives)
        return tuple(math.nan if w is None else w for w in worst)

    @property
    def reference_point(self) -> tuple[float, ...] | None:
        """Minimised scale; ``None`` unless every objective declares its reference."""
        refs = [o.reference for o in self.objectives]
        if any(r is None for r in refs):
            return None
        return tuple(
            o.inside(r) for o, r in zip(self.objectives, refs, strict=True) if r is not None
        )

    def objective(self, name: str) -> Objective:
        """The objective called ``name``; raises :class:`UnknownName` with the nearest one."""
        for objective in self.objectives:
            if objective.name == name:
                return objective
        known = [o.name for o in self.objectives]
        raise UnknownName(f"objective of {self.name!r}", name, known, f"it has {', '.join(known)}")

    @property
    def optimum(self) -> float | None:
        """Best possible or best known value of the one objective, declared scale."""
        return self.objectives[0].optimum if len(self.objectives) == 1 else None

    @property
    def ideal_point(self) -> tuple[float, ...] | None:
        """Best value of each of several objectives, declared scale; ``None`` if one is unknown."""
        best = tuple(o.optimum for o in self.objectives if o.optimum is not None)
        return best if 1 < len(best) == len(self.objectives) else None

    @property
    def deterministic(self) -> bool:
        """The same configuration has the same value whatever the seed, and the same cost."""
        return not self.noisy and self.unit_cost is not None

    @property
    def real(self) -> bool:
        """Something is run: a training, a simulator, a program."""
        return self.kind in ("training", "simulator", "program")

    def row(self) -> dict[str, Any]:
        """The declaration as one flat row of JSON values, the columns that filters know."""
        return {name: get(self) for name, get in COLUMNS.items()}


def _of_fidelity(field: str) -> Callable[[TaskDescription], Any]:
    return lambda d: None if d.fidelity is None else getattr(d.fidelity, field)


def _of_objectives(field: str) -> Callable[[TaskDescription], str]:
    return lambda d: ",".join(str(getattr(o, field)) for o in d.objectives)


def _direction(d: TaskDescription) -> str:
    return ",".join("min" if o.minimize else "max" for o in d.objectives)


def _declared_reference(d: TaskDescription) -> tuple[float, ...] | None:
    inside = d.reference_point
    if inside is None:
        return None
    return tuple(o.inside(r) for o, r in zip(d.objectives, inside, strict=True))


# what listings show and filters know; None where a task has no such thing
COLUMNS: Mapping[str, Callable[[TaskDescription], Any]] = {
    **{name: attrgetter(name) for name in ("name", "collection", "type", "kind", "dimension")},
    "objectives": _of_objectives("name"),
    "n_objectives": lambda d: len(d.objectives),
    "directions": _direction,
    "units": _of_objectives("unit"),
    "fidelity": lambda d: d.fidelity.name if d.fidelity else "",
    "fidelity_lower": _of_fidelity("lower"),
    "fidelity_upper": _of_fidelity("upper"),
    "cost_law": _of_fidelity("cost_law"),
    "n_constraints": lambda d: len(d.constraints),
    **{name: attrgetter(name) for name in (
        "n_continuous", "n_integer", "n_categorical", "n_ordinal", "n_constant", "n_conditions",
        "n_forbidden", "noisy", "deterministic", "real", "stateful", "has_priors", "optimum",
        "ideal_point",
    )},
    "reference_point": _declared_reference,
    **{name: attrgetter(name) for name in (
        "hypervolume", "optimum_source", "evaluation_seconds", "unit_cost",
    )},
    "pool": lambda d: d.metadata.get("pool", ""),
    "trials": lambda d: d.budget.trials,
    "evaluations": lambda d: d.budget.evaluations,
}  # fmt: skip


def _init(self: TaskDescription, *args: Any, **declared: Any) -> None:
    """What a frozen dataclass does field by field, at once: a listing makes 50,000 of them."""
    if args or not _REQUIRED <= declared.keys() <= _KNOWN:
        _fields_init(self, *args, **declared)
    else:
        self.__dict__.update(declared)  # of what is not given, the class has the default
        if "metadata" not in declared:
            self.__dict__["metadata"] = {}


_KNOWN, _REQUIRED = {f.name for f in fields(TaskDescription)}, {"name", "make_space"}
_fields_init = TaskDescription.__init__
if not TYPE_CHECKING:
    TaskDescription.__init__ = wraps(_fields_init)(_init)


def describe(
    name: str,
    space: ConfigurationSpace,
    objectives: tuple[Objective, ...] = (Objective("value"),),
    **declared: Any,
) -> TaskDescription:
    """A description with its counts taken from ``space``: the short way for a task of one's own."""
    from carps_like.space import count

    return TaskDescription(
        name=name, make_space=lambda: space, objectives=objectives, **(count(space) | declared)
    )
