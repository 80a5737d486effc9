"""``carps-like tasks``, ``task`` and ``optimizers``: what there is, and whether it runs here."""

from __future__ import annotations

import argparse
import ast
import fnmatch
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any

import orjson

from carps_like.cli import OK
from carps_like.errors import BadValue, UnknownName
from carps_like.registry import (
    collection_of,
    collections,
    missing_for_task,
    variants,
)

TYPES = ("bb", "mf", "mo", "momf")


def parser(verb: str, about: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"carps-like {verb}", description=about)
    made.add_argument("--json", action="store_true", help="one JSON list")
    return made


def tasks(argv: Sequence[str]) -> int:
    """``carps-like tasks``."""
    args = parser("tasks", "List tasks; every one is ready to run unless its line says otherwise.")
    args.add_argument(
        "pattern",
        nargs="?",
        help="a name, a glob such as 'bbob-d02-*', or a subset such as @bb-dev",
    )
    args.add_argument("--type", choices=TYPES)
    args.add_argument("--collection")
    args.add_argument("--max-dim", type=int)
    args.add_argument("--min-dim", type=int)
    args.add_argument("--where", help="\"n_continuous <= 5 and kind == 'surrogate'\"")
    args.add_argument("--data", help="folder with more benchmark data")
    args.add_argument("--names", action="store_true", help="names only, one a line")
    given = args.parse_intermixed_args(argv)
    if given.data:
        from carps_like.session import use_data

        use_data(given.data)
    rows = select(
        pattern=given.pattern,
        type_=given.type,
        collection=given.collection,
        max_dim=given.max_dim,
        min_dim=given.min_dim,
        where=given.where,
    )
    if given.names:
        sys.stdout.write("".join(f"{row['name']}\n" for row in rows))
        return OK
    if given.json:
        return _json(rows)
    columns = ("name", "type", "dim", "objectives", "fidelity", "ready")
    _table([_task_line(row) for row in rows], columns)
    _count(len(rows), "task", f"{len({r['collection'] for r in rows})} collections")
    return OK


def _task_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = (("c", "continuous"), ("i", "integer"), ("k", "categorical"), ("o", "ordinal"))
    dims = "+".join(f"{n}{letter}" for letter, kind in kinds if (n := row[f"n_{kind}"]))
    if row["n_conditions"]:
        dims += f" ({row['n_conditions']} cond.)"
    objectives = row["objectives"] + (
        f" | {row['n_constraints']} constr." * bool(row["n_constraints"])
    )
    ready = "yes" if row["ready"] else row["missing"]
    return row["name"], row["type"], dims, objectives, row["fidelity"], ready


def _named(pattern: str | None) -> Callable[[str], bool]:
    """Whether a task is among those that ``pattern`` names."""
    if pattern is None:
        return lambda name: True
    if pattern.startswith("@"):
        from carps_like.study import subset_names

        return frozenset(subset_names(pattern[1:])).__contains__
    return lambda name: fnmatch.fnmatchcase(name, pattern)


def select(
    *,
    pattern: str | None = None,
    type_: str | None = None,
    collection: str | None = None,
    max_dim: int | None = None,
    min_dim: int | None = None,
    where: str | None = None,
) -> list[dict[str, Any]]:
    """Rows of the tasks that pass every given filter, in the order of the listing.

    ``pattern``: a name, a glob, or a subset (``@bb-dev``, ``@./mine.yaml``).

    Raises:
        UnknownName: an unknown collection or subset, or a column of ``where`` that does not exist.
        BadValue: ``where`` is not an expression.
    """
    known = collections()
    if collection is not None and collection not in known:
        raise UnknownName("collection", collection, known, f"there are {', '.join(known)}")
    chosen = [known[collection]] if collection is not None else list(known.values())
    test = condition(where) if where else None
    named = _named(pattern)
    rows = []
    for family in chosen:
        for name in family.names():
            if not named(name):
                continue
            description = family.describe(name)
            row = description.row()
            if type_ is not None and row["type"] != type_:
                continue
            if max_dim is not None and row["dimension"] > max_dim:
                continue
            if min_dim is not None and row["dimension"] < min_dim:
                continue
            if test is not None and not evaluate(test, row):
                continue
            missing = _missing(family, description)
            row["ready"], row["missing"] = not missing, missing
            rows.append(row)
    return rows


def _missing(family: Any, description: Any) -> str:
    key = (family.name, description.requires, description.extra)
    lacking = _library(key, description, family)
    return lacking or family.missing_data(description)


_LIBRARIES: dict[Any, str] = {}


def _library(key: Any, description: Any, family: Any) -> str:
    from carps_like.errors import MissingLibrary

    if key not in _LIBRARIES:
        error = missing_for_task(description, family)
        _LIBRARIES[key] = str(error) if isinstance(error, MissingLibrary) else ""
    return _LIBRARIES[key]


_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Name, ast.Load,
    ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
)  # fmt: skip


