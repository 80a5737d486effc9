"""Random search spaces for hypothesis: every hyperparameter type, condition and clause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
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
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

from carps_like.interface import Capabilities

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

_ANY = Capabilities(conditions="native", forbidden="native", priors="yes")
_WORDS = ("a", "b", "c", "d", "e")


def spaces(capabilities: Capabilities = _ANY, max_size: int = 7) -> SearchStrategy[Any]:
    """Random spaces that an optimizer with ``capabilities`` claims to take.

    Nested conditions joined by And and Or, ordinals of words and of numbers, log scales, very
    small and very large ranges, constants, single choices, booleans, forbidden clauses and
    relations, and (where ``capabilities.priors`` allows) Normal distributions and weights. The
    default configuration is always legal, and at least one hyperparameter is no constant.
    """
    from hypothesis import strategies as st

    return st.composite(_space)(capabilities, max_size)


def _space(draw: DrawFn, can: Capabilities, max_size: int) -> ConfigurationSpace:
    from hypothesis import strategies as st

    kinds = [
        kind
        for kind, able in {
            "float": can.continuous,
            "int": can.integer,
            "categorical": can.categorical,
            "ordinal": can.ordinal,
        }.items()
        if able
    ]
    space = ConfigurationSpace()
    low = max(2, can.min_dimension)
    high = max_size if can.max_dimension is None else min(max_size, can.max_dimension)
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=low, max_size=max(low, high)))
    for i, kind in enumerate(chosen):
        space.add(_DRAW[kind](draw, f"h{i}_{kind}", can))
    if draw(st.booleans()):
        value = draw(st.sampled_from(["fixed", 3, 0.5]))
        space.add(Constant("constant", value))
    if can.conditions != "no":
        _add_conditions(draw, space)
    if can.forbidden != "no":
        _add_clauses(draw, space)
    return space


def _float(draw: DrawFn, name: str, can: Capabilities) -> Any:
    from hypothesis import strategies as st

    log = can.log and draw(st.booleans())
    lower, upper = draw(
        st.sampled_from(
            [(1e-6, 1.0), (0.5, 1e5), (1e-3, 2e-3)] if log else [(-5, 5), (0, 1e-4), (0, 1), (3, 9)]
        )
    )
    if can.priors != "no" and not log and draw(st.booleans()):
        middle = lower + 0.3 * (upper - lower)
        return NormalFloatHyperparameter(name, middle, (upper - lower) / 5, lower, upper)
    return UniformFloatHyperparameter(name, lower, upper, log=log)


def _int(draw: DrawFn, name: str, can: Capabilities) -> Any:
    from hypothesis import strategies as st

    log = can.log and draw(st.booleans())
    lower, upper = draw(
        st.sampled_from([(1, 1024), (1, 2), (3, 40)] if log else [(-3, 3), (0, 1), (1, 10_000)])
    )
    if can.priors != "no" and not log and upper - lower > 1 and draw(st.booleans()):
        middle = lower + 0.3 * (upper - lower)
        return NormalIntegerHyperparameter(name, middle, (upper - lower) / 5, lower, upper)
    return UniformIntegerHyperparameter(name, lower, upper, log=log)


def _categorical(draw: DrawFn, name: str, can: Capabilities) -> Any:
    from hypothesis import strategies as st

    choices = draw(st.sampled_from([("a", "b"), _WORDS, (True, False), (1, 2, 4), ("only",)]))
    weights = None
    if can.priors != "no" and len(choices) > 1 and draw(st.booleans()):
        weights = [float(i + 1) for i in range(len(choices))]
    return CategoricalHyperparameter(name, choices, weights=weights)


def _ordinal(draw: DrawFn, name: str, can: Capabilities) -> Any:
    from hypothesis import strategies as st

    sequence = draw(st.sampled_from([("small", "middle", "large"), (1, 10, 100, 1000), (0.1, 0.5)]))
    return OrdinalHyperparameter(name, sequence)


_DRAW = {"float": _float, "int": _int, "categorical": _categorical, "ordinal": _ordinal}


def _add_conditions(draw: DrawFn, space: ConfigurationSpace) -> None:
    """Conditions on earlier hyperparameters, which may be conditional themselves."""
    from hypothesis import strategies as st

    names = list(space)
    joins: list[Any] = [AndConjunction, OrConjunction]
    join = draw(st.sampled_from(joins))  # one kind a space: ConfigSpace mixes up equal parts
    for i, name in enumerate(names[1:], start=1):
        if not draw(st.booleans()):
            continue
        # ConfigSpace's sampling loses track of conditional parents inside a conjunction
        always = [n for n in names[:i] if not space.parents_of[n]]
        n = draw(st.integers(1, min(2, len(always))))
        source = names[:i] if n == 1 else always
        parents = draw(st.lists(st.sampled_from(source), min_size=n, max_size=n, unique=True))
        parts = [_condition(draw, space[name], space[parent]) for parent in parents]
        if len(parts) == 1:
            _add(space, parts[0])
        else:
            _add(space, join(*parts))


def _add(space: ConfigurationSpace, condition: Any) -> None:
    """Add it; an example that ConfigSpace itself cannot build is dropped."""
    from hypothesis import reject

    try:
        space.add(condition)
    except ValueError:  # its check of the default configuration disagrees with itself
        reject()


def _condition(draw: DrawFn, child: Any, parent: Any) -> Any:
    from hypothesis import strategies as st

    orders: list[Any] = [GreaterThanCondition, LessThanCondition]
    if isinstance(parent, Constant):
        return EqualsCondition(child, parent, parent.value)
    if isinstance(parent, CategoricalHyperparameter):
        kinds: list[Any] = [EqualsCondition, NotEqualsCondition, InCondition]
        kind = draw(st.sampled_from(kinds))
        choices = list(parent.choices)
        value = draw(st.sampled_from(choices))
        return kind(child, parent, [value] if kind is InCondition else value)
    if isinstance(parent, OrdinalHyperparameter):
        kind = draw(st.sampled_from(orders))
        return kind(child, parent, parent.sequence[1 if kind is LessThanCondition else 0])
    kind = draw(st.sampled_from(orders))
    middle: Any = parent.lower + (parent.upper - parent.lower) / 2
    if isinstance(parent, UniformIntegerHyperparameter | NormalIntegerHyperparameter):
        middle = int(parent.lower) if kind is GreaterThanCondition else int(parent.upper)
    return kind(child, parent, middle)


def _add_clauses(draw: DrawFn, space: ConfigurationSpace) -> None:
    """Up to two clauses; one that forbids the default configuration is left out."""
    from hypothesis import strategies as st

    finite = [
        h
        for h in space.values()
        if isinstance(h, CategoricalHyperparameter | OrdinalHyperparameter) and h.size > 1
    ]
    floats = [h for h in space.values() if isinstance(h, UniformFloatHyperparameter)]
    clauses: list[Any] = []
    one, pair_of, related = [draw(st.booleans()) for _ in range(3)]
    if finite and one:
        h = draw(st.sampled_from(finite))
        clauses.append(ForbiddenInClause(h, [draw(st.sampled_from(_others(h)))]))
    if len(finite) > 1 and pair_of:
        a, b = finite[:2]
        pair = [ForbiddenEqualsClause(h, draw(st.sampled_from(_others(h)))) for h in (a, b)]
        clauses.append(ForbiddenAndConjunction(*pair))
    if len(floats) > 1 and related:
        a, b = floats[:2]
        ordered = ForbiddenLessThanRelation(a, b)
        if not a.default_value < b.default_value and b.lower < a.upper:
            clauses.append(ordered)
    if clauses:
        space.add(*clauses)


def _others(h: Any) -> list[Any]:
    """The values of ``h`` without its default."""
    values = h.choices if isinstance(h, CategoricalHyperparameter) else h.sequence
    return [v for v in values if v != h.default_value]
