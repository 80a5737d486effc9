"""`carps-like check` finds what is wrong with someone else's optimizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from carps_like.errors import BadValue
from carps_like.interface import Optimizer
from carps_like.registry import load_target

ADAPTERS = '''
import copy
import random
from pathlib import Path

import numpy as np

from carps_like import Capabilities, Optimizer, Trial
from carps_like.space import Cube


class Shrinking(Optimizer):
    """Gaussian steps around the incumbent, a little smaller after each trial."""

    capabilities = Capabilities(forbidden="no")

    def __init__(self, task, seed):
        self.cube, self.rng = Cube(task.checker), np.random.default_rng(seed)
        self.sigma, self.value = 0.5, np.inf
        self.best = self.rng.random(self.cube.dimension)

    def ask(self):
        x = np.clip(self.best + self.sigma * self.rng.standard_normal(len(self.best)), 0, 1)
        return Trial(self.cube.config(x), tag=x)

    def tell(self, trial, result):
        self.sigma *= 0.95
        if result.ok and result.value < self.value:
            self.best, self.value = trial.tag, result.value


class Deaf(Shrinking):
    def tell(self, trial, result):
        pass


class OutOfBounds(Shrinking):
    def ask(self):
        trial = super().ask()
        trial.config = {k: v * 3 if isinstance(v, float) else v for k, v in trial.config.items()}
        return trial


class GlobalDraws(Shrinking):
    def ask(self):
        self.best = self.best + 1e-9 * random.random()
        return super().ask()


class Littering(Shrinking):
    def ask(self):
        Path("left_behind.txt").write_text("a log nobody asked for")
        return super().ask()


class Fragile(Shrinking):
    def tell(self, trial, result):
        assert result.ok
        super().tell(trial, result)


class Shy(Shrinking):
    def ask(self):
        return None if self.value < 1e9 else super().ask()


class Tuple(Shrinking):
    def ask(self):
        return (super().ask().config, None)


class Sampling(Optimizer):
    """Asks as ConfigSpace samples, and for the best again each third time."""

    capabilities = Capabilities(conditions="native", forbidden="native", learns=60)

    def __init__(self, task, seed):
        self.space, self.best, self.asked = copy.deepcopy(task.space), None, 0
        self.space.seed(seed)

    def ask(self):
        self.asked += 1
        if self.asked % 3 == 0 and self.best is not None:
            return Trial(self.best[1])
        return Trial(self.space.sample_configuration())

    def tell(self, trial, result):
        if result.ok and (self.best is None or result.value < self.best[0]):
            self.best = result.value, trial.config
'''


def _check(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    (folder / "someones.py").write_text(ADAPTERS)
    command = [sys.executable, "-m", "carps_like", "check", f"someones:{name}", "--quick"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["Shrinking", "Sampling"])
def test_an_honest_optimizer_passes(tmp_path: Path, name: str) -> None:
    done = _check(tmp_path, name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all checks passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("Deaf", "told values change what is asked"),
        ("OutOfBounds", "asks lie in the space"),
        ("GlobalDraws", "equal seeds give equal runs"),
        ("Littering", "nothing leaks"),
        ("Fragile", "failures are taken"),
        ("Shy", "asks lie in the space"),
        ("Tuple", "asks lie in the space: BadValue: ask must return a Trial, or None to wait"),
    ],
)
def test_each_fault_is_found_by_its_check(tmp_path: Path, name: str, check: str) -> None:
    done = _check(tmp_path, name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED  {check}" in done.stdout


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("someones.Deff", "module 'someones' has no 'Deff'; did you mean 'Deaf'?"),
        ("broken.Mine", "'broken' does not import: SyntaxError: invalid syntax"),
        ("wordy.Mine", "'wordy' does not import: ValueError: one ("),
        ("lackingly.Mine", "does not import: ModuleNotFoundError: No module named 'lack'"),
        ("lacking.Mine", "does not import: ModuleNotFoundError: No module named 'not_here'"),
        ("nowhere.Mine", "there is no module 'nowhere'"),
    ],
)
def test_what_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    (tmp_path / "someones.py").write_text(ADAPTERS)
    (tmp_path / "broken.py").write_text("def ask(:")
    (tmp_path / "lacking.py").write_text("import not_here")
    (tmp_path / "wordy.py").write_text(r"raise ValueError('one\ntwo')")
    (tmp_path / "lackingly.py").write_text("import lack")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadValue) as error:
        load_target(target, Optimizer)
    assert words in str(error.value) and "\n" not in str(error.value)
