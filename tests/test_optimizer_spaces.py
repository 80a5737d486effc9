"""Every adapter proposes legal configurations on random search spaces."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from carps_like.budget import Budget
from carps_like.configspace import without_priors
from carps_like.description import describe
from carps_like.registry import variant
from carps_like.space import Checker, native
from carps_like.testing.spaces import spaces
from carps_like.trial import Result, Status

CHEAP = ["random", "optuna-tpe", "cmaes"]
SLOW = ["smac-hpo"]


def _drive(name: str, data: st.DataObject, n_trials: int) -> None:
    """Ask and tell; one trial in four fails."""
    chosen = variant(name)
    space = data.draw(spaces(chosen.capabilities))
    task = describe("random-space", space, budget=Budget(trials=20))
    optimizer = chosen.build(task, seed=data.draw(st.integers(0, 2**31 - 1)))
    try:
        for i in range(n_trials):
            trial = optimizer.ask()
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
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
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


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
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
        bare.check({k: native(v) for k, v in dict(config).items()})


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(space=spaces())
def test_the_checker_agrees_with_configspace(space) -> None:  # type: ignore[no-untyped-def]
    checker = Checker(space)
    space.seed(0)
    for config in space.sample_configuration(10):
        checker.check({k: native(v) for k, v in dict(config).items()})
