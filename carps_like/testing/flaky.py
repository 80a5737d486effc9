"""Tasks and optimizers that misbehave on purpose, for tests of what runs them.

Whatever they do, each trial ends with a record, each run with a status, and the grid goes on::

    carps_like.run("random", FlakyTask(how="nan"), trials=10)

From a config folder: ``_target_: carps_like.testing.flaky.FlakyTask``, ``how: segfault``.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ConfigSpace import ConfigurationSpace, Float

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, describe
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted, Optimizer, Task
from carps_like.trial import Configuration, Outcome, Result, Trial


def space() -> ConfigurationSpace:
    """One float ``x`` in [0, 1]."""
    made = ConfigurationSpace(seed=0)
    made.add(Float("x", (0.0, 1.0)))
    return made


class FlakyTask(Task):
    """Minimises (x - 0.3)^2; where x < ``share`` it does ``how`` instead.

    Args:
        name: what the task is called.
        how: a key of :data:`TASKS`, or ``nothing``.
        share: part of [0, 1] in which it misbehaves.
        counter: a file that gains one line, ``name seed x``, when an evaluation begins.
        seconds: real time that a good evaluation takes.
        fidelity: whether it has one, 1 to 9 epochs.
        penalty: declared penalty of its objective; ``None`` declares none.

    Raises:
        BadValue: an unknown ``how``.
    """

    def __init__(
        self,
        name: str = "flaky",
        how: str = "raise",
        share: float = 0.5,
        counter: str | None = None,
        seconds: float = 0.0,
        fidelity: bool = False,
        penalty: float | None = None,
    ) -> None:
        if how not in TASKS:
            raise BadValue(f"a flaky task cannot {how!r}{did_you_mean(how, TASKS)}")
        self._how, self._share, self._counter, self._seconds = how, share, counter, seconds
        self.description = describe(
            name,
            space(),
            (Objective("loss", penalty=penalty),),
            budget=Budget(trials=6),
            fidelity=Fidelity("epochs", 1, 9, integer=True) if fidelity else None,
        )

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        x = float(config["x"])
        if self._counter is not None:
            _append(self._counter, f"{self.description.name} {seed} {x!r}\n")
        if x < self._share:
            return {"loss": TASKS[self._how]()}
        if self._seconds:
            time.sleep(self._seconds)
        return {"loss": (x - 0.3) ** 2}


def _append(path: str, line: str) -> None:
    """One write, so that lines of several processes never mix."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _raise() -> NoReturn:
    raise ValueError("the objective\nraises on two lines")


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


def _hang_deaf() -> NoReturn:
    """Ignores every signal that can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _hang()


def _fork_and_return() -> float:
    """Both processes return; only one of them is the one that was asked."""
    os.fork()
    return 1.0


def _fork_and_hang() -> float:
    """Leaves a process of its own session behind."""
    if os.fork() == 0:
        os.setsid()
        _hang()
    return 1.0


def _eat() -> NoReturn:
    """Takes memory in small steps, and touches it."""
    kept = []
    while True:
        kept.append(bytearray(b"x" * 2**23))
        time.sleep(0.005)


def _eat_at_once() -> float:
    """Asks numpy for a terabyte."""
    import numpy as np

    return float(np.ones(2**37)[-1])


def _eat_outside() -> float:
    """The memory is taken by a program that it starts."""
    text = "import time\nkept = []\nwhile True: kept.append(b'x' * 2**23); time.sleep(0.005)"
    subprocess.run([sys.executable, "-S", "-c", text], check=False)
    return 1.0


def _segfault() -> float:
    ctypes.string_at(0)
    return 1.0


def _print() -> float:
    print("x" * 79, *["y" * 79] * 2000, sep="\n")
    print("z" * 200_000, file=sys.stderr)
    return 1.0


def _quit() -> NoReturn:
    sys.exit(0)


def _leave(code: int) -> Callable[[], NoReturn]:
    return lambda: os._exit(code)


TASKS: Mapping[str, Callable[[], Any]] = {
    "nothing": lambda: 1.0,
    "raise": _raise,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "minus-inf": lambda: -math.inf,
    "text": lambda: "no number",
    "text-inf": lambda: "inf",
    "none": lambda: None,
    "huge-int": lambda: 10**400,
    "quit": _quit,
    "hang": _hang,
    "hang-deaf": _hang_deaf,
    "fork-and-return": _fork_and_return,
    "fork-and-hang": _fork_and_hang,
    "eat": _eat,
    "eat-at-once": _eat_at_once,
    "eat-outside": _eat_outside,
    "segfault": _segfault,
    "exit-0": _leave(0),
    "exit-2": _leave(2),
    "exit-3": _leave(3),
    "abort": os.abort,
    "print": _print,
}
"""What a flaky task can do."""


class FlakyOptimizer(Optimizer):
    """Asks for x = 0.00, 0.01, ...; at ask (or tell) number ``at`` it does ``how`` instead.

    Args:
        how: a key of :data:`OPTIMIZERS`, or ``nothing``.
        at: from which number on; with ``in_tell`` when trial ``at`` is told.
        in_tell: misbehave in :meth:`tell`.
    """

    capabilities = Capabilities(multi_objective=True)

    def __init__(
        self, task: Any, seed: int, how: str = "raise", at: int = 2, in_tell: bool = False
    ) -> None:
        if how not in OPTIMIZERS:
            raise BadValue(f"a flaky optimizer cannot {how!r}{did_you_mean(how, OPTIMIZERS)}")
        self._how, self._at, self._in_tell = how, at, in_tell
        self._n, self._shift = 0, seed / 1e6

    def ask(self) -> Trial | None:
        number, self._n = self._n, self._n + 1
        if number >= self._at and not self._in_tell:
            found = OPTIMIZERS[self._how]()
            if found is not _GOOD:
                return found  # type: ignore[no-any-return]
        return Trial({"x": (number % 100) / 100 + self._shift})

    def tell(self, trial: Trial, result: Result) -> None:
        if self._in_tell and self._n > self._at:
            OPTIMIZERS[self._how]()


_GOOD = object()


def _exhausted() -> NoReturn:
    raise Exhausted


OPTIMIZERS: Mapping[str, Callable[[], Any]] = {
    "nothing": lambda: _GOOD,
    "raise": _raise,
    "none": lambda: None,
    "exhausted": _exhausted,
    "out-of-range": lambda: Trial({"x": 1.5}),
    "nan": lambda: Trial({"x": math.nan}),
    "unknown-name": lambda: Trial({"y": 0.5}),
    "missing": lambda: Trial({}),
    "no-trial": lambda: {"x": 0.5},
    "quit": _quit,
    "hang": _hang,
    "segfault": _segfault,
    "exit-0": _leave(0),
    "exit-3": _leave(3),
    "fork-and-return": lambda: (os.fork(), _GOOD)[1],
}
"""What a flaky optimizer can do."""
