"""What :mod:`carps_like.space` needs of ConfigSpace: importing it takes most of a second."""

from __future__ import annotations

import math
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
from carps_like.space import Param, Rule, SpaceData, names_in
from carps_like.trial import Value, native


def space_data(space: ConfigurationSpace) -> SpaceData:
    """``space`` as plain data: all that checking and translating it needs."""
    return SpaceData(params(space), conditions(space), forbidden(space))


def params(space: ConfigurationSpace) -> tuple[Param, ...]:
    """The hyperparameters of ``space``, in its own order (parents before children)."""
    rules = conditions(space)
    return tuple(
        _param(h, names_in(rules[h.name]) if h.name in rules else ()) for h in space.values()
    )


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


def conditions(space: ConfigurationSpace) -> dict[str, Rule]:
    """Child -> the rule that switches it on."""
    return {c.child.name: _condition(c) for c in space.conditions}


def _condition(condition: Any) -> Rule:
    if isinstance(condition, AndConjunction | OrConjunction):
        join = "and" if isinstance(condition, AndConjunction) else "or"
        return [join, *(_condition(part) for part in condition.components)]
    parent = condition.parent.name
    if isinstance(condition, InCondition):
        return ["in", parent, [native(v) for v in condition.values]]
    for kind, operator in _COMPARED.items():
        if isinstance(condition, kind):
            return [operator, parent, native(condition.value), _order(condition.parent)]
    raise BadValue(f"condition {condition} has the unknown type {type(condition).__name__}")


def _order(h: Hyperparameter) -> list[Value] | None:
    """What ``<`` goes by: an ordinal's sequence, else (``None``) the values themselves."""
    return [native(v) for v in h.sequence] if isinstance(h, OrdinalHyperparameter) else None


def forbidden(space: ConfigurationSpace) -> tuple[tuple[str, Rule], ...]:
    """Each forbidden clause in words, and the rule of what it forbids."""
    return tuple((str(c), _clause(c)) for c in space.forbidden_clauses)


def _clause(clause: Any) -> Rule:
    if isinstance(clause, ForbiddenAndConjunction | _forbidden.ForbiddenOrConjunction):
        join = "and" if isinstance(clause, ForbiddenAndConjunction) else "or"
        return [join, *(_clause(part) for part in clause.components)]
    for relation, operator in _RELATED.items():
        if isinstance(clause, relation):
            # ordinals are compared by value here, not by rank: ConfigSpace says so
            return ["relation", operator, clause.left.name, clause.right.name]
    name = clause.hyperparameter.name
    if isinstance(clause, ForbiddenInClause):
        return ["in", name, [native(v) for v in clause.values]]
    for kind, operator in _COMPARED.items():
        if isinstance(clause, kind):
            return [operator, name, native(clause.value), _order(clause.hyperparameter)]
    raise BadValue(f"forbidden clause {clause} has the unknown type {type(clause).__name__}")


_RELATED: dict[Any, str] = {
    ForbiddenEqualsRelation: "==",
    ForbiddenLessThanRelation: "<",
    ForbiddenGreaterThanRelation: ">",
    _forbidden.ForbiddenLessThanEqualsRelation: "<=",
    _forbidden.ForbiddenGreaterThanEqualsRelation: ">=",
}
_COMPARED: dict[Any, str] = {
    EqualsCondition: "==",
    NotEqualsCondition: "!=",
    GreaterThanCondition: ">",
    LessThanCondition: "<",
    ForbiddenEqualsClause: "==",
    _forbidden.ForbiddenLessThanClause: "<",
    _forbidden.ForbiddenLessThanEqualsClause: "<=",
    _forbidden.ForbiddenGreaterThanClause: ">",
    _forbidden.ForbiddenGreaterThanEqualsClause: ">=",
}
