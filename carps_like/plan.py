"""The plan: every run of a study with its state, and immutable generations of what to do."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, overload

import orjson

from carps_like import schema
from carps_like.budget import Budget
from carps_like.description import TaskDescription
from carps_like.errors import (
    BadResults,
    BadValue,
    CarpsLikeError,
    MissingData,
    MissingLibrary,
)
from carps_like.live import Live
from carps_like.log import DiskFull
from carps_like.spec import FIELDS, Spec, describe_task_of, missing_for_task, resolve
from carps_like.store import CLAIMS, PLANS, Execution, Index, check_version
from carps_like.trial import Status

NEW, RUNNING, DONE, FAILED = "new", "running", "done", "failed"
UNSUPPORTED = "unsupported"
LIBRARY_MISSING, DATA_MISSING = "library missing", "data missing"


@dataclass(slots=True)
class PlannedRun:
    """One run of a study: what it is, whether it is to be done, and why not."""

    spec: Spec
    state: str = NEW
    reason: str = ""
    seconds: float = 0.0  # estimated CPU seconds of its evaluations
    round: int = 0


@dataclass
class Plan:
    """The table of a study's runs."""

    runs: list[PlannedRun] = field(default_factory=list)
    descriptions: dict[str, TaskDescription] = field(default_factory=dict)  # by task's JSON

    def description(self, run: PlannedRun) -> TaskDescription:
        return self.descriptions[task_key(run.spec.task)]

    def counts(self) -> Counter[str]:
        return Counter(run.state for run in self.runs)

    @property
    def to_do(self) -> list[PlannedRun]:
        """New runs, and those that a living worker is at: it may die yet."""
        return [run for run in self.runs if run.state in (NEW, RUNNING)]


class Pairs:
    """Which optimizer can take which task here; each pair and each task is looked at once."""

    def __init__(self, live: Live | None = None) -> None:
        self._live = live or Live()
        self._missing: dict[str, CarpsLikeError | None] = {}
        self._states: dict[tuple[Any, ...], tuple[str, str]] = {}
        self._tried: set[str] = set()  # optimizers whose options their libraries have seen

    def state(self, spec: Spec, description: TaskDescription) -> tuple[str, str]:
        """(state, reason) of a run that has not been done."""
        budget = orjson.dumps(spec.budget, option=orjson.OPT_SORT_KEYS)
        key = (_json(spec.optimizer), budget, _json(spec.task))
        if key not in self._states:
            self._states[key] = self._state(spec, description)
        return self._states[key]

    def _state(self, spec: Spec, description: TaskDescription) -> tuple[str, str]:
        if self._live.optimizer is not None:
            problem = self._live.optimizer.capabilities.problem(description)
            return (UNSUPPORTED, problem) if problem else (NEW, "")
        variant = spec.variant
        variant.check_options(variant.options)
        problem = variant.problem(replace(description, budget=Budget(**spec.budget)))
        if problem:
            return UNSUPPORTED, problem
        listed = "_target_" not in spec.task and self._live.task is None
        if listed and description.name not in self._missing:
            self._missing[description.name] = missing_for_task(description)
        for error in (variant.missing(), self._missing.get(description.name)):
            if error is not None:
                data = isinstance(error, MissingData)
                return (DATA_MISSING if data else LIBRARY_MISSING), str(error)
        optimizer = _json(spec.optimizer)
        if optimizer not in self._tried:
            variant.try_options(replace(description, budget=Budget(**spec.budget)))
            self._tried.add(optimizer)
        return NEW, ""


def task_key(task: Mapping[str, Any]) -> str:
    return _json(task)


def _json(data: Mapping[str, Any]) -> str:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()


