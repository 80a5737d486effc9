"""Makes @bb-dev, @bb-test and their siblings from real runs, and the page that checks them.

    carps-like run study=subset-bb workers=2                 # the real runs: an hour or more
    python scripts/representative_subsets.py table bb results/subset-bb
    python scripts/representative_subsets.py choose bb       # bb mf mo momf; without: all
    python scripts/representative_subsets.py page

``table`` keeps what is needed of the runs: the incumbent of every run at a few budgets, in
``docs/subsets/TYPE.parquet``. ``choose`` works from that table alone: it writes the subset file
``configs/subset/TYPE.yaml``, the checks (``docs/subsets/TYPE.json``) and their pictures. ``page``
puts the checks into ``docs/subsets.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from carps_like import load
from carps_like.analysis import subset
from carps_like.analysis.anytime import incumbents
from carps_like.analysis.plots import subset as plots

ROOT = Path(__file__).parents[1]
DOCS, PAGE = ROOT / "docs" / "subsets", ROOT / "docs" / "subsets.md"
FILES = ROOT / "configs" / "subset"
START, END = "<!-- checks: scripts/representative_subsets.py -->", "<!-- end of checks -->"
TYPES = {
    "bb": (10.0, 25.0, 50.0),
    "mf": (5.0, 10.0, 20.0),
    "mo": (10.0, 25.0, 50.0),
    "momf": (5.0, 15.0, 30.0),
}  # the budgets, in full evaluations; the last is the one chosen by
SPANNING, K, PARTS = 3, 20, ("dev", "test")
EVALUATIONS = 200_000  # of the search, so that the same subset is found everywhere
PICTURES = ("projections", "search", "agreement", "survival")
SIZES = (5, 10, 15, 20, 30, 40)


def study(kind: str) -> dict[str, Any]:
    """The study whose runs the subsets come from."""
    path = ROOT / "configs" / "study" / f"subset-{kind}.yaml"
    return dict(yaml.safe_load(path.read_text()))


def table(kind: str, folders: list[str]) -> None:
    """The incumbent of every run at every budget of its type, as a frame of trials."""
    found = incumbents(load(*folders), axis="evaluations")
    rows = []
    for budget in TYPES[kind]:
        within = found.spent <= budget * (1 + 1e-9)
        counts = np.bincount(found.run[within], minlength=len(found.runs))
        best = np.append(found.best, np.nan)[
            np.where(counts > 0, found.starts[:-1] + counts - 1, -1)
        ]
        frame = found.runs[["optimizer", "task", "seed", "measure"]]
        rows.append(frame.assign(budget_used=budget, value=best))
    whole = pd.concat(rows, ignore_index=True)
    whole = whole[whole["optimizer"].isin(study(kind)["optimizers"])]
    complete = whole.groupby("task")["optimizer"].nunique() == whole["optimizer"].nunique()
    whole = whole[whole["task"].isin(complete.index[complete])]
    for name in ("optimizer", "task", "measure"):
        whole[name] = whole[name].astype("category")
    DOCS.mkdir(exist_ok=True)
    whole.to_parquet(DOCS / f"{kind}.parquet", index=False, compression="zstd")
    print(f"{kind}: {whole['task'].nunique()} tasks x {whole['optimizer'].nunique()} optimizers")


def choose(kind: str) -> None:
    """The subset file, its checks and its pictures, from the table."""
    frame = pd.read_parquet(DOCS / f"{kind}.parquet")
    frame = frame.astype({"optimizer": str, "task": str})
    budgets, optimizers = TYPES[kind], study(kind)["optimizers"]
    spanning = optimizers[:SPANNING]
    made, found = subset.make(
        frame, K, PARTS, spanning, budgets[-1], evaluations=EVALUATIONS, time_limit=None,
        missing="drop",
    )  # fmt: skip
    FILES.mkdir(exist_ok=True)
    subset.save(made, FILES / f"{kind}.yaml")
    points = subset.points(frame, spanning, budgets[-1], missing="drop")
    tables = {b: subset.values(frame, optimizers, b, missing="drop") for b in budgets}
    tables = {b: t.reindex(points.index).dropna() for b, t in tables.items()}
    chosen = {f"@{kind}-{name}": list(part.tasks) for name, part in made.parts.items()}
    for method in subset.METHODS[1:3]:
        chosen[method] = [str(points.index[i]) for i in subset.choose(points, K, method)]
    agreements = pd.concat(
        subset.validate({b: t}, spanning, {m: [x for x in s if x in t.index] for m, s in
                                           chosen.items()})
        for b, t in tables.items()
    )  # fmt: skip
    sizes = [k for k in SIZES if k < len(points)]
    by_size = pd.concat(_by_size(points, tables[budgets[-1]], budgets[-1], spanning, sizes))
    placed = subset.leave_one_out(tables[budgets[-1]], points, K)
    responses = subset.log_regret(frame, optimizers, budgets[-1], missing="drop")
    survival = _survival(points, responses.loc[points.index])
    facts = {
        "tasks": len(points),
        "seeds": int(frame["seed"].nunique()),
        "describe": {name: s.describe() for name, s in zip(PARTS, found, strict=True)},
        "agreement": agreements[agreements["group"] != "all"].round(3).to_dict("records"),
        "placement": placed.groupby("method", sort=False)["agreement"].mean().round(3).to_dict(),
        "placement_held_out": placed[~placed["spanning"]]
        .groupby("method", sort=False)["agreement"].mean().round(3).to_dict(),
        "survival": survival.round(3).to_dict("records"),
        "by_size": by_size[by_size["group"] == "held-out"].round(3).to_dict("records"),
    }  # fmt: skip
    (DOCS / f"{kind}.json").write_text(json.dumps(facts, indent=1) + "\n")
    pictures = (
        plots.projections(points, found[0]),
        plots.search_progress(found[0]),
        plots.rank_agreement(by_size),
        plots.surviving(survival),
    )
    for name, figure in zip(PICTURES, pictures, strict=True):
        figure.savefig(DOCS / f"{kind}-{name}.png", dpi=80, metadata={"Software": None})
    print(json.dumps(facts["placement_held_out"]), facts["describe"])


def _by_size(
    points: pd.DataFrame,
    values: pd.DataFrame,
    budget: float,
    spanning: list[str],
    sizes: list[int],
) -> list[pd.DataFrame]:
    """Agreement of the ranking for every size, by each way to choose."""
    frames = []
    for k in sizes:
        chosen = {
            method: [str(points.index[i]) for i in subset.choose(points, k, method)]
            for method in subset.METHODS[:3]
        }
        frames.append(subset.validate({budget: values}, spanning, chosen))
    return frames


def _survival(points: pd.DataFrame, responses: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of the mixed model on subsets of each size: ten searches that start elsewhere."""
    tried = {
        k: [
            [str(points.index[i]) for i in subset.choose(points, k, seed=seed, evaluations=5000)]
            for seed in range(10)
        ]
        for k in SIZES
        if k < len(points)
    }
    verdicts = subset.mixed_model_verdicts(responses)
    return subset.surviving_conclusions(verdicts, list(points.index), tried)


