"""Simulated results with a known truth, to check what an analysis says about them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def experiment(
    rng: np.random.Generator,
    *,
    tasks: int = 12,
    optimizers: int = 3,
    seeds: int = 10,
    task_sd: float = 3.0,
    interaction_sd: float = 0.35,
    seed_sd: float = 0.0,
    effect: float = 0.0,
    missing: float = 0.0,
    drop_task_of_last: bool = False,
) -> pd.DataFrame:
    """Final values of runs whose noise within a task and optimizer has standard deviation one.

    Args:
        rng: source of randomness.
        tasks, optimizers, seeds: size of the grid.
        task_sd: standard deviation of the tasks' levels.
        interaction_sd: standard deviation of what an optimizer gains or loses on a single task;
            zero on average, so optimizers do not differ unless ``effect`` says so.
        seed_sd: standard deviation of what all optimizers share under one seed of a task.
        effect: added to the first optimizer's values.
        missing: share of runs left out at random.
        drop_task_of_last: the last optimizer did not run the last task.

    Returns:
        One row per run: optimizer, task, seed, value.
    """
    shape = (tasks, optimizers, seeds)
    value = task_sd * rng.normal(size=(tasks, 1, 1))
    value = value + interaction_sd * rng.normal(size=(tasks, optimizers, 1))
    value = value + seed_sd * rng.normal(size=(tasks, 1, seeds)) + rng.normal(size=shape)
    value[:, 0] += effect
    task, optimizer, seed = (axis.ravel() for axis in np.indices(shape))
    names = np.array([f"optimizer-{i}" for i in range(optimizers)])
    labels = np.array([f"task-{i:03}" for i in range(tasks)])
    frame = pd.DataFrame(
        {
            "optimizer": names[optimizer],
            "task": labels[task],
            "seed": seed,
            "value": value.ravel(),
        }
    )
    keep = rng.random(len(frame)) >= missing
    if drop_task_of_last:
        keep &= ~((task == tasks - 1) & (optimizer == optimizers - 1))
    return frame[keep].reset_index(drop=True)
