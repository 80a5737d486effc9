"""Results of a comparison in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carps_like.analysis.comparison import Comparison

UNITS = {
    "value": "",
    "log": " decades",
    "rank": " ranks",
    "normalised": " of the task's range",
}


def p_text(p: float) -> str:
    """A p-value in words' precision; tables keep all digits."""
    if math.isnan(p):
        return "not estimable"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 0 else "below 1e-300"


def verdict(left: str, right: str, estimate: float, p: float, minimise: bool, alpha: float) -> str:
    """``left better``, ``right better``, ``not separated``."""
    if math.isnan(p):
        return "not estimable"
    if p >= alpha:
        return "not separated"
    better = left if (estimate < 0) == minimise else right
    return f"{better} better"


def paragraph(result: Comparison) -> str:
    """One sentence per level of the inner factor: who is better by how much, and who is not."""
    sentences = []
    table = result.contrasts
    groups = [("", table)] if result.by is None else list(table.groupby(result.by, sort=False))
    for level, rows in groups:
        rows = rows.reindex(rows["estimate"].abs().sort_values(ascending=False).index)
        where = f" at {result.by} = {level}" if result.by else ""
        better, equal = [], []
        for r in rows.to_dict("records"):
            said = verdict(
                str(r["left"]),
                str(r["right"]),
                r["estimate"],
                r["p_adjusted"],
                result.minimise,
                result.alpha,
            )
            if said == "not separated":
                equal.append(f"{r['left']} and {r['right']}")
            elif said.endswith("better"):
                first = said.removesuffix(" better")
                second = r["right"] if first == r["left"] else r["left"]
                better.append(
                    f"{first} is better than {second} by {abs(r['estimate']):.3g} "
                    f"+- {r['std_error']:.2g}{UNITS[result.scale]} (p = {p_text(r['p_adjusted'])})"
                )
        text = f"On {result.n_tasks} tasks{where}, "
        text += ", ".join(better) if better else "no optimizer is shown to be better than another"
        if equal and better:
            text += f"; nothing separates {'; '.join(equal)}"
        sentences.append(text + ".")
    warned = result.checks[result.checks["level"] == "warning"]
    if len(warned):
        sentences.append(f"Read with care: {'; '.join(warned['check'].unique())}.")
    return " ".join(sentences)


def report(result: Comparison) -> str:
    """The whole comparison as text: paragraph, contrasts, checks, sensitivity."""
    many = result.multiverse
    keys = [*([result.by] if result.by else []), "left", "right"]
    wide = many.assign(
        choice=many["scale"] + many["interaction"].map({True: "", False: " (naive)"})
    ).pivot_table(index=keys, columns="choice", values="conclusion", aggfunc="first", sort=False)
    checks = [
        f"  [{r['level']:7}] {r['check']}: {r['finding']}"
        + (f" -> {r['offer']}" if r["offer"] else "")
        for r in result.checks.to_dict("records")
    ]
    return "\n".join(
        [
            result.paragraph,
            "",
            f"Contrasts ({result.adjust}, Kenward-Roger, scale {result.scale}; p_broad: new tasks "
            "like these, p_narrow: exactly these tasks; negative: left is lower)",
            result.contrasts.to_string(index=False),
            "",
            "Checks",
            *checks,
            "",
            "Conclusions on other scales, and without (1|task:optimizer) (naive)",
            wide.to_string(),
            "",
            "Without one task",
            result.leave_one_out.to_string(index=False),
        ]
    )
