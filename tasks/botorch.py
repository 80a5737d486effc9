"""BoTorch's test functions (Balandat et al., 2020): synthetic, constrained, multi-objective, with a
fidelity, and both.

Evaluated in double precision, one point at a time. A problem with a fidelity comes as ``-mf`` (or
``-momf``) and, at the full fidelity, as ``-bb`` (``-mo``). Fidelities that BoTorch counts as
levels, 0 being the full one, are counted upwards here. Constraints hold when <= 0: BoTorch's
slack, negated. ``data/botorch/catalogue.json`` says what there is, so that listing imports nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._spaces import names_of
from carps_like.tasks._tables import catalogue
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_LEVEL_LAW = "10^(level - full) seconds, from scratch"
_SHARE_LAW = "the fidelity in seconds, from scratch"


def _row(key: str) -> Mapping[str, Any]:
    return catalogue("botorch")[key]


@cache
def _space(key: str) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace, Float, Integer

    row = _row(key)
    n = len(row["bounds"]) - row["fidelities"]
    built = ConfigurationSpace()
    for k, (name, (low, high)) in enumerate(zip(names_of(n), row["bounds"], strict=False)):
        whole = k in row["whole"]
        built.add(Integer(name, (int(low), int(high))) if whole else Float(name, (low, high)))
    return built


def _fidelity(row: Mapping[str, Any]) -> Fidelity:
    if row["levels"]:
        levels = row["levels"]
        return Fidelity("level", 1, levels, True, cost_law=_LEVEL_LAW, continuable=False)
    return Fidelity("fidelity", 0.04, 1.0, cost_law=_SHARE_LAW, continuable=False)


class BotorchTask(Task):
    """One problem of BoTorch."""

    def __init__(self, description: TaskDescription) -> None:
        import torch

        self.description = description
        row = _row(description.metadata["key"])
        module, _, name = row["class"].rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        self._tensor = partial(torch.tensor, dtype=torch.double)
        self._problem = kind(**row["args"], dtype=torch.double)
        self._names = names_of(len(row["bounds"]) - row["fidelities"])
        self._fidelities, self._levels = row["fidelities"], row["levels"]
        self._goals = [o.name for o in description.objectives]

    def __reduce__(self) -> Any:
        return BotorchTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        full = self._levels or 1.0
        z = full if fidelity is None else fidelity
        inside = self._levels - z if self._levels else z
        values = [float(config[name]) for name in self._names] + [inside] * self._fidelities
        x = self._tensor([values])
        found = self._problem.evaluate_true(x).reshape(-1).tolist()
        limits = ()
        if self.description.constraints:
            limits = tuple((-self._problem.evaluate_slack_true(x)).reshape(-1).tolist())
        cost = 10.0 ** (z - full) if self._levels else z
        return Outcome(dict(zip(self._goals, found, strict=True)), cost, limits)


class Botorch(Collection):
    name, requires, extra = "botorch", ("botorch", "torch"), "botorch"

    def names(self) -> Iterator[str]:
        for key in catalogue("botorch"):
            for kind in self._types(key):
                yield f"botorch-{key}-{kind}"

    @staticmethod
    def _types(key: str) -> tuple[str, ...]:
        row = _row(key)
        plain, with_fidelity = ("bb", "mf") if row["m"] == 1 else ("mo", "momf")
        return (plain, with_fidelity) if row["fidelities"] else (plain,)

    def describe(self, name: str) -> TaskDescription:
        parts = name.split("-")
        if len(parts) != 3 or parts[1] not in catalogue("botorch"):
            raise self.unknown(name)
        _, key, kind = parts
        if kind not in self._types(key):
            raise self.unknown(name)
        row = _row(key)
        fidelity = _fidelity(row) if kind.endswith("mf") else None
        n = len(row["bounds"]) - row["fidelities"]
        return TaskDescription(
            name=name,
            make_space=partial(_space, key),
            objectives=self._objectives(row),
            fidelity=fidelity,
            collection="botorch",
            kind="synthetic",
            n_continuous=n - len(row["whole"]),
            n_integer=len(row["whole"]),
            constraints=tuple(f"c{i}" for i in range(row["constraints"])),
            optimum_source="BoTorch" if row["optimum"] is not None else "",
            hypervolume=row["hv"],
            evaluation_seconds=row["us"] * 1e-6,
            budget=Budget(trials=100) if fidelity is None else Budget(trials=1000, evaluations=100),
            metadata={"key": key, "class": row["class"], **row["args"]},
        )

    @staticmethod
    def _objectives(row: Mapping[str, Any]) -> tuple[Objective, ...]:
        if row["m"] == 1:
            return (Objective("value", row["minimize"][0], optimum=row["optimum"]),)
        return tuple(
            Objective(f"f{i + 1}", low, reference=worst)
            for i, (low, worst) in enumerate(zip(row["minimize"], row["reference"], strict=True))
        )

    def build(self, description: TaskDescription) -> BotorchTask:
        return BotorchTask(description)


collections = (Botorch(),)
