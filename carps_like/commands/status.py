"""``carps-like status``: how a study stands, from any machine that sees its results folder."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from carps_like.cli import OK, SOME_FAILED
from carps_like.commands.arguments import Arguments
from carps_like.errors import printable
from carps_like.executors.slurm import FOLDER as JOBS
from carps_like.heartbeat import INTERVAL, Watch
from carps_like.plan import claimed, read_generation
from carps_like.store import LOGS, PLANS, Execution, Index, check_results
from carps_like.trial import Status
from carps_like.worker import alive

_GOOD = (Status.OK, Status.UNSUPPORTED)
_WINDOW = timedelta(minutes=5)  # before the latest end of a run: what the rate is taken from
WAITING, RUNNING, STOPPED = "waiting", "running", "not finished"


def main(argv: Sequence[str]) -> int:
    """``carps-like status RESULTS``: exit code 1 when something failed."""
    parser = Arguments(
        prog="carps-like status",
        description="Count runs by state. 'not finished': cut, the same command continues it.",
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument(
        "--failed", action="store_true", help="each failed run with its whole error"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=10.0,
        metavar="SECONDS",
        help="again every 10 seconds, until nothing is left to do or the workers are gone",
    )
    given = parser.parse_intermixed_args(_seconds_named(argv))
    check_results(given.results)
    monitor = Monitor(given.results)
    if given.watch is not None:
        return _watch(monitor, max(0.1, given.watch))
    view = monitor.look()
    if view.unsure:  # workers of other machines: do they still beat?
        time.sleep(INTERVAL * 1.2)
        view = monitor.look()
    if given.json:
        sys.stdout.buffer.write(orjson.dumps(view.data(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print(view.text(given.failed), end="")
    return SOME_FAILED if view.failed else OK


def _seconds_named(argv: Sequence[str]) -> list[str]:
    """``--watch RESULTS`` as well as ``RESULTS --watch``: what follows need not be a number."""
    words = list(argv)
    if "--watch" in words[:-1]:
        at = words.index("--watch") + 1
        if not re.fullmatch(r"[\d.]+", words[at]):
            words.insert(at, "10")
    return words


def _watch(monitor: Monitor, seconds: float) -> int:
    while True:
        view = monitor.look()
        queued = view.left and not view.workers and monitor.queued()
        more = ", no worker has started yet (squeue --me tells why)" if queued else ""
        print(f"{datetime.now():%H:%M:%S} {view.line()}{more}", flush=True)
        if not view.left or not (view.workers or view.unsure or queued):
            print(view.text(), end="")
            if view.left:
                print("no worker is alive: the same command, or `submit`, goes on")
            return SOME_FAILED if view.failed else OK
        time.sleep(seconds)


@dataclass
class View:
    """How a study stands at one moment."""

    where: str
    states: Mapping[str, str]  # run id -> state
    winners: Mapping[str, Execution]
    workers: int  # that live
    unsure: int  # workers of which it is not known yet whether they live
    per_minute: float  # runs finished, lately
    failed: Sequence[Execution] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.states.values())

    @property
    def n_trials(self) -> int:
        return sum(e.n_trials for e in self.winners.values())

    @property
    def n_failed_trials(self) -> int:
        return sum(e.n_failed for e in self.winners.values())

    @property
    def left(self) -> int:
        """Runs that are not done."""
        return sum(self.counts[s] for s in (WAITING, RUNNING, STOPPED))

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; ``None`` where there is none."""
        if not self.left:
            return 0.0
        return self.left / self.per_minute * 60 if self.per_minute and self.workers else None

    def line(self) -> str:
        done = len(self.states) - self.left
        text = f"{done}/{len(self.states)} runs, {self.n_trials} trials, {self.workers} workers"
        text += f", {len(self.failed)} failed" if self.failed else ""
        text += f", {self.n_failed_trials} trials failed" if self.n_failed_trials else ""
        if self.per_minute and self.workers:
            text += f", {self.per_minute:.3g} runs/min"
        if self.left and self.seconds_left is not None:
            text += f", {timedelta(seconds=round(self.seconds_left))} left"
        return text

    def text(self, whole_errors: bool = False) -> str:
        lines = [f"{self.where}: {self.line()}"]
        lines += [f"  {n:>7} {state}" for state, n in self.counts.most_common()]
        for e in self.failed if whole_errors else self.failed[:5]:
            error = e.error.rstrip() if whole_errors else e.error.split("\n")[0]
            lines.append(f"{e.status}: {_where(e)}: {error}")
        fruitless = [e for e in self.winners.values() if e.fruitless]
        for e in fruitless if whole_errors else fruitless[:5]:
            lines.append(f"every trial failed: {_where(e)}: {e.first_failure}")
        if len(self.failed) > 5 and not whole_errors:
            lines.append(f"... {len(self.failed)} in all: carps-like status {self.where} --failed")
        return printable("\n".join(lines) + "\n")

    def data(self) -> dict[str, Any]:
        runs = []
        for run_id, state in self.states.items():
            e = self.winners.get(run_id)
            row: dict[str, Any] = {"run_id": run_id, "state": state, "n_trials": 0}
            if e is not None:
                row |= {"n_trials": e.n_trials, "where": _where(e), "error": e.error}
            runs.append(row)
        return {
            "counts": dict(self.counts),
            "trials": self.n_trials,
            "failed_trials": self.n_failed_trials,
            "failures": dict(Counter(e.status for e in self.failed)),
            "workers": self.workers,
            "runs_per_minute": self.per_minute,
            "seconds_left": self.seconds_left,
            "runs": runs,
        }


