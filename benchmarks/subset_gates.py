"""Selection and proof on the shipped inputs: value after 1 s and 10 s of CPU, bound, gap.

    python benchmarks/subset_gates.py [--seeds 3] [--limits 1 10] [--prove 25]
        [--target uniform|empirical]

Every limit is CPU time of one core without compilation; the worst seed is what counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd

from carps_like.analysis.subset import prove, select

INPUTS = Path(__file__).parent.parent / "tests" / "golden" / "discrepancy" / "inputs"
# input, k, gates of the uniform target after 1 s and 10 s, best known
GATES = [
    ("correlated-150-3", 10, {1.0: 0.204489, 10.0: 0.204489}, 0.204488),
    ("ties-120-3", 15, {1.0: 0.183334, 10.0: 0.183334}, 0.183333),
    ("uniform-100-3", 20, {1.0: 0.130, 10.0: 0.1245}, 0.119609),
    ("uniform-300-2", 20, {1.0: 0.0776, 10.0: 0.0745}, 0.071056),
    ("uniform-150-4", 15, {1.0: 0.201, 10.0: 0.1895}, 0.184516),
]


def main() -> None:
    """Print one line per input and limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limits", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--prove", type=float, default=0.0, help="seconds for the bound")
    parser.add_argument("--target", choices=["uniform", "empirical"], default="uniform")
    parser.add_argument("--inputs", nargs="+", default=[gate[0] for gate in GATES])
    options = parser.parse_args()
    for name, k, gates, best_known in GATES:
        if name not in options.inputs:
            continue
        points = pd.read_csv(INPUTS / f"{name}.csv", index_col="task")
        for limit in options.limits:
            found = [
                select(points, k, options.target, seed, time_limit=limit)
                for seed in range(options.seeds)
            ]
            best = min(found, key=lambda one: one.value)
            worst = max(one.value for one in found)
            line = f"{name:17} k {k:2} {limit:4g} s  best {best.value:.6f} worst {worst:.6f}"
            if options.target == "uniform" and limit in gates:
                verdict = "met" if worst <= gates[limit] else "MISSED"
                line += f"  gate {gates[limit]:.6f} {verdict}  best known {best_known:.6f}"
            print(line, flush=True)
        if options.prove:
            began = time.process_time()
            proved = prove(points, best, options.prove)
            print(f"  {proved.describe()}, {time.process_time() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
