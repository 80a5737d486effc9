"""Crossed factors too large for dense blocks: sparse elimination says what the dense one says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_lmem_models import RANDOM_PARTS, frame

from carps_like.analysis import lmem
from carps_like.analysis.lmem import crossproducts
from carps_like.analysis.lmem.design import build
from carps_like.analysis.lmem.formula import parse
from carps_like.analysis.lmem.frame import prepare
from carps_like.analysis.lmem.sparse import SparseElimination


def both(
    formula: str, data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, **options: str
) -> tuple[lmem.MixedModel, lmem.MixedModel]:
    dense = lmem.fit(formula, data, **options)
    monkeypatch.setattr(crossproducts, "DENSE_LIMIT", -1)
    sparse = lmem.fit(formula, data, **options)
    assert isinstance(sparse._profile.elimination, SparseElimination)
    assert not isinstance(dense._profile.elimination, SparseElimination)
    return dense, sparse


def agree(dense: lmem.MixedModel, sparse: lmem.MixedModel) -> None:
    assert sparse.log_likelihood == pytest.approx(dense.log_likelihood, abs=1e-9)
    assert sparse.theta == pytest.approx(dense.theta, rel=1e-7, abs=1e-9)
    assert sparse.converged and sparse.singular == dense.singular
    pd.testing.assert_frame_equal(sparse.fixed_effects, dense.fixed_effects, rtol=1e-6, atol=1e-9)
    pd.testing.assert_frame_equal(sparse.anova(), dense.anova(), rtol=1e-6, atol=1e-9)
    for group, modes in dense.ranef.items():
        pd.testing.assert_frame_equal(sparse.ranef[group], modes, rtol=1e-7, atol=1e-9)


CASES = [(random, {}) for random in RANDOM_PARTS] + [
    ("(x||task)", {"weights": "w"}),
    ("(1|task) + (1|seed)", {"method": "ML"}),
]


@pytest.mark.parametrize(("random", "options"), CASES, ids=str)
def test_the_sparse_elimination_gives_the_same_model(
    random: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(*both(f"loss ~ optimizer + {random}", frame(3, n=60), monkeypatch, **options))


def test_the_sparse_elimination_finds_exact_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["task", "optimizer", "seed"]
    data = pd.MultiIndex.from_product([range(6), list("abc"), range(4)], names=names).to_frame(
        index=False
    )
    rng = np.random.default_rng(2)
    data["loss"] = rng.normal(size=6)[data["task"]] + rng.normal(size=len(data))
    data["loss"] -= data.groupby("seed")["loss"].transform("mean")  # less than by chance
    dense, sparse = both("loss ~ optimizer + (1|task) + (1|seed)", data, monkeypatch)
    assert dense.singular
    agree(dense, sparse)


def crossed(levels: tuple[int, int], rows: int, *, local: bool) -> pd.DataFrame:
    """Two crossed factors; a level meets its neighbours only, or anyone."""
    rng = np.random.default_rng(1)
    p, q = levels
    a = rng.integers(0, p, rows)
    b = (a * q // p + rng.integers(0, 6, rows)) % q if local else rng.integers(0, q, rows)
    data = pd.DataFrame({"a": a, "b": b, "optimizer": rng.choice(list("xyz"), rows)})
    noise = rng.normal(size=rows) + 0.1 * (data["optimizer"] == "z")
    data["loss"] = rng.normal(size=p)[a] + 0.5 * rng.normal(size=q)[b] + noise
    return data


def test_two_factors_of_ten_thousand_levels_are_fitted() -> None:
    data = crossed((12_000, 10_500), 30_000, local=True)
    model = lmem.fit("loss ~ optimizer + (1|a) + (1|b)", data)
    assert isinstance(model._profile.elimination, SparseElimination)
    assert model.converged
    variances = model.random_effects.set_index("group")["variance"]
    # standard errors of the variances are near 0.03, 0.02 and 0.02
    assert variances["a"] == pytest.approx(1.0, abs=0.1)
    assert variances["b"] == pytest.approx(0.25, abs=0.06)
    assert variances["Residual"] == pytest.approx(1.0, abs=0.06)
    z = model.contrasts("optimizer", against="x").set_index("left").loc["z"]
    assert z["ci_low"] < 0.1 < z["ci_high"] and z["p"] < 1e-4
    assert 5_000 < z["df"] < 30_000


@pytest.mark.parametrize("local", [True, False], ids=["little fill", "much fill"])
def test_the_fill_decides_where_both_would_do(local: bool) -> None:
    parsed = parse("loss ~ optimizer + (1|a) + (1|b)")
    cells = prepare(parsed, crossed((2_200, 2_000), 20_000, local=local), None, "raise")
    design = build(parsed, cells)
    factors = crossproducts.groupings(design, cells)
    elimination, _ = crossproducts.eliminate(design, cells, factors)
    assert isinstance(elimination, SparseElimination) is local
