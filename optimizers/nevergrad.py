"""Nevergrad's optimizers by their registered names (Rapin and Teytaud, 2018).

The space becomes a ``Dict`` of ``Scalar``, ``Log``, ``Choice`` and ``TransitionChoice``; a
conditional one is flattened. A forbidden proposal is told with the worst values so far.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, no_legal
from carps_like.space import Cube, Param
from carps_like.trial import Result, Trial, Value


def parameter(param: Param) -> Any:
    """The hyperparameter as one of Nevergrad's."""
    import nevergrad as ng

    if param.kind == "categorical":
        return ng.p.Choice(list(range(len(param.choices))))
    if param.kind == "ordinal":
        return ng.p.TransitionChoice(list(range(len(param.choices))))
    kind = ng.p.Log if param.log else ng.p.Scalar
    scalar = kind(lower=param.lower, upper=param.upper)
    return scalar.set_integer_casting() if param.kind == "int" else scalar


def value(param: Param, x: Any) -> Value:
    """Back again; rounding in the logarithm may leave the bounds by a digit."""
    if param.choices:
        return param.choices[int(x)]
    inside = min(param.upper, max(param.lower, x))
    return int(inside) if param.kind == "int" else float(inside)


class Nevergrad(Optimizer):
    """``optimizer`` is a name of ``nevergrad.optimizers.registry``."""

    capabilities = Capabilities(global_seeds=True, learns=300)
    requires = ("nevergrad",)
    extra = "nevergrad"

    def __init__(self, task: TaskDescription, seed: int, optimizer: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nevergrad as ng
        self._cube = Cube(task.checker)
        space = ng.p.Dict(**{f"p{i}": parameter(p) for i, p in enumerate(self._cube.params)})
        space.random_state.seed(seed % 2**32)
        space.function.deterministic = not task.noisy
        registry = ng.optimizers.registry
        if optimizer not in registry:
            raise BadValue(
                f"nevergrad has no optimizer {optimizer!r}{did_you_mean(optimizer, registry)}"
            )
        budget = task.budget.trials if self.capabilities.needs_trials else None
        self._optimizer = registry[optimizer](space, budget=budget, num_workers=1)
        self._worst: tuple[float, ...] | None = None

    def ask(self) -> Trial:
        for _ in range(TRIES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                candidate = self._optimizer.ask()
            found = candidate.value
            config = self._cube.complete(
                {p.name: value(p, found[f"p{i}"]) for i, p in enumerate(self._cube.params)}
            )
            if not self._cube.checker.forbidden(config):
                return Trial(config, tag=candidate)
            if self._worst is not None:
                self._tell(candidate, self._worst)
        raise no_legal(self._cube.checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        before = self._worst or result.values
        self._worst = tuple(map(max, before, result.values))
        self._tell(trial.tag, result.values, result.constraints)

    def _tell(self, candidate: Any, values: Any, constraints: tuple[float, ...] = ()) -> None:
        loss = values[0] if len(values) == 1 else list(values)
        extra = [list(constraints)] if constraints and self.capabilities.constraints else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell(candidate, loss, *extra)

    def close(self) -> None:
        """End the threads in which Nevergrad runs optimizers that have no ask and tell."""
        inside = [self._optimizer]
        while inside:
            one = inside.pop()
            thread = getattr(one, "_messaging_thread", None)
            if thread is not None:
                thread.stop()
                thread._thread.join(timeout=5.0)
            inside += [x for x in (getattr(one, "_optim", None),) if x is not None]
            inside += list(getattr(one, "optims", None) or [])


class NevergradPlanned(Nevergrad):
    """Those that choose their method by dimension, types and number of trials: NGOpt and kin.

    What they choose may run in a thread that answers one ask at a time.
    """

    capabilities = Capabilities(
        noise=True, needs_trials=True, parallel=False, seeded=False, global_seeds=True
    )

    def __init__(self, task: TaskDescription, seed: int, optimizer: str) -> None:
        super().__init__(task, seed, optimizer)
        warnings.filterwarnings("ignore", "COBYLA", UserWarning)  # that thread outlives an ask


class NevergradNoisy(Nevergrad):
    """TBPSA (Hellwig and Beyer, 2016), whose population grows where noise hides the progress."""

    capabilities = replace(Nevergrad.capabilities, noise=True)


class NevergradMany(Nevergrad):
    """Several objectives: Nevergrad tells its optimizers a hypervolume-based loss."""

    capabilities = Capabilities(multi_objective=True, single_objective=False, global_seeds=True)
