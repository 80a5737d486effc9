"""What the collections of ``ioh`` share: one task class for all of its problem classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carps_like.interface import Task
from carps_like.tasks._spaces import names_of
from carps_like.trial import Configuration

if TYPE_CHECKING:
    from carps_like.description import TaskDescription
    from carps_like.trial import Outcome


class IohTask(Task):
    """One problem of ``ioh``; it counts calls and keeps the best, and neither is used here.

    ``metadata`` names the ``problem_class``, the ``function`` and the ``instance``. An objective
    called ``precision`` is f(x) - f(x_opt), any other the value itself.
    """

    def __init__(self, description: TaskDescription) -> None:
        import ioh

        self.description = description
        meta = description.metadata
        kind = ioh.ProblemClass[meta["problem_class"]]
        self._problem = ioh.get_problem(
            meta["function"], meta["instance"], description.dimension, kind
        )
        self._objective = description.objectives[0].name
        self._zero = self._problem.optimum.y if self._objective == "precision" else 0.0
        self._names = names_of(description.dimension)

    def __reduce__(self) -> Any:
        return IohTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome | dict[str, float]:
        value = self._problem([config[name] for name in self._names])
        return {self._objective: value - self._zero}
