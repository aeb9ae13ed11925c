"""Pictures of composite indices."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from spatial_agglo.agglomeration import composite_index
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.report.composite_figure import (
    composite_over_time,
    composite_ranking,
    spread_apart,
)


def index_of(N=20, T=6, times=None, prefix="province ", **options):
    rng = np.random.default_rng(0)
    times = range(2001, 2001 + T) if times is None else times
    labels = pd.MultiIndex.from_product(
        [[f"{prefix}{i}" for i in range(N)], times], names=["province", "year"]
    )
    values = np.repeat(rng.normal(size=(N, 3)), T, axis=0) + rng.normal(size=(N * T, 3)) * 0.1
    data = pd.DataFrame(np.exp(values), labels, list("xyz"))
    return composite_index(data, positive=list("xyz"), score="standardised", **options)


def names(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_the_top_units_are_drawn_and_named():
    index = index_of()
    ax = composite_over_time(index, top=4, time=2003, ax=Figure().add_subplot())
    chosen = list(index.ranking(2003).index[:4])
    assert sorted(names(ax)) == sorted(chosen)
    assert len(ax.lines) == 20
    bold = [line for line in ax.lines if line.get_marker() not in ("None", None)]
    assert len(bold) == 4
    for name, line in zip(chosen, bold, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(2001, 2007))
        np.testing.assert_allclose(line.get_ydata(), index.scores[name].to_numpy())


@pytest.mark.parametrize("prefix", ["p", "an autonomous region of quite some length, number "])
@pytest.mark.parametrize("top", [1, 10, 15])
def test_names_do_not_overlap_nor_leave_the_figure(top, prefix):
    ax = index_of(prefix=prefix).plot(top=top)
    figure = ax.figure
    try:
        assert figure.get_figwidth() == pytest.approx(3.4)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
        for a, b in itertools.combinations(boxes, 2):
            assert min(a.y1, b.y1) - max(a.y0, b.y0) < 1.0
        box = figure.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= 3.4 + 1e-6
        assert box.y0 >= -1e-6
        assert box.y1 <= figure.get_figheight() + 1e-6
    finally:
        plt.close(figure)


def test_lines_can_be_told_apart():
    ax = composite_over_time(index_of(), top=15, ax=Figure().add_subplot())
    looks = {
        (line.get_color(), line.get_marker(), str(line.get_markerfacecolor()))
        for line in ax.lines
        if line.get_marker() not in ("None", None)
    }
    assert len(looks) == 15


def test_periods_that_are_not_numbers():
    dates = pd.date_range("2001-01-01", periods=4, freq="YS")
    ax = composite_over_time(index_of(T=4, times=dates), ax=Figure().add_subplot())
    ax.figure.draw_without_rendering()
    assert len(ax.get_xticks()) == 4


def test_the_ranking_of_a_period():
    index = index_of(name="level")
    ax = index.plot_ranking(2002, top=5, ax=Figure().add_subplot())
    ranking = index.ranking(2002)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ranking.index[:5])
    points = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xdata(), ranking["level"][:5])
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "level, 2002"
    whole = composite_ranking(index)
    try:
        assert len(whole.get_yticks()) == 20
    finally:
        plt.close(whole.figure)


def test_wrong_arguments():
    index = index_of()
    for top in (0, 16, True, 2.5):
        with pytest.raises(OptionError, match="top="):
            index.plot(top=top)
    with pytest.raises(OptionError, match="top="):
        index.plot_ranking(top=0)
    with pytest.raises(DataError, match="no period 1999"):
        index.plot(time=1999)
    with pytest.raises(DataError, match="two or more periods"):
        index_of(T=1).plot()


@settings(max_examples=100, deadline=None)
@given(
    wanted=st.lists(st.floats(0, 100), min_size=1, max_size=10),
    seed=st.integers(0, 10**6),
)
def test_things_are_spread_apart_in_order(wanted, seed):
    wanted = np.array(wanted)
    sizes = np.random.default_rng(seed).uniform(1.0, 6.0, wanted.size)
    placed = spread_apart(wanted, sizes, (0.0, 100.0))
    order = np.argsort(wanted, kind="stable")
    gaps = np.diff(placed[order])
    assert (gaps >= (sizes[order][1:] + sizes[order][:-1]) / 2 - 1e-9).all()
    assert (placed - sizes / 2).min() >= -1e-9
    assert (placed + sizes / 2).max() <= 100 + 1e-9
    if (np.diff(wanted[order]) >= 6.0).all() and wanted.min() >= 3 and wanted.max() <= 97:
        np.testing.assert_allclose(placed, wanted, atol=1e-9)
