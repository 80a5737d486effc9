"""Reading results back: two frames, from logs, from parquet, or from both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from carps_like import schema
from carps_like.errors import BadResults
from carps_like.log import TRIAL
from carps_like.store import Execution, Index, check_results, check_version, trial_lines

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MOST_ROWS = 10  # per byte of a table that is believed; ours have a hundredth of a row per byte
PARTITION_ABOVE = 10_000_000  # trials: more rows than this are written as one file per optimizer


@dataclass(frozen=True)
class Results:
    """Two tables as pandas frames: ``runs``, one row per run; ``trials``, one row per trial.

    The columns are those of docs/schema.md. Categories are pandas categoricals; configurations
    (JSON) and lists stay in Arrow memory and become Python objects when they are looked at.
    """

    tables: dict[str, pa.Table] = field(repr=False)
    folders: tuple[Path, ...] = ()

    @cached_property
    def runs(self) -> pd.DataFrame:
        return _frame(self.tables["runs"])

    @cached_property
    def trials(self) -> pd.DataFrame:
        return _frame(self.tables["trials"])

    def only(self, run_id: str) -> Results:
        """The results of one run."""
        return Results(_keep(self.tables, {run_id}), self.folders)

    def __getitem__(self, column: Any) -> Any:
        """Columns of ``trials``: results can be used as the trajectory's frame."""
        return self.trials[column]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("tables", "folders", "runs", "trials"):
            raise AttributeError(name)
        return getattr(self.trials, name)

    def __len__(self) -> int:
        return int(self.tables["trials"].num_rows)

    def __repr__(self) -> str:
        n = {name: table.num_rows for name, table in self.tables.items()}
        return f"Results({n['runs']} runs, {n['trials']} trials)"


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    def mapper(type_: pa.DataType) -> Any:
        if pa.types.is_string(type_) or pa.types.is_list(type_):
            return pd.ArrowDtype(type_)
        return None

    frame: pd.DataFrame = table.to_pandas(types_mapper=mapper, split_blocks=True)
    return frame


def load(*paths: str | Path) -> Results:
    """Read results folders, also unfinished ones, compacted or not.

    Where several hold the same run, the same rule decides as within one (see ``store``).

    Raises:
        BadResults: no such folder, not a results folder, a corrupt file, a newer schema.
    """
    import pyarrow as pa

    folders = [Path(p) for p in paths]
    if not folders:
        raise BadResults("no results folder was given")
    check_results(folders)
    parts = [_load(folder) for folder in folders]
    if len(parts) == 1:
        return Results(parts[0], tuple(folders))
    winners = _winners([p["runs"] for p in parts])
    kept = [_keep(p, winners.get(i, set())) for i, p in enumerate(parts)]
    tables = {
        name: pa.concat_tables([p[name] for p in kept]).unify_dictionaries()
        for name in schema.TABLES
    }
    return Results(_sorted(tables), tuple(folders))


def _winners(runs: Sequence[pa.Table]) -> dict[int, set[str]]:
    """Which part's execution of each run counts: part number -> run ids."""
    best: dict[str, tuple[tuple[Any, ...], int]] = {}
    for i, table in enumerate(runs):
        columns = (
            table[c].to_pylist()
            for c in ("run_id", "status", "ended", "n_trials", "attempt", "round")
        )
        for run_id, status, ended, n_trials, attempt, round_ in zip(*columns, strict=True):
            text = "" if ended is None else ended.isoformat(timespec="microseconds")
            execution = Execution(run_id, Path(attempt or ""), {"round": round_}, 0)
            execution.n_trials = n_trials or 0
            execution.status, execution.ended = ("" if ended is None else status), text
            if run_id not in best or execution.key < best[run_id][0]:
                best[run_id] = (execution.key, i)
    winners: dict[int, set[str]] = {}
    for run_id, (_, i) in best.items():
        winners.setdefault(i, set()).add(run_id)
    return winners


def _keep(tables: dict[str, pa.Table], run_ids: set[str]) -> dict[str, pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(run_ids), pa.string())
    return {
        name: table.filter(pc.is_in(table["run_id"].cast(pa.string()), value_set=wanted))
        for name, table in tables.items()
    }


