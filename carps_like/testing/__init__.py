"""Checks that adapters of this project and of others must pass."""
