"""From results to points, files, validation and pictures."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import frames
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from carps_like.analysis import subset
from carps_like.analysis.plots import subset as plots
from carps_like.errors import BadValue, MissingData, UnknownName
from carps_like.registry import describe_task

ROOT = Path(__file__).parents[1]
NAMES = [f"opt{i:02d}" for i in range(15)]


def results(n_tasks=40, names=NAMES, seeds=(1, 2, 3), trials=6, seed=0):
    """Optimizers of increasing quality; tasks differ in scale and in who they favour."""
    rng = np.random.default_rng(seed)
    skill = np.linspace(0, 2.0, len(names))
    taste = rng.normal(0, 1.0, (n_tasks, len(names)))
    scale = 10.0 ** rng.uniform(-2, 3, n_tasks)
    rows = []
    for t in range(n_tasks):
        for o, name in enumerate(names):
            for s in seeds:
                noise = rng.normal(0, 0.1, trials)
                for trial in range(trials):
                    loss = np.exp(-skill[o] - 0.4 * trial + taste[t, o] * 0.5 + noise[trial])
                    rows.append((f"task{t:02d}", name, s, trial + 1.0, "ok", scale[t] * loss))
    columns = ["task", "optimizer", "seed", "budget_used", "status", "value"]
    return pd.DataFrame(rows, columns=columns)


FRAME = results()
SPANNING = ["opt00", "opt07", "opt14"]


def test_points_have_one_row_per_task_and_one_column_per_spanning_optimizer():
    points = subset.points(FRAME, SPANNING, budget=4.0)
    assert list(points.columns) == SPANNING and len(points) == 40
    assert points.index.is_unique and points.to_numpy().min() >= 0 and points.to_numpy().max() <= 1
    assert points.attrs == {"optimizers": SPANNING, "budget": 4.0, "scale": "log regret"}
    # scaled per column, not per task: few rows hold a 1
    assert (points == 1.0).any(axis=1).sum() <= 3


def test_scales_work_within_columns_and_do_not_depend_on_units():
    changed = FRAME.assign(value=FRAME["value"] * 7 + 3)
    for scale in subset.SCALES:
        points = subset.points(FRAME, SPANNING, scale=scale)
        other = subset.points(changed, SPANNING, scale=scale)
        np.testing.assert_allclose(points, other, atol=1e-9)
    ranks = subset.points(FRAME, SPANNING, scale="rank")["opt07"]
    assert sorted(ranks) == pytest.approx([(i + 0.5) / 40 for i in range(40)])
    quantiles = subset.points(FRAME, SPANNING, scale="quantile")["opt07"]
    assert sorted(quantiles) == pytest.approx([i / 39 for i in range(40)])


def test_values_are_the_median_over_seeds_of_the_best_within_the_budget():
    frame = pd.DataFrame(
        {
            "optimizer": "a", "task": "t", "seed": [1, 1, 2, 2, 3, 3], "budget_used": [1, 2] * 3,
            "value": [5.0, 1.0, 4.0, 9.0, 7.0, 0.0],
            "status": ["ok", "ok", "ok", "ok", "ok", "failed"],
        }
    )  # fmt: skip
    assert subset.values(frame, budget=1).loc["t", "a"] == 5.0
    assert subset.values(frame).loc["t", "a"] == 4.0


def test_only_full_evaluations_count_and_several_objectives_by_their_hypervolume():
    several = frames.results(
        frames.run("a", "mf", 0, [0.1, 3.0, 2.0], fidelities=[1.0, 9.0, 9.0], max_fidelity=9.0),
        frames.run("a", "mo", 0, [[0.0, 3.0], [2.0, 2.0]], reference_point=[4.0, 4.0]),
    )
    values = subset.values(several)["a"]
    assert values["mf"] == 2.0
    assert values["mo"] == -(4.0 * 1.0 + 2.0 * 1.0)  # and not the least first objective
    assert subset.values(several, budget=1.0 + 1 / 9)["a"]["mf"] == 3.0


def test_constant_tasks_and_columns_follow_the_stated_rule():
    frame = FRAME[FRAME["optimizer"].isin(SPANNING)].copy()
    frame.loc[frame["task"] == "task03", "value"] = 1.0
    points = subset.points(frame, SPANNING)
    assert (points.loc["task03"] == points.min()).all()
    frame["value"] = 1.0
    assert (subset.points(frame, SPANNING).to_numpy() == 0.5).all()


def test_one_spanning_optimizer_gives_a_selection_too():
    found, _ = subset.make(FRAME, 5, optimizers=["opt03"], evaluations=2_000, prove=5)
    assert len(found.tasks) == 5 and found.parts["subset"].value <= 0.15


def test_bad_results_give_one_line_that_names_the_thing():
    with pytest.raises(UnknownName, match=r"'opt1'.*did you mean"):
        subset.points(FRAME, ["opt1"])
    with pytest.raises(UnknownName, match=r"one of log regret, rank, quantile|did you mean"):
        subset.points(FRAME, SPANNING, scale="log")
    lacking = FRAME[~((FRAME["optimizer"] == "opt07") & (FRAME["task"] == "task05"))]
    with pytest.raises(BadValue, match=r"'opt07' has no successful run on 1 of 40.*'task05'"):
        subset.points(lacking, SPANNING)
    assert len(subset.points(lacking, SPANNING, missing="drop")) == 39
    with pytest.raises(BadValue, match=r"budget 9 was not reached by 360 of 360 runs: opt00 on"):
        subset.points(FRAME, SPANNING, budget=9)
    with pytest.raises(UnknownName, match="column 'value'"):
        subset.points(FRAME.drop(columns="value"), SPANNING)
    with pytest.raises(BadValue, match="no trials"):
        subset.points(FRAME.iloc[:0], SPANNING)
    with pytest.raises(BadValue, match="k is 41"):
        subset.make(FRAME, 41, optimizers=SPANNING)
    with pytest.raises(BadValue, match="k is 0: a subset needs"):
        subset.make(FRAME, 0, ("dev", "test"), optimizers=SPANNING)
    with pytest.raises(BadValue, match="k times 2 parts is 42, but there are only 40"):
        subset.make(FRAME, 21, ("dev", "test"), optimizers=SPANNING)
    with pytest.raises(BadValue, match="a name of its own"):
        subset.make(FRAME, 3, ("dev", ""), optimizers=SPANNING)


def test_a_subset_file_keeps_every_fact(tmp_path):
    made, selections = subset.make(
        FRAME, 6, ("dev", "test"), SPANNING, 4.0, "rank", evaluations=2_000, prove=2
    )
    path = subset.save(made, tmp_path / "mine.yaml")
    read = subset.load(path)
    assert read == made
    assert read.optimizers == tuple(SPANNING) and read.budget == 4.0 and read.scale == "rank"
    assert read.target == "empirical" and read.n_tasks == 40 and read.code_version
    assert len(read.tasks) == 12 and len(set(read.tasks)) == 12
    assert read.part("dev").tasks == tuple(f"task{i:02d}" for i in selections[0].indices)
    assert 0 < read.part("dev").lower_bound <= read.part("dev").value
    assert "gap" in selections[0].describe() or "optimal" in selections[0].describe()
    with pytest.raises(UnknownName, match="dev"):
        read.part("devv")


def test_reading_a_file_needs_no_numba_and_selecting_says_how_to_get_it(tmp_path):
    made, _ = subset.make(FRAME, 3, optimizers=SPANNING, evaluations=100, prove=0)
    path = subset.save(made, tmp_path / "s.yaml")
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from carps_like.analysis import subset\n"
        f"print(len(subset.load({str(path)!r}).tasks))\n"
        "from carps_like.errors import MissingLibrary\n"
        "try: subset.select([[0.5]], 1)\n"
        "except MissingLibrary as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "3",
        "subset selection needs numba: pip install 'carps-like[subset]'",
    ]


def test_every_public_name_of_the_package_resolves():
    assert all(getattr(subset, name) is not None for name in subset.__all__)
    assert set(subset.__all__) == set(subset._HOME)


def test_other_methods_write_the_same_file(tmp_path):
    made, selections = subset.make(FRAME, 6, ("dev", "test"), SPANNING, method="k-medoids")
    assert selections == () and made.method == "k-medoids"
    assert len(set(made.tasks)) == 12
    assert subset.load(subset.save(made, tmp_path / "m.yaml")) == made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.replace("carps_like_subset: 1", "carps_like_subset: 99"), "version 99"),
        (lambda s: s.replace("carps_like_subset", "other"), "not a subset file"),
        (lambda s: s.replace("scale:", "scales:"), "'scales'; did you mean 'scale'"),
        (lambda s: s.replace("scale: log regret\n", ""), "lacks the field scale"),
        (lambda s: "a: [1", "is not YAML"),
        (lambda s: s.replace("- task", "- !!python/object/apply:os.getcwd []\n#"), "is not YAML"),
    ],
)
def test_broken_subset_files_give_one_line(tmp_path, change, words):
    made, _ = subset.make(FRAME, 3, optimizers=SPANNING, evaluations=100, prove=0)
    path = subset.save(made, tmp_path / "s.yaml")
    path.write_text(change(path.read_text()))
    with pytest.raises((BadValue, UnknownName)) as error:
        subset.load(path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_repeated_task_and_a_missing_file_are_named(tmp_path):
    made, _ = subset.make(FRAME, 3, optimizers=SPANNING, evaluations=100, prove=0)
    part = made.parts["subset"]
    twice = dataclasses.replace(part, tasks=(part.tasks[0], part.tasks[0]))
    path = subset.save(dataclasses.replace(made, parts={"subset": twice}), tmp_path / "s.yaml")
    with pytest.raises(BadValue, match="more than once"):
        subset.load(path)
    with pytest.raises(MissingData, match=r"none\.yaml"):
        subset.load(tmp_path / "none.yaml")


def test_validation_compares_methods_with_random_subsets_at_several_budgets():
    tables = {b: subset.values(FRAME, budget=b) for b in (2.0, 6.0)}
    points = subset.points(FRAME, SPANNING, budget=6.0)
    chosen = {
        m: [points.index[i] for i in subset.choose(points, 8, m, evaluations=2_000)]
        for m in ("discrepancy", "k-medoids", "kernel-herding")
    }
    frame = subset.validate(tables, SPANNING, {**chosen, "everything": list(points.index)}, 100)
    assert set(frame["budget"]) == {2.0, 6.0}
    assert set(frame["group"]) == {"spanning", "held-out", "all"}
    assert (frame.loc[frame["method"] == "everything", "kendall"] > 0.999).all()
    assert frame["kendall"].between(-1, 1).all() and frame["beats"].between(0, 1).all()
    assert set(frame["method"]) == {*chosen, "everything", "random"}


def test_random_agreement_grows_with_the_subset():
    table = subset.values(FRAME)
    medians = [
        subset.random_agreements(table, NAMES, k, 200)["kendall"].median() for k in (2, 10, 40)
    ]
    assert medians[0] < medians[1] < medians[2] == pytest.approx(1.0)


def test_leave_one_out_covers_every_optimizer_and_never_spans_with_it():
    table, points = subset.values(FRAME), subset.points(FRAME, SPANNING)
    frame = subset.leave_one_out(table, points, 8, n_random=50, evaluations=1_000)
    assert len(frame) == 15 * 4 and frame["agreement"].between(0, 1).all()
    assert frame[frame["spanning"]]["optimizer"].unique().tolist() == SPANNING
    everything = subset.leave_one_out(table, points, 40, ["discrepancy"], evaluations=10)
    assert (everything["agreement"] == 1.0).all()


def test_conclusions_that_survive_are_counted_per_pair():
    table = subset.values(FRAME)

    def verdicts(tasks):
        means = subset.mean_ranks(table, tasks)
        return {
            (a, b): bool(means[a] < means[b]) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]
        }

    tasks = list(table.index)
    frame = subset.surviving_conclusions(
        verdicts, tasks, {40: [tasks], 5: [tasks[:5], tasks[5:10]]}
    )
    assert frame["k"].tolist() == [5, 40] and frame["n_pairs"].tolist() == [105, 105]
    assert frame["share"].iloc[1] == 1.0 and 0.3 < frame["share"].iloc[0] < 1.0
    assert frame["lowest"].iloc[0] <= frame["share"].iloc[0]


def test_mixed_model_verdicts_name_the_better_the_worse_and_the_undecided():
    rng = np.random.default_rng(3)
    task = rng.normal(0, 2, (30, 1))
    responses = pd.DataFrame(
        task + np.array([-2.0, 0.0, 0.0]) + rng.normal(0, 0.3, (30, 3)),
        columns=["good", "same", "twin"],
        index=[f"t{i:02d}" for i in range(30)],
    )
    # the two middling ones differ by construction on no task: the model must not tell them apart
    responses["twin"] = responses["same"] + np.tile([0.2, -0.2], 15)
    verdicts = subset.mixed_model_verdicts(responses)
    found = verdicts(list(responses.index))
    assert found == {
        ("good", "same"): "better",
        ("good", "twin"): "better",
        ("same", "twin"): "no difference",
    }
    turned = subset.mixed_model_verdicts(-responses)(list(responses.index))
    assert turned[("good", "same")] == "worse"
    survived = subset.surviving_conclusions(
        verdicts, list(responses.index), {30: [list(responses.index)], 3: [["t00", "t01", "t02"]]}
    )
    assert survived["share"].iloc[1] == 1.0 and survived["n_pairs"].tolist() == [3, 3]
    # verdicts only look at the tasks that they are asked about
    swapped = responses.copy()
    swapped.loc["t20":, ["good", "same"]] = swapped.loc["t20":, ["same", "good"]].to_numpy()
    part = subset.mixed_model_verdicts(swapped)
    assert part([f"t{i:02d}" for i in range(20)])[("good", "same")] == "better"
    assert part([f"t{i:02d}" for i in range(20, 30)])[("good", "same")] == "worse"


def test_a_spanning_optimizer_that_was_never_run_on_a_task_is_named():
    lacking = FRAME[~((FRAME["optimizer"] == "opt07") & (FRAME["task"] == "task05"))]
    with pytest.raises(BadValue, match=r"'opt07' has no successful run on 1 of 40.*'task05'"):
        subset.points(lacking, ["opt07"])


def test_pictures_show_the_subset_the_bound_and_the_methods():
    points = subset.points(FRAME, SPANNING)
    found = subset.select(points, 8, evaluations=2_000, time_limit=None, prove=2)
    figure = plots.projections(points, found)
    drawn = [panel for panel in figure.axes if panel.axison]
    assert len(drawn) == 3 and all(len(panel.patches) == 2 for panel in drawn)
    assert len(drawn[0].lines[1].get_xdata()) == 8
    progress = plots.search_progress(found)
    assert progress.axes[0].lines[0].get_ydata()[-1] == found.value
    tables = {6.0: subset.values(FRAME)}
    frame = subset.validate(tables, SPANNING, {"first": list(points.index[:8])}, 20)
    assert len(plots.rank_agreement(frame).axes[0].lines) == 2
    survived = pd.DataFrame({"k": [5, 10], "share": [0.8, 0.9], "lowest": [0.7, 0.8]})
    assert len(plots.surviving(survived).axes[0].lines) == 2
    plt.close("all")


@pytest.mark.parametrize("kind", ["bb", "mf", "mo", "momf"])
def test_the_subsets_that_ship_are_disjoint_tasks_of_their_type_with_their_facts(kind):
    dev, test = (subset.load_subset(f"{kind}-{part}") for part in ("dev", "test"))
    assert len(dev) == len(test) == len(set(dev) - set(test)) == 20
    assert {describe_task(name).type for name in (*dev, *test)} == {kind}
    table = pd.read_parquet(ROOT / "docs" / "subsets" / f"{kind}.parquet")
    made = subset.load(ROOT / "configs" / "subset" / f"{kind}.yaml")
    spanning = set(made.optimizers)
    assert len(spanning) == 3 and table["optimizer"].nunique() - len(spanning) >= 12
    assert made.n_tasks == table["task"].nunique()
    frame = table.astype({"optimizer": str, "task": str})
    points = subset.points(frame, made.optimizers, made.budget, missing="drop")
    for part in made.parts.values():
        value = subset.star_discrepancy(points.loc[list(part.tasks)], points.to_numpy()).value
        assert value == pytest.approx(part.value, abs=1e-12)
