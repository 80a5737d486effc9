"""Results folders: torn logs, versions, compaction, rounds, and reading while others write."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import carps_like
from carps_like import results as module
from carps_like import schema
from carps_like.errors import BadResults
from carps_like.interface import Outcome, Task
from carps_like.results import compact, load
from carps_like.testing.flaky import FlakyTask

TASK = {"_target_": "carps_like.testing.flaky.FlakyTask", "how": "nan"}


def _copy_logs(source: Path, target: Path) -> Path:
    """The logs alone, as if nothing had been compacted."""
    shutil.copytree(source / "logs", target / "logs")
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of four trials, one of them with failed trials, in logs of one attempt each."""
    made = tmp_path_factory.mktemp("results") / "r"
    carps_like.run("random", "bbob-d02-f01-i01", seed=1, trials=4, results=made)
    carps_like.run("random", TASK, seed=2, trials=4, results=made)
    return made


def _check(found: carps_like.Results) -> None:
    """What holds whatever was cut."""
    runs, trials = found.runs, found.trials
    assert set(trials.run_id) <= set(runs.run_id)
    for run in runs.itertuples():
        mine = trials[trials.run_id == run.run_id]
        assert mine.trial.tolist() == list(range(run.n_trials))
    assert (trials.value.isna() == (trials.status != "ok")).all()


# --- logs ---


def test_a_log_that_is_cut_at_any_byte_gives_every_whole_line(folder: Path, tmp_path: Path) -> None:
    cut_folder = tmp_path / "r"
    (cut_folder / "logs").mkdir(parents=True)
    whole = load(_copy_logs(folder, tmp_path / "whole")).trials
    for log in folder.glob("logs/*.jsonl"):
        data = log.read_bytes()
        header = data.index(b"\n", data.index(b'"k":"run"')) + 1
        first = data.index(b"\n") + 1
        target = cut_folder / "logs" / log.name
        # every byte of the trials and the end; every 50th of the two headers
        for cut in [*range(0, header, 50), first, *range(header, len(data) + 1, 3), len(data)]:
            target.write_bytes(data[:cut])
            found = load(cut_folder)
            _check(found)
            n = data[:cut].count(b"\n[") - (not data[:cut].endswith(b"\n") and _torn(data[:cut]))
            assert len(found) == n
            assert len(found.runs) == (cut >= header)
            if cut >= header:
                done = cut == len(data)
                assert found.runs.status.tolist() == ["ok" if done else "killed"]
                run_id = found.runs.run_id[0]
                expected = whole[whole.run_id.astype(str) == run_id].config.tolist()[:n]
                assert found.trials.config.tolist() == expected
        target.unlink()


def _torn(data: bytes) -> bool:
    return data[data.rfind(b"\n") + 1 :].startswith(b"[")


def test_a_torn_line_is_read_once_it_is_whole(folder: Path, tmp_path: Path) -> None:
    from carps_like.store import Index

    (tmp_path / "logs").mkdir()
    log = next(iter(sorted(folder.glob("logs/*.jsonl"))))
    data = log.read_bytes()
    target, index = tmp_path / "logs" / log.name, Index(tmp_path)
    counts = []
    for end in range(0, len(data) + 1, 7):
        target.write_bytes(data[:end])
        counts.append(index.refresh().n_trials)
    target.write_bytes(data)
    assert index.refresh().n_trials == 4
    assert counts == sorted(counts) and set(counts) >= {0, 1, 2, 3}
    assert index.n_done == 1


