"""Does a subset of tasks rank the optimizers as the full set does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from carps_like.analysis.subset.methods import METHODS, Method, choose
from carps_like.errors import BadValue, UnknownName


def mean_ranks(values: pd.DataFrame, tasks: Sequence[str] | None = None) -> pd.Series:
    """Mean rank of each optimizer (1 is best, ties averaged) over ``tasks`` of ``values``.

    ``values``: (tasks, optimizers), smaller is better.
    """
    return _rank_table(values).loc[list(values.index if tasks is None else tasks)].mean()


def agreement(full: pd.Series, subset: pd.Series) -> dict[str, float]:
    """Kendall's tau-b and Spearman's rho of two rankings of the same optimizers.

    NaN for fewer than two optimizers, and where all of them are tied on either side.
    """
    if min(full.nunique(), subset.nunique()) < 2:
        return {"kendall": np.nan, "spearman": np.nan}
    return {
        "kendall": float(stats.kendalltau(full, subset).statistic),
        "spearman": float(stats.spearmanr(full, subset).statistic),
    }


def validate(
    values: Mapping[float, pd.DataFrame],
    spanning: Sequence[str],
    subsets: Mapping[str, Sequence[str]],
    n_random: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of the optimizers' ranking on each subset with that on the full set.

    ``values``: per budget the frame of ``values(results, ...)`` for all optimizers. ``subsets``:
    task names per method. For every subset size that occurs, ``n_random`` random subsets give the
    row "random" (medians) and the distribution the others are measured against.

    Returns one row per budget, method and group ("spanning", "held-out", "all"): columns budget,
    method, k, group, kendall, spearman, beats (share of random subsets with a smaller kendall,
    ties half). A ranking that is constant has agreement NaN.
    """
    rows = []
    for budget, table in values.items():
        _check(table, spanning, subsets)
        ranks = _rank_table(table)
        for group, names in _groups(table, spanning).items():
            full = ranks[names].mean()
            for k in sorted({len(tasks) for tasks in subsets.values()}):
                chance = _random_agreement(ranks[names], full, k, n_random, seed)
                rows.append(
                    {
                        "budget": budget, "method": "random", "k": k, "group": group,
                        "kendall": chance["kendall"].median(),
                        "spearman": chance["spearman"].median(),
                        "beats": 0.5,
                    }
                )  # fmt: skip
                for method, tasks in subsets.items():
                    if len(tasks) == k:
                        found = agreement(full, ranks.loc[list(tasks), names].mean())
                        rows.append(
                            {
                                "budget": budget, "method": method, "k": k, "group": group,
                                **found, "beats": _beats(found["kendall"], chance["kendall"]),
                            }
                        )  # fmt: skip
    return pd.DataFrame(rows)


def random_agreements(
    values: pd.DataFrame, optimizers: Sequence[str], k: int, n: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Agreement of ``n`` random subsets of ``k`` tasks: columns kendall, spearman."""
    ranks = _rank_table(values)[list(optimizers)]
    return _random_agreement(ranks, ranks.mean(), k, n, seed)


def leave_one_out(
    values: pd.DataFrame,
    points: pd.DataFrame,
    k: int,
    methods: Sequence[Method] = METHODS,
    n_random: int = 1000,
    seed: int = 0,
    evaluations: int = 20_000,
) -> pd.DataFrame:
    """For every optimizer: does a subset chosen without it still place it right?

    ``values``: (tasks, optimizers) of all optimizers; ``points``: (tasks, spanning optimizers). An
    optimizer of the spanning set is taken out of it and the subset chosen again. Its placement is
    right to the extent of the share of other optimizers to which it compares (better or worse in
    mean rank) on the subset as on the full set. For "random" it is the mean over ``n_random``.

    Returns one row per optimizer and method: columns optimizer, method, spanning, agreement (in
    [0, 1]), rank_full, rank_subset (mean ranks; NaN for random).
    """
    if list(points.index) != list(values.index):
        raise BadValue("values and points must have the same tasks in the same order")
    ranks = _rank_table(values)
    chosen: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
    rows = []
    for name in values.columns:
        left = tuple(column for column in points.columns if column != name)
        if not left:
            raise BadValue(f"the spanning set is {name!r} alone: nothing is left without it")
        for method in methods:
            if method == "random":
                share, mean = _random_placement(ranks, name, k, n_random, seed), np.nan
            else:
                key = (method, left)
                if key not in chosen:
                    chosen[key] = choose(points[list(left)], k, method, seed, evaluations)
                part = ranks.iloc[list(chosen[key])]
                share, mean = float(_placement(ranks, part, name)), float(part[name].mean())
            rows.append(
                {
                    "optimizer": name, "method": method, "spanning": name in points.columns,
                    "agreement": share, "rank_full": float(ranks[name].mean()),
                    "rank_subset": mean,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _rank_table(values: pd.DataFrame) -> pd.DataFrame:
    return values.rank(axis=1, method="average")


def _groups(values: pd.DataFrame, spanning: Sequence[str]) -> dict[str, list[str]]:
    held_out = [name for name in values.columns if name not in set(spanning)]
    groups = {"spanning": list(spanning), "held-out": held_out, "all": list(values.columns)}
    return {group: names for group, names in groups.items() if len(names) >= 2}


def _random_subsets(n: int, k: int, times: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.argsort(rng.random((times, n)), axis=1)[:, :k]


def _random_agreement(
    ranks: pd.DataFrame, full: pd.Series, k: int, times: int, seed: int
) -> pd.DataFrame:
    table = ranks.to_numpy()
    means = table[_random_subsets(len(table), k, times, seed)].mean(axis=1)
    return pd.DataFrame([agreement(full, pd.Series(row)) for row in means])


def _beats(value: float, chance: pd.Series) -> float:
    if np.isnan(value):
        return np.nan
    return float((chance < value).mean() + (chance == value).mean() / 2)


def _placement(ranks: pd.DataFrame, part: pd.DataFrame, name: str) -> float:
    others = [column for column in ranks.columns if column != name]
    full = np.sign(ranks[others].mean() - ranks[name].mean())
    here = np.sign(part[others].mean() - part[name].mean())
    return float((full == here).mean())


def _random_placement(ranks: pd.DataFrame, name: str, k: int, times: int, seed: int) -> float:
    table, at = ranks.to_numpy(), list(ranks.columns).index(name)
    others = np.delete(np.arange(table.shape[1]), at)
    full = np.sign((table[:, others] - table[:, [at]]).mean(axis=0))
    picked = table[_random_subsets(len(table), k, times, seed)].mean(axis=1)
    return float((np.sign(picked[:, others] - picked[:, [at]]) == full).mean())


def _check(
    values: pd.DataFrame, spanning: Sequence[str], subsets: Mapping[str, Sequence[str]]
) -> None:
    for name in spanning:
        if name not in values.columns:
            raise UnknownName("spanning optimizer", name, values.columns)
    for method, tasks in subsets.items():
        for task in tasks:
            if task not in values.index:
                raise UnknownName(f"task of subset {method!r}", task, values.index.astype(str))