def condition(text: str) -> CodeType:
    """A filter over columns of the listing, compiled; only comparisons and logic are allowed.

    Raises:
        BadValue: not such an expression.
    """
    try:
        parsed = ast.parse(text, mode="eval")
    except SyntaxError:
        raise BadValue(f'--where {text!r} is not an expression like "dimension <= 5"') from None
    for node in ast.walk(parsed):
        if not isinstance(node, _ALLOWED):
            raise BadValue(f"--where {text!r}: only names, values, comparisons, and, or, not")
    return compile(parsed, "<where>", "eval")


def evaluate(test: CodeType, row: Mapping[str, Any]) -> bool:
    try:
        return bool(eval(test, {"__builtins__": {}}, dict(row)))
    except NameError as error:
        raise UnknownName("column", str(error.name), row, f"there are {', '.join(row)}") from None
    except TypeError as error:
        raise BadValue(f"--where compares what cannot be compared: {error}") from None


def task(argv: Sequence[str]) -> int:
    """``carps-like task NAME``."""
    args = parser("task", "Show one task: what it declares, and its search space.")
    args.add_argument("name")
    given = args.parse_intermixed_args(argv)
    family = collection_of(given.name)
    description = family.describe(given.name)
    missing = _missing(family, description)
    row = description.row() | {"ready": not missing, "missing": missing}
    row["optimum_source"], row["metadata"] = description.optimum_source, dict(description.metadata)
    objectives = [vars(o) for o in description.objectives]
    fidelity = vars(description.fidelity) if description.fidelity else None
    if given.json:
        row |= {"objectives": objectives, "fidelity": fidelity}
        row["space"] = [vars(p) for p in description.checker.params]
        return _json(row)
    for key, value in row.items():
        if value not in ("", None, False, {}, 0) or key in ("ready", "noisy"):
            print(f"{key:>20}  {value}")
    for objective in objectives:
        print(f"{'objective':>20}  " + _pairs(objective))
    if fidelity:
        print(f"{'fidelity':>20}  " + _pairs(fidelity))
    print(f"\n{description.space}")
    return OK


def _pairs(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in data.items() if v not in ("", None))


def optimizers(argv: Sequence[str]) -> int:
    """``carps-like optimizers``."""
    args = parser("optimizers", "List optimizer variants with what they can take.")
    args.add_argument("pattern", nargs="?", help="a name, or a glob such as 'optuna-*'")
    args.add_argument("--type", choices=TYPES, help="only those that make use of such tasks")
    args.add_argument("--ready", action="store_true", help="only those that run here now")
    given = args.parse_intermixed_args(argv)

    rows = [_optimizer(name) for name in variants()]
    if given.pattern:
        rows = [r for r in rows if fnmatch.fnmatchcase(r["name"], given.pattern)]
    if given.type:
        rows = [r for r in rows if given.type in r["types"]]
    if given.ready:
        rows = [r for r in rows if r["ready"]]
    if given.json:
        return _json(rows)
    lines = [(r["name"], ",".join(r["types"]), r["space"], r["notes"], r["line"]) for r in rows]
    _table(lines, ("name", "types", "space", "notes", "ready"))
    _count(len(rows), "optimizer", f"{sum(r['ready'] for r in rows)} ready")
    return OK


def _optimizer(name: str) -> dict[str, Any]:
    variant = variants()[name]
    can = variant.capabilities
    missing = variant.missing()
    line = "yes" if missing is None else str(missing)
    if variant.to_build():
        line = f"on first use, or after: {variant.to_build()}"
    types = []
    if can.single_objective:
        types += ["bb"] if can.fidelity != "needs" else []
        types += ["mf"] if can.fidelity != "no" else []
    if can.multi_objective:
        types += ["mo"] if can.fidelity != "needs" else []
        types += ["momf"] if can.fidelity != "no" else []
    kinds = ("continuous", "integer", "categorical", "ordinal")
    space = "".join(kind[0] for kind in kinds if getattr(can, kind))
    space += {"no": "", "flat": " cond(flat)", "native": " cond"}[can.conditions]
    notes = [word for word, on in _notes(can) if on]
    return {
        "name": name,
        "types": types,
        "space": space,
        "notes": " ".join(notes),
        "capabilities": vars(can),
        "options": dict(variant.options),
        "ready": line == "yes",
        "missing": variant.to_build() if missing is None else str(missing),
        "line": line,
    }


def _notes(can: Any) -> Iterable[tuple[str, bool]]:
    yield "priors", can.priors != "no"
    yield "constraints", can.constraints
    yield "continues", can.continues
    yield "sequential", not can.parallel
    yield "not-deterministic", not can.deterministic


def _json(data: Any) -> int:
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2
    sys.stdout.buffer.write(orjson.dumps(data, option=option, default=str) + b"\n")
    sys.stdout.flush()
    return OK


def _table(lines: Sequence[Sequence[str]], head: Sequence[str]) -> None:
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    layout = "  ".join(f"{{:<{min(w, 60)}}}" for w in widths[:-1]) + "  {}"
    out = [layout.format(*line).rstrip() for line in (head, *lines)]
    sys.stdout.write("\n".join(out) + "\n")


def _count(n: int, what: str, more: str) -> None:
    print(f"{n:,} {what}{'' if n == 1 else 's'}, {more}", file=sys.stderr)
