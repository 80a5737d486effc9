"""Which optimizer is better: a comparison that is honest by default.

The unit of inference is the task: seeds of one task are repetitions, not new evidence about other
tasks, so the default model is ``value ~ optimizer + (1|task) + (1|task:optimizer)`` with
Kenward-Roger tests. Next to that answer for new tasks like these (*broad*) stands the one for
exactly these tasks (*narrow*), whose only error is the noise within a task and optimizer.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from carps_like.analysis import checks, lmem, wording
from carps_like.analysis.checks import Finding
from carps_like.analysis.tidy import SCALES, Policy, Scale, fill_missing, rescale, tidy_runs
from carps_like.errors import BadValue

MANY_TASKS = 40  # from here on leave-one-task-out looks at the most deviating tasks only


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; every table is a DataFrame, ``str()`` is the whole text."""

    contrasts: pd.DataFrame
    """Per pair: (level of ``by``), left, right, estimate, std_error, df, p_broad, p_adjusted,
    ci_low, ci_high (simultaneous), p_narrow, narrow_std_error, effect_size (estimate over the
    standard deviation of the tasks' differences) with effect_low and effect_high, tasks_won (share
    of tasks on which left is better)."""
    means: pd.DataFrame  # marginal means of the optimizers
    model: lmem.MixedModel
    checks: pd.DataFrame  # check, level, finding, offer
    coverage: pd.DataFrame  # optimizer, task, expected, present, missing
    multiverse: pd.DataFrame  # scale, interaction, left, right, estimate, p_adjusted, conclusion
    leave_one_out: pd.DataFrame  # left, right, lowest_p, highest_p, task_of_highest, changes
    frame: pd.DataFrame = field(repr=False)  # the tidy runs that were analysed
    scale: Scale
    adjust: str
    by: str | None
    minimise: bool
    alpha: float

    @property
    def n_tasks(self) -> int:
        """Number of tasks, the effective sample size for statements about new tasks."""
        return int(self.frame["task"].nunique())

    @property
    def paragraph(self) -> str:
        """The result in plain words."""
        return wording.paragraph(self)

    def __str__(self) -> str:
        return wording.report(self)


def compare(
    results: pd.DataFrame,
    *,
    value: str = "value",
    optimizer: str = "optimizer",
    task: str = "task",
    seed: str = "seed",
    budget: str | None = None,
    at_budget: float | None = None,
    run_term: bool = False,
    by: str | None = None,
    scale: Scale = "value",
    optimum: Mapping[str, float] | None = None,
    missing: Policy = "drop",
    interaction: bool = True,
    seed_term: bool = False,
    level_term: bool = False,
    adjust: str = "tukey",
    against: str | None = None,
    minimise: bool = True,
    alpha: float = 0.05,
) -> Comparison:
    """Compare optimizers over tasks.

    Args:
        results: one row per run (and budget): optimizer, task, seed and final value.
        value, optimizer, task, seed, budget: names of the columns; ``budget`` defaults to a
            column of that name when there is one.
        at_budget: the budget to compare at; needed when a run has several.
        run_term: keep all budgets of a run, with ``(1|task:optimizer:seed)`` and the budget as a
            fixed factor.
        by: a further factor, e.g. the prior given; contrasts are made within its levels.
        scale: compare values, ``log`` (log10 of the value, or of the regret with ``optimum``),
            ``rank`` within task and seed, or ``normalised`` to 0..1 within the task.
        optimum: best possible value per task (regret = value - optimum).
        missing: runs that are absent or have no finite value: drop them, give them the worst value
            seen on the task, or fail.
        interaction: the term ``(1|task:optimizer)``; without it p-values are too small.
        seed_term: ``(1|task:seed)`` for seeds that all optimizers share.
        level_term: ``(1|task:optimizer:by)`` for an inner factor that acts differently by task.
        adjust, against: as in ``lmem``'s contrasts.
        minimise: lower is better.
        alpha: level of the verdicts.

    Raises:
        UnknownName: a column is not there.
        BadResults: the results do not allow the comparison; the message says what would.
    """
    if scale not in SCALES:
        raise BadValue(f"scale={scale!r}: must be one of {', '.join(SCALES)}")
    if missing not in ("drop", "worst", "fail"):
        raise BadValue(f"missing={missing!r}: must be 'drop', 'worst' or 'fail'")
    columns = {"value": value, "optimizer": optimizer, "task": task, "seed": seed, "by": by}
    tidy, notes = tidy_runs(results, columns, budget, at_budget, run_term)
    covered = checks.coverage(tidy)
    tidy = fill_missing(tidy, covered, missing, minimise)
    tidy = tidy.assign(value=rescale(tidy, scale, optimum, minimise))
    formula = _formula(tidy, interaction, seed_term, run_term, by is not None)
    formula += " + (1|task:optimizer:by)" if level_term and by else ""
    model = lmem.fit(formula, tidy)
    contrasts = _contrasts(model, tidy, adjust, against, by, minimise, alpha)
    left_out = _leave_one_out(formula, tidy, contrasts, adjust, against, by, alpha)
    findings = [
        *notes,
        _unit(tidy, formula),
        checks.few_tasks(tidy),
        checks.absent(covered, missing),
        *checks.copied_rows(tidy),
        _seeds(tidy, formula, model),
        *_levels(formula, tidy, model, None if level_term else by),
        checks.ties(tidy),
        checks.unequal_tasks(tidy, scale),
        checks.bounds(tidy, scale, optimum is not None),
        _singular(model),
        _one_task(left_out),
    ]
    many = _multiverse(tidy, optimum, adjust, against, by, minimise, alpha)
    return Comparison(
        contrasts=contrasts,
        means=model.means("optimizer", by="by" if by else None),
        model=model,
        checks=checks.table(findings),
        coverage=covered,
        multiverse=many,
        leave_one_out=left_out,
        frame=tidy,
        scale=scale,
        adjust="dunnett" if against and adjust == "tukey" else adjust,
        by=by,
        minimise=minimise,
        alpha=alpha,
    )


