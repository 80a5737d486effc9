"""Exact star discrepancies against golden values and an independent brute force."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carps_like.analysis.subset import Discrepancy, star_discrepancy
from carps_like.errors import BadValue

GOLDEN = Path(__file__).parent / "golden" / "discrepancy"
PHI = (1 + 5**0.5) / 2


def cases(name: str) -> list[dict]:
    return json.loads((GOLDEN / name).read_text())["cases"]


def case_points(case: dict) -> np.ndarray:
    if "points" not in case:
        assert case["name"].startswith("fibonacci")
        i = np.arange(case["n"])
        return np.stack([i / case["n"], np.modf(i / PHI)[0]], axis=1)
    rows = case["points"]
    return np.array([[float(Fraction(x)) for x in row] for row in rows])


def box_score(points, q, side, target) -> Fraction:
    """The definition, in exact arithmetic, for one box (None: no limit on that axis)."""

    def share(rows):
        below = (lambda x, b: x <= b) if side == "closed" else (lambda x, b: x < b)
        return Fraction(
            sum(all(b is None or below(x, b) for x, b in zip(p, q, strict=True)) for p in rows),
            len(rows),
        )

    if isinstance(target, str):
        mass = Fraction(1)
        for b in q:
            mass *= 1 if b is None else Fraction(b)
    else:
        mass = share(target)
    return share(points) - mass if side == "closed" else mass - share(points)


def brute_force(points, target="uniform") -> Fraction:
    """Every corner of the full critical grid, both sides."""
    points = [tuple(map(Fraction, p)) for p in np.asarray(points).tolist()]
    if isinstance(target, str):
        axes = [sorted({*column, Fraction(1)}) for column in zip(*points, strict=True)]
    else:
        target = [tuple(map(Fraction, p)) for p in np.asarray(target).tolist()]
        axes = [[*sorted(set(c)), None] for c in zip(*(points + target), strict=True)]
    return max(
        box_score(points, q, side, target)
        for q in itertools.product(*axes)
        for side in ("closed", "open")
    )


def attained(points, found: Discrepancy, target="uniform") -> Fraction:
    corner = [None if np.isinf(x) else Fraction(x) for x in found.corner]
    points = [tuple(map(Fraction, p)) for p in np.asarray(points).tolist()]
    if not isinstance(target, str):
        target = [tuple(map(Fraction, p)) for p in np.asarray(target).tolist()]
    return box_score(points, corner, found.side, target)


@pytest.mark.parametrize("case", cases("star_values.json"), ids=lambda c: c["name"])
def test_uniform_values_agree_with_the_golden_file(case):
    points = case_points(case)
    found = star_discrepancy(points)
    assert found.exact and found.target == "uniform"
    assert found.value == pytest.approx(case["value"], abs=1e-12, rel=0)
    assert float(attained(points, found)) == pytest.approx(found.value, abs=1e-12, rel=0)


@pytest.mark.parametrize("case", cases("star_values_empirical.json"), ids=lambda c: c["name"])
def test_empirical_values_agree_with_the_golden_file(case):
    full = np.array(case["full"])
    found = star_discrepancy(full[case["subset"]], full)
    assert found.exact and found.target == "empirical"
    assert found.value == float(Fraction(case["value_exact"]))
    assert float(attained(full[case["subset"]], found, full)) == found.value


@pytest.mark.parametrize("case", cases("subset_tiny.json"), ids=lambda c: c["name"])
@pytest.mark.parametrize("target", ["lebesgue", "empirical"])
def test_the_golden_optimal_subsets_have_the_golden_optimum(case, target):
    points = np.array(case["points"])
    against = "uniform" if target == "lebesgue" else points
    for subset in case[target]["optimal_subsets"]:
        found = star_discrepancy(points[subset], against)
        assert found.value == pytest.approx(case[target]["optimum"], abs=1e-12, rel=0)


# quarters hit ties, repeated points, 0 and 1; tenths are not exact in binary
coordinate = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9, 1.0])


@st.composite
def point_sets(draw, largest=6):
    d = draw(st.integers(1, 3))
    row = st.lists(coordinate, min_size=d, max_size=d)
    return draw(st.lists(row, min_size=1, max_size=largest))


@settings(max_examples=150, deadline=None)
@given(point_sets())
def test_uniform_values_are_those_of_the_definition(points):
    found = star_discrepancy(points)
    assert found.value == pytest.approx(float(brute_force(points)), abs=1e-12, rel=0)
    assert float(attained(points, found)) == pytest.approx(found.value, abs=1e-12, rel=0)


@settings(max_examples=150, deadline=None)
@given(point_sets(8), st.data())
def test_empirical_values_are_those_of_the_definition(full, data):
    chosen = data.draw(st.lists(st.integers(0, len(full) - 1), min_size=1, max_size=8))
    points = [full[i] for i in chosen]
    found = star_discrepancy(points, full)
    assert found.value == pytest.approx(float(brute_force(points, full)), abs=1e-12, rel=0)
    assert float(attained(points, found, full)) == pytest.approx(found.value, abs=1e-12, rel=0)


@settings(max_examples=50, deadline=None)
@given(point_sets(6), point_sets(6))
def test_reference_points_need_not_contain_the_points(points, reference):
    d = min(len(points[0]), len(reference[0]))
    points, reference = [p[:d] for p in points], [r[:d] for r in reference]
    found = star_discrepancy(points, reference)
    assert found.value == pytest.approx(float(brute_force(points, reference)), abs=1e-12, rel=0)


def test_the_empirical_value_only_depends_on_the_order_of_coordinates():
    full = np.random.default_rng(3).random((60, 3))
    subset = full[:9]
    plain = star_discrepancy(subset, full)
    bent = star_discrepancy(np.exp(20 * subset) - 7, np.exp(20 * full) - 7)
    assert (plain.value, plain.side) == (bent.value, bent.side)


def test_the_full_set_represents_itself_perfectly():
    full = np.random.default_rng(4).random((50, 4))
    assert star_discrepancy(full, full).value == 0.0


def test_minus_zero_and_zero_are_one_coordinate():
    assert (
        star_discrepancy([[-0.0], [0.0], [0.5]]).value
        == star_discrepancy([[0.0]] * 2 + [[0.5]]).value
    )


@pytest.mark.parametrize("target", ["uniform", "empirical"])
def test_large_sets_agree_with_a_counting_grid(target):
    """Two dimensions, 400 points: all corners by cumulative counts, another algorithm."""
    rng = np.random.default_rng(5)
    full = np.round(rng.random((400, 2)), 2)
    points = full if target == "uniform" else full[:130]
    grid = np.append(np.unique(full), 1.0 if target == "uniform" else np.inf)

    def shares(rows, strict):
        below = np.less if strict else np.less_equal
        inside = [below(rows[:, j, None], grid[None, :]) for j in range(2)]
        return np.einsum("ia,ib->ab", *(x.astype(float) for x in inside)) / len(rows)

    def mass(strict):
        return np.multiply.outer(grid, grid) if target == "uniform" else shares(full, strict)

    expected = max(
        (shares(points, False) - mass(False)).max(), (mass(True) - shares(points, True)).max()
    )
    found = star_discrepancy(points, "uniform" if target == "uniform" else full)
    assert found.value == pytest.approx(expected, abs=1e-12, rel=0)


def test_beyond_five_dimensions_the_bounds_enclose_a_known_value():
    # one point at c in d dimensions: max(1 - c^d (closed at c), c (open, one axis at c))
    found = star_discrepancy(np.full((1, 8), 0.9))
    assert found.value == pytest.approx(0.9, abs=1e-12)
    assert found.upper >= found.value
    many = star_discrepancy(np.random.default_rng(6).random((100, 7)), effort=200_000)
    assert 0.15 < many.value <= many.upper < 1.0
    assert float(attained(np.random.default_rng(6).random((100, 7)), many)) == pytest.approx(
        many.value, abs=1e-12
    )


def test_threshold_accepting_finds_the_exact_value_of_a_small_set():
    from carps_like.analysis.subset.axes import build_axes
    from carps_like.analysis.subset.discrepancy import start

    points = np.random.default_rng(7).random((40, 4))
    score, _, _ = start(build_axes(points, None), build_axes(points, None).ranks, 20_000)
    assert score == pytest.approx(star_discrepancy(points).value, abs=1e-12)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[0.1, float("nan")]], "row 0, column 1 is nan"),
        ([[0.1, 0.2], [0.3, float("inf")]], "row 1, column 1 is inf"),
        ([[0.1, 1.5]], "row 0, column 1 is 1.5, outside [0, 1]"),
        ([[-0.1]], "outside [0, 1]"),
        ([], "at least one of each"),
        ([0.1, 0.2], "got shape (2,)"),
        ([["a"]], "table of numbers"),
    ],
)
def test_bad_points_give_one_line_that_names_the_place(points, words):
    with pytest.raises(BadValue) as error:
        star_discrepancy(points)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("points", "value"),
    [
        ([[0.0]], 1.0),  # all mass lies above
        ([[1.0]], 1.0),  # in no open box
        ([[0.5]], 0.5),
        ([[0.0, 0.0]], 1.0),
        ([[1.0, 1.0]] * 5, 1.0),
        ([[1.0, 0.3]], 1.0),  # the open box of everything but the upper face
        ([[0.5, 0.5]] * 70, 0.75),  # more than a word of equal points: closed 1 - 1/4
        ([[0.25], [0.75]] * 40, 0.25),
        ([[0.5] * 5] * 3, 1 - 0.5**5),
    ],
)
def test_degenerate_sets_have_the_value_found_by_hand(points, value):
    assert star_discrepancy(points).value == pytest.approx(value, abs=1e-12, rel=0)
    assert star_discrepancy(points, points).value == 0.0


@pytest.mark.parametrize("target", ["uniform", "empirical"])
@pytest.mark.parametrize(("k", "d"), [(64, 1), (65, 1), (30, 2), (64, 2), (9, 4), (7, 5)])
def test_enumeration_and_branch_and_bound_agree(k, d, target):
    """Small subsets are enumerated, others bounded: the same value from both, and a box of it."""
    from carps_like.analysis.subset import _sweep
    from carps_like.analysis.subset.axes import SIDES, build_axes
    from carps_like.analysis.subset.discrepancy import BoxSearch

    rng = np.random.default_rng(k + d)
    for digits in (1, 9):
        full = np.round(rng.random((3 * k, d)), digits)
        axes = build_axes(full, None if target == "uniform" else full)
        ranks = np.ascontiguousarray(axes.ranks[:k])
        found = star_discrepancy(full[:k], "uniform" if target == "uniform" else full)
        scores = [BoxSearch(axes, ranks, side).run(-1e9, 0.0)[0] for side in range(2)]
        assert found.value == pytest.approx(axes.value(max(scores), k), abs=1e-14, rel=0)
        assert axes.value(scores[SIDES.index(found.side)], k) == pytest.approx(found.value)
        assert _sweep.affordable(k, d) == (k <= 64)


def test_bad_entries_of_a_frame_are_named_by_its_labels():
    import pandas as pd

    frame = pd.DataFrame({"cma": [0.1, np.nan], "smac": [0.2, 0.3]}, index=["sphere", "cigar"])
    with pytest.raises(BadValue, match="row 'cigar', column 'cma' is nan"):
        star_discrepancy(frame)
    with pytest.raises(BadValue, match=r"row 'cigar', column 'smac' is 3, outside \[0, 1\]"):
        star_discrepancy(frame.fillna(0.5).replace(0.3, 3.0))


def test_unknown_targets_and_unequal_dimensions_are_refused():
    with pytest.raises(BadValue, match="uniform"):
        star_discrepancy([[0.5]], "lebesgue")
    with pytest.raises(BadValue, match="2 coordinates, reference points 1"):
        star_discrepancy([[0.5, 0.5]], [[0.5]])
