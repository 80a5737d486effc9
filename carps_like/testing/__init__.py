"""Checks that optimizers and tasks of this project and of others must pass.

``carps-like check my_module:MyOptimizer`` runs them from the command line. See docs/optimizers.md.
"""

from __future__ import annotations

from carps_like.testing.conformance import QUICK, Check, Effort, check_optimizer, checks_for
from carps_like.testing.known import KNOWN

__all__ = ["KNOWN", "QUICK", "Check", "Effort", "check_optimizer", "checks_for"]
