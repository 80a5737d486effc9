"""Errors cross process borders as they are: a task that is built in a child reports there."""

from __future__ import annotations

import pickle

import pytest

import carps_like
from carps_like import errors
from carps_like.errors import CarpsLikeError, MissingLibrary, UnknownName

KNOWN = ["optuna-tpe", "optuna-gp", "random"]
ERRORS: list[CarpsLikeError] = [
    UnknownName("optimizer", "optuna-tpee", KNOWN),
    UnknownName("optimizer", "optuna-tpee", (name for name in KNOWN)),
    UnknownName("optimizer", "zzz", dict.fromkeys(KNOWN).keys(), "there are three"),
    MissingLibrary("optuna", "optuna", "optimizer 'optuna-tpe'"),
    MissingLibrary("mine", "", "task 'x'"),
    *(getattr(errors, name)("one line") for name in (
        "BadValue", "BadRequest", "MissingData", "Unsupported", "BadResults",
    )),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: f"{type(e).__name__}: {e}")
def test_an_error_is_the_same_after_a_pipe(error: CarpsLikeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert "\n" not in str(again)


def test_names_that_are_near_are_told() -> None:
    near = UnknownName("optimizer", "optuna-tpee", (name for name in KNOWN))
    assert str(near) == "unknown optimizer 'optuna-tpee'; did you mean 'optuna-tpe' or 'optuna-gp'?"
    assert str(near) == str(near)  # the names could be read only once
    far = UnknownName("optimizer", "zzz", KNOWN, "there are three")
    assert str(far) == "unknown optimizer 'zzz'; there are three"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("bbob-d07-f01-i01", "'bbob-d05-f01-i01' or 'bbob-d10-f01-i01'"),
        ("bbob-d05-f25-i03", "'bbob-d05-f24-i03'"),
        ("bbob-d05-f01-i16", "'bbob-d05-f01-i15'"),
        ("bbob-d5-f1-i1", "'bbob-d05-f01-i01'?"),
        ("pbo-d017-f01-i01", "'pbo-d016-f01-i01'"),
        ("yahpo-lcbench-167153-bb", "'yahpo-lcbench-167152-bb'"),
        ("bbob-noisy-d05-f100-i01", "'bbob-noisy-d05-f101-i01'"),
        ("bbobb-d05-f01-i01", "'bbob-d05-f01-i01'"),
    ],
)
def test_an_unknown_task_gets_the_one_with_the_nearest_numbers(name: str, nearest: str) -> None:
    with pytest.raises(UnknownName) as error:
        carps_like.task(name)
    assert f"unknown task {name!r}; did you mean {nearest}" in str(error.value)
