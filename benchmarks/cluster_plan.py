"""Planning 100,000 runs: `python benchmarks/cluster_plan.py` (target: 60 s, 1 GB)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = [
    "-m",
    "optimizer=random,optuna-tpe,cmaes,smac-hpo",
    "task=glob([bbob-d02-*-i0*,bbob-d05-*-i0*])",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # 4 optimizers x 432 tasks x 58 seeds = 100,224 runs
        request = [*STUDY, "seed=range(0,58)", f"results={folder}/r"]
        for what, words in (
            ("plan --json", ["plan", *request, "--json"]),
            ("submit", ["submit", *request, "executor=slurm", "executor.script_only=true"]),
        ):
            started = time.perf_counter()
            with Path(folder, "out").open("wb") as out:
                process = subprocess.Popen(
                    [sys.executable, "-m", "carps_like", *words],
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                )
                _, status, usage = os.wait4(process.pid, 0)
            cpu = usage.ru_utime + usage.ru_stime
            print(
                f"{what}: exit code {os.waitstatus_to_exitcode(status)}, "
                f"{time.perf_counter() - started:.1f} s wall, {cpu:.1f} s CPU, "
                f"{usage.ru_maxrss / 1024:.0f} MB"
            )


if __name__ == "__main__":
    main()
