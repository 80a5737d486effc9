"""Search spaces as plain data: checking, sampling, and the unit cube.

A space is a ``ConfigSpace.ConfigurationSpace``; configurations are plain dicts of native values
with inactive hyperparameters absent. Building a ``ConfigSpace.Configuration`` per trial costs
more than many objectives (90 us), so what every trial needs is compiled here once per space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ConfigSpace import (
    AndConjunction,
    BetaFloatHyperparameter,
    BetaIntegerHyperparameter,
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    ForbiddenEqualsRelation,
    ForbiddenGreaterThanRelation,
    ForbiddenInClause,
    ForbiddenLessThanRelation,
    GreaterThanCondition,
    InCondition,
    LessThanCondition,
    NormalFloatHyperparameter,
    NormalIntegerHyperparameter,
    NotEqualsCondition,
    OrConjunction,
    OrdinalHyperparameter,
)
from ConfigSpace import forbidden as _forbidden
from ConfigSpace.hyperparameters import FloatHyperparameter, Hyperparameter, IntegerHyperparameter

from carps_like.errors import BadValue, did_you_mean
from carps_like.trial import Configuration, Value

ParamKind = Literal["float", "int", "categorical", "ordinal", "constant"]
_Test = Callable[[Mapping[str, Value]], bool]


@dataclass(frozen=True)
class Param:
    """One hyperparameter as plain data, what an adapter needs to translate it."""

    name: str
    kind: ParamKind
    lower: float = 0.0  # int for integers
    upper: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()  # categorical and ordinal; a constant has one
    default: Value = 0
    prior: tuple[float, float] | None = None  # an expert's mean and standard deviation
    weights: tuple[float, ...] | None = None  # an expert's probabilities of the choices
    parents: tuple[str, ...] = ()  # hyperparameters that decide whether it is active

    @property
    def n_values(self) -> float:
        """Number of different values; inf for a float."""
        if self.kind == "float":
            return math.inf
        return self.upper - self.lower + 1 if self.kind == "int" else len(self.choices)

    def to_unit(self, value: Value) -> float:
        """Position in [0, 1]; a choice or an integer lies in the middle of its cell."""
        if self.kind in ("float", "int"):
            lower, upper = self._ends()
            x = math.log(float(value)) if self.log else float(value)
            return min(1.0, max(0.0, (x - lower) / (upper - lower) if upper > lower else 0.5))
        return (self.choices.index(value) + 0.5) / len(self.choices)

    def from_unit(self, x: float) -> Value:
        """The value at ``x`` in [0, 1]; the inverse of :meth:`to_unit` for what it returns."""
        if self.kind in ("float", "int"):
            lower, upper = self._ends()
            y = lower + x * (upper - lower)
            y = math.exp(y) if self.log else y
            if self.kind == "int":
                return int(min(self.upper, max(self.lower, math.floor(y + 0.5))))
            return min(self.upper, max(self.lower, y))
        n = len(self.choices)
        return self.choices[min(n - 1, max(0, int(x * n)))]

    def _ends(self) -> tuple[float, float]:
        half = 0.5 if self.kind == "int" else 0.0
        lower, upper = self.lower - half, self.upper + half
        return (math.log(lower), math.log(upper)) if self.log else (lower, upper)


def native(value: Any) -> Value:
    """``value`` without numpy: ``numpy.str_`` and numpy scalars become Python's own."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain


def params(space: ConfigurationSpace) -> tuple[Param, ...]:
    """The hyperparameters of ``space``, in its own order (parents before children)."""
    conditions = _conditions(space)
    return tuple(_param(h, conditions.get(h.name, ((), None))[0]) for h in space.values())


def count(space: ConfigurationSpace) -> dict[str, int]:
    """The counts that a :class:`~carps_like.description.TaskDescription` declares."""
    kinds = [p.kind for p in params(space)]
    return {
        "n_continuous": kinds.count("float"),
        "n_integer": kinds.count("int"),
        "n_categorical": kinds.count("categorical"),
        "n_ordinal": kinds.count("ordinal"),
        "n_constant": kinds.count("constant"),
        "n_conditions": len(_conditions(space)),
        "n_forbidden": len(space.forbidden_clauses),
    }


