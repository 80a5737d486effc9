"""Does a conclusion drawn on the full set survive on a subset?"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from carps_like.errors import BadValue

# tells, for each pair of optimizers, what a study on these tasks would conclude
Verdicts = Callable[[Sequence[str]], Mapping[tuple[str, str], object]]


def mixed_model_verdicts(responses: pd.DataFrame, level: float = 0.05) -> Verdicts:
    """Verdicts of a linear mixed model: the pairwise contrasts of optimizers, tasks as random.

    ``responses``: (tasks, optimizers), smaller is better, comparable between columns, for example
    ``log_regret(results, ...)``. A pair's verdict is "better", "worse" or "no difference" by its
    adjusted p-value at ``level``.
    """

    def verdicts(tasks: Sequence[str]) -> Mapping[tuple[str, str], object]:
        lmem = importlib.import_module("carps_like.analysis.lmem")
        wide = responses.loc[list(tasks)].rename_axis(index="task", columns="optimizer")
        frame = wide.reset_index().melt("task", value_name="response")
        contrasts = lmem.fit("response ~ optimizer + (1|task)", frame).contrasts(
            "optimizer", level=None
        )
        return {
            (str(row.left), str(row.right)): _verdict(row.estimate, row.p_adjusted, level)
            for row in contrasts.itertuples()
        }

    return verdicts


def _verdict(estimate: float, p: float, level: float) -> str:
    if not p < level:
        return "no difference"
    return "better" if estimate < 0 else "worse"


def surviving_conclusions(
    verdicts: Verdicts, tasks: Sequence[str], subsets: Mapping[int, Sequence[Sequence[str]]]
) -> pd.DataFrame:
    """Share of pairwise conclusions on the full set that subsets of each size repeat.

    ``verdicts``: from task names to a conclusion per pair of optimizers (for example "better",
    "worse" or "no difference": ``mixed_model_verdicts``). ``subsets``: per size the
    subsets to try. Returns columns k, share (mean over the subsets), lowest, n_subsets, n_pairs.
    """
    full = dict(verdicts(tasks))
    if not full:
        raise BadValue("verdicts gave no pair of optimizers on the full set")
    rows = []
    for k, tried in sorted(subsets.items()):
        shares = []
        for subset in tried:
            found = verdicts(subset)
            shares.append(float(np.mean([found.get(pair) == full[pair] for pair in full])))
        rows.append(
            {
                "k": k, "share": float(np.mean(shares)), "lowest": min(shares),
                "n_subsets": len(shares), "n_pairs": len(full),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
