"""A worker: a long-lived process that claims chunks of a plan and runs them, one after another.

Started by the executors with ``PYTHONHASHSEED=0`` and one thread per library; not meant to be
started by hand. What it may import beyond the project's own adapters is named on its command
line (``--trust``), never by the results folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from carps_like.budget import Budget
from carps_like.description import TaskDescription
from carps_like.engine import Aborted, ReplayMismatch, Run, numbered
from carps_like.errors import BadResults, CarpsLikeError, Unsupported
from carps_like.heartbeat import Watch
from carps_like.interface import Optimizer, Task, described, version_of
from carps_like.library_log import LibraryLog
from carps_like.limits import tell_begin, tell_end
from carps_like.live import Live
from carps_like.log import AttemptLog, DiskFull
from carps_like.plan import Assigned, claim, claimed, holders, read_generation
from carps_like.processes import (
    STOPPED,
    Stop,
    become_subreaper,
    die_with_parent,
    end_strays,
    own_children,
    process_start,
    stop_on_signals,
)
from carps_like.registry import collection_of, variants
from carps_like.sandbox import Sandbox
from carps_like.seeds import GlobalSeeds
from carps_like.spec import Limits, Simulate, Spec, build_task_of, describe_task_of
from carps_like.store import Execution, Index, trial_lines
from carps_like.trial import Status
from carps_like.variants import Variant, shipped_variant

LOOKING = 50  # what others have done is looked up again after this many times what a look costs
REMOTE_REFRESH = 10.0  # seconds between looks where the folder is shared by many machines


@dataclass
class Job:
    """What a worker was told on its command line."""

    folder: Path
    generation: int
    trusted: Collection[str] = ()  # _target_s of the user's own that may be imported
    isolate: Collection[str] = ()  # runs whose evaluations go to a child process
    adopt: Collection[str] = ()  # attempts whose chunks this one finishes
    deadline: float | None = None  # time.monotonic() after which no run is started
    take_over: bool = False  # when nothing is left to claim, finish what dead workers claimed
    warden: int | None = None  # file descriptor that is told of each run: see `limits`


def foreign(spec: Spec) -> list[str]:
    """What a run would import or install that is no part of carps-like.

    ``_target_``s, and environments as ``environment:<key>``, since making one installs packages.
    """
    own = [str(spec.task["_target_"])] if "_target_" in spec.task else []
    optimizer = spec.optimizer
    # one file, where reading all of them takes a tenth of a second
    usual = shipped_variant(str(optimizer.get("name")))
    if usual and optimizer.get("_target_") == usual.target and not optimizer.get("environment"):
        return own
    return own + sorted(_imports(spec.variant) - _shipped())


@cache
def _shipped() -> frozenset[str]:
    return frozenset().union(*map(_imports, variants().values()))


def _imports(variant: Variant) -> frozenset[str]:
    environment = variant.environment
    return frozenset(
        {variant.target} | ({f"environment:{environment.key}"} if environment else set())
    )


def check_foreign(spec: Spec, trusted: Collection[str]) -> None:
    """Raise :class:`BadResults` unless all that is foreign in a plan was named by the user."""
    for name in foreign(spec):
        if name not in trusted:
            raise BadResults(
                f"the plan asks for {name!r}, which is not part of carps-like; "
                "if it is yours, run the command that made the plan again"
            )


class Worker:
    """Runs the chunks that it can claim; see :func:`main`."""

    def __init__(self, job: Job, attempt: str = "") -> None:
        self.job = job
        self.chunks = read_generation(job.folder, job.generation)
        # claims keep workers of one generation apart: their logs need not be read
        skip = None if job.adopt else self._is_peer
        self.index = Index(job.folder, skip)
        self._look()
        self.log = AttemptLog(job.folder / "logs", attempt, job.generation)
        self.library_log = LibraryLog(self.log.path.with_suffix(".txt"))
        self._spared = own_children()

    def _is_peer(self, attempt: Mapping[str, Any]) -> bool:
        return attempt.get("generation") == self.job.generation

    def work(self) -> None:
        """Claim and run until nothing is left to claim."""
        self._adopt()
        taken = claimed(self.job.folder, self.job.generation)
        for chunk in range(len(self.chunks)):
            if self._late():
                return
            if chunk in taken:
                continue
            if claim(self.job.folder, self.job.generation, chunk, self.log.attempt):
                self._work_on(chunk)
            else:
                taken = claimed(self.job.folder, self.job.generation)
        if self.job.take_over:
            self._take_over()

    def _work_on(self, chunk: int) -> None:
        for assigned in self.chunks[chunk]:
            if self._late():
                return
            if self._is_open(assigned):
                self.run(assigned)

    def _adopt(self) -> None:
        """Go on with the chunks of workers that died in this one's place."""
        if not self.job.adopt:
            return
        held = holders(self.job.folder, self.job.generation)
        for chunk, (level, attempt) in sorted(held.items()):
            if attempt in self.job.adopt and not self._late() and self._take(chunk, level + 1):
                self._work_on(chunk)

    def _take(self, chunk: int, level: int) -> bool:
        folder, generation = self.job.folder, self.job.generation
        return chunk < len(self.chunks) and claim(
            folder, generation, chunk, self.log.attempt, level
        )

    def _take_over(self) -> None:
        """Finish what workers of this generation left that died; living ones are left alone."""
        self.index.skip = None
        watch = Watch(self.job.folder)
        closed: set[int] = set()
        while not self._late():
            self._look()
            held = holders(self.job.folder, self.job.generation)
            unsure = False
            for chunk, (level, attempt) in sorted(held.items()):
                if chunk in closed or chunk >= len(self.chunks):
                    continue
                lives = watch.alive(attempt)
                finished = all(self._has_ended(*r) for r in self.chunks.rounds(chunk))
                if finished or lives or attempt == self.log.attempt:
                    closed.add(chunk)
                elif lives is None:
                    unsure = True
                elif self._take(chunk, level + 1):
                    self._work_on(chunk)
                    closed.add(chunk)
            if not unsure:
                return
            time.sleep(max(0.2, LOOKING * self._cost))

    def _has_ended(self, run_id: str, round_: int) -> bool:
        executions = self.index.executions.get(run_id, ())
        return any(e.finished and e.round >= round_ for e in executions)

    def _late(self) -> bool:
        return self.job.deadline is not None and time.monotonic() >= self.job.deadline

    def _look(self) -> None:
        started = time.thread_time()
        self.index.refresh()
        self._looked, self._cost = time.monotonic(), time.thread_time() - started

    def _is_open(self, assigned: Assigned) -> bool:
        """Not done, and not being done by a living process of this machine."""
        wait = REMOTE_REFRESH if self.job.take_over else LOOKING * self._cost
        if time.monotonic() - self._looked > wait:
            self._look()
        executions = self.index.executions.get(assigned.run_id, ())
        same = [e for e in executions if e.round >= assigned.round]
        return not any(e.finished or self._alive(e) for e in same)

    def _alive(self, execution: Execution) -> bool:
        log = self.index.files[execution.path]
        if log.current is not execution or log.path == self.log.path:
            return False
        return alive(log.attempt)

    def run(self, assigned: Assigned) -> None:
        """Execute one run and log how it ended."""
        spec = assigned.spec
        self.library_log.run = assigned.run_id
        previous = self.index.longest(assigned.run_id, assigned.round)
        lines = list(numbered(trial_lines(previous))) if previous is not None else []
        names: Sequence[str] = list(previous.header.get("names") or []) if previous else []
        check_foreign(spec, self.job.trusted)
        isolated = assigned.run_id in self.job.isolate
        if self.job.warden is not None:
            tell_begin(self.job.warden, assigned.run_id, Limits(**spec.limits))
        try:
            execute(spec, self.log, assigned.round, lines, names, isolated=isolated)
        except ReplayMismatch:
            execute(spec, self.log, assigned.round, isolated=isolated)
        finally:
            end_strays(self._spared, daemons_only=True)  # libraries may keep the others
            if self.job.warden is not None:
                tell_end(self.job.warden)