def page() -> None:
    """Put the checks of every type that has them into the page."""
    text = PAGE.read_text()
    before, after = text[: text.index(START) + len(START)], text[text.index(END) :]
    parts = [_section(kind) for kind in TYPES if (DOCS / f"{kind}.json").is_file()]
    PAGE.write_text(before + "\n" + "\n".join(parts) + after)


def _section(kind: str) -> str:
    facts = json.loads((DOCS / f"{kind}.json").read_text())
    asked = study(kind)["optimizers"]
    lines = [
        f"## {kind}",
        "",
        f"{facts['tasks']} tasks, {len(asked)} optimizers, {facts['seeds']} seeds. Spanning: "
        f"{', '.join(asked[:SPANNING])}. Held out: {', '.join(asked[SPANNING:])}.",
        "",
        *(f"- `@{kind}-{name}`: {text}" for name, text in facts["describe"].items()),
        "",
        "| budget | optimizers | subset | Kendall | Spearman | better than random subsets |",
        "|---|---|---|---|---|---|",
    ]
    for row in facts["agreement"]:
        name = "random (median of 1,000)" if row["method"] == "random" else row["method"]
        beats = "" if row["method"] == "random" else f"{row['beats']:.0%}"
        lines.append(
            f"| {row['budget']:g} | {row['group']} | {name} | {_number(row['kendall'])} "
            f"| {_number(row['spearman'])} | {beats} |"
        )
    lines += [
        "",
        f"Leave one out (all {len(asked)} optimizers in turn, k = {K}, the largest budget): share "
        "of the others to which an optimizer that had no part in the choice compares as on the "
        "full set.",
        "",
        "| method | all | those outside the spanning set |",
        "|---|---|---|",
    ]
    held = facts["placement_held_out"]
    lines += [f"| {m} | {v:.3f} | {held[m]:.3f} |" for m, v in facts["placement"].items()]
    best = max(held, key=lambda method: held[method])
    if held[best] > held["discrepancy"]:
        lines += [
            "",
            f"**{best} is better here on held-out optimizers**: `carps-like subset ... --method "
            f"{best}` makes that subset.",
        ]
    else:
        lines += ["", "No other method is better on held-out optimizers here."]
    kept = ", ".join(f"{r['k']}: {r['share']:.0%}" for r in facts["survival"])
    lines += [
        "",
        "Share of pairwise verdicts of the mixed model that a subset repeats, by its size (mean "
        f"of 10 subsets): {kept}.",
        "",
        *(f"![{name}](subsets/{kind}-{name}.png)" for name in PICTURES),
        "",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "tied" if value is None or np.isnan(value) else f"{value:.2f}"


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    one = steps.add_parser("table", help="keep what is needed of a study's runs")
    one.add_argument("kind", choices=TYPES)
    one.add_argument("results", nargs="+")
    two = steps.add_parser("choose", help="choose the subsets and check them")
    two.add_argument("kinds", nargs="*", choices=[*TYPES, []], default=list(TYPES))
    steps.add_parser("page", help="write the checks into docs/subsets.md")
    given = parser.parse_args()
    if given.step == "table":
        table(given.kind, given.results)
    elif given.step == "choose":
        for kind in given.kinds:
            choose(kind)
    else:
        page()


if __name__ == "__main__":
    main()
