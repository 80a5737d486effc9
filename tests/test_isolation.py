"""Optimizers in an interpreter of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import ConfigSpace as cs
import psutil
import pytest

from carps_like.budget import Budget
from carps_like.description import describe
from carps_like.errors import BadValue
from carps_like.interface import Optimizer
from carps_like.isolation import Environment
from carps_like.isolation.client import (
    RemoteError,
    ServerDied,
    end_servers,
    server_for_now,
    server_of,
)
from carps_like.isolation.environment import BuildFailed
from carps_like.isolation.wire import task_data, task_of
from carps_like.registry import variant
from carps_like.trial import Result
from carps_like.variants import Variant

# an environment that needs nothing but what the server imports: seconds to build
PLAIN = {"name": "plain", "requirements": ["numpy"]}

ADAPTER = '''
import os
import numpy as np
from carps_like.interface import Capabilities, Optimizer
from carps_like.space import Cube
from carps_like.trial import Trial


class Noisy(Optimizer):
    """Draws from the global generator, prints, and dies or raises when told to."""

    capabilities = Capabilities(conditions="native", global_seeds=True, learns=None)

    def __init__(self, task, seed, mood="well"):
        self.cube, self.mood, self.told = Cube(task.checker), mood, []

    def ask(self):
        print("a library that prints to stdout")
        if self.mood == "raise":
            raise RuntimeError("out of ideas")
        if self.mood == "compute":
            open(os.path.join(os.path.dirname(__file__), "computes"), "w").close()
            while True:
                pass
        if self.mood == "die":
            print("last words", flush=True)
            os._exit(3)
        return Trial(self.cube.config(np.random.random(self.cube.dimension).tolist()))

    def tell(self, trial, result):
        self.told.append(result.values)
'''


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment.of(PLAIN, "plain")
    environment.build()
    return environment


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Environment) -> Variant:
    (tmp_path / "noisy_adapter.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(tmp_path)
    return Variant("noisy", "noisy_adapter.Noisy", {}, plain)


def _task(n_trials: int = 10):  # type: ignore[no-untyped-def]
    space = cs.ConfigurationSpace()
    space.add(cs.Float("x", (1e-3, 1.0), log=True), cs.Categorical("k", ["a", "b"]))
    space.add(cs.Integer("n", (1, 9)), cs.OrdinalHyperparameter("o", [1, 10, 100]))
    space.add(cs.EqualsCondition(space["n"], space["k"], "b"))
    pair = cs.ForbiddenEqualsClause(space["k"], "a"), cs.ForbiddenEqualsClause(space["o"], 100)
    space.add(cs.ForbiddenAndConjunction(*pair))
    return describe("remote", space, budget=Budget(trials=n_trials))


def _asked(optimizer: Optimizer, n: int) -> list[dict[str, object]]:
    configs = []
    for i in range(n):
        trial = optimizer.ask()
        assert trial is not None
        configs.append(trial.config)
        optimizer.tell(trial, Result({"value": float(i)}, (float(i),)))
    return configs


def test_a_task_crosses_the_pipe_unchanged() -> None:
    task = _task()
    there = task_of(task_data(task))
    assert there.checker.params == task.checker.params
    assert there.checker.data == task.checker.data
    assert there.budget == task.budget and there.objectives == task.objectives
    assert there.space == task.space


def test_two_runs_in_one_server_do_not_disturb_each_other(noisy: Variant) -> None:
    alone = noisy.build(_task(), 1)
    expected = _asked(alone, 6)
    one, two = noisy.build(_task(), 1), noisy.build(_task(), 2)
    interleaved = []
    for _ in range(6):
        interleaved += _asked(one, 1)
        _asked(two, 1)
    assert interleaved == expected
    for optimizer in (alone, one, two):
        optimizer.close()


def test_what_it_raises_comes_with_its_traceback_and_the_server_lives_on(noisy: Variant) -> None:
    with pytest.raises(RemoteError, match="out of ideas"):
        noisy.build(_task(), 1, mood="raise").ask()
    assert len(_asked(noisy.build(_task(), 1), 2)) == 2


def test_a_server_that_dies_says_its_last_words_and_is_replaced(noisy: Variant) -> None:
    optimizer = noisy.build(_task(), 1, mood="die")
    with pytest.raises(ServerDied, match=r"(?s)exit code 3.*last words"):
        optimizer.ask()
    optimizer.close()
    assert len(_asked(noisy.build(_task(), 1), 2)) == 2


def test_what_jax_compiles_is_kept_with_the_environment() -> None:
    chosen = variant("evosax-cmaes")
    if chosen.to_build():
        pytest.skip("needs: carps-like env build evosax")
    environment = chosen.environment
    assert environment is not None
    end_servers()
    shutil.rmtree(environment.compiled, ignore_errors=True)
    space = cs.ConfigurationSpace({"x": (0.0, 1.0), "y": (0.0, 1.0)})
    task = describe("remote", space, budget=Budget(trials=20))
    with server_for_now(environment):
        first = _asked(chosen.build(task, 1), 20)
    compiled = {f.name for f in environment.compiled.iterdir() if f.name.endswith("-cache")}
    assert compiled
    with server_for_now(environment):
        assert _asked(chosen.build(task, 1), 20) == first
    assert {f.name for f in environment.compiled.iterdir() if f.name.endswith("-cache")} == compiled


BY_BOTORCH = """
from botorch.fit import fit_fully_bayesian_model_nuts
from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP
from botorch.models.transforms import Standardize
from carps_like.optimizers.botorch_saas import Saas


