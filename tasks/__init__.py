"""Collections of tasks, one module each."""
