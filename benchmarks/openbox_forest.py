"""OpenBox alone, without our adapter, with its random forest beside random search.

    $(carps-like env build openbox-prf)/bin/python benchmarks/openbox_forest.py --trials 200

The separable quadratic of the conformance suite in five dimensions; best value of each seed.
"""

from __future__ import annotations

import argparse
import random
import warnings

import numpy as np

CENTER, DIMENSIONS = 1.7, 5


def quadratic(values: np.ndarray) -> float:
    return float(np.sum((values - CENTER) ** 2))


def ours(seed: int, trials: int, **options: str) -> float:
    from openbox import Advisor, Observation
    from openbox import space as sp

    np.random.seed(seed)  # noqa: NPY002 - it draws from the global generators
    random.seed(seed)
    space = sp.Space()
    space.add_variables([sp.Real(f"x{i}", -5.0, 5.0) for i in range(DIMENSIONS)])
    logger = {"level": "ERROR", "logdir": None}
    advisor = Advisor(
        space, num_objectives=1, random_state=seed, logger_kwargs=logger, surrogate_type="prf",
        **options,
    )  # fmt: skip
    found = []
    for _ in range(trials):
        config = advisor.get_suggestion()
        value = quadratic(np.array(list(config.get_dictionary().values()), dtype=float))
        advisor.update_observation(Observation(config=config, objectives=[value]))
        found.append(value)
    return min(found)


def random_search(seed: int, trials: int) -> float:
    draw = np.random.RandomState(seed).uniform(-5.0, 5.0, (trials, DIMENSIONS))
    return min(map(quadratic, draw))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--acq-optimizer", default="auto")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for seed in range(given.seeds):
        forest = ours(seed, given.trials, acq_optimizer_type=given.acq_optimizer)
        rows.append((forest, random_search(seed, given.trials)))
        print(f"seed {seed}: forest {rows[-1][0]:.3g}, random search {rows[-1][1]:.3g}", flush=True)
    print("median: forest {:.3g}, random search {:.3g}".format(*np.median(rows, axis=0)))


if __name__ == "__main__":
    main()
