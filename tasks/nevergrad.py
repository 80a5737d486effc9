"""The artificial functions of Nevergrad (Rapin and Teytaud, 2018) on [-5, 5]^d, minimised.

Nevergrad draws translation and rotation from numpy's global generator; here instance i draws them
from a generator of its own, seeded with i. Instance 1 is not rotated, the others are. The three
functions ``st1``, ``st10`` and ``st100`` are noisy: their noise follows from the seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from carps_like.description import Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks._spaces import box, names_of
from carps_like.trial import Configuration

FUNCTIONS = (
    "DelayedSphere", "ackley", "altcigar", "altellipsoid", "bentcigar", "bucherastrigin", "cigar",
    "deceptiveillcond", "deceptivemultimodal", "deceptivepath", "discus", "doublelinearslope",
    "ellipsoid", "genzcornerpeak", "genzgaussianpeakintegral", "griewank", "hm", "linear",
    "lunacek", "maxdeceptive", "minusgenzcornerpeak", "minusgenzgaussianpeakintegral", "multipeak",
    "rastrigin", "rosenbrock", "schwefel_1_2", "slope", "sphere", "sphere1", "sphere2", "sphere4",
    "st0", "st1", "st10", "st100", "stepdoublelinearslope", "stepellipsoid", "sumdeceptive",
)  # fmt: skip
NOISY = frozenset({"st1", "st10", "st100"})
# functions that are 0 at the translated origin and nowhere lower
ZERO = frozenset({
    "DelayedSphere", "ackley", "altcigar", "altellipsoid", "bentcigar", "bucherastrigin", "cigar",
    "discus", "doublelinearslope", "ellipsoid", "griewank", "rastrigin", "schwefel_1_2", "sphere",
    "stepdoublelinearslope", "stepellipsoid",
})  # fmt: skip
DIMENSIONS = (2, 5, 10, 20)
INSTANCES = range(1, 4)


class NevergradTask(Task):
    """One artificial function."""

    def __init__(self, description: TaskDescription) -> None:
        from nevergrad.functions import ArtificialFunction

        self.description = description
        meta = description.metadata
        instance = meta["instance"]
        self._function = ArtificialFunction(
            meta["function"], block_dimension=description.dimension, rotation=instance > 1
        )
        self._function.transform_var.random_state = np.random.RandomState(instance)
        self._names = names_of(description.dimension)
        self._calls = 0

    def __reduce__(self) -> Any:
        return NevergradTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> dict[str, float]:
        x = np.array([config[name] for name in self._names], dtype=float)
        if not self.description.noisy:
            return {"value": float(self._function(x))}
        before = np.random.get_state()  # noqa: NPY002 - it is what Nevergrad draws from
        np.random.seed(self._calls if seed is None else seed % 2**32)  # noqa: NPY002
        self._calls += 1
        try:
            return {"value": float(self._function(x))}
        finally:
            np.random.set_state(before)  # noqa: NPY002


class Nevergrad(Collection):
    name, requires, extra = "nevergrad", ("nevergrad",), "nevergrad"

    def names(self) -> Iterator[str]:
        for function in FUNCTIONS:
            for d in DIMENSIONS:
                for i in INSTANCES:
                    yield f"nevergrad-{function.lower()}-d{d:02}-i{i:02}"

    def describe(self, name: str) -> TaskDescription:
        match = re.fullmatch(r"nevergrad-(\w+)-d(\d{2})-i(\d{2})", name)
        function = _BY_KEY.get(match[1]) if match else None
        if match is None or function is None:
            raise self.unknown(name)
        d, i = int(match[2]), int(match[3])
        if d not in DIMENSIONS or i not in INSTANCES:
            raise self.unknown(name)
        zero = function in ZERO
        return TaskDescription(
            name=name,
            make_space=box(d, -5.0, 5.0),
            objectives=(Objective("value", optimum=0.0 if zero else None),),
            collection="nevergrad",
            kind="synthetic",
            n_continuous=d,
            noisy=function in NOISY,
            optimum_source="the function's definition" if zero else "",
            evaluation_seconds=5e-5,
            metadata={"function": function, "instance": i},
        )

    def build(self, description: TaskDescription) -> NevergradTask:
        return NevergradTask(description)


_BY_KEY = {function.lower(): function for function in FUNCTIONS}
collections = (Nevergrad(),)
