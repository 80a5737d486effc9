"""Final performance: the best value of every run at the end of its budget."""

from __future__ import annotations

import numpy as np
import pandas as pd

from carps_like.analysis.anytime import Axis, Incumbent, incumbents
from carps_like.analysis.frames import Results, numbers, text


def final(
    results: Results, *, axis: Axis = "trials", incumbent: Incumbent = "full"
) -> pd.DataFrame:
    """The incumbent of every run when its budget is spent.

    Which trials count, ``axis`` and ``incumbent`` are as in `anytime.incumbents`.

    Returns:
        One row per run, ordered by task, optimizer and seed: run_id, optimizer, task, seed,
        status, measure (value or hypervolume), value (minimised; the hypervolume with its sign
        turned; nan where no trial counts), trial (number of the trial that reached it first, -1
        where none did), reference (point of the hypervolume, minimised; None with one objective),
        reference_source, n_trials, n_failed (trials), budget_used (full-fidelity equivalents),
        end (simulated seconds).
    """
    found = incumbents(results, axis=axis, incumbent=incumbent)
    trials = results.trials
    frame = found.runs[["run_id", "optimizer", "task", "seed", "status", "measure"]].copy()
    counts = np.diff(found.starts)
    some = counts > 0
    last = np.where(some, found.starts[1:] - 1, 0)
    best = np.append(found.best, np.nan)
    frame["value"] = np.where(some, best[last], np.nan)
    reached = np.isclose(best[:-1], frame["value"].to_numpy()[found.run], rtol=0, atol=0)
    number = numbers(trials["trial"])[found.row]
    first = pd.Series(number[reached]).groupby(found.run[reached]).first()
    frame["trial"] = first.reindex(range(len(frame)), fill_value=-1).to_numpy(dtype=int)
    points = [found.references.get(task, (None, "")) for task in frame["task"]]
    frame["reference"] = pd.Series([point for point, _ in points], dtype=object)
    frame["reference_source"] = [source for _, source in points]
    frame["n_trials"] = counts
    bad = (text(trials["status"]) != "ok").to_numpy()[found.row]
    frame["n_failed"] = np.bincount(found.run, weights=bad, minlength=len(frame)).astype(int)
    for name in ("budget_used", "end"):
        spent = pd.Series(numbers(trials[name])[found.row]).groupby(found.run).max()
        frame[name] = spent.reindex(range(len(frame)), fill_value=0.0).to_numpy()
    return frame
