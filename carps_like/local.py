"""The local executor: worker processes on this machine, watched and started again.

A worker that dies takes nothing with it: its log holds every finished trial, and the worker
started in its place goes on with the chunks that it had claimed. The run that it died over is
tried once more with its evaluations in a child process, so that an objective that crashes is a
failed trial; if the worker dies over it again, the run is recorded as crashed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carps_like.errors import CarpsLikeError
from carps_like.heartbeat import Beat
from carps_like.limits import Broken, Warden, cgroup, means
from carps_like.log import AttemptLog, git_commit, new_attempt
from carps_like.processes import MARK, STOPPED, end_marked
from carps_like.store import LOGS, Execution, Index
from carps_like.trial import Status

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
POLL = 0.05  # seconds
TELL = 0.5  # between two reports: reading the logs and counting the runs costs CPU
FRUITLESS = 3  # deaths in a row without one more trial, after which a worker is given up


class WorkersFailed(CarpsLikeError):
    """Workers ended with an error of their own: the disk is full, the plan cannot be read."""


@dataclass
class _Slot:
    """One of the places that a worker process holds."""

    process: subprocess.Popen[bytes]
    attempts: list[str]  # this process's own first, then those whose chunks it goes on with
    isolate: list[str] = field(default_factory=list)
    stillborn: int = 0  # deaths in a row before any run began
    warden: Warden | None = None  # where the plan has limits on runs


# glibc maps and returns large blocks again and again: a third of the CPU of a random forest's run
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 29)}


def worker_environment(threads: int = 1) -> dict[str, str]:
    """What workers are started with: a fixed hash seed, and ``threads`` per library."""
    env = MALLOC | os.environ | {"PYTHONHASHSEED": "0"}
    env.update({name: str(threads) for name in THREADS})
    if "CARPS_LIKE_GIT_COMMIT" not in env:
        env["CARPS_LIKE_GIT_COMMIT"] = git_commit(Path.cwd())
    return env


def worker_command(
    folder: Path, generation: int, trusted: Sequence[str] = (), paths: Sequence[str] = ()
) -> list[str]:
    """The command line of a worker on a generation of a results folder."""
    command = [sys.executable, "-P", "-m", "carps_like.worker", str(folder)]
    command += ["--generation", str(generation)]
    command += [part for target in trusted for part in ("--trust", target)]
    return command + [part for path in paths for part in ("--path", path)]


class LocalExecutor:
    """Runs one generation of a plan with ``workers`` processes.

    Args:
        trusted: ``_target_``s of the user's own that workers may import.
        paths: folders that their modules are looked for in.
        progress: called a few times a second with the index of what is logged; without it the
            logs are read only when a worker has died.
        threads: that libraries get in each worker.
        limited: whether runs of the plan have limits that are held from here.
        more: further arguments of the workers' command line.
    """

    def __init__(
        self,
        folder: Path,
        generation: int,
        workers: int = 1,
        *,
        trusted: Sequence[str] = (),
        paths: Sequence[str] = (),
        progress: Callable[[Index], None] | None = None,
        threads: int = 1,
        limited: bool = False,
        more: Sequence[str] = (),
    ) -> None:
        self.folder, self.generation = folder, generation
        self._command = [*worker_command(folder, generation, trusted, paths), *more]
        self._environment = worker_environment(threads)
        self._progress, self._beat = progress, Beat(folder)
        # for their own workers' deaths, array tasks need not read what others log
        self.index = Index(folder, None if progress is not None else self._is_others)
        self._n_workers = workers
        self._told = 0.0
        self._slots: list[_Slot] = []
        self._pids: set[int] = set()  # of every worker started here
        self._crashed: set[str] = set()  # runs that a worker died over once
        self._deaths: dict[str, tuple[int, int]] = {}  # run -> (trials at the last, in a row)
        self._log: AttemptLog | None = None
        self._limited = limited

    def run(self) -> Index:
        """Work until every chunk is claimed and done; what the logs then hold.

        Raises:
            WorkersFailed: a worker reported an error that no other worker can go around.
            KeyboardInterrupt: after the workers have stopped; nothing finished is lost.
        """
        if self._limited:
            print(f"  {means()}", file=sys.stderr)
        try:
            self._slots += [self._start() for _ in range(self._n_workers)]
            while self._slots:
                time.sleep(POLL)
                self._beat(slot.attempts[0] for slot in self._slots)
                self._tell(TELL)
                self._slots = [s for slot in self._slots if (s := self._watch(slot))]
        finally:
            self._stop()
            self._tell()
            if self._log is not None:
                self._log.close()
            self.index.skip = None
        return self.index

    def _is_others(self, attempt: Mapping[str, Any]) -> bool:
        return attempt.get("pid") not in self._pids

    def _tell(self, pause: float = 0.0) -> None:
        """Report what is logged, unless that was done less than ``pause`` seconds ago."""
        if self._progress is not None and time.monotonic() >= self._told + pause:
            self._progress(self.index.refresh())
            self._told = time.monotonic()

    def _start(self, adopt: Sequence[str] = (), isolate: Sequence[str] = ()) -> _Slot:
        attempt = new_attempt()
        extra = ["--attempt", attempt, "--parent", str(os.getpid())]
        extra += [part for old in adopt for part in ("--adopt", old)]
        extra += [part for run_id in isolate for part in ("--isolate", run_id)]
        self._beat.write(attempt)
        ours, theirs = os.pipe() if self._limited else (-1, -1)
        if self._limited:
            extra += ["--warden", str(theirs)]
        process = subprocess.Popen(
            [*self._command, *extra],
            env=self._environment | {MARK: attempt},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs] if self._limited else [],
        )
        self._pids.add(process.pid)
        slot = _Slot(process, [attempt, *adopt], list(isolate))
        if self._limited:
            os.close(theirs)
            slot.warden = Warden(process.pid, ours, cgroup(attempt))
        return slot

    def _watch(self, slot: _Slot) -> _Slot | None:
        """The slot while its worker lives, a new one in its place, or none when it is done."""
        code, warden = slot.process.poll(), slot.warden
        if code is None:
            broken = warden.check() if warden is not None else None
            if warden is None or broken is None:
                return slot
            warden.end()
            slot.process.wait()
        else:
            broken = warden.post_mortem() if warden is not None else None
        self._close(slot)
        if broken is not None:
            return self._over_limit(slot, broken)
        self.index.refresh()
        log = self.index.files.get(self.folder / LOGS / f"{slot.attempts[0]}.jsonl")
        over = log.current if log is not None else None
        asked = code == STOPPED and (log is None or log.stopped)
        if asked or (code == 0 and over is None):
            return None
        if code is None or (code == 2 and over is None):
            raise WorkersFailed("a worker stopped, see the line above; finished trials are kept")
        # also where a run ended its process with an exit code that means something here
        return self._replace(slot, code, over, log.begun if log is not None else "")

    def _replace(self, slot: _Slot, code: int, over: Execution | None, begun: str) -> _Slot:
        isolate = slot.isolate
        stillborn = slot.stillborn + 1 if over is None else 0
        if over is None:
            if stillborn >= FRUITLESS and begun:
                self._unbegun(begun, _blame(code), f"the worker process ended ({_how(code)})")
                stillborn = 0
            elif stillborn >= FRUITLESS:
                raise WorkersFailed(f"workers end before they begin ({_how(code)}), see above")
        elif self._hopeless(over, code):
            self._verdict(over, code)
        elif code != -signal.SIGKILL:
            self._crashed.add(over.run_id)
            isolate = [*isolate, over.run_id]
        new = self._start(slot.attempts, isolate)
        new.stillborn = stillborn
        return new

    def _hopeless(self, over: Execution, code: int) -> bool:
        """The run has crashed before, or was killed several times without one more trial."""
        if code != -signal.SIGKILL:
            return over.run_id in self._crashed
        trials, deaths = self._deaths.get(over.run_id, (-1, 0))
        deaths = deaths + 1 if over.n_trials <= trials else 1
        self._deaths[over.run_id] = (over.n_trials, deaths)
        return deaths >= FRUITLESS

    def _verdict(self, over: Execution, code: int) -> None:
        """Record that a run takes its worker down."""
        text = f"the worker process ended over this run again and again ({_how(code)})"
        self._own_log().verdict(over.path.stem, over.run_id, _blame(code), text)

    def _own_log(self) -> AttemptLog:
        if self._log is None:
            self._log = AttemptLog(self.folder / LOGS)
        return self._log

    def _over_limit(self, slot: _Slot, broken: Broken) -> _Slot:
        """Record it, and go on with the other runs of the worker that was ended."""
        self.index.refresh()
        executions = self.index.executions.get(broken.run_id, ())
        if any(e.path.stem == slot.attempts[0] for e in executions):
            log = self._own_log()
            log.verdict(slot.attempts[0], broken.run_id, broken.status, broken.error)
        else:
            self._unbegun(broken.run_id, broken.status, broken.error)
        return self._start(slot.attempts, slot.isolate)

    def _unbegun(self, run_id: str, status: Status, error: str) -> None:
        """Record a run whose worker was lost while its task was still being built."""
        from carps_like.plan import read_generation  # heavy, and hardly ever needed

        generation = read_generation(self.folder, self.generation)
        found = (a for i in range(len(generation)) for a in generation[i] if a.run_id == run_id)
        assigned = next(found)
        log = self._own_log()
        header = {"spec": assigned.spec.data(), "round": assigned.round, "objectives": []}
        log.run(run_id, [], header)
        log.done(run_id, status, f"{error}, before its task was built", 0)

    def _stop(self) -> None:
        """Ask the workers that are left to stop, then end them."""
        for slot in self._slots:
            slot.process.terminate()
        until = time.monotonic() + 5
        for slot in self._slots:
            try:
                slot.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            self._close(slot)

    def _close(self, slot: _Slot) -> None:
        self._beat.end(slot.attempts[0])
        if slot.warden is not None:
            slot.warden.end()
            slot.warden.close()
            slot.warden = None
        end_marked(slot.attempts[0])  # what the worker has left running


def _blame(code: int) -> Status:
    """What a run is recorded as that took its worker down; SIGKILL mostly is the kernel's."""
    return Status.OUT_OF_MEMORY if code == -signal.SIGKILL else Status.CRASHED


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
