"""Every collection keeps to what ``carps_like.testing.tasks`` asks, on a sample of its tasks."""

from __future__ import annotations

import pytest

from carps_like.errors import MissingLibrary
from carps_like.registry import build_task, collections, describe_task, missing_for_task, task_names
from carps_like.testing.tasks import CHECKS, sample

# a 4,039-bit space takes seconds to build and check; the script checks it too
HUGE = 2000
NAMES = [
    name
    for collection in collections().values()
    for name in sample(collection, 3)
    if describe_task(name).dimension < HUGE
]


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