def make_plan(
    configurations: Iterable[Mapping[str, Any]],
    index: Index | None = None,
    *,
    force: bool = False,
    live: Live | None = None,
    running: Callable[[Execution], bool] = lambda execution: False,
) -> Plan:
    """The plan of composed configurations, against what ``index`` has seen done.

    Runs that come out the same stand in it once. ``force`` does finished ones again, as a new
    round; the earlier one stays in the logs.

    Args:
        running: whether a living worker is at an unfinished execution.

    Raises:
        CarpsLikeError: a configuration is wrong: an unknown option, a budget of zero, ...
    """
    planner, plan = _Planner(index, force, live, running), Plan()
    seen: set[str] = set()
    for data in configurations:
        task = data.get("task")
        if not isinstance(task, Mapping):
            raise BadValue("a run needs task=<name>; see `carps-like tasks`")
        key = task_key(task)
        if key not in plan.descriptions and key not in planner.lacking:
            planner.describe(plan, key, task)
        if key in planner.lacking:
            planned = planner.lacks(data, planner.lacking[key])
        else:
            description = plan.descriptions[key]
            spec = resolve(data, description)
            plan.descriptions.setdefault(task_key(spec.task), description)
            if spec.run_id in seen:
                continue
            planned = planner.run(spec, description)
        if planned.spec.run_id not in seen:
            seen.add(planned.spec.run_id)
            plan.runs.append(planned)
    return plan


class _Planner:
    """Finds the state of each run of a plan."""

    def __init__(
        self,
        index: Index | None,
        force: bool,
        live: Live | None,
        running: Callable[[Execution], bool],
    ) -> None:
        self._index, self._force, self._live = index, force, live
        self._running, self._pairs = running, Pairs(live)
        self._costs = Costs(index)
        self.lacking: dict[str, CarpsLikeError] = {}  # tasks without a description here, and why

    def describe(self, plan: Plan, key: str, task: Mapping[str, Any]) -> None:
        live = self._live
        own = live.task.description if live is not None and live.task is not None else None
        try:
            plan.descriptions[key] = own or describe_task_of(task)
        except (MissingData, MissingLibrary) as error:
            self.lacking[key] = error

    def lacks(self, data: Mapping[str, Any], error: CarpsLikeError) -> PlannedRun:
        """A run whose task's data or library is not here; its budget is as given."""
        spec = Spec.of({name: data[name] for name in FIELDS if name in data})
        state = DATA_MISSING if isinstance(error, MissingData) else LIBRARY_MISSING
        return PlannedRun(spec, state, str(error))

    def run(self, spec: Spec, description: TaskDescription) -> PlannedRun:
        planned = PlannedRun(spec, seconds=self._costs(spec, description))
        best = self._index.best(spec.run_id) if self._index is not None else None
        if best is not None:
            planned.round = best.round
        if best is not None and best.finished and not self._force:
            planned.state = _STATES.get(best.status, FAILED)
            planned.reason = "" if planned.state == DONE else f"{best.status}: {_first(best.error)}"
            return planned
        planned.state, planned.reason = self._pairs.state(spec, description)
        if best is not None and best.finished:
            planned.round += 1
        elif best is not None and planned.state == NEW and self._running(best):
            planned.state, planned.reason = RUNNING, f"{best.n_trials} trials"
        return planned


class Costs:
    """Estimated CPU seconds of runs: measured ones of the same kind where there are, else declared.

    A run of the same optimizer and task that has finished in this folder says what another seed
    will take, optimizer included; without one, it is the task's declared time of an evaluation
    times the budget.
    """

    def __init__(self, index: Index | None) -> None:
        self._measured: dict[tuple[str, str], tuple[float, int]] = {}
        for execution in index.winners() if index is not None else ():
            seconds = _seconds(execution)
            if seconds is not None:
                spec = execution.header.get("spec") or {}
                key = _kind(spec.get("optimizer") or {}, spec.get("task") or {})
                total, trials = self._measured.get(key, (0.0, 0))
                self._measured[key] = (total + seconds, trials + execution.n_trials)

    def __call__(self, spec: Spec, description: TaskDescription) -> float:
        trials = float(spec.budget.get("trials") or spec.budget.get("evaluations") or 100)
        total, n = self._measured.get(_kind(spec.optimizer, spec.task), (0.0, 0))
        return trials * (total / n if n else description.evaluation_seconds)


