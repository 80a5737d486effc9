"""The mistakes a user can make, one class each; every message is one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

_NUMBER = re.compile(r"[0-9]{1,15}")


class CarpsLikeError(Exception):
    """Base of every error that the command line prints as one line, with exit code 2."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most like ``name``, at most three.

    Where names differ in numbers alone: those with the fewest other numbers, the nearest first.
    """
    known = list(known)
    words, numbers = _NUMBER.split(name), [int(n) for n in _NUMBER.findall(name)]
    alike = []
    for other in known if numbers else ():
        if _NUMBER.split(other) == words:
            gaps = [abs(int(n) - m) for n, m in zip(_NUMBER.findall(other), numbers, strict=True)]
            alike.append((sum(map(bool, gaps)), sum(gaps), other))
    if alike:
        few = min(alike)[0]
        return [other for n, _, other in sorted(alike)[:3] if n == few]
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``; did you mean 'x'?`` with the nearest known names, or ``otherwise`` when none is near."""
    if found := near(name, known):
        return f"; did you mean {' or '.join(map(repr, found))}?"
    return f"; {otherwise}" if otherwise else ""


def printable(text: str) -> str:
    """``text`` without what would command a terminal: names and errors may be a stranger's."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


class UnknownName(CarpsLikeError):
    """A task, optimizer, column or option that does not exist.

    The near names are looked for when the message is read: among tens of thousands of tasks that
    takes a second, and who asks only whether a name exists needs no message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], otherwise: str = "") -> None:
        self.kind, self.name = kind, name
        self._known, self._otherwise = known, otherwise
        super().__init__(kind, name)

    def __str__(self) -> str:
        hint = did_you_mean(self.name, self._near, self._otherwise)
        return f"unknown {self.kind} {self.name!r}{hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.name, self._near, self._otherwise)

    @cached_property
    def _near(self) -> list[str]:
        return near(self.name, self._known)


class BadValue(CarpsLikeError, ValueError):
    """A value of the wrong type or outside its range; names the field and the value."""


class BadRequest(CarpsLikeError):
    """An override, a configuration or a study that cannot be composed."""


class MissingLibrary(CarpsLikeError, ImportError):
    """An optional library is not installed; names the command that installs it."""

    def __init__(self, library: str, extra: str, what: str) -> None:
        self.library, self.extra, self._what = library, extra, what
        package = f"'carps-like[{extra}]'" if extra else library
        super().__init__(f"{what} needs {library}: pip install {package}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.library, self.extra, self._what)


class MissingData(CarpsLikeError, FileNotFoundError):
    """A data file of a task is not there; names the file and where to get it."""


class Unsupported(CarpsLikeError):
    """An optimizer cannot handle a task; the plan marks the pair and runs the rest."""


class BadResults(CarpsLikeError):
    """A results folder cannot be read: corrupt file, newer schema, not a results folder."""
