"""The whole conformance suite over all variants; exit code 1 if any check fails unexpectedly.

python scripts/conformance.py
python scripts/conformance.py --only 'cmaes*' --seeds 30
"""

from __future__ import annotations

import argparse
import fnmatch
import sys

from carps_like.registry import variant, variants
from carps_like.testing import Check, Effort, check_optimizer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="names, separated by commas; globs")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    failed = 0
    for name in variants():
        if not any(fnmatch.fnmatchcase(name, p) for p in given.only.split(",")):
            continue
        chosen = variant(name)
        reason = chosen.missing() or chosen.to_build()
        if reason:
            print(f"{name}: cannot run here: {reason}")
            continue

        def report(check: Check, problem: str, name: str = name) -> None:
            print(f"{name}: {check}: {problem or 'ok'}", flush=True)

        failed += len(check_optimizer(chosen, Effort(given.trials, given.seeds), report))
    print(f"{failed} checks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
