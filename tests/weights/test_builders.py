"""Neighbours, bands, decay and kernels against libpysal and against loops."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from libpysal.graph import Graph
from shapely.geometry import box

from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError
from spatial_agglo.weights import (
    PanelWeights,
    SpatialWeights,
    as_weights,
    contiguity,
    distance_band,
    distances,
    exponential_distance,
    flows,
    from_edges,
    given_distances,
    great_circle,
    groups,
    inverse_distance,
    kernel,
    knn,
)
from spatial_agglo.weights import distances as distances_function
from spatial_agglo.weights.distances import Distances

PLANAR = {"x": "east", "y": "north"}
SPHERE = {"longitude": "lon", "latitude": "lat"}


@pytest.fixture
def places():
    rng = np.random.default_rng(0)
    n = 60
    return pd.DataFrame(
        {
            "east": rng.uniform(0, 100, n),
            "north": rng.uniform(0, 100, n),
            "lon": rng.uniform(73, 135, n),
            "lat": rng.uniform(18, 53, n),
        },
        index=[f"p{i:02d}" for i in rng.permutation(n)],
    )


def planar(places):
    gaps = places["east"].to_numpy()[:, None] - places["east"].to_numpy()[None]
    other = places["north"].to_numpy()[:, None] - places["north"].to_numpy()[None]
    return np.hypot(gaps, other)


def exact(places, kind):
    if kind == "planar":
        return planar(places), PLANAR
    return great_circle(places["lon"], places["lat"]), SPHERE


@pytest.mark.parametrize("kind", ["planar", "sphere"])
def test_distances_dense_near_and_nearest(places, kind):
    d, names = exact(places, kind)
    ours = distances(places, **names)
    np.testing.assert_allclose(ours.dense(), d, rtol=1e-9, atol=1e-6)
    threshold = np.quantile(d, 0.2)
    near = ours.within(threshold).toarray()
    twin = np.where((d <= threshold) & ~np.eye(60, dtype=bool), d, 0.0)
    np.testing.assert_allclose(near, twin, rtol=1e-9, atol=1e-6)
    far, found = ours.nearest(7)
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1)[:, :7]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(far, np.take_along_axis(d, order, axis=1), rtol=1e-9)


def test_the_antipode_and_the_pole():
    points = pd.DataFrame({"lon": [0.0, 180.0, 77.0], "lat": [0.0, 0.0, 90.0]}, index=list("abc"))
    d = distances(points, **SPHERE).dense()
    half = np.pi * 6371.0088
    np.testing.assert_allclose(d[0], [0, half, half / 2], rtol=1e-9)


@pytest.mark.parametrize("kind", ["planar", "sphere"])
@pytest.mark.parametrize("k", [1, 5, 59])
def test_knn_by_sorting(places, kind, k):
    d, names = exact(places, kind)
    np.fill_diagonal(d, np.inf)
    W = knn(places, k=k, **names)
    twin = np.zeros((60, 60))
    np.put_along_axis(twin, np.argsort(d, axis=1)[:, :k], 1.0, axis=1)
    np.testing.assert_array_equal(W.matrix.toarray(), twin)


def test_knn_and_band_against_libpysal(places):
    points = gpd.GeoSeries(gpd.points_from_xy(places["east"], places["north"]), index=places.index)
    theirs = Graph.build_knn(points, k=4)
    ours = knn(places, k=4, **PLANAR)
    np.testing.assert_array_equal(
        ours.matrix.toarray(), as_weights(theirs).align(ours.ids).matrix.toarray()
    )
    theirs = Graph.build_distance_band(points, threshold=30, binary=True)
    ours = distance_band(places, threshold=30, **PLANAR)
    np.testing.assert_array_equal(
        ours.matrix.toarray(), as_weights(theirs).align(ours.ids).matrix.toarray()
    )
    theirs = Graph.build_kernel(points, kernel="triangular", bandwidth=40)
    full = theirs.sparse.toarray()
    np.fill_diagonal(full, 0.0)
    ours = kernel(places, function="triangular", bandwidth=40, **PLANAR)
    np.testing.assert_allclose(ours.matrix.toarray(), full, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_distances_do_not_depend_on_the_order_of_rows(seed):
    """On a lattice every unit has ties; the label that sorts first is taken."""
    side = np.arange(6.0)
    lattice = pd.DataFrame(
        {"east": np.repeat(side, 6), "north": np.tile(side, 6)},
        index=[f"u{i:02d}" for i in range(36)],
    )
    one = knn(lattice, k=3, **PLANAR)
    two = knn(lattice.sample(frac=1, random_state=seed), k=3, **PLANAR).align(one.ids)
    np.testing.assert_array_equal(one.matrix.toarray(), two.matrix.toarray())
    by_hand = knn(given_distances(pd.DataFrame(planar(lattice), lattice.index, lattice.index)), k=3)
    np.testing.assert_array_equal(one.matrix.toarray(), by_hand.matrix.toarray())


def test_many_units_at_one_place():
    towns = pd.DataFrame({"east": [0.0] * 6 + [5.0], "north": 0.0}, index=list("gfedcba"))
    W = knn(towns, k=2, **PLANAR)
    assert W.to_frame().loc["g"].loc[["b", "c"]].tolist() == [1.0, 1.0]
    assert W.to_frame().loc["b"].loc[["c", "d"]].tolist() == [1.0, 1.0]


def test_decay_by_loops(places):
    d = planar(places)
    W = inverse_distance(places, power=1.5, cutoff=40, **PLANAR)
    E = exponential_distance(places, decay=0.1, **PLANAR)
    C = exponential_distance(places, decay=0.1, cutoff=40, **PLANAR)
    for i in range(60):
        for j in range(60):
            near = i != j and d[i, j] <= 40
            assert W.matrix[i, j] == pytest.approx(d[i, j] ** -1.5 if near else 0.0)
            assert E.matrix[i, j] == pytest.approx(np.exp(-0.1 * d[i, j]) if i != j else 0.0)
            assert C.matrix[i, j] == pytest.approx(np.exp(-0.1 * d[i, j]) if near else 0.0)
    assert "within 40" in W.description
    assert W.formula == "w_ij = d_ij^-1.5 if d_ij <= 40"


KERNELS = {
    "triangular": lambda z: max(1 - z, 0),
    "uniform": lambda z: 0.5 if z <= 1 else 0,
    "epanechnikov": lambda z: 0.75 * (1 - z**2) if z <= 1 else 0,
    "bisquare": lambda z: 15 / 16 * (1 - z**2) ** 2 if z <= 1 else 0,
    "gaussian": lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) if z <= 3 else 0,
}


@pytest.mark.parametrize("function", KERNELS)
def test_kernels_by_loops(places, function):
    d = planar(places)
    fixed = kernel(places, function=function, bandwidth=50, **PLANAR)
    adaptive = kernel(places, function=function, k=6, **PLANAR, isolates="allow")
    h = np.sort(d, axis=1)[:, 6]
    for i in range(60):
        for j in range(60):
            if i != j:
                assert fixed.matrix[i, j] == pytest.approx(KERNELS[function](d[i, j] / 50))
                expected = KERNELS[function](d[i, j] / h[i])
                assert adaptive.matrix[i, j] == pytest.approx(expected, abs=1e-12)


def test_polygons_use_a_point_inside():
    shapes = gpd.GeoDataFrame(
        {"n": ["a", "b"]}, geometry=[box(0, 0, 2, 2), box(10, 0, 12, 2)], crs=32650
    )
    assert inverse_distance(shapes, ids="n").matrix[0, 1] == pytest.approx(0.1)
    assert "metre" in distance_band(shapes, ids="n", threshold=11).description


def test_given_distances():
    minutes = pd.DataFrame(
        [[0, 30, np.inf], [45, 0, 10], [20, 10, 0]], index=list("abc"), columns=list("abc")
    )
    d = given_distances(minutes[list("cab")], unit="minutes")
    W = inverse_distance(d)
    assert W.to_frame().loc["a", "b"] == pytest.approx(1 / 30)
    assert W.to_frame().loc["b", "a"] == pytest.approx(1 / 45)
    assert W.to_frame().loc["a", "c"] == 0.0
    assert knn(d, k=1).to_frame().loc["b"].tolist() == [0.0, 0.0, 1.0]
    assert "20 minutes" in distance_band(d, threshold=20, isolates="allow").description
    before = minutes.copy()
    d.within(10)
    pd.testing.assert_frame_equal(minutes, before)
    for bad, match in (
        (minutes.replace(45, -1), r"negative, at \('b', 'a'\)"),
        (minutes.replace(45, np.nan), r"missing, at \('b', 'a'\)"),
        (minutes.replace(0, 1), "to itself must be zero"),
        (minutes.rename(columns={"a": "z"}), "same labels"),
    ):
        with pytest.raises(WeightsError, match=match):
            given_distances(bad)
    with pytest.raises(WeightsError, match="pass ids"):
        given_distances(minutes.to_numpy())
    with pytest.raises(WeightsError, match="2 x 2 is needed for 2 labels; got 3 x 3"):
        given_distances(minutes.to_numpy(), ["a", "b"])


def test_bad_options(places):
    for k in (0, 60, 2.5, "3"):
        with pytest.raises(WeightsError, match="whole number from 1 to 59"):
            knn(places, k=k, **PLANAR)
    for call in (
        lambda: distance_band(places, threshold=0, **PLANAR),
        lambda: exponential_distance(places, decay=-1, **PLANAR),
        lambda: kernel(places, bandwidth="wide", **PLANAR),
    ):
        with pytest.raises(OptionError, match="positive number"):
            call()
    with pytest.raises(OptionError, match="either bandwidth"):
        kernel(places, **PLANAR)
    with pytest.raises(OptionError, match="either bandwidth"):
        kernel(places, bandwidth=3, k=3, **PLANAR)
    with pytest.raises(OptionError, match="'triangular', 'uniform'"):
        kernel(places, function="cosine", k=3, **PLANAR)
    with pytest.raises(OptionError, match="metric='manhattan'"):
        knn(places, k=3, **PLANAR, metric="manhattan")
    with pytest.raises(WeightsError, match="Name the coordinate columns"):
        knn(places, k=3)
    with pytest.raises(WeightsError, match="GeoDataFrame, or a DataFrame.*got list"):
        knn([1, 2], k=1)
    lost = places.copy()
    lost.iloc[3, 0] = np.nan
    with pytest.raises(DataError, match=lost.index[3]):
        knn(lost, k=3, **PLANAR)
    same = pd.DataFrame({"east": [0.0, 0, 1, 2], "north": 0.0}, index=list("abcd"))
    with pytest.raises(WeightsError, match="bandwidth is zero"):
        kernel(same, k=1, **PLANAR)


def test_a_dense_matrix_too_large_names_its_size(monkeypatch, places):
    import sys

    monkeypatch.setattr(sys.modules[Distances.__module__], "DENSE_UNITS", 50)
    with pytest.raises(WeightsError, match=r"between 60 units need 0 GiB.*cut-off"):
        inverse_distance(places, **PLANAR)
    assert inverse_distance(places, cutoff=50, **PLANAR).n == 60


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("kind", ["queen", "rook"])
def test_higher_orders_against_libpysal(order, cumulative, kind):
    cells = [box(i, j, i + 1, j + 1) for i in range(5) for j in range(4)]
    grid = gpd.GeoDataFrame(geometry=cells, index=[f"c{i:02d}" for i in range(20)])
    options = {"kind": kind, "order": order, "cumulative": cumulative}
    ours = contiguity(grid, **options, isolates="allow")
    first = Graph.build_contiguity(grid, rook=kind == "rook")
    theirs = first.higher_order(k=order, lower_order=cumulative) if order > 1 else first
    twin = SpatialWeights.from_libpysal(theirs, isolates="allow").align(ours.ids)
    np.testing.assert_array_equal(ours.matrix.toarray(), twin.matrix.toarray())


def test_distances_are_passed_through(places):
    d = distances_function(places, **PLANAR)
    assert distances_function(d) is d
    assert "60 units, planar" in repr(d)
    assert "km" in repr(distances(places, **SPHERE))


def test_edges_flows_and_groups():
    edges = pd.DataFrame(
        {"i": ["a", "a", "b", "c"], "j": ["b", "c", "a", "a"], "v": [1.0, 2.0, 3.0, 4.0]}
    )
    W = from_edges(edges, source="i", target="j", weight="v")
    table = W.to_frame()
    for _, row in edges.iterrows():
        assert table.loc[row["i"], row["j"]] == row["v"]
    assert W.n_links == 4
    assert from_edges(edges, source="i", target="j").matrix.max() == 1.0
    square = table + np.diag([9.0, 9.0, 9.0])
    for direction, twin in (("out", table), ("in", table.T), ("both", table + table.T)):
        ours = flows(square[["c", "a", "b"]], direction=direction)
        pd.testing.assert_frame_equal(ours.to_frame(), twin)
        listed = square.rename_axis("i").rename_axis("j", axis=1).stack().rename("v").reset_index()
        listed = listed[listed["v"] > 0]
        again = flows(listed, source="i", target="j", value="v", direction=direction)
        np.testing.assert_array_equal(again.matrix.toarray(), twin)
    region = pd.Series({"a": "x", "b": "y", "c": "x", "d": "y", "e": "x"})
    block = groups(region).to_frame()
    for i in region.index:
        for j in region.index:
            assert block.loc[i, j] == float(i != j and region[i] == region[j])


def test_bad_networks():
    edges = pd.DataFrame({"i": ["a", "b"], "j": ["b", "a"], "v": [1.0, 2.0]})
    good = {"source": "i", "target": "j", "weight": "v"}
    with pytest.raises(WeightsError, match=r"more than once: \('a', 'b'\)"):
        from_edges(pd.concat([edges, edges.iloc[[0]]]), **good)
    with pytest.raises(WeightsError, match="not among ids: 'b'"):
        from_edges(edges, **good, ids=["a", "c"])
    with pytest.raises(WeightsError, match="their own neighbour: 'b'"):
        from_edges(edges.assign(j=["b", "b"]), **good)
    with pytest.raises(WeightsError, match="negative"):
        from_edges(edges.assign(v=[-1.0, 1.0]), **good)
    with pytest.raises(WeightsError, match="lack a unit"):
        from_edges(edges.assign(j=["b", None]), **good)
    with pytest.raises(DataError, match="no column 'w'"):
        from_edges(edges, source="i", target="w")
    with pytest.raises(DataError, match="no column 'w'"):
        from_edges(edges, source="i", target="j", weight="w")
    with pytest.raises(WeightsError, match="together"):
        flows(edges, source="i", target="j")
    with pytest.raises(OptionError, match="direction='up'"):
        flows(edges, direction="up")
    with pytest.raises(WeightsError, match="no neighbours: 'b'"):
        groups(pd.Series({"a": 1, "b": 2, "c": 1}))
    with pytest.raises(WeightsError, match="no group: 'b'"):
        groups(pd.Series({"a": 1, "b": None, "c": 1}))
    with pytest.raises(WeightsError, match="A Series"):
        groups([1, 2])


def test_panel_weights():
    A = SpatialWeights.from_dense([[0, 1], [2, 0]], ids=["a", "b"])
    B = SpatialWeights.from_dense([[0, 3], [4, 0]], ids=["b", "a"])
    W = PanelWeights({1: A, 2: B})
    assert W[2].to_frame().loc["a", "b"] == 4.0
    assert W.periods == (1, 2)
    assert list(W) == [1, 2]
    assert 2 in W
    assert W.standardize().row_standardized
    assert not W.row_standardized
    turned = W.align(["b", "a"], [2])
    assert turned.periods == (2,)
    assert turned[2].ids.tolist() == ["b", "a"]
    with pytest.raises(AlignmentError, match="no weights for period 3"):
        W[3]
    with pytest.raises(AlignmentError, match="have no weights: 3"):
        W.align(["a", "b"], [1, 3])
    with pytest.raises(AlignmentError, match="no weights"):
        PanelWeights({1: A, 2: SpatialWeights.from_dense([[0, 3], [4, 0]], ids=["b", "c"])})
    with pytest.raises(WeightsError, match="at least one period"):
        PanelWeights({})
    with pytest.raises(WeightsError, match="change over time"):
        as_weights(W)


@pytest.mark.parametrize("build", [knn, distance_band, inverse_distance])
def test_docstrings_name_the_parameters_and_no_others(build):
    """What stands at the margin of the section "Parameters" is what the function takes."""
    import inspect
    import re

    part = inspect.cleandoc(build.__doc__).split("Parameters\n")[1].split("\nReturns")[0]
    named = [
        name
        for line in re.findall(r"^([\w, ]+) : ", part, flags=re.MULTILINE)
        for name in line.split(", ")
    ]
    assert sorted(named) == sorted(inspect.signature(build).parameters)
