"""Evaluations in a child process that can be ended: time and memory limits, crashes.

The child is forked before the task exists and builds it itself, so that libraries which start
threads are never forked. Its whole tree is watched and ended: children that it forks, also those
that start a session of their own, and programs that ignore signals.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from carps_like.errors import CarpsLikeError
from carps_like.interface import Task, described, failure
from carps_like.processes import (
    STOPS,
    become_subreaper,
    blocked,
    die_with_parent,
    end_strays,
    end_tree,
    own_children,
    tree_memory,
)
from carps_like.spec import Limits
from carps_like.trial import Result, Status

_POLL = 0.02  # seconds between looks at the memory


class Sandbox:
    """Evaluates one task's configurations in a child process, within limits.

    Args:
        build: makes the task; called in the child.
        limits: per trial.
    """

    def __init__(self, build: Callable[[], Task], limits: Limits) -> None:
        self._build, self._limits = build, limits
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._task: Task | None = None
        become_subreaper()  # orphans of the child come to us, so we can end them
        self._spared = own_children()  # in a notebook: processes of the user's

    def evaluate(self, config: Any, fidelity: float | None, seed: int | None, state: Any) -> Result:
        """As :meth:`Task.evaluate`; a trial that breaks a limit or its process is a failure."""
        if self._child is None or not self._child.is_alive():
            self._start()
        pipe, child = self._pipe, self._child
        assert pipe is not None and child is not None and child.pid is not None
        started = time.monotonic()
        base = tree_memory(child.pid) if self._limits.trial_memory_mb else 0.0
        try:
            pipe.send((config, fidelity, seed, state))
        except OSError:
            return self._ended(started)
        while True:
            try:
                ready = pipe.poll(self._wait(started))
                answer = pipe.recv() if ready else None
            except (EOFError, OSError):
                return self._ended(started)
            if answer is not None:
                self._reap_strays()
                if isinstance(answer, CarpsLikeError):
                    raise answer
                result: Result = answer
                return result
            over = self._over(started, base)
            if over is not None:
                self.close()
                return self._failure(*over, started)

    def _wait(self, started: float) -> float:
        if self._limits.trial_memory_mb is not None:
            return _POLL
        if self._limits.trial_seconds is None:
            return 1.0
        return max(0.0, min(1.0, self._limits.trial_seconds - (time.monotonic() - started)))

    def _over(self, started: float, base: float) -> tuple[Status, str] | None:
        seconds, memory = self._limits.trial_seconds, self._limits.trial_memory_mb
        if seconds is not None and time.monotonic() - started >= seconds:
            return Status.TIMEOUT, f"the trial took more than {seconds:g} s"
        child = self._child
        if memory is not None and child is not None and child.pid is not None:
            used = tree_memory(child.pid) - base
            if used > memory:
                return Status.OUT_OF_MEMORY, f"the trial took more than {memory:g} MB"
        return None

    def _failure(self, status: Status, error: str, started: float) -> Result:
        assert self._task is not None
        return failure(self._task.description, status, error, time.monotonic() - started)

    def _ended(self, started: float) -> Result:
        """The child ended by itself in the middle of a trial."""
        child = self._child
        assert child is not None
        child.join(5)
        code = child.exitcode
        self.close()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return self._failure(Status.CRASHED, f"the evaluation was ended by {name}", started)
        text = f"the evaluation ended its process with exit code {code}"
        return self._failure(Status.CRASHED, text, started)

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        parent = os.getpid()
        child = context.Process(
            target=_serve, args=(theirs, ours, self._build, parent, self._limits), daemon=True
        )
        with blocked(STOPS):  # the child takes them once it has handlers of its own
            child.start()
        theirs.close()
        self._child, self._pipe = child, ours
        try:
            first = ours.recv()
        except EOFError:
            child.join(5)
            self.close()
            raise RuntimeError(
                f"building the task ended its process (exit code {child.exitcode})"
            ) from None
        if isinstance(first, BaseException):
            self.close()
            raise first
        if self._task is None:
            self._task = _Described(first)

    def _reap_strays(self) -> None:
        """End what a trial left running outside the child."""
        end_strays(self._spared)

    def close(self) -> None:
        """End the child with everything it started."""
        child, self._child = self._child, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if child is not None and child.pid is not None:
            end_tree(child.pid)
            child.join(5)
            self._reap_strays()


class _Described(Task):
    """Stands in the parent for the task that only the child has built."""

    def __init__(self, description: Any) -> None:
        self.description = description

    def compute(self, config: Any, fidelity: Any, seed: Any, state: Any) -> Any:
        raise RuntimeError("evaluated in the child only")


def _serve(
    pipe: Connection,
    parents_end: Connection,
    build: Callable[[], Task],
    parent: int,
    limits: Limits,
) -> None:
    """The child: build the task, then evaluate what comes until the pipe closes."""
    parents_end.close()
    os.setsid()
    die_with_parent(parent)
    for number in STOPS:  # those are the worker's business; it ends this process by SIGKILL
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    try:
        task = build()
        pipe.send(_portable(task))
    except BaseException as error:
        pipe.send(error if isinstance(error, CarpsLikeError) else RuntimeError(described(error)))
        os._exit(0)
    if limits.trial_memory_mb is not None:
        _cap_memory(limits.trial_memory_mb)
    while True:
        try:
            config, fidelity, seed, state = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            answer: Any = task.evaluate(config, fidelity, seed, state)
        except CarpsLikeError as error:
            answer = error
        try:
            pipe.send(answer)
        except Exception as error:  # nothing was sent: what cannot be pickled fails before that
            text = f"the result cannot be sent to the run's process: {described(error)}"
            pipe.send(failure(task.description, Status.FAILED, text))


def _portable(task: Task) -> Any:
    """What the parent needs of the description: pickles, whatever made the space."""
    from dataclasses import replace

    return replace(task.description, make_space=_no_space)


def _no_space() -> Any:
    raise RuntimeError("the space is in the child only")


def _cap_memory(megabytes: float) -> None:
    """A hard cap a little above the limit: one huge allocation must not win against the poll."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[5])  # data + stack
    cap = int(pages * os.sysconf("SC_PAGE_SIZE") + (megabytes * 1.25 + 64) * 2**20)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
