"""Every adapter proposes legal configurations on random search spaces."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from carps_like.budget import Budget
from carps_like.configspace import without_priors
from carps_like.description import Fidelity, describe
from carps_like.interface import Exhausted
from carps_like.registry import variant
from carps_like.space import Checker
from carps_like.testing.spaces import spaces
from carps_like.trial import Result, Status

# one for each translation of a space
CHEAP = ["random", "sobol", "one-plus-one", "local-search", "hyperband", "pbt", "optuna-tpe",
         "cmaes", "cmaes-margin", "cmaes-catcma", "cma", "pymoo-ga", "pymoo-mixedga",
         "nevergrad-de", "hyperopt-tpe", "flaml-cfo", "gfo-hillclimbing", "dehb",
         "openbox-ea", "neps-random", "syne-tune-random", "evosax-snes"]  # fmt: skip
SLOW = ["smac-hpo", "skopt-rf", "botorch-logei", "ax"]


def _drive(name: str, data: st.DataObject, n_trials: int) -> None:
    """Ask and tell; one trial in four fails."""
    chosen = variant(name)
    if chosen.missing() or chosen.to_build():
        pytest.skip(str(chosen.missing() or chosen.to_build()))
    can = chosen.capabilities
    space = data.draw(spaces(can))
    fidelity = Fidelity("epochs", 1, 9, integer=True) if can.fidelity == "needs" else None
    task = describe(
        "random-space", space, budget=Budget(trials=20), fidelity=fidelity, stateful=True
    )
    optimizer = chosen.build(task, seed=data.draw(st.integers(0, 2**31 - 1)))
    try:
        for i in range(n_trials):
            try:
                trial = optimizer.ask()
            except Exhausted:
                break
            assert trial is not None
            task.checker.check(trial.config)
            assert all(type(v) in (bool, int, float, str) for v in trial.config.values())
            if i % 4 == 2:
                optimizer.tell(trial, Result({"value": nan}, (7.0,), status=Status.FAILED))
            else:
                value = float(len(repr(trial.config)) % 7)
                optimizer.tell(trial, Result({"value": value}, (value,)))
    finally:
        optimizer.close()


@pytest.mark.parametrize("name", CHEAP)
@settings(
    max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_what_is_asked_is_legal_in_any_space(name: str, data: st.DataObject) -> None:
    _drive(name, data, 16)


@pytest.mark.parametrize("name", SLOW)
@settings(
    max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_what_a_slow_one_asks_is_legal_in_any_space(name: str, data: st.DataObject) -> None:
    _drive(name, data, 8)


@settings(
    max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(space=spaces())
def test_a_space_without_priors_keeps_everything_else(space) -> None:  # type: ignore[no-untyped-def]
    bare = Checker(without_priors(space))
    for param, old in zip(bare.params, Checker(space).params, strict=True):
        assert param.prior is None and param.weights is None
        assert (param.kind, param.lower, param.upper, param.choices) == (
            old.kind,
            old.lower,
            old.upper,
            old.choices,
        )
        assert param.log == old.log and param.parents == old.parents
    space.seed(0)
    for config in space.sample_configuration(20):
        bare.check(dict(config))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(space=spaces())
def test_the_checker_agrees_with_configspace(space) -> None:  # type: ignore[no-untyped-def]
    checker = Checker(space)
    space.seed(0)
    for config in space.sample_configuration(10):
        checker.check(dict(config))
