"""A results folder: finding what ran in its logs, and deciding which attempt counts.

::

    results/demo/
        logs/<attempt>.jsonl    what happened, one file per worker attempt; never changed
        plans/plan-g000.jsonl.gz what was to be done, immutable generations
        claims/g000/...         which attempt took which chunk
        runs.parquet, trials.parquet   made from the logs by `compact`, at any time

The rule where one run was executed several times: a finished execution beats an unfinished one, a
later round (``--force``, ``retry``) an earlier one, ``ok`` a failure; then the one that ended first
counts. Of several unfinished ones of a round it is the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from carps_like import schema
from carps_like.errors import BadResults
from carps_like.trial import Status

LOGS, PLANS, CLAIMS = "logs", "plans", "claims"
BLOCK = 1 << 20  # bytes of a log that are read at once


@dataclass(slots=True)
class Execution:
    """One run as one attempt executed it: where it stands in the log, and how it ended."""

    run_id: str
    path: Path
    header: Mapping[str, Any]
    begin: int  # offset of its first trial line
    end: int = 0  # offset after its last complete line
    n_trials: int = 0
    n_failed: int = 0  # of the trials, known once it is finished
    first_failure: str = ""  # why the first of them failed
    status: str = ""  # empty: not finished
    error: str = ""
    ended: str = ""

    @property
    def finished(self) -> bool:
        """Ended by itself; a run that was killed from outside is still to be done."""
        return bool(self.status) and self.status != Status.KILLED

    @property
    def fruitless(self) -> bool:
        """It came to its end, and every one of its trials failed."""
        return self.finished and 0 < self.n_trials == self.n_failed

    @property
    def round(self) -> int:
        """0, and one more each time that the run was forced or retried."""
        return int(self.header.get("round") or 0)

    @property
    def key(self) -> tuple[Any, ...]:
        """Order of preference, the best first: see the module's rule."""
        if not self.finished:
            return (1, -self.round, -self.n_trials, self.path.name)
        return (0, -self.round, self.status != Status.OK, self.ended, self.path.name)


@dataclass(slots=True)
class LogFile:
    """What is known of one log so far; :meth:`Index.refresh` reads on from ``offset``."""

    path: Path
    offset: int = 0
    attempt: Mapping[str, Any] = field(default_factory=dict)
    current: Execution | None = None
    begun: str = ""  # run that is being built and has no header yet
    stopped: bool = False  # its last line says that the worker was asked to


