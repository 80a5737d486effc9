"""Search spaces from the JSON that ConfigSpace 0.4 wrote (format 0.2), without its warnings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_COUNTED = {
    "uniform_float": "n_continuous",
    "uniform_int": "n_integer",
    "categorical": "n_categorical",
    "ordinal": "n_ordinal",
    "constant": "n_constant",
}


def counts(data: Mapping[str, Any], without: Collection[str]) -> dict[str, int]:
    """The counts of a description, read from the JSON alone."""
    found = dict.fromkeys([*_COUNTED.values(), "n_conditions"], 0)
    for h in data["hyperparameters"]:
        if h["name"] not in without:
            found[_COUNTED[h["type"]]] += 1
    found["n_conditions"] = len({c["child"] for c in data["conditions"]} - set(without))
    return found


def space(data: Mapping[str, Any], without: Collection[str]) -> ConfigurationSpace:
    """The space that ``data`` says, less the hyperparameters named in ``without``."""
    from ConfigSpace import ConfigurationSpace

    built = ConfigurationSpace()
    built.add(*(_parameter(h) for h in data["hyperparameters"] if h["name"] not in without))
    conditions = [c for c in data["conditions"] if c["child"] not in without]
    built.add(*(_condition(c, built) for c in conditions))
    return built


def _parameter(h: Mapping[str, Any]) -> Any:
    from ConfigSpace import Categorical, Constant, Float, Integer, OrdinalHyperparameter

    name, kind = h["name"], h["type"]
    if kind == "uniform_float":
        ends = (float(h["lower"]), float(h["upper"]))
        return Float(name, ends, log=h["log"], default=float(h["default"]))
    if kind == "uniform_int":
        return Integer(name, (h["lower"], h["upper"]), log=h["log"], default=int(h["default"]))
    if kind == "categorical":
        return Categorical(name, h["choices"], default=h["default"])
    if kind == "ordinal":
        return OrdinalHyperparameter(name, h["sequence"], default_value=h["default"])
    return Constant(name, h["value"])


def _condition(c: Mapping[str, Any], built: ConfigurationSpace) -> Any:
    from ConfigSpace import AndConjunction, EqualsCondition, InCondition, OrConjunction

    if c["type"] in ("AND", "OR"):
        join = AndConjunction if c["type"] == "AND" else OrConjunction
        return join(*(_condition(part, built) for part in c["conditions"]))
    child, parent = built[c["child"]], built[c["parent"]]
    if c["type"] == "IN":
        return InCondition(child, parent, c["values"])
    return EqualsCondition(child, parent, c["value"])
