"""What the tests of executors share: tasks of one's own, and digests of trajectories."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import carps_like

TASKS = '''
import ctypes, os, signal, time
from carps_like import Task, TaskDescription, describe
from carps_like.tasks._spaces import box


def line(name):
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    space.add(Float("x", (0, 1)))
    return describe(name, space)


class Slow(Task):
    """Takes its time, and answers the same for the same; starts without ConfigSpace."""

    def __init__(self, seconds=0.05):
        self.seconds = seconds
        self.description = TaskDescription("own-slow", box(2, 0.0, 1.0), n_continuous=2)

    def compute(self, config, fidelity, seed, state):
        time.sleep(self.seconds)
        return {"value": (config["x00"] - 0.3) ** 2 + config["x01"]}


class Leaves(Task):
    """Leaves a process behind that moves into a session of its own, or ends this process."""

    def __init__(self, how, note, at="compute"):
        self.how, self.note = how, note
        self.description = line("own-" + how)
        if at == "build" and "CARPS_LIKE_ATTEMPT" in os.environ:
            self.compute({"x": 0.0}, None, None, None)

    def compute(self, config, fidelity, seed, state):
        if self.how.startswith("exits"):
            os._exit(int(self.how[5:]))
        if self.how == "hangs":
            time.sleep(600)
        if not os.path.exists(self.note) and os.fork() == 0:
            if self.how == "daemon":
                os.setsid()
            if os.fork() == 0:
                with open(self.note, "w") as file:
                    file.write(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        while not os.path.exists(self.note) or not os.path.getsize(self.note):
            time.sleep(0.01)
        return {"value": config["x"]}


class Stubborn(Task):
    """Ignores every signal, and then hangs, forks or allocates outside Python."""

    def __init__(self, how, note=""):
        self.how, self.note = how, note
        self.description = line("own-" + how)

    def compute(self, config, fidelity, seed, state):
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        if self.how == "forks" and os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open(self.note, "w") as file:
                    file.write(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        if self.how == "allocates":
            libc = ctypes.CDLL(None)
            libc.malloc.restype = ctypes.c_void_p
            libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
            while True:
                libc.memset(libc.malloc(20 << 20), 1, 20 << 20)
                time.sleep(0.05)
        time.sleep(600)
'''


def own_tasks(folder: Path, **tasks: str) -> Path:
    """A config folder with tasks of one's own: name -> YAML; the folder to name to --config-dir."""
    (folder / "task").mkdir(parents=True)
    (folder / "own_tasks.py").write_text(TASKS)
    for name, text in tasks.items():
        (folder / "task" / f"{name}.yaml").write_text(text)
    return folder


def slow(seconds: float = 0.05) -> str:
    return f"name: own-slow\n_target_: own_tasks.Slow\nseconds: {seconds}\n"


APART = '''
import numpy as np
from carps_like.interface import Capabilities, Optimizer
from carps_like.space import Cube
from carps_like.trial import Trial


class Apart(Optimizer):
    """Draws at random, in an interpreter of its own."""

    capabilities = Capabilities(conditions="native", learns=None)

    def __init__(self, task, seed):
        self.cube, self.random = Cube(task.checker), np.random.default_rng(seed)

    def ask(self):
        return Trial(self.cube.config(self.random.random(self.cube.dimension).tolist()))

    def tell(self, trial, result):
        pass
'''


def apart(folder: Path) -> Path:
    """A config folder with an optimizer that lives in an environment of its own."""
    (folder / "optimizer").mkdir(parents=True)
    (folder / "own_optimizer.py").write_text(APART)
    text = "_target_: own_optimizer.Apart\nenvironment: {name: plain, requirements: [numpy]}\n"
    (folder / "optimizer" / "apart.yaml").write_text(f"name: apart\n{text}")
    return folder


COLUMNS = ["trial", "status", "config", "value", "cost", "budget_used", "start", "end", "worker"]


def digests(folder: Path) -> dict[str, str]:
    """Run id -> hash of its trajectory, everything but the wall clock, for finished runs."""
    results = carps_like.load(folder)
    assert set(results.trials["status"]) <= {"ok"}
    finished = set(results.runs.loc[results.runs["status"] != "killed", "run_id"])
    found: dict[str, str] = {}
    for run_id, rows in results.trials.groupby("run_id", observed=True):
        if run_id in finished:
            ordered: Any = rows.sort_values("trial")[COLUMNS]
            text = ordered.astype(str).to_csv(index=False)
            found[str(run_id)] = hashlib.sha256(text.encode()).hexdigest()
    return found
