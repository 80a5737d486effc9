"""Runs inside the other interpreter: builds optimizers, asks and tells them, as asked to.

One JSON line per message on a private copy of file descriptor 1; whatever a library prints goes
to stderr. The end of stdin ends it, and on Linux the death of its client, even while a library
computes. Needs nothing but the standard library, numpy and orjson; the
package itself is loaded from the folder that the client names, so that nothing else that is
installed beside it can be imported here.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import orjson

Message = dict[str, Any]
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def load(name: str, folder: str) -> None:
    """Import the package ``name`` from ``folder``, without putting its parent on the path."""
    init = str(Path(folder) / "__init__.py")
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


class Server:
    """The optimizers of one worker, by number."""

    def __init__(self) -> None:
        self._runs: dict[int, Any] = {}

    def answer(self, message: Message) -> Message:
        """What to reply; an exception becomes a message with ``error`` and ``traceback``."""
        try:
            reply: Message = getattr(self, f"_{message['do']}")(message)
        except Exception as error:
            return _failure(error)
        return reply

    def _hello(self, message: Message) -> Message:
        for name, folder in message["packages"].items():
            load(name, folder)
        return {"python": sys.version.split()[0]}

    def _build(self, message: Message) -> Message:
        from carps_like.isolation.wire import Served

        self._runs[message["run"]] = Served(message)
        return {}

    def _ask(self, message: Message) -> Message:
        reply: Message = self._runs[message["run"]].ask()
        return reply

    def _tell(self, message: Message) -> Message:
        self._runs[message["run"]].tell(message["trial"], message["result"])
        return {}

    def _close(self, message: Message) -> Message:
        served = self._runs.pop(message["run"], None)
        if served is not None:
            served.optimizer.close()
        return {}


def _failure(error: BaseException) -> Message:
    kind = type(error).__name__
    return {"error": str(error), "kind": kind, "traceback": traceback.format_exc()}


def end_with(client: int) -> None:
    """Have the kernel kill this process when the client, its parent, dies; Linux alone can."""
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != client:  # it had died before
        os._exit(0)


def main() -> None:
    """Serve until stdin ends."""
    end_with(int(sys.argv[1]))
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    server = Server()
    for line in requests:
        reply = server.answer(orjson.loads(line))
        replies.write(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    # threads that a library left running must not keep the process alive
    os._exit(0)


if __name__ == "__main__":
    main()
