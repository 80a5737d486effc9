"""The adapter of SMAC against SMAC's own loop: the same proposals, and what they are worth.

    python benchmarks/smac_own_loop.py [--trials 100] [--seeds 10] [--retrain-after 8]

On a sphere in [-5, 5]^5, with equal seeds: ``HyperparameterOptimizationFacade.optimize()``, which
calls the function itself; ``smac-hpo`` asked and told; random search. Prints per seed whether the
first two propose the same to the bit, the best values of all three, and the CPU seconds of both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

import carps_like
from carps_like.registry import variant
from carps_like.testing.problems import problems, quadratic, quadratic_space


def own_loop(seed: int, trials: int, retrain_after: int) -> list[tuple[dict[str, Any], float]]:
    """Configurations and values of SMAC's own loop, in order."""
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario

    done = []

    def target(config: Any, seed: int = 0) -> float:
        value = quadratic(dict(config))
        done.append((dict(config), value))
        return value

    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            quadratic_space(),
            deterministic=True,
            n_trials=trials,
            output_directory=folder,
            seed=seed,
        )
        selector = Facade.get_config_selector(scenario, retrain_after=retrain_after)
        Facade(
            scenario, target, config_selector=selector, overwrite=True, logging_level=False
        ).optimize()
    return done


def adapter(
    name: str, seed: int, trials: int, **options: Any
) -> list[tuple[dict[str, Any], float]]:
    """The same of one of our variants, asked and told."""
    problem = problems(variant(name).capabilities, trials)["continuous"]
    optimizer = carps_like.optimizer(name, problem.description, seed, **options)
    done = []
    for _ in range(trials):
        trial = optimizer.ask()
        result = problem.evaluate(trial.config)
        optimizer.tell(trial, result)
        done.append((dict(trial.config), result.value))
    optimizer.close()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--retrain-after", type=int, default=8)
    given = parser.parse_args()
    best: dict[str, list[float]] = {"own": [], "adapter": [], "random": []}
    for seed in range(given.seeds):
        clock = [time.process_time()]
        runs = {"own": own_loop(seed, given.trials, given.retrain_after)}
        clock.append(time.process_time())
        runs["adapter"] = adapter("smac-hpo", seed, given.trials, retrain_after=given.retrain_after)
        clock.append(time.process_time())
        runs["random"] = adapter("random", 1000 + seed, given.trials)
        for who, run in runs.items():
            best[who].append(min(value for _, value in run))
        same = "the same" if runs["own"] == runs["adapter"] else "OTHERS"
        values = ", ".join(f"{who} {v[-1]:.2f}" for who, v in best.items())
        cpu = f"CPU s: own {clock[1] - clock[0]:.1f}, adapter {clock[2] - clock[1]:.1f}"
        print(f"seed {seed}: {same} proposals; best: {values}; {cpu}", flush=True)
    medians = ", ".join(f"{who} {statistics.median(v):.2f}" for who, v in best.items())
    print(f"median of the best after {given.trials} trials: {medians}")


if __name__ == "__main__":
    main()
