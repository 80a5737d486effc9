"""Benchmark N hyperparameter optimizers on M tasks, and say which differences are real."""

__version__ = "0.1.0"
