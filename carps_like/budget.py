"""How much a run may spend, and what one trial costs. See docs/budgets.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from carps_like.errors import BadValue, UnknownName


@dataclass(frozen=True)
class Budget:
    """Whichever of the given amounts is spent first ends the run; ``None`` is no limit.

    The trial that crosses a line is still evaluated, logged, and marked ``over_budget``.
    """

    trials: int | None = None
    evaluations: float | None = None  # full-fidelity equivalents
    simulated_seconds: float | None = None  # on the virtual clock
    wall_seconds: float | None = None  # real time: the run is not reproducible then
    continuation: bool = False  # a configuration at a higher fidelity pays the difference only

    def __post_init__(self) -> None:
        for name in ("trials", "evaluations", "simulated_seconds", "wall_seconds"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadValue(f"budget.{name} must be a number, not {value!r}")
            if not 0 < value < math.inf:
                raise BadValue(f"budget.{name} must be above 0 and finite, not {value!r}")
        if self.trials is not None:
            if self.trials != int(self.trials):
                raise BadValue(f"budget.trials must be a whole number, not {self.trials!r}")
            object.__setattr__(self, "trials", int(self.trials))
        for name in ("evaluations", "simulated_seconds", "wall_seconds"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else float(value))
        if not isinstance(self.continuation, bool):
            raise BadValue(f"budget.continuation must be true or false, not {self.continuation!r}")

    @property
    def limited(self) -> bool:
        return any(
            amount is not None
            for amount in (self.trials, self.evaluations, self.simulated_seconds, self.wall_seconds)
        )

    @classmethod
    def of(cls, data: Mapping[str, Any], default: Budget) -> Budget:
        """The budget that ``data`` asks for; the task's ``default`` where it names no amount.

        Raises:
            UnknownName: a key that is none of the fields.
            BadValue: an amount that is not a number above zero.
        """
        known = [f.name for f in fields(cls)]
        for key in data:
            if key not in known:
                raise UnknownName("budget", str(key), known, f"there are {', '.join(known)}")
        given = {k: v for k, v in data.items() if v is not None}
        budget = cls(**given)
        if budget.limited:
            return budget
        return cls(
            default.trials,
            default.evaluations,
            default.simulated_seconds,
            default.wall_seconds,
            budget.continuation,
        )

    def data(self) -> dict[str, Any]:
        """The amounts that are set, as JSON values."""
        return {
            f.name: v for f in fields(self) if (v := getattr(self, f.name)) not in (None, False)
        }
