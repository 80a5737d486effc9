"""Runs every variant on BBOB 5-d and lcbench and writes the table of docs/optimizers.md.

    python scripts/optimizer_table.py --seeds 10 --trials 100
    python scripts/optimizer_table.py --only 'optuna-*' --seeds 3

Each variant runs in a process of its own, so that its import time and memory are its own. What has
been measured, a line per variant and seed, stands in a file of JSON lines (``--keep``); a second
call goes on from there, and measures again a variant whose adapter or options have changed. First
each variant gets as many seeds as end in 20 CPU seconds; then those that need more get one, three
and all, cheap ones first, up to ``--limit`` CPU seconds each time. A variant that got fewer seeds
says so in its row.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

import psutil
from _measured import MEASURED, Row, Rows, into_page, measured

from carps_like.budget import Budget
from carps_like.engine import Charge, trial_seed
from carps_like.interface import Exhausted
from carps_like.local import worker_environment
from carps_like.registry import describe_task, task, variants
from carps_like.seeds import GlobalSeeds
from carps_like.trial import Trial

TASKS = {
    "bb": ("bbob-d05-f08-i01", "bbob-d05-f15-i01", "yahpo-lcbench-167152-bb"),
    "mf": ("yahpo-lcbench-167152-mf", "yahpo-lcbench-189873-mf", "training-mlp-digits-mf"),
    "mo": ("yahpo-lcbench-167152-mo", "yahpo-lcbench-189873-mo"),
    "momf": ("yahpo-lcbench-167152-momf",),
}
# the same functions with PriorBand's prior of medium quality, for variants that need a prior
WITH_PRIOR = {
    "yahpo-lcbench-167152-bb": "priorband-yahpo_lcbench_167152-medium-bb",
    "yahpo-lcbench-167152-mf": "priorband-yahpo_lcbench_167152-medium-mf",
    "yahpo-lcbench-189873-mf": "priorband-yahpo_lcbench_189873-medium-mf",
}
# on more than the kind that is theirs: what the others of that kind have to beat
ALSO = ("random@mf", "random@mo", "random@momf", "optuna-tpe@mo")
START, END = "<!-- table: scripts/optimizer_table.py -->", "<!-- end of table -->"


def kind_of(name: str) -> str:
    """The type of tasks on which a variant is compared; what follows an ``@``, if it is there."""
    if "@" in name:
        return name.partition("@")[2]
    can = measured(name).capabilities
    many = not can.single_objective
    if can.fidelity == "needs":
        return "momf" if many else "mf"
    return "mo" if many else "bb"


def tasks_of(name: str) -> dict[str, str]:
    """The tasks of its kind that a variant takes, and which is run for each."""
    needs = measured(name).capabilities.priors == "needs"
    found = {t: WITH_PRIOR.get(t, t) if needs else t for t in TASKS[kind_of(name)]}
    return {t: run for t, run in found.items() if not measured(name).problem(describe_task(run))}


class OutOfTime(Exception):
    """The CPU seconds that a variant may take are spent."""


class Spending:
    """CPU seconds of this process and of the interpreters that it started, looked at each second.

    Raises:
        OutOfTime: by :meth:`check`, once ``limit`` is spent.
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._looked = limit, time.monotonic()
        self._process = psutil.Process()

    def seconds(self) -> float:
        times = [p.cpu_times() for p in self._process.children(recursive=True)]
        return time.process_time() + sum(t.user + t.system for t in times)

    def check(self) -> None:
        if time.monotonic() > self._looked + 1:
            self._looked = time.monotonic()
            if self.seconds() > self._limit:
                raise OutOfTime


def measure(name: str, seeds: list[int], trials: int, limit: float) -> Iterator[Row]:
    """A row for each of ``seeds``: final values per task, CPU of asks and tells, memory; the first
    one of the process with the CPU until its first trial was told. Out of time: a last row
    ``at_least``.
    """
    spending = Spending(limit)
    kind = kind_of(name)
    for seed in seeds:
        row: Row = {"name": name, "kind": kind, "trials": trials, "seed": seed}
        values: dict[str, float] = {}
        asks, spent = 0, 0.0
        for task_name, run_name in tasks_of(name).items():
            try:
                run = Run(name, run_name, seed, trials, spending)
            except OutOfTime:
                yield {"name": name, "trials": trials, "at_least": limit}
                return
            values[task_name] = run.final
            asks, spent = asks + run.asks, spent + run.cpu
            if seed == seeds[0] and "first" not in row:
                row["first"] = run.first
        yield row | {"values": values, "asks": asks, "cpu": spent, "memory_mb": peak_mb()}