def _kind(optimizer: Mapping[str, Any], task: Mapping[str, Any]) -> tuple[str, str]:
    return str(optimizer.get("name")), str(task.get("name"))


def _seconds(execution: Execution) -> float | None:
    """Wall seconds of a finished execution; ``None`` where the log does not tell."""
    if execution.status != Status.OK or not execution.n_trials:
        return None
    try:
        begin, end = str(execution.header.get("started")), execution.ended
        return max(
            0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
        )
    except (ValueError, TypeError):
        return None


_STATES = {str(Status.OK): DONE, str(Status.UNSUPPORTED): UNSUPPORTED}


def _first(text: str) -> str:
    return text.splitlines()[0] if text else ""


# --- generations ---


def write_generation(folder: Path, runs: Sequence[PlannedRun], workers: int) -> int:
    """Write the runs as the next numbered generation; its number.

    Made under a temporary name and linked into place, so that two planners at once get two
    numbers and a reader never sees half a plan. Longest estimated runs come first.
    """
    ordered = sorted(runs, key=lambda r: -r.seconds)
    chunk = chunk_size(len(ordered), workers)
    head = orjson.dumps({"k": "plan", "schema": schema.VERSION, "runs": len(ordered)})
    lines = (
        orjson.dumps(
            {"run": r.spec.run_id, "chunk": i // chunk, "round": r.round, "seconds": r.seconds}
            | {"spec": r.spec.data()}
        )
        for i, r in enumerate(ordered)
    )
    plans = folder / PLANS
    temporary = plans / f".plan-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        plans.mkdir(parents=True, exist_ok=True)
        with gzip.open(temporary, "wb", compresslevel=1) as file:
            file.write(head + b"\n")
            file.writelines(line + b"\n" for line in lines)
        number = len(list(plans.glob("plan-g*")))
        while True:
            try:
                os.link(temporary, plan_path(folder, number))
                return number
            except FileExistsError:
                number += 1
    except OSError as error:
        raise DiskFull(f"cannot write the plan to {plans}: {error.strerror}") from None
    finally:
        with suppress(OSError):  # the folder itself may be what is wrong
            temporary.unlink(missing_ok=True)


def chunk_size(n_runs: int, workers: int) -> int:
    """Runs that a worker claims at once: small at the end of the work, few files for much of it."""
    return max(1, min(50, n_runs // (workers * 8)))


def plan_path(folder: Path, generation: int) -> Path:
    return folder / PLANS / f"plan-g{generation:03}.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Assigned:
    """One run of a generation, as a worker reads it."""

    run_id: str
    chunk: int
    round: int
    spec: Spec


class Generation(Sequence[list[Assigned]]):
    """The chunks of a generation, each parsed when it is asked for.

    Specs are data: nothing in them is imported or built here.
    """

    def __init__(self, path: Path, lines: Sequence[bytes]) -> None:
        self.path, self._lines = path, lines
        self._heads = [self._head(line) for line in lines]
        chunks = [chunk for _, chunk, _ in self._heads]
        if chunks and (chunks[0] < 0 or chunks != sorted(chunks)):
            raise BadResults(f"{path} cannot be read as a plan: its chunks are not in order")
        self._starts = [i for i, c in enumerate(chunks) if i == 0 or c != chunks[i - 1]]
        self._starts.append(len(chunks))

    def _head(self, line: bytes) -> tuple[str, int, int]:
        """Run, chunk and round that a line begins with, without parsing what follows."""
        match = _HEAD.match(line)
        if match is None:
            raise BadResults(f"{self.path} cannot be read as a plan: {line[:60]!r}")
        return match.group(1).decode(), int(match.group(2)), int(match.group(3))

    @property
    def run_ids(self) -> list[str]:
        return [run_id for run_id, _, _ in self._heads]

    def rounds(self, number: int) -> list[tuple[str, int]]:
        """Run and round of each line of a chunk: telling whether it is done takes no more."""
        heads = self._heads[self._starts[number] : self._starts[number + 1]]
        return [(run_id, round_) for run_id, _, round_ in heads]

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, number: int) -> list[Assigned]: ...
    @overload
    def __getitem__(self, number: slice) -> list[list[Assigned]]: ...
    def __getitem__(self, number: int | slice) -> list[Assigned] | list[list[Assigned]]:
        """Raises :class:`BadResults` where a run does not match its id."""
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        begin, end = self._starts[number % len(self)], self._starts[number % len(self) + 1]
        return [self._assigned(line) for line in self._lines[begin:end]]

    def _assigned(self, line: bytes) -> Assigned:
        try:
            row = orjson.loads(line)
            spec = Spec.of(row["spec"])
            assigned = Assigned(row["run"], row["chunk"], int(row["round"]), spec)
        except (KeyError, ValueError, TypeError, AttributeError, CarpsLikeError) as error:
            raise BadResults(f"{self.path} cannot be read as a plan: {error!r}") from None
        if assigned.run_id != spec.run_id:
            text = f"run {assigned.run_id!r} does not match its configuration"
            raise BadResults(f"{self.path}: {text}")
        return assigned


_HEAD = re.compile(rb'\{"run":"([A-Za-z0-9]+)","chunk":(\d{1,9}),"round":(\d{1,9}),')


_LONGEST = 1 << 20  # bytes of a line: little that unpacks to very much is not believed


def read_generation(folder: Path, generation: int) -> Generation:
    """A generation of a results folder's plan.

    Raises:
        BadResults: not there, corrupt, or of a newer version.
    """
    path = plan_path(folder, generation)
    try:
        with gzip.open(path, "rb") as file:
            head = orjson.loads(file.readline(_LONGEST))
            check_version(head.get("schema") if isinstance(head, dict) else None, path)
            lines = []
            while line := file.readline(_LONGEST):
                lines.append(line)
                if not line.endswith(b"\n") or len(lines) > head["runs"]:
                    raise ValueError(f"line {len(lines) + 1} is too long, or one too many")
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CarpsLikeError):
            raise
        raise BadResults(f"{path} cannot be read as a plan: {error!r}") from None
    if len(lines) != head.get("runs"):
        raise BadResults(f"{path} holds {len(lines)} runs, its first line says {head.get('runs')}")
    return Generation(path, lines)


def claim(folder: Path, generation: int, chunk: int, attempt: str, level: int = 0) -> bool:
    """Take a chunk for an attempt; false if it is taken. Holds on NFS: ``O_CREAT | O_EXCL``.

    Args:
        level: 0, and one more each time that a chunk is taken over from a worker that died.
    """
    claims = _claims(folder, generation)
    try:
        claims.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        name = f"c{chunk:06}" + (f".{level}" if level else "")
        file = os.open(claims / name, flags, 0o644)
        try:
            os.write(file, attempt.encode())
        finally:
            os.close(file)
    except FileExistsError:
        return False
    except OSError as error:
        raise DiskFull(f"cannot write a claim to {claims}: {error.strerror}") from None
    return True


def _claims(folder: Path, generation: int) -> Path:
    return folder / CLAIMS / f"g{generation:03}"


def claimed(folder: Path, generation: int) -> set[int]:
    """Chunks of a generation that have been taken: one look at the folder."""
    try:
        names = [path.name for path in _claims(folder, generation).iterdir()]
    except FileNotFoundError:
        return set()
    return {int(name[1:]) for name in names if name[1:].isdigit()}


def holders(folder: Path, generation: int) -> dict[int, tuple[int, str]]:
    """Who has each taken chunk: chunk -> (level of the claim, attempt)."""
    found: dict[int, tuple[int, str]] = {}
    for path in _claims(folder, generation).glob("c*"):
        number, _, level = path.name[1:].partition(".")
        if number.isdigit() and (not level or level.isdigit()):
            at = int(level or 0)
            if at >= found.get(int(number), (0, ""))[0]:
                found[int(number)] = (at, path.read_text(errors="replace"))
    return found
