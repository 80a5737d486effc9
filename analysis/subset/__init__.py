"""Few tasks that speak for all: select, prove and check subsets of tasks.

Names are imported when they are used: reading a subset file needs neither numba nor scipy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carps_like.analysis.subset.conclusions import mixed_model_verdicts, surviving_conclusions
    from carps_like.analysis.subset.discrepancy import Discrepancy, star_discrepancy
    from carps_like.analysis.subset.files import Part, SubsetFile, load, load_subset, save
    from carps_like.analysis.subset.making import make
    from carps_like.analysis.subset.methods import METHODS, choose
    from carps_like.analysis.subset.performance import SCALES, log_regret, points, values
    from carps_like.analysis.subset.proof import prove
    from carps_like.analysis.subset.selection import Selection, select
    from carps_like.analysis.subset.splitting import split
    from carps_like.analysis.subset.validation import (
        agreement,
        leave_one_out,
        mean_ranks,
        random_agreements,
        validate,
    )

__all__ = [
    "METHODS",
    "SCALES",
    "Discrepancy",
    "Part",
    "Selection",
    "SubsetFile",
    "agreement",
    "choose",
    "leave_one_out",
    "load",
    "load_subset",
    "log_regret",
    "make",
    "mean_ranks",
    "mixed_model_verdicts",
    "points",
    "prove",
    "random_agreements",
    "save",
    "select",
    "split",
    "star_discrepancy",
    "surviving_conclusions",
    "validate",
    "values",
]

_HOME = {
    name: module
    for module, names in {
        "conclusions": ("mixed_model_verdicts", "surviving_conclusions"),
        "discrepancy": ("Discrepancy", "star_discrepancy"),
        "files": ("Part", "SubsetFile", "load", "load_subset", "save"),
        "making": ("make",),
        "methods": ("METHODS", "choose"),
        "performance": ("SCALES", "log_regret", "points", "values"),
        "proof": ("prove",),
        "selection": ("Selection", "select"),
        "splitting": ("split",),
        "validation": ("agreement", "leave_one_out", "mean_ranks", "random_agreements", "validate"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
