"""NePS (Stoll et al., 2025) through ``AskAndTell``.

The fidelity is a hyperparameter of its space. A prior becomes its mode and a confidence, which is
all that NePS takes: high, medium or low by the spread. Conditional spaces are flattened. Its
generators are the global ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, Lineage, construct, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value

_FIDELITY = "__fidelity__"


def parameter(param: Param, priors: bool) -> Any:
    """The hyperparameter as one of NePS's; choices and ordinals by position."""
    from neps.space import parameters as p

    more: dict[str, Any] = {}
    if param.choices:
        if param.kind == "ordinal":
            return p.HPOInteger(0, len(param.choices) - 1)
        if priors and param.weights:
            best = max(range(len(param.weights)), key=param.weights.__getitem__)
            share = param.weights[best]
            level = "high" if share > 0.75 else "medium" if share > 0.5 else "low"
            more = {"prior": best, "prior_confidence": level}
        return p.HPOCategorical(list(range(len(param.choices))), **more)
    if priors and param.prior:
        mean, deviation = param.prior
        spread = deviation / (param.upper - param.lower)
        # NePS turns them into standard deviations of 0.25, 0.5 and 0.75 widths
        level = "high" if spread < 0.375 else "medium" if spread < 0.625 else "low"
        inside = min(param.upper, max(param.lower, mean))
        more = {"prior": round(inside) if param.kind == "int" else inside}
        more["prior_confidence"] = level
    kind = p.HPOInteger if param.kind == "int" else p.HPOFloat
    return kind(param.lower, param.upper, log=param.log, **more)


def value(param: Param, x: Any) -> Value:
    """Back again, inside the bounds."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, float(x)))
    return round(inside) if param.kind == "int" else inside


class _Neps(Optimizer):
    """``algorithm`` is a function of ``neps.algorithms``; ``options`` go to it."""

    requires = ("neps",)

    def __init__(self, task: TaskDescription, seed: int, algorithm: str, **options: Any) -> None:
        import neps
        from neps.space import SearchSpace
        from neps.space.parameters import HPOFloat, HPOInteger

        found = getattr(neps.algorithms, algorithm, None)
        if found is None:
            hint = did_you_mean(algorithm, dir(neps.algorithms))
            raise BadValue(f"neps has no algorithm {algorithm!r}{hint}")
        self._cube = Cube(task.checker)
        priors = self.capabilities.priors != "no"
        # a choice of one is none to NePS
        self._only = {p.name: p.choices[0] for p in self._cube.params if len(p.choices) == 1}
        self._free = [p for p in self._cube.params if p.name not in self._only]
        space = {p.name: parameter(p, priors) for p in self._free}
        self._fidelity = task.fidelity if self.capabilities.fidelity != "no" else None
        if self._fidelity is not None:
            kind = HPOInteger if self._fidelity.integer else HPOFloat
            lower, upper = self._fidelity.lower, self._fidelity.upper
            space[_FIDELITY] = kind(lower, upper, is_fidelity=True)
        fixed = self._fixed(task, space)
        self._neps = neps.AskAndTell(
            construct(found, options, **fixed | {self._first: SearchSpace(space)})
        )
        self._lineage = Lineage()
        self._worst: Any = None

    _first = "pipeline_space"  # what the algorithm calls its space

    def _fixed(self, task: TaskDescription, space: dict[str, Any]) -> dict[str, Any]:
        return {}

    def ask(self) -> Trial:
        for _ in range(TRIES):
            found = self._neps.ask()
            config = self._cube.complete(
                self._only | {p.name: value(p, found.config[p.name]) for p in self._free}
            )
            if not self._cube.checker.forbidden(config):
                return self._trial(config, found)
            worst = ValueError("forbidden") if self._worst is None else self._worst
            self._neps.tell(found, worst)
        raise no_legal(self._cube.checker.where)

    def _trial(self, config: dict[str, Value], found: Any) -> Trial:
        if self._fidelity is None:
            return Trial(config, tag=found)
        fidelity = self._fidelity.nearest(found.config[_FIDELITY])
        _, _, rung = str(found.metadata.id).rpartition("_")
        info = {"rung": int(rung)} if rung.isdigit() else {}
        return self._lineage.trial(config, fidelity, info, tag=found)

    def tell(self, trial: Trial, result: Result) -> None:
        # with several objectives its brackets need values of every trial: the penalty's
        if not result.ok and len(result.values) == 1:
            self._neps.tell(trial.tag, RuntimeError(result.error or "failed"))
            return
        values = result.values
        loss = values[0] if len(values) == 1 else list(values)
        told = {"objective_to_minimize": loss, "cost": result.cost}
        self._worst = told if self._worst is None else max(self._worst, told, key=_order)
        self._neps.tell(trial.tag, told)


def _order(told: dict[str, Any]) -> Any:
    loss = told["objective_to_minimize"]
    return loss if isinstance(loss, float) else max(loss)


class Neps(_Neps):
    """Algorithms for one objective at the full fidelity: ``random_search``,
    ``bayesian_optimization``.
    """

    capabilities = Capabilities(global_seeds=True, noise=True)


class NepsRandom(Neps):
    """NePS's random search."""

    capabilities = Capabilities(global_seeds=True, multi_objective=True, learns=None)


