"""What the analysis takes: two frames, and what the tasks in them declare."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carps_like.errors import BadResults, BadValue, did_you_mean

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Policy: TypeAlias = Literal["raise", "worst", "drop"]
KEYS = ("optimizer", "task", "seed")


class Results(Protocol):
    """The two tables of a study, as `carps_like.load` returns them."""

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: run_id, optimizer, task, seed, status, objectives, ..."""

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: run_id, trial, status, value, objectives, budget_used, end, ..."""


@dataclass(frozen=True)
class Declared:
    """What the runs of a task carry of its declaration; values on the minimised scale."""

    objectives: tuple[str, ...] = ("value",)
    collection: str = ""
    minimize: tuple[bool, ...] = ()  # directions as declared
    optimum: float | None = None  # of the first objective
    reference: tuple[float, ...] | None = None  # reference point of the hypervolume
    full_fidelity: float | None = None


def declarations(runs: pd.DataFrame) -> dict[str, Declared]:
    """What every task of ``runs`` declares, as far as the columns are there and filled.

    Raises:
        BadResults: two runs of a task have different objectives.
    """
    found: dict[str, Declared] = {}
    for row in runs.drop_duplicates("task").to_dict("records"):
        names = _list(row.get("objectives"))
        optimum, reference = _list(row.get("optimum")), _list(row.get("reference_point"))
        whole = len(reference) == len(names) > 0 and all(pd.notna(r) for r in reference)
        full = row.get("max_fidelity")
        found[row["task"]] = Declared(
            objectives=tuple(map(str, names)) or ("value",),
            collection=str(row.get("collection") or row["task"].partition("-")[0]),
            minimize=tuple(map(bool, _list(row.get("minimize")))),
            optimum=float(optimum[0]) if optimum and pd.notna(optimum[0]) else None,
            reference=tuple(map(float, reference)) if whole else None,
            full_fidelity=float(full) if full is not None and pd.notna(full) else None,
        )
    for task, names in zip(runs["task"], runs["objectives"], strict=True):
        here, known = tuple(map(str, _list(names))), found[task].objectives
        if here and here != known:
            raise BadResults(
                f"runs of task {task!r} have different objectives: "
                f"{', '.join(known)} and {', '.join(here)}"
            )
    return found


def _list(value: Any) -> list[Any]:
    if value is None or isinstance(value, float) or value is pd.NA:
        return []
    return [value] if isinstance(value, str) else list(value)


def runs_of(results: Results) -> pd.DataFrame:
    """The runs by task, optimizer and seed, in plain strings, told apart by name.

    A run that was interrupted has the status ``unfinished``. Where an optimizer has several runs
    of one task and seed (other options, another budget), what differs is added to its name:
    ``optuna-tpe [n_startup_trials=5]``.

    Raises:
        BadResults: a column is missing, a run stands there twice, or two runs cannot be told apart.
    """
    needed = ("run_id", *KEYS, "status", "objectives")
    runs = _have(results.runs, needed, "runs").reset_index(drop=True).copy()
    for name in ("run_id", "optimizer", "task", "status"):
        runs[name] = text(runs[name])
    twice = runs["run_id"].duplicated()
    if twice.any():
        raise BadResults(f"run {runs['run_id'][twice].iloc[0]!r} stands twice in the runs table")
    cut = runs["status"].isin(["", "killed"])
    if "ended" in runs:
        runs.loc[cut & runs["ended"].isna(), "status"] = "unfinished"
    runs["optimizer"] = _told_apart(runs)
    return runs.sort_values(["task", "optimizer", "seed", "run_id"], ignore_index=True)


def _told_apart(runs: pd.DataFrame) -> pd.Series[Any]:
    names = runs["optimizer"].copy()
    several = runs.duplicated([*KEYS], keep=False)
    if not several.any():
        return names
    if "config" in runs:
        for name in names[several].unique():
            rows = runs.index[names == name]
            names.loc[rows] = [f"{name}{s}" for s in _differences(runs.loc[rows])]
    again = runs.assign(optimizer=names).duplicated([*KEYS], keep=False)
    if again.any():
        first, second = runs.index[again & (names == names[again].iloc[0])][:2]
        raise BadResults(
            f"runs {runs['run_id'][first]!r} and {runs['run_id'][second]!r} are both "
            f"{runs['optimizer'][first]} on {runs['task'][first]}, seed {runs['seed'][first]}: "
            "leave one of them out"
        )
    return names


def _differences(runs: pd.DataFrame) -> list[str]:
    """For each run of one optimizer, the settings in which its runs of a task and seed differ."""
    settings = [_flat(json.loads(c)) if isinstance(c, str) and c else {} for c in runs["config"]]
    varying: dict[str, None] = {}
    for group in runs.reset_index().groupby(["task", "seed"], observed=True).indices.values():
        for key in {k: None for i in group for k in settings[i]}:
            if len({settings[i].get(key) for i in group}) > 1:
                varying[key] = None
    shown = sorted(varying)
    return [
        " [" + ", ".join(f"{k.rpartition('.')[2]}={s.get(k, 'default')}" for k in shown) + "]"
        if shown
        else ""
        for s in settings
    ]


def _flat(data: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and JSON text."""
    if not isinstance(data, dict):
        return {prefix: data if isinstance(data, str) else json.dumps(data)}
    flat: dict[str, str] = {}
    for key, value in data.items():
        flat.update(_flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Plain python strings, whatever the column is made of; nothing becomes ``""``."""
    plain = column.astype(object)
    return plain.where(plain.notna(), "").map(str).astype(object)


def positions(trials: pd.DataFrame, runs: pd.DataFrame) -> Ints:
    """The row of ``runs`` (n,) that each trial belongs to; -1 where it is not listed there."""
    column = trials["run_id"]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, names = pd.factorize(column)
    rows = pd.Index(runs["run_id"]).get_indexer(pd.Index(list(map(str, names)), dtype=object))
    return np.append(rows, -1)[codes].astype(np.int64)  # code -1 (no run_id) takes the last


def numbers(column: pd.Series[Any]) -> Floats:
    """A column as floats; what is no number becomes nan."""
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def points_of(frame: pd.DataFrame) -> int:
    """How many rows each run has; 1 where ``frame`` has no budgets (column point).

    Raises:
        BadValue: the rows are not run by run, each with the same budgets in the same order.
    """
    if "point" not in frame or len(frame) == 0:
        return 1
    point = frame["point"].to_numpy()
    n = len(np.unique(point))
    whole = len(point) % n == 0
    runs = pd.factorize(frame["run_id"])[0].reshape(-1, n) if whole else np.empty((0, n))
    if not whole or (point.reshape(-1, n) != point[:n]).any() or (runs != runs[:, :1]).any():
        raise BadValue(
            "the rows are not those of best_so_far: sort them by run_id and point, "
            "and keep the same points of every run"
        )
    return n


def trials_of(results: Results) -> pd.DataFrame:
    """The trials; raises :class:`BadResults` where a column that the analysis reads is missing."""
    needed = ("run_id", "trial", "status", "value", "budget_used", "end")
    return _have(results.trials, needed, "trials")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise :class:`BadValue` unless ``value`` is one of ``known``."""
    names = list(known)
    if value not in names:
        hint = did_you_mean(str(value), names, f"there are {', '.join(names)}")
        raise BadValue(f"{name} cannot be {value!r}{hint}")


def _have(frame: pd.DataFrame, columns: Iterable[str], table: str) -> pd.DataFrame:
    for name in columns:
        if name not in frame.columns:
            hint = did_you_mean(name, map(str, frame.columns))
            raise BadResults(f"the {table} table has no column {name!r}{hint}")
    return frame
