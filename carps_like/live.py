"""Objects of the calling process in place of names: for `carps_like.run` in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carps_like.interface import Optimizer, Task


@dataclass(frozen=True)
class Live:
    """A class or a task that a worker process could not import."""

    optimizer: type[Optimizer] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    task: Task | None = None