class NepsPrior(_Neps):
    """``pibo``: Bayesian optimization with the task's prior (Hvarfner et al., 2022)."""

    capabilities = Capabilities(global_seeds=True, noise=True, priors="needs")


class NepsFidelity(_Neps):
    """``successive_halving``, ``hyperband``, ``asha``, ``async_hb``."""

    capabilities = Capabilities(global_seeds=True, fidelity="needs")


class NepsFidelityPrior(_Neps):
    """``priorband`` (Mallik et al., 2023), with a model after some evaluations
    (``bayesian_optimization_kick_in_point``); or ``asha`` and ``hyperband`` with ``sampler=prior``.
    """

    capabilities = Capabilities(global_seeds=True, fidelity="needs", priors="needs")


class NepsModel(NepsFidelityPrior):
    """The same with a Gaussian process."""

    capabilities = replace(NepsFidelityPrior.capabilities, noise=True)


class NepsMany(_Neps):
    """``mo_hyperband``: several objectives and fidelities."""

    capabilities = Capabilities(
        global_seeds=True, fidelity="needs", multi_objective=True, single_objective=False
    )


class NepsMoasha(NepsMany):
    """MO-ASHA; it fails when asked again before a trial is told."""

    capabilities = Capabilities(
        global_seeds=True,
        fidelity="needs",
        multi_objective=True,
        single_objective=False,
        parallel=False,
    )


class Primo(_Neps):
    """PriMO (Basu et al., 2025): the task's prior stands for every objective. It begins with
    MO-ASHA, which fails when asked again before a trial is told.
    """

    capabilities = Capabilities(
        global_seeds=True,
        fidelity="needs",
        noise=True,
        priors="needs",
        multi_objective=True,
        single_objective=False,
        parallel=False,
    )
    _first = "space"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        super().__init__(task, seed, "primo", **options)

    def _fixed(self, task: TaskDescription, space: dict[str, Any]) -> dict[str, Any]:
        from neps.sampling.priors import PRIOR_CONFIDENCE_MAPPING as LEVELS

        center, confidence = {}, {}
        for name, p in space.items():
            if getattr(p, "prior", None) is not None:
                center[name] = p.prior
                confidence[name] = LEVELS[p.prior_confidence]
                p.prior = None  # it takes them apart from the space
        names = [o.name for o in task.objectives]
        return {
            "prior_centers": dict.fromkeys(names, center),
            "prior_confidences": dict.fromkeys(names, confidence),
        }
