"""``carps-like plan``: what a command would run, what is done, and why something cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from carps_like.cli import OK
from carps_like.commands.request import Asked, read_request
from carps_like.plan import Plan, PlannedRun

HELP = """\
usage: carps-like plan STUDY-ARGS [--json] [--summary]

Print every run that `carps-like run STUDY-ARGS` stands for, with its state, the reason for it and
its estimated CPU seconds; nothing is run, no task is built.

  carps-like plan study=bb-small
  carps-like plan -m optimizer=random,cmaes 'task=glob(bbob-d02-*-i01)' 'seed=range(0,5)' --json

  --json      one JSON object: counts, cpu_hours, runs
  --summary   counts and CPU hours only

States: new, running, done, failed, unsupported, library missing, data missing.
"""


def main(argv: Sequence[str]) -> int:
    """Print the plan; exit code 2 when the request is wrong."""
    if "-h" in argv or "--help" in argv:
        print(HELP, end="")
        return OK
    request = read_request("plan", argv, ("--json", "--summary"))
    if "--json" in argv:
        _json(request, "--summary" in argv)
        return OK
    if "--summary" not in argv:
        _table(request.plan.runs)
    print(summary(request.plan, str(request.folder)), end="")
    return OK


def summary(plan: Plan, folder: str) -> str:
    """Counts by state and the CPU hours that are left, a few lines."""
    counts = plan.counts()
    lines = [f"{len(plan.runs):,} runs in {folder}"]
    lines += [f"  {n:>9,} {state}" for state, n in counts.most_common()]
    for reason, n in _reasons(plan).items():
        lines.append(f"            {n:,} x {reason}")
    left, all_hours = cpu_hours(plan.to_do), cpu_hours(plan.runs)
    lines.append(f"estimated CPU hours: {left:.3g} left of {all_hours:.3g} (evaluations only)")
    return "\n".join(lines) + "\n"


def cpu_hours(runs: Iterable[PlannedRun]) -> float:
    """Estimated CPU hours of the evaluations; what optimizers need comes on top."""
    return sum(run.seconds for run in runs) / 3600


def _reasons(plan: Plan, most: int = 10) -> Mapping[str, int]:
    """The commonest reasons, one line each."""
    from collections import Counter

    reasons = Counter(f"{r.state}: {_one_line(r.reason)}" for r in plan.runs if r.reason)
    return dict(reasons.most_common(most))


def _one_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def row(run: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": run.spec.run_id,
        "optimizer": run.spec.optimizer["name"],
        "task": run.spec.task["name"],
        "seed": run.spec.seed,
        "state": run.state,
        "reason": run.reason,
        "cpu_seconds": run.seconds,
        "round": run.round,
    }


def _json(request: Asked, short: bool) -> None:
    plan = request.plan
    data: dict[str, Any] = {
        "results": str(request.folder),
        "counts": dict(plan.counts()),
        "cpu_hours": cpu_hours(plan.runs),
        "cpu_hours_left": cpu_hours(plan.to_do),
    }
    if not short:
        data["runs"] = [row(run) for run in plan.runs]
    sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.flush()


def _table(runs: Sequence[PlannedRun]) -> None:
    head = ("optimizer", "task", "seed", "cpu s", "state", "reason")
    lines = [
        (
            str(r.spec.optimizer["name"]),
            str(r.spec.task["name"]),
            str(r.spec.seed),
            f"{r.seconds:.3g}",
            r.state,
            _one_line(r.reason),
        )
        for r in runs
    ]
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head) - 1)]
    layout = "  ".join(f"{{:<{width}}}" for width in widths) + "  {}\n"
    sys.stdout.writelines(layout.format(*line).rstrip() + "\n" for line in (head, *lines))