# -- models ----------------------------------------------------------------------------------------


def _formula(
    tidy: pd.DataFrame, interaction: bool, seed_term: bool, run_term: bool, inner: bool
) -> str:
    fixed = "optimizer * by" if inner else "optimizer"
    fixed += " + C(budget)" if run_term else ""
    terms = ["(1|task)"]
    cells = tidy.groupby(["task", "optimizer"], observed=True).size()
    if interaction and (cells > 1).any():
        terms.append("(1|task:optimizer)")
    if seed_term:
        terms.append("(1|task:seed)")
    if run_term:
        terms.append("(1|task:optimizer:seed)")
    return f"value ~ {fixed} + {' + '.join(terms)}"


def _contrasts(
    model: lmem.MixedModel,
    tidy: pd.DataFrame,
    adjust: str,
    against: str | None,
    by: str | None,
    minimise: bool,
    alpha: float,
) -> pd.DataFrame:
    table = model.contrasts(
        "optimizer", adjust, against=against, by="by" if by else None, level=1 - alpha
    ).rename(columns={"p": "p_broad"})
    if not by:
        table.insert(0, "by", "")
    extra = [_within_tasks(tidy, str(r['left']), str(r['right']), str(r['by']), minimise)
             for r in table.to_dict("records")]  # fmt: skip
    table = pd.concat([table, pd.DataFrame(extra, index=table.index)], axis=1)
    spread = table.pop("spread")
    for new, old in (
        ("effect_size", "estimate"),
        ("effect_low", "ci_low"),
        ("effect_high", "ci_high"),
    ):
        table[new] = table[old] / spread
    if not by:
        return table.drop(columns="by")
    return table.rename(columns={"by": by})


