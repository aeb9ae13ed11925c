"""Contiguity and inverse distance against independent computations."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from libpysal.weights import Queen, Rook
from shapely.geometry import Point, Polygon, box

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError, WeightsError
from spatial_agglo.weights import contiguity, inverse_distance


@pytest.fixture
def grid():
    cells = [box(i, j, i + 1, j + 1) for i in range(4) for j in range(3)]
    frame = gpd.GeoDataFrame({"cell": [f"c{i}" for i in range(12)]}, geometry=cells)
    return frame.sample(frac=1, random_state=0)


@pytest.mark.parametrize(("kind", "twin"), [("queen", Queen), ("rook", Rook)])
def test_contiguity_against_libpysal(grid, kind, twin):
    W = contiguity(grid, ids="cell", kind=kind)
    old = twin.from_dataframe(grid, ids="cell", use_index=False, silence_warnings=True)
    full, labels = old.full()
    theirs = pd.DataFrame(full, index=labels, columns=labels)
    np.testing.assert_array_equal(W.align(labels).matrix.toarray(), theirs)


def test_contiguity_by_counting(grid):
    assert contiguity(grid, ids="cell", kind="rook").n_links == 2 * (4 * 2 + 3 * 3)
    assert contiguity(grid, ids="cell").n_links == 2 * (4 * 2 + 3 * 3 + 2 * 3 * 2)
    assert contiguity(grid.set_index("cell")).ids.tolist() == grid["cell"].tolist()


def test_bad_geometries(grid):
    far = grid.copy()
    far.loc[0, "geometry"] = box(90, 90, 91, 91)
    with pytest.raises(WeightsError, match="no neighbours: 'c0'"):
        contiguity(far, ids="cell")
    assert contiguity(far, ids="cell", isolates="allow").isolates.tolist() == ["c0"]
    far.loc[0, "geometry"] = None
    with pytest.raises(WeightsError, match="no geometry: 'c0'"):
        contiguity(far, ids="cell")
    far.loc[0, "geometry"] = Point(0, 0)
    with pytest.raises(WeightsError, match="not polygons: 'c0'"):
        contiguity(far, ids="cell")
    with pytest.raises(WeightsError, match="GeoDataFrame"):
        contiguity(pd.DataFrame({"a": [1]}))
    with pytest.raises(WeightsError, match="no column 'code'"):
        contiguity(grid, ids="code")
    with pytest.raises(OptionError, match="'queen', 'rook'"):
        contiguity(grid, ids="cell", kind="bishop")
    twice = pd.concat([grid, grid.iloc[[0]]])
    with pytest.raises(WeightsError, match="repeated"):
        contiguity(twice, ids="cell")


CAPITALS = pd.DataFrame(
    {"lon": [116.40, 121.47, 113.26, 87.62], "lat": [39.90, 31.23, 23.13, 43.83]},
    index=["Beijing", "Shanghai", "Guangzhou", "Urumqi"],
)


def test_distances_against_the_ellipsoid():
    """The sphere differs from the geodesic of WGS84 by less than 0.6%."""
    pyproj = pytest.importorskip("pyproj")
    geod = pyproj.Geod(ellps="WGS84")
    ours = sa.weights.great_circle(CAPITALS["lon"].to_numpy(), CAPITALS["lat"].to_numpy())
    for i in range(4):
        for j in range(4):
            if i != j:
                a, b = CAPITALS.iloc[i], CAPITALS.iloc[j]
                theirs = geod.inv(a["lon"], a["lat"], b["lon"], b["lat"])[2] / 1000
                assert abs(ours[i, j] / theirs - 1) < 0.006
    np.testing.assert_allclose(ours, ours.T)
    assert sa.weights.great_circle(np.array([0.0, 180.0]), np.zeros(2))[0, 1] == pytest.approx(
        np.pi * 6371.0088
    )


def test_inverse_distance_by_loops():
    W = inverse_distance(CAPITALS, longitude="lon", latitude="lat", power=2.0, cutoff=2500)
    d = sa.weights.great_circle(CAPITALS["lon"].to_numpy(), CAPITALS["lat"].to_numpy())
    assert (d > 2500).any()
    for i in range(4):
        for j in range(4):
            expected = d[i, j] ** -2.0 if i != j and d[i, j] <= 2500 else 0.0
            assert W.matrix[i, j] == pytest.approx(expected)


def test_inverse_distance_from_geometry():
    points = gpd.GeoDataFrame(
        CAPITALS, geometry=gpd.points_from_xy(CAPITALS["lon"], CAPITALS["lat"]), crs=4326
    )
    one = inverse_distance(points)
    two = inverse_distance(CAPITALS, longitude="lon", latitude="lat")
    np.testing.assert_allclose(one.matrix.toarray(), two.matrix.toarray())
    with pytest.raises(WeightsError, match=r"are projected.*to_crs\(4326\)"):
        inverse_distance(points.to_crs(3857), metric="great-circle")
    with pytest.raises(WeightsError, match="degrees are not lengths"):
        inverse_distance(points, metric="planar")
    with pytest.raises(WeightsError, match=r"no coordinate reference system.*set_crs\(4326\)"):
        inverse_distance(points.set_crs(None, allow_override=True))
    planar = inverse_distance(points.to_crs(3857))
    projected = points.to_crs(3857).geometry
    away = projected.iloc[0].distance(projected.iloc[1])
    assert planar.matrix[0, 1] == pytest.approx(1 / away)
    assert "planar" in planar.description


def test_bad_coordinates():
    names = {"longitude": "lon", "latitude": "lat"}
    same = CAPITALS.copy()
    same.iloc[1] = same.iloc[0]
    with pytest.raises(WeightsError, match=r"same place: \('Beijing', 'Shanghai'\)"):
        inverse_distance(same, **names)
    missing = CAPITALS.copy()
    missing.iloc[2, 0] = np.nan
    with pytest.raises(DataError, match="'Guangzhou'"):
        inverse_distance(missing, **names)
    swapped = CAPITALS.rename(columns={"lon": "lat", "lat": "lon"})
    with pytest.raises(DataError, match="no valid longitude and latitude"):
        inverse_distance(swapped, **names)
    with pytest.raises(WeightsError, match="no neighbours: 'Urumqi'"):
        inverse_distance(CAPITALS, **names, cutoff=1500)
    with pytest.raises(WeightsError, match="together; latitude= is missing"):
        inverse_distance(CAPITALS, longitude="lon")
    with pytest.raises(WeightsError, match="no column 'x'"):
        inverse_distance(CAPITALS, longitude="x", latitude="lat")
    for option in ({"power": 0}, {"power": np.nan}, {"cutoff": -1}):
        with pytest.raises(OptionError, match="positive"):
            inverse_distance(CAPITALS, **names, **option)


def test_contiguity_of_touching_corners_only():
    left, right = Polygon([(0, 0), (1, 0), (1, 1)]), Polygon([(1, 1), (2, 1), (2, 2)])
    frame = gpd.GeoDataFrame({"n": ["l", "r"]}, geometry=[left, right])
    assert contiguity(frame, ids="n").n_links == 2
    with pytest.raises(WeightsError, match="no neighbours"):
        contiguity(frame, ids="n", kind="rook")
