"""LCDB 1.0 (Mohr et al., 2022): learning curves of up to 20 learners on 248 data sets.

The one hyperparameter is the learner, the fidelity the size of its training set. Between measured
sizes the value is that of the largest one below; a learner that was not measured up to the largest
size keeps its last value. Validation score, averaged over repetitions; the test score stands in
``extra``. The authors name a weakness themselves: features were not scaled, and preprocessing saw
the test data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._tables import arrays, catalogue, unpack
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_LAW = "the measured training time, of a training from scratch"


def _space(table: str) -> ConfigurationSpace:
    from ConfigSpace import Categorical, ConfigurationSpace

    built = ConfigurationSpace()
    built.add(Categorical("learner", catalogue("lcdb")[table]["learners"]))
    return built


@cache
def _columns(metric: str) -> dict[str, Any]:
    found = arrays("lcdb", metric)
    kinds = {"dataset": "int32", "size": "int32", "cost": "float32", "first": "float32"}
    columns = {name: unpack(found[name], kind) for name, kind in kinds.items()}
    return columns | {"learner": found["learner"], "test": unpack(found["test"], "float32")}


@cache
def curves(table: str) -> dict[str, tuple[list[int], list[float], list[float], list[float]]]:
    """Learner -> sizes, validation scores, test scores, seconds; sizes rise."""
    row = catalogue("lcdb")[table]
    columns = _columns(table.rpartition("-")[2])
    found = {}
    for learner, code in zip(row["learners"], row["codes"], strict=True):
        mine = (columns["dataset"] == row["dataset"]) & (columns["learner"] == code)
        found[learner] = tuple(columns[k][mine].tolist() for k in ("size", "first", "test", "cost"))
    return found


class LcdbTask(Task):
    """One data set under one metric."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        self._curves = curves(description.metadata["table"])
        self._metric = description.objectives[0].name

    def __reduce__(self) -> Any:
        return LcdbTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        sizes, valid, test, seconds = self._curves[str(config["learner"])]
        k = len(sizes) - 1 if fidelity is None else bisect_right(sizes, fidelity) - 1
        extra = {"size": sizes[k], f"test_{self._metric}": test[k]}
        return Outcome({self._metric: valid[k]}, seconds[k], extra=extra)


class Lcdb(Collection):
    name = "lcdb"

    def names(self) -> Iterator[str]:
        for table in catalogue("lcdb"):
            yield f"lcdb-{table}-bb"
            yield f"lcdb-{table}-mf"

    def describe(self, name: str) -> TaskDescription:
        table, _, kind = name.removeprefix("lcdb-").rpartition("-")
        row = catalogue("lcdb").get(table)
        if row is None or kind not in ("bb", "mf") or not name.startswith("lcdb-"):
            raise self.unknown(name)
        goal, (start, end) = row["objective"], row["sizes"]
        fidelity = None
        if kind == "mf":
            fidelity = Fidelity("size", start, end, True, "rows", _LAW, continuable=False)
        return TaskDescription(
            name=name,
            make_space=partial(_space, table),
            objectives=(
                Objective(
                    goal["name"],
                    goal["minimize"],
                    lower=0.0,
                    upper=None if goal["name"] == "logloss" else 1.0,
                    optimum=goal["best"],
                    penalty=row["worst"],
                ),
            ),
            fidelity=fidelity,
            collection="lcdb",
            kind="table",
            n_categorical=1,
            optimum_source="the whole table (Mohr et al., 2022)",
            evaluation_seconds=2e-6,
            budget=Budget(trials=20) if fidelity is None else Budget(trials=100, evaluations=20),
            metadata={
                "table": table,
                "title": row["title"],
                "learners": len(row["learners"]),
                "between_sizes": "the largest measured size below",
            },
        )

    def build(self, description: TaskDescription) -> LcdbTask:
        return LcdbTask(description)


collections = (Lcdb(),)