def without_priors(space: ConfigurationSpace) -> ConfigurationSpace:
    """A copy in which every distribution is uniform (log-uniform where the scale is log)."""
    data = space.to_serialized_dict()
    for h in data["hyperparameters"]:
        kind = h["type"]
        if kind in _UNIFORM:
            h["type"] = _UNIFORM[kind]
            for key in ("mu", "sigma", "alpha", "beta"):
                h.pop(key, None)
        elif "weights" in h:
            h["weights"] = None
    return ConfigurationSpace.from_serialized_dict(data)


_UNIFORM = {
    f"{prior}_{number}": f"uniform_{number}"
    for prior in ("normal", "beta")
    for number in ("float", "int")
}


def _param(h: Hyperparameter, parents: tuple[str, ...]) -> Param:
    default = native(h.default_value)
    if isinstance(h, Constant):
        value = native(h.value)
        return Param(h.name, "constant", choices=(value,), default=value, parents=parents)
    if isinstance(h, CategoricalHyperparameter):
        weights = None if h.weights is None else tuple(float(p) for p in h.probabilities)
        choices = tuple(native(c) for c in h.choices)
        return Param(
            h.name,
            "categorical",
            choices=choices,
            default=default,
            weights=weights,
            parents=parents,
        )
    if isinstance(h, OrdinalHyperparameter):
        choices = tuple(native(c) for c in h.sequence)
        return Param(h.name, "ordinal", choices=choices, default=default, parents=parents)
    prior = None
    if isinstance(h, NormalFloatHyperparameter | NormalIntegerHyperparameter):
        prior = (float(h.mu), float(h.sigma))
    elif isinstance(h, BetaFloatHyperparameter | BetaIntegerHyperparameter):
        spread = float(h.upper - h.lower)
        a, b = float(h.alpha), float(h.beta)
        deviation = spread * math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        prior = (float(h.lower) + spread * a / (a + b), deviation)
    if isinstance(h, IntegerHyperparameter):
        ends: tuple[float, float] = (int(h.lower), int(h.upper))
        return Param(
            h.name, "int", *ends, log=h.log, default=int(default), prior=prior, parents=parents
        )
    if isinstance(h, FloatHyperparameter):
        ends = (float(h.lower), float(h.upper))
        return Param(
            h.name, "float", *ends, log=h.log, default=default, prior=prior, parents=parents
        )
    raise BadValue(f"hyperparameter {h.name!r} has the unknown type {type(h).__name__}")


def _conditions(space: ConfigurationSpace) -> dict[str, tuple[tuple[str, ...], _Test]]:
    """Child -> (parents, test); the test takes the active values."""
    return {c.child.name: (_parents(c), _condition(c)) for c in space.conditions}


def _parents(condition: Any) -> tuple[str, ...]:
    if isinstance(condition, AndConjunction | OrConjunction):
        names = (name for part in condition.components for name in _parents(part))
        return tuple(dict.fromkeys(names))
    return (condition.parent.name,)


def _condition(condition: Any) -> _Test:
    """A condition as a function; it fails when its parent is inactive, as in ConfigSpace.

    "Not equals" holds when its parent is inactive: ConfigSpace again.
    """
    if isinstance(condition, AndConjunction | OrConjunction):
        parts = [_condition(part) for part in condition.components]
        join = all if isinstance(condition, AndConjunction) else any
        return lambda config: join(part(config) for part in parts)
    parent = condition.parent.name
    if isinstance(condition, InCondition):
        allowed = {native(v) for v in condition.values}
        return lambda config: parent in config and config[parent] in allowed
    value = native(condition.value)
    if isinstance(condition, EqualsCondition):
        return lambda config: parent in config and config[parent] == value
    if isinstance(condition, NotEqualsCondition):
        return lambda config: parent not in config or config[parent] != value
    rank = _rank(condition.parent)
    limit = rank(value)
    if isinstance(condition, GreaterThanCondition):
        return lambda config: parent in config and rank(config[parent]) > limit
    if isinstance(condition, LessThanCondition):
        return lambda config: parent in config and rank(config[parent]) < limit
    raise BadValue(f"condition {condition} has the unknown type {type(condition).__name__}")