def _sorted(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Rows by task, optimizer, seed, trial: the order of the parquet files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = {"runs": ["task", "optimizer", "seed", "run_id"]}
    keys["trials"] = [*keys["runs"], "trial"]
    out = {}
    for name, table in tables.items():
        columns = {
            k: table[k].cast(pa.string()) if pa.types.is_dictionary(table[k].type) else table[k]
            for k in keys[name]
        }
        order = pc.sort_indices(pa.table(columns), [(k, "ascending") for k in keys[name]])
        out[name] = table.take(order)
    return out


def _load(folder: Path) -> dict[str, pa.Table]:
    """Tables of one folder: its parquet where that is up to date, else from the logs too."""
    import pyarrow as pa

    index = Index(folder).refresh()
    sizes = {log.path.name: log.offset for log in index.files.values()}
    stored = read_parquet(folder)
    if stored is None:
        return tables_of(list(index.winners()), index)
    tables, absorbed = stored
    changed = {name for name, size in sizes.items() if absorbed.get(name) != size}
    if not changed:
        return tables
    touched = {e.run_id for es in index.executions.values() for e in es if e.path.name in changed}
    fresh = [e for e in (index.best(run_id) for run_id in sorted(touched)) if e is not None]
    parts = [tables, tables_of(fresh, index)]
    winners = _winners([p["runs"] for p in parts])
    kept = [_keep(p, winners.get(i, set())) for i, p in enumerate(parts)]
    joined = {
        name: pa.concat_tables([p[name] for p in kept]).unify_dictionaries()
        for name in schema.TABLES
    }
    return _sorted(joined)


# --- logs to tables ---


def tables_of(executions: Iterable[Execution], index: Index) -> dict[str, pa.Table]:
    """The two tables of the given executions, read from their logs."""
    runs: dict[str, list[Any]] = {c.name: [] for c in schema.RUNS}
    trials: dict[str, list[Any]] = {c.name: [] for c in schema.TRIALS}
    for execution in executions:
        _add_run(runs, execution, index)
        _add_trials(trials, execution)
    return _sorted({"runs": _table("runs", runs), "trials": _table("trials", trials)})


def _table(name: str, columns: dict[str, list[Any]]) -> pa.Table:
    import pyarrow as pa

    wanted = schema.arrow_schema(name)
    arrays = []
    for f in wanted:
        values = columns[f.name]
        if pa.types.is_dictionary(f.type):
            arrays.append(pa.array(values, pa.string()).dictionary_encode())
        elif pa.types.is_timestamp(f.type):
            arrays.append(pa.array([_time(v) for v in values], f.type))
        else:
            arrays.append(pa.array(values, f.type))
    return pa.Table.from_arrays(arrays, schema=wanted)


def _time(text: str | None) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text) if text else None


def _add_run(columns: dict[str, list[Any]], e: Execution, index: Index) -> None:
    header = e.header
    spec = header.get("spec") or {}
    optimizer, task = spec.get("optimizer") or {}, spec.get("task") or {}
    attempt = index.files[e.path].attempt
    row = {
        "run_id": e.run_id,
        "optimizer": optimizer.get("name"),
        "task": task.get("name"),
        "seed": spec.get("seed"),
        "status": e.status or "killed",
        "error": e.error or ("" if e.finished else NOT_FINISHED),
        "n_trials": e.n_trials,
        "ended": e.ended,
        "config": orjson.dumps(spec).decode(),
        "round": e.round,
        "attempt": e.path.stem,
        "git_commit": attempt.get("git"),
        "versions": orjson.dumps(header.get("versions") or {}).decode(),
    }
    for name in ("host", "cpu", "threads", "python", "carps_like"):
        row[name] = attempt.get(name)
    for name, values in columns.items():
        values.append(row[name] if name in row else header.get(name))


NOT_FINISHED = "not finished: the same command continues it"


def _add_trials(columns: dict[str, list[Any]], e: Execution) -> None:
    lines = trial_lines(e)
    if not lines:
        return
    try:
        rows = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        raise BadResults(f"{e.path}: a trial of run {e.run_id} is not JSON: damaged") from None
    n = len(rows)
    spec = e.header.get("spec") or {}
    names = e.header.get("names") or []
    fixed = {
        "run_id": e.run_id,
        "optimizer": (spec.get("optimizer") or {}).get("name"),
        "task": (spec.get("task") or {}).get("name"),
        "seed": spec.get("seed"),
    }
    for name, value in fixed.items():
        columns[name].extend([value] * n)
    failed = [math.nan] * len(e.header.get("objectives") or [0])
    by = dict(zip(TRIAL, zip(*rows, strict=True), strict=True))
    objectives = [failed if o is None else o for o in by["objectives"]]
    columns["trial"].extend(by["number"])
    columns["value"].extend([o[0] for o in objectives])
    columns["objectives"].extend(objectives)
    columns["config"].extend([_config(names, values) for values in by["config"]])
    for name in ("status", "fidelity", "cost", "budget_used", "ask_seconds", "evaluate_seconds"):
        columns[name].extend(by[name])
    for name in ("start", "end", "worker"):
        columns[name].extend(by[name])
    more = [m or {} for m in by["more"]]
    columns["over_budget"].extend([bool(m.get("over_budget")) for m in more])
    columns["continues"].extend([m.get("continues") for m in more])
    columns["error"].extend([m.get("error") for m in more])
    infos = [{**m.get("info", {}), **m.get("extra", {})} for m in more]
    columns["info"].extend([orjson.dumps(info).decode() if info else None for info in infos])
    columns["constraints"].extend(
        [[float(c) for c in m["constraints"]] if "constraints" in m else None for m in more]
    )


