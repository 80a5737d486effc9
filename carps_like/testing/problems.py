"""Small tasks with known answers, one per thing that an optimizer may claim to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription, describe
from carps_like.interface import Capabilities, Task
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_CENTERS = {"u": 0.0, "v": 1.0, "w": 2.0}
_SIZES = ("small", "middle", "large")
_CENTER = 1.7  # of the quadratic, in [-5, 5] per dimension


def quadratic_space(priors: bool = False, center: float = 0.5) -> ConfigurationSpace:
    """Five floats in [-5, 5]; with priors, normal ones around ``center``."""
    from ConfigSpace import ConfigurationSpace, Float, NormalFloatHyperparameter

    space = ConfigurationSpace()
    for i in range(5):
        normal = NormalFloatHyperparameter(f"x{i}", center, 2.0, -5.0, 5.0)
        space.add(normal if priors else Float(f"x{i}", (-5.0, 5.0)))
    return space


def mixed_space(can: Capabilities, conditional: bool = False) -> ConfigurationSpace:
    """Every type that ``can`` names, log scales, a constant; with conditions and clauses too."""
    import ConfigSpace as cs

    space = cs.ConfigurationSpace()
    if can.continuous:
        space.add(cs.Float("rate", (1e-4, 1.0), log=can.log), cs.Float("share", (0.0, 1.0)))
    if can.integer:
        space.add(cs.Integer("units", (1, 1024), log=can.log), cs.Integer("depth", (1, 9)))
    if can.categorical:
        space.add(cs.Categorical("kind", list(_CENTERS)))
    if can.ordinal:
        space.add(cs.OrdinalHyperparameter("size", list(_SIZES)))
    space.add(cs.Constant("fixed", 3))
    if not conditional:
        return space
    if can.conditions != "no" and can.categorical and can.continuous and can.integer:
        space.add(cs.EqualsCondition(space["share"], space["kind"], "v"))
        space.add(cs.InCondition(space["depth"], space["kind"], ["u", "v"]))
    if can.forbidden != "no" and can.categorical and can.ordinal:
        clauses = [
            cs.ForbiddenEqualsClause(space["kind"], "w"),
            cs.ForbiddenEqualsClause(space["size"], "large"),
        ]
        space.add(cs.ForbiddenAndConjunction(*clauses))
    return space


def quadratic(config: Configuration) -> float:
    """Separable, 0 at ``x = 1.7``."""
    return sum((float(v) - _CENTER) ** 2 for v in config.values())


def opposite(config: Configuration) -> float:
    """Separable, 0 at ``x = -1.7``: the second objective."""
    return sum((float(v) + _CENTER) ** 2 for v in config.values())


def mixed(config: Configuration) -> float:
    """Something of every hyperparameter of :func:`mixed_space`."""
    import math

    value = abs(math.log10(float(config.get("rate", 0.01))) + 2.0)
    value += abs(float(config.get("share", 0.3)) - 0.3)
    value += abs(math.log2(float(config.get("units", 8))) - 3.0)
    value += abs(float(config.get("depth", 4)) - 4.0) / 4.0
    value += _CENTERS[str(config.get("kind", "v"))]
    return value + _SIZES.index(str(config.get("size", "small")))


class Problem(Task):
    """A function of the configuration as a task; a lower fidelity adds a bias, up to 1.

    ``fails`` names the trials (0, 1, ...) whose evaluation raises.
    """

    def __init__(
        self,
        description: TaskDescription,
        functions: tuple[Callable[[Configuration], float], ...],
        fails: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.description, self.functions, self.fails = description, functions, fails
        self.count = 0

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        number, self.count = self.count, self.count + 1
        if self.fails(number):
            raise RuntimeError("a failure on purpose")
        declared = self.description.fidelity
        bias = 0.0 if declared is None else 1.0 - declared.share(fidelity)
        names = [o.name for o in self.description.objectives]
        values = {n: f(config) + bias for n, f in zip(names, self.functions, strict=True)}
        limits = (values[names[0]] - 40.0,) if self.description.constraints else ()
        return Outcome(values, constraints=limits, state=number)


def problems(
    can: Capabilities, n_trials: int, fails: Callable[[int], bool] = lambda number: False
) -> dict[str, Problem]:
    """The tasks that an optimizer with these capabilities claims to take, by name."""

    found: dict[str, Problem] = {}

    def add(name: str, space: ConfigurationSpace, *functions: Any, **declared: Any) -> None:
        limits: dict[str, Any] = {"lower": 0.0, "upper": 250.0} if can.ranges else {}
        goals = tuple(Objective(f"goal{i}", penalty=1e3, **limits) for i in range(len(functions)))
        description = describe(name, space, goals, budget=Budget(trials=n_trials), **declared)
        if can.fidelity == "needs" or name.endswith("fidelity"):
            fidelity = Fidelity("epochs", 1, 27, integer=True)
            description = replace(description, fidelity=fidelity, stateful=True)
        if not can.problem(description):
            found[name] = Problem(description, functions, fails)

    priors: dict[str, Any] = {"has_priors": True} if can.priors != "no" else {}
    plain = quadratic_space(priors=can.priors == "needs")
    two = (quadratic, opposite)
    if can.single_objective:
        add("continuous", plain, quadratic, **priors)
        if can.fidelity == "yes":
            add("fidelity", plain, quadratic, **priors)
        if can.constraints:
            add("constrained", plain, quadratic, constraints=("limit",), **priors)
        if can.priors != "needs":
            add("mixed", mixed_space(can), mixed)
            add("conditional", mixed_space(can, conditional=True), mixed)
    if can.multi_objective:
        add("multi-objective", plain, *two, **priors)
        if not can.single_objective and can.priors != "needs":
            add("mixed multi-objective", mixed_space(can), mixed, lambda c: -mixed(c))
    return found
