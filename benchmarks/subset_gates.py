"""Selection and proof on the shipped inputs: value after 1 s and 10 s of CPU, bound, gap.

    python benchmarks/subset_gates.py [--seeds 10] [--limits 1 10] [--prove 25]
        [--target uniform|empirical] [--inputs NAME ...]

Every limit is CPU time of one core without compilation; the worst seed is what counts. Besides the
shipped inputs a name KIND-N-D-K makes one: "uniform", "correlated" (a common difficulty plus
noise), "ties" (coordinates rounded to tenths), for example correlated-300-3-20.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from carps_like.analysis.subset import Selection, prove, select

INPUTS = Path(__file__).parent.parent / "tests" / "golden" / "discrepancy" / "inputs"
# input: k, gates of the uniform target after 1 s and 10 s, best known
GATES = {
    "correlated-150-3": (10, {1.0: 0.204489, 10.0: 0.204489}, 0.204488),
    "ties-120-3": (15, {1.0: 0.183334, 10.0: 0.183334}, 0.183333),
    "uniform-100-3": (20, {1.0: 0.130, 10.0: 0.1245}, 0.119609),
    "uniform-300-2": (20, {1.0: 0.0776, 10.0: 0.0745}, 0.071056),
    "uniform-150-4": (15, {1.0: 0.201, 10.0: 0.1895}, 0.184516),
}


def make(name: str) -> tuple[pd.DataFrame, int]:
    """Points (n, d) in the cube and k of a generated input."""
    kind, *sizes = name.split("-")
    n, d, k = map(int, sizes)
    rng = np.random.default_rng([n, d, k])
    table = rng.random((n, d))
    if kind == "correlated":
        table = np.clip(rng.beta(0.6, 0.8, (n, 1)) + 0.15 * rng.standard_normal((n, d)), 0, 1)
    elif kind == "ties":
        table = np.round(table, 1)
    elif kind != "uniform":
        raise SystemExit(f"{name}: shipped are {', '.join(GATES)}; kinds uniform, correlated, ties")
    return pd.DataFrame(table), k


def at(found: Selection, limit: float) -> float:
    """Value of the search after ``limit`` seconds of CPU."""
    return min(value for seconds, _, value in found.history if seconds <= limit)


def main() -> None:
    """Print one line per input and limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--limits", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--prove", type=float, default=0.0, help="seconds for the bound")
    parser.add_argument("--target", choices=["uniform", "empirical"], default="uniform")
    parser.add_argument("--inputs", nargs="+", default=list(GATES))
    options = parser.parse_args()
    for name in options.inputs:
        if name in GATES:
            k, gates, best_known = GATES[name]
            points = pd.read_csv(INPUTS / f"{name}.csv", index_col="task")
        else:
            (points, k), gates = make(name), {}
        found = [
            select(points, k, options.target, seed, time_limit=max(options.limits))
            for seed in range(options.seeds)
        ]
        for limit in options.limits:
            values = [at(one, limit) for one in found]
            line = f"{name:17} k {k:2} {limit:4g} s  best {min(values):.6f} "
            line += f"median {np.median(values):.6f} worst {max(values):.6f}"
            if options.target == "uniform" and limit in gates:
                verdict = "met" if max(values) <= gates[limit] else "MISSED"
                line += f"  gate {gates[limit]:.6f} {verdict}  best known {best_known:.6f}"
            print(line, flush=True)
        if options.prove:
            began = time.process_time()
            proved = prove(points, min(found, key=lambda one: one.value), options.prove)
            print(f"  {proved.describe()}, {time.process_time() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
