"""Runs every variant on BBOB 5-d and lcbench and writes the table of docs/optimizers.md.

    python scripts/optimizer_table.py --seeds 10 --trials 100
    python scripts/optimizer_table.py --only 'optuna-*' --seeds 3

Each variant runs in a process of its own, so that its import time and memory are its own. What
has been measured stands in a file of JSON lines (``--keep``) and is not measured again; the table
is made of all its lines that agree in seeds and trials, and says so.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from carps_like.budget import Budget
from carps_like.interface import Exhausted
from carps_like.registry import describe_task, task, variant, variants
from carps_like.seeds import GlobalSeeds
from carps_like.trial import Trial

TASKS = {
    "bb": ("bbob-d05-f01-i01", "bbob-d05-f08-i01", "bbob-d05-f15-i01", "yahpo-lcbench-167152-bb"),
    "mf": ("yahpo-lcbench-167152-mf", "yahpo-lcbench-189873-mf"),
    "mo": ("yahpo-lcbench-167152-mo", "yahpo-lcbench-189873-mo"),
    "momf": ("yahpo-lcbench-167152-momf",),
}
DOCS = Path(__file__).parents[1] / "docs" / "optimizers.md"
START, END = "<!-- table: scripts/optimizer_table.py -->", "<!-- end of table -->"


def kind_of(name: str) -> str:
    """The type of tasks on which a variant is compared."""
    can = variant(name).capabilities
    many = not can.single_objective
    if can.fidelity == "needs":
        return "momf" if many else "mf"
    return "mo" if many else "bb"


def measure(name: str, seeds: int, trials: int) -> dict[str, Any]:
    """Final values per task and seed, CPU per ask and tell, import seconds, memory."""
    row: dict[str, Any] = {"name": name, "seeds": seeds, "trials": trials, "kind": kind_of(name)}
    values: dict[str, list[float]] = defaultdict(list)
    asks, spent, first = 0, 0.0, 0.0
    for task_name in TASKS[row["kind"]]:
        description = replace(describe_task(task_name), budget=Budget(trials=trials))
        problem = variant(name).problem(description)
        if problem:
            row.setdefault("refused", {})[task_name] = problem
            continue
        evaluate = task(task_name).evaluate
        for seed in range(seeds):
            before = _cpu()
            value, n = _run(name, description, evaluate, seed, trials)
            if not asks:
                first = _cpu() - before
            values[task_name].append(value)
            asks, spent = asks + n, spent + _cpu() - before
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    each = (spent - first) / max(1, asks - trials)
    row |= {"values": values, "cpu_ms": 1e3 * each, "import_s": max(0.0, first - each * trials)}
    return row | {"memory_mb": max(usage, children)}


def _cpu() -> float:
    """CPU seconds of this process and of the interpreters that it started."""
    own = time.process_time()
    try:
        import psutil
    except ImportError:
        return own
    family = psutil.Process().children(recursive=True)
    times = (p.cpu_times() for p in family)
    return own + sum(t.user + t.system for t in times)


def _run(name: str, description: Any, evaluate: Any, seed: int, trials: int) -> tuple[float, int]:
    chosen = variant(name)
    seeded: Any = GlobalSeeds(seed) if chosen.capabilities.global_seeds else nullcontext
    with seeded():
        optimizer = chosen.build(description, seed)
    told: list[tuple[Trial, Any]] = []
    budget = 0.0
    while budget < trials - 1e-9:
        try:
            with seeded():
                trial = optimizer.ask()
        except Exhausted:
            break
        assert trial is not None
        result = evaluate(trial.config, trial.fidelity)
        with seeded():
            optimizer.tell(trial, result)
        told.append((trial, result))
        fidelity = description.fidelity
        # full evaluations for those that choose the fidelity, a fifth as many: they are dear
        budget += 1.0 if fidelity is None else 5 * fidelity.share(trial.fidelity)
    optimizer.close()
    return _final(description, told), len(told)


def _final(description: Any, told: list[tuple[Trial, Any]]) -> float:
    top = None if description.fidelity is None else description.fidelity.upper
    good = [r.values for t, r in told if r.ok and t.fidelity in (None, top)]
    if not good:
        return math.inf
    if len(good[0]) == 1:
        return min(v[0] for v in good)
    reference = description.reference_point or tuple(max(c) for c in zip(*good, strict=True))
    area, ceiling = 0.0, reference[1]
    for a, b in sorted(good):
        if a < reference[0] and b < ceiling:
            area, ceiling = area + (reference[0] - a) * (ceiling - b), b
    return -area


def ranks(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean over tasks and seeds of the rank among the variants of its kind; ties share."""
    places: dict[str, list[float]] = defaultdict(list)
    for kind, names in TASKS.items():
        for task_name in names:
            there = [r for r in rows if r["kind"] == kind and r["values"].get(task_name)]
            for seed in range(there[0]["seeds"] if there else 0):
                finals = [(r["values"][task_name][seed], r["name"]) for r in there]
                for value, name in finals:
                    below = sum(v < value for v, _ in finals)
                    equal = sum(v == value for v, _ in finals)
                    place = (below + (equal + 1) / 2 - 0.5) / len(finals)
                    places[name].append(place)
    return {name: sum(p) / len(p) for name, p in places.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, best first within each kind; ranks as a share of the field, 0 best and 1 worst."""
    seeds, trials = rows[0]["seeds"], rows[0]["trials"]
    mean = ranks(rows)
    lines = [
        f"{len(rows)} variants, {seeds} seeds, {trials} trials; {trials / 5:g} full evaluations",
        "where the optimizer chooses the fidelity. Rank: mean place in its kind, 0 best, 1 worst.",
        "",
        "| variant | kind | rank | CPU ms per trial | first use s | memory MB | deterministic |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (r["kind"], mean.get(r["name"], 2.0))):
        place = f"{mean[row['name']]:.2f}" if row["name"] in mean else "-"
        deterministic = "yes" if variant(row["name"]).capabilities.deterministic else "no"
        lines.append(
            f"| {row['name']} | {row['kind']} | {place} | {row['cpu_ms']:.1f} "
            f"| {row['import_s']:.1f} | {row['memory_mb']:.0f} | {deterministic} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="names, separated by commas; globs")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--limit", type=float, default=3600, help="seconds a variant")
    parser.add_argument("--keep", type=Path, default=Path("results/optimizers.jsonl"))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.seeds, given.trials)))
        return
    given.keep.parent.mkdir(parents=True, exist_ok=True)
    lines = given.keep.read_text().splitlines() if given.keep.exists() else []
    same = {"seeds": given.seeds, "trials": given.trials}
    rows = [r for r in map(json.loads, lines) if same.items() <= r.items()]
    done = {r["name"] for r in rows}
    patterns = given.only.split(",")
    wanted = [n for n in variants() if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    for name in wanted:
        chosen = variant(name)
        if name in done or chosen.missing() or chosen.to_build():
            continue
        command = [sys.executable, __file__, "--measure", name]
        command += ["--seeds", str(given.seeds), "--trials", str(given.trials)]
        environ = os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        try:
            found = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=given.limit,
                env=environ,
                check=True,
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            words = str(getattr(error, "stderr", "") or "").strip().splitlines()[-1:]
            print(f"{name}: {type(error).__name__} {words}", file=sys.stderr)
            continue
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        with given.keep.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(f"{name}: {rows[-1]['cpu_ms']:.1f} ms a trial", file=sys.stderr)
    if rows and DOCS.exists():
        text = DOCS.read_text()
        before, after = text.split(START)[0], text.split(END)[1]
        DOCS.write_text(f"{before}{START}\n\n{table(rows)}\n{END}{after}")


if __name__ == "__main__":
    main()
