"""What crosses the pipe, as JSON values: task descriptions, trials, results."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import nullcontext
from dataclasses import asdict, fields
from typing import Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.interface import Exhausted
from carps_like.seeds import GlobalSeeds
from carps_like.space import Checker, Param, SpaceData
from carps_like.trial import Result, Status, Trial, proposed

Message = dict[str, Any]
_PLAIN = frozenset({"name", "collection", "kind", "noisy", "stateful", "has_priors", "unit_cost"})


def task_data(task: TaskDescription) -> Message:
    """A description with its space, without what only evaluating it needs."""
    data = task.checker.data
    return {
        "plain": {
            f.name: getattr(task, f.name)
            for f in fields(task)
            if f.name in _PLAIN or f.name.startswith("n_")
        },
        "objectives": [asdict(o) for o in task.objectives],
        "fidelity": asdict(task.fidelity) if task.fidelity else None,
        "constraints": list(task.constraints),
        "budget": task.budget.data(),
        "params": [asdict(p) for p in data.params],
        "conditions": dict(data.conditions),
        "forbidden": [list(pair) for pair in data.forbidden],
        "space": task.space.to_serialized_dict(),
    }


def task_of(data: Message) -> TaskDescription:
    """The inverse of :func:`task_data`; ``space`` needs ConfigSpace, the rest does not."""
    serialized = data["space"]

    def make_space() -> Any:
        from ConfigSpace import ConfigurationSpace

        return ConfigurationSpace.from_serialized_dict(serialized)

    task = TaskDescription(
        make_space=make_space,
        objectives=tuple(Objective(**o) for o in data["objectives"]),
        fidelity=Fidelity(**data["fidelity"]) if data["fidelity"] else None,
        constraints=tuple(data["constraints"]),
        budget=Budget(**data["budget"]),
        **data["plain"],
    )
    params = tuple(Param(**{k: _tuple(v) for k, v in p.items()}) for p in data["params"])
    forbidden = tuple((text, rule) for text, rule in data["forbidden"])
    space = SpaceData(params, data["conditions"], forbidden)
    # where ConfigSpace is missing or old, the checker is made from the plain data
    vars(task)["checker"] = Checker(space, task.name)
    return task


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def result_data(result: Result) -> Message:
    """A result without its state, which does not leave the process."""
    return {
        "values": result.values,
        "cost": result.cost,
        "status": str(result.status),
        "constraints": result.constraints,
    }


class Served:
    """One optimizer on the server's side of the pipe."""

    def __init__(self, message: Message) -> None:
        self._task = task_of(message["task"])
        adapter = _adapter(message["target"], message["file"])
        if adapter.capabilities.global_seeds and importlib.util.find_spec("torch"):
            importlib.import_module("torch")  # or its generator would be missed the first time
        seeds: Any = GlobalSeeds(message["seed"])
        self._seeded = seeds if adapter.capabilities.global_seeds else nullcontext
        with self._seeded():
            self.optimizer = adapter(self._task, message["seed"], **message["options"])
        self._open: dict[int, Trial] = {}
        self._asked = 0

    def ask(self) -> Message:
        """The trial with its number, or ``wait``, or ``exhausted``."""
        try:
            with self._seeded():
                trial = proposed(self.optimizer.ask())
        except Exhausted:
            return {"exhausted": True}
        if trial is None:
            return {"wait": True}
        number = self._asked
        self._asked += 1
        self._open[number] = trial
        return {
            "number": number,
            "config": trial.config,
            "fidelity": trial.fidelity,
            "continues": trial.continues,
            "info": trial.info,
        }

    def tell(self, number: int, data: Message) -> None:
        names = [o.name for o in self._task.objectives]
        values = tuple(data["values"])
        signs = [sign for _, sign in self._task.directions]
        declared = [s * v for s, v in zip(signs, values, strict=True)]
        result = Result(
            dict(zip(names, declared, strict=True)),
            values,
            data["cost"],
            Status(data["status"]),
            constraints=tuple(data["constraints"]),
        )
        with self._seeded():
            self.optimizer.tell(self._open.pop(number), result)


def _adapter(target: str, file: str) -> Any:
    """The adapter class; a module of someone else's is loaded from its file."""
    module, _, name = target.rpartition(".")
    if module not in sys.modules and not module.startswith("carps_like."):
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None and spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    return getattr(importlib.import_module(module), name)
