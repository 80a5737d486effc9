"""hyperopt's ``suggest`` functions (Bergstra et al., 2013).

Inactive hyperparameters are taken out of a suggestion before hyperopt's book-keeping sees it,
which is how it stores a branch of ``hp.choice`` that was not taken. A forbidden suggestion is
drawn again with another seed, and after ``PATIENCE`` of them at random.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import PATIENCE, TRIES, checked, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value

_ALGORITHMS = ("tpe", "anneal", "rand")


def expression(param: Param) -> Any:
    """The hyperparameter as one of ``hyperopt.hp``."""
    from hyperopt import hp

    if param.kind == "categorical":
        return hp.choice(param.name, list(range(len(param.choices))))
    if param.kind == "ordinal":
        return hp.quniform(param.name, -0.5, len(param.choices) - 0.5, 1)
    lower, upper = float(param.lower), float(param.upper)
    if param.kind == "int":
        lower, upper = lower - 0.5, upper + 0.5
        if param.log:
            return hp.qloguniform(param.name, np.log(lower), np.log(upper), 1)
        return hp.quniform(param.name, lower, upper, 1)
    if param.log:
        return hp.loguniform(param.name, np.log(lower), np.log(upper))
    return hp.uniform(param.name, lower, upper)


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[min(len(param.choices) - 1, max(0, round(float(x))))]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else float(inside)


class Hyperopt(Optimizer):
    """``algorithm``: tpe, anneal or rand; ``options`` go to its ``suggest`` function."""

    capabilities = Capabilities(conditions="native")
    requires = ("hyperopt",)
    extra = "hyperopt"

    def __init__(self, task: TaskDescription, seed: int, algorithm: str, **options: Any) -> None:
        import hyperopt

        if algorithm not in _ALGORITHMS:
            raise BadValue(
                f"hyperopt has no algorithm {algorithm!r}{did_you_mean(algorithm, _ALGORITHMS)}"
            )
        suggest = getattr(hyperopt, algorithm).suggest
        takes = hyperopt.anneal.AnnealingAlgo if algorithm == "anneal" else suggest
        self._suggest = partial(suggest, **checked(takes, options, ("domain", "trials", "seed")))
        self._rand = hyperopt.rand.suggest
        self._cube = Cube(task.checker)
        space = {p.name: expression(p) for p in self._cube.params}
        self._domain = hyperopt.Domain(lambda config: 0.0, space)
        self._trials = hyperopt.Trials()
        self._rng = np.random.default_rng(seed)
        self._done, self._failed = hyperopt.JOB_STATE_DONE, hyperopt.STATUS_FAIL

    def ask(self) -> Trial:
        for attempt in range(TRIES):
            ids = self._trials.new_trial_ids(1)
            seed = int(self._rng.integers(2**31 - 1))
            suggest = self._suggest if attempt < PATIENCE else self._rand
            doc = suggest(ids, self._domain, self._trials, seed)[0]
            vals = doc["misc"]["vals"]
            config = self._cube.complete(
                {p.name: value(p, vals[p.name][0]) for p in self._cube.params}
            )
            if self._cube.checker.forbidden(config):
                continue
            for name in vals:
                if name not in config:
                    doc["misc"]["vals"][name] = doc["misc"]["idxs"][name] = []
            self._trials.insert_trial_docs([doc])
            self._trials.refresh()
            return Trial(config, tag=doc["tid"])
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        doc = next(d for d in reversed(self._trials._dynamic_trials) if d["tid"] == trial.tag)
        status = "ok" if result.ok else self._failed
        doc["result"] = {"status": status, "loss": result.value if result.ok else None}
        doc["state"] = self._done
        self._trials.refresh()


class HyperoptRandom(Hyperopt):
    """``rand``: independent samples, whatever was told."""

    capabilities = Capabilities(conditions="native", learns=None)
