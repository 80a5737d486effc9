"""Write docs/tasks: a page per collection, generated from the declarations, some with a picture."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np

import carps_like
from carps_like.description import COLUMNS, Objective, TaskDescription
from carps_like.registry import Collection, collections
from carps_like.space import Sampler
from carps_like.testing.tasks import sample

mpl.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs" / "tasks"


def page(collection: Collection, picture: bool) -> str:
    tasks = [collection.describe(name) for name in collection.names()]
    module = sys.modules[type(collection).__module__].__doc__ or ""
    parts = [f"# {collection.name}", _prose(module), _facts(tasks)]
    if picture:
        parts.append(f"![{collection.name}](img/{collection.name}.png)")
    parts.append(
        "## Some of its tasks\n\n" + _table([collection.describe(n) for n in sample(collection)])
    )
    parts.append("## One in full\n\n" + _one(collection.describe(sample(collection)[-1])))
    if collection.requires:
        needs = f"Needs `{'`, `'.join(collection.requires)}`"
        how = f": `pip install 'carps-like[{collection.extra}]'`" if collection.extra else ""
        parts.append(f"{needs}{how}.")
    return "\n\n".join(parts) + "\n"


def _prose(docstring: str) -> str:
    return docstring.strip().replace("``", "`")


def _spread(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _facts(tasks: list[TaskDescription]) -> str:
    kinds = Counter(t.type for t in tasks)
    lines = [
        ("tasks", f"{len(tasks):,} (" + ", ".join(f"{n:,} {k}" for k, n in kinds.items()) + ")"),
        ("kind", ", ".join(sorted({t.kind for t in tasks}))),
        ("dimension", _spread([t.dimension for t in tasks])),
    ]
    for field in ("continuous", "integer", "categorical", "ordinal", "conditions", "forbidden"):
        values = [getattr(t, f"n_{field}") for t in tasks]
        if any(values):
            lines.append((field, _spread(values)))
    lines.append(("constraints", _spread([len(t.constraints) for t in tasks])))
    noisy = sum(t.noisy for t in tasks)
    lines.append(("noisy", f"{noisy:,} of {len(tasks):,}" if noisy else "no"))
    if any(t.stateful for t in tasks):
        lines.append(("state to continue from", f"{sum(t.stateful for t in tasks):,} tasks"))
    known = sum(any(o.optimum is not None for o in t.objectives) for t in tasks)
    lines.append(("optimum or best known value", f"{known:,} of {len(tasks):,}"))
    sources = sorted({t.optimum_source for t in tasks if t.optimum_source})
    if sources:
        lines.append(("from", "; ".join(sources)))
    volumes = sum(t.hypervolume is not None for t in tasks)
    if volumes:
        lines.append(("best known hypervolume", f"{volumes:,} of {len(tasks):,}"))
    lines.append(("seconds of an evaluation", _spread([t.evaluation_seconds for t in tasks])))
    return "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in lines)


def _objective(o: Objective) -> str:
    unit = f", {o.unit}" if o.unit else ""
    return f"{o.name} ({'min' if o.minimize else 'max'}{unit})"


def _fidelity(t: TaskDescription) -> str:
    return f"{t.fidelity.name} {t.fidelity.lower:g} to {t.fidelity.upper:g}" if t.fidelity else ""


def _table(tasks: list[TaskDescription]) -> str:
    head = (
        "| task | type | dimension | objectives | fidelity | trials |\n|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        f"| `{t.name}` | {t.type} | {t.dimension} | {'; '.join(map(_objective, t.objectives))} "
        f"| {_fidelity(t)} | {t.budget.trials} |"
        for t in tasks
    )


def _one(t: TaskDescription) -> str:
    lines = [f"`{t.name}`", ""]
    for o in t.objectives:
        known = [
            f"{label} {value:g}"
            for label, value in (("best", o.optimum), ("reference", o.reference))
            if value is not None
        ]
        lines.append(f"- objective {_objective(o)}" + (": " + ", ".join(known) if known else ""))
    if t.fidelity:
        lines.append(f"- fidelity {_fidelity(t)}; cost: {t.fidelity.cost_law}")
    if t.optimum_source:
        lines.append(f"- best values from: {t.optimum_source}")
    if t.hypervolume is not None:
        lines.append(f"- best known hypervolume {t.hypervolume:.6g}")
    if t.constraints:
        lines.append(f"- {len(t.constraints)} constraints: {t.constraints[0]}, ..., <= 0 when kept")
    words = [word for word in ("noisy", "deterministic", "real", "stateful") if getattr(t, word)]
    lines.append(f"- {t.kind}" + "".join(f", {word}" for word in words))
    seconds = "the time that it took" if t.unit_cost is None else f"{t.unit_cost:g} s"
    lines.append(f"- a full evaluation counts as {seconds}, where it names no time of its own")
    lines.append("- budget " + ", ".join(f"{v:g} {k}" for k, v in t.budget.data().items()))
    params = t.checker.params
    lines += [
        "",
        "| hyperparameter | kind | values | default | active under |",
        "|---|---|---|---|---|",
    ]
    for p in params[:12]:
        values = f"{p.lower:g} to {p.upper:g}" + (", log" if p.log else "")
        if p.choices:
            values = ", ".join(map(str, p.choices[:8])) + (", ..." if len(p.choices) > 8 else "")
        default = f"{p.default:g}" if isinstance(p.default, float) else str(p.default)
        lines.append(f"| {p.name} | {p.kind} | {values} | {default} | {', '.join(p.parents)} |")
    if len(params) > 12:
        lines.append(f"| ... {len(params) - 12} more | | | | |")
    return "\n".join(lines)


# --- pictures ---


def _surface(ax: plt.Axes, name: str, fidelity: float | None, title: str) -> None:
    task = carps_like.task(name)
    first, second = task.description.checker.params
    xs, ys = (np.linspace(p.lower, p.upper, 60) for p in (first, second))
    values = np.array([
        [task.evaluate({first.name: a, second.name: b}, fidelity).value for a in xs.tolist()]
        for b in ys.tolist()
    ])  # fmt: skip
    ranks = values.ravel().argsort().argsort().reshape(values.shape)
    ax.contourf(xs, ys, ranks, levels=20, cmap="viridis_r")
    ax.set_title(title, fontsize=6, pad=2)
    ax.set_xticks([])
    ax.set_yticks([])


def bbob() -> None:
    """Slices of the 24 functions in two dimensions, coloured by rank."""
    _, axes = plt.subplots(4, 6, figsize=(7, 5))
    for f, ax in enumerate(axes.flat, 1):
        _surface(ax, f"bbob-d02-f{f:02}-i01", None, f"f{f}")


def synthetic() -> None:
    _, axes = plt.subplots(2, 3, figsize=(6, 4))
    for row, name in zip(axes, ("branin", "currin"), strict=True):
        for ax, z in zip(row, (0.04, 0.5, 1.0), strict=True):
            _surface(ax, f"synthetic-{name}-mf", z, f"{name}, z = {z:g}")


def yahpo() -> None:
    """Learning curves of 15 random configurations on two instances of lcbench."""
    _, axes = plt.subplots(1, 2, figsize=(6.5, 2.6))
    for ax, instance in zip(axes, ("167152", "189906"), strict=True):
        task = carps_like.task(f"yahpo-lcbench-{instance}-mf")
        sampler = Sampler(task.description.checker, 0)
        epochs = range(1, 53)
        for _ in range(15):
            config = sampler.sample()
            curve = [task.evaluate(config, e).objectives["val_accuracy"] for e in epochs]
            ax.plot(epochs, curve, linewidth=0.8)
        ax.set_title(f"lcbench, task {instance}", fontsize=8)
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("validation accuracy, %")


def lcdb() -> None:
    _, ax = plt.subplots(figsize=(5, 3))
    task = carps_like.task("lcdb-6-accuracy-mf")
    fidelity = task.description.fidelity
    assert fidelity is not None
    sizes = np.unique(np.geomspace(fidelity.lower, fidelity.upper, 40).astype(int)).tolist()
    for learner in task.description.checker.by_name["learner"].choices:
        curve = [task.evaluate({"learner": learner}, s).objectives["accuracy"] for s in sizes]
        ax.plot(sizes, curve, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("rows to train on")
    ax.set_ylabel("validation accuracy")
    ax.set_title("20 learners on letter", fontsize=8)


def pymoo() -> None:
    from carps_like.tasks.pymoo import make

    _, axes = plt.subplots(1, 4, figsize=(8, 2.2))
    for ax, name in zip(axes, ("zdt1", "zdt2", "zdt3", "zdt6"), strict=True):
        front = make(name, {}).pareto_front()
        ax.plot(*front[:, :2].T, ".", markersize=2)
        ax.set_title(name, fontsize=8)
        ax.tick_params(labelsize=6)


def fcnet() -> None:
    """All configurations of one table, and their front."""
    _, ax = plt.subplots(figsize=(4, 3))
    task = carps_like.task("fcnet-protein_structure-mo")
    sampler = Sampler(task.description.checker, 0)
    points = np.array([task.evaluate(sampler.sample()).values for _ in range(4000)])
    ax.loglog(points[:, 1], points[:, 0], ".", markersize=1)
    ax.set_xlabel("training time, s")
    ax.set_ylabel("validation loss")


PICTURES: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (bbob, synthetic, yahpo, lcdb, pymoo, fcnet)
}


def draw(name: str) -> None:
    PICTURES[name]()
    (DOCS / "img").mkdir(exist_ok=True, parents=True)
    plt.tight_layout(pad=0.5)
    plt.savefig(DOCS / "img" / f"{name}.png", dpi=90, metadata={"Software": None})
    plt.close("all")


def index(found: dict[str, Collection]) -> str:
    rows, totals = [], Counter()
    for name, collection in found.items():
        tasks = [collection.describe(n) for n in collection.names()]
        kinds = Counter(t.type for t in tasks)
        totals += kinds
        rows.append(
            f"| [{name}]({name}.md) | {', '.join(sorted({t.kind for t in tasks}))} | "
            + " | ".join(f"{kinds[k]:,}" if kinds[k] else "" for k in ("bb", "mf", "mo", "momf"))
            + f" | {_spread([t.dimension for t in tasks])} |"
        )
    total = " | ".join(f"{totals[k]:,}" for k in ("bb", "mf", "mo", "momf"))
    return (
        "# Tasks\n\n"
        f"{totals.total():,} tasks in {len(found)} collections; written by "
        "`scripts/task_pages.py`.\n\n"
        "| collection | kind | bb | mf | mo | momf | dimension |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n| all | | {total} | |\n\n"
        "`carps-like tasks --where \"n_continuous <= 5 and kind == 'surrogate'\"` filters on what "
        f"tasks declare: `{'`, `'.join(COLUMNS)}`, and `ready` and `missing`. What a task lacks "
        "equals `None` (`optimum is not None`). `carps-like task NAME` prints all of one task, "
        "with its space.\n"
    )


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    found = dict(sorted(collections().items()))
    for name, collection in found.items():
        if name in PICTURES:
            draw(name)
        text = page(collection, name in PICTURES)
        (DOCS / f"{name}.md").write_text(text, encoding="utf-8")
    (DOCS / "index.md").write_text(index(found), encoding="utf-8")


if __name__ == "__main__":
    main()
