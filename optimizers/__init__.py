"""Optimizer adapters, one module per library."""
