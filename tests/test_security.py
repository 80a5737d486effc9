"""Results are data: a hostile results folder executes nothing and writes nothing outside."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import carps_like
from carps_like.cli import main
from carps_like.errors import CarpsLikeError
from carps_like.plan import PlannedRun, plan_path, write_generation
from carps_like.spec import Spec

TARGETS = ["os.system", "subprocess.Popen", "builtins.eval", "evil.Task", "builtins.exec"]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, finished results folder that each test makes hostile in its way."""
    folder = tmp_path_factory.mktemp("honest") / "r"
    words = ["-m", "optimizer=random", "task=bbob-d02-f01-i01", "seed=0,1", "budget.trials=5"]
    assert main(["run", *words, f"results={folder}"]) == 0
    return folder


@pytest.fixture
def hostile(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "out" / "r"))


class Trap:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def everything(folder: Path, page: Path) -> list[int]:
    """Every verb that reads a folder; each may refuse it, none may break."""
    codes = [
        main(["status", str(folder)]),
        main(["report", str(folder), "-o", str(page)]),
        main(["retry", str(folder)]),
        main(["merge", str(folder), "-o", str(page.parent / "merged")]),
        main(["compact", str(folder)]),
    ]
    assert set(codes) <= {0, 1, 2}
    return codes


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of every run in the logs; the tables are gone, so that logs are read."""
    for table in folder.glob("*.parquet"):
        table.unlink()
    for log in (folder / "logs").glob("*.jsonl"):
        lines, run_id = [], None
        for line in log.read_bytes().splitlines():
            data = orjson.loads(line)
            if isinstance(data, dict) and data.get("k") == "run":
                change(data)
                run_id = data["run"]
            elif isinstance(data, dict) and data.get("k") == "done":
                data["run"] = run_id
            lines.append(orjson.dumps(data))
        log.write_bytes(b"\n".join(lines) + b"\n")


def snapshot(root: Path, inside: Path) -> set[str]:
    """Files below ``root`` that do not belong to ``inside``."""
    return {str(p) for p in root.rglob("*") if inside not in p.parents and p != inside}


def test_a_pickle_under_any_name_is_never_loaded(hostile: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    evil = pickle.dumps(Trap(mark))
    names = ["runs.parquet", "trials.parquet", "logs/a1.jsonl", "plans/plan-g001.jsonl.gz"]
    names += ["claims/g000/c000000", "results.pkl", "heartbeats/a1", "runs.pkl"]
    for name in names:
        path = hostile / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(evil)
        everything(hostile, tmp_path / "page.html")
        shutil.rmtree(tmp_path / "merged", ignore_errors=True)
    assert not mark.exists()


def test_yaml_tags_in_the_folder_are_text(hostile: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    tag = f"!!python/object/apply:os.system ['touch {mark}']"
    for name in ("study.yaml", ".hydra/config.yaml", "config.yaml"):
        (hostile / name).parent.mkdir(exist_ok=True)
        (hostile / name).write_text(tag)

    def poison(header: dict[str, Any]) -> None:
        header["spec"]["task"]["name"] = tag
        header["spec"]["optimizer"]["note"] = tag

    rewrite(hostile, poison)
    everything(hostile, tmp_path / "page.html")
    assert not mark.exists()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_in_a_stored_configuration_is_not_imported(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)  # where workers look for modules

    def poison(header: dict[str, Any]) -> None:
        header["spec"]["optimizer"]["_target_"] = target
        header["spec"]["optimizer"]["command"] = f"touch {mark}"
        header["spec"]["task"]["_target_"] = target
        header["run"] = Spec.of(header["spec"]).run_id

    rewrite(hostile, poison)
    for log in (hostile / "logs").glob("*.jsonl"):  # failed, so that retry wants them
        log.write_bytes(log.read_bytes().replace(*FAILED))
    codes = everything(hostile, tmp_path / "page.html")
    assert codes[2] in (1, 2)
    assert not mark.exists()


def test_a_target_in_a_foreign_plan_is_refused_by_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from carps_like.worker import main as worker

    mark = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = Spec({"name": "x", "_target_": "evil.Task"}, {"name": "bbob-d02-f01-i01"}, 0, {})
    write_generation(tmp_path / "r", [PlannedRun(Spec.of(spec.data()))], 1)
    assert worker([str(tmp_path / "r"), "--generation", "0"]) == 2
    assert "evil.Task" in capfd.readouterr().err and not mark.exists()


FAILED = (b'"status":"ok","error":""', b'"status":"failed","error":"x"')


def test_packages_that_a_stored_configuration_asks_for_are_not_installed(
    hostile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    environments = tmp_path / "environments"
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(environments))

    def poison(header: dict[str, Any]) -> None:
        wanted = [f"evil @ file://{tmp_path}/evil.tar.gz"]
        header["spec"]["optimizer"]["environment"] = {"name": "evil", "requirements": wanted}
        header["run"] = Spec.of(header["spec"]).run_id

    rewrite(hostile, poison)
    for log in (hostile / "logs").glob("*.jsonl"):
        log.write_bytes(log.read_bytes().replace(*FAILED))
    assert main(["retry", str(hostile)]) == 2
    assert "'environment:" in capfd.readouterr().err
    assert not environments.exists()


NAMES = ["../../escaped", "/tmp/carps-like-escaped", "..", "a/../../escaped", "x\x00y", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_lead_out_of_the_output(hostile: Path, tmp_path: Path, name: str) -> None:
    def poison(header: dict[str, Any]) -> None:
        header["spec"]["task"]["name"] = name
        header["spec"]["optimizer"]["name"] = name
        header["run"] = name

    rewrite(hostile, poison)
    before = snapshot(tmp_path, hostile)
    out = tmp_path / "made"
    out.mkdir()
    everything(hostile, out / "page.html")
    assert (
        snapshot(tmp_path, hostile)
        - {str(out)}
        - {p for p in snapshot(tmp_path, hostile) if p.startswith(str(out))}
        == before
    )
    assert not Path("/tmp/carps-like-escaped").exists()


def test_a_heartbeat_name_in_a_claim_cannot_read_elsewhere(tmp_path: Path) -> None:
    from carps_like.heartbeat import Watch

    for name in ("../../../etc/passwd", "/etc/passwd", "..", ""):
        assert Watch(tmp_path).alive(name) is False


def test_a_results_name_cannot_lead_out_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["optimizer=random", "task=bbob-d02-f01-i01", "budget.trials=2"]
    for name in ("../escaped", "..", "a/b"):
        assert main(["run", *words, f"name={name}"]) == 2
    assert list(tmp_path.iterdir()) == []


def lying(path: Path) -> None:
    """A table whose columns are of other types than it should have."""
    table = pq.read_table(path, partitioning=None)
    columns = {n: pa.array([{"a": [1]}] * table.num_rows) for n in table.column_names}
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def huge_footer(path: Path) -> None:
    """The footer claims to be 4 GB long."""
    data = path.read_bytes()
    path.write_bytes(data[:-8] + (0xFFFFFFF0).to_bytes(4, "little") + data[-4:])


def very_many_rows(path: Path) -> None:
    """The right columns, and millions of empty rows in a few kilobytes."""
    schema = pq.read_schema(path)
    nothing = [pa.nulls(200_000, field.type) for field in schema]
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(pa.Table.from_arrays(nothing, schema=schema))


@pytest.mark.parametrize("change", [lying, truncated, huge_footer, very_many_rows])
@pytest.mark.parametrize("table", ["runs", "trials"])
def test_a_lying_table_is_refused_with_one_line(
    hostile: Path, change: Callable[[Path], None], table: str
) -> None:
    path = hostile / f"{table}.parquet"
    change(path)
    with pytest.raises(CarpsLikeError, match=table) as caught:
        carps_like.load(hostile)
    assert "\n" not in str(caught.value)


def test_a_lying_plan_is_refused_with_one_line(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plan_path(hostile, 0)
    honest = path.read_bytes()
    head, *lines = gzip.decompress(honest).splitlines(keepends=True)
    lies = [
        honest[:-20],
        b"no gzip at all",
        gzip.compress(b"[]\n"),
        gzip.compress(head),  # fewer runs than it says
        gzip.compress(head + lines[0] * 1000),
        gzip.compress(head.replace(b'"schema":1', b'"schema":99') + b"".join(lines)),
        gzip.compress(head + b"x" * 100_000_000),  # 100 kB that unpack to 100 MB
        gzip.compress(head + b"".join(lines).replace(b'"chunk":0', b'"chunk":-1')),
    ]
    for lie in lies:
        path.write_bytes(lie)
        capsys.readouterr()
        assert main(["status", str(hostile)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    path.write_bytes(honest)
    assert main(["status", str(hostile)]) == 0


def test_a_symbolic_link_among_the_logs_is_not_merged(hostile: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"k":"attempt","schema":1}\n')
    (hostile / "logs" / "b.jsonl").symlink_to(secret)
    assert main(["merge", str(hostile), "-o", str(tmp_path / "merged")]) == 2
    assert not (tmp_path / "merged" / "logs" / "b.jsonl").exists()


def test_script_in_names_and_errors_stays_text_in_the_report(hostile: Path, tmp_path: Path) -> None:
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"

    def poison(header: dict[str, Any]) -> None:
        header["spec"]["task"]["name"] = script
        header["spec"]["optimizer"]["name"] = script

    rewrite(hostile, poison)
    page = tmp_path / "page.html"
    if main(["report", str(hostile), "-o", str(page)]) == 0:
        text = page.read_text()
        assert script not in text and "<img src=x" not in text
        assert "&lt;script&gt;alert(1)" in text


def test_terminal_escapes_in_names_do_not_reach_the_terminal(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def poison(header: dict[str, Any]) -> None:
        header["spec"]["task"]["name"] = "a\x1b]0;owned\x07\x1b[2J"

    rewrite(hostile, poison)
    for log in (hostile / "logs").glob("*.jsonl"):
        log.write_bytes(log.read_bytes().replace(*FAILED))
    capsys.readouterr()
    main(["status", str(hostile)])
    assert "\x1b" not in capsys.readouterr().out


def test_study_files_are_data_too(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    study = tmp_path / "mine.yaml"
    study.write_text(f"tasks: !!python/object/apply:os.system ['touch {mark}']\n")
    assert main(["plan", f"study={study}"]) == 2
    filtered = f"{{where: \"__import__('os').system('touch {mark}')\"}}"
    study.write_text(f"optimizers: [random]\ntasks: [{filtered}]\n")
    assert main(["plan", f"study={study}"]) == 2
    assert not mark.exists()


def test_the_trap_of_these_tests_works(tmp_path: Path) -> None:
    pickle.load(io.BytesIO(pickle.dumps(Trap(tmp_path / "mark"))))
    assert (tmp_path / "mark").exists()
