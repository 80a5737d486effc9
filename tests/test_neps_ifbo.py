"""ifBO with networks of FT-PFN's form whose weights are drawn at random, or hardly trained.

FT-PFN itself has to be downloaded, which neither this project nor its tests do.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carps_like.budget import Budget
from carps_like.cli import main
from carps_like.description import Fidelity, Objective, describe
from carps_like.errors import BadValue, MissingData
from carps_like.registry import describe_task, variant
from carps_like.testing import Check, Effort, checks_for
from carps_like.testing.conformance import driven
from carps_like.testing.problems import Problem, problems, quadratic, quadratic_space

IFBO = variant("neps-ifbo")
TRAINING = "training-mlp-digits-mf"


def made(folder: Path, seed: int, steps: int) -> Path:
    assert IFBO.environment is not None
    IFBO.environment.build()
    script = Path(__file__).with_name("ftpfn_network.py")
    command = [IFBO.environment.python, script, folder, str(seed), str(steps)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights by which it sometimes begins a configuration and sometimes goes on."""
    return made(tmp_path_factory.mktemp("ifbo"), 4, 0)


@pytest.mark.parametrize("check", checks_for(IFBO.capabilities, Effort(seeds=0)), ids=str)
def test_it_keeps_what_it_claims(check: Check, network: Path) -> None:
    check.run(IFBO, Effort(trials=25, seeds=0, options={"surrogate_path": str(network)}))


def test_it_goes_on_in_single_steps(network: Path) -> None:
    first = {"initial_design_size": 1}  # then there is one to go on with
    options = {"surrogate_path": str(network), "step_size": 2} | first
    problem = problems(IFBO.capabilities, 20)["continuous"]
    with driven(IFBO, problem, 0, Effort(options=options)) as optimizer:
        run = [trial for trial, _ in optimizer.run(20)]
    steps = {(run[t.continues].fidelity, t.fidelity) for t in run if t.continues is not None}
    assert run[0].fidelity == 1
    assert (1, 3) in steps and all(after - before == 2 for before, after in steps)
    assert all(t.config == run[t.continues].config for t in run if t.continues is not None)


@pytest.mark.parametrize("named", ["network", "~/network"])
def test_the_folder_may_be_named_from_here_or_from_home(
    named: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network").symlink_to(network)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    problem = problems(IFBO.capabilities, 2)["continuous"]
    with driven(IFBO, problem, 0, Effort(options={"surrogate_path": named})) as optimizer:
        assert len(optimizer.run(2)) == 2


@pytest.mark.parametrize("minimize", [True, False])
def test_what_the_network_thinks_good_is_asked(tmp_path: Path, minimize: bool) -> None:
    sign = 1.0 if minimize else -1.0  # the best point has 1.7 everywhere: the corner at 5 is near
    ends = (0.0, 250.0) if minimize else (-250.0, 0.0)
    task = describe("known", quadratic_space(), (Objective("goal", minimize, "", *ends),))
    task = replace(task, fidelity=Fidelity("epochs", 1, 27, integer=True))
    problem = Problem(task, (lambda config: sign * quadratic(config),))
    effort = Effort(options={"surrogate_path": str(made(tmp_path, 0, 200))})
    with driven(IFBO, problem, 0, effort) as optimizer:
        begun = [trial.config for trial, _ in optimizer.run(30) if trial.continues is None]
    assert len(begun) > 8
    assert all(x > 4.0 for config in begun[5:] for x in config.values())


@pytest.mark.parametrize(("minimize", "ends"), [(True, (-3.0, 5.0)), (False, (0.0, 100.0))])
def test_values_beyond_the_declared_range_are_cut(
    network: Path, minimize: bool, ends: tuple[float, float]
) -> None:
    goal = Objective("goal", minimize, "", *ends)  # ifBO ends at values that are not in [0, 1]
    epochs = Fidelity("epochs", 1, 9, integer=True)
    task = describe("ranged", quadratic_space(), (goal,), fidelity=epochs)
    width = ends[1] - ends[0]
    problem = Problem(task, (lambda config: ends[0] + width * config["x0"],))
    with driven(IFBO, problem, 0, Effort(options={"surrogate_path": str(network)})) as optimizer:
        run = optimizer.run(12)
    assert any(not ends[0] <= result.objectives["goal"] <= ends[1] for _, result in run)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, MissingData, r"needs a file: optimizer\.surrogate_path=PATH.*ifbo\.download"),
        ({"surrogate_path": "nonesuch"}, MissingData, "'nonesuch' is not there"),
        ({"surrogate_path": "."}, MissingData, r"ftpfnv0\.0\.1\.tar\.gz is missing"),
        ({"surrogate_version": "9"}, BadValue, "no surrogate_version '9'"),
        ({"step_size": "two"}, BadValue, "step_size must be a number above 0, not 'two'"),
        ({"step_size": 0}, BadValue, "above 0, not 0"),
        ({"step_size": 50}, BadValue, r"steps of 50, more than the range of epochs, \[1, 27\]"),
    ],
)
def test_what_it_needs_is_named(
    options: dict[str, Any],
    error: type[Exception],
    words: str,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"surrogate_path": str(network)} if options and "surrogate_path" not in options else {}
    problem = problems(IFBO.capabilities, 5)["continuous"]
    with pytest.raises(error, match=words):
        IFBO.build(problem.description, 0, **given, **options)
    assert not list(tmp_path.iterdir())


def test_the_plan_knows_what_it_cannot_take() -> None:
    chosen = replace(describe_task(TRAINING), budget=Budget(trials=5))
    assert not IFBO.problem(chosen)
    assert "range of each objective" in IFBO.problem(describe_task("synthetic-branin-mf"))
    assert "at most 10 dimensions" in IFBO.problem(describe_task("yahpo-rbv2_xgboost-12-mf"))


def test_it_is_listed_as_needing_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["optimizers", "neps-ifbo", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert not row["ready"] and "needs a file" in row["missing"]
    monkeypatch.chdir(tmp_path)
    assert main(["run", "optimizer=neps-ifbo", f"task={TRAINING}"]) == 2
    assert "needs a file: optimizer.surrogate_path=PATH" in capsys.readouterr().err
