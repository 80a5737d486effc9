"""This side of the pipe: one server per environment and process, and optimizers that use it."""

from __future__ import annotations

import atexit
import inspect
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import orjson

from carps_like import errors
from carps_like.description import TaskDescription
from carps_like.interface import Exhausted, Optimizer
from carps_like.isolation.environment import Environment
from carps_like.isolation.wire import Message, result_data, task_data
from carps_like.trial import Result, Trial

Process = subprocess.Popen[bytes]
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


class RemoteError(Exception):
    """The optimizer raised in its own interpreter; the message ends with its traceback there."""


class ServerDied(Exception):
    """The other interpreter ended; the message holds the last lines it wrote."""


def _lasting(start: Callable[[], Process]) -> Process:
    """``start()`` in a thread that lives as long as what it started: on Linux the server is ended
    when the thread that began it ends, not the process.
    """
    if sys.platform != "linux":
        return start()
    begun: Future[Process] = Future()

    def stay() -> None:
        try:
            process = start()
        except BaseException as error:
            begun.set_exception(error)
            return
        begun.set_result(process)
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=stay, daemon=True).start()
    return begun.result()


class Server:
    """A running interpreter of an environment. One message, one reply."""

    def __init__(self, environment: Environment) -> None:
        import carps_like
        from carps_like import isolation, optimizers

        python = environment.build(lambda line: print(line, file=sys.stderr))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        threads = {f"{library}_NUM_THREADS": "1" for library in _THREADS}
        threads["LOKY_MAX_CPU_COUNT"] = "1"
        environment.bound_compiled()
        # what JAX compiles is kept: SAASBO compiles anew for each number of trials
        kept = {
            "JAX_COMPILATION_CACHE_DIR": str(environment.compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        fixed = {"PYTHONHASHSEED": "0", "JAX_PLATFORMS": "cpu"}
        self.pid = os.getpid()
        file = f"{isolation.__path__[0]}/server.py"
        self._process = _lasting(
            lambda: subprocess.Popen(
                [str(python), "-s", "-P", file, str(self.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=kept | inherited | threads | fixed,
            )
        )
        self._runs = 0
        packages = {
            "carps_like": str(carps_like.__path__[0]),
            "carps_like.optimizers": str(optimizers.__path__[0]),
        }
        self.call({"do": "hello", "packages": packages})

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def new_run(self) -> int:
        self._runs += 1
        return self._runs

    def call(self, message: Message) -> Message:
        """Send and wait for the reply.

        Raises:
            RemoteError: the other side raised; its own errors of carps_like come as they are.
            ServerDied: it ended.
        """
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None and pipe_out is not None
        try:
            pipe_in.write(orjson.dumps(message) + b"\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ServerDied(f"exit code {self._process.wait()}: {self.last_words()}")
        reply: Message = orjson.loads(line)
        if "error" in reply:
            known = getattr(errors, reply["kind"], None)
            if known in (errors.BadValue, errors.MissingData, errors.Unsupported):
                raise known(reply["error"])
            text = f"{reply['kind']}: {reply['error']}\n{reply['traceback']}"
            raise RemoteError(text)
        return reply

    def last_words(self) -> str:
        """The end of what it wrote to stdout and stderr."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        return self._log.read().decode(errors="replace")

    def end(self) -> None:
        """Close its stdin, which ends it; kill it if it does not."""
        if self.pid != os.getpid():
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


_servers: dict[Environment, Server] = {}


def server_of(environment: Environment) -> Server:
    """The server of this process for ``environment``, started when there is none."""
    server = _servers.get(environment)
    if server is not None and server.pid == os.getpid() and server.alive:
        return server
    if server is not None:
        server.end()
    _servers[environment] = Server(environment)
    return _servers[environment]


@contextmanager
def server_for_now(environment: Environment | None) -> Iterator[None]:
    """A server that is started meanwhile ends with it."""
    before = set(_servers)
    try:
        yield
    finally:
        if environment is not None and environment not in before and environment in _servers:
            _servers.pop(environment).end()


@atexit.register
def end_servers() -> None:
    """End every server of this process."""
    while _servers:
        _servers.popitem()[1].end()


class Remote(Optimizer):
    """An optimizer that lives in an environment of its own; see :func:`remote_class`."""

    adapter: ClassVar[type[Optimizer]]

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        target: str,
        environment: Environment,
        options: Mapping[str, Any],
    ) -> None:
        self._server = server_of(environment)
        self._run = self._server.new_run()
        self._closed = False
        self._call(
            "build",
            target=target,
            file=inspect.getfile(self.adapter),
            task=task_data(task),
            seed=seed,
            options=dict(options),
        )

    def _call(self, do: str, **more: Any) -> Message:
        return self._server.call({"do": do, "run": self._run, **more})

    def ask(self) -> Trial | None:
        reply = self._call("ask")
        if "number" in reply:
            return Trial(
                reply["config"],
                reply["fidelity"],
                reply["continues"],
                reply["info"],
                reply["number"],
            )
        if "exhausted" in reply:
            raise Exhausted
        return None

    def tell(self, trial: Trial, result: Result) -> None:
        self._call("tell", trial=trial.tag, result=result_data(result))

    def close(self) -> None:
        if not self._closed and self._server.alive and self._server.pid == os.getpid():
            self._call("close")
        self._closed = True


@cache
def remote_class(adapter: type[Optimizer]) -> type[Remote]:
    """``Remote`` for one adapter class, with its capabilities; global seeds are kept in there."""
    capabilities = replace(adapter.capabilities, global_seeds=False)
    return type(
        f"Remote{adapter.__name__}", (Remote,), {"adapter": adapter, "capabilities": capabilities}
    )
