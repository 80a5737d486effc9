"""Start-up: CPU until the first trial is logged, against the imports that nobody can avoid.

    python benchmarks/startup.py

The run has one trial, so what follows it (the tables) is measured apart and taken off.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile

LIBRARIES = "import hydra, numpy, pandas, ConfigSpace"


def cpu(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    imports, runs, tables = [], [], []
    for i in range(5):
        imports.append(cpu(sys.executable, "-c", LIBRARIES))
        with tempfile.TemporaryDirectory() as folder:
            run = [sys.executable, "-m", "carps_like", "run", "optimizer=random"]
            run += ["task=bbob-d02-f01-i01", f"seed={i}", "budget.trials=1", f"results={folder}"]
            runs.append(cpu(*run))
            tables.append(cpu(sys.executable, "-m", "carps_like", "compact", folder))
    first = middle(runs)
    print(f"imports of hydra, numpy, pandas, ConfigSpace: {middle(imports):.2f} s of CPU")
    print(
        f"carps-like run, one trial, tables written: {first:.2f} s, {first / middle(imports):.2f} x"
    )
    print(f"  of which making the tables, after the trial: about {middle(tables):.2f} s")


if __name__ == "__main__":
    main()
