"""Bad input: one line that names the column or term."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from carps_like.analysis import lmem
from carps_like.analysis.lmem import formula
from carps_like.errors import BadValue, CarpsLikeError, UnknownName


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 240
    frame = pd.DataFrame(
        {
            "optimizer": rng.choice(list("abc"), n),
            "task": rng.choice([f"t{i}" for i in range(10)], n),
            "prior": rng.choice(["bad", "good"], n),
            "x": rng.normal(size=n),
            "one": "z",
            "constant": 3.0,
            "row": np.arange(n),
            "my loss": rng.normal(size=n),
        }
    )
    frame["x2"] = 2 * frame["x"] + 1
    frame["loss"] = rng.normal(size=n) + frame["task"].str[1:].astype(int)
    return frame


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss ~ optimzer + (1|task)", "unknown column 'optimzer'; did you mean 'optimizer'?"),
        ("los ~ optimizer", "unknown column 'los'; did you mean 'loss' or 'my loss'?"),
        ("loss ~ optimizer + (1|tsk)", "unknown column 'tsk'; did you mean 'task'?"),
        ("loss ~ optimizer + (y|task)", "unknown column 'y'"),
        ("loss ~ one + (1|task)", "factor 'one' has one level ('z')"),
        ("loss ~ optimizer + (1|one)", "grouping factor 'one' has one level"),
        (
            "loss ~ optimizer + (1|row)",
            "grouping factor 'row' has as many levels as there are rows",
        ),
        (
            "loss ~ optimizer + (1|task:row)",
            "'task:row' has as many levels as there are rows (240)",
        ),
        ("loss ~ x + x2 + (1|task)", "aliased term 'x2' ('Intercept' + 'x')"),
        ("loss ~ optimizer + constant", "aliased term 'constant' ('Intercept')"),
        ("loss ~ optimizer + (constant|task)", "random term (constant | task)"),
        ("constant ~ optimizer + (1|task)", "response 'constant' is fitted exactly"),
        ("optimizer ~ x", "response 'optimizer' is not numeric"),
        ("loss ~ np.log(x) + (1|task)", "term 'np.log(x)' is missing or infinite"),
        ("loss optimizer", "has no '~'"),
        ("loss ~", "has nothing to the right"),
        (" ~ optimizer", "names no response"),
        ("loss ~ optimizer + 1|task", "random term '1|task' must stand in parentheses"),
        ("loss ~ optimizer + (1|task", "has an open bracket"),
        ("loss ~ optimizer + 1|task)", "has a closing bracket too many"),
        ("loss ~ optimizer + (|task)", "needs an expression on both sides of the bar"),
        ("loss ~ optimizer +", "has an operator without a term after it"),
        ("loss ~ optimizer - (1|task)", "cannot be subtracted"),
        ("loss ~ (1|task) + (1|task)", "stands twice"),
        ("loss ~ optimizer + (1|log(x))", "must be columns joined by"),
        ("loss ~ 0 + (1|task)", "has no columns"),
    ],
)
def test_a_bad_formula_is_one_line_that_names_the_culprit(
    data: pd.DataFrame, text: str, message: str
) -> None:
    with pytest.raises(CarpsLikeError) as error:
        lmem.fit(text, data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "reml"}, "method='reml'"),
        ({"df_method": "kr"}, "df_method='kr'"),
        ({"df_method": "kenward-roger", "method": "ML"}, "needs method='REML'"),
        ({"weights": "w"}, "unknown column 'w'"),
        ({"weights": np.zeros(240)}, "weights must be positive: 240 of 240"),
        ({"weights": np.ones(3)}, "weights have shape (3,), the data has 240 rows"),
        ({"missing": "ignore"}, "missing='ignore'"),
    ],
)
def test_a_bad_option_is_named(data: pd.DataFrame, options: dict, message: str) -> None:
    with pytest.raises(CarpsLikeError) as error:
        lmem.fit("loss ~ optimizer + (1|task)", data, **options)
    assert message in str(error.value)


def test_missing_and_infinite_rows_are_counted_by_column_or_dropped(data: pd.DataFrame) -> None:
    data.loc[:4, "loss"] = np.nan
    data.loc[10, "x"] = np.inf
    data.loc[11, "task"] = None
    with pytest.raises(BadValue) as error:
        lmem.fit("loss ~ optimizer + x + (1|task)", data)
    assert "7 of 240 rows" in str(error.value)
    assert "'task': 1" in str(error.value) and "'x': 1" in str(error.value)
    dropped = lmem.fit("loss ~ optimizer + x + (1|task)", data, missing="drop")
    clean = data.drop(index=[0, 1, 2, 3, 4, 10, 11])
    assert dropped.n_obs == 233 and list(dropped.residuals.index) == list(clean.index)
    again = lmem.fit("loss ~ optimizer + x + (1|task)", clean)
    assert dropped.log_likelihood == pytest.approx(again.log_likelihood, abs=1e-9)


@pytest.mark.parametrize("missing_cell", [("c", "bad"), ("a", "bad")])
def test_contrasts_that_need_an_empty_cell_say_so_and_others_stay(
    data: pd.DataFrame, missing_cell: tuple[str, str]
) -> None:
    optimizer, prior = missing_cell
    kept = data[~((data["optimizer"] == optimizer) & (data["prior"] == prior))]
    with pytest.warns(UserWarning, match="empty cells: 'optimizer.*prior"):
        model = lmem.fit("loss ~ optimizer * prior + (1|task)", kept)
    with pytest.warns(UserWarning, match="not estimable"):
        table = model.contrasts("optimizer", by="prior")
    involved = (table["left"] == optimizer) | (table["right"] == optimizer)
    affected = (table["prior"] == prior) & involved
    assert table.loc[affected, ["estimate", "std_error", "p", "p_adjusted"]].isna().all().all()
    assert table.loc[affected, "note"].str.contains("empty cells").all()
    assert table.loc[~affected, "p_adjusted"].notna().all()
    within = kept[kept["prior"] == "good"]
    alone = lmem.fit("loss ~ optimizer + (1|task)", within).contrasts("optimizer")
    good = table[table["prior"] == "good"]
    np.testing.assert_allclose(good["estimate"], alone["estimate"], atol=0.1)


def test_questions_a_model_cannot_answer_are_refused_by_name(data: pd.DataFrame) -> None:
    model = lmem.fit("loss ~ optimizer * x + prior + (1|task)", data)
    for ask, error, message in [
        (lambda: model.means("optimzer"), UnknownName, "did you mean 'optimizer'"),
        (lambda: model.contrasts("optimizer", "tuckey"), BadValue, "adjust='tuckey'"),
        (lambda: model.contrasts("optimizer", against="d"), UnknownName, "level 'd'"),
        (lambda: model.contrasts("optimizer", by="task"), UnknownName, "'task'"),
        (lambda: model.means("optimizer", at={"z": 1}), UnknownName, "'z'"),
        (lambda: model.predict(data.drop(columns="x")), UnknownName, "'x'"),
        (lambda: model.predict(data.assign(prior="odd")), UnknownName, "'odd'"),
    ]:
        with pytest.raises(error) as caught:
            ask()
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("null", "alternative", "message"),
    [
        ("loss ~ prior + (1|task)", "loss ~ optimizer*x + (1|task)", "fixed term 'prior[T.good]'"),
        ("loss ~ x + (1|prior)", "loss ~ x*optimizer + (1|task)", "random term (1 | prior)"),
        ("loss ~ optimizer*x + (1|task)", "loss ~ x", "give the smaller one first"),
        ("loss ~ x + (1|task)", "loss ~ x2 + (1|task)", "are the same"),
        ("loss ~ (0+x|task)", "loss ~ (1|task) + (1|task:optimizer)", "random term (0+x | task)"),
    ],
)
def test_models_that_are_not_nested_are_not_compared(
    data: pd.DataFrame, null: str, alternative: str, message: str
) -> None:
    with pytest.raises(BadValue) as error:
        lmem.compare(lmem.fit(null, data), lmem.fit(alternative, data))
    assert message in str(error.value)


def test_models_of_different_rows_are_not_compared(data: pd.DataFrame) -> None:
    a, b = lmem.fit("loss ~ 1", data.iloc[:100]), lmem.fit("loss ~ optimizer", data)
    with pytest.raises(BadValue, match="different data"):
        lmem.compare(a, b)


def test_random_terms_expand_as_in_lme4() -> None:
    def expanded(text: str) -> list[str]:
        return [str(t) for t in formula.parse(f"y ~ x + {text}").random]

    assert expanded("(1|a/b)") == ["(1 | a)", "(1 | a:b)"]
    assert expanded("(1|a/b/c)") == ["(1 | a)", "(1 | a:b)", "(1 | a:b:c)"]
    assert expanded("(x||g)") == ["(1 | g)", "(0 + x | g)"]
    assert expanded("(1 + x + z || g)") == ["(1 | g)", "(0 + x | g)", "(0 + z | g)"]
    assert expanded("(0 + x || g)") == ["(0 + x | g)"]
    assert expanded("(x - 1 | a:b)") == ["(x - 1 | a:b)"]
    assert formula.parse("y ~ a*b + (1|g) - c").fixed == "a*b - c"
    assert formula.parse("y ~ (1|g)").fixed == "1"


def test_awkward_columns_are_fine(data: pd.DataFrame) -> None:
    data["the task"] = data["task"].astype("category").cat.add_categories("never")
    data["flag"] = data["x"] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = lmem.fit("`my loss` ~ optimizer + flag + (1|`the task`)", data)
        assert model.n_groups == {"the task": 10}
        text = lmem.fit("loss ~ optimizer + (1|task)", data.astype({"optimizer": "string"}))
        coded = lmem.fit("loss ~ optimizer + (1|task)", data.astype({"optimizer": "category"}))
    assert text.log_likelihood == pytest.approx(coded.log_likelihood, abs=1e-10)
    assert list(text.means("optimizer").index) == list("abc")


def test_stateful_transforms_see_the_rows_and_not_the_cells(data: pd.DataFrame) -> None:
    data["k"] = np.r_[np.zeros(200), np.ones(40)]
    model = lmem.fit("loss ~ center(k) * optimizer + (1|task)", data)
    plain = lmem.fit("loss ~ k * optimizer + (1|task)", data.assign(k=data["k"] - data["k"].mean()))
    np.testing.assert_allclose(model.anova()["F"], plain.anova()["F"], rtol=1e-6)


def test_the_summary_names_what_was_fitted(data: pd.DataFrame) -> None:
    text = lmem.fit("loss ~ optimizer + (1|task)", data).summary()
    for part in ("REML", "loss ~ optimizer + (1|task)", "task: 10", "kenward-roger", "Residual"):
        assert part in text
