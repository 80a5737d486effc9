"""The crash-safe log of a worker attempt: one append-only file, one complete line per write.

Lines, each one JSON value:

* ``{"k": "attempt", ...}`` first: who writes, on which machine, with which versions;
* ``{"k": "begin", "run": ...}``: a task of the user's own is built, to know what the run is;
* ``{"k": "run", ...}``: a run begins; the lines after it are its trials;
* ``[number, status, values, fidelity, ...]``: a trial, hyperparameters in the order of the run's
  ``names`` (``null`` where inactive), see :data:`TRIAL`;
* ``{"k": "done", ...}``: the run ended, with its status;
* ``{"k": "stopped"}`` last: the worker was asked to stop. Code that ends its process, with
  whatever exit code, does not write it.

A file has one writer and is never opened again for writing, so whatever moment a process dies,
only its last line can be torn, and a reader leaves a torn line out.
"""

from __future__ import annotations

import math
import os
import platform
import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from carps_like import __version__, schema
from carps_like.errors import CarpsLikeError
from carps_like.processes import process_start
from carps_like.trial import OK, Result, Status, Trial

TRIAL = (
    "number", "status", "config", "fidelity", "objectives", "cost", "budget_used",
    "ask_seconds", "evaluate_seconds", "start", "end", "worker", "more",
)  # fmt: skip
"""Positions in a trial's line; ``more`` is null or a dict of what most trials do not have."""


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


class DiskFull(CarpsLikeError):
    """The log could not be written: disk full, folder read-only or gone."""


def now() -> str:
    """UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_attempt() -> str:
    """An id that no other worker has: when, where, and a random part; in the order of time."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
    return f"a{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{host}-{secrets.token_hex(5)}"


class AttemptLog:
    """Writer of one attempt's log. ``orjson`` and one unbuffered write: 5 us of CPU a trial."""

    def __init__(self, folder: Path, attempt: str = "", generation: int | None = None) -> None:
        self.attempt = attempt or new_attempt()
        self.path = folder / f"{self.attempt}.jsonl"
        self._names: Sequence[str] = ()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise DiskFull(f"cannot write the log {self.path}: {error.strerror}") from None
        about = provenance() | {"generation": generation}
        self._write({"k": "attempt", "schema": schema.VERSION, **about})

    def begin(self, run_id: str) -> None:
        """A run's task is about to be built, by code that may end this process."""
        self._write({"k": "begin", "run": run_id})

    def run(self, run_id: str, names: Sequence[str], header: Mapping[str, Any]) -> None:
        """A run begins: the lines after this one are its trials."""
        self._names = tuple(names)
        self._write({"k": "run", "run": run_id, "names": self._names, **header, "started": now()})

    def trial(
        self,
        number: int,
        trial: Trial,
        result: Result,
        *,
        fidelity: float | None,
        full_cost: float,
        budget_used: float,
        ask_seconds: float,
        evaluate_seconds: float,
        start: float,
        end: float,
        worker: int,
        over_budget: bool,
    ) -> None:
        """One finished evaluation; ``full_cost``: what it would have cost without continuation."""
        ok = result.status is OK
        config, cost, more = trial.config, result.cost, None
        if not ok or over_budget or trial.info or result.extra or result.constraints:
            more = _more(trial, result, over_budget)
        elif trial.continues is not None:
            more = {"continues": trial.continues}
        if cost != full_cost:
            more = {**(more or {}), "full_cost": full_cost}
        row = (
            number,
            result.status,
            [*map(config.get, self._names)],
            fidelity,
            result.values if ok else None,
            cost,
            budget_used,
            int(ask_seconds * 1e7) / 1e7,  # `round` takes three times as long
            int(evaluate_seconds * 1e7) / 1e7,
            start,
            end,
            worker,
            more,
        )
        self._bytes(orjson.dumps(row, default=str, option=_OPTIONS))

    def copy(self, line: bytes) -> None:
        """A trial that an earlier attempt finished, as it stands there."""
        self._bytes(line + b"\n")

    def done(
        self,
        run_id: str,
        status: Status,
        error: str,
        n_trials: int,
        n_failed: int = 0,
        first_failure: str = "",
    ) -> None:
        """The run ended; of its trials ``n_failed`` failed, the first one for that reason."""
        data = {"k": "done", "run": run_id, "status": status, "error": error, "n": n_trials}
        if n_failed:
            data |= {"n_failed": n_failed, "first_failure": first_failure}
        self._write(data | {"ended": now()})

    def stopped(self) -> None:
        """The worker was asked to stop, and ends in good order."""
        self._write({"k": "stopped"})

    def verdict(self, attempt: str, run_id: str, status: Status, error: str) -> None:
        """How a run of another attempt ended, whose worker died over it."""
        self._write(
            {"k": "done", "run": run_id, "attempt": attempt, "status": status, "error": error}
            | {"ended": now()}
        )

    def close(self) -> None:
        os.close(self._file)

    def _write(self, data: Mapping[str, Any]) -> None:
        self._bytes(orjson.dumps(data, option=_OPTIONS))

    def _bytes(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            while written < len(line):  # short only when the disk is about to be full
                written += os.write(self._file, line[written:])
        except OSError as error:
            raise DiskFull(f"cannot write the log {self.path}: {error.strerror}") from None


def _more(trial: Trial, result: Result, over_budget: bool) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if over_budget:
        more["over_budget"] = True
    if trial.continues is not None:
        more["continues"] = trial.continues
    if result.constraints:
        more["constraints"] = [encode_float(c) for c in result.constraints]
    if trial.info:
        more["info"] = trial.info
    if result.extra:
        more["extra"] = dict(result.extra)
    if not result.ok:
        more["error"] = result.error
    return more


def encode_float(x: float) -> float | str:
    """JSON has no nan and no infinity: they travel as the strings ``nan``, ``inf``, ``-inf``."""
    return x if math.isfinite(x) else repr(float(x))


def provenance() -> dict[str, Any]:
    """What a result depends on besides its configuration."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_start": process_start(os.getpid()),
        "cpu": _cpu(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0") or 0),
        "python": platform.python_version(),
        "carps_like": __version__,
        "git": os.environ.get("CARPS_LIKE_GIT_COMMIT", ""),
        "at": now(),
    }


@cache
def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit(folder: Path) -> str:
    """Commit of the repository that holds ``folder``, with ``+`` if modified; empty if none."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
