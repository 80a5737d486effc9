"""Tasks and optimizers by name: those that ship, those of other packages, the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.errors import (
    BadValue,
    CarpsLikeError,
    MissingData,
    MissingLibrary,
    UnknownName,
    did_you_mean,
)
from carps_like.interface import Optimizer, Task, installed
from carps_like.variants import Variant, shipped_variants


class Collection(ABC):
    """A family of tasks: names are free, descriptions are cheap, tasks are built when used.

    A module of ``carps_like.tasks`` offers its collections as ``collections``, another package
    through the entry point group ``carps_like.tasks`` (an instance, or a class without arguments).
    """

    name: ClassVar[str] = ""  # its tasks are called <name>-...
    requires: ClassVar[tuple[str, ...]] = ()  # modules needed to evaluate
    extra: ClassVar[str] = ""  # the extra that installs them

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Every task's name; imports no benchmark library."""

    @abstractmethod
    def describe(self, name: str) -> TaskDescription:
        """Pure data. Raises :class:`UnknownName` with the nearest name."""

    @abstractmethod
    def build(self, description: TaskDescription) -> Task:
        """The task itself; only now the library or the data is loaded."""

    def missing_data(self, description: TaskDescription) -> str:
        """One line that says what data file is missing and how to get it; empty if none is."""
        return ""

    def unknown(self, name: str) -> UnknownName:
        return UnknownName("task", name, self.names(), "see `carps-like tasks`")


@cache
def collections() -> Mapping[str, Collection]:
    """Every collection by name: the modules of ``carps_like.tasks``, then entry points."""
    package = importlib.import_module("carps_like.tasks")
    found: dict[str, Collection] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_") and not module.ispkg:
            imported = importlib.import_module(f"carps_like.tasks.{module.name}")
            found.update((c.name, c) for c in getattr(imported, "collections", ()))
    for entry in entry_points(group="carps_like.tasks"):
        loaded = entry.load()
        collection = loaded() if isinstance(loaded, type) else loaded
        found[collection.name] = collection
    return found


def task_names() -> Iterator[str]:
    for collection in collections().values():
        yield from collection.names()


def collection_of(name: str) -> Collection:
    """The collection whose name begins ``name``, the longest where several do.

    Raises:
        UnknownName: with the nearest task's name.
    """
    parts = name.split("-")
    for n in range(len(parts), 0, -1):
        found = collections().get("-".join(parts[:n]))
        if found is not None:
            return found
    near = [c for c in collections() if c[:2] == name[:2]] or list(collections())
    names = [n for c in near for n in _some(collections()[c])]
    raise UnknownName("task", name, names, "see `carps-like tasks`")


def _some(collection: Collection, most: int = 5000) -> Iterator[str]:
    for i, name in enumerate(collection.names()):
        if i >= most:
            return
        yield name


def describe_task(name: str) -> TaskDescription:
    """The description of the task called ``name``; raises :class:`UnknownName`."""
    return collection_of(name).describe(name)


def task(name: str) -> Task:
    """The task called ``name``, ready to evaluate.

    Raises:
        UnknownName: no collection has it.
        MissingLibrary, MissingData: it cannot run here; the message says how it can.
    """
    collection = collection_of(name)
    return build_task(collection.describe(name), collection)


def build_task(description: TaskDescription, collection: Collection) -> Task:
    problem = missing_for_task(description, collection)
    if problem is not None:
        raise problem
    return collection.build(description)


def missing_for_task(
    description: TaskDescription, collection: Collection | None = None
) -> CarpsLikeError | None:
    """What keeps the task from running here and now, as the error that would be raised."""
    return Readiness().error(description, collection)


class Readiness:
    """What keeps tasks from running here and now; a library is looked for once."""

    def __init__(self) -> None:
        self._absent: dict[tuple[str, ...], str] = {}

    def __call__(self, description: TaskDescription, collection: Collection | None = None) -> str:
        """One line that says what is missing and how to get it; empty if nothing is."""
        error = self.error(description, collection)
        return "" if error is None else str(error)

    def error(
        self, description: TaskDescription, collection: Collection | None = None
    ) -> CarpsLikeError | None:
        collection = collection or collection_of(description.name)
        modules = description.requires or collection.requires
        if modules not in self._absent:
            self._absent[modules] = next((m for m in modules if not installed(m)), "")
        absent = self._absent[modules]
        if absent:
            extra = description.extra or collection.extra
            return MissingLibrary(absent, extra, f"task {description.name!r}")
        lacking = collection.missing_data(description)
        return MissingData(lacking) if lacking else None


# --- optimizers ---


@cache
def variants() -> Mapping[str, Variant]:
    """Every optimizer variant by name: shipped YAML files, then entry points."""
    found = dict(shipped_variants())
    for entry in entry_points(group="carps_like.optimizers"):
        if entry.name not in found:
            found[entry.name] = Variant(entry.name, entry.value.replace(":", "."), {})
    return found


def variant(name: str, known: Mapping[str, Variant] | None = None) -> Variant:
    """The variant called ``name``, of those ``known`` or that are installed; raises
    :class:`UnknownName` with the nearest one.
    """
    known = variants() if known is None else known
    try:
        return known[name]
    except KeyError:
        raise UnknownName("optimizer", name, known, "see `carps-like optimizers`") from None


def load_target(target: str, base: type) -> Any:
    """The class (or factory) that a dotted path names.

    Raises:
        BadValue: the module or the attribute is not there, or the module does not import.
    """
    module, _, attribute = target.rpartition(".")
    if not module:
        raise BadValue(f"_target_ {target!r} is not a dotted path to a class")
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise BadValue(f"_target_ {target!r}: there is no module {missing!r}") from None
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        said = (str(error).splitlines() or [""])[0]
        raise BadValue(
            f"_target_ {target!r}: module {module!r} does not import: "
            f"{type(error).__name__}: {said}{place}"
        ) from error
    if not hasattr(loaded, attribute):
        hint = did_you_mean(attribute, vars(loaded))
        raise BadValue(f"_target_ {target!r}: module {module!r} has no {attribute!r}{hint}")
    found = getattr(loaded, attribute)
    if isinstance(found, type) and not issubclass(found, base):
        raise BadValue(f"_target_ {target!r} is not a subclass of carps_like.{base.__name__}")
    return found


def optimizer(name: str, task: TaskDescription, seed: int, **options: Any) -> Optimizer:
    """The optimizer variant called ``name``, built for ``task`` and ``seed``.

    Raises:
        UnknownName: there is no such variant.
        Unsupported: it cannot take the task.
        MissingLibrary: its library is not installed; the message says how to install it.
    """
    chosen = variant(name)
    return chosen.build(task, seed, **options)
