"""Few tasks that speak for all: select, prove and check subsets of tasks."""

from __future__ import annotations

from carps_like.analysis.subset.discrepancy import Discrepancy, star_discrepancy
from carps_like.analysis.subset.files import Part, SubsetFile, load, save
from carps_like.analysis.subset.making import make
from carps_like.analysis.subset.methods import METHODS, choose
from carps_like.analysis.subset.performance import SCALES, points, values
from carps_like.analysis.subset.proof import prove
from carps_like.analysis.subset.selection import Selection, select
from carps_like.analysis.subset.splitting import split
from carps_like.analysis.subset.validation import (
    agreement,
    leave_one_out,
    mean_ranks,
    random_agreements,
    surviving_conclusions,
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
    "make",
    "mean_ranks",
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
