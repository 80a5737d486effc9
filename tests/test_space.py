"""Checking, sampling and the unit cube of a search space, against ConfigSpace itself."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    GreaterThanCondition,
    Integer,
    OrdinalHyperparameter,
)
from ConfigSpace import Configuration as Theirs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carps_like.configspace import space_data
from carps_like.description import Fidelity
from carps_like.errors import BadValue
from carps_like.registry import describe_task
from carps_like.space import Checker, Cube, Sampler, count
from carps_like.testing.spaces import spaces
from carps_like.trial import Trial, native

MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _legal(space: ConfigurationSpace, config: dict[str, Any]) -> bool:
    """What ConfigSpace says."""
    try:
        Theirs(space, values=config)
    except Exception:  # its errors have no common base
        return False
    return True


def _ours(checker: Checker, config: dict[str, Any]) -> bool:
    try:
        checker.check(config)
    except BadValue:
        return False
    return True


@MANY
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_what_is_sampled_is_legal_for_configspace(space: Any, seed: int) -> None:
    sampler = Sampler(space, seed)
    for _ in range(8):
        config = sampler.sample()
        assert _legal(space, config), config
        assert all(type(v) in (bool, int, float, str) for v in config.values())
    again = Sampler(space, seed)
    assert again.sample() == Sampler(space, seed).sample()


@pytest.mark.parametrize("name", ["bbob-d03-f01-i01", "fcnet-naval_propulsion-bb"])
def test_samples_are_those_of_one_draw_after_another(name: str) -> None:
    checker = describe_task(name).checker
    cube, stream, sampler = Cube(checker), np.random.default_rng(4), Sampler(checker, 4)
    for _ in range(3 * Sampler.BLOCK):
        assert sampler.sample() == cube.config(stream.random(cube.dimension))


@MANY
@given(space=spaces(), data=st.data())
def test_a_configuration_is_refused_exactly_when_configspace_refuses_it(
    space: Any, data: st.DataObject
) -> None:
    """A legal configuration with one hyperparameter changed, dropped or added."""
    checker, sampler = Checker(space), Sampler(space, 1)
    config = sampler.sample()
    name = data.draw(st.sampled_from([p.name for p in checker.params]))
    donors = [c[name] for c in (sampler.sample() for _ in range(10)) if name in c]
    if donors and data.draw(st.booleans()):
        config[name] = donors[-1]
    else:
        config.pop(name, None)
    assert _ours(checker, config) == _legal(space, config), config


@MANY
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_a_configuration_comes_back_from_the_cube(space: Any, seed: int) -> None:
    cube, sampler = Cube(space), Sampler(space, seed)
    for _ in range(5):
        config = sampler.sample()
        point = cube.point(config)
        assert point.shape == (cube.dimension,) and ((point >= 0) & (point <= 1)).all()
        back = cube.config(point)
        assert back.keys() == config.keys()
        for name, value in config.items():
            assert type(back[name]) is type(value)
            if isinstance(value, float) and cube.checker.by_name[name].kind == "float":
                assert back[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
            else:
                assert back[name] == value


@MANY
@given(space=spaces())
def test_defaults_and_counts_are_those_of_configspace(space: Any) -> None:
    expected = {k: native(v) for k, v in dict(space.get_default_configuration()).items()}
    assert Checker(space).default() == expected
    counts = count(space)
    kinds = ("n_continuous", "n_integer", "n_categorical", "n_ordinal", "n_constant")
    assert sum(counts[k] for k in kinds) == len(space)
    assert counts["n_forbidden"] == len(space.forbidden_clauses)


def _mixed() -> ConfigurationSpace:
    space = ConfigurationSpace(seed=0)
    space.add(
        CategoricalHyperparameter("kernel", ["linear", "rbf", "poly"]),
        OrdinalHyperparameter("size", ["small", "middle", "large"]),
        Integer("degree", (1, 1024), log=True),
        Float("gamma", (1e-6, 1.0), log=True),
        Constant("fixed", "yes"),
    )
    space.add(
        EqualsCondition(space["degree"], space["kernel"], "poly"),
        GreaterThanCondition(space["gamma"], space["size"], "small"),
        ForbiddenAndConjunction(
            ForbiddenEqualsClause(space["kernel"], "rbf"),
            ForbiddenEqualsClause(space["size"], "large"),
        ),
    )
    return space


GOOD = {"kernel": "poly", "size": "large", "degree": 3, "gamma": 0.1, "fixed": "yes"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernl": "rbf"}, "no hyperparameter 'kernl'; did you mean 'kernel'"),
        ({"kernel": "sigmoid"}, "kernel='sigmoid' of mixed is none of 'linear', 'rbf', 'poly'"),
        ({"kernel": "linear"}, "'degree' of mixed is inactive"),
        ({"size": "small"}, "'gamma' of mixed is inactive"),
        ({"degree": None}, "'degree' of mixed is missing"),
        ({"degree": 0}, r"degree=0 of mixed is outside \[1, 1024\]"),
        ({"degree": 3.0}, "degree=3.0 of mixed must be an int, not float"),
        ({"degree": True}, "must be an int, not bool"),
        ({"gamma": "0.1"}, "gamma='0.1' of mixed must be a float, not str"),
        ({"gamma": float("nan")}, "gamma=nan of mixed is outside"),
        ({"gamma": 2.0}, "gamma=2.0 of mixed is outside"),
        ({"fixed": "no"}, "fixed='no' of mixed is none of 'yes'"),
        ({"kernel": "rbf", "degree": None}, "configuration of mixed is forbidden by"),
    ],
)
def test_the_error_names_the_hyperparameter_and_what_is_wrong(
    change: dict[str, Any], words: str
) -> None:
    checker = Checker(_mixed(), "mixed")
    checker.check(GOOD)
    config = {k: v for k, v in (GOOD | change).items() if v is not None}
    with pytest.raises(BadValue, match=words) as error:
        checker.check(config)
    assert "\n" not in str(error.value)


def test_what_configspace_samples_is_a_legal_configuration_as_it_is() -> None:
    space = ConfigurationSpace(seed=0)
    choices = {"flag": [True, False], "kind": ["u", "v"], "size": [16, 32], "rate": [0.1, 0.5]}
    space.add(*(CategoricalHyperparameter(n, c) for n, c in choices.items()), Float("x", (0, 1)))
    checker = Checker(space, "choices")
    for _ in range(8):
        sampled = space.sample_configuration()  # its choices are numpy's
        assert any(isinstance(value, np.generic) for value in sampled.values())
        for config in (sampled, dict(sampled)):
            trial = Trial(config)  # type: ignore[arg-type]
            assert trial.config == dict(sampled) == checker.check(config)
            for values in (trial.config, checker.check(config)):
                assert all(type(v) in (bool, int, float, str) for v in values.values())
            assert checker.check(trial.config) is trial.config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flag": 1}, "flag=1 of choices must be the bool True"),
        ({"size": 16.0}, "size=16.0 of choices must be the int 16"),
        ({"size": np.int64(8)}, "is none of 16, 32"),
        ({"size": [16, 32]}, "is none of 16, 32"),
        ({"size": np.array([16, 32])}, "is none of 16, 32"),
    ],
)
def test_a_choice_of_another_type_is_named(change: dict[str, Any], words: str) -> None:
    space = ConfigurationSpace()
    space.add(
        CategoricalHyperparameter("flag", [True, False]),
        CategoricalHyperparameter("size", [16, 32]),
    )
    with pytest.raises(BadValue, match=words):
        Checker(space, "choices").check({"flag": True, "size": 16} | change)


def test_log_integers_are_sampled_evenly_on_their_scale() -> None:
    space = ConfigurationSpace(seed=0)
    space.add(Integer("n", (1, 1024), log=True))
    sampler = Sampler(space, 0)
    values = np.array([sampler.sample()["n"] for _ in range(4000)], dtype=float)
    assert values.min() == 1 and values.max() > 1000
    assert np.mean(values <= 32) == pytest.approx(0.55, abs=0.05)  # log(65) / log(2049), in cells


def test_every_integer_has_a_cell_of_its_own() -> None:
    for log in (False, True):
        space = ConfigurationSpace(seed=0)
        space.add(Integer("n", (1, 9), log=log))
        cube = Cube(space)
        for n in range(1, 10):
            assert cube.config(cube.point({"n": n})) == {"n": n}
        assert cube.config([0.0]) == {"n": 1} and cube.config([1.0]) == {"n": 9}


def test_a_space_that_forbids_everything_is_named() -> None:
    space = ConfigurationSpace(seed=0)
    space.add(CategoricalHyperparameter("a", ["x", "y"]), Float("b", (0.0, 1.0)))
    checker = Checker(space, "closed")
    checker._forbidden = [("everything", lambda config: True)]
    sampler = Sampler(checker, 0)
    sampler.TRIES = 50  # type: ignore[misc]
    with pytest.raises(BadValue, match="no legal configuration of closed"):
        sampler.sample()


@pytest.mark.parametrize(
    "name",
    ["bbob-d02-f01-i01", "bbob-largescale-d160-f01-i01", "sbox-d10-f03-i02", "cec2022-d10-f01"],
)
def test_a_box_known_without_configspace_is_the_one_that_configspace_makes(name: str) -> None:
    description = describe_task(name)
    assert description.checker.data == space_data(description.space)
    assert description.dimension == len(description.checker.params)


@pytest.mark.parametrize("value", [9, 9.0, np.int64(9), np.float32(9.0), None])
def test_a_fidelity_may_be_any_kind_of_number(value: Any) -> None:
    found = Fidelity("epochs", 1, 9, integer=True).check(value, "training")
    assert found == 9 and type(found) is int


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("9", "fidelity 'epochs' of 'training' must be a number, not '9'"),
        (True, "must be a number, not True"),
        (np.bool_(True), "must be a number, not True"),
        (np.float64(0.5), "fidelity epochs=0.5 of 'training' is outside [1, 9]"),
        (10, "is outside [1, 9]"),
        (math.nan, "is outside [1, 9]"),
        (2.5, "fidelity epochs=2.5 of 'training' must be a whole number"),
    ],
)
def test_an_illegal_fidelity_is_named(value: Any, words: str) -> None:
    with pytest.raises(BadValue, match=re.escape(words)):
        Fidelity("epochs", 1, 9, integer=True).check(value, "training")
