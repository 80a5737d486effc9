"""The conformance suite over all variants, and its table in docs/optimizers.md.

    python scripts/conformance.py
    python scripts/conformance.py --only 'cmaes*' --limit 100
    python scripts/conformance.py --checks 'learns*'

Each variant is checked in a process of its own. What came of each check stands in a file of JSON
lines (``--keep``): a second call goes on from there and repeats what failed, and all checks of a
variant whose adapter or options have changed. Cheap variants come first: in the first pass each may
take 30 CPU seconds, then ten times as many, up to ``--limit``. A check that did not end in time is
reported as such, never as passed. Exit code 1 if any failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path

import psutil
from _measured import MEASURED, Row, Rows, into_page

from carps_like.local import worker_environment
from carps_like.registry import variant, variants
from carps_like.testing import KNOWN, Effort, checks_for

START, END = "<!-- conformance: scripts/conformance.py -->", "<!-- end of conformance -->"
PASSES = (30.0, 300.0, 3000.0, 30000.0)  # CPU seconds a variant


class Kept:
    """The last outcome of each check, in a file that is appended to.

    A row has ``name``, ``check``, ``effort``, ``outcome`` (ok, failed, out of time), ``problem``,
    ``cpu`` seconds. What is in ``KNOWN`` is ``known`` once it failed, and failed once it passes.
    """

    def __init__(self, path: Path, effort: str) -> None:
        self.file, self._effort = Rows(path), effort
        found = (r for r in self.file.rows if r["effort"] == effort)
        self.rows = {(r["name"], r["check"]): self._known(r) for r in found}

    @staticmethod
    def _known(row: Row) -> Row:
        if (row["name"], row["check"]) in KNOWN:
            if row["outcome"] == "failed":
                return row | {"outcome": "known"}
            if row["outcome"] == "ok":
                return row | {"outcome": "failed", "problem": "it passes, and is said to fail"}
        return row

    def add(self, name: str, check: str, outcome: str, problem: str, cpu: float) -> None:
        row = {"name": name, "check": check, "effort": self._effort, "outcome": outcome}
        row |= {"problem": problem, "cpu": round(cpu, 2)}
        self.file.add(row)
        self.rows[name, check] = self._known(row)

    def to_do(self, name: str, checks: list[str], limit: float) -> list[str]:
        """Checks of a variant that are not passed, and were not out of time at this limit."""
        found = []
        for check in checks:
            row = self.rows.get((name, check), {"outcome": "none", "cpu": 0.0})
            late = row["outcome"] == "out of time" and row["cpu"] >= 0.9 * limit
            if row["outcome"] not in ("ok", "known") and not late:
                found.append(check)
        return found

    def cost(self, name: str) -> float:
        return sum(r["cpu"] for (n, _), r in self.rows.items() if n == name)


def among(name: str, globs: str) -> bool:
    return any(fnmatch(name, glob) for glob in globs.split(","))


def checks_of(name: str, effort: Effort) -> list[str]:
    return [check.name for check in checks_for(variant(name).capabilities, effort)]


def child(name: str, wanted: list[str], effort: Effort) -> None:
    """Run checks of one variant; a line at the beginning and at the end of each."""
    chosen = variant(name)
    for check in checks_for(chosen.capabilities, effort):
        if check.name not in wanted:
            continue
        print(json.dumps({"begins": check.name}), flush=True)
        problem = ""
        try:
            check.run(chosen, effort)
        except Exception as error:
            problem = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        print(json.dumps({"ends": check.name, "problem": problem}), flush=True)


def check(kept: Kept, name: str, wanted: list[str], limit: float, arguments: list[str]) -> None:
    """``wanted`` checks of a variant in a process that is ended after ``limit`` CPU seconds."""
    command = [sys.executable, __file__, "--child", name, "--named", *wanted, *arguments]
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(command, stdout=output, env=worker_environment())
        begins, before, running, read = 0.0, 0.0, "", 0
        while True:
            ended = process.poll() is not None
            spent = before if ended else max(before, _family(process))
            for line in os.pread(output.fileno(), 1 << 20, read).splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                read += len(line)
                if not line.startswith((b'{"begins"', b'{"ends"')):
                    continue
                event = json.loads(line)
                if "begins" in event:
                    running, begins = event["begins"], spent
                    continue
                outcome = "failed" if event["problem"] else "ok"
                kept.add(name, running, outcome, event["problem"], spent - begins)
                running = ""
            before = spent
            if ended:
                break
            if spent > limit:
                family = [*process.children(recursive=True), process]
                for one in family:
                    one.kill()
                process.wait()
                if running:
                    kept.add(name, running, "out of time", "", spent - begins)
                return
            time.sleep(0.5)
    if running:
        problem = f"the process ended with {process.returncode}"
        kept.add(name, running, "failed", problem, spent - begins)


def _family(process: psutil.Process) -> float:
    """CPU seconds of a process and of those that it started."""
    total = 0.0
    try:
        for one in [process, *process.children(recursive=True)]:
            times = one.cpu_times()
            total += times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return total


def table(kept: Kept, effort: Effort) -> str:
    """Markdown: who passed everything, and a row for each that did not."""
    whole, part, not_here, none = [], [], [], []
    for name in variants():
        chosen = variant(name)
        rows = {c: kept.rows.get((name, c)) for c in checks_of(name, effort)}
        known = {c: r for c, r in rows.items() if r is not None}
        if not known:
            (not_here if chosen.missing() or chosen.to_build() else none).append(name)
            continue
        outcomes = Counter(r["outcome"] for r in known.values())
        if outcomes["ok"] == len(rows):
            whole.append(name)
            continue
        words = [f"{c}: {r['problem']}" for c, r in known.items() if r["outcome"] == "failed"]
        words += [f"{c}, known: {KNOWN[name, c]}" for c in known if (name, c) in KNOWN]
        late = [c for c, r in known.items() if r["outcome"] == "out of time"]
        words += [f"{c}: not ended after {known[c]['cpu']:.0f} CPU seconds" for c in late]
        missing = len(rows) - len(known)
        words += [f"{missing} checks not yet run"] if missing else []
        said = "; ".join(words).replace("|", "/")
        part.append(f"| {name} | {outcomes['ok']} of {len(rows)} | {said} |")
    lines = [
        f"{effort.trials} trials; learning against random search, at most {effort.seeds} seeds.",
        "",
        f"All checks passed ({len(whole)}): {', '.join(whole) or 'none'}.",
        "",
    ]
    if part:
        lines += ["| variant | passed | the others |", "|---|---|---|", *part, ""]
    for title, names in (("Not run", none), ("Cannot run where this was made", not_here)):
        lines += [f"{title} ({len(names)}): {', '.join(names)}.", ""] if names else []
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="names, separated by commas; globs")
    parser.add_argument("--checks", default="*", help="checks, separated by commas; globs")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--limit", type=float, default=3000, help="CPU seconds a variant")
    parser.add_argument("--keep", type=Path, default=MEASURED / "conformance.jsonl")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--named", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    effort = Effort(given.trials, given.seeds)
    if given.child:
        child(given.child, given.named, effort)
        return 0
    arguments = ["--trials", str(given.trials), "--seeds", str(given.seeds)]
    kept = Kept(given.keep, " ".join(arguments))
    wanted = [n for n in variants() if among(n, given.only)]
    here = [n for n in wanted if not variant(n).missing() and not variant(n).to_build()]
    tried: set[tuple[str, str]] = set()  # a failure is repeated by the next call, not by this one
    for limit in sorted({min(limit, given.limit) for limit in PASSES}):
        for name in sorted(here, key=kept.cost):
            chosen = [c for c in checks_of(name, effort) if among(c, given.checks)]
            todo = [c for c in kept.to_do(name, chosen, limit) if (name, c) not in tried]
            if not todo:
                continue
            check(kept, name, todo, limit, arguments)
            rows = {c: kept.rows.get((name, c), {"outcome": "none"}) for c in todo}
            tried |= {(name, c) for c, r in rows.items() if r["outcome"] == "failed"}
            counts = Counter(r["outcome"] for r in rows.values())
            said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
            print(f"{name}: {said} (limit {limit:g} CPU s)", flush=True)
    kept.file.prune()
    into_page(START, END, table(kept, effort))
    outcomes = Counter(r["outcome"] for (name, _), r in kept.rows.items() if name in here)
    print(", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()))
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