class ByBoTorch(Saas):
    def _model(self, x, y):
        model = SaasFullyBayesianSingleTaskGP(x, y, outcome_transform=Standardize(m=1))
        options = {"max_tree_depth": 3, "warmup_steps": 16, "num_samples": 16, "thinning": 4}
        fit_fully_bayesian_model_nuts(model, disable_progbar=True, **options)
        return model
"""


def test_saasbo_asks_what_botorchs_own_fit_leads_to_and_compiles_once_for_each_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = variant("botorch-saasbo")
    if chosen.to_build():
        pytest.skip("needs: carps-like env build saasbo")
    (tmp_path / "by_botorch.py").write_text(BY_BOTORCH)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    small = {"n_initial": 3, "raw_samples": 16, "num_restarts": 2, "max_tree_depth": 3,
             "warmup_steps": 16, "num_samples": 16, "thinning": 4}  # fmt: skip
    space = cs.ConfigurationSpace({"x": (0.0, 1.0), "y": (0.0, 1.0)})
    task = describe("remote", space, budget=Budget(trials=4))

    def samplers() -> set[str]:
        return {f.name for f in (tmp_path / "compiled").glob("jit__fori_collect_loop*-cache")}

    assert chosen.environment is not None
    end_servers()
    with server_for_now(chosen.environment):
        asked = _asked(replace(chosen, options=small).build(task, 1), 4)
        compiled = samplers()
        assert len(compiled) == 1  # of the fourth proposal
        other = _asked(replace(chosen, options=small).build(task, 2), 4)
        assert other != asked
        assert samplers() == compiled
        theirs = replace(chosen, target="by_botorch.ByBoTorch", options=small)
        assert _asked(theirs.build(task, 1), 4) == asked


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("own", [None, "/nowhere/jax"])
def test_jax_is_told_where_to_keep_it_unless_the_user_does(
    own: str | None, monkeypatch: pytest.MonkeyPatch, plain: Environment
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    if own is not None:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", own)
    end_servers()
    with server_for_now(plain):
        lines = Path(f"/proc/{server_of(plain)._process.pid}/environ").read_text().split("\0")
    assert f"JAX_COMPILATION_CACHE_DIR={own or plain.compiled}" in lines


def test_what_is_compiled_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path))
    environment = Environment.of(PLAIN, "plain")
    environment.bound_compiled(most=10)
    environment.compiled.mkdir(parents=True)
    for i in range(11):
        (environment.compiled / f"{i}-cache").touch()
        os.utime(environment.compiled / f"{i}-cache", (i, i))
        left = {f"{k}-cache" for k in range(i + 1)}
        environment.bound_compiled(most=10)
        there = {f.name for f in environment.compiled.iterdir()}
        assert there == (left if i < 10 else left - {f"{k}-cache" for k in range(5)})


def test_the_server_ends_with_its_client(noisy: Variant, plain: Environment) -> None:
    server = server_of(plain)
    process = server._process
    server.end()
    assert process.poll() is not None


OWNER = """
import sys
sys.path[:0] = [{tests!r}, {folder!r}]
from test_isolation import PLAIN, _task
from carps_like.isolation import Environment
from carps_like.isolation.client import server_of
from carps_like.variants import Variant
environment = Environment.of(PLAIN, "plain")
noisy = Variant("noisy", "noisy_adapter.Noisy", {{"mood": "compute"}}, environment)
optimizer = noisy.build(_task(), 1)
print(server_of(environment)._process.pid, flush=True)
optimizer.ask()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal")
def test_a_server_that_computes_ends_when_its_owner_is_killed(
    noisy: Variant, tmp_path: Path
) -> None:
    script = OWNER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        while not (tmp_path / "computes").exists():
            assert server.is_running() and owner.poll() is None
            time.sleep(0.05)
        owner.kill()
    _, alive = psutil.wait_procs([server], timeout=10)
    for process in alive:
        process.kill()
    assert not alive, "it computes on"


