"""The two tables of results, declared once; docs/schema.md is made from this declaration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

VERSION = 1
"""Raised when a column changes its meaning or goes; readers refuse newer versions."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str  # an Arrow type, in words: see `arrow_schema`
    meaning: str


RUNS = (
    Column("run_id", "category", "hash of what determines the run; begins with a letter"),
    Column("optimizer", "category", "name of the optimizer variant"),
    Column("task", "category", "name of the task"),
    Column("seed", "int64", "seed of the optimizer and of the task's noise"),
    Column(
        "status",
        "category",
        "ok, failed, timeout, out_of_memory, crashed, killed (not finished) or unsupported",
    ),
    Column("error", "string", "what ended it: first line the message, then the traceback"),
    Column("n_trials", "int64", "number of trials logged"),
    Column("objectives", "list[string]", "names of the objectives, in the task's order"),
    Column("minimize", "list[bool]", "direction of each objective as the task declares it"),
    Column(
        "optimum", "list[double]", "best known value of each objective, minimised; null: unknown"
    ),
    Column("reference_point", "list[double]", "reference point, minimised; null: none declared"),
    Column("task_type", "category", "bb, mf, mo or momf"),
    Column("collection", "category", "collection of the task"),
    Column("dimension", "int64", "number of hyperparameters, constants not counted"),
    Column("max_fidelity", "double", "the full fidelity; null: the task has none"),
    Column("started", "time", "wall clock, UTC"),
    Column("ended", "time", "wall clock, UTC; null: not finished"),
    Column("config", "string", "the resolved configuration of the run, JSON"),
    Column("round", "int64", "0; one more each time that the run was forced or retried"),
    Column("attempt", "category", "id of the worker attempt whose log this is"),
    Column("host", "category", "name of the machine"),
    Column("cpu", "category", "model of its processor"),
    Column("threads", "int64", "threads that libraries were given"),
    Column("python", "category", "version of Python"),
    Column("carps_like", "category", "version of carps_like"),
    Column("versions", "category", "versions of the optimizer's and the task's libraries, JSON"),
    Column("git_commit", "category", "commit of the working folder, with + if it was modified"),
)

TRIALS = (
    Column("run_id", "category", "the run that the trial belongs to"),
    Column("optimizer", "category", "name of the optimizer variant"),
    Column("task", "category", "name of the task"),
    Column("seed", "int64", "seed of the run"),
    Column("trial", "int64", "0, 1, ... in the order of the asks"),
    Column("status", "category", "ok, failed, timeout, out_of_memory or crashed"),
    Column("config", "string", "configuration, JSON; inactive hyperparameters absent"),
    Column("fidelity", "double", "fidelity evaluated at; null: the task has none"),
    Column("value", "double", "first objective, minimised; nan: the trial failed"),
    Column("objectives", "list[double]", "all objectives, minimised, in the order of the run's"),
    Column("cost", "double", "simulated seconds charged for the evaluation"),
    Column("budget_used", "double", "full-fidelity equivalents spent, this trial included"),
    Column("ask_seconds", "double", "CPU-bound wall seconds of the optimizer: this ask"),
    Column("evaluate_seconds", "double", "real wall seconds of the evaluation"),
    Column("start", "double", "virtual clock, seconds"),
    Column("end", "double", "virtual clock, seconds"),
    Column("worker", "int64", "simulated worker that evaluated it"),
    Column("over_budget", "bool", "it crossed the line that ended the run"),
    Column("continues", "int64", "number of the trial whose state it inherits; null: none"),
    Column("constraints", "list[double]", "values of the constraints, satisfied when <= 0"),
    Column("info", "string", "bracket, rung, ... of the optimizer and extras of the task, JSON"),
    Column("error", "string", "why it failed: first line the message, then the traceback"),
)

TABLES = {"runs": RUNS, "trials": TRIALS}


@cache
def arrow_schema(table: str) -> Any:
    """The ``pyarrow.Schema`` of ``runs`` or ``trials``, with the version in its metadata."""
    import pyarrow as pa

    types = {
        "category": pa.dictionary(pa.int32(), pa.string()),
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "list[string]": pa.list_(pa.string()),
        "list[double]": pa.list_(pa.float64()),
        "list[bool]": pa.list_(pa.bool_()),
    }
    columns = TABLES[table]
    return pa.schema(
        [pa.field(c.name, types[c.type], metadata={"meaning": c.meaning}) for c in columns],
        metadata={"carps_like_table": table, "carps_like_schema": str(VERSION)},
    )


def markdown() -> str:
    """The page that documents both tables."""
    parts = [f"# Tables of results (schema version {VERSION})\n"]
    for name, columns in TABLES.items():
        parts += [f"## `{name}`\n", "| column | type | meaning |", "| --- | --- | --- |"]
        parts += [f"| `{c.name}` | {c.type} | {c.meaning} |" for c in columns]
        parts.append("")
    return "\n".join(parts)
