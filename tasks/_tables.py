"""Tables of measured configurations: grids and finite pools, read once per process.

A grid holds every combination of its hyperparameters' values, so the row follows from the values.
A pool holds some of them. Asked for another configuration, a pool answers with its nearest row (the
first of several; distance: sum over hyperparameters of the difference in rank as a share of all
ranks, 1 for another category) and says so in the result's ``extra``, or, if it is ``strict``,
refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from carps_like.description import Objective
from carps_like.errors import BadValue, MissingData
from carps_like.interface import Task
from carps_like.tasks._data import SHIPPED, shipped
from carps_like.trial import Configuration, Outcome, Value

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from carps_like.description import TaskDescription

Floats = np.ndarray[Any, np.dtype[Any]]
_COUNTS = {"float": "n_continuous", "ordinal": "n_ordinal", "categorical": "n_categorical"}


@cache
def catalogue(collection: str) -> Mapping[str, dict[str, Any]]:
    """What the tables of a collection hold: inputs, objectives, rows; by table."""
    path = SHIPPED / collection / "catalogue.json"
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingData(
            f"table catalogue {collection}/catalogue.json cannot be read ({error}): "
            "pip install --force-reinstall carps-like"
        ) from None
    return found


@cache
def arrays(collection: str, table: str) -> Mapping[str, Floats]:
    """The arrays of a table's file; raises :class:`MissingData` if it is damaged."""
    with np.load(shipped(f"{collection}/{table}.npz")) as file:
        return {name: file[name] for name in file.files}


def unpack(planes: Floats, dtype: str) -> Floats:
    """Numbers from their byte planes, shape (item size, n) -> (n,)."""
    return np.ascontiguousarray(planes.T).view(dtype).reshape(-1)


def counts(inputs: list[list[Any]]) -> dict[str, Any]:
    """The counts of a description."""
    found = dict.fromkeys(_COUNTS.values(), 0)
    for _, kind, _ in inputs:
        found[_COUNTS[kind]] += 1
    return found


def objectives(rows: list[dict[str, Any]]) -> tuple[Objective, ...]:
    """Best and worst of the table are the optimum and the reference."""
    return tuple(
        Objective(
            row["name"],
            row["minimize"],
            row["unit"],
            optimum=row["best"],
            reference=row["worst"],
            penalty=row["worst"],
        )
        for row in rows
    )


@cache
def space(collection: str, table: str) -> ConfigurationSpace:
    """Categories, ordinals, and floats for what has more than 500 values in the table."""
    from ConfigSpace import (
        Categorical,
        ConfigurationSpace,
        Float,
        ForbiddenAndConjunction,
        ForbiddenEqualsClause,
        OrdinalHyperparameter,
    )

    row = catalogue(collection)[table]
    built = ConfigurationSpace()
    for name, kind, values in row["inputs"]:
        if kind == "float":
            built.add(Float(name, tuple(values)))
        elif kind == "ordinal":
            built.add(OrdinalHyperparameter(name, values))
        else:
            built.add(Categorical(name, values))
    for clause in row.get("forbidden", ()):
        parts = [ForbiddenEqualsClause(built[name], value) for name, value in clause.items()]
        built.add(ForbiddenAndConjunction(*parts))
    return built


