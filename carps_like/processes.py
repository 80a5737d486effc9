"""Processes and their trees, by ``/proc``: who is whose child, and how to end all of it.

Imports nothing but the standard library: the process that watches a worker needs little else, and
a node that starts many of them notices.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

STOPPED = 75  # exit code of a worker that was asked to stop before its work was done
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
MARK = "CARPS_LIKE_ATTEMPT"  # in the environment of a worker and of all that it starts
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Stop(BaseException):
    """Raised by the signal handler between two bytecodes: no line of a log is ever cut by it."""


def stop_on_signals() -> None:
    """SIGTERM, SIGINT and SIGUSR1 raise :class:`Stop` here, the first of them only."""
    stopped = False

    def stop(number: int, frame: Any) -> None:
        # later ones come here too: set to be ignored, one that is under way is said to be "ignored
        # due to race condition", with a traceback
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stop

    for number in STOPS:
        signal.signal(number, stop)


@contextlib.contextmanager
def blocked(numbers: Collection[int]) -> Iterator[None]:
    """These signals wait until the end of it; a process forked in it begins with them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prctl(option: int, value: int) -> None:
    """Linux's ``prctl``; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends."""
    prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Orphans of this process's children become its own children, and not those of init."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def process_start(pid: int) -> int:
    """When a process began, in clock ticks since boot: tells a reused number; 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])  # ended, its parent has not looked yet


def children_of(pid: int) -> list[int]:
    """Direct children of a process, of all its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/task") as tasks:
        for task in tasks:
            with contextlib.suppress(OSError), FileIO(f"{task.path}/children") as file:
                found += map(int, file.read().split())
    return found


def tree(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    found, i = [pid], 0
    while i < len(found):
        found += [p for p in children_of(found[i]) if p not in found]
        i += 1
    return found


def tree_memory(pid: int) -> float:
    """Resident memory of a process tree in MB, shared pages of forks counted once each."""
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    for member in tree(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{member}/statm").read_text().split()
            total += (int(fields[1]) - int(fields[2])) * page
    return total / 2**20


def end_tree(pid: int) -> None:
    """SIGKILL a process and its descendants; stopped first, so that none forks on."""
    members = tree(pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        members = list(dict.fromkeys(members + tree(pid)))
        for member in members:
            _send(member, number)


def end_marked(attempt: str) -> None:
    """SIGKILL what a worker that has ended left running, wherever its children have gone.

    They are known by the worker's name in their environment, which forks inherit: neither a
    session of their own nor another parent hides them. One that clears its environment is lost.
    Returns when they are gone, or after 5 s where the kernel holds one back.
    """
    wanted = f"{MARK}={attempt}".encode()
    ended: dict[int, int] = {}
    patience = time.monotonic() + 5
    while time.monotonic() < patience:  # until none is left that could have forked in between
        found = [pid for pid in _everybody() if wanted in _environment(pid)]
        for pid in found:
            ended[pid] = process_start(pid)
            _send(pid, signal.SIGKILL)
        if not found and not any(start and process_start(p) == start for p, start in ended.items()):
            return
        time.sleep(0.002)


def own_children() -> list[int]:
    """Direct children of this process."""
    return children_of(os.getpid())


def end_strays(spared: Collection[int], *, daemons_only: bool = False) -> None:
    """End children of this process with their trees; orphans count where it is their subreaper.

    Args:
        spared: left alone, as are those that ``multiprocessing`` here has started.
        daemons_only: only those in another session: code that moves a process there wants it to
            live on.
    """
    for pid in own_children():
        if pid in spared or _is_ours(pid):
            continue
        if not daemons_only or _session(pid) not in (0, os.getsid(0)):
            end_child(pid)


def end_child(pid: int) -> None:
    """SIGKILL a child with its descendants, and reap it."""
    end_tree(pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _is_ours(pid: int) -> bool:
    """Whether a child of this process was started by ``multiprocessing`` here."""
    multiprocessing = sys.modules.get("multiprocessing")  # not imported: it has started none
    return multiprocessing is not None and any(
        p.pid == pid for p in multiprocessing.active_children()
    )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _everybody() -> list[int]:
    try:
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    """The environment that a process began with; empty for those of other users."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
