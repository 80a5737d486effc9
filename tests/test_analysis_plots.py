"""Figures draw the frames that they are given: the numbers on the lines are the frames' own."""

from __future__ import annotations

import numpy as np
import pytest
from frames import Frames, results, run

from carps_like.analysis.anytime import best_so_far, over_seeds
from carps_like.analysis.plots import anytime, style
from carps_like.analysis.plots import ranks as rank_plots
from carps_like.analysis.plots.ranks import _apart
from carps_like.analysis.ranks import over_time, ranks
from carps_like.errors import BadValue


def study() -> Frames:
    return results(*(run(o, "t", s, [9 + i, 5 - s, 4]) for i, o in enumerate("ab") for s in (0, 1)))


def test_the_lines_are_the_means() -> None:
    means = over_seeds(best_so_far(study(), points=3))
    axes = anytime.curves(means, "t").axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[9, 4.5, 4], [10, 4.5, 4]]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 3]] * 2
    assert len(axes.collections) == 2  # the intervals


def test_a_flipped_figure_shows_the_declared_direction() -> None:
    means = over_seeds(best_so_far(results(run("a", "t", 0, [-1, -2])), points=2))
    (line,) = anytime.curves(means, "t", flip=True).axes[0].lines
    assert list(line.get_ydata()) == [1, 2]


@pytest.mark.parametrize(("last", "scale"), [(0.01, "log"), (5.0, "linear"), (-1.0, "linear")])
def test_values_over_two_decades_are_logarithmic(last: float, scale: str) -> None:
    means = over_seeds(best_so_far(results(run("a", "t", 0, [10.0, last])), points=2))
    assert anytime.curves(means, "t").axes[0].get_yscale() == scale


def test_the_rank_lines_are_the_mean_ranks() -> None:
    frame = over_time(ranks(best_so_far(study(), points=3)))
    axes = rank_plots.over_time(frame).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 1.5, 1.5], [2, 1.5, 1.5]]
    assert {text.get_text() for text in axes.texts} == {"a  1.50", "b  1.50"}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best on top


def test_an_optimizer_looks_the_same_in_every_figure() -> None:
    lines = style.lines(["b", "a", "c", "a"])
    assert list(lines) == ["a", "b", "c"]
    means = over_seeds(best_so_far(study(), points=3))
    only_b = means[means["optimizer"] == "b"]
    (line,) = anytime.curves(only_b, "t", lines=lines).axes[0].lines
    assert line.get_color() == lines["b"].color != lines["a"].color


def test_sixteen_optimizers_have_sixteen_looks() -> None:
    lines = style.lines(f"{i:02}" for i in range(16)).values()
    assert len({(line.color, str(line.dash)) for line in lines}) == 16


def test_labels_keep_their_distance_and_their_middle() -> None:
    places = _apart([1.0, 1.1, 1.2, 5.0], 0.5)
    assert places == pytest.approx([0.6, 1.1, 1.6, 5.0])
    crowded = np.diff(_apart([1.0, 1.4, 1.5, 1.6, 2.0], 0.5))
    assert (crowded >= 0.5 - 1e-12).all()


def test_an_unknown_task_is_named() -> None:
    means = over_seeds(best_so_far(study(), points=3))
    with pytest.raises(BadValue, match="task cannot be 'u'; there are t"):
        anytime.curves(means, "u")
