"""Tasks with an expert's prior, built as PriorBand does (Mallik et al., 2023).

``priorband-<base>-<prior>-<type>``: the base is a synthetic function with a fidelity, or an
instance of YAHPO's lcbench or rbv2 scenarios.
The prior is centred on one configuration among random ones at full fidelity (1,000 of a surrogate,
20,000 of a function; ``scripts/priors.py``):

- ``good``: the best, moved by a normal step of 1 % of each range;
- ``medium``: the best, moved by 12.5 %;
- ``at25``: the best of the first 25;
- ``bad``: the worst.

A number has a normal prior with a standard deviation of a quarter of its range, on its own scale
(log where it is log), cut at the bounds; a category weighs as much as all others and itself.
Values, costs and fidelities are those of the base, which the default configuration alone changes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import MissingData
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._data import SHIPPED
from carps_like.tasks.synthetic import Synthetic
from carps_like.tasks.yahpo import Yahpo
from carps_like.trial import Configuration, Outcome, Value

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

PRIORS = ("good", "medium", "at25", "bad")
SPREAD = 0.25  # standard deviation as a share of the range
_BASES: dict[str, Collection] = {"synthetic": Synthetic(), "yahpo": Yahpo()}


@cache
def _table() -> Mapping[str, Mapping[str, list[Value | None]]]:
    """Base -> prior -> values in the order of the names; null where inactive."""
    path = SHIPPED / "priorband" / "priors.json"
    try:
        found: dict[str, dict[str, list[Value | None]]] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MissingData(
            f"priorband/priors.json cannot be read ({error}): "
            "pip install --force-reinstall carps-like"
        ) from None
    return found


def base_description(base: str, kind: str) -> tuple[TaskDescription, Collection]:
    """``synthetic_branin`` or ``yahpo_lcbench_167152``, as the task that it stands on."""
    family, _, rest = base.partition("_")
    if family == "yahpo":
        scenario, _, instance = rest.rpartition("_")
        rest = f"{scenario}-{instance}"
    collection = _BASES[family]
    return collection.describe(f"{family}-{rest}-{kind}"), collection


@cache
def _space(base: str, prior: str) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace

    plain = base_description(base, "mf")[0].space
    values = dict(zip(sorted(plain), _table()[base][prior], strict=True))
    built = ConfigurationSpace()
    built.add(*(_with_prior(h, values[h.name]) for h in plain.values()))
    built.add(*(_moved(condition, built) for condition in plain.conditions))
    return built


def _with_prior(h: Any, value: Value | None) -> Any:
    """The hyperparameter with a prior around ``value``; its default where that is inactive."""
    from ConfigSpace import (
        CategoricalHyperparameter,
        NormalFloatHyperparameter,
        NormalIntegerHyperparameter,
    )
    from ConfigSpace.hyperparameters import IntegerHyperparameter

    centre = h.default_value if value is None else value
    if isinstance(h, CategoricalHyperparameter):
        weights = [len(h.choices) if choice == centre else 1 for choice in h.choices]
        return CategoricalHyperparameter(
            h.name, h.choices, weights=weights, default_value=str(centre)
        )
    sigma = SPREAD * (h.upper - h.lower)
    if h.log:  # ConfigSpace turns a deviation s into |log(lower + s)| / log(upper / lower)
        sigma = (h.upper / h.lower) ** -SPREAD - h.lower
    whole = isinstance(h, IntegerHyperparameter)
    kind = NormalIntegerHyperparameter if whole else NormalFloatHyperparameter
    inside = min(h.upper, max(h.lower, centre))
    return kind(h.name, inside, float(sigma), h.lower, h.upper, default_value=inside, log=h.log)


def _moved(condition: Any, built: ConfigurationSpace) -> Any:
    from ConfigSpace import AndConjunction, EqualsCondition, InCondition

    if isinstance(condition, AndConjunction):
        return AndConjunction(*(_moved(part, built) for part in condition.components))
    child, parent = built[condition.child.name], built[condition.parent.name]
    if isinstance(condition, InCondition):
        return InCondition(child, parent, list(condition.values))
    return EqualsCondition(child, parent, condition.value)


class PriorTask(Task):
    """The base task under the description with the prior."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        meta = description.metadata
        plain, collection = base_description(meta["base"], description.type)
        self._base = collection.build(plain)

    def __reduce__(self) -> Any:
        return PriorTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        return self._base.compute(config, fidelity, seed, state)


class PriorBand(Collection):
    name, requires = "priorband", ("onnxruntime",)

    def names(self) -> Iterator[str]:
        for base in _table():
            for prior in PRIORS:
                for kind in self._types(base):
                    yield f"priorband-{base}-{prior}-{kind}"

    @staticmethod
    def _types(base: str) -> tuple[str, ...]:
        return ("mf",) if base.startswith("synthetic_mfh") else ("bb", "mf")

    def describe(self, name: str) -> TaskDescription:
        parts = name.split("-")
        if len(parts) != 4 or parts[1] not in _table() or parts[2] not in PRIORS:
            raise self.unknown(name)
        _, base, prior, kind = parts
        if parts[0] != "priorband" or kind not in self._types(base):
            raise self.unknown(name)
        plain, collection = base_description(base, kind)
        return dataclasses.replace(
            plain,
            name=name,
            make_space=partial(_space, base, prior),
            collection="priorband",
            has_priors=True,
            requires=collection.requires,
            metadata={"base": base, "prior": prior, "task": plain.name},
        )

    def build(self, description: TaskDescription) -> PriorTask:
        return PriorTask(description)

    def missing_data(self, description: TaskDescription) -> str:
        plain, collection = base_description(description.metadata["base"], description.type)
        return collection.missing_data(plain)


def perturbed(point: np.ndarray[Any, Any], numeric: Any, share: float, seed: int) -> Any:
    """``point`` in the unit cube, moved by a normal step of ``share`` where ``numeric``."""
    step = share * np.random.default_rng(seed).standard_normal(len(point))
    return np.clip(np.where(numeric, point + step, point), 0.0, 1.0)


collections = (PriorBand(),)
