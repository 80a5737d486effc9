"""What tasks cost: listing, construction, evaluation above the library's own call, memory.

    python benchmarks/tasks_speed.py

CPU seconds; each figure is the best of several repetitions, and stands beside its goal.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import carps_like
from carps_like.registry import build_task, collections, missing_for_task, task_names
from carps_like.space import Sampler
from carps_like.testing.tasks import sample

REPEATS = 5


def best(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """CPU seconds of the fastest of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def show(what: str, value: float, unit: str, goal: str) -> None:
    print(f"{what:58s} {value:9.2f} {unit:3s} goal {goal}")


def listing() -> None:
    def rows() -> list[dict[str, Any]]:
        return [c.describe(n).row() for c in collections().values() for n in c.names()]

    n = sum(1 for _ in task_names())
    show(f"listing {n:,} tasks, their rows and a filter", best(rows, 2), "s", "< 1 s")


def construction() -> None:
    """Of a second task of each collection, once its library and space are loaded."""
    spent: dict[str, float] = {}
    for collection in collections().values():
        names = [n for n in sample(collection) if collection.describe(n).dimension < 1000]
        first = collection.describe(names[0])
        if missing_for_task(first, collection) is not None:
            continue
        for name in names:
            build_task(collection.describe(name), collection)
        for name in names:
            spent[name] = best(lambda n=name, c=collection: build_task(c.describe(n), c), 3)
    for name in sorted(spent, key=spent.__getitem__)[-3:]:
        show(f"construction, among the slowest: {name}", spent[name] * 1e3, "ms", "< 5 ms")
    show("construction, median", float(np.median([*spent.values()])) * 1e3, "ms", "< 5 ms")


def overhead(name: str, own: Callable[[Any, dict[str, Any]], Callable[[], Any]], n: int) -> None:
    """Microseconds of ``evaluate`` above the call that ``own`` makes for a configuration."""
    task = carps_like.task(name)
    sampler = Sampler(task.description.checker, 0)
    configs = [sampler.sample() for _ in range(n)]
    calls = [own(task, config) for config in configs]
    ours = best(lambda: [task.evaluate(config) for config in configs]) / n * 1e6
    theirs = best(lambda: [call() for call in calls]) / n * 1e6
    share = "< 20 %" if name.startswith("yahpo") else "< 5 us"
    if name.startswith("yahpo"):
        show(
            f"above the library's own {theirs:.1f} us: {name}",
            100 * (ours / theirs - 1),
            "%",
            share,
        )
    else:
        show(f"above the library's own {theirs:.1f} us: {name}", ours - theirs, "us", share)


def own_ioh(task: Any, config: dict[str, Any]) -> Callable[[], Any]:
    x = [config[name] for name in sorted(config)]
    return lambda: task._problem(x)


def own_yahpo(task: Any, config: dict[str, Any]) -> Callable[[], Any]:
    task.evaluate(config)
    inputs = {name: array.copy() for name, array in task._inputs.items()}
    return lambda: task._session.run(task._outputs, inputs)


def own_table(task: Any, config: dict[str, Any]) -> Callable[[], Any]:
    row, _ = task._index.of(config)
    (_, column), *_ = task._columns
    return lambda: column.item(0, row)


def memory() -> None:
    """Of this process after it has evaluated tasks of every collection."""
    for collection in collections().values():
        for name in sample(collection):
            description = collection.describe(name)
            if missing_for_task(description, collection) is None and description.dimension < 1000:
                task = build_task(description, collection)
                task.evaluate(description.checker.default())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show("peak memory after every collection", peak, "MB", "< 1,500 MB")


def main() -> None:
    np.seterr(all="ignore")
    listing()
    for name in ("bbob-d02-f01-i01", "bbob-d10-f15-i03"):
        overhead(name, own_ioh, 2000)
    for name in ("hpobench-car-bb", "fcnet-protein_structure-bb", "moot-ss_a-bb"):
        overhead(name, own_table, 2000)
    for name in ("yahpo-lcbench-167152-bb", "yahpo-rbv2_xgboost-12-bb"):
        overhead(name, own_yahpo, 1000)
    construction()
    memory()


if __name__ == "__main__":
    main()