class Index:
    """Configuration -> row of one table."""

    def __init__(self, collection: str, table: str) -> None:
        row, found = catalogue(collection)[table], arrays(collection, table)
        self.table = table
        self._inputs: list[tuple[str, str, Any]] = [tuple(i) for i in row["inputs"]]
        self._codes = [
            None if kind == "float" else {value: code for code, value in enumerate(values)}
            for _, kind, values in self._inputs
        ]
        sizes = [0 if c is None else len(c) for c in self._codes]
        self.pool = found.get("codes")  # (hyperparameters, rows)
        self._rows = unpack(found["rows"], "int32") if "rows" in found else None
        if self.pool is None:
            strides = np.cumprod([1, *sizes[:0:-1]])[::-1].tolist()
            self._steps = [
                (name, {v: k * stride for v, k in codes.items()})
                for (name, _, _), codes, stride in zip(
                    self._inputs, self._codes, strides, strict=True
                )
                if codes is not None
            ]
        else:
            self._prepare(found)

    def _prepare(self, found: Mapping[str, Floats]) -> None:
        assert self.pool is not None
        self._levels = {
            name: found[f"levels_{j}"]
            for j, (name, kind, _) in enumerate(self._inputs)
            if kind == "float"
        }
        columns = []
        for code, (name, kind, values) in zip(self.pool, self._inputs, strict=True):
            ranks = len(self._levels[name]) if kind == "float" else len(values)
            columns.append(code / (1 if kind == "categorical" else ranks - 1))
        self._places = np.array(columns)
        self._category = np.array([kind == "categorical" for _, kind, _ in self._inputs])
        self._names = [name for name, _, _ in self._inputs]
        self._exact: dict[tuple[Value, ...], int] = {}
        values = [
            (self._levels[name] if kind == "float" else np.array(values, object))[code].tolist()
            for code, (name, kind, values) in zip(self.pool, self._inputs, strict=True)
        ]
        for k, row in enumerate(zip(*values, strict=True)):
            self._exact.setdefault(row, k)

    @property
    def walk(self) -> list[tuple[str, dict[Value, int]]] | None:
        """Per hyperparameter, what each value adds to the row's number; ``None`` unless a grid."""
        return None if self.pool is not None or self._rows is not None else self._steps

    def of(self, config: Configuration) -> tuple[int, float]:
        """Row of ``config``, and its distance from it: 0 where the table has it.

        Raises:
            BadValue: the grid has no row for it.
        """
        if self.pool is not None:
            return self._nearest(config)
        k: int = 0
        for name, steps in self._steps:
            k += steps[config[name]]
        if self._rows is None:
            return k, 0.0
        k = int(self._rows[k])
        if k < 0:
            raise BadValue(f"table {self.table!r} has no row for {dict(config)}")
        return k, 0.0

    def _nearest(self, config: Configuration) -> tuple[int, float]:
        found = self._exact.get(tuple([config[name] for name in self._names]))
        if found is not None:
            return found, 0.0
        place = np.empty(len(self._inputs))
        for j, ((name, kind, _), codes) in enumerate(zip(self._inputs, self._codes, strict=True)):
            value = config[name]
            if codes is None:
                levels = self._levels[name]
                place[j] = np.interp(float(value), levels, np.arange(len(levels))) / (
                    len(levels) - 1
                )
            else:
                place[j] = codes[value] / (1 if kind == "categorical" else len(codes) - 1)
        gaps = np.abs(self._places - place[:, None])
        gaps[self._category] = gaps[self._category] != 0
        total = gaps.sum(axis=0)
        best = int(total.argmin())
        return best, float(total[best])


@cache
def index(collection: str, table: str) -> Index:
    return Index(collection, table)


def running_mean(planes: Floats, rows: int) -> Floats:
    """Mean over the first 1, 2, ... repetitions, shape (repetitions, rows).

    Repetitions that are missing are skipped: the next ones take their place.
    """
    values = unpack(planes, f"float{8 * planes.shape[0]}").astype(np.float64).reshape(-1, rows)
    order = np.argsort(np.isnan(values), axis=0, kind="stable")
    values = np.take_along_axis(values, order, axis=0)
    known = np.maximum(np.cumsum(~np.isnan(values), axis=0), 1)
    mean: Floats = np.nancumsum(values, axis=0) / known
    return mean


@cache
def means(collection: str, table: str, name: str) -> Floats:
    rows = catalogue(collection)[table]["rows"]
    return running_mean(arrays(collection, table)[name], rows)


class TableTask(Task):
    """A table as a task.

    ``metadata`` names the ``collection`` folder, the ``table``, the ``columns`` of the objectives
    in its file, the column of the ``cost`` if it has one, and whether it is ``strict``.
    """

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        meta = description.metadata
        folder, table = meta["folder"], meta["table"]
        self._index = index(folder, table)
        self._columns = [
            (objective.name, means(folder, table, column))
            for objective, column in zip(description.objectives, meta["columns"], strict=True)
        ]
        self._last = [(name, column[-1]) for name, column in self._columns]
        self._seconds = means(folder, table, "cost")[0] if meta.get("cost") else None
        self._full = catalogue(folder)[table]["repetitions"]
        self._strict = meta.get("pool") == "strict"
        self._walk = self._index.walk

    def __reduce__(self) -> Any:
        return TableTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        row, distance = 0, 0.0
        if self._walk is not None:  # a full grid, where calls would cost more than the answer
            for name, steps in self._walk:
                row += steps[config[name]]
        else:
            row, distance = self._index.of(config)
        if distance and self._strict:
            raise BadValue(f"{self.description.name!r} is a pool without the row {dict(config)}")
        if fidelity is None:
            values = {name: column.item(row) for name, column in self._last}
            n = self._full
        else:
            n = int(fidelity)
            values = {
                name: column.item(min(n, len(column)) - 1, row) for name, column in self._columns
            }
        if distance:
            return Outcome(values, extra={"nearest_row": row, "distance": distance})
        if self._seconds is None:
            return values
        return Outcome(values, self._seconds.item(row) * n)
