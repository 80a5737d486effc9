"""Multi-objective and constrained problems of ``pymoo`` (Blank and Deb, 2020).

ZDT, DTLZ and its constrained kin, WFG, MW, DASCMOP at 16 difficulties, ZCAT, CTP, engineering
problems (car side impact, truss, welded beam, pressure vessel, ...), the G suite of CEC 2006, and
a few single-objective classics. ``data/pymoo/catalogue.json`` says what they are, so that listing
imports nothing. All objectives are minimised; constraints hold when they are <= 0, an equality
h(x) = 0 as |h(x)| - 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from carps_like.description import Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._spaces import Box, integers, names_of
from carps_like.tasks._tables import catalogue
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_TOLERANCE = 1e-4  # of an equality


def make(problem: str, args: Mapping[str, Any]) -> Any:
    """pymoo's own problem."""
    from pymoo.problems import get_problem

    if problem.startswith("dascmop"):
        return get_problem(problem, args["difficulty_factors"])
    return get_problem(problem, **args)


def _space(row: Mapping[str, Any]) -> ConfigurationSpace:
    bounds = row["bounds"] * row["n"] if len(row["bounds"]) == 1 else row["bounds"]
    if row["kind"] == "real":
        return Box(tuple((a, b) for a, b in bounds))()
    return integers(row["n"], int(bounds[0][0]), int(bounds[0][1]))


@cache
def _space_of(name: str) -> ConfigurationSpace:
    return _space(catalogue("pymoo")[name])


class PymooTask(Task):
    """One problem of pymoo."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        row = catalogue("pymoo")[description.metadata["key"]]
        self._problem = make(row["problem"], row["args"])
        self._names = names_of(row["n"])
        self._type = {"real": float, "binary": bool, "integer": int}[row["kind"]]
        self._goals = [o.name for o in description.objectives]

    def __reduce__(self) -> Any:
        return PymooTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome | dict[str, float]:
        x: Any = np.array([[config[name] for name in self._names]], dtype=self._type)
        out = self._problem.evaluate(x, return_as_dictionary=True)
        values = dict(zip(self._goals, out["F"][0].tolist(), strict=True))
        if not self.description.constraints:
            return values
        limits = out["G"][0].tolist() if self._problem.n_ieq_constr else []
        if self._problem.n_eq_constr:
            limits += (np.abs(out["H"][0]) - _TOLERANCE).tolist()
        return Outcome(values, constraints=tuple(limits))


class Pymoo(Collection):
    name, requires, extra = "pymoo", ("pymoo",), "pymoo"

    def names(self) -> Iterator[str]:
        for key in catalogue("pymoo"):
            yield f"pymoo-{key}"

    def describe(self, name: str) -> TaskDescription:
        key = name.removeprefix("pymoo-")
        row = catalogue("pymoo").get(key)
        if row is None or key == name:
            raise self.unknown(name)
        inequalities = tuple(f"g{i}" for i in range(row["ieq"]))
        real = row["kind"] == "real"
        return TaskDescription(
            name=name,
            make_space=partial(_space_of, key),
            objectives=self._objectives(row),
            collection="pymoo",
            kind="synthetic",
            n_continuous=row["n"] if real else 0,
            n_integer=0 if real else row["n"],
            constraints=inequalities + tuple(f"h{i}" for i in range(row["eq"])),
            optimum_source="pymoo's own front" if row["ideal"] else "",
            hypervolume=row["hv"],
            evaluation_seconds=row["us"] * 1e-6,
            metadata={"key": key, "problem": row["problem"], **row["args"]},
        )

    @staticmethod
    def _objectives(row: Mapping[str, Any]) -> tuple[Objective, ...]:
        m = row["m"]
        ideal = row["ideal"] or [None] * m
        reference = row["reference"] or [None] * m
        return tuple(
            Objective(f"f{i + 1}", optimum=best, reference=worst)
            for i, (best, worst) in enumerate(zip(ideal, reference, strict=True))
        )

    def build(self, description: TaskDescription) -> PymooTask:
        return PymooTask(description)


collections = (Pymoo(),)
