"""One run: an optimizer on a task, on a virtual clock, from the first ask to a spent budget.

K simulated workers evaluate side by side. A worker is free at a time; the optimizer is asked as
soon as one is (the lowest number first); a trial ends at its start plus its cost, and is told in
the order of the ends, ties in the order of the asks. See docs/budgets.md for what a trial costs.

The same loop replays: a trial that an earlier attempt finished is answered from its log.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from carps_like.budget import Budget
from carps_like.description import TaskDescription
from carps_like.interface import Exhausted, Optimizer
from carps_like.log import TRIAL, AttemptLog
from carps_like.spec import Simulate
from carps_like.trial import OK, Result, Status, Trial, proposed

_NOT_HERE = object()  # the state of a trial that was answered from a log
NO_PENALTY_KNOWN = 1e10  # told for a failure before anything succeeded, where none is declared


class Evaluate(Protocol):
    """Evaluates a configuration; :meth:`carps_like.Task.evaluate`, or a sandbox around it."""

    def __call__(
        self, config: Any, fidelity: float | None, seed: int | None, state: Any
    ) -> Result: ...


class ReplayMismatch(Exception):
    """The optimizer proposes something else than the log says: the run starts again."""


class Aborted(Exception):
    """A trial failed, and failures end the run (``on_failure=abort``)."""

    def __init__(self, status: Status, error: str) -> None:
        self.status = status
        super().__init__(error)


def trial_seed(seed: int, number: int) -> int:
    """Seed of one trial's noise, in [0, 2^31): splitmix64 of the run's seed and its number."""
    z = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) & 0x7FFFFFFF


class Charge:
    """What trials are charged, in full evaluations and in simulated seconds.

    Without continuation a trial at fidelity z costs z / z_max. With it, a configuration that has
    already finished at a lower fidelity y by the time this trial starts costs (z - y) / z_max and
    the difference of the two costs (never below 0). A trial that inherits a state costs the
    difference in fidelity to the trial it continues, and the seconds that its task reports.
    """

    def __init__(self, task: TaskDescription, continuation: bool) -> None:
        self._fidelity = task.fidelity
        self._continuation = (
            continuation and task.fidelity is not None and task.fidelity.continuable
        )
        self._finished: dict[tuple[Any, ...], list[tuple[float, float, float]]] = {}

    def __call__(
        self,
        trial: Trial,
        fidelity: float | None,
        result: Result,
        start: float,
        parent: float | None,
    ) -> tuple[float, float]:
        """(full evaluations, simulated seconds) of a trial.

        ``start`` is when it begins on the clock, ``parent`` the fidelity of the state it inherits.
        """
        if self._fidelity is None or fidelity is None:
            return 1.0, result.cost
        full = self._fidelity.share(fidelity)
        if parent is not None:
            # a population keeps its states at their fidelity: training on costs the difference
            gain = fidelity - parent
            return (self._fidelity.share(gain) if gain > 0 else full), result.cost
        if not self._continuation:
            return full, result.cost
        key = tuple(sorted(trial.config.items()))
        base = max(
            (f for f in self._finished.get(key, ()) if f[0] < fidelity and f[2] <= start),
            default=(0.0, 0.0, 0.0),
        )
        share, cost = full - self._fidelity.share(base[0]), max(0.0, result.cost - base[1])
        if result.ok:
            entry = (fidelity, result.cost, start + cost)
            self._finished.setdefault(key, []).append(entry)
        return share, cost


class Penalty:
    """What failed trials are told: the task's own values, else the worst of the run so far."""

    def __init__(self, task: TaskDescription) -> None:
        self._declared = task.penalty
        self._open = any(map(math.isnan, self._declared))
        self._worst = [-math.inf] * len(self._declared)

    def __call__(self, result: Result) -> Result:
        if result.status is OK:
            if self._open:
                worst = self._worst
                for i, value in enumerate(result.values):
                    if value > worst[i]:
                        worst[i] = value
            return result
        values = tuple(
            self._so_far(w) if math.isnan(d) else d
            for d, w in zip(self._declared, self._worst, strict=True)
        )
        return replace(result, values=values)

    @staticmethod
    def _so_far(worst: float) -> float:
        return NO_PENALTY_KNOWN if worst == -math.inf else worst


