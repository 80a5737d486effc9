"""Every collection keeps to what ``carps_like.testing.tasks`` asks, on a sample of its tasks."""

from __future__ import annotations

import pytest

from carps_like.errors import MissingLibrary
from carps_like.registry import build_task, collections, describe_task, missing_for_task, task_names
from carps_like.testing.tasks import CHECKS, sample

# a 4,039-bit space takes seconds to build and check; the script checks it too
HUGE = 2000
SLOW = 0.3  # seconds of an evaluation: of such collections the quickest task of each type


def _names() -> list[str]:
    found = []
    for collection in collections().values():
        names = [n for n in sample(collection, 3) if describe_task(n).dimension < HUGE]
        if all(describe_task(name).evaluation_seconds >= SLOW for name in names):
            every = sorted(
                map(describe_task, collection.names()), key=lambda d: d.evaluation_seconds
            )
            names = list(
                {description.type: description.name for description in reversed(every)}.values()
            )
        found += names
    return found


NAMES = _names()


@pytest.mark.parametrize("name", NAMES)
def test_a_task_keeps_to_every_check(name: str) -> None:
    description = describe_task(name)
    missing = missing_for_task(description)
    if isinstance(missing, MissingLibrary):
        pytest.skip(str(missing))
    task = build_task(description, collections()[description.collection])
    for check in CHECKS:
        check(task)


def test_names_are_unique_slash_free_and_described_as_themselves() -> None:
    names = list(task_names())
    assert len(set(names)) == len(names) >= 30_000
    assert not [n for n in names if "/" in n or " " in n or n != n.strip()]
    for name in names[::97]:
        assert describe_task(name).name == name


def test_there_are_fifteen_collections_and_hundreds_of_each_type() -> None:
    types: dict[str, int] = {}
    for collection in collections().values():
        for name in collection.names():
            kind = collection.describe(name).type
            types[kind] = types.get(kind, 0) + 1
    assert len(collections()) >= 15
    assert min(types[kind] for kind in ("bb", "mf", "mo", "momf")) >= 300


# numbers of problems that the sources themselves give
SIZES = {
    "bbob": 24 * 6 * 15, "sbox": 24 * 6 * 15, "pbo": 25 * 4 * 5, "bbob-noisy": 2700,
    "bbob-largescale": 2160, "bbob-mixint": 2160, "bbob-constrained": 4860, "bbob-boxed": 2160,
    "bbob-biobj": 4950, "bbob-biobj-ext": 8280, "bbob-biobj-mixint": 8280, "yahpo": 4 * 515,
    "hpobench": 4 * 8, "fcnet": 4 * 4, "nb201": 4 * 3, "nbgraph": 2 * 9,
}  # fmt: skip
INSTANCES = {
    "lcbench": 34, "rbv2_xgboost": 119, "rbv2_rpart": 117, "iaml_glmnet": 4,
    "fair_": 8, "_v2": 233,
}  # fmt: skip


def test_suites_are_complete() -> None:
    for key, n in SIZES.items():
        assert len(list(collections()[key].names())) == n, key
    yahpo = [n.split("-")[1] for n in collections()["yahpo"].names() if n.endswith("-bb")]
    for part, n in INSTANCES.items():
        found = [s for s in yahpo if (part in s if "_" in (part[0], part[-1]) else s == part)]
        assert len(found) == n, part
    assert len({n.split("-")[1] for n in collections()["nevergrad"].names()}) == 38
    lcdb = {n.split("-")[1] for n in collections()["lcdb"].names()}
    tables = {describe_task(n).metadata["table"] for n in collections()["moot"].names()}
    assert (len(lcdb), len(tables)) == (248, 83)
