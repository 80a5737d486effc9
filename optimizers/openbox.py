"""OpenBox (Jiang et al., 2024) through its advisor.

It needs ConfigSpace 0.6, whose space is made here from plain data. Trials that failed are told as
failed. It writes nothing: its log and its history are turned off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import PATIENCE, TRIES, construct, no_legal
from carps_like.space import Checker, Param, Rule, Sampler, names_in
from carps_like.trial import Configuration, Result, Trial, Value


def old_space(checker: Checker) -> Any:
    """The space as ConfigSpace 0.6 has it: choices by position, conditions native."""
    from ConfigSpace import ConfigurationSpace

    space = ConfigurationSpace()
    for param in checker.params:
        if param.kind != "constant":
            space.add_hyperparameter(_parameter(param))
    for child, rule in checker.data.conditions.items():
        always = {p.name for p in checker.params if p.kind == "constant"}
        if checker.by_name[child].kind != "constant" and not always & set(names_in(rule)):
            space.add_condition(_condition(space, checker, child, rule))
    return space


def _parameter(param: Param) -> Any:
    from ConfigSpace import hyperparameters as hp

    if param.choices:
        places = list(range(len(param.choices)))
        kind = hp.OrdinalHyperparameter if param.kind == "ordinal" else hp.CategoricalHyperparameter
        default = {"default_value": param.choices.index(param.default)}
        return kind(param.name, places, **default)
    is_int = param.kind == "int"
    kind = hp.UniformIntegerHyperparameter if is_int else hp.UniformFloatHyperparameter
    return kind(param.name, param.lower, param.upper, log=param.log, default_value=param.default)


def _condition(space: Any, checker: Checker, child: str, rule: Rule) -> Any:
    from ConfigSpace import conditions as c

    if rule[0] in ("and", "or"):
        join = c.AndConjunction if rule[0] == "and" else c.OrConjunction
        return join(*(_condition(space, checker, child, part) for part in rule[1:]))
    operator, parent, value = rule[0], rule[1], rule[2]
    choices = checker.by_name[parent].choices
    place = choices.index if choices else lambda v: v
    ends = space.get_hyperparameter(child), space.get_hyperparameter(parent)
    if operator == "in":
        return c.InCondition(*ends, [place(v) for v in value])
    kinds = {
        "==": c.EqualsCondition,
        "!=": c.NotEqualsCondition,
        ">": c.GreaterThanCondition,
        "<": c.LessThanCondition,
    }
    return kinds[operator](*ends, place(value))


class _OpenBox(Optimizer):
    """One advisor; ``options`` go to its constructor."""

    requires = ("openbox",)
    advisor: ClassVar[str] = "Advisor"

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        import openbox
        from openbox.utils.constants import FAILED, SUCCESS

        self._states = {True: SUCCESS, False: FAILED}
        self._observation = openbox.Observation
        self._checker, self._sampler = task.checker, Sampler(task.checker, seed)
        self._space = old_space(task.checker)
        self._constraints = len(task.constraints) if self.capabilities.constraints else 0
        self._advisor = construct(
            getattr(openbox, self.advisor),
            options,
            config_space=self._space,
            random_state=seed % 2**31,
            logger_kwargs={"level": "ERROR", "logdir": None},
            **self._fixed(task),
        )
        self._worst = [0.0] * len(task.objectives)

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        return {}

    def _config(self, found: Any) -> dict[str, Value]:
        config: dict[str, Value] = {}
        values = found.get_dictionary()
        for param in self._checker.params:
            if not self._checker.is_active(param.name, config):
                continue
            if param.kind == "constant":
                config[param.name] = param.default
            elif values.get(param.name) is None:
                config[param.name] = param.default  # only switched on by a constant
            elif param.choices:
                config[param.name] = param.choices[int(values[param.name])]
            else:
                number = min(param.upper, max(param.lower, float(values[param.name])))
                config[param.name] = round(number) if param.kind == "int" else number
        return config

    def _encoded(self, config: Configuration) -> Any:
        from ConfigSpace import Configuration as Old

        values = {}
        for name, value in config.items():
            param = self._checker.by_name[name]
            if param.kind != "constant":
                values[name] = param.choices.index(value) if param.choices else value
        return Old(self._space, values=values)

    def ask(self) -> Trial | None:
        for attempt in range(TRIES):
            if attempt and attempt % PATIENCE == 0:
                config = self._sampler.sample()
                return Trial(config, tag=self._encoded(config))
            found = self._advisor.get_suggestion()
            config = self._config(found)
            if not self._checker.forbidden(config):
                return Trial(config, tag=found)
            self._update(found, self._worst, (1.0,) * self._constraints, ok=False)
        raise no_legal(self._checker.where)

    def tell(self, trial: Trial, result: Result) -> None:
        self._worst = [max(a, b) for a, b in zip(self._worst, result.values, strict=True)]
        constraints = result.constraints or (1.0,) * self._constraints
        self._update(trial.tag, result.values, constraints, result.ok)

    def _update(self, config: Any, values: Any, constraints: tuple[float, ...], ok: bool) -> None:
        more = {"constraints": list(constraints)} if self._constraints else {}
        self._advisor.update_observation(
            self._observation(config, list(values), trial_state=self._states[ok], **more)
        )


class OpenBox(_OpenBox):
    """Bayesian optimization: ``surrogate_type`` gp, prf (random forest) or auto; constraint
    values enter the acquisition.
    """

    capabilities = Capabilities(
        conditions="native", noise=True, constraints=True, parallel=False, global_seeds=True
    )

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        return {"num_constraints": self._constraints}


class Forest(OpenBox):
    """With a forest, which needs more trials than the GP before it is of use."""

    capabilities = replace(OpenBox.capabilities, noise=False, learns=200)


class OpenBoxMany(_OpenBox):
    """The same for several objectives: ParEGO."""

    capabilities = Capabilities(
        multi_objective=True,
        single_objective=False,
        conditions="native",
        noise=True,
        constraints=True,
        parallel=False,
        global_seeds=True,
    )

    def _fixed(self, task: TaskDescription) -> dict[str, Any]:
        m = len(task.objectives)
        fixed: dict[str, Any] = {"num_objectives": m, "num_constraints": self._constraints}
        point = task.reference_point
        return fixed | ({"ref_point": list(point)} if point else {})


class Evolution(_OpenBox):
    """OpenBox's regularised evolution."""

    capabilities = Capabilities(conditions="native", parallel=False, global_seeds=True)
    advisor = "EA_Advisor"


class Tpe(_OpenBox):
    """OpenBox's TPE; seen to propose differently for equal seeds, hence not deterministic."""

    capabilities = Capabilities(
        conditions="native", parallel=False, global_seeds=True, deterministic=False
    )
    advisor = "TPE_Advisor"
