"""``--config-dir`` for the commands that list, build and check optimizers of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from carps_like.cli import main

ADAPTER = '''
from carps_like import Capabilities, Optimizer, Trial


class Mine(Optimizer):
    """The default configuration, again and again."""

    capabilities = Capabilities(learns=None, seeded=False)

    def __init__(self, task, seed, patience=3):
        self.config = dict(task.space.get_default_configuration())

    def ask(self):
        return Trial(self.config)

    def tell(self, trial, result):
        pass
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "conf" / "optimizer"
    folder.mkdir(parents=True)
    (tmp_path / "conf" / "adapter_of_mine.py").write_text(ADAPTER)
    (folder / "mine.yaml").write_text("_target_: adapter_of_mine.Mine\npatience: 5\n")
    (folder / "mine-apart.yaml").write_text(
        "defaults: [mine]\nname: mine-apart\n"
        "environment: {name: of-mine, requirements: [toolz==0.12.0]}\n"
    )
    (folder / "tpe-short.yaml").write_text(
        "defaults: [optuna-tpe]\nname: tpe-short\nn_startup_trials: 5\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path / "envs"))
    return tmp_path / "conf"


def _said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(list(map(str, words)))
    out, err = capsys.readouterr()
    return code, out, err


def test_ones_own_are_listed_beside_those_that_ship(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = _said(capsys, "optimizers", "--config-dir", own, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"mine", "mine-apart", "tpe-short", "random", "optuna-tpe"} <= rows.keys()
    assert rows["mine"]["options"] == {"patience": 5} and rows["mine"]["ready"]
    assert rows["mine-apart"]["options"] == {"patience": 5}
    assert rows["mine-apart"]["missing"] == "carps-like env build of-mine"
    short = {"n_startup_trials": 5}
    assert rows["tpe-short"]["options"] == rows["optuna-tpe"]["options"] | short
    _, out, _ = _said(capsys, "optimizers", "--json")
    assert "mine" not in {row["name"] for row in json.loads(out)}


def test_one_of_ones_own_is_shown_and_its_environment_is_known(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = _said(capsys, "optimizer", "mine", "--config-dir", own)
    assert "The default configuration, again and again." in out and "patience  5" in out
    _, out, _ = _said(capsys, "env", "list", "--config-dir", own)
    assert any(line.split()[:2] == ["of-mine", "toolz==0.12.0"] for line in out.splitlines())
    code, _, err = _said(capsys, "optimizer", "mien", "--config-dir", own)
    assert code == 2 and "unknown optimizer 'mien'; did you mean 'mine'" in err


def test_one_of_ones_own_is_checked_with_its_options(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _said(capsys, "check", "mine", "--config-dir", own, "--quick")
    assert code == 0 and "mine: all checks passed" in out
    (own / "optimizer" / "mine.yaml").write_text("_target_: adapter_of_mine.Mine\npatient: 5\n")
    code, out, _ = _said(capsys, "check", "mine", "--config-dir", own, "--quick")
    assert code == 1 and "no option 'patient'; did you mean 'patience'?" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{patience: [", "wrong.yaml"),
        ("_target_: adapter_of_mine.Mine\n\tpatience: 3", "line 2"),
        ("- patience", "optimizer/wrong.yaml must hold names with values"),
        ("patience: 3", "optimizer 'wrong' has no _target_"),
        ("defaults: [optuna-tpee]", "optuna-tpee"),
        ("patience: ${nowhere}", "'nowhere' not found, at optimizer.patience"),
    ],
)
@pytest.mark.parametrize("verb", ["optimizers", "run"])
def test_a_file_that_cannot_be_read_gets_one_line(
    own: Path, capsys: pytest.CaptureFixture[str], verb: str, text: str, words: str
) -> None:
    (own / "optimizer" / "wrong.yaml").write_text(text)
    request = ["optimizer=wrong", "task=bbob-d02-f01-i01", f"results={own / 'r'}"]
    code, _, err = _said(capsys, verb, "--config-dir", own, *(request if verb == "run" else ()))
    assert code == 2 and words in err and err.count("\n") == 1
    assert not (own / "r").exists()


def test_a_folder_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["optimizers"], ["env", "list"], ["check", "random"]):
        code, _, err = _said(capsys, *words, "--config-dir", "nowhere")
        assert code == 2 and "--config-dir 'nowhere' is not a folder" in err
