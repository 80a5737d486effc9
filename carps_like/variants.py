"""Optimizer variants: a named adapter class with options, one small YAML file each."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from carps_like.description import TaskDescription
from carps_like.errors import (
    BadValue,
    CarpsLikeError,
    MissingData,
    MissingLibrary,
    Unsupported,
    did_you_mean,
)
from carps_like.interface import Capabilities, Optimizer, require

if TYPE_CHECKING:
    from carps_like.isolation.environment import Environment

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESERVED = frozenset({"name", "_target_", "defaults", "environment"})


@dataclass(frozen=True)
class Variant:
    """A named configuration of an optimizer; ``options`` that are ``None`` keep its default."""

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment | None = None  # its own interpreter; None: this one

    @classmethod
    def of(cls, data: Mapping[str, Any], name: str = "") -> Variant:
        """A variant from its configuration: ``name``, ``_target_`` and options side by side."""
        target = data.get("_target_")
        if not isinstance(target, str) or not target:
            raise BadValue(f"optimizer {data.get('name', name)!r} has no _target_")
        options = {str(k): v for k, v in data.items() if k not in RESERVED}
        name = str(data.get("name") or name or target.rpartition(".")[2])
        if data.get("environment") is None:
            return cls(name, target, options)
        from carps_like.isolation.environment import Environment

        if not isinstance(data["environment"], Mapping):
            raise BadValue(f"environment of {name!r} must be {{requirements: [...]}}")
        return cls(name, target, options, Environment.of(data["environment"], name))

    @property
    def data(self) -> dict[str, Any]:
        """The configuration that :meth:`of` reads."""
        found = {"name": self.name, "_target_": self.target, **self.options}
        if self.environment is not None:
            found["environment"] = self.environment.data
        return found

    @cached_property
    def adapter(self) -> type[Optimizer]:
        """The adapter class; its library is not imported yet."""
        from carps_like.registry import load_target

        found = load_target(self.target, Optimizer)
        if not isinstance(found, type):
            raise BadValue(f"_target_ {self.target!r} of optimizer {self.name!r} is not a class")
        return found

    @property
    def capabilities(self) -> Capabilities:
        return self.adapter.capabilities

    def missing(self, **more: Any) -> CarpsLikeError | None:
        """What keeps it from running here, with ``more`` options, as the error that would be
        raised.

        An environment of its own is made when it is first used, and keeps nothing.
        """
        for option, what in self.adapter.files.items():
            given = {**self.options, **more}.get(option)
            asked = f"optimizer {self.name!r} needs a file: optimizer.{option}=PATH, {what}"
            if given is None:
                return MissingData(asked)
            if not Path(str(given)).expanduser().exists():
                return MissingData(f"{asked}; {str(given)!r} is not there")
        if self.environment is not None:
            return None
        try:
            require(self.adapter.requires, self.adapter.extra, f"optimizer {self.name!r}")
        except MissingLibrary as error:
            return error
        return None

    def to_build(self) -> str:
        """The command that makes its environment ahead of use; empty when there is no need."""
        if self.environment is None or self.environment.ready:
            return ""
        return f"carps-like env build {self.environment.name}"

    def problem(self, task: TaskDescription) -> str:
        """Why it cannot take ``task``; empty when it can."""
        problem = self.capabilities.problem(task)
        if not problem and self.capabilities.needs_trials and task.budget.trials is None:
            problem = "plans ahead: it needs budget.trials"
        return problem

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise :class:`BadValue` for an option that the adapter does not have."""
        parameters = _parameters(self.adapter)
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        known = [n for n in parameters if n not in ("self", "task", "seed")]
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known, f"it has {', '.join(known) or 'none'}")
                raise BadValue(f"optimizer {self.name!r} has no option {name!r}{hint}")

    def build(self, task: TaskDescription, seed: int, **more: Any) -> Optimizer:
        """The optimizer for ``task``; raises :class:`Unsupported`, :class:`MissingLibrary`
        or :class:`MissingData`.
        """
        missing = self.missing(**more)
        if missing is not None:
            raise missing
        problem = self.problem(task)
        if problem:
            raise Unsupported(f"optimizer {self.name!r} cannot run task {task.name!r}: {problem}")
        options = {**self.options, **more}
        self.check_options(options)
        return self._new(task, seed, {k: v for k, v in options.items() if v is not None})

    def _new(self, task: TaskDescription, seed: int, given: dict[str, Any]) -> Optimizer:
        paths = given.keys() & self.adapter.files  # another interpreter stands in another folder
        given |= {n: str(Path(str(given[n])).expanduser().absolute()) for n in paths}
        if self.environment is None:
            return self.adapter(task, seed, **given)
        from carps_like.isolation.client import remote_class

        remote = remote_class(self.adapter)
        return remote(task, seed, self.target, self.environment, given)

    def try_options(self, task: TaskDescription, names: Iterable[str] = ()) -> None:
        """Build it once where it has options of which only its library knows: those that neither
        its class nor the shipped file of its name lists. ``names`` are tried too, null or not.

        Where its environment is not built yet, the library speaks at the beginning of the run.

        Raises:
            BadValue: the library has no such option. Other errors are left to the run.
        """
        from carps_like.isolation.client import server_for_now
        from carps_like.seeds import GlobalSeeds

        shipped = shipped_variant(self.name)
        listed = set(shipped.options) if shipped and shipped.target == self.target else set()
        parameters = _parameters(self.adapter)
        tried = (self.options.keys() - listed - parameters.keys()) | set(names)
        if not tried or self.to_build():
            return
        given = {k: v for k, v in self.options.items() if v is not None or k in tried}
        with warnings.catch_warnings(), server_for_now(self.environment), GlobalSeeds(0)():
            warnings.simplefilter("ignore")
            try:
                self._new(task, 0, given).close()
            except BadValue:
                raise
            except Exception:
                pass


@cache
def _parameters(adapter: type[Optimizer]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(adapter.__init__).parameters


@cache
def shipped_variants() -> Mapping[str, Variant]:
    """The variants of ``configs/optimizer``, by name."""
    return {name: variant for name in _shipped_files() if (variant := shipped_variant(name))}


@cache
def shipped_variant(name: str) -> Variant | None:
    """One of them, if there is one of that name; the others' files are not read."""
    file = _shipped_files().get(name)
    if file is None:
        return None
    return Variant.of(yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER), name)


@cache
def _shipped_files() -> Mapping[str, Traversable]:
    folder = files("carps_like.configs") / "optimizer"
    found = {f.name.removesuffix(".yaml"): f for f in folder.iterdir() if f.name.endswith(".yaml")}
    return dict(sorted(found.items()))
