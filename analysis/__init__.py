"""Turn results into statements that hold: frames in, frames out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carps_like.analysis.comparison import Comparison, compare
    from carps_like.analysis.significance import analyze

_HOMES = {"compare": "comparison", "Comparison": "comparison", "analyze": "significance"}

__all__ = ["Comparison", "analyze", "compare"]


def __getattr__(name: str) -> Any:
    """Functions that need statistics libraries are imported when they are used."""
    if name in _HOMES:
        return getattr(import_module(f"carps_like.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
