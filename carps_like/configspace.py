"""What :mod:`carps_like.space` needs of ConfigSpace: importing it takes most of a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

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

from carps_like.errors import BadValue
from carps_like.space import Param, native
from carps_like.trial import Value

_Test = Callable[[Mapping[str, Value]], bool]


def params(space: ConfigurationSpace) -> tuple[Param, ...]:
    """The hyperparameters of ``space``, in its own order (parents before children)."""
    found = conditions(space)
    return tuple(_param(h, found.get(h.name, ((), None))[0]) for h in space.values())


def count(space: ConfigurationSpace) -> dict[str, int]:
    """The counts that a :class:`~carps_like.description.TaskDescription` declares."""
    kinds = [p.kind for p in params(space)]
    return {
        "n_continuous": kinds.count("float"),
        "n_integer": kinds.count("int"),
        "n_categorical": kinds.count("categorical"),
        "n_ordinal": kinds.count("ordinal"),
        "n_constant": kinds.count("constant"),
        "n_conditions": len(conditions(space)),
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
        deviation = float(h.sigma)
        if h.log:  # on the log scale, as a share of the range
            share = h._transformer.vectorize_size(np.float64(h.sigma))
            deviation = float(share) * float(h.upper - h.lower)
        prior = (float(h.mu), deviation)
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


def conditions(space: ConfigurationSpace) -> dict[str, tuple[tuple[str, ...], _Test]]:
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


def clause_test(clause: Any) -> _Test:
    """A forbidden clause as a function, true when it forbids; inactive values forbid nothing."""
    if isinstance(clause, ForbiddenAndConjunction | _forbidden.ForbiddenOrConjunction):
        parts = [clause_test(part) for part in clause.components]
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
