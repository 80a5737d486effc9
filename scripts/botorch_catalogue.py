"""Write tasks/data/botorch/catalogue.json: what botorch.test_functions offers.

Optima, reference points and hypervolumes are BoTorch's own; where it has no reference point, the
worst of 2,000 random points.
"""

from __future__ import annotations

import inspect
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.test_functions import (
    multi_fidelity,
    multi_objective,
    multi_objective_multi_fidelity,
    synthetic,
)
from botorch.test_functions.base import BaseTestProblem

TARGET = Path(__file__).resolve().parents[1] / "tasks" / "data" / "botorch" / "catalogue.json"
MODULES = (synthetic, multi_objective, multi_fidelity, multi_objective_multi_fidelity)
# inputs at the end that are fidelities, and those of them that count down to the full one
FIDELITIES = {
    "AugmentedBranin": 1,
    "AugmentedHartmann": 1,
    "AugmentedRosenbrock": 2,
    "MOMFBraninCurrin": 1,
    "MOMFPark": 1,
    "WingWeightMultiFidelity": 1,
    "BoreholeMultiFidelity": 1,
}
FIXED = {
    "Hartmann": ({"dim": 3}, {"dim": 4}, {"dim": 6}),
    "Michalewicz": ({"dim": 2}, {"dim": 5}, {"dim": 10}),
    "Shekel": ({"m": 5}, {"m": 7}, {"m": 10}),
    "Powell": ({"dim": 4}, {"dim": 8}, {"dim": 20}),
    "AckleyMixed": ({"dim": 13}, {"dim": 53}),
    "Labs": ({"dim": 10}, {"dim": 30}),
    "ConstrainedHartmann": ({"dim": 6},),
    "ConstrainedHartmannSmooth": ({"dim": 6},),
    "AugmentedRosenbrock": ({"dim": 5}, {"dim": 8}),
    "TrajectoryPlanning": ({"dim": 30}, {"dim": 60}),
    "GMM": ({"num_objectives": 2}, {"num_objectives": 3}, {"num_objectives": 4}),
}


def plans() -> Iterator[tuple[type, dict[str, Any]]]:
    for module in MODULES:
        for name, found in vars(module).items():
            problem = inspect.isclass(found) and issubclass(found, BaseTestProblem)
            if not problem or found.__module__ != module.__name__ or inspect.isabstract(found):
                continue
            parameters = inspect.signature(found.__init__).parameters
            if name in FIXED:
                choices = FIXED[name]
            elif "num_objectives" in parameters:
                choices = tuple({"dim": d, "num_objectives": m} for d in (6, 12) for m in (2, 3))
            elif "dim" in parameters:
                choices = tuple({"dim": d} for d in (2, 5, 10, 20))
            else:
                choices = ({},)
            yield from ((found, dict(args)) for args in choices)


def describe(kind: type, args: dict[str, Any]) -> dict[str, Any]:
    made = kind(**args, dtype=torch.double)
    name, m = kind.__name__, made.num_objectives
    default = made._is_minimization_by_default
    minimize = [default] * m if isinstance(default, bool) else list(default)
    whole = sorted({int(i) for i in (*made.discrete_inds, *made.categorical_inds)})
    low, high = (b.numpy() for b in made.bounds)
    rng = np.random.default_rng(0)
    points = low + (high - low) * rng.random((2000, made.dim))
    points[:, whole] = np.round(points[:, whole])
    started = time.process_time()
    for point in points[:30]:
        made.evaluate_true(torch.tensor(point[None]))
    spent = (time.process_time() - started) / 30
    fidelities = FIDELITIES.get(name, 0)
    levels = len(made.fidelities) if hasattr(made, "fidelities") else 0
    if fidelities:
        points[:, -fidelities:] = 0.0 if levels else 1.0
    values = made.evaluate_true(torch.tensor(points)).numpy().reshape(2000, m)
    values = values[np.isfinite(values).all(axis=1)]
    return {
        "class": f"{kind.__module__}.{name}",
        "args": args,
        "bounds": made.bounds.T.tolist(),
        "whole": whole,
        "m": m,
        "constraints": int(getattr(made, "num_constraints", 0)),
        "minimize": minimize,
        "fidelities": fidelities,
        "levels": levels,
        "us": round(spent * 1e6),
    } | goals(made, values, minimize)


def goals(made: Any, values: np.ndarray, minimize: list[bool]) -> dict[str, Any]:
    if made.num_objectives == 1:
        try:
            best = float(made.optimal_value)
        except (NotImplementedError, AttributeError):
            best = None
        return {"optimum": best, "reference": None, "hv": None}
    try:
        reference, volume = made.ref_point.tolist(), float(made.max_hv)
    except (NotImplementedError, AttributeError):
        worst = np.where(minimize, values.max(axis=0), values.min(axis=0))
        reference, volume = [float(f"{v:.9g}") for v in worst], None
    return {"optimum": None, "reference": reference, "hv": volume}


def main() -> None:
    warnings.simplefilter("ignore")
    rows = {}
    for kind, args in plans():
        tail = "".join(f"_{k[0]}{v:02}" for k, v in args.items())
        try:
            rows[kind.__name__.lower() + tail] = describe(kind, args)
        except Exception as error:
            print("left out", kind.__name__, args, f"{type(error).__name__}: {str(error)[:80]}")
    TARGET.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    TARGET.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    print(len(rows), "problems")


if __name__ == "__main__":
    main()
