"""Pictures of weights: what is drawn is what W holds."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from shapely.geometry import Point, box

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, OptionError, WeightsError
from spatial_agglo.report import cardinality_histogram, heat_map, links_map
from spatial_agglo.report.style import new_figure
from spatial_agglo.weights import SpatialWeights


@pytest.fixture
def ax():
    return new_figure((3.4, 3.0)).add_subplot()


@pytest.fixture(scope="module")
def states():
    return sa.datasets.us_states("production")


@pytest.fixture(scope="module")
def queen():
    return sa.datasets.weights("us_production_queen")


@pytest.fixture(scope="module")
def cloud():
    """Random points, and a full matrix of their inverse distances."""
    xy = np.random.default_rng(0).random((40, 2))
    ids = [f"p{i:02d}" for i in range(40)]
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    dense = 1.0 / (apart + np.eye(40)) - np.eye(40)
    points = gpd.GeoDataFrame({"id": ids}, geometry=gpd.points_from_xy(*xy.T))
    return points, SpatialWeights.from_dense(dense, ids), dense, xy


def segments(ax):
    """The lines between units, as sets of two rounded points."""
    lines = next(item for item in ax.collections if isinstance(item, LineCollection))
    return {frozenset(map(tuple, np.round(line, 9))) for line in lines.get_segments()}


def inside(figure):
    """No letter leaves the figure."""
    figure.draw_without_rendering()
    found = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    tolerance = 0.01
    return min(found.x0, found.y0) >= -tolerance and (
        found.x1 <= width + tolerance and found.y1 <= height + tolerance
    )


# --- all ----------------------------------------------------------------------------------


def draw_all(queen, states):
    row = queen.standardize("row")
    return [
        lambda ax: links_map(queen, states, ids="state", ax=ax),
        lambda ax: heat_map(queen, ax=ax),
        lambda ax: heat_map(row, order="rcm", ax=ax),
        lambda ax: cardinality_histogram(queen, ax=ax),
    ]


@pytest.mark.parametrize("which", range(4))
def test_pictures_draw_on_the_axes_of_the_caller(queen, states, which):
    draw = draw_all(queen, states)[which]
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()
    part = Figure(figsize=(7, 3), layout="constrained").subfigures(1, 2)[0]
    draw(part.add_subplot())
    part.figure.draw_without_rendering()


@pytest.mark.parametrize("which", range(4))
def test_pictures_make_a_column_wide_figure_of_their_own(queen, states, which):
    import matplotlib.pyplot as plt

    ax = draw_all(queen, states)[which](None)
    try:
        assert isinstance(ax, Axes)
        assert ax.figure.get_figwidth() == pytest.approx(3.4)
        assert inside(ax.figure)
    finally:
        plt.close(ax.figure)


def test_weights_by_period_are_not_drawn(queen, states, ax):
    both = sa.weights.PanelWeights({1: queen, 2: queen})
    for draw in (heat_map, cardinality_histogram, lambda W, ax: links_map(W, states, ax=ax)):
        with pytest.raises(WeightsError, match="one W for all periods"):
            draw(both, ax=ax)


# --- map ----------------------------------------------------------------------------------


def test_every_link_of_a_sparse_matrix_is_a_line_between_its_units(queen, states, ax):
    shuffled = states.sample(frac=1.0, random_state=3)
    links_map(queen, shuffled, ids="state", ax=ax)
    place = dict(zip(states["state"], states.representative_point(), strict=True))
    frame = queen.to_frame()
    wanted = {
        frozenset(tuple(np.round((place[k].x, place[k].y), 9)) for k in (i, j))
        for i in frame.index
        for j in frame.columns
        if frame.loc[i, j] > 0
    }
    assert segments(ax) == wanted
    assert len(wanted) == 107
    assert ax.get_xlabel() == "214 links of 48 units"
    assert ax.get_ylabel() == ""
    # A degree of longitude is shorter than one of latitude.
    middle = np.radians((states.total_bounds[1] + states.total_bounds[3]) / 2)
    assert ax.get_aspect() == pytest.approx(1 / np.cos(middle))


def test_one_way_links_are_lines_too_and_isolates_are_ringed(ax):
    cells = gpd.GeoSeries([box(i, 0, i + 1, 1) for i in range(4)], index=list("dcba"))
    dense = np.zeros((4, 4))
    dense[0, 1] = dense[2, 1] = dense[1, 2] = 1.0
    W = SpatialWeights.from_dense(dense, list("abcd"), isolates="allow")
    links_map(W, cells, ax=ax)
    at = {"d": (0.5, 0.5), "c": (1.5, 0.5), "b": (2.5, 0.5), "a": (3.5, 0.5)}
    assert segments(ax) == {frozenset((at["a"], at["b"])), frozenset((at["b"], at["c"]))}
    assert ax.get_aspect() == 1.0
    assert ax.get_xlabel() == "3 links of 4 units\n1 without neighbours (rings)"
    ring = next(line for line in ax.lines if line.get_markerfacecolor() == "none")
    np.testing.assert_allclose(ring.get_xydata(), [at["d"]])


def test_of_a_full_matrix_the_strongest_links_are_drawn(cloud, ax):
    points, W, dense, xy = cloud
    links_map(W, points, ids="id", ax=ax)
    wanted = {
        frozenset(tuple(np.round(xy[k], 9)) for k in (i, j))
        for i in range(40)
        for j in np.argsort(-dense[i])[:5]
    }
    assert segments(ax) == wanted
    assert ax.get_xlabel() == "1,560 links of 40 units\nThe 5 strongest of each unit are drawn"


def test_of_equally_strong_links_the_shortest_are_drawn(cloud, ax):
    points, W, dense, _ = cloud
    equal = SpatialWeights.from_dense((dense > 0).astype(float), W.ids)
    links_map(equal, points, ids="id", ax=ax)
    other = links_map(W, points, ids="id", ax=Figure().add_subplot())
    assert segments(ax) == segments(other)


def test_many_lines_are_pixels_and_paler():
    def lines(n):
        xy = np.random.default_rng(1).random((n, 2))
        points = gpd.GeoSeries(gpd.points_from_xy(*xy.T))
        around = {i: [(i + s) % n for s in range(1, 9)] for i in range(n)}
        drawn = links_map(SpatialWeights.from_dict(around), points, ax=Figure().add_subplot())
        return next(item for item in drawn.collections if isinstance(item, LineCollection))

    few, many = lines(20), lines(3000)
    assert not few.get_rasterized()
    assert many.get_rasterized()
    assert many.get_alpha() < few.get_alpha()
    assert many.get_linewidth()[0] < few.get_linewidth()[0]


def test_units_on_a_line_can_be_drawn(ax):
    points = gpd.GeoSeries([Point(1.0, float(i)) for i in range(4)])
    W = SpatialWeights.from_dict({0: [1], 1: [2], 2: [3], 3: [0]})
    for shapes in (points, gpd.GeoSeries(gpd.points_from_xy(points.y, points.x))):
        links_map(W, shapes, ax=ax)
        ax.figure.draw_without_rendering()


def test_the_map_says_what_is_wrong(queen, states, ax):
    with pytest.raises(AlignmentError, match="only in the weights: 'Maine'"):
        links_map(queen, states[states["state"] != "Maine"], ids="state", ax=ax)
    rest = [state for state in queen.ids if state != "Maine"]
    with pytest.raises(AlignmentError, match="only in the map: 'Maine'"):
        links_map(queen.subset(rest), states, ids="state", ax=ax)
    with pytest.raises(WeightsError, match="no column 'name'"):
        links_map(queen, states, ids="name", ax=ax)
    with pytest.raises(WeightsError, match="got DataFrame"):
        links_map(queen, pd.DataFrame(states[["state"]]), ids="state", ax=ax)
    hole = states.copy()
    hole.loc[hole["state"] == "Ohio", "geometry"] = None
    with pytest.raises(WeightsError, match="no geometry: 'Ohio'"):
        links_map(queen, hole, ids="state", ax=ax)
    double = pd.concat([states, states.iloc[:1]])
    with pytest.raises(WeightsError, match="repeated: 'Alabama'"):
        links_map(queen, double, ids="state", ax=ax)


# --- matrix -------------------------------------------------------------------------------


def cells(ax):
    image = ax.images[0].get_array()
    return image.filled(0.0)


def test_every_cell_is_drawn_in_the_order_asked_for(cloud):
    _, W, dense, _ = cloud
    order = np.random.default_rng(2).permutation(40)
    mixed = SpatialWeights.from_dense(dense[np.ix_(order, order)], W.ids[order])
    np.testing.assert_array_equal(cells(heat_map(W, ax=Figure().add_subplot())), dense)
    np.testing.assert_array_equal(
        cells(heat_map(mixed, ax=Figure().add_subplot())), dense[np.ix_(order, order)]
    )
    np.testing.assert_array_equal(
        cells(heat_map(mixed, order="label", ax=Figure().add_subplot())), dense
    )
    ax = heat_map(W, order=list(mixed.ids), ax=Figure().add_subplot())
    np.testing.assert_array_equal(cells(ax), dense[np.ix_(order, order)])
    assert ax.get_xlabel() == "Neighbour j; order: as given"
    assert isinstance(ax.images[0].norm, LogNorm) == (dense.max() > 20 * dense[dense > 0].min())
    # Row 1 is at the top.
    assert ax.get_ylim() == (40.5, 0.5)


def bandwidth(dense):
    i, j = np.nonzero(dense)
    return np.abs(i - j).max()


def test_reverse_cuthill_mckee_brings_neighbours_together(ax):
    N = 60
    place = np.random.default_rng(4).permutation(N)
    W = SpatialWeights.from_dict(
        {int(place[i]): [int(place[(i + 1) % N])] for i in range(N)}
    )  # a ring, in any order
    image = cells(heat_map(W, order="rcm", ax=ax))
    assert bandwidth(W.matrix.toarray()) > 20
    assert bandwidth(image) == 2
    assert image.sum() == N
    assert "reverse Cuthill–McKee" in ax.get_xlabel()


def test_a_full_matrix_is_ordered_by_its_strongest_links(ax):
    """Units on a line: the order along it comes back, though every pair is linked."""
    N = 40
    x = np.random.default_rng(5).permutation(N).astype(float)
    dense = 1.0 / (np.abs(x[:, None] - x) + np.eye(N)) - np.eye(N)
    heat_map(SpatialWeights.from_dense(dense, range(N)), order="rcm", ax=ax)
    image = cells(ax)
    near = image > 0.9
    assert bandwidth(near) <= 6
    assert "5 strongest links" in ax.get_xlabel()


@pytest.mark.parametrize("N", [301, 600, 899])
def test_large_matrices_are_drawn_as_means_of_blocks(N, ax):
    rng = np.random.default_rng(6)
    dense = rng.random((N, N)) * (rng.random((N, N)) < 0.01)
    np.fill_diagonal(dense, 0.0)
    W = SpatialWeights.from_dense(dense, range(N), isolates="allow")
    heat_map(W, ax=ax)
    # Unit k lies in block floor(300 k / N).
    share = np.zeros((300, N))
    share[np.arange(N) * 300 // N, np.arange(N)] = 1.0
    share /= share.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cells(ax), share @ dense @ share.T, atol=1e-14)
    assert f"{N} units in 300 × 300 blocks" in ax.get_xlabel()
    assert "Mean weight of a block" in {other.get_ylabel() for other in ax.figure.axes}
    assert ax.get_xlim() == (0.5, N + 0.5)


def test_zeros_are_white_and_equal_weights_need_no_colour_bar(queen, ax):
    heat_map(queen, ax=ax)
    drawn = ax.images[0]
    colours = drawn.to_rgba(drawn.get_array())
    zero = queen.matrix.toarray() == 0
    np.testing.assert_array_equal(colours[zero], 1.0)
    assert (colours[~zero][:, 0] < 0.9).all()
    assert len(ax.figure.axes) == 1
    assert ax.get_xlabel().endswith("Weight: 1")
    heat_map(queen.standardize("row"), ax=ax)
    assert [other.get_ylabel() for other in ax.figure.axes[1:]] == ["Weight"]


def test_few_units_carry_their_names(ax):
    W = SpatialWeights.from_dict({"b": ["a"], "a": ["c"], "c": ["b"]})
    heat_map(W, order="label", ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(cells(ax), [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_labels_of_several_types_can_be_sorted(ax):
    W = SpatialWeights.from_dict({"b": [1], 1: ["a"], "a": ["b"]})
    heat_map(W, order="label", ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "a", "b"]


def test_the_order_must_hold_the_units(queen, ax):
    with pytest.raises(OptionError, match="'label', 'rcm'"):
        heat_map(queen, order="size", ax=ax)
    with pytest.raises(AlignmentError, match="only in the weights: 'Wyoming'"):
        heat_map(queen, order=list(queen.ids[:-1]), ax=ax)
    with pytest.raises(AlignmentError, match="only in the order: 'Guam'"):
        heat_map(queen, order=[*queen.ids, "Guam"], ax=ax)


# --- histogram ----------------------------------------------------------------------------


def bars(ax):
    found = ax.containers[0]
    return {(bar.get_x(), bar.get_x() + bar.get_width()): bar.get_height() for bar in found}


def test_the_bars_count_the_units(queen, ax):
    cardinality_histogram(queen, ax=ax)
    counts = (queen.to_frame() > 0).sum(axis=1)
    found = bars(ax)
    assert sum(found.values()) == 48
    for k in range(counts.min(), counts.max() + 1):
        assert found[(k - 0.5, k + 0.5)] == (counts == k).sum()
    line = next(line for line in ax.lines)
    assert line.get_xdata()[0] == pytest.approx(counts.mean())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Mean 4.46"]


@pytest.mark.parametrize(("alone", "text"), [(0, "no isolates"), (1, "1 isolate"), (2, "2 iso")])
def test_isolates_are_counted_in_the_label(alone, text, ax):
    dense = np.zeros((6, 6))
    dense[: 6 - alone, : 6 - alone] = 1.0
    np.fill_diagonal(dense, 0.0)
    W = SpatialWeights.from_dense(dense, range(6), isolates="allow")
    cardinality_histogram(W, ax=ax)
    assert f"({text}" in ax.get_xlabel()
    assert bars(ax).get((-0.5, 0.5), 0) == alone


def test_links_that_are_not_mutual_are_counted_both_ways(ax):
    dense = np.zeros((5, 5))
    dense[1:, 0] = 1.0
    dense[0, 1] = 1.0
    cardinality_histogram(SpatialWeights.from_dense(dense, range(5)), ax=ax)
    assert bars(ax)[(0.5, 1.5)] == 5
    outline = next(patch for patch in ax.get_children() if type(patch).__name__ == "StepPatch")
    values, edges, _ = outline.get_data()
    assert dict(zip(edges[:-1], values, strict=True)) == {
        -0.5: 3, 0.5: 1, 1.5: 0, 2.5: 0, 3.5: 1
    }  # fmt: skip
    assert len(ax.get_legend().get_texts()) == 3


def test_a_wide_range_is_binned_by_whole_numbers(ax):
    rng = np.random.default_rng(8)
    dense = (rng.random((200, 200)) < np.linspace(0.05, 0.95, 200)[:, None]).astype(float)
    np.fill_diagonal(dense, 0.0)
    counts = dense.sum(axis=1)
    cardinality_histogram(SpatialWeights.from_dense(dense, range(200)), ax=ax)
    found = bars(ax)
    assert len(found) <= 40
    assert sum(found.values()) == 200
    widths = {high - low for low, high in found}
    assert len(widths) == 1
    assert widths.pop() % 1 == 0
    for (low, high), height in found.items():
        assert height == ((counts > low) & (counts < high)).sum()
    assert "bins of" in ax.get_ylabel()