@dataclass(slots=True)
class _Pending:
    """A trial that a simulated worker is busy with."""

    number: int
    trial: Trial
    result: Result
    worker: int


def _within(context: Callable[[], AbstractContextManager[None]], call: Any) -> Any:
    def called(*args: Any) -> Any:
        with context():
            return call(*args)

    return called


class Run:
    """Drives one optimizer through one task's budget. See :meth:`execute`."""

    def __init__(
        self,
        optimizer: Optimizer,
        task: TaskDescription,
        evaluate: Evaluate,
        recorder: AttemptLog,
        *,
        seed: int,
        budget: Budget,
        simulate: Simulate = Simulate(),  # noqa: B008 - frozen
        recorded: Sequence[bytes] = (),
        names: Sequence[str] = (),
        abort_on_failure: bool = False,
        seeded: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.optimizer, self.task, self.evaluate, self.recorder = (
            optimizer,
            task,
            evaluate,
            recorder,
        )
        self.seed, self.budget, self.simulate = seed, budget, simulate
        self._recorded, self._names = recorded, names
        self._abort = abort_on_failure
        self._propose, self._learn = optimizer.ask, optimizer.tell
        if seeded is not None:
            self._propose, self._learn = (
                _within(seeded, optimizer.ask),
                _within(seeded, self._learn),
            )
        self._charge, self._penalty = Charge(task, budget.continuation), Penalty(task)
        self._stateful = task.stateful and (budget.continuation or optimizer.capabilities.continues)
        self._past: list[tuple[Trial, float | None, Any]] = []  # stateful tasks: what can go on
        self.n_trials, self.used, self.clock = 0, 0.0, 0.0
        self.n_failed, self.first_failure = 0, ""  # trials, and why the first of them
        self._wall, self._process = time.monotonic(), os.getpid()

    def execute(self) -> int:
        """Run until the budget is spent or the optimizer has nothing left; the number of trials.

        Raises:
            ReplayMismatch: the recorded trials are not what this optimizer proposes.
            Aborted: a trial failed and failures end the run.
            Exception: whatever the optimizer raised, or an illegal proposal.
        """
        idle = list(range(self.simulate.workers))
        pending: list[tuple[float, int, _Pending]] = []
        exhausted = False
        while True:
            while idle and not exhausted and not self._spent():
                try:
                    asked = self._ask()
                except Exhausted:
                    exhausted = True
                    break
                if asked is None:
                    if not pending:
                        raise RuntimeError(
                            "the optimizer proposes nothing though nothing is pending"
                        )
                    break
                end, item = self._evaluate(*asked, heapq.heappop(idle))
                heapq.heappush(pending, (end, item.number, item))
            if not pending:
                return self.n_trials
            end, _, item = heapq.heappop(pending)
            self.clock = max(self.clock, end)
            self._learn(item.trial, item.result)
            heapq.heappush(idle, item.worker)

    def _spent(self) -> bool:
        b = self.budget
        return (
            (b.trials is not None and self.n_trials >= b.trials)
            or (b.evaluations is not None and self.used >= b.evaluations * (1 - 1e-12))
            or (b.simulated_seconds is not None and self.clock >= b.simulated_seconds)
            or (b.wall_seconds is not None and time.monotonic() - self._wall >= b.wall_seconds)
        )

    def _ask(self) -> tuple[Trial, float] | None:
        started = time.perf_counter()
        found = self._propose()
        seconds = time.perf_counter() - started
        if os.getpid() != self._process:  # the optimizer forked, and the copy came back too
            os._exit(0)
        trial = proposed(found)
        return None if trial is None else (trial, seconds)

    def _evaluate(self, trial: Trial, ask_seconds: float, worker: int) -> tuple[float, _Pending]:
        number, self.n_trials = self.n_trials, self.n_trials + 1
        if number < len(self._recorded):
            return self._replay(number, trial, worker)
        fidelity = None if self.task.fidelity is None else self._fidelity(trial)
        start = self.clock + (ask_seconds if self.simulate.charge_optimizer else 0.0)
        state, parent = self._inherited(trial) if self._stateful else (None, None)
        started = time.perf_counter()
        result = self.evaluate(trial.config, trial.fidelity, trial_seed(self.seed, number), state)
        seconds = time.perf_counter() - started
        share, cost = self._charge(trial, fidelity, result, start, parent)
        self.used += share
        end, full_cost = start + cost, result.cost
        if cost != full_cost:
            result = replace(result, cost=cost)
        self.recorder.trial(
            number,
            trial,
            result,
            fidelity=fidelity,
            full_cost=full_cost,
            budget_used=self.used,
            ask_seconds=ask_seconds,
            evaluate_seconds=seconds,
            start=start,
            end=end,
            worker=worker,
            over_budget=self._over(end),
        )
        if self._stateful:
            self._past.append((trial, fidelity, result.state))
        return end, self._finished(number, trial, result, worker)

    def _finished(self, number: int, trial: Trial, result: Result, worker: int) -> _Pending:
        """A trial that is in the log, ready to be told when the clock comes to its end."""
        if self._abort and not result.ok:
            raise Aborted(result.status, f"trial {number} {result.status}: {result.error}")
        if not result.ok:
            self.n_failed += 1
            self.first_failure = self.first_failure or result.error.split("\n", 1)[0]
        return _Pending(number, trial, self._penalty(result), worker)

    def _fidelity(self, trial: Trial) -> float | None:
        """What the trial is evaluated at; ``None`` where the task has no fidelity."""
        if self.task.fidelity is None:
            return None
        return self.task.fidelity.check(trial.fidelity, self.task.name)

    def _over(self, end: float) -> bool:
        b = self.budget
        over = b.evaluations is not None and self.used > b.evaluations * (1 + 1e-12)
        return over or (b.simulated_seconds is not None and end > b.simulated_seconds)

    # --- states that later trials go on from ---

    def _inherited(self, trial: Trial) -> tuple[Any, float | None]:
        """(state, fidelity) of the trial that this one continues, if it does."""
        if trial.continues is None:
            return None, None
        return self._state(trial.continues), self._past[trial.continues][1]

    def _state(self, number: int) -> Any:
        """The state of a trial; made again where it was answered from a log."""
        trial, fidelity, state = self._past[number]
        if state is _NOT_HERE:
            inherited = None if trial.continues is None else self._state(trial.continues)
            seed = trial_seed(self.seed, number)
            state = self.evaluate(trial.config, trial.fidelity, seed, inherited).state
            self._past[number] = (trial, fidelity, state)
        return state

    # --- replay ---

    def _replay(self, number: int, trial: Trial, worker: int) -> tuple[float, _Pending]:
        line = self._recorded[number]
        try:
            row = dict(zip(TRIAL, orjson.loads(line), strict=True))
        except ValueError:
            raise ReplayMismatch(f"the line of trial {number} is damaged") from None
        config = {n: v for n, v in zip(self._names, row["config"], strict=True) if v is not None}
        if config != trial.config or row["fidelity"] != self._fidelity(trial):
            raise ReplayMismatch(f"trial {number} is now {trial.config}, was {config}")
        result = self.recorded_result(row)
        if self.budget.continuation:  # the ledger must know what the log knows
            full = replace(result, cost=(row["more"] or {}).get("full_cost", row["cost"]))
            inherits = self._stateful and trial.continues is not None
            parent = self._past[trial.continues or 0][1] if inherits else None
            self._charge(trial, row["fidelity"], full, row["start"], parent)
        self.used, end = row["budget_used"], row["end"]
        self.recorder.copy(line)
        if self._stateful:
            self._past.append((trial, row["fidelity"], _NOT_HERE))
        return end, self._finished(number, trial, result, worker)

    def recorded_result(self, row: Mapping[str, Any]) -> Result:
        """The result that a log line holds."""
        more = row["more"] or {}
        ok = row["status"] == Status.OK
        values = tuple(row["objectives"]) if ok else self.task.penalty
        objectives = {
            o.name: o.inside(v) if ok else math.nan
            for o, v in zip(self.task.objectives, values, strict=True)
        }
        return Result(
            objectives,
            values,
            row["cost"],
            Status(row["status"]),
            str(more.get("error", "")),
            tuple(float(c) for c in more.get("constraints", ())),
            more.get("extra", {}),
        )


def numbered(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The leading lines that are numbered 0, 1, ...: what a replay can use."""
    for i, line in enumerate(lines):
        if not line.startswith(b"[%d," % i):
            return
        yield line
