"""pymoo's algorithms (Blank and Deb, 2020), asked and told one generation at a time.

Real-coded algorithms work on the unit cube of the space; ``MixedVariableGA`` gets integers and
choices as such. Constraint values reach the algorithms that read them as ``G <= 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Exhausted
from carps_like.optimizers._common import Generational, construct, values_of
from carps_like.space import Cube, Param
from carps_like.trial import Result, Value

_SINGLE = {
    "GA": "algorithms.soo.nonconvex.ga",
    "DE": "algorithms.soo.nonconvex.de",
    "PSO": "algorithms.soo.nonconvex.pso",
    "CMAES": "algorithms.soo.nonconvex.cmaes",
    "ES": "algorithms.soo.nonconvex.es",
    "SRES": "algorithms.soo.nonconvex.sres",
    "ISRES": "algorithms.soo.nonconvex.isres",
    "G3PCX": "algorithms.soo.nonconvex.g3pcx",
}
_MANY = {
    "NSGA2": "algorithms.moo.nsga2",
    "NSGA3": "algorithms.moo.nsga3",
    "UNSGA3": "algorithms.moo.unsga3",
    "SMSEMOA": "algorithms.moo.sms",
    "AGEMOEA": "algorithms.moo.age",
    "AGEMOEA2": "algorithms.moo.age2",
    "SPEA2": "algorithms.moo.spea2",
    "CTAEA": "algorithms.moo.ctaea",
}
_DIRECTED = ("NSGA3", "UNSGA3", "CTAEA")  # take reference directions


class _Pymoo(Generational):
    requires: ClassVar[tuple[str, ...]] = ("pymoo",)
    extra = "pymoo"
    algorithms: ClassVar[dict[str, str]]

    def __init__(self, task: TaskDescription, seed: int, algorithm: str, **options: Any) -> None:
        from pymoo.core.evaluator import Evaluator
        from pymoo.core.termination import NoTermination
        from pymoo.problems.static import StaticProblem

        self._evaluator, self._static = Evaluator, StaticProblem
        self._checker = task.checker
        self._cube = Cube(task.checker)
        self._constraints = len(task.constraints) if self.capabilities.constraints else 0
        self._problem = self._make_problem(len(task.objectives))
        self._algorithm = construct(self._class(algorithm), options, **self._fixed(task, algorithm))
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed)

    def _class(self, algorithm: str) -> Callable[..., Any]:
        if algorithm not in self.algorithms:
            hint = did_you_mean(algorithm, self.algorithms, f"one of {', '.join(self.algorithms)}")
            raise BadValue(f"pymoo has no algorithm {algorithm!r} here{hint}")
        module = import_module(f"pymoo.{self.algorithms[algorithm]}")
        found: Callable[..., Any] = getattr(module, algorithm)
        return found

    def _fixed(self, task: TaskDescription, algorithm: str) -> dict[str, Any]:
        return {}

    def _make_problem(self, n_objectives: int) -> Any:
        from pymoo.core.problem import Problem

        d = self._cube.dimension
        return Problem(
            n_var=d,
            n_obj=n_objectives,
            n_ieq_constr=self._constraints,
            xl=np.zeros(d),
            xu=np.ones(d),
        )

    def _propose(self) -> Sequence[Any]:
        self._population = self._algorithm.ask()
        if self._population is None:  # no offspring that was not there before
            raise Exhausted
        points: Sequence[Any] = self._population.get("X")
        return points

    def _config(self, point: Any) -> dict[str, Value]:
        return self._cube.config(point.tolist())

    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        told = {"F": np.array(values_of(results))}
        if self._constraints:
            known = [r.constraints for r in results if r is not None and r.constraints]
            worst = np.max(known, axis=0) if known else np.ones(self._constraints)
            told["G"] = np.array([_violation(r, worst) for r in results])
        static = self._static(self._problem, **told)
        self._evaluator().eval(static, self._population)
        self._algorithm.tell(infills=self._population)


def _violation(result: Result | None, worst: Any) -> Any:
    """Constraint values; those of a trial without any are the worst of its generation."""
    return result.constraints if result is not None and result.constraints else worst


class Pymoo(_Pymoo):
    """``algorithm``: GA, DE, PSO, ES, SRES, ISRES or G3PCX, one objective."""

    capabilities = Capabilities(min_dimension=2, learns=400)
    algorithms = _SINGLE


class PymooCmaes(Pymoo):
    """CMA-ES, which pymoo hands to the library cma: that one draws from the global generator."""

    capabilities = replace(Pymoo.capabilities, global_seeds=True)


class PymooConstrained(Pymoo):
    """Those of them that read constraint values: GA, DE, ES, SRES, ISRES."""

    capabilities = Capabilities(constraints=True, min_dimension=2, learns=400)


class PymooMany(_Pymoo):
    """``algorithm``: NSGA2, NSGA3, UNSGA3, SMSEMOA, AGEMOEA, AGEMOEA2, SPEA2 or CTAEA.

    Those with reference directions get ``n_partitions`` of Das and Dennis (1998): 99 with two
    objectives, 12 with three, fewer with more, so that there are about a hundred.
    """

    capabilities = Capabilities(
        multi_objective=True,
        single_objective=False,
        constraints=True,
        min_dimension=2,
        learns=600,
    )
    algorithms = _MANY

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        algorithm: str,
        n_partitions: int | None = None,
        **options: Any,
    ) -> None:
        self._partitions = n_partitions
        super().__init__(task, seed, algorithm, **options)

    def _fixed(self, task: TaskDescription, algorithm: str) -> dict[str, Any]:
        if algorithm not in _DIRECTED:
            return {}
        from pymoo.util.ref_dirs import get_reference_directions

        m = len(task.objectives)
        n = self._partitions or {2: 99, 3: 12, 4: 7, 5: 6}.get(m, 3)
        return {"ref_dirs": get_reference_directions("das-dennis", m, n_partitions=n)}


class PymooNumba(PymooMany):
    """AGE-MOEA and AGE-MOEA-II, whose survival is compiled by numba."""

    requires = ("pymoo", "numba")
    extra = "pymoo-numba"


class MixedVariable(_Pymoo):
    """Mixed-variable genetic algorithm; with several objectives it ranks as NSGA-II does."""

    capabilities = Capabilities(multi_objective=True, constraints=True, learns=400)
    algorithms: ClassVar[dict[str, str]] = {"MixedVariableGA": "core.mixed"}

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        super().__init__(task, seed, "MixedVariableGA", **options)

    def _fixed(self, task: TaskDescription, algorithm: str) -> dict[str, Any]:
        if len(task.objectives) == 1:
            return {}
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        return {"survival": RankAndCrowding()}

    def _make_problem(self, n_objectives: int) -> Any:
        from pymoo.core.problem import Problem

        variables = {p.name: _variable(p) for p in self._cube.params}
        return Problem(vars=variables, n_obj=n_objectives, n_ieq_constr=self._constraints)

    def _config(self, point: Any) -> dict[str, Value]:
        values = {p.name: _value(p, point[p.name]) for p in self._cube.params}
        return self._cube.complete(values)


def _variable(param: Param) -> Any:
    from pymoo.core.variable import Choice, Integer, Real

    if param.kind == "float":
        return Real(bounds=(0.0, 1.0))
    if param.kind == "int":
        return Integer(bounds=(int(param.lower), int(param.upper)))
    if param.kind == "ordinal":
        return Integer(bounds=(0, len(param.choices) - 1))
    return Choice(options=list(range(len(param.choices))))


def _value(param: Param, x: Any) -> Value:
    if param.kind == "float":
        return param.from_unit(float(x))
    return int(x) if param.kind == "int" else param.choices[int(x)]