def alive(attempt: Mapping[str, Any]) -> bool:
    """Whether the process that wrote an attempt's first line still runs on this machine."""
    if attempt.get("host") != os.uname().nodename:
        return False
    started = process_start(int(attempt.get("pid") or 0))
    return started != 0 and started == attempt.get("pid_start")


@lru_cache(maxsize=256)
def _listed(name: str) -> TaskDescription:
    return describe_task_of({"name": name})


def describe_for(spec: Spec, live: Live | None = None) -> TaskDescription:
    """The task's description with the run's budget; its checker is compiled once per task."""
    if live is not None and live.task is not None:
        base = live.task.description
    elif "_target_" in spec.task:
        base = describe_task_of(spec.task)
    else:
        base = _listed(str(spec.task["name"]))
    own = replace(base, budget=Budget(**spec.budget))
    # the checker never changes; the space is made anew, since libraries seed it
    own.__dict__["checker"] = base.checker
    return own


def execute(
    spec: Spec,
    log: AttemptLog,
    round_: int = 0,
    lines: Sequence[bytes] = (),
    names: Sequence[str] = (),
    *,
    isolated: bool = False,
    live: Live | None = None,
) -> Status:
    """One run from its spec to its done line; ``lines`` are replayed."""
    if "_target_" in spec.task:
        log.begin(spec.run_id)
    described_task = describe_for(spec, live)
    variant = spec.variant
    header = header_of(spec, described_task, round_, live)
    log.run(spec.run_id, [p.name for p in described_task.checker.params], header)
    status, error, n_trials, failures = Status.OK, "", 0, (0, "")
    closers: list[Callable[[], None]] = []
    try:
        adapter = live.optimizer if live and live.optimizer else variant.adapter
        capabilities = adapter.capabilities
        seeded = GlobalSeeds(spec.seed) if capabilities.global_seeds else None
        with (seeded or nullcontext)():
            optimizer = _build(live, spec, described_task)
        closers.append(optimizer.close)
        evaluate = _evaluator(spec, live, isolated, closers)
        run = Run(
            optimizer,
            described_task,
            evaluate,
            log,
            seed=spec.seed,
            budget=described_task.budget,
            simulate=Simulate(**spec.simulate),
            recorded=lines if capabilities.deterministic else (),
            names=names,
            abort_on_failure=spec.on_failure == "abort",
            seeded=seeded,
        )
        try:
            run.execute()
        finally:
            n_trials, failures = run.n_trials, (run.n_failed, run.first_failure)
    except (ReplayMismatch, DiskFull):
        raise
    except Aborted as aborted:
        status, error = aborted.status, str(aborted)
    except Unsupported as problem:
        status, error = Status.UNSUPPORTED, str(problem)
    except CarpsLikeError as problem:
        status, error = Status.FAILED, described(problem)
    except MemoryError as problem:
        status, error = Status.OUT_OF_MEMORY, described(problem)
    except (Exception, SystemExit) as problem:
        status, error = Status.FAILED, described(problem)
    finally:
        for close in reversed(closers):
            try:
                close()
            except Exception as problem:
                status, error = Status.FAILED, error or described(problem)
    log.done(spec.run_id, status, error, n_trials, *failures)
    return status


