"""What single collections promise beyond the checks that all tasks pass."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import carps_like
from carps_like.description import Objective
from carps_like.errors import BadValue, MissingData, UnknownName
from carps_like.registry import collections
from carps_like.tasks import _data, _tables
from carps_like.tasks._declared import real
from carps_like.tasks.moot import Moot
from carps_like.tasks.program import program_task
from carps_like.tasks.simulators import cache
from carps_like.tasks.training import split
from carps_like.trial import Status

X = [real("x", 0.0, 1.0)]
VALUE = [Objective("value")]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("bbob-d04-f01-i01", "bbob-d03-f01-i01"),
        ("bbob-d05-f25-i01", "bbob-d05-f2"),
        ("bbob-d05-f01-i16", "bbob-d05-f01-i1"),
        ("bbob-boxed-d05-f01-i006", "bbob-boxed-d05-f01-i00"),
        ("pbo-d017-f01-i01", "pbo-d016"),
        ("graph-maxcut-2009", "graph-maxcut-200"),
        ("cec2022-d02-f06", "cec2022-d0"),
        ("pymoo-zdt7-d30-m2", "pymoo-zdt"),
        ("moot-x265-bb", "moot-x264"),
        ("lcdb-3-accurracy-mf", "lcdb-3-accuracy-mf"),
        ("yahpo-lcbench-1-bb", "yahpo-lcbench-"),
        ("priorband-synthetic_branin-perfect-mf", "priorband-synthetic_branin"),
        ("training-svm-mnist-bb", "training-svm-"),
        ("control-cartpole-cnn-bb", "control-cartpole-"),
        ("program-cache-strem-bb", "program-cache-stream-bb"),
    ],
)
def test_an_unknown_dimension_instance_or_type_gets_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as error:
        carps_like.task(name)
    text = str(error.value)
    assert name in text and near in text.split("did you mean")[1] and "\n" not in text


# --- tables ---


def test_a_truncated_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(_data.SHIPPED / "fcnet", tmp_path / "fcnet")
    shutil.copy(_data.SHIPPED / "checksums.json", tmp_path)
    table = tmp_path / "fcnet" / "naval_propulsion.npz"
    table.write_bytes(table.read_bytes()[:-1000])
    for module in (_data, _tables):
        monkeypatch.setattr(module, "SHIPPED", tmp_path)
    for function in (_data._checksums, _tables.arrays, _tables.means, _tables.index):
        function.cache_clear()
    try:
        with pytest.raises(MissingData, match=r"fcnet/naval_propulsion\.npz is truncated"):
            carps_like.task("fcnet-naval_propulsion-bb")
        (tmp_path / "fcnet" / "slice_localization.npz").unlink()
        with pytest.raises(MissingData, match=r"slice_localization\.npz is missing"):
            carps_like.task("fcnet-slice_localization-bb")
    finally:
        for function in (_data._checksums, _tables.arrays, _tables.means, _tables.index):
            function.cache_clear()


def test_every_data_file_has_its_checksum() -> None:
    sums = json.loads((_data.SHIPPED / "checksums.json").read_text())
    binary = {".onnx", ".npz", ".npy", ".gz", ".xz", ".parquet"}
    found = {p.relative_to(_data.SHIPPED).as_posix() for p in _data.SHIPPED.rglob("*")}
    assert set(sums) == {name for name in found if Path(name).suffix in binary}
    for name in list(sums)[::9]:
        assert _data.shipped(name).is_file()


GOLDEN = Path(__file__).parent / "golden"


def test_every_folder_of_data_says_where_it_comes_from_and_carries_its_licence() -> None:
    of_others = [GOLDEN / name for name in ("mfh", "priorband", "tables", "yahpo")]
    for folder in (*_data.SHIPPED.iterdir(), *of_others):
        if folder.is_dir():
            text = (folder / "SOURCE.md").read_text()
            licences = [p.name for p in folder.glob("LICENSE*")]
            assert licences and re.search("licen[cs]e", text, re.IGNORECASE), folder


def test_a_pool_answers_with_its_nearest_row_or_refuses() -> None:
    near, strict = carps_like.task("moot-x264-bb"), carps_like.task("moot-x264-strict-bb")
    assert near.description.metadata["pool"] == "nearest row"
    config = near.description.checker.default()
    answer = near.evaluate(config)
    assert answer.ok and answer.extra["distance"] > 0
    refused = strict.evaluate(config)
    assert refused.status is Status.FAILED and "is a pool without the row" in refused.error
    grid = next(name for name, row in _tables.catalogue("moot").items() if row["grid"])
    assert Moot().describe(f"moot-{grid}-bb").metadata["pool"] == "grid"
    with pytest.raises(UnknownName):
        Moot().describe(f"moot-{grid}-strict-bb")  # a full grid has nothing to refuse


def test_more_repetitions_cost_more_and_missing_ones_are_skipped() -> None:
    task = carps_like.task("nb201-cifar10-mf")
    checker = task.description.checker
    for op in checker.params[0].choices:
        config = checker.default() | {"Op0": op}
        once, all_of_them = task.evaluate(config, 1), task.evaluate(config, 3)
        assert once.ok and all_of_them.ok
        assert once.cost == pytest.approx(all_of_them.cost / 3)


def test_an_architecture_without_a_network_is_forbidden() -> None:
    task = carps_like.task("nbgraph-cora-bb")
    config = task.description.checker.default() | dict.fromkeys(
        ("op0", "op1", "op2", "op3"), "skip"
    )
    with pytest.raises(BadValue, match="forbidden"):
        task.evaluate(config)


def test_a_learning_curve_keeps_the_largest_measured_size_below() -> None:
    task = carps_like.task("lcdb-6-accuracy-mf")
    config = {"learner": "RandomForestClassifier"}
    low, between = task.evaluate(config, 128), task.evaluate(config, 150)
    assert low.extra["size"] == between.extra["size"] == 128
    assert low.values == between.values
    assert "test_accuracy" in low.extra


# --- trainings ---


def test_training_validation_and_test_rows_are_apart() -> None:
    pytest.importorskip("sklearn")
    x, y, x_valid, y_valid, x_test, y_test = split("digits")
    assert (len(y), len(y_valid), len(y_test)) == (899, 449, 449)
    rows = [{r.tobytes() for r in part} for part in (x, x_valid, x_test)]
    assert not rows[0] & rows[1] and not rows[1] & rows[2] and not rows[0] & rows[2]
    assert set(y) == set(y_valid) == set(y_test)


@pytest.mark.parametrize("name", ["training-mlp-iris-mf", "control-cartpole-linear-mf"])
def test_continuing_a_checkpoint_equals_training_in_one_go(name: str) -> None:
    for module in ("torch", "sklearn") if "training" in name else ("gymnasium",):
        pytest.importorskip(module)
    task = carps_like.task(name)
    config = task.description.checker.default()
    straight = task.evaluate(config, 6, seed=3)
    part = task.evaluate(config, 2, seed=3)
    rest = task.evaluate(config, 6, seed=3, state=part.state)
    assert rest.values == straight.values and rest.cost == straight.cost
    assert part.state[next(iter(part.state))] == 2  # the checkpoint itself is not changed


def test_a_checkpoint_is_continued_under_other_hyperparameters() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    task = carps_like.task("training-mlp-wine-mf")
    config = task.description.checker.default()
    part = task.evaluate(config, 2, seed=3)
    other = config | {"learning_rate": 1e-4, "batch_size": 64, "dropout": 0.5}
    result = task.evaluate(other, 4, seed=3, state=part.state)
    assert result.ok and result.extra["epoch"] == 4
    assert result.values != task.evaluate(other, 4, seed=3).values


def test_test_episodes_start_from_seeds_that_no_training_sees() -> None:
    pytest.importorskip("gymnasium")
    from carps_like.tasks.control import TEST_SEEDS, ControlTask

    seen: list[tuple[int, bool]] = []
    task = carps_like.task("control-mountaincar-linear-mf")
    assert isinstance(task, ControlTask)
    episode = task._episode
    task._episode = lambda w, c, seed, s, learning: (  # type: ignore[method-assign]
        seen.append((seed, learning)) or episode(w, c, seed, s, learning)
    )
    for seed in (0, 7, 999, 123_456):
        task.evaluate(task.description.checker.default(), 2, seed)
    training = {s for s, learning in seen if learning}
    tuning = {s for s, learning in seen if not learning and s < TEST_SEEDS}
    test = {s for s, learning in seen if not learning and s >= TEST_SEEDS}
    assert training and tuning and test
    assert not training & tuning and max(training | tuning) < TEST_SEEDS


# --- programs ---


def test_a_program_gets_its_values_in_words_in_a_file_and_on_standard_input() -> None:
    script = (
        "import json, sys; a = json.load(sys.stdin); b = json.load(open(sys.argv[2]));"
        "assert a == b and a['seed'] == 5 and a['fidelity'] == a['n'] == 2, a;"
        "json.dump({{'value': float(sys.argv[1]), 'cost': 3, 'constraints': [-1]}},"
        "open(sys.argv[3], 'w'))"
    )
    command = ["{python}", "-c", script, "{x}", "{config}", "{result}"]
    fidelity = {"name": "n", "lower": 1, "upper": 4, "integer": True}
    task = program_task("mine", command, X, VALUE, fidelity, constraints=("c",))
    result = task.evaluate({"x": 0.25}, 2, seed=5)
    assert result.ok, result.error
    assert (result.value, result.cost, result.constraints) == (0.25, 3.0, (-1.0,))


@pytest.mark.parametrize(
    ("command", "limits", "status", "message"),
    [
        (["sleep", "9"], {"seconds": 0.3}, Status.TIMEOUT, "sleep ran over 0.3 s"),
        (
            ["{python}", "-c", "x = bytearray(10**9)"],
            {"mebibytes": 400},
            Status.OUT_OF_MEMORY,
            "asked for more than 400 MiB",
        ),
        (["sh", "-c", "echo broken >&2; exit 3"], {}, Status.FAILED, "ended with 3: broken"),
        (["no-such-program"], {}, Status.FAILED, "cannot be started: No such file"),
        (["echo", "hello"], {}, Status.FAILED, "gave no JSON object, but 'hello'"),
        (["echo", '{{"valeu": 1}}'], {}, Status.FAILED, "no 'value'; did you mean 'valeu'?"),
    ],
)
def test_what_a_program_does_wrong_is_a_failed_trial(
    command: list[str], limits: dict, status: Status, message: str
) -> None:
    result = program_task("mine", command, X, VALUE, **limits).evaluate({"x": 0.5})
    assert result.status is status
    assert message in result.error.splitlines()[0]


def test_a_program_that_runs_over_its_time_leaves_no_children(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    command = ["sh", "-c", f"(sleep 1.5; touch {mark}) & sleep 9"]
    result = program_task("mine", command, X, VALUE, seconds=0.3).evaluate({"x": 0.5})
    assert result.status is Status.TIMEOUT
    subprocess.run(["sleep", "2"], check=True)
    assert not mark.exists()


def test_a_command_that_asks_for_no_hyperparameter_is_refused() -> None:
    with pytest.raises(BadValue, match=r"asks for \{xx\}.*did you mean 'x'"):
        program_task("mine", ["run", "{xx}"], X, VALUE)


def test_a_program_may_be_one_string_and_declared_by_mappings() -> None:
    task = program_task(
        "mine",
        """sh -c 'echo "{{\\"value\\": {x}, \\"n\\": {fidelity}}}"'""",
        [{"name": "x", "kind": "ordinal", "choices": [2, 0, 1], "default": 0}],
        [{"name": "value"}, {"name": "n", "minimize": False}],
        {"name": "epochs", "lower": 1, "upper": 9, "integer": True},
    )
    assert task.description.checker.default() == {"x": 0}
    assert task.evaluate({"x": 2}, 3).objectives == {"value": 2.0, "n": 3.0}


FLOAT = {"name": "x", "kind": "float", "lower": 0, "upper": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": [FLOAT | {"uper": 1}]}, "'x' of task 'mine' has no field 'uper'.*'upper'"),
        ({"parameters": [FLOAT | {"kind": "flot"}]}, "'x' .* no kind 'flot'; did you mean 'float'"),
        ({"parameters": [FLOAT | {"lower": 3}]}, "'x' .*lower 3 is not below upper 1"),
        ({"parameters": [FLOAT | {"log": True}]}, "'x' .*lower 0 must be above 0 on a log scale"),
        ({"parameters": [FLOAT | {"default": 2}]}, "'x' .* cannot have the default 2"),
        ({"parameters": [FLOAT | {"upper": "high"}]}, "'x' .* needs a number as upper, not 'high'"),
        ({"parameters": [{"name": "x", "kind": "categorical"}]}, "'x' .* needs choices"),
        ({"parameters": [{"kind": "float"}]}, "needs the field 'name'"),
        ({"parameters": [FLOAT, FLOAT]}, "hyperparameters of task 'mine' .* different names"),
        ({"parameters": ["x"]}, "must be a mapping of fields, not 'x'"),
        ({"objectives": []}, "objectives of task 'mine' must be one or more"),
        ({"objectives": [{"nam": "v"}]}, "has no field 'nam'; did you mean 'name'"),
        ({"fidelity": {"name": "z", "lower": 2, "upper": 2}}, "'z' .*lower 2 is not below upper 2"),
        ({"secnds": 3}, "task 'mine' has no field 'secnds'; did you mean 'seconds'"),
    ],
)
def test_a_wrong_declaration_of_a_program_is_named(changed: dict[str, Any], message: str) -> None:
    declared: dict[str, Any] = {"parameters": [FLOAT], "objectives": [{"name": "value"}]}
    with pytest.raises(BadValue, match=message):
        program_task("mine", ["run"], **(declared | changed))


def test_the_cache_simulator_counts_as_by_hand() -> None:
    """A stream of 8-byte words through lines of 64: one miss in eight, and nothing is evicted."""
    options = {
        "size_kib": 64, "line_bytes": 64, "ways": 1, "policy": "lru", "write": "back",
        "prefetch": 0, "banks": 1, "row_bytes": 1 << 30, "interleave": "row",
        "workload": "stream", "accesses": 800,
    }  # fmt: skip
    metrics = cache.simulate(options)
    assert metrics["miss_rate"] == 1 / 8
    transfer = cache.OPEN_ROW + 64 / 16
    first = cache.CLOSED_ROW - cache.OPEN_ROW
    assert metrics["latency"] == pytest.approx(1 + (100 * transfer + first) / 800)
    ahead = cache.simulate(options | {"prefetch": 1})
    assert ahead["miss_rate"] == 1 / 16


def test_the_shipped_program_and_the_simulator_agree() -> None:
    task = carps_like.task("program-cache-matrix-momf")
    config = task.description.checker.default()
    result = task.evaluate(config, 1000, seed=4)
    expected = cache.simulate({**config, "workload": "matrix", "accesses": 1000, "seed": 4})
    assert result.objectives == {o: expected[o] for o in ("latency", "energy", "area")}


# --- all ---


def test_describing_everything_imports_no_library_of_a_benchmark() -> None:
    code = (
        "import sys; from carps_like.registry import collections\n"
        "n = sum(bool(c.describe(t).row()) for c in collections().values() for t in c.names())\n"
        "heavy = 'ConfigSpace ioh cocoex pymoo torch botorch sklearn gymnasium nevergrad scipy '\n"
        "heavy += 'onnxruntime pandas'\n"
        "assert n >= 30_000 and not set(heavy.split()) & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real_find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "cocoex" else real_find(n, *a)
    )
    with pytest.raises(carps_like.CarpsLikeError, match=r"pip install 'carps-like\[coco\]'"):
        carps_like.task("bbob-boxed-d02-f01-i001")
    assert next(iter(collections()["bbob-boxed"].names())) == "bbob-boxed-d02-f01-i001"
