"""CPU per trial that an adapter adds to its library's own ask and tell.

    python benchmarks/adapters.py [--trials 1000] [--repeats 5] [--only cma,optuna-tpe]

The adapter and a loop of the library alone minimise the same quadratic of five floats, with equal
budgets and the library's defaults, in turn. A row says the median CPU of both and of their
difference over the repeats. ``random over a pipe`` is the project's own random search in an
interpreter of its own against the same in this process, the CPU of both processes counted.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import psutil

from carps_like.isolation import Environment
from carps_like.registry import variant
from carps_like.testing.problems import problems, quadratic
from carps_like.trial import Result
from carps_like.variants import Variant

D, LOW, HIGH = 5, -5.0, 5.0
NAMES = [f"x{i}" for i in range(D)]
PLAIN = Environment("plain", ("numpy",))
Loop = Callable[[int, int], None]  # of a number of trials and a seed


def value(x: Any) -> float:
    """The objective at a point of the unit cube."""
    return quadratic(
        {name: LOW + (HIGH - LOW) * float(u) for name, u in zip(NAMES, x, strict=True)}
    )


def random(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        value(rng.random(D))


def _optuna(sampler: str) -> Loop:
    def loop(n: int, seed: int) -> None:
        import optuna

        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
        for _ in range(n):
            trial = study.ask()
            study.tell(trial, quadratic({k: trial.suggest_float(k, LOW, HIGH) for k in NAMES}))

    return loop


def cma(n: int, seed: int) -> None:
    import cma

    rng = np.random.RandomState(seed)
    options = {"bounds": [0, 1], "randn": rng.randn, "seed": np.nan, "verbose": -9}
    es, done = cma.CMAEvolutionStrategy(np.full(D, 0.5), 0.25, options), 0
    while done < n:
        points = es.ask()
        es.tell(points, [value(x) for x in points])
        done += len(points)


def cmaes(n: int, seed: int) -> None:
    from cmaes import CMA

    bounds = np.tile([0.0, 1.0], (D, 1))
    es, done = CMA(np.full(D, 0.5), 1 / 6, bounds=bounds, seed=seed), 0
    while done < n:
        points = [es.ask() for _ in range(es.population_size)]
        es.tell([(x, value(x)) for x in points])
        done += len(points)


def nevergrad(n: int, seed: int) -> None:
    import nevergrad as ng

    space = ng.p.Dict(**{k: ng.p.Scalar(lower=LOW, upper=HIGH) for k in NAMES})
    space.random_state.seed(seed)
    optimizer = ng.optimizers.registry["DE"](space, budget=n, num_workers=1)
    for _ in range(n):
        candidate = optimizer.ask()
        optimizer.tell(candidate, quadratic(candidate.value))


def pymoo(n: int, seed: int) -> None:
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.core.termination import NoTermination
    from pymoo.problems.static import StaticProblem

    problem = Problem(n_var=D, n_obj=1, xl=np.zeros(D), xu=np.ones(D))
    algorithm, done = GA(), 0
    algorithm.setup(problem, termination=NoTermination(), seed=seed)
    while done < n:
        population = algorithm.ask()
        found = np.array([[value(x)] for x in population.get("X")])
        Evaluator().eval(StaticProblem(problem, F=found), population)
        algorithm.tell(infills=population)
        done += len(population)


def _adapter(chosen: Variant, n: int) -> Loop:
    description = problems(chosen.capabilities, n)["continuous"].description

    def loop(n: int, seed: int) -> None:
        optimizer = chosen.build(description, seed)
        for _ in range(n):
            trial = optimizer.ask()
            assert trial is not None
            found = quadratic(trial.config)
            optimizer.tell(trial, Result({"goal0": found}, (found,)))
        optimizer.close()

    return loop


BARE: dict[str, Loop] = {
    "random": random,
    "optuna-random": _optuna("RandomSampler"),
    "optuna-tpe": _optuna("TPESampler"),
    "cma": cma,
    "cmaes": cmaes,
    "nevergrad-de": nevergrad,
    "pymoo-ga": pymoo,
}
PIPE = "random over a pipe"


def seconds(loop: Loop, n: int, seed: int) -> float:
    """CPU of this process and of the interpreters that it started."""
    process = psutil.Process()

    def spent() -> float:
        times = [p.cpu_times() for p in process.children()]
        return time.process_time() + sum(t.user + t.system for t in times)

    begun = spent()
    loop(n, seed)
    return spent() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join([*BARE, PIPE]))
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    n = given.trials
    print("| variant | library us | adapter us | added us | least to most |")
    print("|---|---|---|---|---|")
    for name in given.only.split(","):
        chosen = variant("random" if name == PIPE else name)
        alone = _adapter(chosen, n) if name == PIPE else BARE[name]
        ours = _adapter(replace(chosen, environment=PLAIN) if name == PIPE else chosen, n)
        rows = []
        for seed in range(given.repeats + 1):
            pair = seconds(alone, n, seed), seconds(ours, n, seed)
            rows.append([1e6 * x / n for x in (*pair, pair[1] - pair[0])])
        library, adapter, added = zip(*rows[1:], strict=True)  # the first one imports
        middles = " | ".join(f"{median(column):.0f}" for column in (library, adapter, added))
        print(f"| {name} | {middles} | {min(added):.0f} to {max(added):.0f} |", flush=True)


if __name__ == "__main__":
    main()
