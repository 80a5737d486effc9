"""CPU per trial that the framework adds, ask to logged, without the optimizer and the objective.

    python benchmarks/overhead.py [--trials 10000] [--carps-python PYTHON]

Runs random search on a 2-d BBOB function through the engine and its log, and the bare loop of the
same asks and evaluations; the difference is the framework's. Where the package ``carps``
is installed, the same job is run through it in the same call.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import carps_like
from carps_like.log import AttemptLog
from carps_like.plan import make_plan
from carps_like.session import _configuration
from carps_like.worker import execute

TASK = "bbob-d02-f01-i01"


def bare(n: int) -> float:
    """CPU seconds of asks and evaluations alone."""
    task = carps_like.task(TASK)
    optimizer = carps_like.optimizer("random", task.description, 0)
    started = time.process_time()
    for _ in range(n):
        trial = optimizer.ask()
        task.compute(trial.config, None, None, None)
    return time.process_time() - started


def framework(n: int) -> float:
    """CPU seconds of the whole run, from the spec to the done line."""
    config, live = _configuration("random", TASK, 0, {"trials": n})
    spec = make_plan([config], live=live).runs[0].spec
    with tempfile.TemporaryDirectory() as folder:
        log = AttemptLog(Path(folder))
        started = time.process_time()
        execute(spec, log)
        seconds = time.process_time() - started
        log.close()
    return seconds


def peer(python: str, n: int) -> float | None:
    """CPU seconds per trial of the same job through ``carps``, no start-up; None: not there."""
    used = []
    for trials in (10, n + 10):
        command = [python, "-m", "carps.run", "+optimizer/randomsearch=config"]
        command += ["+task/BBOB=cfg_2_1_0", f"task.optimization_resources.n_trials={trials}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, cwd=folder, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            return None
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (used[1] - used[0]) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--carps-python", default=sys.executable, help="where carps is installed")
    args = parser.parse_args()
    n = args.trials
    framework(100)  # imports and caches
    bare(100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    costs = sorted((framework(n) - bare(n)) / n * 1e6 for _ in range(5))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    spread = f"5 runs: {costs[0]:.1f} to {costs[-1]:.1f}"
    print(f"carps_like: {costs[2]:.1f} us of CPU per trial ({spread})")
    print(f"memory above the libraries at the peak: {grown:.1f} MB")
    theirs = peer(args.carps_python, 1000)
    if theirs is None:
        print("carps: not installed there")
    else:
        print(f"carps: {theirs * 1e6:.0f} us per trial, {theirs * 1e6 / costs[2]:.0f} x as much")


if __name__ == "__main__":
    main()