def peak_mb() -> float:
    """Highest resident memory of this process and of the interpreters that it started, summed."""
    found = psutil.Process()
    status = [Path(f"/proc/{p.pid}/status") for p in (found, *found.children(recursive=True))]
    lines = [line for file in status for line in file.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


class Run:
    """One run: ``final`` value, ``asks``, and CPU seconds of asks and tells: until the end of the
    ``first`` one with building and importing, and of all later ones (``cpu``).
    """

    def __init__(
        self, name: str, task_name: str, seed: int, trials: int, spending: Spending
    ) -> None:
        description = replace(describe_task(task_name), budget=Budget(trials=trials))
        evaluate, charge = task(task_name).evaluate, Charge(description, continuation=False)
        evaluate(dict(description.space.get_default_configuration()))
        chosen = measured(name)
        continues = chosen.capabilities.continues
        seeded: Any = GlobalSeeds(seed) if chosen.capabilities.global_seeds else nullcontext
        began, evaluating, self.first = spending.seconds(), 0.0, 0.0
        with seeded():
            optimizer = chosen.build(description, seed)
        told: list[tuple[Trial, Any]] = []
        used = 0.0
        while used < trials - 1e-9:
            try:
                with seeded():
                    trial = optimizer.ask()
            except Exhausted:
                break
            assert trial is not None
            before = time.process_time()
            state = parent = None
            if continues and trial.continues is not None:
                continued, last = told[trial.continues]
                state, parent = last.state, continued.fidelity
            noise = trial_seed(seed, len(told))
            result = evaluate(trial.config, trial.fidelity, noise, state)
            evaluating += time.process_time() - before
            with seeded():
                optimizer.tell(trial, result)
            if not told:
                self.first = spending.seconds() - began - evaluating
            told.append((trial, result))
            share, _ = charge(trial, trial.fidelity, result, 0.0, parent)
            # full evaluations for those that choose the fidelity, a fifth as many: they are dear
            used += share if description.fidelity is None else 5 * share
            spending.check()
        optimizer.close()
        self.cpu = spending.seconds() - began - evaluating - self.first
        self.asks, self.final = len(told), _final(description, told)


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


def ranks(rows: list[Row]) -> dict[str, float]:
    """Mean over tasks and seeds of the rank that a run would have among one run, with any of its
    seeds, of each other variant of its kind; 1 is best, ties share.
    """
    finals: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for task_name, value in row["values"].items():
            finals[row["kind"], task_name][row["name"]].append(value)
    places: dict[str, list[float]] = defaultdict(list)
    for field in finals.values():
        ordered = {name: sorted(values) for name, values in field.items()}
        for name, values in field.items():
            for value in values:
                lost = sum(
                    (bisect_left(o, value) + bisect_right(o, value)) / (2 * len(o))
                    for other, o in ordered.items()
                    if other != name
                )
                places[name].append(1 + lost)
    return {name: sum(p) / len(p) for name, p in places.items()}


def table(kept: Kept, trials: int) -> str:
    """Markdown, best first within each kind."""
    rows = kept.rows
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row["name"]].append(row)
    mean = ranks(rows)
    fields = Counter(kind_of(name) for name in mean)
    sizes = ", ".join(f"{n} {kind}" for kind, n in fields.items())
    bases = {name.partition("@")[0] for name in by_name}
    lines = [
        f"{len(bases)} variants ({sizes}), random search and TPE on more than one kind of task;",
        f"{trials} trials, {trials / 5:g} full evaluations",
        "where there is a fidelity to choose. Mean rank: among one run of each other variant",
        "of its kind, over tasks and seeds; 1 is best. First use: CPU until the first trial is",
        "told, imports among it; memory at its highest, with the task and, where the optimizer has",
        "one, its interpreter. Those that need a prior get one of medium quality, and run on",
        "lcbench alone.",
        "",
        "| variant | kind | seeds | mean rank | CPU ms per trial | first use s | memory MB "
        "| deterministic |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(by_name, key=lambda n: (kind_of(n), mean.get(n, 1e9))):
        mine = by_name[name]
        place = f"{mean[name]:.1f}" if name in mean else "-"
        each = 1e3 * sum(r["cpu"] for r in mine) / max(1, sum(r["asks"] for r in mine))
        first = sorted(r["first"] for r in mine if "first" in r)[0]
        memories = [r["memory_mb"] for r in mine if "memory_mb" in r]
        memory = f"{max(memories):.0f}" if memories else "-"
        deterministic = "yes" if measured(name).capabilities.deterministic else "no"
        lines.append(
            f"| {name.partition('@')[0]} | {kind_of(name)} | {len(mine)} | {place} | {each:.1f} "
            f"| {first:.2f} | {memory} | {deterministic} |"
        )
    slow = {n: s for n, s in sorted(kept.at_least.items()) if n not in by_name}
    none = [name for name in variants() if not tasks_of(name)]
    for words, names in (
        ("A seed takes more CPU seconds than", [f"{n} ({s:g})" for n, s in slow.items()]),
        ("None of these tasks is for", none),
    ):
        lines += ["", f"{words}: {', '.join(names)}."] if names else []
    return "\n".join(lines) + "\n"


class Kept:
    """The file of rows: what is there for a number of trials, and appending to it."""

    def __init__(self, path: Path, trials: int) -> None:
        self.file = Rows(path)
        tasks = {name: set(tasks_of(name)) for name in {r["name"] for r in self.file.rows}}
        self.file.rows = [  # without those that were measured on other tasks
            r
            for r in self.file.rows
            if "at_least" in r or set(r["values"]) == tasks[r["name"]] != set()
        ]
        found = [r for r in self.file.rows if r["trials"] == trials]
        self.rows = [r for r in found if "at_least" not in r]
        self.at_least = {r["name"]: r["at_least"] for r in found if "at_least" in r}

    def add(self, row: Row) -> None:
        self.file.add(row)
        if "seed" in row:
            self.rows.append(row)
        else:
            self.at_least[row["name"]] = row["at_least"]

    def missing(self, name: str, seeds: int) -> list[int]:
        """Those of the seeds 0, 1, ... that have not been measured."""
        return sorted(set(range(seeds)) - {r["seed"] for r in self.rows if r["name"] == name})

    def cost(self, name: str) -> float:
        """CPU seconds that one more seed takes at least, as far as is known."""
        known = [r["cpu"] + r.get("first", 0.0) for r in self.rows if r["name"] == name]
        return max(known) if known else self.at_least.get(name, 0.0)


def fill(kept: Kept, names: list[str], seeds: int, trials: int, limit: float) -> None:
    """Measure what is missing of ``names``, unless one seed takes ``limit`` CPU seconds."""
    for name in sorted(names, key=kept.cost):
        missing = kept.missing(name, seeds)
        if not missing or kept.cost(name) >= limit:
            continue
        command = [sys.executable, __file__, "--measure", name, "--limit", str(limit)]
        command += ["--trials", str(trials), "--named", *map(str, missing)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env=worker_environment(), text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    kept.add(json.loads(line))
        there = seeds - len(kept.missing(name, seeds))
        state = f"{there} of {seeds} seeds, {kept.cost(name):.1f} s each"
        print(f"{name}: {state}{', it failed' if process.returncode else ''}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="names, separated by commas; globs")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--limit", type=float, default=1000, help="CPU seconds a variant")
    parser.add_argument("--keep", type=Path, default=MEASURED / "optimizers.jsonl")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--named", nargs="*", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        for row in measure(given.measure, given.named, given.trials, given.limit):
            print(json.dumps(row), flush=True)
        return
    kept = Kept(given.keep, given.trials)
    names = [*variants(), *ALSO]
    wanted = [n for n in names if any(fnmatch(n, p) for p in given.only.split(","))]
    here = [n for n in wanted if not measured(n).missing() and not measured(n).to_build()]
    here = [n for n in here if tasks_of(n)]
    passes = [(given.seeds, min(20.0, given.limit))]
    passes += [(min(n, given.seeds), given.limit) for n in (1, 3, given.seeds)]
    for seeds, limit in passes:
        fill(kept, here, seeds, given.trials, limit)
    kept.file.prune()
    if kept.rows:
        into_page(START, END, table(kept, given.trials))


if __name__ == "__main__":
    main()