class Monitor:
    """Reads results folders again and again; only what was appended is read."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._where = " ".join(map(str, folders))
        self._indices = [Index(folder) for folder in folders]
        self._watches = [Watch(folder) for folder in folders]
        self._planned: dict[Path, list[str]] = {}

    def look(self) -> View:
        """How things stand now."""
        best: dict[str, tuple[Execution, Index]] = {}
        for index in self._indices:
            for e in index.refresh().winners():
                if e.run_id not in best or e.key < best[e.run_id][0].key:
                    best[e.run_id] = (e, index)
        lives = [self._alive(i, w) for i, w in zip(self._indices, self._watches, strict=True)]
        living = {a for part in lives for a, is_alive in part.items() if is_alive}
        states = dict.fromkeys(self._plans(), WAITING)
        states |= {run_id: _state(e, index, living) for run_id, (e, index) in best.items()}
        winners = {run_id: e for run_id, (e, _) in best.items()}
        failed = [e for e in winners.values() if e.finished and e.status not in _GOOD]
        return View(
            self._where,
            states,
            winners,
            len(living),
            sum(is_alive is None for part in lives for is_alive in part.values()),
            _rate(winners.values()),
            failed,
        )

    def _plans(self) -> list[str]:
        """Every run that was ever planned here."""
        found: list[str] = []
        for index in self._indices:
            for path in sorted((index.folder / PLANS).glob("plan-g*.jsonl.gz")):
                number = path.name.removeprefix("plan-g").removesuffix(".jsonl.gz")
                if path not in self._planned and number.isdigit():
                    self._planned[path] = read_generation(index.folder, int(number)).run_ids
                found += self._planned.get(path, [])
        return found

    def queued(self) -> bool:
        """Whether the newest plan waits for its first worker: an array that has not started."""
        for folder in (index.folder for index in self._indices):
            plans = len(list((folder / PLANS).glob("plan-g*.jsonl.gz")))
            if plans and (folder / JOBS).is_dir() and not claimed(folder, plans - 1):
                return True
        return False

    def _alive(self, index: Index, watch: Watch) -> dict[str, bool | None]:
        """By process id for workers of this machine, by their heartbeat for others."""
        found: dict[str, bool | None] = {}
        for attempt in watch.known():
            log = index.files.get(index.folder / LOGS / f"{attempt}.jsonl")
            here = log is not None and alive(log.attempt)
            found[attempt] = True if here else watch.alive(attempt)
        return found


def _state(execution: Execution, index: Index, living: set[str]) -> str:
    if execution.finished:
        return execution.status
    log = index.files[execution.path]
    at_it = log.current is execution
    return RUNNING if at_it and (execution.path.stem in living or alive(log.attempt)) else STOPPED


def _rate(executions: Any) -> float:
    """Runs a minute over the last minutes in which runs ended."""
    ends = []
    for e in executions:
        try:
            ends.append(datetime.fromisoformat(e.ended) if e.finished and e.ended else None)
        except ValueError:
            continue
    times = sorted(t for t in ends if t is not None and t.tzinfo is not None)
    if len(times) < 2:
        return 0.0
    recent = [t for t in times if t >= times[-1] - _WINDOW]
    seconds = (recent[-1] - recent[0]).total_seconds()
    return 60 * (len(recent) - 1) / seconds if seconds > 0 else 0.0


def _where(execution: Execution) -> str:
    spec = execution.header.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    optimizer, task = spec.get("optimizer"), spec.get("task")
    names = [part.get("name") if isinstance(part, Mapping) else part for part in (optimizer, task)]
    return f"{names[0]} on {names[1]}, seed {spec.get('seed')}"
