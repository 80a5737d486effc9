"""Write tasks/data/pymoo/catalogue.json: what pymoo's problems are, for a listing without it.

Reference points lie a tenth of the front's extent beyond the nadir of pymoo's own front, or, where
it has none, at the worst of 2,000 random points. The hypervolume is that of pymoo's front.
"""

from __future__ import annotations

import json
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moocore
import numpy as np

TARGET = Path(__file__).resolve().parents[1] / "tasks" / "data" / "pymoo" / "catalogue.json"


def plans() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name of the task, name of the problem, its arguments."""
    for f in (1, 2, 3, 4, 6):
        for d in (5, 10, 30):
            yield f"zdt{f}-d{d:02}-m2", f"zdt{f}", {"n_var": d}
    yield "zdt5-d80-m2", "zdt5", {}
    for f in range(1, 8):
        for m in (2, 3, 5):
            for d in (7, 12, 30):
                yield f"dtlz{f}-d{d:02}-m{m}", f"dtlz{f}", {"n_var": d, "n_obj": m}
    for f in ("c1dtlz1", "c1dtlz3", "c2dtlz2", "c3dtlz1", "c3dtlz4"):
        for m in (2, 3):
            yield f"{f}-d12-m{m}", f, {"n_var": 12, "n_obj": m}
    for f in ("dc1dtlz1", "dc1dtlz3", "dc2dtlz1", "dc2dtlz3", "dc3dtlz1", "dc3dtlz3"):
        for m in (2, 3):
            yield f"{f}-d12-m{m}", f, {"n_var": 12, "n_obj": m}
    for f in range(1, 10):
        for m in (2, 3):
            for d in (10, 24):
                yield f"wfg{f}-d{d}-m{m}", f"wfg{f}", {"n_var": d, "n_obj": m}
    for f in range(1, 15):
        yield f"mw{f}-d15-m{3 if f in (4, 8, 14) else 2}", f"mw{f}", {}
    for f in range(1, 10):
        for k in range(1, 17):
            m = 2 if f < 7 else 3
            yield f"dascmop{f}-d30-m{m}-k{k:02}", f"dascmop{f}", {"difficulty_factors": k}
    for f in range(1, 21):
        for m in (2, 3):
            for d in (10, 30):
                yield f"zcat{f}-d{d}-m{m}", f"zcat{f}", {"n_var": d, "n_obj": m}
    for f in range(1, 9):
        yield f"ctp{f}-d02-m2", f"ctp{f}", {}
    for f in ("bnh", "carside", "kursawe", "osy", "srn", "tnk", "truss2d", "welded_beam"):
        yield f, f, {}
    for f in range(1, 25):
        yield f"g{f:02}", f"g{f}", {}
    for f in ("pressure_vessel", "cantilevered_beam"):
        yield f, f, {}
    for f in ("ackley", "griewank", "rastrigin", "rosenbrock", "schwefel", "sphere", "zakharov"):
        for d in (2, 5, 10, 20):
            yield f"{f}-d{d:02}", f, {"n_var": d}
    yield "himmelblau-d02", "himmelblau", {}


def build(problem: str, args: dict[str, Any]) -> Any:
    from carps_like.tasks.pymoo import make

    return make(problem, args)


def describe(problem: str, args: dict[str, Any]) -> dict[str, Any]:
    made = build(problem, args)
    low, high = np.broadcast_to(made.xl, made.n_var), np.broadcast_to(made.xu, made.n_var)
    kind = {bool: "binary", int: "integer"}.get(made.vtype, "real")
    rng = np.random.default_rng(0)
    points = low + (high - low) * rng.random((2000, made.n_var))
    points = points if kind == "real" else np.floor(points + 0.5).astype(made.vtype)
    started = time.process_time()
    for point in points[:50]:
        made.evaluate(point[None, :], return_as_dictionary=True)
    spent = (time.process_time() - started) / 50
    values = made.evaluate(points, return_as_dictionary=True)["F"]
    values = values[np.isfinite(values).all(axis=1)]
    row: dict[str, Any] = {"problem": problem, "args": args, "kind": kind, "n": made.n_var}
    bounds = sorted({(float(a), float(b)) for a, b in zip(low, high, strict=True)})
    row["bounds"] = (
        bounds
        if len(bounds) == 1
        else [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
    )
    row |= {"m": made.n_obj, "ieq": made.n_ieq_constr, "eq": made.n_eq_constr}
    row["us"] = round(spent * 1e6)
    return row | goals(made, values)


def goals(made: Any, values: np.ndarray) -> dict[str, Any]:
    try:
        front = made.pareto_front()
    except Exception:
        front = None
    if front is not None:
        front = np.atleast_2d(np.asarray(front, float))
        front = front[np.isfinite(front).all(axis=1)]
    if made.n_obj == 1:
        known = None if front is None or not len(front) else float(front.min())
        return {"ideal": [known], "reference": None, "hv": None}
    if front is None or not len(front):
        return {"ideal": None, "reference": sig(values.max(axis=0)), "hv": None}
    front = front[moocore.is_nondominated(front)]
    ideal, nadir = front.min(axis=0), front.max(axis=0)
    reference = sig(nadir + 0.1 * np.maximum(nadir - ideal, 1e-3))
    front = front[:: max(1, len(front) // 2000)] if made.n_obj > 3 else front
    volume = float(moocore.hypervolume(front, ref=reference))
    return {"ideal": sig(ideal), "reference": reference, "hv": float(f"{volume:.9g}")}


def sig(values: np.ndarray) -> list[float]:
    return [float(f"{v:.9g}") for v in values]


def main() -> None:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("30 s")))
    rows = {}
    for name, problem, args in plans():
        signal.alarm(30)
        try:
            rows[name] = describe(problem, args)
        except Exception as error:
            print("left out", name, f"{type(error).__name__}: {str(error)[:90]}")
        signal.alarm(0)
    TARGET.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    TARGET.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    print(len(rows), "problems")


if __name__ == "__main__":
    main()
