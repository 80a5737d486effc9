"""Heartbeats: how a process on one machine knows that a worker on another one lives.

Whoever starts a worker counts up in a file of that worker's, ``heartbeats/<attempt>``. A reader
looks whether the number changes while its own clock runs, so clocks of different machines, and
clocks that jump, do not matter.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

BEATS = "heartbeats"
INTERVAL = 5.0  # seconds between beats
DEAD = 30.0  # seconds without a beat after which a worker counts as dead


class Beat:
    """The beats of the workers that one process watches over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / BEATS
        self._number, self._next = 0, 0.0

    def __call__(self, attempts: Iterable[str]) -> None:
        """To be called often; writes every :data:`INTERVAL` seconds.

        Raises nothing: without beats a worker counts as dead to others, which costs them work
        and nothing else.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        self._number += 1
        for attempt in attempts:
            self.write(attempt)

    def write(self, attempt: str) -> None:
        """One beat of one worker, now."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # opened and closed each time: that is when NFS hands a change on
            (self._folder / attempt).write_bytes(b"%d\n" % self._number)
        except OSError:
            return

    def end(self, attempt: str) -> None:
        """The worker has ended: nobody needs to wait for its next beat."""
        with contextlib.suppress(OSError):
            (self._folder / attempt).unlink(missing_ok=True)


class Watch:
    """Which workers live, as far as one has watched; see :meth:`alive`."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder / BEATS, clock
        self._seen: dict[str, tuple[bytes, float]] = {}  # number, when it was seen first
        self._moved: set[str] = set()

    def alive(self, attempt: str) -> bool | None:
        """True: its number moved; False: it ended or stood still; None: not known yet.

        Each call looks at the file; the answer is known :data:`INTERVAL` seconds after the first
        call for a worker that lives, :data:`DEAD` seconds after it for one that died.
        """
        number, now = self._read(attempt), self._clock()
        if number is None:
            return False
        if attempt not in self._seen:
            self._seen[attempt] = (number, now)
            return None
        last, since = self._seen[attempt]
        if number != last:
            self._seen[attempt] = (number, now)
            self._moved.add(attempt)
            return True
        if now - since >= DEAD:
            self._moved.discard(attempt)
            return False
        return True if attempt in self._moved else None

    def known(self) -> list[str]:
        """Workers that have not said that they ended."""
        try:
            return sorted(path.name for path in self._folder.iterdir())
        except OSError:
            return []

    def _read(self, attempt: str) -> bytes | None:
        if not attempt or "/" in attempt or attempt in (".", ".."):
            return None
        try:
            with (self._folder / attempt).open("rb") as file:
                return file.read(64)
        except OSError:
            return None
