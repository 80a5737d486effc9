"""Limits on whole runs, held from outside the worker: whatever the code in it does.

The worker says over a pipe which run it begins and what that may use; the process that started
it watches clock and memory of its whole process tree and ends all of it. Python need not answer,
signals are not asked, and children count wherever they have gone. Where a cgroup v2 with the
memory controller can be written to, the kernel holds the memory limit as well.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carps_like.processes import end_tree, tree
from carps_like.trial import Status

if TYPE_CHECKING:
    from carps_like.spec import Limits


def tell_begin(pipe: int, run_id: str, limits: Limits) -> None:
    """The worker's side: a run begins."""
    line = f"begin {run_id} {limits.run_seconds or 0} {limits.run_memory_mb or 0}\n"
    os.write(pipe, line.encode())


def tell_end(pipe: int) -> None:
    """The worker's side: the run has ended."""
    os.write(pipe, b"end\n")


@dataclass(frozen=True)
class Broken:
    """A limit that a run went over."""

    run_id: str
    status: Status
    error: str


class Warden:
    """Watches one worker from the process that started it."""

    def __init__(self, pid: int, pipe: int, cgroup: Cgroup | None = None) -> None:
        self._pid, self._pipe, self._cgroup = pid, pipe, cgroup
        os.set_blocking(pipe, False)
        self._text = b""
        self._run, self._started = "", 0.0
        self._seconds, self._megabytes, self._base = 0.0, 0.0, 0.0
        if cgroup is not None:
            cgroup.add(pid)

    def check(self) -> Broken | None:
        """To be called some times a second; the limit that the present run has gone over."""
        self._listen()
        if not self._run:
            return None
        if self._seconds and time.monotonic() - self._started >= self._seconds:
            text = f"the run took more than {self._seconds:g} s"
            return Broken(self._run, Status.TIMEOUT, text)
        if self._megabytes and self._used() - self._base > self._megabytes:
            return self._too_much()
        return None

    def post_mortem(self) -> Broken | None:
        """After the worker has died: whether the kernel ended it over its memory limit."""
        self._listen()
        over = self._cgroup is not None and self._cgroup.out_of_memory()
        return self._too_much() if over and self._run and self._megabytes else None

    def end(self) -> None:
        """SIGKILL the worker with everything that it started."""
        end_tree(self._pid)
        if self._cgroup is not None:
            self._cgroup.kill()

    def close(self) -> None:
        os.close(self._pipe)
        if self._cgroup is not None:
            self._cgroup.remove()

    def _too_much(self) -> Broken:
        text = f"the run took more than {self._megabytes:g} MB"
        return Broken(self._run, Status.OUT_OF_MEMORY, text)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._pipe, 65536):
                self._text += block
        *lines, self._text = self._text.split(b"\n")
        if not lines:
            return
        word, *rest = lines[-1].decode().split()  # only the last one is still true
        if word == "end":
            self._run = ""
            return
        self._run, self._started = rest[0], time.monotonic()
        self._seconds, self._megabytes = float(rest[1]), float(rest[2])
        if self._megabytes:
            self._base = self._used()
            if self._cgroup is not None:
                self._cgroup.allow(self._megabytes)

    def _used(self) -> float:
        return sum(map(process_memory, tree(self._pid)))


def process_memory(pid: int) -> float:
    """MB of memory that a process uses and no file backs, shared pages divided by their users."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:")):
                total += int(line.split()[1])
    return total / 1024


class Cgroup:
    """A control group (v2) of one worker: see :func:`cgroup`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            (self.path / "cgroup.procs").write_text(str(pid))

    def allow(self, megabytes: float) -> None:
        """So much more than is used now."""
        with contextlib.suppress(OSError, ValueError):
            used = int((self.path / "memory.current").read_text())
            # a little above, so that the watching process is the first to see it
            most = used + int(megabytes * 1.1 + 16) * 2**20
            (self.path / "memory.max").write_text(str(most))
            (self.path / "memory.swap.max").write_text("0")

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group."""
        with contextlib.suppress(OSError):
            for line in (self.path / "memory.events").read_text().splitlines():
                if line.startswith("oom_kill "):
                    return line != "oom_kill 0"
        return False

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        for _ in range(20):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # processes that are being ended
                time.sleep(0.05)
            else:
                return


def means() -> str:
    """How limits on runs are held on this machine, in words."""
    text = "limits on runs are held by looking at the workers' process trees"
    return text if _parent() is None else f"{text}, and on memory by cgroup v2"


def cgroup(name: str) -> Cgroup | None:
    """A new group for a worker; ``None`` where there is no cgroup v2 that we may write to."""
    parent = _parent()
    if parent is None:
        return None
    try:
        made = parent / f"carps-like-{name}"
        made.mkdir()
        (made / "memory.oom.group").write_text("1")
    except OSError:
        return None
    return Cgroup(made)


def _parent() -> Path | None:
    """Our own group, prepared to have children with memory limits."""
    try:
        lines = _OF_THIS_PROCESS.read_text().splitlines()
        inside = next(line[3:] for line in lines if line.startswith("0::"))
        own = _MOUNTED / inside.strip("/")
        if own.name == _LEAF:
            own = own.parent
        if "memory" not in (own / "cgroup.controllers").read_text().split():
            return None
        if "memory" not in (own / "cgroup.subtree_control").read_text().split():
            # a group with children must hold no process itself: we move into one of them
            (own / _LEAF).mkdir(exist_ok=True)
            (own / _LEAF / "cgroup.procs").write_text(str(os.getpid()))
            (own / "cgroup.subtree_control").write_text("+memory")
    except (OSError, StopIteration):
        return None
    return own


_LEAF = "carps-like-main"
_OF_THIS_PROCESS, _MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
