"""``carps-like analyze`` and ``carps-like subset``: statements that hold, tasks that represent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from carps_like.cli import OK
from carps_like.commands.arguments import Arguments
from carps_like.errors import BadValue, UnknownName


def analyze(argv: Sequence[str]) -> int:
    """``carps-like analyze RESULTS``."""
    args = Arguments(
        prog="carps-like analyze",
        description="Which differences are real: mixed-effects models with the task as unit.",
    )
    args.add_argument("results", type=Path, nargs="+", help="one folder, or several to join")
    args.add_argument("--scale", default="rank", choices=("value", "log", "rank", "normalised"))
    args.add_argument("--missing", default="drop", choices=("drop", "worst", "fail"))
    args.add_argument("--adjust", default="tukey", choices=("tukey", "holm", "bonferroni", "none"))
    args.add_argument("--against", help="compare with this optimizer only (Dunnett)")
    args.add_argument("--alpha", type=float, default=0.05)
    args.add_argument("-o", "--output", type=Path, help="default: analysis/ in the first folder")
    given = args.parse_intermixed_args(argv)
    from carps_like import load
    from carps_like.analysis.final import final
    from carps_like.analysis.significance import analyze as compare
    from carps_like.analysis.significance import runs

    frame = runs(final(load(*given.results)))
    names = sorted(frame["optimizer"].astype(str).unique())
    if given.against is not None and given.against not in names:
        raise UnknownName("optimizer in these results", given.against, names)
    options: dict[str, Any] = {"scale": given.scale, "missing": given.missing}
    options |= {"alpha": given.alpha, "adjust": given.adjust}
    if given.against is not None:
        options |= {"against": given.against, "adjust": "dunnett"}
    folder = given.output or given.results[0] / "analysis"
    print(compare(frame, folder, **options))
    print(f"tables and diagrams: {folder}")
    return OK


def subset(argv: Sequence[str]) -> int:
    """``carps-like subset RESULTS --k 20 --split dev,test -o mine.yaml``."""
    args = Arguments(
        prog="carps-like subset", description="Few tasks that speak for all that were run."
    )
    args.add_argument("results", type=Path, nargs="+", help="one folder, or several to join")
    args.add_argument("--k", type=int, required=True, help="tasks in each subset")
    args.add_argument("--split", default="subset", help="names of disjoint subsets: dev,test")
    args.add_argument("--optimizers", help="the spanning optimizers, a,b,c; default: all")
    args.add_argument("--budget", type=float, help="in full evaluations; default: all of every run")
    args.add_argument("--scale", default="log regret", help="log regret, rank or quantile")
    args.add_argument("--target", default="empirical", choices=("empirical", "uniform"))
    args.add_argument("--method", default="discrepancy")
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--evaluations", type=int, help="of the search, in place of a time limit")
    args.add_argument("--time-limit", type=float, default=10.0, help="seconds per subset")
    args.add_argument("--prove", type=float, default=25.0, help="seconds for a lower bound")
    args.add_argument("--missing", default="raise", choices=("raise", "drop"))
    args.add_argument("-o", "--output", type=Path, default=Path("subset.yaml"))
    given = args.parse_intermixed_args(argv)
    from carps_like import load
    from carps_like.analysis import subset as subsets

    results = load(*given.results)
    spanning = given.optimizers.split(",") if given.optimizers else None
    made, found = subsets.make(
        results,
        given.k,
        given.split.split(","),
        spanning,
        given.budget,
        given.scale,
        given.target,
        given.method,
        given.seed,
        given.evaluations,
        given.time_limit,
        given.prove,
        given.missing,
    )
    for name, part in made.parts.items():
        print(f"{name}: {', '.join(part.tasks)}")
    for name, selection in zip(made.parts, found, strict=False):
        print(f"{name}: {selection.describe()}")
    if not found:
        for name, part in made.parts.items():
            value = f"star discrepancy {part.value:.6f} ({made.target} target)"
            print(f"{name}: {len(part.tasks)} points by {made.method}, {value}, no bound")
    _validate(results, made, given)
    path = subsets.save(made, given.output)
    print(f"{path}: use it as task=@{path if '/' in str(path) else f'./{path}'}")
    return OK


def _validate(results: Any, made: Any, given: argparse.Namespace) -> None:
    """Does it rank optimizers as the full set does, those left out of the choice above all."""
    from carps_like.analysis import subset as subsets

    points = subsets.points(results, made.optimizers, given.budget, given.scale, given.missing)
    table, held_out, left_out = points[[]], [], {}
    for name in sorted(set(results.trials["optimizer"].unique())):
        try:
            column = subsets.values(results, [name], given.budget, given.missing)
            table = table.join(column.loc[points.index])
        except (BadValue, KeyError) as error:
            left_out[name] = str(error) if isinstance(error, BadValue) else "lacks runs"
            continue
        if name not in made.optimizers:
            held_out.append(name)
    for name, why in left_out.items():
        print(f"validation leaves out {name}: {why}", file=sys.stderr)
    spanning = list(made.optimizers)
    if len(held_out) < 2:
        text = "no validation: fewer than two optimizers are left out (--optimizers names the rest)"
        print(text, file=sys.stderr)
        return
    chosen = {f"{made.method} ({name})": list(p.tasks) for name, p in made.parts.items()}
    for method in subsets.METHODS:
        if method != made.method:
            at = subsets.choose(points, given.k, method, given.seed)
            chosen[method] = [str(points.index[i]) for i in at]
    agreement = subsets.validate({given.budget or 0.0: table}, spanning, chosen)
    rows = agreement[agreement["group"] == "held-out"].drop(columns=["budget", "group"])
    print(f"\nranking of the {len(held_out)} optimizers that had no part in the choice:")
    print(rows.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    scores = dict(zip(rows["method"], rows["kendall"], strict=True))
    ours = max(score for name, score in scores.items() if name in chosen and name[-1:] == ")")
    others = {name: scores[name] for name in subsets.METHODS if name in scores}
    better = [n for n, score in others.items() if n != "random" and score > ours]
    if better:
        print(f"{better[0]} ranks them better here: --method '{better[0]}' makes that subset")
    print()
