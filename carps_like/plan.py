"""The plan: every run of a study with its state, and immutable generations of what to do."""

from __future__ import annotations

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from carps_like import schema
from carps_like.budget import Budget
from carps_like.description import TaskDescription
from carps_like.errors import BadResults, BadValue, CarpsLikeError, MissingData
from carps_like.live import Live
from carps_like.log import DiskFull
from carps_like.spec import Spec, describe_task_of, missing_for_task, resolve
from carps_like.store import CLAIMS, PLANS, Index, check_version
from carps_like.trial import Status

NEW, DONE, FAILED, UNSUPPORTED = "new", "done", "failed", "unsupported"
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
        return [run for run in self.runs if run.state == NEW]


class Pairs:
    """Which optimizer can take which task here; each pair and each task is looked at once."""

    def __init__(self, live: Live | None = None) -> None:
        self._live = live or Live()
        self._missing: dict[str, CarpsLikeError | None] = {}
        self._states: dict[tuple[Any, ...], tuple[str, str]] = {}

    def state(self, spec: Spec, description: TaskDescription) -> tuple[str, str]:
        """(state, reason) of a run that has not been done."""
        budget = orjson.dumps(spec.budget, option=orjson.OPT_SORT_KEYS)
        key = (_json(spec.optimizer), budget, description.name)
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
) -> Plan:
    """The plan of composed configurations, against what ``index`` has seen done.

    Runs that come out the same stand in it once. ``force`` does finished ones again, as a new
    round; the earlier one stays in the logs.

    Raises:
        CarpsLikeError: a configuration is wrong: an unknown option, a budget of zero, ...
    """
    pairs, plan = Pairs(live), Plan()
    seen: set[str] = set()
    for data in configurations:
        task = data.get("task")
        if not isinstance(task, Mapping):
            raise BadValue("a run needs task=<name>; see `carps-like tasks`")
        key = task_key(task)
        if key not in plan.descriptions:
            own = live.task.description if live is not None and live.task is not None else None
            plan.descriptions[key] = own or describe_task_of(task)
        description = plan.descriptions[key]
        spec = resolve(data, description)
        plan.descriptions.setdefault(task_key(spec.task), description)
        if spec.run_id not in seen:
            seen.add(spec.run_id)
            plan.runs.append(_planned(spec, description, index, pairs, force))
    return plan


def _planned(
    spec: Spec, description: TaskDescription, index: Index | None, pairs: Pairs, force: bool
) -> PlannedRun:
    planned = PlannedRun(spec, seconds=_estimate(spec, description))
    best = index.best(spec.run_id) if index is not None else None
    if best is not None:
        planned.round = best.round
    if best is not None and best.finished and not force:
        planned.state = _STATES.get(best.status, FAILED)
        planned.reason = "" if planned.state == DONE else f"{best.status}: {_first(best.error)}"
        return planned
    planned.state, planned.reason = pairs.state(spec, description)
    if best is not None and best.finished:
        planned.round += 1
    return planned


_STATES = {str(Status.OK): DONE, str(Status.UNSUPPORTED): UNSUPPORTED}


def _first(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _estimate(spec: Spec, description: TaskDescription) -> float:
    trials = spec.budget.get("trials") or spec.budget.get("evaluations") or 100
    return float(trials) * description.evaluation_seconds


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


def read_generation(folder: Path, generation: int) -> list[list[Assigned]]:
    """The chunks of a generation. Specs are data: nothing in them is imported or built here.

    Raises:
        BadResults: not there, corrupt, or of a newer version.
    """
    path = plan_path(folder, generation)
    try:
        with gzip.open(path, "rb") as file:
            head = orjson.loads(file.readline())
            check_version(head.get("schema") if isinstance(head, dict) else None, path)
            rows = [orjson.loads(line) for line in file]
        runs = [Assigned(r["run"], r["chunk"], r["round"], Spec.of(r["spec"])) for r in rows]
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CarpsLikeError):
            raise
        raise BadResults(f"{path} cannot be read as a plan: {error!r}") from None
    if len(runs) != head.get("runs"):
        raise BadResults(f"{path} holds {len(runs)} runs, its first line says {head.get('runs')}")
    chunks: dict[int, list[Assigned]] = {}
    for run in runs:
        if run.run_id != run.spec.run_id:
            raise BadResults(f"{path}: run {run.run_id!r} does not match its configuration")
        chunks.setdefault(run.chunk, []).append(run)
    return [chunks[number] for number in sorted(chunks)]


def claim(folder: Path, generation: int, chunk: int, attempt: str) -> bool:
    """Take a chunk for an attempt; false if it is taken. Holds on NFS: ``O_CREAT | O_EXCL``."""
    claims = folder / CLAIMS / f"g{generation:03}"
    try:
        claims.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = os.open(claims / f"c{chunk:06}", flags, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise DiskFull(f"cannot write a claim to {claims}: {error.strerror}") from None
    try:
        os.write(file, attempt.encode())
    finally:
        os.close(file)
    return True


def claimed_by(folder: Path, generation: int, attempts: Collection[str]) -> set[int]:
    """Chunks of a generation that any of some attempts took."""
    if not attempts:
        return set()
    claims = folder / CLAIMS / f"g{generation:03}"
    return {
        int(path.name[1:])
        for path in claims.glob("c*")
        if path.name[1:].isdigit() and path.read_text(errors="replace") in attempts
    }