class Index:
    """The executions in a folder's logs, kept up to date by reading only what was appended."""

    def __init__(
        self, folder: Path, skip: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> None:
        self.folder = folder
        self.skip = skip  # attempts, by their first line, whose logs are not read
        self.files: dict[Path, LogFile] = {}
        self.executions: dict[str, list[Execution]] = {}
        self.n_trials = 0
        self.n_done = 0  # done lines and verdicts read
        self._verdicts: list[Mapping[str, Any]] = []

    def refresh(self) -> Index:
        """Read what the logs gained; a torn last line waits until it is whole."""
        try:
            paths = sorted((self.folder / LOGS).glob("*.jsonl"))
        except OSError as error:
            raise BadResults(f"cannot read {self.folder / LOGS}: {error.strerror}") from None
        for path in paths:
            log = self.files.get(path)
            if log is None:
                log = self.files[path] = LogFile(path)
            if log.attempt and self.skip is not None and self.skip(log.attempt):
                continue
            if path.stat().st_size > log.offset:
                self._read(log)
        self._verdicts = [v for v in self._verdicts if not self._judge(v)]
        return self

    def _read(self, log: LogFile) -> None:
        with log.path.open("rb") as file:
            file.seek(log.offset)
            start = log.offset
            for block in _blocks(file, alone=start == 0):
                self._lines(log, block)
                if start == 0 and self.skip is not None and self.skip(log.attempt):
                    return

    def _lines(self, log: LogFile, block: bytes) -> None:
        """Whole lines that follow ``log.offset``.

        Events are looked at; trials, of which there may be millions, are counted in between.
        """
        at, end, first = 0, len(block), log.offset
        while at < end:
            event = at if block.startswith(b"{", at) else block.find(b"\n{", at, end) + 1 or end
            if event > at:
                self._trials(log, block[at:event])
                at = event
                continue
            at = block.index(b"\n", event) + 1
            log.offset = first + at
            self._event(log, _json(block[event:at], log.path, first + event))

    def _trials(self, log: LogFile, lines: bytes) -> None:
        """Whole lines that are no events."""
        begin, log.offset = log.offset, log.offset + len(lines)
        n = lines.startswith(b"[") + lines.count(b"\n[")
        if log.current is None or not n:
            return
        log.current.n_trials += n
        log.current.end = begin + lines.index(b"\n", lines.rfind(b"\n[") + 1) + 1
        self.n_trials += n

    def _event(self, log: LogFile, data: Mapping[str, Any]) -> None:
        kind = data.get("k")
        if kind == "attempt":
            check_version(data.get("schema"), log.path)
            log.attempt = data
        elif kind == "run":
            run = Execution(str(data.get("run")), log.path, data, log.offset, log.offset)
            log.current, log.begun = run, ""
            self.executions.setdefault(run.run_id, []).append(run)
        elif kind == "begin":
            log.begun = str(data.get("run"))
        elif kind == "stopped":
            log.stopped = True
        elif kind == "done":
            self.n_done += 1
            self._done(log, data)

    def _done(self, log: LogFile, data: Mapping[str, Any]) -> None:
        if "attempt" in data:  # a supervisor's word on a worker that died: see `AttemptLog.verdict`
            self._verdicts.append(data)
        elif log.current is not None and log.current.run_id == data.get("run"):
            _end(log.current, data)
            log.current = None

    def _judge(self, verdict: Mapping[str, Any]) -> bool:
        """Apply a verdict to the execution that it names; false while that is not read yet."""
        for execution in self.executions.get(str(verdict.get("run")), ()):
            if execution.path.stem == verdict["attempt"] and not execution.finished:
                _end(execution, verdict)
                return True
        return False

    def best(self, run_id: str) -> Execution | None:
        """The execution that counts."""
        return min(self.executions.get(run_id, ()), key=lambda e: e.key, default=None)

    def finished(self, run_id: str) -> bool:
        return any(e.finished for e in self.executions.get(run_id, ()))

    def longest(self, run_id: str, round_: int) -> Execution | None:
        """The execution of a round with the most trials to replay from."""
        found = [e for e in self.executions.get(run_id, ()) if e.round == round_]
        return max(found, key=lambda e: e.n_trials, default=None)

    def winners(self) -> Iterator[Execution]:
        for run_id in self.executions:
            best = self.best(run_id)
            if best is not None:
                yield best


def _end(execution: Execution, data: Mapping[str, Any]) -> None:
    execution.status = str(data.get("status"))
    execution.error, execution.ended = str(data.get("error") or ""), str(data.get("ended") or "")
    execution.n_failed = int(data.get("n_failed") or 0)
    execution.first_failure = str(data.get("first_failure") or "")


def _blocks(file: BinaryIO, *, alone: bool) -> Iterator[bytes]:
    """What follows in a log, in whole lines; the first of them ``alone``. A torn one waits."""
    block = file.readline() if alone else file.read(BLOCK)
    while block:
        if not block.endswith(b"\n"):
            block += file.readline()
        yield block[: block.rfind(b"\n") + 1]
        if not block.endswith(b"\n"):
            return
        block = file.read(BLOCK)


def _json(line: bytes, path: Path, offset: int) -> Mapping[str, Any]:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise BadResults(f"{path}: the line at byte {offset} is not JSON") from None
    return data if isinstance(data, dict) else {}


def check_version(found: Any, path: Path) -> None:
    """Raise :class:`BadResults` unless this version can read what ``path`` holds."""
    if not isinstance(found, int) or isinstance(found, bool):
        raise BadResults(f"{path} names no schema version: not a file of carps-like")
    if found > schema.VERSION:
        raise BadResults(
            f"{path} has schema version {found}, this carps-like reads up to {schema.VERSION}: "
            "install a newer carps-like"
        )


def trial_lines(execution: Execution) -> list[bytes]:
    """The raw trial lines of an execution, in order, without line ends."""
    with execution.path.open("rb") as file:
        file.seek(execution.begin)
        data = file.read(execution.end - execution.begin)
    return [line for line in data.split(b"\n") if line.startswith(b"[")]


def is_results(folder: Path) -> bool:
    """Whether ``folder`` holds results: logs, a plan, or compacted tables."""
    return (
        (folder / LOGS).is_dir()
        or (folder / PLANS).is_dir()
        or (folder / "trials.parquet").exists()
        or (folder / "trials").is_dir()
    )


def check_results(folders: Iterable[Path]) -> None:
    """Raise :class:`BadResults` for the first that is not a results folder."""
    for folder in folders:
        if not folder.exists():
            raise BadResults(f"there is no results folder {str(folder)!r}")
        if not folder.is_dir() or not is_results(folder):
            raise BadResults(
                f"{str(folder)!r} is not a results folder: it has no logs, plans or tables"
            )