def _within_tasks(
    tidy: pd.DataFrame, left: str, right: str, by: str, minimise: bool
) -> dict[str, float]:
    """The narrow test: tasks are fixed, noise may differ between tasks and optimizers (Welch)."""
    here = tidy[(tidy["by"] == by) & tidy["optimizer"].isin([left, right])]
    stat = here.groupby(["task", "optimizer"], observed=True)["value"].agg(["mean", "var", "size"])
    stat = pd.DataFrame(stat.unstack("optimizer"))
    stat = stat[stat[("mean", left)].notna() & stat[("mean", right)].notna()]
    n = len(stat)
    difference = stat[("mean", left)] - stat[("mean", right)]
    parts = np.concatenate(
        [(stat[("var", o)] / stat[("size", o)]).to_numpy() for o in (left, right)]
    )
    dfs = np.concatenate([stat[("size", o)].to_numpy() - 1.0 for o in (left, right)])
    won = (difference < 0) if minimise else (difference > 0)
    result = {
        "p_narrow": np.nan,
        "narrow_std_error": np.nan,
        "tasks_won": float(won.mean() + (difference == 0).mean() / 2) if n else np.nan,
        "spread": float(difference.std()) if n > 1 and difference.std() > 0 else np.nan,
    }
    if n and np.isfinite(parts).all() and parts.sum() > 0:
        error = np.sqrt(parts.sum()) / n
        df = parts.sum() ** 2 / np.sum(np.square(parts) / dfs)
        result["narrow_std_error"] = float(error)
        result["p_narrow"] = float(2 * stats.t.sf(abs(difference.mean()) / error, df))
    return result


def _leave_one_out(
    formula: str,
    tidy: pd.DataFrame,
    contrasts: pd.DataFrame,
    adjust: str,
    against: str | None,
    by: str | None,
    alpha: float,
) -> pd.DataFrame:
    """The adjusted p of every pair without each task in turn."""
    keys = [*([by] if by else []), "left", "right"]
    tasks = _deviating(tidy)
    rows = []
    for task in tasks if tidy["task"].nunique() > 2 else []:
        model = _quiet_fit(formula, tidy[tidy["task"] != task])
        if model is None:
            continue
        table = model.contrasts(
            "optimizer", adjust, against=against, by="by" if by else None, level=None
        )
        table = table.rename(columns={"by": by} if by else {})
        rows.append(table[[*keys, "estimate", "p_adjusted"]].assign(task=task))
    if not rows:
        return pd.DataFrame(columns=[*keys, "lowest_p", "highest_p", "task_of_highest", "changes"])
    merged = pd.concat(rows).merge(
        contrasts[[*keys, "estimate", "p_adjusted"]], on=keys, suffixes=("", "_all")
    )
    significant = merged["p_adjusted_all"] < alpha
    merged["changes"] = (significant != (merged["p_adjusted"] < alpha)) | (
        significant & (np.sign(merged["estimate"]) != np.sign(merged["estimate_all"]))
    )
    result = []
    for key, group in merged.groupby(keys, sort=False):
        highest = group.sort_values("p_adjusted", kind="stable").iloc[-1]
        changed = group.loc[group["changes"], "task"]
        result.append(
            {
                **dict(zip(keys, key, strict=True)),
                "lowest_p": group["p_adjusted"].min(),
                "highest_p": highest["p_adjusted"],
                "task_of_highest": highest["task"],
                "changes": ", ".join(changed),
            }
        )
    return pd.DataFrame(result)


def _deviating(tidy: pd.DataFrame) -> list[str]:
    """The tasks, or the most unusual ones of many: those whose optimizers differ most."""
    means = tidy.groupby(["task", "optimizer"], observed=True)["value"].mean().unstack()
    centred = means.sub(means.mean(axis=1), axis=0)
    deviation = (centred - centred.mean()).abs().max(axis=1).sort_values(ascending=False)
    return [str(t) for t in deviation.index[:MANY_TASKS]]


