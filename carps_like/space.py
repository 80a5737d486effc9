"""Search spaces as plain data: checking, sampling, and the unit cube.

A space is a ``ConfigSpace.ConfigurationSpace``; configurations are plain dicts of native values
with inactive hyperparameters absent. Building a ``ConfigSpace.Configuration`` per trial costs
more than many objectives (90 us), so what every trial needs is compiled here once per space.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from carps_like.errors import BadValue, did_you_mean
from carps_like.trial import Configuration, Value, native

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

ParamKind = Literal["float", "int", "categorical", "ordinal", "constant"]


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
    prior: tuple[float, float] | None = None  # an expert's mean and standard deviation; the latter
    # is a share of upper - lower where the scale is log
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
            lower, upper = self._ends
            x = math.log(float(value)) if self.log else float(value)
            return min(1.0, max(0.0, (x - lower) / (upper - lower) if upper > lower else 0.5))
        return (self.choices.index(value) + 0.5) / len(self.choices)

    def from_unit(self, x: float) -> Value:
        """The value at ``x`` in [0, 1]; the inverse of :meth:`to_unit` for what it returns."""
        if self.kind in ("float", "int"):
            lower, upper = self._ends
            y = lower + x * (upper - lower)
            y = math.exp(y) if self.log else y
            if self.kind == "int":
                return int(min(self.upper, max(self.lower, math.floor(y + 0.5))))
            return min(self.upper, max(self.lower, y))
        n = len(self.choices)
        return self.choices[min(n - 1, max(0, int(x * n)))]

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """Of the unit interval, on the scale of the hyperparameter."""
        half = 0.5 if self.kind == "int" else 0.0
        lower, upper = self.lower - half, self.upper + half
        return (math.log(lower), math.log(upper)) if self.log else (lower, upper)


def params(space: ConfigurationSpace) -> tuple[Param, ...]:
    """The hyperparameters of ``space``, in its own order (parents before children)."""
    from carps_like import configspace

    return configspace.params(space)


def count(space: ConfigurationSpace) -> dict[str, int]:
    """The counts that a :class:`~carps_like.description.TaskDescription` declares."""
    from carps_like import configspace

    return configspace.count(space)


def without_priors(space: ConfigurationSpace) -> ConfigurationSpace:
    """A copy in which every distribution is uniform (log-uniform where the scale is log)."""
    from carps_like import configspace

    return configspace.without_priors(space)


Rule = list[Any]
"""A condition or a forbidden clause as JSON: ``["and", rule, ...]``, ``["or", rule, ...]``,
``["in", name, [value, ...]]``, ``[operator, name, value, order or None]`` and
``["relation", operator, left name, right name]``."""
_Test = Callable[[Mapping[str, Value]], bool]
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class SpaceData:
    """A search space as plain data."""

    params: tuple[Param, ...]  # parents before children
    conditions: Mapping[str, Rule]  # child -> what switches it on
    forbidden: tuple[tuple[str, Rule], ...]  # a clause in words, and what it forbids


def names_in(rule: Rule) -> tuple[str, ...]:
    """The hyperparameters that ``rule`` looks at."""
    if rule[0] in ("and", "or"):
        return tuple(dict.fromkeys(name for part in rule[1:] for name in names_in(part)))
    return (rule[2], rule[3]) if rule[0] == "relation" else (rule[1],)


def rule_test(rule: Rule) -> _Test:
    """``rule`` as a function of the active values.

    A comparison with an inactive hyperparameter fails, except "not equals", which holds: so it
    is in ConfigSpace.
    """
    kind = rule[0]
    if kind in ("and", "or"):
        parts = [rule_test(part) for part in rule[1:]]
        join = all if kind == "and" else any
        return lambda config: join(part(config) for part in parts)
    if kind == "relation":
        related, left, right = _OPERATORS[rule[1]], rule[2], rule[3]
        return lambda config: (
            left in config and right in config and bool(related(config[left], config[right]))
        )
    name, value = rule[1], rule[2]
    if kind == "in":
        allowed = set(value)
        return lambda config: name in config and config[name] in allowed
    if kind == "!=":
        return lambda config: name not in config or config[name] != value
    compare, order = _OPERATORS[kind], rule[3]
    if order is None or kind == "==":
        return lambda config: name in config and bool(compare(config[name], value))
    ranks = {v: i for i, v in enumerate(order)}
    return lambda config: name in config and bool(compare(ranks[config[name]], ranks[value]))


class Checker:
    """Tells whether a plain dict is a legal configuration of a space, cheaply.

    Args:
        space: the search space, or its plain data.
        where: what error messages call it, usually the task's name.
    """

    def __init__(self, space: ConfigurationSpace | SpaceData, where: str = "space") -> None:
        if not isinstance(space, SpaceData):
            from carps_like.configspace import space_data

            space = space_data(space)
        self.where = where
        self.data = space
        self.params = space.params
        self.by_name = {p.name: p for p in self.params}
        self._conditions = {name: rule_test(rule) for name, rule in space.conditions.items()}
        self._forbidden = [(text, rule_test(rule)) for text, rule in space.forbidden]
        plain = not self._conditions and not self._forbidden
        self.is_box = plain and all(p.kind == "float" for p in self.params)
        self._floats: list[tuple[str, float, float]] | None = None
        if self.is_box:
            self._floats = [(p.name, p.lower, p.upper) for p in self.params]
        kinds = {"float": float, "int": int}
        self._mixed = [
            (
                p.name,
                kinds.get(p.kind),
                p.lower,
                p.upper,
                {c: c.__class__ for c in p.choices},
                self._conditions.get(p.name),
            )
            for p in self.params
        ]

    def check(self, config: Configuration) -> Configuration:
        """``config`` with native values; :class:`BadValue`, naming what, unless it is legal."""
        if self._floats is not None and len(config) == len(self._floats):
            try:
                for name, lower, upper in self._floats:
                    value = config[name]
                    if value.__class__ is not float or not lower <= value <= upper:
                        break
                else:
                    return config
            except KeyError:
                pass
        elif self._is_plainly_legal(config):
            return config
        return self._check(config)

    def _is_plainly_legal(self, config: Configuration) -> bool:
        """Whether every value is legal beyond doubt; what is not is looked at in full.

        Conditions look at all of ``config``, which are its active values unless one is inactive:
        then there are more of them than were counted.
        """
        found = 0
        try:
            for name, kind, lower, upper, choices, condition in self._mixed:
                if condition is not None and not condition(config):
                    continue
                value = config[name]
                if kind is None:
                    if choices.get(value) is not value.__class__:
                        return False
                elif value.__class__ is not kind or not lower <= value <= upper:  # type: ignore[operator]
                    return False
                found += 1
        except (KeyError, TypeError):
            return False
        return found == len(config) and not self.forbidden(config)

    def _check(self, config: Configuration) -> Configuration:
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
            value = native(config[param.name])
            problem = _problem(param, value)
            if problem:
                raise BadValue(f"hyperparameter {param.name}={value!r} of {self.where} {problem}")
            active[param.name] = value
        clause = self.forbidden(active)
        if clause:
            raise BadValue(f"configuration of {self.where} is forbidden by {clause}")
        return active

    def forbidden(self, config: Configuration) -> str:
        """The first clause that forbids ``config``, in words; empty when none does."""
        for text, test in self._forbidden:
            if test(config):
                return text
        return ""

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
    elif not any(type(value) is type(choice) and value == choice for choice in param.choices):
        if isinstance(value, bool | int | float | str) and value in param.choices:
            meant = param.choices[param.choices.index(value)]
            return f"must be the {type(meant).__name__} {meant!r}"
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
        self._names = [p.name for p in self.params]
        self._bounds: np.ndarray[Any, np.dtype[np.float64]] | None = None
        if self.checker.is_box and not any(p.log for p in self.params):
            self._bounds = np.array(
                [[p.lower for p in self.params], [p.upper for p in self.params]]
            )

    @property
    def dimension(self) -> int:
        return len(self.params)

    def config(self, x: Iterable[float]) -> dict[str, Value]:
        """The configuration at ``x`` in [0, 1]^dimension; clauses may still forbid it."""
        return self.complete(
            {p.name: p.from_unit(float(u)) for p, u in zip(self.params, x, strict=True)}
        )

    def configs(self, points: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Value]]:
        """The configurations at many points, shape (n, dimension).

        Where all are floats on a linear scale, what :meth:`Param.from_unit` does is done at once:
        the same operations on the same numbers, at a tenth of the time.
        """
        if self._bounds is None:
            return [self.config(x) for x in points.tolist()]
        lower, upper = self._bounds
        values = np.minimum(upper, np.maximum(lower, lower + points * (upper - lower)))
        return [dict(zip(self._names, row, strict=True)) for row in values.tolist()]

    def complete(self, values: dict[str, Value]) -> dict[str, Value]:
        """``values`` of all that is not constant, with the constants, without what is inactive."""
        return self.checker.active(values | self._constants if self._constants else values)

    def point(self, config: Configuration) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Where ``config`` lies, shape (dimension,); the default's place for what is inactive."""
        return np.array([p.to_unit(config.get(p.name, p.default)) for p in self.params])


class Sampler:
    """Independent samples, uniform on each hyperparameter's scale (log where it says so)."""

    TRIES = 10_000  # rejections in a row before a space counts as forbidden throughout
    BLOCK = 64  # numbers drawn at once: the same ones as drawn sample by sample

    def __init__(self, space: ConfigurationSpace | Checker, seed: int) -> None:
        self.cube = Cube(space)
        self._rng = np.random.default_rng(seed)
        self._drawn: list[dict[str, Value]] = []

    def sample(self) -> dict[str, Value]:
        """One legal configuration; raises :class:`BadValue` if none is found."""
        cube = self.cube
        for _ in range(self.TRIES):
            if not self._drawn:
                size = max(1, self.BLOCK // max(1, cube.dimension)), cube.dimension
                self._drawn = cube.configs(self._rng.random(size))[::-1]
            config = self._drawn.pop()
            if not cube.checker.forbidden(config):
                return config
        where = cube.checker.where
        raise BadValue(f"no legal configuration of {where} in {self.TRIES} samples")
