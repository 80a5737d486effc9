"""How often the sound and the naive model reject a true null, and the power of the sound one.

    python benchmarks/lmem_false_positives.py --data-sets 2000

Every data set has 12 tasks, 3 optimizers that do not differ on average, up to 30 seeds of which a
fifth is missing at random, and one optimizer without one of the tasks.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from carps_like.analysis import lmem
from carps_like.analysis.simulation import experiment

RATIOS = (0.1, 0.35, 0.5)
SOUND = "value ~ optimizer + (1|task) + (1|task:optimizer)"
NAIVE = "value ~ optimizer + (1|task)"


def rejections(ratio: float, n: int, seeds: int = 30) -> dict[str, float]:
    """Share of data sets in which a model rejects at 5 %: F test, and first against second."""
    counts = dict.fromkeys(("sound F", "sound pair", "naive F", "naive pair"), 0)
    for i in range(n):
        rng = np.random.default_rng([i, int(1000 * ratio)])
        data = experiment(
            rng, seeds=seeds, interaction_sd=ratio, missing=0.2, drop_task_of_last=True
        )
        for name, formula, method in (("sound", SOUND, "REML"), ("naive", NAIVE, "ML")):
            model = lmem.fit(formula, data, method=method)  # type: ignore[arg-type]
            pair = np.array([[0.0, 1.0, 0.0]])
            counts[f"{name} F"] += int(model.anova()["p"].iloc[0] < 0.05)
            counts[f"{name} pair"] += int(model.test(pair)["p"].iloc[0] < 0.05)
    return {name: count / n for name, count in counts.items()}


def power(effect: float, n: int, tasks: int = 12, seeds: int = 10) -> tuple[float, float]:
    """Simulated and theoretical power of the F test when the first optimizer is off by ``effect``.

    Balanced, so F has exactly 2 and 2 (tasks - 1) degrees of freedom and a known noncentrality.
    """
    ratio, optimizers = 0.5, 3
    hits = 0
    for i in range(n):
        rng = np.random.default_rng([i, 77])
        data = experiment(rng, tasks=tasks, seeds=seeds, interaction_sd=ratio, effect=effect)
        hits += int(lmem.fit(SOUND, data).anova()["p"].iloc[0] < 0.05)
    df = (optimizers - 1, (optimizers - 1) * (tasks - 1))
    shift = np.array([effect, 0.0, 0.0])
    noncentrality = tasks * np.square(shift - shift.mean()).sum() / (ratio**2 + 1 / seeds)
    critical = stats.f.isf(0.05, *df)
    return hits / n, float(stats.ncf.sf(critical, *df, noncentrality))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-sets", type=int, default=2000)
    n = parser.parse_args().data_sets
    error = 1.96 * np.sqrt(0.05 * 0.95 / n)
    print(f"{n} data sets each; a correct test rejects in 5.0 +- {100 * error:.1f} % of them")
    print(f"{'sd ratio':>8} {'sound F':>9} {'sound pair':>11} {'naive F':>9} {'naive pair':>11}")
    for ratio in RATIOS:
        found = rejections(ratio, n)
        print(f"{ratio:8.2f} " + " ".join(f"{100 * v:9.1f}%" for v in found.values()), flush=True)
    print(f"{'effect':>8} {'power':>9} {'theory':>9}")
    for effect in (0.3, 0.6, 0.9):
        simulated, theory = power(effect, n)
        print(f"{effect:8.2f} {100 * simulated:8.1f}% {100 * theory:8.1f}%", flush=True)


if __name__ == "__main__":
    main()
