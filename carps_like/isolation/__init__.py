"""Optimizers whose packages conflict with the rest: an interpreter of their own, over a pipe."""

from __future__ import annotations

from carps_like.isolation.client import Remote
from carps_like.isolation.environment import Environment

__all__ = ["Environment", "Remote"]