def _config(names: Sequence[str], values: Sequence[Any]) -> str:
    given = {n: v for n, v in zip(names, values, strict=True) if v is not None}
    return orjson.dumps(given).decode()


# --- parquet ---


def compact(folder: str | Path) -> Results:
    """Turn a folder's logs into ``runs.parquet`` and ``trials.parquet``; again at any time.

    The logs stay: they are what happened, the tables are made from them. Each table is written
    under another name and then renamed, so that a reader sees the old one or the new one.
    """
    folder = Path(folder)
    check_results([folder])
    index = Index(folder).refresh()
    absorbed = {log.path.name: log.offset for log in index.files.values()}
    stored = read_parquet(folder)
    if stored is not None and stored[1] == absorbed:
        return Results(stored[0], (folder,))
    tables = _load(folder)
    write_tables(folder, tables, absorbed)
    return Results(tables, (folder,))


def write_tables(folder: Path, tables: dict[str, pa.Table], absorbed: Mapping[str, int]) -> None:
    """Write both tables; ``absorbed``: how many bytes of each log of the folder are in them."""
    import pyarrow.parquet as pq

    note = {b"carps_like_absorbed": orjson.dumps(absorbed)}
    for name, table in tables.items():
        marked = table.replace_schema_metadata({**table.schema.metadata, **note})
        if name == "trials" and table.num_rows > PARTITION_ABOVE:
            _write_partitioned(folder, marked)
            (folder / "trials.parquet").unlink(missing_ok=True)
        else:
            temporary = folder / f".{name}.{_unique()}.parquet"
            try:
                pq.write_table(marked, temporary, compression="zstd")
                temporary.replace(folder / f"{name}.parquet")
            finally:
                temporary.unlink(missing_ok=True)


def _unique() -> str:
    import secrets

    return secrets.token_hex(4)


def _write_partitioned(folder: Path, table: pa.Table) -> None:
    """One file per optimizer in ``trials/``, for more rows than one file should hold."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    out = folder / "trials"
    out.mkdir(exist_ok=True)
    for i, optimizer in enumerate(pc.unique(table["optimizer"]).to_pylist()):
        part = table.filter(pc.equal(table["optimizer"], optimizer))
        temporary = out / f".part-{_unique()}"
        pq.write_table(part, temporary, compression="zstd")
        temporary.replace(out / f"part-{i:04}.parquet")


def read_parquet(folder: Path) -> tuple[dict[str, pa.Table], dict[str, int]] | None:
    """The compacted tables and what they absorbed of each log; ``None`` where there are none."""
    import pyarrow as pa

    files = {"runs": [folder / "runs.parquet"], "trials": [folder / "trials.parquet"]}
    if not files["trials"][0].exists():
        files["trials"] = sorted((folder / "trials").glob("part-*.parquet"))
    if not files["runs"][0].exists() or not files["trials"]:
        return None
    tables, notes = {}, []
    for name, paths in files.items():
        read = [_read_table(path, name) for path in paths]
        tables[name] = pa.concat_tables(read).unify_dictionaries()
        notes += [table.schema.metadata.get(b"carps_like_absorbed", b"") for table in read]
    if len(set(notes)) > 1:  # a compaction was cut between two tables: the logs know better
        return None
    return tables, orjson.loads(notes[0]) if notes and notes[0] else {}


def _read_table(path: Path, name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = pq.read_metadata(path)
        found = facts.schema.to_arrow_schema()
        if facts.num_rows > MOST_ROWS * path.stat().st_size:
            raise OSError(f"{facts.num_rows} rows cannot be in so small a file")
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(path, error) from None
    metadata = found.metadata or {}
    text = metadata.get(b"carps_like_schema", b"")
    check_version(int(text) if text.isdigit() else None, path)
    wanted = schema.arrow_schema(name)
    for f in wanted:
        if f.name not in found.names or not found.field(f.name).type.equals(f.type):
            raise BadResults(f"{path}: column {f.name!r} is missing or has another type")
    try:
        # the schema is stated here, so that a lying file is refused and not believed
        return pq.read_table(path, columns=wanted.names, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _corrupt(path, error) from None


def _corrupt(path: Path, error: Exception) -> BadResults:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadResults(
        f"{path} is corrupt ({first}); delete it and run `carps-like compact {path.parent}`: "
        "the logs hold everything"
    )
