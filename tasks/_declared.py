"""Search spaces declared as data, so that they are counted without building them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from carps_like.description import Fidelity, Objective
from carps_like.errors import BadValue, did_you_mean
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
    default = p.choices[0] if p.default is None else p.default
    if p.kind == "ordinal":
        return OrdinalHyperparameter(p.name, p.choices, default_value=default)
    return Categorical(p.name, p.choices, default=default)


# --- the same as plain mappings, as a configuration file has them: each raises BadValue by name ---


def check_fields(
    made: type[Any], data: Any, what: str, more: tuple[str, ...] = (), needs: bool = True
) -> None:  # fmt: skip
    """Raise :class:`BadValue` unless ``data`` has the fields of the dataclass ``made``."""
    if not isinstance(data, Mapping):
        raise BadValue(f"{what} must be a mapping of fields, not {data!r}")
    declared = fields(made)
    known = [*more, *(f.name for f in declared)]
    for name in data:
        if name not in known:
            raise BadValue(
                f"{what} has no field {name!r}{did_you_mean(str(name), known, ', '.join(known))}"
            )
    for f in declared if needs else ():
        if f.default is MISSING and f.default_factory is MISSING and f.name not in data:
            raise BadValue(f"{what} needs the field {f.name!r}")


def read_objective(data: Any, here: str) -> Objective:
    if isinstance(data, Objective):
        return data
    check_fields(Objective, data, f"objective {_name_of(data)} {here}")
    return Objective(**data)


def read_fidelity(data: Any, here: str) -> Fidelity:
    if isinstance(data, Fidelity):
        return data
    what = f"fidelity {_name_of(data)} {here}"
    check_fields(Fidelity, data, what)
    _check_range(data, what)
    return Fidelity(**data)


def read_parameter(data: Any, here: str) -> Parameter:
    if isinstance(data, Parameter):
        return data
    what = f"hyperparameter {_name_of(data)} {here}"
    check_fields(Parameter, data, what)
    values = dict(data)
    kind = values["kind"]
    if kind not in _COUNTS:
        hint = did_you_mean(str(kind), _COUNTS, f"there are {', '.join(_COUNTS)}")
        raise BadValue(f"{what} has no kind {kind!r}{hint}")
    if kind in ("float", "int"):
        _check_range(values, what, log=bool(values.get("log")))
    else:
        values["choices"] = tuple(values.get("choices") or ())
        if not values["choices"] or len(set(values["choices"])) < len(values["choices"]):
            raise BadValue(f"{what} needs choices, each once")
    if values.get("when") is not None:
        parent, active = values["when"]
        values["when"] = (parent, tuple(active))
    default = values.get("default")
    if default is not None and not _legal(default, values):
        raise BadValue(f"{what} cannot have the default {default!r}")
    return Parameter(**values)


def _legal(value: Any, data: Mapping[str, Any]) -> bool:
    if data.get("choices"):
        return value in data["choices"]
    return isinstance(value, int | float) and bool(data["lower"] <= value <= data["upper"])


def _name_of(data: Any) -> str:
    return repr(data.get("name", "")) if isinstance(data, Mapping) else repr(data)


def _check_range(data: Mapping[str, Any], what: str, log: bool = False) -> None:
    for side in ("lower", "upper"):
        value = data.get(side)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(float(data[side])):
            raise BadValue(f"{what} needs a number as {side}, not {value!r}")
    lower, upper = data["lower"], data["upper"]
    if not lower < upper:
        raise BadValue(f"{what}: lower {lower!r} is not below upper {upper!r}")
    if log and lower <= 0:
        raise BadValue(f"{what}: lower {lower!r} must be above 0 on a log scale")
