"""Few tasks that speak for all: select, prove and check subsets of tasks."""

from __future__ import annotations

from carps_like.analysis.subset.discrepancy import Discrepancy, star_discrepancy

__all__ = ["Discrepancy", "star_discrepancy"]
