"""``carps-like tasks``, ``task``, ``optimizers``, ``optimizer``: what there is and runs here."""

from __future__ import annotations

import fnmatch
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from carps_like.cli import OK
from carps_like.commands.arguments import Arguments
from carps_like.commands.own import add_config_dir, known_variants
from carps_like.description import TYPES, TaskDescription
from carps_like.errors import UnknownName
from carps_like.filters import task_filter
from carps_like.interface import installed, version_of
from carps_like.registry import (
    Collection,
    Readiness,
    collection_of,
    collections,
    variant,
)
from carps_like.variants import Variant

_ALWAYS = ("ready", "noisy", "deterministic", "real", "optimum")  # told of every task


def parser(verb: str, about: str) -> Arguments:
    made = Arguments(prog=f"carps-like {verb}", description=about)
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
    found = select(
        pattern=given.pattern,
        type_=given.type,
        collection=given.collection,
        max_dim=given.max_dim,
        min_dim=given.min_dim,
        where=given.where,
    )
    if given.names:
        sys.stdout.write("".join(f"{description.name}\n" for _, description in found))
        return OK
    missing = Readiness()
    if given.json:
        return _json([_row(description, missing(description, c)) for c, description in found])
    columns = ("name", "type", "dim", "objectives", "fidelity", "ready")
    _table([_task_line(description, missing(description, c)) for c, description in found], columns)
    _count(len(found), "task", f"{len({c.name for c, _ in found})} collections")
    return OK


def _row(description: TaskDescription, missing: str) -> dict[str, Any]:
    return description.row() | {"ready": not missing, "missing": missing}


def _task_line(description: TaskDescription, missing: str) -> tuple[str, ...]:
    kinds = (("c", "continuous"), ("i", "integer"), ("k", "categorical"), ("o", "ordinal"))
    dims = "+".join(f"{n}{letter}" for letter, k in kinds if (n := getattr(description, f"n_{k}")))
    if description.n_conditions:
        dims += f" ({description.n_conditions} cond.)"
    objectives = ",".join(o.name for o in description.objectives)
    if description.constraints:
        objectives += f" | {len(description.constraints)} constr."
    fidelity = description.fidelity.name if description.fidelity else ""
    return description.name, description.type, dims, objectives, fidelity, missing or "yes"


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
) -> list[tuple[Collection, TaskDescription]]:
    """The tasks that pass every given filter, in the order of the listing.

    ``pattern``: a name, a glob, or a subset (``@bb-dev``, ``@./mine.yaml``).

    Raises:
        UnknownName: an unknown collection or subset, a ``pattern`` that matches nothing, or a
            column of ``where`` that does not exist.
        BadValue: ``where`` is not an expression.
    """
    known = collections()
    if collection is not None and collection not in known:
        raise UnknownName("collection", collection, known, f"there are {', '.join(known)}")
    chosen = [known[collection]] if collection is not None else list(known.values())
    passes = task_filter(where) if where is not None else None
    named = _named(pattern)
    found, matched = [], pattern is None
    for family in chosen:
        for name in family.names():
            if not named(name):
                continue
            matched = True
            description = family.describe(name)
            if type_ is not None and description.type != type_:
                continue
            if max_dim is not None and description.dimension > max_dim:
                continue
            if min_dim is not None and description.dimension < min_dim:
                continue
            if passes is None or passes(description):
                found.append((family, description))
    if not matched:
        names = (n for family in chosen for n in family.names())
        raise UnknownName("task", str(pattern), names, "no name matches it")
    return found


def task(argv: Sequence[str]) -> int:
    """``carps-like task NAME``."""
    args = parser("task", "Show one task: what it declares, and its search space.")
    args.add_argument("name")
    given = args.parse_intermixed_args(argv)
    family = collection_of(given.name)
    description = family.describe(given.name)
    row = _row(description, Readiness()(description, family))
    row |= {"constraints": list(description.constraints), "metadata": dict(description.metadata)}
    row["budget"] = {k: v for k, v in vars(description.budget).items() if v}
    objectives = [vars(o) for o in description.objectives]
    fidelity = vars(description.fidelity) if description.fidelity else None
    if given.json:
        row |= {"objectives": objectives, "fidelity": fidelity}
        row["space"] = [vars(p) for p in description.checker.params]
        return _json(row)
    for key, value in row.items():
        if value not in ("", None, False, {}, [], 0) or key in _ALWAYS:
            print(f"{key:>20}  {_pairs(value) if isinstance(value, dict) else value}")
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
    add_config_dir(args)
    given = args.parse_intermixed_args(argv)
    known = known_variants(given.config_dir)
    names = [n for n in known if fnmatch.fnmatchcase(n, given.pattern or "*")]
    if not names:
        raise UnknownName("optimizer", given.pattern, known, "no name matches it")
    rows = [_optimizer(name, known[name]) for name in names]
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


def optimizer(argv: Sequence[str]) -> int:
    """``carps-like optimizer NAME``."""
    args = parser("optimizer", "Show one optimizer: what it can take, and its options.")
    args.add_argument("name")
    add_config_dir(args)
    given = args.parse_intermixed_args(argv)
    chosen = variant(given.name, known_variants(given.config_dir))
    row = _optimizer(given.name, chosen)
    about = " ".join(inspect.cleandoc(chosen.adapter.__doc__ or "").split())
    row |= {"about": about, "adapter": chosen.target, "library": _library(chosen)}
    if chosen.environment is not None:
        row["environment"] = chosen.environment.name
    if given.json:
        return _json(row)
    for key in ("name", "about", "types", "library", "environment", "adapter"):
        if row.get(key):
            value = row[key]
            print(f"{key:>20}  {', '.join(value) if isinstance(value, list) else value}")
    print(f"{'ready':>20}  {row['line']}\n")
    for key, value in row["capabilities"].items():
        print(f"{key:>20}  {value}")
    if row["options"]:
        print("\noptions, for example optimizer.NAME=VALUE; null: the library's own default")
    for key, value in row["options"].items():
        print(f"{key:>20}  {'null' if value is None else value}")
    return OK


def _library(variant: Variant) -> list[str]:
    """What it runs on, with versions; of an environment of its own, what that asks for."""
    if variant.environment is not None:
        return list(variant.environment.requirements)
    here = dict.fromkeys(m.partition(".")[0] for m in variant.adapter.requires if installed(m))
    return [f"{module} {version_of(module)}" for module in here]


def _optimizer(name: str, chosen: Variant) -> dict[str, Any]:
    can = chosen.capabilities
    missing = chosen.missing()
    line = "yes" if missing is None else str(missing)
    if missing is None and chosen.to_build():
        line = f"on first use, or after: {chosen.to_build()}"
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
        "options": dict(chosen.options),
        "ready": line == "yes",
        "missing": chosen.to_build() if missing is None else str(missing),
        "line": line,
    }


def _notes(can: Any) -> Iterable[tuple[str, bool]]:
    yield "priors", can.priors != "no"
    yield "constraints", can.constraints
    yield "noise", can.noise
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