def _rank(h: Hyperparameter) -> Callable[[Any], Any]:
    """What ``<`` compares: the position in an ordinal's sequence, else the value itself."""
    if isinstance(h, OrdinalHyperparameter):
        positions = {native(v): i for i, v in enumerate(h.sequence)}
        return positions.__getitem__
    return lambda value: value


def _clause(clause: Any) -> _Test:
    """A forbidden clause as a function, true when it forbids; inactive values forbid nothing."""
    if isinstance(clause, ForbiddenAndConjunction | _forbidden.ForbiddenOrConjunction):
        parts = [_clause(part) for part in clause.components]
        join = all if isinstance(clause, ForbiddenAndConjunction) else any
        return lambda config: join(part(config) for part in parts)
    for relation, compare in _RELATIONS.items():
        if isinstance(clause, relation):
            left, right = clause.left.name, clause.right.name
            # ordinals are compared by value here, not by rank: ConfigSpace says so
            return lambda config: (
                left in config and right in config and bool(compare(config[left], config[right]))
            )
    name = clause.hyperparameter.name
    if isinstance(clause, ForbiddenInClause):
        values = {native(v) for v in clause.values}
        return lambda config: name in config and config[name] in values
    value = native(clause.value)
    if isinstance(clause, ForbiddenEqualsClause):
        return lambda config: name in config and config[name] == value
    rank = _rank(clause.hyperparameter)
    limit = rank(value)
    for kind, compare in _CLAUSES.items():
        if isinstance(clause, kind):
            return lambda config: name in config and bool(compare(rank(config[name]), limit))
    raise BadValue(f"forbidden clause {clause} has the unknown type {type(clause).__name__}")


_RELATIONS: dict[Any, Callable[[Any, Any], Any]] = {
    ForbiddenEqualsRelation: lambda a, b: a == b,
    ForbiddenLessThanRelation: lambda a, b: a < b,
    ForbiddenGreaterThanRelation: lambda a, b: a > b,
    _forbidden.ForbiddenLessThanEqualsRelation: lambda a, b: a <= b,
    _forbidden.ForbiddenGreaterThanEqualsRelation: lambda a, b: a >= b,
}
_CLAUSES: dict[Any, Callable[[Any, Any], Any]] = {
    _forbidden.ForbiddenLessThanClause: lambda a, b: a < b,
    _forbidden.ForbiddenLessThanEqualsClause: lambda a, b: a <= b,
    _forbidden.ForbiddenGreaterThanClause: lambda a, b: a > b,
    _forbidden.ForbiddenGreaterThanEqualsClause: lambda a, b: a >= b,
}


class Checker:
    """Tells whether a plain dict is a legal configuration of a space, cheaply.

    Args:
        space: the search space.
        where: what error messages call it, usually the task's name.
    """

    def __init__(self, space: ConfigurationSpace, where: str = "space") -> None:
        self.where = where
        self.params = params(space)
        self.by_name = {p.name: p for p in self.params}
        self._conditions = {name: test for name, (_, test) in _conditions(space).items()}
        self._forbidden = [(str(c), _clause(c)) for c in space.forbidden_clauses]
        self._plain = not self._conditions and not self._forbidden
        self._floats: list[tuple[str, float, float]] | None = None
        if self._plain and all(p.kind == "float" for p in self.params):
            self._floats = [(p.name, p.lower, p.upper) for p in self.params]

    def check(self, config: Configuration) -> None:
        """Raise :class:`BadValue`, naming the hyperparameter, unless ``config`` is legal."""
        if self._floats is not None and len(config) == len(self._floats):
            try:
                for name, lower, upper in self._floats:
                    value = config[name]
                    if value.__class__ is not float or not lower <= value <= upper:
                        break
                else:
                    return
            except KeyError:
                pass
        self._check(config)

    def _check(self, config: Configuration) -> None:
        for name in config:
            if name not in self.by_name:
                hint = did_you_mean(str(name), self.by_name)
                raise BadValue(f"{self.where} has no hyperparameter {name!r}{hint}")
        active: dict[str, Value] = {}
        for param in self.params:
            test = self._conditions.get(param.name)
            if test is not None and not test(active):
                if param.name in config:
                    raise BadValue(
                        f"hyperparameter {param.name!r} of {self.where} is inactive "
                        "in this configuration and must be absent"
                    )
                continue
            if param.name not in config:
                raise BadValue(f"hyperparameter {param.name!r} of {self.where} is missing")
            value = config[param.name]
            problem = _problem(param, value)
            if problem:
                raise BadValue(f"hyperparameter {param.name}={value!r} of {self.where} {problem}")
            active[param.name] = value
        clause = self.forbidden(config)
        if clause:
            raise BadValue(f"configuration of {self.where} is forbidden by {clause}")

    def forbidden(self, config: Configuration) -> str:
        """The first clause that forbids ``config``, in words; empty when none does."""
        return next((text for text, test in self._forbidden if test(config)), "")

    def is_active(self, name: str, config: Configuration) -> bool:
        """Whether ``name`` is active, given the values in ``config`` of those before it."""
        test = self._conditions.get(name)
        return test is None or test(config)

    def active(self, values: Configuration) -> dict[str, Value]:
        """``values`` without the hyperparameters that its conditions switch off."""
        if not self._conditions:
            return dict(values)
        kept: dict[str, Value] = {}
        for param in self.params:
            test = self._conditions.get(param.name)
            if (test is None or test(kept)) and param.name in values:
                kept[param.name] = values[param.name]
        return kept

    def default(self) -> dict[str, Value]:
        """The default configuration: every hyperparameter's default, inactive ones absent."""
        return self.active({p.name: p.default for p in self.params})


