"""A grid of many short runs through the command line, and reading a million trials back.

    python benchmarks/grid.py [--runs 1000] [--trials 100] [--workers 2]

1. `carps-like run -m` of random search on BBOB: runs per second and core, start-up included.
2. As many copies of the logs as make a million trials: loading them, compacting, loading the
   parquet, and best-so-far at 50 budgets of every run.
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
from carps_like.analysis.anytime import best_so_far
from carps_like.results import compact


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def grid(folder: Path, runs: int, trials: int, workers: int) -> None:
    seeds = max(1, runs // 24)
    command = [sys.executable, "-m", "carps_like", "run", "-m", "optimizer=random"]
    command += ["task=glob(bbob-d02-*-i01)", f"seed=range(0,{seeds})", f"budget.trials={trials}"]
    command += [f"workers={workers}", f"results={folder}"]
    before, started = cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds, used = time.perf_counter() - started, cpu(resource.RUSAGE_CHILDREN) - before
    n = seeds * 24
    print(
        f"{n} runs x {trials} trials, workers={workers}: {seconds:.1f} s wall, {used:.1f} s of CPU"
    )
    print(f"  {n / used:.0f} runs per second of CPU, everything included")


def read(folder: Path, trials: int) -> None:
    """Copies of the log with other run ids and seeds, until there are a million trials."""
    logs = sorted((folder / "logs").glob("*.jsonl"))
    have = carps_like.load(folder).tables["trials"].num_rows
    copies = -(-trials // have)
    with tempfile.TemporaryDirectory() as big:
        target = Path(big) / "logs"
        target.mkdir()
        for i in range(copies):
            for log in logs:
                text = log.read_bytes().replace(b'"run":"r', b'"run":"r%03d' % i)
                text = text.replace(b'"seed":', b'"seed":1%03d' % i)
                (target / f"{log.stem}-{i}.jsonl").write_bytes(text)
        started = cpu()
        results = carps_like.load(big)
        print(f"{len(results):,} trials from logs: {cpu() - started:.2f} s of CPU")
        started = cpu()
        compact(big)
        size = sum(f.stat().st_size for f in Path(big).glob("*.parquet"))
        print(f"  compact: {cpu() - started:.2f} s, {size / len(results):.0f} bytes a trial")
        started, wall = cpu(), time.perf_counter()
        results = carps_like.load(big)
        frame = results.trials
        loaded = cpu() - started
        curves = best_so_far(results, points=50)
        used, seconds = cpu() - started, time.perf_counter() - wall
        print(f"  parquet to frame: {loaded:.2f} s of CPU")
        print(f"  best so far at 50 budgets, {len(curves):,} rows: {used - loaded:.2f} s")
        print(f"  together: {used:.2f} s of CPU, {seconds:.2f} s wall")
        assert len(frame) == len(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        grid(results, args.runs, args.trials, args.workers)
        read(results, 1_000_000)


if __name__ == "__main__":
    main()
