"""Write tasks/data/priorband/priors.json: the configurations that the priors are centred on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from carps_like.space import Cube, Sampler
from carps_like.tasks.priorband import base_description, perturbed
from carps_like.tasks.synthetic import FUNCTIONS
from carps_like.tasks.yahpo import scenarios

TARGET = Path(__file__).resolve().parents[1] / "tasks" / "data" / "priorband" / "priors.json"
SCENARIOS = ("lcbench", "rbv2_xgboost", "rbv2_rpart", "rbv2_ranger_v2", "rbv2_rpart_v2")


def bases() -> list[tuple[str, int]]:
    """Base and number of random configurations."""
    found = [(f"synthetic_{key}", 20_000) for key in FUNCTIONS]
    for key in SCENARIOS:
        found += [(f"yahpo_{key}_{i}", 1000) for i in scenarios()[key].instances]
    return found


def priors_of(base: str, n: int) -> dict[str, list[Any]]:
    description, collection = base_description(base, "mf")
    task, checker = collection.build(description), description.checker
    sampler, cube = Sampler(checker, 0), Cube(checker)
    configs = [sampler.sample() for _ in range(n)]
    values = [task.evaluate(config).value for config in configs]
    order = np.argsort(values, kind="stable")
    best, bad = configs[order[0]], configs[order[-1]]
    at25 = configs[int(np.argmin(values[:25]))]
    numeric = [p.kind in ("float", "int") for p in cube.params]
    point = cube.point(best)
    good = cube.config(perturbed(point, numeric, 0.01, 1))
    medium = cube.config(perturbed(point, numeric, 0.125, 2))
    chosen = {"good": good, "medium": medium, "at25": at25, "bad": bad}
    names = sorted(description.space)
    return {k: [short(c.get(name)) for name in names] for k, c in chosen.items()}


def short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    TARGET.parent.mkdir(exist_ok=True)
    rows = {base: priors_of(base, n) for base, n in bases()}
    lines = ",\n".join(
        f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in rows.items()
    )
    TARGET.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    print(len(rows), "bases")


if __name__ == "__main__":
    main()
