"""Write tasks/data/yahpo/statistics.json: best and worst known values of every shipped instance.

Per instance 1,000 random configurations at full fidelity, shared by its objectives, then 1,000
steps of a (1+1) search for each. ``cost`` is the median simulated cost of the random ones, in
seconds. About four minutes of CPU.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

import numpy as np

import carps_like
from carps_like.space import Cube, Sampler
from carps_like.tasks._data import SHIPPED
from carps_like.tasks.yahpo import scenarios
from carps_like.trial import Value

N = 1000


def best_of(task: Any, name: str, start: dict[str, Value], rng: np.random.Generator) -> float:
    """The best value of objective ``name`` that a (1+1) search from ``start`` meets."""
    cube = Cube(task.description.checker)
    objective = task.description.objective(name)
    best = objective.inside(task.evaluate(start).objectives[name])
    point = cube.point(start)
    for step in range(N):
        moved = point.copy()
        chosen = rng.random(len(point)) < max(1.5 / len(point), 0.15)
        chosen[rng.integers(len(point))] = True
        scale = 0.3 * 0.02 ** (step / N)
        near = moved + scale * rng.standard_normal(len(point))
        moved[chosen] = np.where(rng.random(len(point)) < 0.1, rng.random(len(point)), near)[chosen]
        moved = np.clip(moved, 0.0, 1.0)
        value = objective.inside(task.evaluate(cube.config(moved)).objectives[name])
        if value <= best:
            best, point = value, moved
    return objective.inside(best)


def instance_row(key: str, instance: str) -> dict[str, Any]:
    task = carps_like.task(f"yahpo-{key}-{instance}-mo")
    sampler = Sampler(task.description.checker, 0)
    configs = [sampler.sample() for _ in range(N)]
    results = [task.evaluate(config) for config in configs]
    row: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for objective in task.description.objectives:
        values = [objective.inside(r.objectives[objective.name]) for r in results]
        start = configs[int(np.argmin(values))]
        best = best_of(task, objective.name, start, rng)
        row[objective.name] = [float(f"{v:.9g}") for v in (best, objective.inside(max(values)))]
    row["cost"] = float(f"{statistics.median(r.cost for r in results):.4g}")
    return row


def main() -> None:
    found: dict[str, dict[str, Any]] = {}
    for key, scenario in scenarios().items():
        if scenario.model.is_relative_to(SHIPPED):
            found[key] = {i: instance_row(key, i) for i in scenario.instances}
            print(key, len(found[key]), flush=True)
    parts = [
        f'"{key}": {{\n' + ",\n".join(f' "{i}": {json.dumps(r)}' for i, r in rows.items()) + "\n}"
        for key, rows in found.items()
    ]
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    (SHIPPED / "yahpo" / "statistics.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
