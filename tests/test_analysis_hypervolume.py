"""Hypervolume: known values, an independent count, and laws that must hold."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carps_like.analysis.hypervolume import hypervolume, non_dominated, trajectory
from carps_like.errors import BadValue, MissingLibrary


def boxes(points: np.ndarray, n: int) -> int:
    """The volume on an integer grid, counted cell by cell: reference at ``n`` in each objective."""
    d = points.shape[1]
    cells = np.stack(np.meshgrid(*[np.arange(n)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return int((points[:, None, :] <= cells[None]).all(axis=2).any(axis=0).sum())


def integer_points(d: int) -> st.SearchStrategy[list[tuple[int, ...]]]:
    return st.lists(st.tuples(*[st.integers(0, 7)] * d), min_size=1, max_size=14)


def test_two_steps_of_a_staircase_have_the_area_drawn_by_hand() -> None:
    assert hypervolume([[1, 3], [2, 1]], (4, 4)) == pytest.approx(7.0)


def test_three_objectives_of_unit_boxes() -> None:
    assert hypervolume([[0, 0, 0]], (2, 3, 4)) == pytest.approx(24.0)
    assert hypervolume([[0, 1, 1], [1, 0, 1], [1, 1, 0]], (2, 2, 2)) == pytest.approx(4.0)


@pytest.mark.parametrize("d", [1, 2, 3])
@given(data=st.data())
def test_the_volume_is_the_number_of_dominated_cells(d: int, data: st.DataObject) -> None:
    points = np.array(data.draw(integer_points(d)), dtype=float)
    assert hypervolume(points, (7,) * d) == pytest.approx(boxes(points, 7))


@pytest.mark.parametrize("d", [1, 2, 3])
@given(data=st.data())
def test_the_trajectory_is_the_volume_of_every_prefix(d: int, data: st.DataObject) -> None:
    points = np.array(data.draw(integer_points(d)), dtype=float)
    each = [hypervolume(points[: i + 1], (6,) * d) for i in range(len(points))]
    np.testing.assert_allclose(trajectory(points, (6,) * d), each)


def test_points_at_or_beyond_the_reference_and_failed_ones_add_nothing() -> None:
    points = [[5, 1], [1, 5], [np.nan, 0], [0, np.nan], [7, 7]]
    assert hypervolume(points, (5, 5)) == 0.0
    assert trajectory(points, (5, 5)).tolist() == [0.0] * 5


def test_no_points_have_no_volume() -> None:
    assert hypervolume([], (1, 1)) == 0.0
    assert trajectory(np.empty((0, 3)), (1, 1, 1)).shape == (0,)


def test_the_front_keeps_one_of_equal_points() -> None:
    points = [[1, 2], [2, 1], [2, 2], [1, 2], [np.nan, 0]]
    assert non_dominated(points).tolist() == [True, True, False, False, False]


def test_four_objectives_name_the_library_when_it_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(MissingLibrary, match="hypervolume of 4 objectives needs moocore: pip"):
        hypervolume([[0, 0, 0, 0]], (1, 1, 1, 1))


def test_four_objectives_through_moocore() -> None:
    pytest.importorskip("moocore")
    points = np.array([[0, 1, 1, 1], [1, 0, 1, 1]], dtype=float)
    assert hypervolume(points, (2, 2, 2, 2)) == pytest.approx(boxes(points, 2))
    assert trajectory(points, (2, 2, 2, 2)).tolist() == pytest.approx([2.0, 3.0])


@pytest.mark.parametrize("reference", [(1.0,), (1.0, 1.0, 1.0)])
def test_a_reference_of_another_length_is_refused(reference: tuple[float, ...]) -> None:
    with pytest.raises(BadValue, match="reference point of shape"):
        hypervolume([[0.0, 0.0]], reference)


def test_an_infinite_reference_is_refused() -> None:
    with pytest.raises(BadValue, match="not finite"):
        hypervolume([[0.0, 0.0]], (1.0, np.inf))
