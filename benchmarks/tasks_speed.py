"""What tasks cost: listing, construction, evaluation above the library's own call, memory.

    python benchmarks/tasks_speed.py

CPU seconds; each figure is the best of many repetitions, and stands beside its goal. The first line
says how fast Python is here and now: on a machine that others use too, all figures grow with it.

What evaluation is compared with: for ``ioh``, the problem called with a list; for YAHPO, the
session run on inputs that are encoded already; for a table, which no library serves, a dict from
the values of a configuration to the value of the objective.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import carps_like
from carps_like.registry import build_task, collections, missing_for_task, task_names
from carps_like.space import Sampler
from carps_like.testing.tasks import sample

Config = dict[str, Any]
Call = Callable[[], Any]
BATCH = 50  # configurations that are timed together


def seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def best(call: Call, repeats: int) -> float:
    """CPU seconds of the fastest of ``repeats`` calls."""
    return min(seconds(call) for _ in range(repeats))


def show(what: str, value: float, unit: str, goal: str) -> None:
    print(f"{what:66s} {value:9.2f} {unit:3s} {goal}", flush=True)


def machine() -> None:
    show("a million empty turns of a loop", best(lambda: [None for _ in range(10**6)], 20), "s", "")


def listing() -> None:
    def rows() -> list[dict[str, Any]]:
        return [c.describe(n).row() for c in collections().values() for n in c.names()]

    n = sum(1 for _ in task_names())
    show(f"listing {n:,} tasks with their rows", best(rows, 3), "s", "goal < 1 s")
    command = [sys.executable, "-m", "carps_like", "tasks", "--where"]
    for condition in ("n_continuous <= 5 and kind == 'surrogate'", "name == 'none'"):
        started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([*command, condition], check=False, capture_output=True)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - started
        show(f"a new process: tasks --where {condition!r}", spent, "s", "goal < 1 s")


def library_construction(task: Any) -> Call | None:
    """What the library alone does to construct the problem, where that takes long."""
    meta = task.description.metadata
    if "suite" in meta:
        import cocoex

        return lambda: cocoex.Suite(meta["suite"], "", task._options).get_problem(0)
    return None


def construction() -> None:
    """Of a second task of each collection, once its library and data are loaded."""
    spent: dict[str, float] = {}
    own: dict[str, float] = {}
    for collection in collections().values():
        names = [n for n in sample(collection) if collection.describe(n).dimension < 1000]
        if missing_for_task(collection.describe(names[0]), collection) is not None:
            continue
        for name in names:
            make = partial(lambda n, c: build_task(c.describe(n), c), name, collection)
            theirs = library_construction(make())
            spent[name] = best(make, 20)
            own[name] = best(theirs, 20) if theirs else 0.0
    for name in sorted(spent, key=spent.__getitem__)[-3:]:
        show(f"construction, among the slowest: {name}", spent[name] * 1e3, "ms", "goal < 5 ms")
        show("... of which the library's own", own[name] * 1e3, "ms", "")
    ours = max(spent[name] - own[name] for name in spent)
    show("construction above the library's own, slowest", ours * 1e3, "ms", "goal < 5 ms")
    show("construction, median", float(np.median([*spent.values()])) * 1e3, "ms", "goal < 5 ms")


def overhead(name: str, own: Callable[[Any, Config], Call], repeats: int) -> None:
    """``evaluate`` above the call that ``own`` makes for a configuration, both in turns."""
    task = carps_like.task(name)
    sampler = Sampler(task.description.checker, 0)
    configs = [sampler.sample() for _ in range(BATCH)]
    if task.description.metadata.get("pool"):
        configs = rows_of_pool(task)
    calls = [own(task, config) for config in configs]
    ours, theirs = np.array([
        (
            seconds(lambda: [task.evaluate(config) for config in configs]),
            seconds(lambda: [call() for call in calls]),
        )
        for _ in range(repeats)
    ]).min(axis=0) / len(configs) * 1e6  # fmt: skip
    what = f"above its own {theirs:.2f} us: {name}"
    if name.startswith("yahpo"):
        show(what, 100 * (ours / theirs - 1), "%", "goal < 20 %")
    else:
        show(what, ours - theirs, "us", "goal < 5 us")


def rows_of_pool(task: Any) -> list[Config]:
    """Configurations that the pool has."""
    return [
        dict(zip(task._index._names, values, strict=True))
        for values in list(task._index._exact)[:BATCH]
    ]


def own_ioh(task: Any, config: Config) -> Call:
    x = [config[name] for name in sorted(config)]
    return lambda: task._problem(x)


def own_yahpo(task: Any, config: Config) -> Call:
    task.evaluate(config)
    inputs = {name: array.copy() for name, array in task._inputs.items()}
    return lambda: task._session.run(task._outputs, inputs)


def own_table(task: Any, config: Config) -> Call:
    names = list(config)
    table = {tuple([config[name] for name in names]): task.evaluate(config).value}
    return lambda: table[tuple([config[name] for name in names])]


def memory() -> None:
    """Of this process after it has evaluated tasks of every collection."""
    for collection in collections().values():
        for name in sample(collection):
            description = collection.describe(name)
            if missing_for_task(description, collection) is None:
                task = build_task(description, collection)
                task.evaluate(description.checker.default())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show("peak memory after every collection", peak, "MB", "goal < 1,500 MB")


def main() -> None:
    np.seterr(all="ignore")
    machine()
    listing()
    for name in ("bbob-d02-f01-i01", "bbob-d10-f15-i03", "bbob-d40-f15-i03"):
        overhead(name, own_ioh, 400)
    tables = (
        "hpobench-car-bb",
        "fcnet-protein_structure-bb",
        "nb201-cifar10-bb",
        "nbgraph-cora-bb",
    )
    for name in (*tables, "moot-ss_a-bb"):
        overhead(name, own_table, 400)
    for name in ("lcbench-167152", "rbv2_xgboost-12", "rbv2_rpart-12", "nb301_v2-CIFAR10"):
        overhead(f"yahpo-{name}-bb", own_yahpo, 60)
    construction()
    memory()


if __name__ == "__main__":
    main()
