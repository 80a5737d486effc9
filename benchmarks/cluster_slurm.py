"""Studies through `carps-like submit` on the local SLURM cluster with six slots.

    scripts/slurm_local.sh up
    python benchmarks/cluster_slurm.py grid       # 10,000 runs x 100 trials: target 60 s
    python benchmarks/cluster_slurm.py sleep      # 60 runs of 2 s: ideal 20 s, target 30 s

Wall times are from `sbatch` to the empty queue; what `carps-like submit` takes up to then (the
imports of Hydra and of the tasks, the plan) is told apart.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLURM = ["executor=slurm", "executor.array=6", "executor.memory_mb=600", "executor.time=30"]
SLEEPER = """
import time
from ConfigSpace import ConfigurationSpace, Float
from carps_like import Task, describe

class Sleeper(Task):
    def __init__(self):
        space = ConfigurationSpace()
        space.add(Float("x", (0, 1)))
        self.description = describe("own-sleeper", space)

    def compute(self, config, fidelity, seed, state):
        time.sleep(2)
        return {"value": config["x"]}
"""


def carps_like(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "carps_like", *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def on_slurm(study: list[str], folder: Path) -> tuple[float, float]:
    """Wall seconds from `sbatch` to the empty queue, and CPU seconds of the jobs."""
    started = time.perf_counter()
    out = carps_like("submit", *study, *SLURM, f"results={folder}")
    submitted = time.perf_counter()  # sbatch is the last thing that it calls
    (job,) = re.findall(r"submitted job (\d+)", out)
    while subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True).stdout:
        time.sleep(0.2)
    wall = time.perf_counter() - submitted
    print(f"submit took {submitted - started:.1f} s; then {wall:.1f} s to the empty queue")
    return wall, _cpu_seconds(job)


def _cpu_seconds(job: str) -> float:
    """Of a whole array; accounting trails the queue by some seconds."""
    command = ["sacct", "-n", "-P", "-j", job, "-o", "JobID,TotalCPU"]
    for _ in range(60):
        lines = subprocess.run(command, capture_output=True, text=True).stdout.split()
        rows = [line.split("|") for line in lines]
        seconds = [_seconds(text) for name, text in rows if name.endswith(".batch")]
        if len(seconds) == 6 and all(seconds):
            return sum(seconds)
        time.sleep(1)
    raise SystemExit(f"sacct does not tell the CPU time of job {job}")


def _seconds(text: str) -> float:
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)


def here(study: list[str], folder: Path) -> float:
    """CPU seconds of the local executor with everything it starts."""
    before = os.times()
    carps_like("run", *study, "workers=2", f"results={folder}")
    after = os.times()
    return after.children_user + after.children_system - before[2] - before[3]


def grid(seeds: int = 100) -> None:
    chosen = ",".join(f"bbob-d02-f{f:02}-i{i:02}" for f in range(1, 21) for i in range(1, 6))
    study = ["-m", "optimizer=random", f"task={chosen}", f"seed=range(0,{seeds})"]
    study += ["budget.trials=100"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wall, cpu = on_slurm(study, folder / "slurm")
        n_runs = 100 * seeds
        print(carps_like("status", str(folder / "slurm")), end="")
        local = here(study, folder / "local")
        print(f"{n_runs} runs on SLURM: {wall:.1f} s, {1e3 * cpu / n_runs:.2f} ms CPU a run")
        print(f"the same here, 2 workers, tables written: {1e3 * local / n_runs:.2f} ms CPU a run")
        print(f"ratio of CPU: {cpu / local:.2f}")


def sleep() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "task").mkdir()
        (folder / "sleeper.py").write_text(SLEEPER)
        text = "name: own-sleeper\n_target_: sleeper.Sleeper\n"
        (folder / "task" / "own-sleeper.yaml").write_text(text)
        study = ["--config-dir", str(folder), "-m", "optimizer=random", "task=own-sleeper"]
        wall, _ = on_slurm([*study, "seed=range(0,60)", "budget.trials=1"], folder / "r")
        print(carps_like("status", str(folder / "r")), end="")
        print(f"60 runs of 2 s on 6 slots: {wall:.1f} s (ideal 20 s)")


if __name__ == "__main__":
    {"grid": grid, "sleep": sleep}[sys.argv[1]]()
