"""Search spaces declared as data, so that they are counted without building them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from carps_like.trial import Value

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_COUNTS = {
    "float": "n_continuous",
    "int": "n_integer",
    "categorical": "n_categorical",
    "ordinal": "n_ordinal",
}


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter; ``when`` names its parent and the values that make it active."""

    name: str
    kind: Literal["float", "int", "categorical", "ordinal"]
    lower: float = 0.0
    upper: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()
    default: Value | None = None
    when: tuple[str, tuple[Value, ...]] | None = None


def real(name: str, lower: float, upper: float, log: bool = False, **more: Any) -> Parameter:
    return Parameter(name, "float", lower, upper, log, **more)


def whole(name: str, lower: int, upper: int, log: bool = False, **more: Any) -> Parameter:
    return Parameter(name, "int", lower, upper, log, **more)


def one_of(name: str, *choices: Value, **more: Any) -> Parameter:
    return Parameter(name, "categorical", choices=choices, **more)


def ordered(name: str, *choices: Value, **more: Any) -> Parameter:
    return Parameter(name, "ordinal", choices=choices, **more)


def counts(parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """The counts of a description."""
    found = dict.fromkeys(_COUNTS.values(), 0)
    for p in parameters:
        found[_COUNTS[p.kind]] += 1
    return found | {"n_conditions": sum(p.when is not None for p in parameters)}


@cache
def space(parameters: tuple[Parameter, ...]) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace, InCondition

    built = ConfigurationSpace()
    built.add(*(_hyperparameter(p) for p in parameters))
    for p in parameters:
        if p.when is not None:
            built.add(InCondition(built[p.name], built[p.when[0]], list(p.when[1])))
    return built


def _hyperparameter(p: Parameter) -> Any:
    from ConfigSpace import Categorical, Float, Integer, OrdinalHyperparameter

    if p.kind == "float":
        return Float(p.name, (p.lower, p.upper), log=p.log, default=p.default)
    if p.kind == "int":
        return Integer(p.name, (int(p.lower), int(p.upper)), log=p.log, default=p.default)
    if p.kind == "ordinal":
        return OrdinalHyperparameter(p.name, p.choices, default_value=p.default or p.choices[0])
    return Categorical(p.name, p.choices, default=p.choices[0] if p.default is None else p.default)
