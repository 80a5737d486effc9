"""Dask: chunks of a plan as tasks of ``dask.distributed``, on whatever it reaches.

The address of a scheduler stands for a cluster that somebody else has started: by hand, by
dask-jobqueue, on Kubernetes, in a cloud. Without one, a cluster of processes is started here.
A task runs one worker of ours on the frozen plan; what it claims, logs and resumes is the same as
everywhere else, so a Dask worker that is lost costs no finished trial.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carps_like.errors import BadValue, MissingLibrary, UnknownName
from carps_like.local import THREADS, WorkersFailed
from carps_like.store import Index

if TYPE_CHECKING:
    from distributed import Client

POLL = 0.2  # seconds between looks at the tasks


@dataclass(frozen=True)
class Dask:
    """The fields of ``configs/executor/dask.yaml``."""

    address: str | None = None
    workers: int = 2

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Dask:
        given = {k: v for k, v in data.items() if k != "name"}
        known = [f.name for f in fields(cls)]
        for key in given:
            if key not in known:
                raise UnknownName("field of executor=dask", key, known)
        return cls(**given)

    def __post_init__(self) -> None:
        whole = isinstance(self.workers, int) and not isinstance(self.workers, bool)
        if not whole or self.workers < 1:
            raise BadValue(f"executor.workers must be a whole number above 0, not {self.workers!r}")


@contextlib.contextmanager
def client_of(dask: Dask) -> Iterator[Client]:
    """A client of the cluster, or of a new one of processes on this machine.

    Raises:
        MissingLibrary: ``distributed`` is not installed.
        WorkersFailed: no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingLibrary("distributed", "dask", "executor=dask") from None
    if dask.address is None:
        # the nanny starts a lost worker again, as a scheduler elsewhere would
        cluster = LocalCluster(
            n_workers=dask.workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        with cluster, Client(cluster) as client:
            yield client
        return
    given = {"scheduler_file": dask.address} if Path(dask.address).is_file() else {}
    try:
        client = Client(**given) if given else Client(dask.address, timeout=20)
    except (OSError, TimeoutError, ValueError) as error:
        raise WorkersFailed(f"no Dask scheduler answers at {dask.address!r}: {error}") from None
    with client:
        yield client


def run_generation(
    client: Client,
    folder: Path,
    generation: int,
    n_workers: int,
    *,
    trusted: Sequence[str] = (),
    paths: Sequence[str] = (),
    limited: bool = False,
    progress: Callable[[Index], None] | None = None,
) -> Index:
    """Work on a generation of a plan through Dask until it is done.

    Each task keeps one worker process going, as a task of a job array does. A task whose Dask
    worker was lost is started again by Dask; it finishes what the lost one had claimed.

    Raises:
        WorkersFailed: no worker could work: what the first of them said.
    """
    arguments = [str(folder.resolve()), "--generation", str(generation)]
    arguments += ["--limited"] if limited else []
    arguments += [part for target in trusted for part in ("--trust", target)]
    arguments += [part for path in paths for part in ("--path", path)]
    name = f"carps-like-{folder.name}-g{generation:03}"
    keys = [f"{name}-{i}" for i in range(n_workers)]
    tasks = [client.submit(work, arguments, key=key, pure=False, retries=3) for key in keys]
    index = Index(folder)
    try:
        while not all(task.done() for task in tasks):
            time.sleep(POLL)
            if progress is not None:
                progress(index.refresh())
    finally:
        client.cancel([task for task in tasks if not task.done()])
    index.refresh()
    for task in tasks:
        problem = task.exception()
        if problem is not None:
            raise WorkersFailed(f"a Dask task failed: {problem}")
        if task.result():
            raise WorkersFailed(task.result())
    return index


def work(arguments: Sequence[str]) -> str:
    """One task: the errors of its worker, empty when there were none.

    The worker is a process of its own, which ends with this one: Dask's workers have threads,
    which must not be forked, and settings of their own.
    """
    command = [sys.executable, "-P", "-m", "carps_like.executors.array_task", *arguments]
    command += ["--parent", str(os.getpid())]
    environment = dict(os.environ, PYTHONHASHSEED="0", **dict.fromkeys(THREADS, "1"))
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1] if done.returncode else ""
