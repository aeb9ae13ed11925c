import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.report import OutputError, impacts_plot, moran_over_time, moran_scatter, save
from spatial_agglo.report.style import new_figure


@pytest.fixture
def ax():
    return new_figure((3.4, 3.0)).add_subplot()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def inside(ax):
    """No letter leaves the figure."""
    figure = ax.figure
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def draw_all(study):
    yield lambda ax: moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax)
    yield lambda ax: moran_over_time(study.moran, ax=ax)
    yield lambda ax: impacts_plot(study.impacts, ax=ax)


@pytest.mark.parametrize("which", range(3))
def test_pictures_draw_on_the_axes_of_the_caller(study, which):
    draw = list(draw_all(study))[which]
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()


@pytest.mark.parametrize("which", range(3))
def test_pictures_make_a_column_wide_figure_of_their_own(study, which):
    import matplotlib.pyplot as plt

    ax = list(draw_all(study))[which](None)
    try:
        assert isinstance(ax, Axes)
        assert ax.figure.get_figwidth() == pytest.approx(3.4)
        assert inside(ax)
    finally:
        plt.close(ax.figure)


def test_pictures_draw_inside_a_subfigure(study):
    part = Figure(figsize=(7, 3), layout="constrained").subfigures(1, 2)[0]
    for draw in draw_all(study):
        draw(part.add_subplot())
        part.clear()


# --- scatter ------------------------------------------------------------------------------


@pytest.mark.parametrize("standardized", [True, False])
@pytest.mark.parametrize("time", [1963, 1992])
def test_the_slope_is_morans_i_for_any_weights(study, ax, standardized, time):
    W = study.W if standardized else sa.datasets.weights("cigarettes_queen")
    moran_scatter(study.panel, "logc", W, time=time, ax=ax)
    found = sa.esda.moran(study.panel, "logc", W).loc[("logc", time)]
    points = next(line for line in ax.lines if line.get_marker() == "o")
    assert np.polyfit(points.get_xdata(), points.get_ydata(), 1)[0] == pytest.approx(found["I"])
    line = next(line for line in ax.lines if line.get_linewidth() == 1.4)
    slope = np.diff(line.get_ydata()) / np.diff(line.get_xdata())
    assert slope[0] == pytest.approx(found["I"])
    assert any(text.startswith(f"I = {found['I']:.3f}\np ") for text in texts(ax))


def test_the_variable_is_standardised_and_matched_by_label(study, ax):
    shuffled = study.W.align(study.W.ids[::-1])
    moran_scatter(study.panel, "logc", shuffled, time=1992, ax=ax)
    points = next(line for line in ax.lines if line.get_marker() == "o")
    z = points.get_xdata()
    assert z.mean() == pytest.approx(0, abs=1e-12)
    assert z.std() == pytest.approx(1)
    again = new_figure((3.4, 3.0)).add_subplot()
    moran_scatter(study.panel, "logc", study.W, time=1992, ax=again)
    other = next(line for line in again.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_ydata(), other.get_ydata(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variable", ["logc", "logp", "logy"])
@pytest.mark.parametrize("time", [1963, 1975, 1992])
def test_labels_overlap_neither_one_another_nor_the_edge(study, ax, variable, time):
    moran_scatter(study.panel, variable, study.W, time=time, ax=ax, label=6)
    assert inside(ax)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 6 + 5
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    frame = ax.get_window_extent()
    assert all(box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 for box in boxes)


def test_long_names_are_not_clipped(study):
    name = "share_of_workers_in_manufacturing"
    frame = study.panel.frame.assign(**{name: -study.panel.frame["logc"]})
    panel = sa.Panel(frame)
    moran = sa.esda.moran(panel, [name, "logc", "logp", "logy", "price"], study.W)
    fit = sa.sdm(f"logp ~ logy + {name}", panel, study.W)
    for size, draw in (
        ((3.4, 3.0), lambda ax: moran_scatter(panel, name, study.W, time=1992, ax=ax)),
        ((3.4, 2.5), lambda ax: moran_over_time(moran, ax=ax)),
        ((3.4, 2.1), lambda ax: impacts_plot(fit.impacts(), ax=ax)),
    ):
        ax = new_figure(size).add_subplot()
        draw(ax)
        assert inside(ax)


def test_labels_can_be_chosen(study, ax):
    moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax, label=["Texas", "Ohio"])
    assert {"Texas", "Ohio", "HH", "LH", "LL", "HL"} < set(texts(ax))
    bare = new_figure((3.4, 3.0)).add_subplot()
    moran_scatter(study.panel, "logc", study.W, time=1992, ax=bare, label=0)
    assert len(bare.texts) == 5


def test_axes_are_labelled_with_variable_period_and_unit(study, ax):
    moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax)
    assert ax.get_xlabel() == "logc, 1992 (standard deviations)"
    assert ax.get_ylabel() == "Spatial lag of logc (standard deviations)"


def test_scatter_refuses_what_the_panel_does_not_have(study, ax):
    with pytest.raises(DataError, match="no period 2020"):
        moran_scatter(study.panel, "logc", study.W, time=2020, ax=ax)
    with pytest.raises(DataError, match="no column 'nothing'"):
        moran_scatter(study.panel, "nothing", study.W, time=1992, ax=ax)
    with pytest.raises(DataError, match="no unit 'Atlantis'"):
        moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax, label=["Atlantis"])
    with pytest.raises(OptionError, match="label=-1"):
        moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax, label=-1)
    assert not ax.has_data()


# --- over time ----------------------------------------------------------------------------


