"""Studies as files: which optimizers on which tasks, how often, with which budget.

::

    optimizers: [random, "optuna-*"]
    tasks:
      - bbob-d02-f01-i01             # a name
      - "bbob-d05-*-i01"             # a glob
      - "@bb-dev"                    # part dev of configs/subset/bb.yaml
      - "@./mine.yaml:dev"           # the same of a file of one's own
      - where: "dimension <= 5"      # a filter on the columns of `carps-like tasks --json`
        collection: yahpo            # with pattern, type, collection, min_dim, max_dim
    where: "not noisy"               # a filter on all of them
    seeds: range(0, 20)              # or a number of seeds, or a list
    budget: {trials: 100}
    limits: {trial_seconds: 60}
    executor: {name: slurm, partition: main, array: 100}
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from carps_like.errors import BadRequest, BadValue, UnknownName

SECTIONS = ("budget", "simulate", "limits", "executor")
FIELDS = ("name", "optimizers", "tasks", "where", "seeds", "on_failure", "workers", *SECTIONS)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$")
_GLOB = re.compile(r"glob\((?P<pattern>[^()]+)\)")
FILTERS = ("pattern", "type", "collection", "max_dim", "min_dim", "where")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 4:00:00 is a time as written, and not the number 14400."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _INT if tag.endswith(":int") else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_study(path: Path) -> Mapping[str, Any]:
    """A study from a file of the user's own; its name is the file's unless it says another.

    Raises:
        BadRequest, BadValue, UnknownName: not there, not YAML, a field that does not exist.
    """
    try:
        data = yaml.load(path.expanduser().read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        beside = [p.name for p in path.expanduser().parent.glob("*.y*ml")]
        raise UnknownName("study file", path.name, beside, f"{path} is not there") from None
    except OSError as error:
        raise BadRequest(f"cannot read the study {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadRequest(f"{path} is not a text file") from None
    except yaml.YAMLError as error:
        raise BadRequest(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return check_study(data, path.stem, str(path))


def check_study(data: Any, name: str, where: str = "") -> Mapping[str, Any]:
    """``data`` as a study called ``name``; its fields are checked, not the names in it."""
    where = where or f"study {name!r}"
    if not isinstance(data, Mapping):
        raise BadRequest(f"{where} must hold a mapping with optimizers, tasks, seeds and budget")
    for key, value in data.items():
        if key not in FIELDS:
            raise UnknownName(f"field of {where}", str(key), FIELDS)
        if key in ("optimizers", "tasks") and not (isinstance(value, list) and value):
            raise BadValue(f"{where}: {key} must be a list, not {value!r}")
        named = key == "executor" and isinstance(value, str)
        if key in SECTIONS and value is not None and not isinstance(value, Mapping) and not named:
            raise BadValue(f"{where}: {key} must be a mapping, not {value!r}")
    return {"name": name, **data}


def study_names(
    study: Mapping[str, Any], group: str, options: Callable[[], Sequence[str]]
) -> list[str]:
    """The optimizers or tasks that a study lists, every glob, subset and filter resolved.

    Args:
        group: ``optimizer`` or ``task``.
        options: every name of the group, for globs.

    Raises:
        BadRequest: an entry that matches nothing.
    """
    title, entries = study.get("name"), study.get(f"{group}s")
    if not entries:
        raise BadValue(f"study {title!r} has no list of {group}s")
    names: dict[str, None] = {}
    for entry in entries:
        found = list(_entry(str(title), group, entry, options))
        if not found:
            raise BadRequest(f"{_text(entry)} in the {group}s of study {title!r} matches nothing")
        names.update(dict.fromkeys(found))
    where = study.get("where")
    if group != "task" or where is None:
        return list(names)
    kept = _passing(str(where), names)
    if not kept:
        raise BadRequest(f"no task of study {title!r} passes its filter {where!r}")
    return kept


def _text(entry: Any) -> str:
    return repr(dict(entry)) if isinstance(entry, Mapping) else repr(str(entry))


def _entry(
    title: str, group: str, entry: Any, options: Callable[[], Sequence[str]]
) -> Iterator[str]:
    if isinstance(entry, Mapping) and group == "task":
        yield from _filtered(title, entry)
        return
    if not isinstance(entry, str):
        raise BadValue(f"study {title!r}: {entry!r} in its {group}s is not a name")
    glob = _GLOB.fullmatch(entry)  # as on the command line
    if entry.startswith("@") and group == "task":
        yield from subset_names(entry[1:])
    elif glob or any(c in entry for c in "*?["):
        yield from fnmatch.filter(options(), glob["pattern"] if glob else entry)
    else:
        yield entry


def _filtered(title: str, entry: Mapping[str, Any]) -> Iterator[str]:
    from carps_like.commands.listing import select
    from carps_like.description import TYPES

    for key in entry:
        if key not in FILTERS:
            raise UnknownName(f"filter in the tasks of study {title!r}", str(key), FILTERS)
    if "type" in entry and entry["type"] not in TYPES:
        raise UnknownName("task type", str(entry["type"]), TYPES, f"there are {', '.join(TYPES)}")
    given = {("type_" if k == "type" else str(k)): v for k, v in entry.items()}
    yield from (description.name for _, description in select(**given))


def _passing(where: str, names: Iterable[str]) -> list[str]:
    from carps_like.filters import task_filter
    from carps_like.registry import describe_task

    passes = task_filter(where)
    return [name for name in names if passes(describe_task(name))]


def subset_names(name: str) -> Sequence[str]:
    """The tasks of a stored subset: ``@name`` in a study or on the command line.

    Raises:
        UnknownName: there is no such subset or part; the message has the nearest one.
        MissingData, BadValue: the file is not there, or holds no subsets.
    """
    from carps_like.analysis.subset import load_subset

    return load_subset(name)


def study_seeds(seeds: Any) -> list[int]:
    """Seeds from a number of them, a list, or ``range(first, last + 1)``."""
    if isinstance(seeds, list):
        found = [_seed(s) for s in seeds]
    elif match := re.fullmatch(r"range\((?:(\d+),\s*)?(\d+)\)", str(seeds).strip()):
        found = list(range(int(match.group(1) or 0), int(match.group(2))))
    else:
        found = list(range(_seed(seeds)))
    if not found:
        raise BadValue(f"seeds {seeds!r} are none")
    return list(dict.fromkeys(found))


def _seed(value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise BadValue(f"seed must be a whole number, not {value!r}") from None
    if not 0 <= number < 2**31:
        raise BadValue(f"seed must be from 0 to 2147483647, not {value!r}")
    return number
