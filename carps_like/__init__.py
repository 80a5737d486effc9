"""Benchmark N hyperparameter optimizers on M tasks, and say which differences are real."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from carps_like.description import Fidelity, Objective, TaskDescription, describe
    from carps_like.errors import CarpsLikeError
    from carps_like.interface import Capabilities, Exhausted, Optimizer, Task
    from carps_like.registry import Collection, optimizer, task
    from carps_like.results import Results, load
    from carps_like.session import run
    from carps_like.trial import Outcome, Result, Status, Trial

_HOMES = {
    "Capabilities": "interface",
    "CarpsLikeError": "errors",
    "Collection": "registry",
    "Exhausted": "interface",
    "Fidelity": "description",
    "Objective": "description",
    "Optimizer": "interface",
    "Outcome": "trial",
    "Result": "trial",
    "Status": "trial",
    "Task": "interface",
    "TaskDescription": "description",
    "Trial": "trial",
    "describe": "description",
    "load": "results",
    "Results": "results",
    "run": "session",
    "optimizer": "registry",
    "task": "registry",
}
__all__ = [
    "Capabilities",
    "CarpsLikeError",
    "Collection",
    "Exhausted",
    "Fidelity",
    "Objective",
    "Optimizer",
    "Outcome",
    "Result",
    "Results",
    "Status",
    "Task",
    "TaskDescription",
    "Trial",
    "describe",
    "load",
    "optimizer",
    "run",
    "task",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: `import carps_like` costs a millisecond."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"carps_like.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'carps_like' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
