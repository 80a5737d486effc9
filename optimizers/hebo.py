"""HEBO (Cowen-Rivers et al., 2022): warped inputs and outputs, and a front of three acquisitions.

A failed trial is left out, as it leaves out what is not finite; a forbidden proposal is told with
the worst value so far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, construct, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value


def parameter(param: Param) -> dict[str, Any]:
    """The hyperparameter as HEBO describes one; choices and ordinals by position."""
    if param.kind == "categorical":
        choices = list(range(len(param.choices)))
        return {"name": param.name, "type": "cat", "categories": choices}
    if param.kind == "ordinal":
        return {"name": param.name, "type": "int", "lb": 0, "ub": len(param.choices) - 1}
    kinds = {"float": ("num", "pow"), "int": ("int", "pow_int")}[param.kind]
    return {"name": param.name, "type": kinds[param.log], "lb": param.lower, "ub": param.upper}


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


class Hebo(Optimizer):
    """``options`` go to its constructor (``model_name``, ``rand_sample``, ``es``)."""

    capabilities = Capabilities(noise=True, global_seeds=True)
    requires = ("hebo",)

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        from pymoo.config import Config

        Config.warnings["not_compiled"] = False
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        self._cube = Cube(task.checker)
        space = DesignSpace().parse([parameter(p) for p in self._cube.params])
        self._hebo = construct(HEBO, options, space=space, scramble_seed=seed % 2**31)
        self._worst: float | None = None

    def ask(self) -> Trial | None:
        for _ in range(TRIES):
            found = self._hebo.suggest(1)
            row = {p.name: value(p, found[p.name].iloc[0]) for p in self._cube.params}
            config = self._cube.complete(row)
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=found)
            if self._worst is not None:
                self._hebo.observe(found, np.array([[self._worst]]))
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        if result.ok:
            value = result.value
            self._worst = value if self._worst is None else max(value, self._worst)
            self._hebo.observe(trial.tag, np.array([[value]]))
