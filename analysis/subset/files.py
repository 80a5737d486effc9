"""Subset files: which tasks, and every fact that the choice came from."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path

import yaml

from carps_like import __version__
from carps_like.errors import BadValue, MissingData, UnknownName

VERSION = 1


@dataclass(frozen=True)
class Part:
    """One named subset, such as dev or test."""

    tasks: tuple[str, ...]
    value: float  # star discrepancy against the target
    lower_bound: float  # no subset of this size is below; 0 if nothing was proved
    optimal: bool
    seed: int
    evaluations: int  # of the search; 0 for other methods


@dataclass(frozen=True)
class SubsetFile:
    """Subsets of one full set, and the facts they came from."""

    parts: Mapping[str, Part]
    target: str  # "empirical" or "uniform"
    scale: str  # how performances became points
    method: str  # how tasks were chosen
    optimizers: tuple[str, ...]  # the spanning set
    budget: float | None  # full-fidelity equivalents; None: all of every run
    n_tasks: int  # size of the full set
    created: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat()
    )
    code_version: str = __version__

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of all parts, in the file's order."""
        return tuple(task for part in self.parts.values() for task in part.tasks)

    def part(self, name: str) -> Part:
        """The part called ``name``; raises UnknownName."""
        if name not in self.parts:
            raise UnknownName("subset", name, self.parts, f"the file has {', '.join(self.parts)}")
        return self.parts[name]


def save(subset: SubsetFile, path: str | Path) -> Path:
    """Write ``subset`` as YAML and return the path."""
    path = Path(path)
    facts = {"carps_like_subset": VERSION, **asdict(subset)}
    facts["optimizers"] = list(subset.optimizers)
    facts["parts"] = {
        name: {**asdict(part), "tasks": list(part.tasks)} for name, part in subset.parts.items()
    }
    facts["parts"] = facts.pop("parts")  # the long lists last
    try:
        path.write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise BadValue(f"cannot write {path}: {error.strerror}") from error
    return path


def load(path: str | Path) -> SubsetFile:
    """Read a file of ``save``; raises MissingData or BadValue naming file and field."""
    path = Path(path)
    if not path.is_file():
        raise MissingData(f"no subset file {path}; make one with `carps-like subset`")
    try:
        facts = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadValue(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(facts, dict) or "carps_like_subset" not in facts:
        raise BadValue(f"{path} is not a subset file: it lacks the field carps_like_subset")
    version = facts.pop("carps_like_subset")
    if version != VERSION:
        raise BadValue(f"{path} has subset version {version!r}; this code reads {VERSION}")
    facts = _fields(facts, SubsetFile, f"{path}")
    parts = facts["parts"]
    if not isinstance(parts, dict) or not parts:
        raise BadValue(f"{path}: parts must map names to subsets")
    facts["parts"] = {str(name): _part(part, f"{path}: {name}") for name, part in parts.items()}
    facts["optimizers"] = _names(facts["optimizers"], f"{path}: optimizers")
    return SubsetFile(**facts)


def load_subset(name: str) -> tuple[str, ...]:
    """Tasks of what ``@name`` stands for.

    ``bb-dev`` is the part dev of the shipped ``configs/subset/bb.yaml``, ``bb`` all of its parts;
    ``./mine.yaml`` is a file of the user's own, ``./mine.yaml:dev`` one part of it.

    Raises:
        UnknownName: no such subset or part, with the nearest one.
        MissingData, BadValue: the file is not there, or is not one.
    """
    path, _, part = name.partition(":")
    if path.endswith((".yaml", ".yml")):
        subset = load(Path(path).expanduser())
        return subset.part(part).tasks if part else subset.tasks
    files = {f.name.removesuffix(".yaml"): f for f in _shipped().glob("*.yaml")}
    if name in files:
        return load(files[name]).tasks
    stem, _, part = name.rpartition("-")
    if stem in files and part in (subset := load(files[stem])).parts:
        return subset.part(part).tasks
    known = [*files, *(f"{stem}-{p}" for stem, f in files.items() for p in load(f).parts)]
    raise UnknownName("subset", f"@{name}", [f"@{k}" for k in known], _listed(known))


def _shipped() -> Path:
    return Path(str(resources.files("carps_like.configs"))) / "subset"


def _listed(known: list[str]) -> str:
    return f"there are {', '.join(f'@{k}' for k in known)}" if known else "none ships"


def _part(facts: object, where: str) -> Part:
    if not isinstance(facts, dict):
        raise BadValue(f"{where} must be a mapping with tasks and facts")
    checked = _fields(facts, Part, where)
    checked["tasks"] = _names(checked["tasks"], f"{where}: tasks")
    return Part(**checked)


def _fields(facts: dict[str, object], kind: type, where: str) -> dict:  # type: ignore[type-arg]
    known = [item.name for item in fields(kind)]
    for name in facts:
        if name not in known:
            raise UnknownName(f"field of {where}", str(name), known)
    for name in known:
        if name not in facts:
            raise BadValue(f"{where} lacks the field {name}")
    return dict(facts)


def _names(names: object, where: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise BadValue(f"{where} must be a list of names")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadValue(f"{where}: {twice[0]!r} stands there more than once")
    return tuple(names)
