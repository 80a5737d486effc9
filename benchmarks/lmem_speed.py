"""CPU time and memory of mixed models, with lme4 beside it where Rscript is installed.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/lmem_speed.py [--case ri] [--no-r]

Every case runs in a process of its own. ``fit`` ends when the model is fitted, ``tables`` when the
fixed effects with Kenward-Roger tests are there too; lme4 is timed on ``lmer`` alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Case:
    """A model, its size and its gate in seconds of CPU."""

    formula: str
    rows: int
    tasks: int
    gate: float
    memory: float = np.inf  # MB above the data frame


TASKS = "value ~ optimizer + (1|task)"
CASES = {
    "ri": Case(TASKS, 500_000, 300, 0.2),
    "interaction": Case(f"{TASKS} + (1|task:optimizer)", 500_000, 300, 1.0),
    "ri-5m": Case(TASKS, 5_000_000, 300, 2.0, 1000),
    "insteval": Case("value ~ service + (1|s) + (1|d)", 73_000, 0, 14.0),
    "crossed-local": Case("value ~ service + (1|s) + (1|d)", 200_000, 0, np.inf),
    "crossed-random": Case("value ~ service + (1|s) + (1|d)", 30_000, 0, np.inf),
    "slopes": Case("value ~ optimizer * x + (x|task)", 500_000, 2_000, np.inf),
    "ri-10m-covariate": Case("value ~ optimizer + x + (1|task)", 10_000_000, 300, np.inf),
}
CROSSED = {73_000: (3_000, 1_100), 200_000: (30_000, 25_000), 30_000: (15_000, 9_000)}  # levels


def data(case: Case) -> pd.DataFrame:
    """Simulated rows; crossed students and lecturers for the InstEval-like case."""
    rng, n = np.random.default_rng(0), case.rows
    if not case.tasks:
        ns, nd = CROSSED[case.rows]
        s, d = rng.integers(0, ns, n), rng.integers(0, nd, n)
        if case.rows == 200_000:  # everybody meets neighbours only
            d = (s * nd // ns + rng.integers(0, 6, n)) % nd
        service = rng.integers(0, 2, n)
        value = 0.33 * rng.normal(size=ns)[s] + 0.5 * rng.normal(size=nd)[d] + 0.1 * service
        value += 1.2 * rng.normal(size=n)
        names = np.array(["no", "yes"], dtype=object)
        return pd.DataFrame({"s": s, "d": d, "service": names[service], "value": value})
    task, optimizer = rng.integers(0, case.tasks, n), rng.integers(0, 10, n)
    value = 2 * rng.normal(size=case.tasks)[task] + 0.2 * rng.normal(size=10)[optimizer]
    value += 0.5 * rng.normal(size=(case.tasks, 10))[task, optimizer] + rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "optimizer": np.array([f"optimizer{i}" for i in range(10)], dtype=object)[optimizer],
            "task": np.array([f"task{i:04}" for i in range(case.tasks)], dtype=object)[task],
            "value": value,
        }
    )
    if "x" in case.formula.split("~")[1].replace("optimizer", "").replace("task", ""):
        frame["x"] = rng.normal(size=n)
    return frame


def measure(name: str) -> dict[str, float]:
    """CPU seconds of fit and tables, peak memory above the frame."""
    from carps_like.analysis import lmem

    case = CASES[name]
    frame = data(case)
    lmem.fit(case.formula, frame.iloc[:5000])  # imports and caches
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    model = lmem.fit(case.formula, frame)
    fitted = time.process_time()
    assert len(model.fixed_effects) and model.converged
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "fit": fitted - start,
        "tables": done - start,
        "memory": (peak - before) / 1024,
        "log_likelihood": model.log_likelihood,
    }


def lme4(name: str) -> dict[str, float] | None:
    """The same model by lme4, on the same rows; None without Rscript or lme4."""
    if shutil.which("Rscript") is None:
        return None
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data(case).to_csv(path, index=False)
        script = (
            f'd <- read.csv("{path}", stringsAsFactors=TRUE); suppressMessages(library(lme4)); '
            f"t <- system.time(m <- lmer({case.formula}, d))[['user.self']]; "
            "cat(sprintf('%.17g %.17g', t, as.numeric(logLik(m))))"
        )
        done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().split("\n")[-1], file=sys.stderr)
        return None
    seconds, log_likelihood = map(float, done.stdout.split()[-2:])
    return {"fit": seconds, "log_likelihood": log_likelihood}


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--no-r", action="store_true")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    print(f"{'case':18}{'rows':>11}{'fit s':>8}{'tables s':>9}{'MB':>7}{'gate s':>8}{'lme4 s':>8}"
          f"{'ratio':>7}{'log-lik. - lme4':>17}")  # fmt: skip
    for name in given.case or CASES:
        case = CASES[name]
        command = [sys.executable, __file__, "--measure", name]
        ours = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        theirs = None if given.no_r else lme4(name)
        line = (
            f"{name:18}{case.rows:11,}{ours['fit']:8.2f}{ours['tables']:9.2f}{ours['memory']:7.0f}"
        )
        line += f"{case.gate:8.1f}" if np.isfinite(case.gate) else f"{'':8}"
        if theirs:
            difference = ours["log_likelihood"] - theirs["log_likelihood"]
            line += f"{theirs['fit']:8.1f}{theirs['fit'] / ours['fit']:6.0f}x{difference:17.1e}"
        failed = ours["fit"] > case.gate or ours["memory"] > case.memory
        print(line + ("   GATE MISSED" if failed else ""), flush=True)


if __name__ == "__main__":
    main()