@pytest.mark.parametrize("block", [1, 7, 50, 300])
def test_the_index_is_the_same_whatever_is_read_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Trials are counted between events; where a block ends must not matter."""
    from carps_like import store

    expected = []
    for log in sorted(folder.glob("logs/*.jsonl")):
        data, begin, n = log.read_bytes(), 0, 0
        for line in data.splitlines(keepends=True):
            at, begin = begin, begin + len(line)
            if b'"k":"run"' in line:
                first, end, n = begin, begin, 0
            elif line.startswith(b"["):
                end, n = begin, n + 1
            elif b'"k":"done"' in line:
                assert end == at
        expected.append((log, first, end, n, "ok", begin))
    monkeypatch.setattr(store, "BLOCK", block)
    index = store.Index(folder).refresh()
    found = [e for executions in index.executions.values() for e in executions]
    rows = [
        (e.path, e.begin, e.end, e.n_trials, e.status, index.files[e.path].offset) for e in found
    ]
    assert sorted(rows) == expected


def test_a_damaged_trial_in_the_middle_is_named(folder: Path, tmp_path: Path) -> None:
    _copy_logs(folder, tmp_path)
    log = next(iter(sorted(tmp_path.glob("logs/*.jsonl"))))
    log.write_bytes(log.read_bytes().replace(b"\n[1,", b"\n[1;"))
    with pytest.raises(BadResults, match="not JSON") as error:
        load(tmp_path)
    assert log.name in str(error.value) and "\n" not in str(error.value)


def test_a_log_of_a_newer_schema_is_refused(folder: Path, tmp_path: Path) -> None:
    _copy_logs(folder, tmp_path)
    for log in tmp_path.glob("logs/*.jsonl"):
        log.write_bytes(log.read_bytes().replace(b'"schema":1', b'"schema":2', 1))
    with pytest.raises(BadResults, match=r"schema version 2, this carps-like reads up to 1"):
        load(tmp_path)


def test_a_table_of_a_newer_schema_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "r")
    path = tmp_path / "r" / "trials.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table.replace_schema_metadata(table.schema.metadata | {b"carps_like_schema": b"2"}), path
    )
    with pytest.raises(BadResults, match="schema version 2"):
        load(tmp_path / "r")


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other table"])
def test_a_corrupt_table_is_one_line_that_says_what_to_do(
    damage: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "r")
    path = tmp_path / "r" / "trials.parquet"
    data = path.read_bytes()
    other = (tmp_path / "r" / "runs.parquet").read_bytes()
    damaged = {"empty": b"", "cut": data[: len(data) // 2], "text": b"x" * 500}
    path.write_bytes(damaged.get(damage, other))
    with pytest.raises(BadResults) as error:
        load(tmp_path / "r")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.unlink()
    assert len(compact(tmp_path / "r")) == 8  # as the line says


def test_what_is_no_results_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadResults, match="there is no results folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(BadResults, match="is not a results folder"):
        load(tmp_path)
    with pytest.raises(BadResults, match="no results folder was given"):
        load()


# --- nan and infinity ---


class Numbers(Task):
    """Extremes of what a double can be, and constraints that are not finite."""

    def __init__(self) -> None:
        from carps_like.description import describe
        from carps_like.testing.flaky import space

        self.description = describe("numbers", space(), constraints=("c", "d"))
        self._values = iter([5e-324, -1.7976931348623157e308, 0.1 + 0.2, math.nan, math.inf, -0.0])

    def compute(self, *arguments: Any) -> Outcome:
        extra = {"test": math.nan, 3: "a key that is no text"}
        return Outcome({"value": next(self._values)}, 1.0, (math.inf, -1.0), extra)


def test_numbers_come_back_to_the_bit_and_nan_is_nan(tmp_path: Path) -> None:
    carps_like.run("random", Numbers(), trials=6, results=tmp_path)
    for found in (load(tmp_path), load(_copy_logs(tmp_path, tmp_path / "logs-only"))):
        trials = found.trials
        assert trials.status.tolist() == ["ok", "ok", "ok", "failed", "failed", "ok"]
        assert trials.value.tolist()[:3] == [5e-324, -1.7976931348623157e308, 0.1 + 0.2]
        assert trials.value[3:5].isna().all()
        assert trials.error.tolist()[3:5] == ["objective value is nan", "objective value is inf"]
        assert [list(c) for c in trials.constraints[:3]] == [[math.inf, -1.0]] * 3
        assert all(math.isnan(v) for v in trials.objectives[3])
        assert json.loads(trials["info"][0]) == {"test": None, "3": "a key that is no text"}


# --- tables ---


def test_logs_and_tables_read_the_same(folder: Path, tmp_path: Path) -> None:
    stored, logged = load(folder), load(_copy_logs(folder, tmp_path))
    for name in schema.TABLES:
        pd.testing.assert_frame_equal(getattr(stored, name), getattr(logged, name))
    _check(stored)


def test_compacting_again_changes_no_byte(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.glob("*.parquet")}
    stamps = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")}
    compact(folder)
    assert {p.name: p.read_bytes() for p in folder.glob("*.parquet")} == before
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")} == stamps
    assert set(before) == {"runs.parquet", "trials.parquet"}


def test_compacting_takes_in_what_came_since(folder: Path, tmp_path: Path) -> None:
    logs = sorted(folder.glob("logs/*.jsonl"))
    (tmp_path / "logs").mkdir()
    data = logs[0].read_bytes()
    partial = data.rindex(b"\n[") + 1
    (tmp_path / "logs" / logs[0].name).write_bytes(data[:partial])
    assert len(compact(tmp_path)) == 3
    assert load(tmp_path).runs.status.tolist() == ["killed"]
    (tmp_path / "logs" / logs[0].name).write_bytes(data)
    shutil.copy(logs[1], tmp_path / "logs")
    assert len(load(tmp_path)) == 8  # before it is compacted
    assert len(compact(tmp_path)) == 8
    for name in schema.TABLES:
        found = getattr(load(tmp_path), name)
        expected = getattr(load(folder), name)
        pd.testing.assert_frame_equal(found, expected, check_categorical=False)


def test_each_table_opens_with_one_line(folder: Path) -> None:
    for name in schema.TABLES:
        path = folder / f"{name}.parquet"
        frame = pd.read_parquet(path)
        assert list(frame.columns) == [c.name for c in schema.TABLES[name]]
        assert len(pyarrow.dataset.dataset(path).to_table()) == len(frame)
        stored = pq.read_schema(path).remove_metadata()
        assert stored.equals(schema.arrow_schema(name).remove_metadata())
        for library in ("polars", "duckdb"):
            if library in sys.modules or _installed(library):
                assert _rows(library, path) == len(frame)


def _installed(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def _rows(library: str, path: Path) -> int:
    if library == "polars":
        import polars

        return int(polars.read_parquet(path).height)
    import duckdb

    return len(duckdb.sql(f"select * from '{path}'").fetchall())


def test_rows_are_sorted_by_task_optimizer_seed_and_trial(folder: Path) -> None:
    trials = load(folder).trials
    keys = ["task", "optimizer", "seed", "trial"]
    expected = trials.astype({"task": str, "optimizer": str}).sort_values(keys)
    assert trials.index.tolist() == expected.index.tolist()


def test_a_big_table_is_written_as_a_file_per_optimizer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARTITION_ABOVE", 7)
    shutil.copytree(folder, tmp_path / "r")
    carps_like.run("optuna-tpe", "bbob-d02-f01-i01", trials=2, results=tmp_path / "r")
    assert not (tmp_path / "r" / "trials.parquet").exists()
    parts = sorted((tmp_path / "r" / "trials").iterdir())
    assert [set(pd.read_parquet(p).optimizer) for p in parts] == [{"optuna-tpe"}, {"random"}]
    whole = load(_copy_logs(tmp_path / "r", tmp_path / "logs-only"))
    pd.testing.assert_frame_equal(load(tmp_path / "r").trials, whole.trials)
    assert len(pd.read_parquet(tmp_path / "r" / "trials")) == 10
    stamps = [p.stat().st_mtime_ns for p in parts]
    compact(tmp_path / "r")
    assert [p.stat().st_mtime_ns for p in parts] == stamps


def test_a_compaction_that_was_cut_between_two_tables_harms_nothing(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "r")
    old = (tmp_path / "r" / "trials.parquet").read_bytes()
    carps_like.run("random", "bbob-d02-f01-i01", seed=9, trials=3, results=tmp_path / "r")
    (tmp_path / "r" / "trials.parquet").write_bytes(old)  # runs.parquet is already new
    assert len(load(tmp_path / "r")) == 11
    assert len(compact(tmp_path / "r")) == 11


# --- several folders, rounds ---


def test_several_folders_are_joined_and_a_run_in_both_counts_once(
    folder: Path, tmp_path: Path
) -> None:
    carps_like.run("random", "bbob-d02-f01-i01", seed=1, trials=4, results=tmp_path / "b")
    carps_like.run("random", "bbob-d02-f01-i01", seed=7, trials=5, results=tmp_path / "b")
    joined = load(folder, tmp_path / "b")
    _check(joined)
    assert len(joined.runs) == 3 and len(joined) == 13
    assert joined.runs.run_id.is_unique
    other = load(tmp_path / "b", folder)
    pd.testing.assert_frame_equal(joined.runs, other.runs, check_categorical=False)


def test_a_finished_run_beats_an_unfinished_one_of_another_folder(
    folder: Path, tmp_path: Path
) -> None:
    log = next(iter(sorted(folder.glob("logs/*.jsonl"))))
    (tmp_path / "logs").mkdir()
    data = log.read_bytes()
    (tmp_path / "logs" / log.name).write_bytes(data[: data.rindex(b'{"k":"done"')])
    for paths in ((folder, tmp_path), (tmp_path, folder)):
        assert set(load(*paths).runs.status) == {"ok"}


def test_force_runs_again_as_a_new_round_and_keeps_the_earlier_one(tmp_path: Path) -> None:
    first = carps_like.run("random", "bbob-d02-f01-i01", trials=3, results=tmp_path)
    same = carps_like.run("random", "bbob-d02-f01-i01", trials=3, results=tmp_path)
    assert same.runs.attempt.tolist() == first.runs.attempt.tolist()
    forced = carps_like.run("random", "bbob-d02-f01-i01", trials=3, results=tmp_path, force=True)
    assert forced.runs["round"].tolist() == [1]
    assert forced.runs.attempt.tolist() != first.runs.attempt.tolist()
    assert forced.trials.config.tolist() == first.trials.config.tolist()
    logs = [p.read_bytes() for p in tmp_path.glob("logs/*.jsonl")]
    assert sum(log.count(b"\n[") for log in logs) == 6  # nothing was overwritten


def test_another_budget_option_or_seed_is_another_run(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = [
        {"trials": 2},
        {"trials": 3},
        {"trials": 2, "seed": 1},
        {"trials": 2, "options": {"n_startup_trials": 1}},
        {"trials": 2, "simulate": {"workers": 2}},
        {"trials": 2},
    ]
    ids = [
        carps_like.run("optuna-tpe", "bbob-d02-f01-i01", results=tmp_path, **call).runs.run_id[0]
        for call in calls
    ]
    assert len(set(ids)) == 5 and ids[0] == ids[5]
    assert all(i[0].isalpha() for i in ids)
    assert len(load(tmp_path).runs) == 5


# --- provenance ---


def test_a_row_of_runs_carries_what_it_depends_on(folder: Path) -> None:
    run = load(folder).runs.iloc[0]
    config = json.loads(run.config)
    assert config["optimizer"]["name"] == "random" and config["budget"] == {"trials": 4}
    assert {"numpy", "ConfigSpace", "ioh"} <= set(json.loads(run.versions))
    assert run.carps_like == carps_like.__version__
    assert run.python == ".".join(map(str, sys.version_info[:3]))
    assert run.host and run.threads == 1 and run.ended >= run.started
    assert list(run.objectives) == ["precision"]


def test_results_can_be_read_while_they_are_written(tmp_path: Path) -> None:
    lengths: list[int] = []

    class Watched(FlakyTask):
        def compute(self, *arguments: Any) -> Any:
            found = load(tmp_path)
            _check(found)
            assert found.runs.status.tolist() == ["killed"]  # not finished, so far
            lengths.append(len(found))
            return super().compute(*arguments)

    carps_like.run("random", Watched(how="nothing"), trials=5, results=tmp_path)
    assert lengths == [0, 1, 2, 3, 4]
    assert load(tmp_path).runs.status.tolist() == ["ok"]


def test_the_page_of_the_schema_is_made_from_the_declaration() -> None:
    page = (Path(__file__).parents[1] / "docs" / "schema.md").read_text()
    assert page == schema.markdown() or page.strip() == schema.markdown().strip()


def test_log_lines_are_json_of_the_declared_length(folder: Path) -> None:
    from carps_like.log import TRIAL

    for log in folder.glob("logs/*.jsonl"):
        for line in log.read_bytes().splitlines():
            data = orjson.loads(line)
            assert isinstance(data, dict) or len(data) == len(TRIAL)
