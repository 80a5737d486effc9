"""SMAC3 (Lindauer et al., 2022): its facades, driven by ask and tell.

SMAC takes the ConfigSpace as it is: conditions, forbidden clauses and ordinals are its own. It
always writes a folder; here a temporary one, removed on close and at exit. Its proposals depend
on ``PYTHONHASHSEED``, which the workers fix.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from copy import deepcopy
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.optimizers._common import Lineage
from carps_like.trial import Result, Trial

_COMPONENTS = (
    "model",
    "acquisition_function",
    "acquisition_maximizer",
    "initial_design",
    "random_design",
    "intensifier",
    "config_selector",
)


_NATIVE = Capabilities(conditions="native", forbidden="native", noise=True, needs_trials=True)


def smac_space(task: TaskDescription, priors: bool) -> Any:
    """A copy of the task's space for SMAC, which seeds it; without priors unless asked for.

    A constant on which others are conditional becomes a choice of one: ConfigSpace loses such
    children when it deactivates what is inactive.
    """
    from carps_like.configspace import without_priors

    space = deepcopy(task.space) if priors else without_priors(task.space)
    parents = {name for p in task.checker.params for name in p.parents}
    if not any(p.kind == "constant" and p.name in parents for p in task.checker.params):
        return space
    data = space.to_serialized_dict()
    for h in data["hyperparameters"]:
        if h["type"] == "constant" and h["name"] in parents:
            value = h.pop("value")
            h.update(type="categorical", choices=[value], default_value=value, weights=None)
    return type(space).from_serialized_dict(data)


class _Smac(Optimizer):
    """One facade. An option goes to the component whose ``get_...`` method takes it."""

    capabilities = _NATIVE
    requires = ("smac",)
    extra = "smac"
    facade: ClassVar[str]

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        import smac
        from smac.main.exceptions import ConfigurationSpaceExhaustedException
        from smac.runhistory.enumerations import StatusType

        self._status, self._spent = StatusType, ConfigurationSpaceExhaustedException
        folder = Path(tempfile.mkdtemp(prefix="carps-like-smac-"))
        self._remove = weakref.finalize(self, shutil.rmtree, folder, True)
        scenario = smac.Scenario(
            smac_space(task, priors=self.capabilities.priors != "no"),
            objectives=[o.name for o in task.objectives] if len(task.objectives) > 1 else "cost",
            deterministic=not task.noisy,  # with noise it asks for good ones several times
            n_trials=task.budget.trials,
            output_directory=folder,
            seed=seed,
            **self._scenario(task),
        )
        facade = getattr(smac, self.facade)
        parts = self._parts(facade, scenario, options) | self._more(scenario)
        self._smac = facade(scenario, None, overwrite=True, logging_level=False, **parts)

    def _scenario(self, task: TaskDescription) -> dict[str, Any]:
        """Further arguments of the scenario."""
        return {}

    def _more(self, scenario: Any) -> dict[str, Any]:
        """Further components of the facade."""
        return {}

    def _parts(self, facade: Any, scenario: Any, options: dict[str, Any]) -> dict[str, Any]:
        parts, known = {}, []
        left = dict(options)
        for name in _COMPONENTS:
            make = getattr(facade, f"get_{name}")
            takes = [p for p in signature(make).parameters if p != "scenario"]
            known += takes
            given = {k: left.pop(k) for k in takes if k in left}
            if given:
                parts[name] = make(scenario, **given)
        for name in left:
            hint = did_you_mean(name, known, f"it has {', '.join(known)}")
            raise BadValue(f"{self.facade} has no option {name!r}{hint}")
        return parts

    def ask(self) -> Trial | None:
        from joblib import parallel_config

        try:
            # its forest would start a pool of threads for each prediction: the results are the same
            with parallel_config("sequential"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the time of local searches that made no step
                info = self._smac.ask()
        except (StopIteration, self._spent):  # it found no configuration that is new
            raise Exhausted from None
        return Trial(dict(info.config), tag=info)

    def tell(self, trial: Trial, result: Result) -> None:
        from smac.runhistory.dataclasses import TrialValue

        cost = result.value if len(result.values) == 1 else list(result.values)
        status = self._status.SUCCESS if result.ok else self._status.CRASHED
        self._smac.tell(trial.tag, TrialValue(cost, status=status), save=False)

    def close(self) -> None:
        self._remove()


class Hpo(_Smac):
    """Random forest and log expected improvement, for hyperparameter optimization."""

    capabilities = replace(_NATIVE, learns=100)  # it trains after each eighth trial only
    facade = "HyperparameterOptimizationFacade"


class Blackbox(_Smac):
    """Gaussian process (Matern kernel) and expected improvement, for small continuous spaces."""

    facade = "BlackBoxFacade"


class AlgorithmConfiguration(_Smac):
    """Random forest and expected improvement, with the defaults for algorithm configuration."""

    facade = "AlgorithmConfigurationFacade"


class Random(_Smac):
    """SMAC's own random search."""

    capabilities = replace(_NATIVE, multi_objective=True, learns=None)
    facade = "RandomFacade"


class _Budgets(_Smac):
    """Facades that choose the fidelity: SMAC calls it a budget."""

    capabilities = replace(_NATIVE, fidelity="needs", noise=False)

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        assert task.fidelity is not None  # the capabilities say so
        self._fidelity = task.fidelity
        self._lineage = Lineage()
        super().__init__(task, seed, **options)

    def _scenario(self, task: TaskDescription) -> dict[str, Any]:
        return {"min_budget": self._fidelity.lower, "max_budget": self._fidelity.upper}

    def ask(self) -> Trial | None:
        trial = super().ask()
        if trial is None:
            return None
        fidelity = self._fidelity.nearest(trial.tag.budget)
        return self._lineage.trial(trial.config, fidelity, tag=trial.tag)


class Hyperband(_Budgets):
    """Hyperband (Li et al., 2018) with random configurations."""

    facade = "HyperbandFacade"


class MultiFidelity(_Budgets):
    """Hyperband with a random forest that proposes, as in BOHB (Falkner et al., 2018)."""

    facade = "MultiFidelityFacade"


class ParEgo(_Smac):
    """ParEGO (Knowles, 2006): random scalarisations of several objectives."""

    capabilities = replace(_NATIVE, multi_objective=True, single_objective=False)
    facade = "HyperparameterOptimizationFacade"

    def _more(self, scenario: Any) -> dict[str, Any]:
        from smac.multi_objective.parego import ParEGO

        return {"multi_objective_algorithm": ParEGO(scenario)}


class PiBo(_Smac):
    """piBO (Hvarfner et al., 2022): the acquisition weighted by the task's prior, whose weight
    decays as ``decay`` over the trial's number; a tenth of the trials, as SMAC advises.
    """

    capabilities = replace(_NATIVE, priors="needs")
    facade = "HyperparameterOptimizationFacade"

    def __init__(
        self, task: TaskDescription, seed: int, decay: float | None = None, **options: Any
    ) -> None:
        self._decay = decay
        super().__init__(task, seed, **options)

    def _more(self, scenario: Any) -> dict[str, Any]:
        from smac import HyperparameterOptimizationFacade as Facade
        from smac.acquisition.function import PriorAcquisitionFunction

        acquisition = PriorAcquisitionFunction(
            acquisition_function=Facade.get_acquisition_function(scenario),
            decay_beta=self._decay or scenario.n_trials / 10,
            discretize=True,  # a random forest wants a piecewise constant acquisition
        )
        return {"acquisition_function": acquisition}
