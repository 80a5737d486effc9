"""Time the analysis of a million trials: best so far at 50 budgets, final values, ranks.

    python benchmarks/read_results.py [RESULTS] [--runs 10000] [--trials 100]

Without a results folder the frames are made in memory with the types that `carps_like.load`
gives. Prints seconds of CPU of this process, the best of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carps_like.analysis.anytime import best_so_far
from carps_like.analysis.final import final
from carps_like.analysis.ranks import ranks


@dataclass(frozen=True)
class Frames:
    runs: pd.DataFrame
    trials: pd.DataFrame


def made(n_runs: int, n_trials: int) -> Frames:
    """Runs of 20 optimizers with 5 seeds, in the order of the stored tables."""
    n_tasks = -(-n_runs // 100)
    grid = pd.MultiIndex.from_product(
        [
            [f"task-{i:05}" for i in range(n_tasks)],
            [f"optimizer-{i:02}" for i in range(20)],
            range(5),
        ],
        names=["task", "optimizer", "seed"],
    )
    runs = grid.to_frame(index=False).head(n_runs)
    runs["run_id"] = [f"r{i:015x}" for i in range(len(runs))]
    runs["status"] = "ok"
    for name in ("task", "optimizer", "run_id", "status"):
        runs[name] = runs[name].astype("category")
    runs["objectives"] = [["value"]] * len(runs)
    trials = runs.loc[runs.index.repeat(n_trials), ["run_id", "optimizer", "task", "seed"]]
    trials = trials.reset_index(drop=True)
    trials["trial"] = np.tile(np.arange(n_trials), len(runs))
    trials["status"] = pd.Categorical(["ok"]).repeat(len(trials))
    trials["fidelity"] = np.nan
    trials["value"] = np.random.default_rng(0).random(len(trials))
    trials["budget_used"] = trials["trial"] + 1.0
    trials["end"] = trials["trial"] + 1.0
    return Frames(runs, trials)


def read(folder: Path) -> Frames:
    """The frames of a results folder."""
    from carps_like.results import load

    loaded = load(folder)
    return Frames(loaded.runs, loaded.trials)


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of ``call``, the best of three."""
    spent = []
    for _ in range(3):
        before = time.process_time()
        call()
        spent.append(time.process_time() - before)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=100)
    given = parser.parse_args()
    if given.results is None:
        results = made(given.runs, given.trials)
    else:
        results = read(given.results)
        print(f"{'load':24}{seconds(lambda: read(given.results)):8.3f} s")
    print(f"{len(results.runs)} runs, {len(results.trials)} trials")
    print(
        f"{'best so far, 50 budgets':24}{seconds(lambda: best_so_far(results, points=50)):8.3f} s"
    )
    print(f"{'final values':24}{seconds(lambda: final(results)):8.3f} s")
    curves = best_so_far(results, points=50)
    print(f"{'ranks at 50 budgets':24}{seconds(lambda: ranks(curves)):8.3f} s")


if __name__ == "__main__":
    main()
