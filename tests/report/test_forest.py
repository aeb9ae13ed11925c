"""The forest plot shows the numbers of the frame, and hides nothing."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.report.forest import forest_plot
from spatial_agglo.report.style import COLOURS, GREY, new_figure
from spatial_agglo.robustness import sensitivity
from spatial_agglo.robustness.runs import Run
from spatial_agglo.robustness.sensitivity import Sensitivity

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="module")
def found():
    panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    names = {"Queen": "cigarettes_queen", "Five nearest": "cigarettes_5_nearest"}
    W = {key: sa.datasets.weights(name).standardize("row") for key, name in names.items()}
    samples = {"all": None, "late": "year > 1977", "apart": ["Maine", "Texas", "Ohio"]}
    return sensitivity(FORMULA, panel, W, models=["sar", "sdm", "sem"], samples=samples)


def made(rows, level=0.95, dimension="sample"):
    """A sensitivity analysis of made-up numbers: (estimate, half width) or an error."""
    runs = []
    for j, row in enumerate(rows):
        key = {"W": "W", "model": "sdm", "effects": "two-way", "sample": "all", "formula": "f"}
        key[dimension] = f"line {j}"
        if isinstance(row, str):
            runs.append(Run(key, error=row))
            continue
        estimate, half = row
        p = 0.001 if abs(estimate) > half else 0.5
        index = pd.MultiIndex.from_tuples([("indirect", "x")], names=["effect", "variable"])
        frame = pd.DataFrame(
            {
                "estimate": estimate,
                "se": half / 2,
                "z": 0.0,
                "p_value": p,
                "lower": estimate - half,
                "upper": estimate + half,
            },
            index=index,
        )
        runs.append(Run(key, frame, {"nobs": 10.0, "entities": 5.0, "loglik": 0.0}))
    settings = {"likelihood": "transformed", "cov": "observed"}
    return Sensitivity(tuple(runs), ("x",), "y", {"f": "y ~ x"}, settings, level)


def canvas(lines=12):
    return new_figure((5.2, 0.95 + 0.19 * lines)).add_subplot()


def markers(ax):
    return [line for line in ax.lines if line.get_marker() == "o"]


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("effect", ["direct", "indirect", "total"])
@pytest.mark.parametrize("variable", ["logp", "logy"])
def test_every_estimate_and_interval_is_there(found, variable, effect):
    ax = forest_plot(found, variable, effect, ax=canvas(20))
    frame = found.to_frame()
    rows = frame[(frame["variable"] == variable) & (frame["effect"] == effect)]
    rows = rows[rows["se"].notna()]
    points = [float(line.get_xdata()[0]) for line in markers(ax)]
    np.testing.assert_allclose(points, rows["estimate"])
    bars = [line for line in ax.lines if line.get_linewidth() == 1.3]
    low, high = ax.get_xlim()
    for bar, row in zip(bars, rows.itertuples(), strict=True):
        np.testing.assert_allclose(bar.get_xdata(), [max(row.lower, low), min(row.upper, high)])
    filled = [to_hex(line.get_markerfacecolor()) != "#ffffff" for line in markers(ax)]
    assert filled == (rows["p_value"] < 0.05).tolist()


def test_estimates_and_intervals_are_written(found):
    ax = forest_plot(found, "logp", "indirect", ax=canvas(20))
    frame = found.to_frame()
    rows = frame[(frame["variable"] == "logp") & (frame["effect"] == "indirect")]
    row = rows[(rows["W"] == "Queen") & (rows["model"] == "sdm") & (rows["sample"] == "all")]
    estimate, low, high = (
        f"{row[name].item():.3f}".replace("-", "−") for name in ("estimate", "lower", "upper")
    )
    written = texts(ax)
    at = written.index(f"[{low},")
    assert written[at - 1 : at + 2] == [estimate, f"[{low},", f"{high}]"]


def test_failures_and_what_the_model_fixes_are_said(found):
    ax = forest_plot(found, "logp", "indirect", ax=canvas(20))
    assert texts(ax).count("not estimated (weights)") == 2 * 3
    assert texts(ax).count("fixed by the model") == 2 * 2  # sem has no indirect effects
    total = forest_plot(found, "logp", "total", ax=canvas(20))
    assert "fixed by the model" not in texts(total)


def test_headings_and_colours_tell_the_dimensions_apart(found):
    ax = forest_plot(found, "logp", "total", ax=canvas(20))
    bold = [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"]
    assert bold == ["Queen", "Five nearest"]
    assert texts(ax).count("SDM, late") == 2
    colours = [to_hex(line.get_markeredgecolor()).upper() for line in markers(ax)]
    assert colours == [COLOURS[0]] * 2 + [COLOURS[1]] * 2 + [COLOURS[2]] * 2 + colours[:6]


def test_one_dimension_has_neither_headings_nor_colours():
    ax = forest_plot(made([(0.3, 0.1), (0.2, 0.1), (-0.1, 0.2)]), "x", ax=canvas(3))
    assert not [text for text in ax.texts if text.get_fontweight() == "bold"]
    assert len({line.get_markeredgecolor() for line in markers(ax)}) == 1
    assert {"line 0", "line 1", "line 2"} <= set(texts(ax))


def test_the_band_is_the_first_interval():
    ax = forest_plot(made(["DataError: none", (0.3, 0.1), (0.2, 0.1)]), "x", ax=canvas(3))
    box = ax.patches[0].get_bbox()
    assert (box.x0, box.x1) == pytest.approx((0.2, 0.4))


def test_a_very_long_interval_does_not_flatten_the_others():
    rows = [(0.3, 0.1), (0.2, 0.1), (0.25, 0.12), (0.5, 40.0), (30.0, 0.1)]
    ax = forest_plot(made(rows), "x", ax=canvas(5))
    low, high = ax.get_xlim()
    assert high - low < 2.0
    arrows = [(line.get_marker(), float(line.get_ydata()[0])) for line in ax.lines]
    assert ("<", 3.0) in arrows
    assert (">", 3.0) in arrows
    assert (">", 4.0) in arrows  # the far estimate is outside, and written all the same
    assert "30.00" in "".join(texts(ax))
    assert len(markers(ax)) == 4


def test_zero_is_shown_when_it_is_near_and_left_out_when_it_is_far():
    near = forest_plot(made([(0.3, 0.1), (0.25, 0.1)]), "x", ax=canvas(2))
    assert near.get_xlim()[0] < 0.0
    assert any(to_hex(line.get_color()).upper() == GREY.upper() for line in near.lines)
    far = forest_plot(made([(300.0, 0.1), (300.1, 0.1)]), "x", ax=canvas(2))
    assert far.get_xlim()[0] > 299.0


def test_decimals_follow_the_intervals():
    wide = forest_plot(made([(1234.5, 300.0), (1000.0, 320.0)]), "x", ax=canvas(2))
    assert "[934," in texts(wide) or "[934.5," in texts(wide)
    fine = forest_plot(made([(0.00123, 0.0001), (0.0012, 0.0001)]), "x", ax=canvas(2))
    assert any(text.startswith("[0.0011") for text in texts(fine))


@pytest.mark.parametrize("variable", ["logp", "logy"])
def test_letters_overlap_neither_one_another_nor_the_edge(found, variable):
    ax = forest_plot(found, variable, "indirect", ax=canvas(21))
    figure = ax.figure
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.padded(-0.5).overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_it_draws_where_it_is_told(found):
    left, right = Figure().subplots(1, 2)
    assert forest_plot(found, "logp", ax=right) is right
    assert not left.has_data()
    import matplotlib.pyplot as plt

    ax = found.forest_plot("logp")
    try:
        assert ax.figure.get_figwidth() == pytest.approx(5.2)
        assert ax.get_xlabel() == "Indirect effect of logp and 95% interval"
    finally:
        plt.close(ax.figure)


def test_the_level_is_that_of_the_analysis():
    ax = forest_plot(made([(0.3, 0.1)], level=0.9), "x", ax=canvas(1))
    assert ax.get_xlabel().endswith("90% interval")
    assert "Filled: p < 0.1. Band: the first interval." in texts(ax)


def test_bad_input(found):
    with pytest.raises(OptionError, match="'logp', 'logy'"):
        forest_plot(found, "price")
    with pytest.raises(OptionError, match="'indirect'"):
        forest_plot(found, "logp", "spillover")
    with pytest.raises(DataError, match="nothing to plot"):
        forest_plot(made(["DataError: none", "WeightsError: none"]), "x")


def test_a_plot_of_something_else():
    for wrong in (None, 3, pd.DataFrame()):
        with pytest.raises(OptionError, match=f"sa.sensitivity.*got {type(wrong).__name__}"):
            forest_plot(wrong, "x")