def test_a_server_outlives_the_thread_that_began_it(noisy: Variant, plain: Environment) -> None:
    server_of(plain).end()
    found: list[Optimizer] = []
    thread = threading.Thread(target=lambda: found.append(noisy.build(_task(), 1)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert len(_asked(found[0], 2)) == 2


def test_a_bad_option_is_one_line_as_in_process(noisy: Variant) -> None:
    with pytest.raises(BadValue, match="no option 'moood'; did you mean 'mood'"):
        noisy.build(_task(), 1, moood="well")


def test_half_built_environments_are_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path))
    environment = Environment("half", ("numpy",))
    (environment.folder / "bin").mkdir(parents=True)
    (environment.folder / "bin" / "python").write_text("not an interpreter")
    assert not environment.ready
    python = environment.build()
    assert subprocess.run([python, "-c", "import numpy, orjson"], check=False).returncode == 0
    assert environment.ready and "numpy" in environment.versions()
    started = time.monotonic()
    assert environment.build() == python and time.monotonic() - started < 1.0
    assert environment.remove() and not environment.ready


def test_a_failed_build_says_what_the_installer_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path))
    environment = Environment("broken", ("numpy==0.0.0.1",))
    with pytest.raises(BuildFailed, match="numpy"):
        environment.build()
    assert not environment.ready


def test_what_a_requirement_is_built_with_stands_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setups = {
        "tool": """from setuptools import setup
setup(name="tool", version="1", py_modules=[], scripts=["say-hello"])
""",
        "needy": """import subprocess
from setuptools import setup
subprocess.run(["say-hello"], check=True)
setup(name="needy", version="1", py_modules=[])
""",
    }
    for name, text in setups.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "setup.py").write_text(text)
    (tmp_path / "tool" / "say-hello").write_text("#!/bin/sh\necho hello\n")
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path / "environments"))
    needy = [f"needy @ {(tmp_path / 'needy').as_uri()}"]
    without = Environment.of({"requirements": needy}, "needy")
    with pytest.raises(BuildFailed, match="say-hello"):
        without.build()
    data = {"name": "needy", "requirements": needy, "build": [(tmp_path / "tool").as_uri()]}
    environment = Environment.of(data, "needy")
    environment.build()
    assert "needy" in environment.versions()
    assert environment.data == data
    assert environment.folder != without.folder


def test_other_requirements_make_another_folder() -> None:
    first, second = Environment("e", ("numpy",)), Environment("e", ("numpy<3",))
    assert first.folder != second.folder
    assert first.folder == Environment("e", ("numpy",)).folder


@pytest.mark.parametrize("data", [{}, {"requirements": "numpy"}, {"requirement": ["numpy"]},
                                  {"requirements": ["numpy"], "build": "swig"}])  # fmt: skip
def test_an_environment_without_a_list_of_requirements_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(BadValue, match="environment of 'x'"):
        Environment.of(data, "x")


def test_listing_optimizers_imports_no_library() -> None:
    code = (
        "import sys; from carps_like.registry import variants;"
        "[v.capabilities for v in variants().values()];"
        "bad = {'optuna', 'smac', 'torch', 'pymoo', 'nevergrad', 'ConfigSpace'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