def _quiet_fit(formula: str, tidy: pd.DataFrame) -> lmem.MixedModel | None:
    """A fit for a table of many; None where the model cannot be fitted to these rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return lmem.fit(formula, tidy)
        except BadValue:
            return None


def _multiverse(
    tidy: pd.DataFrame,
    optimum: Mapping[str, float] | None,
    adjust: str,
    against: str | None,
    by: str | None,
    minimise: bool,
    alpha: float,
) -> pd.DataFrame:
    """The conclusion on every scale, with and without the interaction."""
    run_term = tidy["budget"].nunique() > 1 and bool(
        tidy.duplicated(["optimizer", "task", "seed", "by"]).any()
    )
    rows = []
    for scale in SCALES:
        scaled = tidy.assign(value=rescale(tidy, scale, optimum, minimise))
        for interaction in (True, False):
            formula = _formula(scaled, interaction, False, run_term, by is not None)
            model = _quiet_fit(formula, scaled)
            if model is None:
                continue
            table = model.contrasts(
                "optimizer", adjust, against=against, by="by" if by else None, level=None
            )
            table = table.rename(columns={"by": by} if by else {})
            keep = [*([by] if by else []), "left", "right", "estimate", "p_adjusted"]
            table = table[keep].assign(scale=scale, interaction=interaction)
            table["conclusion"] = [
                wording.verdict(
                    str(r["left"]), str(r["right"]), r["estimate"], r["p_adjusted"], minimise, alpha
                )
                for r in table.to_dict("records")
            ]
            rows.append(table)
    first = ["scale", "interaction"]
    result = pd.concat(rows, ignore_index=True)
    return result[[*first, *(c for c in result.columns if c not in first)]]


# -- findings that need the model ------------------------------------------------------------------


def _unit(tidy: pd.DataFrame, formula: str) -> Finding:
    n, runs = int(tidy["task"].nunique()), len(tidy)
    text = f"effective n = {n} tasks ({runs} rows)"
    if "(1|task:optimizer)" in formula:
        return Finding("unit of inference", "ok", f"{text}; model {formula}")
    cells = tidy.groupby(["task", "optimizer"], observed=True).size()
    if (cells == 1).all():
        return Finding(
            "unit of inference", "ok",
            f"{text}; one run per optimizer and task, so the residual is the interaction",
        )  # fmt: skip
    return Finding(
        "unit of inference",
        "warning",
        f"without (1|task:optimizer) the {runs} rows count as independent: p-values are too small",
        "interaction=True",
    )


def _seeds(tidy: pd.DataFrame, formula: str, model: lmem.MixedModel) -> Finding:
    if "(1|task:seed)" in formula:
        return Finding("shared seeds", "ok", "seeds have their own term (1|task:seed)")
    if not checks.shared_seeds(tidy):
        return Finding("shared seeds", "ok", "optimizers do not share all seeds")
    larger = _quiet_fit(f"{formula} + (1|task:seed)", tidy)
    if larger is None:
        return Finding("shared seeds", "note", "all optimizers ran the same seeds")
    test = lmem.compare(model, larger)
    effects = larger.random_effects.set_index("group")["variance"]
    share = float(effects["task:seed"] / (effects["task:seed"] + effects["Residual"]))
    text = (
        f"all optimizers ran the same seeds; a seed explains {share:.0%} of the variance within "
        f"a task (p = {wording.p_text(test['p_boundary'])})"
    )
    if test["p_boundary"] < 0.05:
        return Finding("shared seeds", "note", text, "seed_term=True adds (1|task:seed)")
    return Finding("shared seeds", "ok", text)


def _levels(
    formula: str, tidy: pd.DataFrame, model: lmem.MixedModel, by: str | None
) -> list[Finding]:
    """Whether what the inner factor does to an optimizer differs between tasks."""
    if by is None:
        return []
    larger = _quiet_fit(f"{formula} + (1|task:optimizer:by)", tidy)
    if larger is None:
        return []
    p = lmem.compare(model, larger)["p_boundary"]
    text = (
        f"what {by} does to an optimizer differs between tasks (p = {wording.p_text(p)}), and the "
        "model does not know it: contrasts within a level are too sure"
    )
    if p < 0.05:
        return [Finding("levels of the inner factor", "warning", text, "level_term=True")]
    return [Finding("levels of the inner factor", "ok", f"{by} acts alike on all tasks")]


def _singular(model: lmem.MixedModel) -> Finding:
    if not model.singular:
        return Finding("singular terms", "ok", "no variance is at zero")
    effects = model.random_effects
    zero = effects.loc[effects["std"] < 1e-4 * model.sigma, "group"]
    return Finding(
        "singular terms",
        "note",
        f"the variance of {', '.join(zero) or 'a combination of effects'} is estimated as zero: "
        "the data hold no sign of it, which is not a proof of absence",
    )


def _one_task(left_out: pd.DataFrame) -> Finding:
    if not len(left_out):
        return Finding("leave one task out", "note", "too few tasks to leave one out")
    fragile = left_out[left_out["changes"] != ""]
    if not len(fragile):
        return Finding("leave one task out", "ok", "no verdict hangs on a single task")
    parts = [
        f"{r['left']} - {r['right']} (without {r['changes']})"
        for r in fragile.head(3).to_dict("records")
    ]
    return Finding("leave one task out", "warning", f"the verdict changes for {'; '.join(parts)}")