def test_lines_are_the_statistics_and_filled_markers_the_significant_years(study, ax):
    moran_over_time(study.moran, variables=["logc"], ax=ax)
    part = study.moran.loc["logc"]
    line = next(line for line in ax.lines if line.get_linewidth() == 1.1)
    np.testing.assert_allclose(line.get_ydata(), part["I"])
    np.testing.assert_array_equal(line.get_xdata(), part.index)
    filled, hollow = (
        next(x for x in ax.lines if x.get_marker() == "o" and (x.get_mfc() == "white") is empty)
        for empty in (False, True)
    )
    significant = part.index[part["p_value"] < 0.05]
    assert list(filled.get_xdata()) == list(significant)
    assert len(hollow.get_xdata()) == 30 - len(significant)


def test_the_band_is_around_the_expectation_and_said_in_the_legend(study, ax):
    moran_over_time(study.moran, variables=["logc"], ax=ax)
    part = study.moran.loc["logc"]
    low, high = ax.collections[0].get_datalim(ax.transData).intervaly
    assert low == pytest.approx((part["expected"] - 1.96 * np.sqrt(part["variance"])).min())
    assert high == pytest.approx((part["expected"] + 1.96 * np.sqrt(part["variance"])).max())
    legends = [child for child in ax.get_children() if type(child).__name__ == "Legend"]
    said = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert "Null: E[I], 95% interval" in said
    assert "Filled: p < 0.05" in said
    assert "logc" in said


def test_periods_may_be_dates_words_or_a_single_one(study):
    for rename in (lambda y: pd.Timestamp(int(y), 1, 1), lambda y: f"wave {y}"):
        ax = new_figure((3.4, 2.5)).add_subplot()
        moran_over_time(study.moran.rename(index=rename, level=1), ax=ax)
        assert inside(ax)
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert labels[0] in ("1963-01-01", "wave 1963")
    ax = new_figure((3.4, 2.5)).add_subplot()
    moran_over_time(study.moran.xs(1992, level=1, drop_level=False), ax=ax)
    assert inside(ax)


def test_over_time_refuses_unknown_and_too_many_variables(study, ax):
    with pytest.raises(DataError, match="no variable 'x'"):
        moran_over_time(study.moran, variables=["x"], ax=ax)
    many = pd.concat([study.moran.loc[["logc"]].rename({"logc": f"v{i}"}) for i in range(8)])
    with pytest.raises(DataError, match="1 to 7 lines"):
        moran_over_time(many, ax=ax)
    with pytest.raises(DataError, match="1 to 7 lines"):
        moran_over_time(study.moran, variables=[], ax=ax)
    with pytest.raises(DataError, match=r"esda\.moran"):
        moran_over_time(study.choice.table, ax=ax)


def test_the_frame_of_the_caller_is_left_alone(study, ax):
    before = study.moran.copy()
    moran_over_time(study.moran, ax=ax)
    pd.testing.assert_frame_equal(study.moran, before)


# --- impacts ------------------------------------------------------------------------------


def test_points_and_intervals_are_those_of_the_impacts(study, ax):
    impacts_plot(study.impacts, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["logp", "logy"]
    for container, effect in zip(ax.containers, ("direct", "indirect", "total"), strict=True):
        part = study.impacts.to_frame().loc[effect]
        points, _, bars = container.lines
        np.testing.assert_allclose(points.get_xdata(), part["estimate"])
        ends = np.array([segment[:, 0] for segment in bars[0].get_segments()])
        np.testing.assert_allclose(ends, part[["lower", "upper"]])
        assert container.get_label() == effect.capitalize()
    assert any(set(line.get_xdata()) == {0.0} for line in ax.lines)


def test_effects_that_the_model_sets_to_zero_are_drawn(study, ax):
    impacts_plot(study.fits["OLS"].impacts(), ax=ax)
    assert inside(ax)


def test_the_interval_is_named_with_its_level(study, ax):
    impacts_plot(study.sdm.impacts(level=0.9), ax=ax)
    assert ax.get_xlabel() == "Average effect and 90% interval"


# --- files --------------------------------------------------------------------------------


def test_saved_pictures_are_valid_and_the_same_every_time(study, tmp_path):
    written = []
    for folder in ("a", "b"):
        ax = new_figure((3.4, 3.0)).add_subplot()
        moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax)
        written.append(save(ax.figure, tmp_path / folder, "scatter"))
    (png, svg), again = written
    with Image.open(png) as image:
        assert image.format == "PNG"
        assert image.size == (1020, 900)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    root = ET.parse(svg).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<dc:date>" not in svg.read_text()
    assert [path.read_bytes() for path in again] == [png.read_bytes(), svg.read_bytes()]


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"missing.*cannot be written"):
        save(Figure(), tmp_path, "missing/picture")


def test_the_axes_follow_the_data(study, ax):
    """Within a fifth of the spread of the points, on both axes."""
    moran_scatter(study.panel, "logc", study.W, time=1992, ax=ax, label=0)
    points = max(ax.get_lines(), key=lambda line: len(line.get_xdata()))
    for values, (low, high) in (
        (points.get_xdata(), ax.get_xlim()),
        (points.get_ydata(), ax.get_ylim()),
    ):
        spread = values.max() - values.min()
        assert low < values.min() < values.max() < high
        assert max(values.min() - low, high - values.max()) < 0.2 * spread


def test_a_period_between_gaps_has_its_interval(study, ax):
    frame = study.moran.loc[["logc"]].copy()
    frame.loc[frame.index.get_level_values(1) == 1964] = np.nan
    moran_over_time(frame, ax=ax)
    first = frame.loc[("logc", 1963)]
    half = 1.96 * np.sqrt(first["variance"])
    ends = [
        segment[:, 1]
        for part in ax.collections
        if hasattr(part, "get_segments")
        for segment in part.get_segments()
        if segment[0, 0] == 1963
    ]
    np.testing.assert_allclose(ends, [[first["expected"] - half, first["expected"] + half]])
