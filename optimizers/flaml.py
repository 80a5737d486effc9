"""FLAML's searchers (Wang et al., 2021): CFO, BlendSearch, random search.

Trials that failed are reported as errors. The simulated seconds of a trial are its cost.
"""

from __future__ import annotations

from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._common import PATIENCE, TRIES, construct, no_legal, quiet_optuna
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value

_SEARCHERS = ("CFO", "BlendSearch", "RandomSearch")
_REPETITIONS = 100  # in a row: where ``flaml.tune.run`` ends, too


def domain(param: Param) -> Any:
    """The hyperparameter as a domain of ``flaml.tune``."""
    from flaml import tune

    if param.kind == "categorical":
        return tune.choice(list(range(len(param.choices))))
    if param.kind == "ordinal":
        return tune.randint(0, len(param.choices))
    if param.kind == "int":
        draw = tune.lograndint if param.log else tune.randint
        return draw(int(param.lower), int(param.upper) + 1)
    return (tune.loguniform if param.log else tune.uniform)(param.lower, param.upper)


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


class Flaml(Optimizer):
    """``searcher``: CFO (a randomised direct search), BlendSearch (with a global one besides it)
    or RandomSearch.
    """

    capabilities = Capabilities(global_seeds=True)
    requires = ("flaml", "optuna")
    extra = "flaml"

    def __init__(self, task: TaskDescription, seed: int, searcher: str, **options: Any) -> None:
        quiet_optuna()  # the global search of BlendSearch is Optuna's
        from flaml.tune.searcher import blendsearch

        if searcher not in _SEARCHERS:
            raise BadValue(
                f"flaml has no searcher {searcher!r}{did_you_mean(searcher, _SEARCHERS)}"
            )
        self._cube = Cube(task.checker)
        self._searcher = construct(
            getattr(blendsearch, searcher),
            options,
            metric="value",
            mode="min",
            space={p.name: domain(p) for p in self._cube.params},
            seed=seed % 2**31,
        )
        self._asked = 0
        self._open = 0

    def ask(self) -> Trial | None:
        repeated = 0
        for attempt in range(TRIES):
            if attempt >= PATIENCE and self._open:
                return None
            if repeated == _REPETITIONS:
                raise Exhausted
            name = f"t{self._asked}"
            self._asked += 1
            found = self._searcher.suggest(name)
            if found is None:  # a repetition, or every thread of the search is waiting
                repeated += 1
                continue
            repeated = 0
            config = self._cube.complete(
                {p.name: value(p, found[p.name]) for p in self._cube.params}
            )
            if not self._cube.checker.forbidden(config):
                self._open += 1
                return Trial(config, tag=(name, found))
            self._searcher.on_trial_complete(name, None, error=True)
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        name, found = trial.tag
        self._open -= 1
        if not result.ok:
            self._searcher.on_trial_complete(name, None, error=True)
            return
        told = {"value": result.value, "config": found, "time_total_s": result.cost}
        told |= {f"config/{k}": v for k, v in found.items()}
        self._searcher.on_trial_complete(name, told)


class FlamlRandom(Flaml):
    """FLAML's random search."""

    capabilities = Capabilities(global_seeds=True, learns=None)