def _build(live: Live | None, spec: Spec, task: TaskDescription) -> Optimizer:
    if live is None or live.optimizer is None:
        return spec.variant.build(task, spec.seed)
    problem = live.optimizer.capabilities.problem(task)
    if problem:
        raise Unsupported(f"{live.optimizer.__name__} cannot run task {task.name!r}: {problem}")
    return live.optimizer(task, spec.seed, **live.options)


def _evaluator(
    spec: Spec, live: Live | None, isolated: bool, closers: list[Callable[[], None]]
) -> Any:
    limits = Limits(**spec.limits)
    build: Callable[[], Task] = partial(build_task_of, spec.task)
    if live is not None and live.task is not None:
        task = live.task
        build = lambda: task  # noqa: E731
    if isolated or limits.on_trials:
        sandbox = Sandbox(build, limits)
        closers.append(sandbox.close)
        return sandbox.evaluate
    return build().evaluate


def header_of(
    spec: Spec, task: TaskDescription, round_: int, live: Live | None = None
) -> dict[str, Any]:
    """What the runs table says of a run besides how it ended."""
    optima = [None if o.optimum is None else o.inside(o.optimum) for o in task.objectives]
    adapter = live.optimizer if live and live.optimizer else spec.variant.adapter
    environment = None if live and live.optimizer else spec.variant.environment
    listed = "_target_" not in spec.task and (live is None or live.task is None)
    family = collection_of(task.name).requires if listed else ()
    own = adapter.requires if environment is None else ()
    modules = dict.fromkeys((*own, *(task.requires or family)))
    return {
        "spec": spec.data(),
        "round": round_,
        "objectives": [o.name for o in task.objectives],
        "minimize": [o.minimize for o in task.objectives],
        "optimum": optima,
        "reference_point": task.reference_point,
        "task_type": task.type,
        "collection": task.collection,
        "dimension": task.dimension,
        "max_fidelity": None if task.fidelity is None else task.fidelity.upper,
        "versions": {m: version_of(m) for m in ("numpy", "ConfigSpace", *modules)}
        | (environment.versions() if environment else {}),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="carps_like.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--generation", type=int, required=True)
    parser.add_argument("--attempt", default="")
    parser.add_argument("--parent", type=int, default=0, help="end when this process ends")
    parser.add_argument("--trust", action="append", default=[])
    parser.add_argument("--path", action="append", default=[], help="appended to sys.path")
    parser.add_argument("--isolate", action="append", default=[])
    parser.add_argument("--adopt", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=None, help="start no run after these")
    parser.add_argument("--warden", type=int, help="file descriptor that is told of each run")
    parser.add_argument("--take-over", action="store_true", help="finish what dead workers left")
    args = parser.parse_args(argv)
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    stop_on_signals()
    if args.parent:
        die_with_parent(args.parent)
    become_subreaper()  # what runs leave running comes to us
    if args.warden is not None:
        os.set_inheritable(args.warden, False)
    sys.path.extend(path for path in args.path if path not in sys.path)
    job = Job(
        args.folder,
        args.generation,
        args.trust,
        args.isolate,
        args.adopt,
        deadline,
        args.take_over,
        args.warden,
    )
    try:
        worker = Worker(job, args.attempt)
        try:
            worker.work()
        except Stop:
            worker.log.stopped()
            return STOPPED
    except Stop:
        return STOPPED
    except CarpsLikeError as error:
        print(f"carps-like: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
