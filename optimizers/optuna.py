"""Optuna's samplers (Akiba et al., 2019), driven by ``Study.ask`` and ``Study.tell``.

A conditional space is walked define-by-run, parents first, so that inactive hyperparameters are
never suggested. An ordinal is suggested as the integer of its rank. A forbidden proposal is told
as a pruned trial, which TPE counts among the bad ones and the others leave out, and the study is
asked again; after ``PATIENCE`` of them in a row a random legal configuration is enqueued.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._common import PATIENCE, TRIES, construct, no_legal, quiet_optuna
from carps_like.space import Checker, Param, Sampler
from carps_like.trial import Configuration, Result, Trial, Value

_ANY = Capabilities(multi_objective=True, conditions="native", learns=None)
_CONSTRAINED = Capabilities(multi_objective=True, conditions="native", constraints=True)


def suggest(trial: Any, checker: Checker) -> dict[str, Value]:
    """One configuration by Optuna's ``suggest_*`` methods."""
    config: dict[str, Value] = {}
    for param in checker.params:
        if checker.is_active(param.name, config):
            config[param.name] = _suggest(trial, param)
    return config


def encode(config: Configuration, checker: Checker) -> dict[str, Any]:
    """The parameters of Optuna that :func:`suggest` turns into ``config``."""
    encoded: dict[str, Any] = {}
    for name, value in config.items():
        param = checker.by_name[name]
        if param.kind in ("categorical", "ordinal"):
            encoded[name] = param.choices.index(value)
        elif param.kind != "constant":
            encoded[name] = value
    return encoded


def _suggest(trial: Any, param: Param) -> Value:
    value: Value
    if param.kind == "float":
        value = float(trial.suggest_float(param.name, param.lower, param.upper, log=param.log))
    elif param.kind == "int":
        lower, upper = int(param.lower), int(param.upper)
        value = int(trial.suggest_int(param.name, lower, upper, log=param.log))
    elif param.kind == "categorical":
        # by position: Optuna compares choices with ==, which takes True and 1 for the same
        places = list(range(len(param.choices)))
        value = param.choices[trial.suggest_categorical(param.name, places)]
    elif param.kind == "ordinal":
        value = param.choices[trial.suggest_int(param.name, 0, len(param.choices) - 1)]
    else:
        value = param.default
    return value


class _Optuna(Optimizer):
    """One study with one sampler; ``options`` go to the sampler's constructor."""

    requires: ClassVar[tuple[str, ...]] = ("optuna",)
    extra = "optuna"
    sampler: ClassVar[str]

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        optuna = quiet_optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = construct(getattr(optuna.samplers, self.sampler), options, seed=seed)
        self._study = optuna.create_study(
            directions=["minimize"] * len(task.objectives), sampler=sampler
        )
        self._constraints = task.constraints if self.capabilities.constraints else ()
        self._checker = task.checker
        self._sampler = Sampler(task.checker, seed)
        self._states = optuna.trial.TrialState
        self._stopped = False
        self._study.stop = self._stop

    def _stop(self) -> None:
        """In place of ``Study.stop``, which raises outside ``optimize``: nothing is left."""
        self._stopped = True

    def ask(self) -> Trial:
        for attempt in range(TRIES):
            if self._stopped:
                raise Exhausted
            if attempt and attempt % PATIENCE == 0:
                self._study.enqueue_trial(encode(self._sampler.sample(), self._checker))
            trial = self._study.ask()
            config = suggest(trial, self._checker)
            if not self._checker.forbidden(config):
                return Trial(config, tag=trial)
            self._study.tell(trial, state=self._states.PRUNED)
        raise no_legal(self._checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        if not result.ok:
            self._study.tell(trial.tag, state=self._states.FAIL)
            return
        for name, value in zip(self._constraints, result.constraints, strict=False):
            trial.tag.set_constraint(name, value)
        self._study.tell(trial.tag, result.values)


class Tpe(_Optuna):
    """Tree-structured Parzen estimator (Bergstra et al., 2011; Watanabe, 2023)."""

    capabilities = _CONSTRAINED
    sampler = "TPESampler"


class Gp(_Optuna):
    """Gaussian process with log expected improvement, its hypervolume form for several goals.

    Hyperparameters that are not always active are drawn at random.
    """

    capabilities = replace(_CONSTRAINED, noise=True)
    requires = ("optuna", "torch", "greenlet")
    extra = "optuna-gp"
    sampler = "GPSampler"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        super().__init__(task, seed, warn_independent_sampling=False, **options)


class CmaEs(_Optuna):
    """CMA-ES on the numbers; categorical hyperparameters are drawn independently."""

    capabilities = Capabilities(conditions="native")
    requires = ("optuna", "cmaes")
    extra = "optuna"
    sampler = "CmaEsSampler"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        super().__init__(task, seed, warn_independent_sampling=False, **options)


class CmaEsLearningRate(CmaEs):
    """With an adapted learning rate (Nomura et al., 2023), for rugged and noisy functions."""

    capabilities = replace(CmaEs.capabilities, noise=True)


class CmaEsMargin(CmaEs):
    """With margin for integers; it cannot follow a space whose active part changes."""

    capabilities = Capabilities(conditions="no")


class Qmc(_Optuna):
    """Quasi-random sequences on the numbers; scrambled by default, or seeds would be alike."""

    capabilities = _ANY
    sampler = "QMCSampler"

    def __init__(
        self, task: TaskDescription, seed: int, scramble: bool = True, **options: Any
    ) -> None:
        super().__init__(task, seed, scramble=scramble, warn_independent_sampling=False, **options)


class NsgaII(_Optuna):
    """NSGA-II (Deb et al., 2002)."""

    capabilities = replace(_CONSTRAINED, learns=300)  # its first 50 are random
    sampler = "NSGAIISampler"


class NsgaIII(_Optuna):
    """NSGA-III (Deb and Jain, 2014); with one objective it is NSGA-II."""

    capabilities = replace(NsgaII.capabilities, single_objective=False)
    sampler = "NSGAIIISampler"


class Random(_Optuna):
    """Optuna's own independent random search."""

    capabilities = _ANY
    sampler = "RandomSampler"


class BruteForce(_Optuna):
    """Every configuration of a finite space once, in random order."""

    capabilities = Capabilities(
        multi_objective=True, conditions="native", continuous=False, learns=None
    )
    sampler = "BruteForceSampler"