def _problem(param: Param, value: Any) -> str:
    if param.kind == "float":
        if isinstance(value, bool) or not isinstance(value, float | int):
            return f"must be a float, not {type(value).__name__}"
        if not param.lower <= value <= param.upper:
            return f"is outside [{param.lower:g}, {param.upper:g}]"
    elif param.kind == "int":
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be an int, not {type(value).__name__}"
        if not param.lower <= value <= param.upper:
            return f"is outside [{param.lower:g}, {param.upper:g}]"
    elif not any(value == choice and type(value) is type(choice) for choice in param.choices):
        near = did_you_mean(str(value), [str(c) for c in param.choices])
        return f"is none of {', '.join(map(repr, param.choices))}{near}"
    return ""


class Cube:
    """The unit cube of a space: one coordinate per hyperparameter that is not constant.

    Conditional spaces are flattened: every hyperparameter has a coordinate, and those that turn
    out inactive are dropped from the configuration.
    """

    def __init__(self, space: ConfigurationSpace | Checker) -> None:
        self.checker = space if isinstance(space, Checker) else Checker(space)
        self.params: tuple[Param, ...] = tuple(
            p for p in self.checker.params if p.kind != "constant"
        )
        self._constants = {p.name: p.default for p in self.checker.params if p.kind == "constant"}

    @property
    def dimension(self) -> int:
        return len(self.params)

    def config(self, x: Iterable[float]) -> dict[str, Value]:
        """The configuration at ``x`` in [0, 1]^dimension; clauses may still forbid it."""
        return self.complete(
            {p.name: p.from_unit(float(u)) for p, u in zip(self.params, x, strict=True)}
        )

    def complete(self, values: dict[str, Value]) -> dict[str, Value]:
        """``values`` of all that is not constant, with the constants, without what is inactive."""
        return self.checker.active(values | self._constants if self._constants else values)

    def point(self, config: Configuration) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Where ``config`` lies, shape (dimension,); the default's place for what is inactive."""
        return np.array([p.to_unit(config.get(p.name, p.default)) for p in self.params])


class Sampler:
    """Independent samples, uniform on each hyperparameter's scale (log where it says so)."""

    TRIES = 10_000  # rejections in a row before a space counts as forbidden throughout

    def __init__(self, space: ConfigurationSpace | Checker, seed: int) -> None:
        self.cube = Cube(space)
        self._rng = np.random.default_rng(seed)

    def sample(self) -> dict[str, Value]:
        """One legal configuration; raises :class:`BadValue` if none is found."""
        for _ in range(self.TRIES):
            config = self.cube.config(self._rng.random(self.cube.dimension).tolist())
            if not self.cube.checker.forbidden(config):
                return config
        where = self.cube.checker.where
        raise BadValue(f"no legal configuration of {where} in {self.TRIES} samples")
