"""Composite indices from principal components."""

import numpy as np
import pandas as pd
import pytest

from spatial_agglo.agglomeration import ConstantIndicatorWarning, DirectionWarning, pca_index
from spatial_agglo.errors import DataError, IdentificationError, OptionError


def frame_of(values):
    values = np.asarray(values, dtype=float)
    index = pd.MultiIndex.from_product(
        [[f"p{i}" for i in range(len(values))], [2001]], names=["province", "year"]
    )
    return pd.DataFrame(values, index, [f"x{j}" for j in range(values.shape[1])])


def related(seed=0, n=40, k=5):
    rng = np.random.default_rng(seed)
    return frame_of(rng.normal(size=(n, 2)) @ rng.normal(size=(2, k)) + rng.normal(size=(n, k)))


def from_correlations(z, m):
    """Scores by the eigenvectors of the correlation matrix."""
    values, vectors = np.linalg.eigh(np.corrcoef(z, rowvar=False))
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.sign(vectors.sum(axis=0))
    z = (z - z.mean(axis=0)) / z.std(axis=0, ddof=1)
    return z @ vectors[:, :m] @ (values[:m] / values[:m].sum()), values


#: Indicators drawn at random need not go together.
ANY_DIRECTION = pytest.mark.filterwarnings(
    "ignore::spatial_agglo.agglomeration.indicators.DirectionWarning"
)


@ANY_DIRECTION
@pytest.mark.parametrize(
    ("components", "count"),
    [("kaiser", lambda v: int((v > 1).sum())), (3, lambda v: 3), (1, lambda v: 1),
     (0.8, lambda v: int(np.argmax(v.cumsum() / v.sum() >= 0.8)) + 1), (1.0, lambda v: v.size)],
)  # fmt: skip
def test_against_the_correlation_matrix(components, count):
    data = related()
    up, down = ["x0", "x1", "x3"], ["x2", "x4"]
    signed = data[up + down].to_numpy() * np.array([1, 1, 1, -1, -1])
    _, eigenvalues = from_correlations(signed, 1)
    expected, _ = from_correlations(signed, count(eigenvalues))
    index = pca_index(data, positive=up, negative=down, components=components)
    np.testing.assert_allclose(index.scores, expected, atol=1e-10)
    np.testing.assert_allclose(index.components["eigenvalue"], eigenvalues, rtol=1e-10)
    assert index.components["retained"].sum() == count(eigenvalues)
    assert index.components["cumulative"].iloc[-1] == pytest.approx(1.0)


def test_by_pencil():
    """Two indicators: the first component is their mean, (z1 + z2)/sqrt 2."""
    data = frame_of([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0]])
    index = pca_index(data, positive=["x0", "x1"])
    root = np.sqrt(2.0)
    assert index.scores.to_list() == pytest.approx([-2 / root, 1 / root, 1 / root], rel=1e-12)
    assert index.components["eigenvalue"].to_list() == pytest.approx([1.5, 0.5], rel=1e-12)


@ANY_DIRECTION
def test_weights_give_the_scores_and_dimensions_are_indices_of_their_own():
    data = related(1)
    groups = {"a": ["x0", "x1"], "b": ["x2", "x3", "x4"]}
    index = pca_index(data, positive=list(data.columns), groups=groups)
    z = index.standardised
    np.testing.assert_allclose(z @ index.weights["weight"], index.scores, atol=1e-12)
    for name, members in groups.items():
        alone = pca_index(data, positive=members)
        np.testing.assert_allclose(index.dimensions[name], alone.scores, atol=1e-12)
    assert index.ranking(2001)["rank"].iloc[0] == 1


@ANY_DIRECTION
def test_units_of_measurement_do_not_matter_and_direction_does():
    data = related(2)
    names = list(data.columns)
    index = pca_index(data, positive=names)
    moved = pca_index(data * np.arange(1, 6) + 3.0, positive=names)
    np.testing.assert_allclose(moved.scores, index.scores, atol=1e-10)
    turned = pca_index(-data, negative=names)
    np.testing.assert_allclose(turned.scores, index.scores, atol=1e-10)
    order = data.sample(frac=1.0, random_state=0)
    np.testing.assert_allclose(
        pca_index(order, positive=names).scores[data.index], index.scores, atol=1e-10
    )


def test_an_indicator_against_its_direction_is_said():
    """Two indicators that move together and one, declared positive, that moves against them."""
    x = np.arange(6.0)
    data = frame_of(np.column_stack([x, x**2, -x + 0.1 * x**2]))
    with pytest.warns(DirectionWarning, match="'x2' has a negative weight"):
        found = pca_index(data, positive=["x0", "x1", "x2"])
    assert found.weights["weight"].lt(0).tolist() == [False, False, True]
    right = pca_index(data, positive=["x0", "x1"], negative=["x2"])
    assert (right.weights["weight"] > 0).all()


@pytest.mark.parametrize("name", [None, ["a"]])
def test_names_of_scores(name):
    with pytest.raises(OptionError, match="name="):
        pca_index(related(), positive=["x0", "x1"], name=name)
    with pytest.raises(DataError, match="named 'rank'"):
        pca_index(related(), positive=["x0", "x1"], name="rank")
    with pytest.raises(DataError, match="named 'rank'"):
        pca_index(related(), positive=["x0", "x1"], groups={"rank": ["x0", "x1"]})


def test_constant_indicators():
    data = related(3).assign(flat=4.0)
    names = list(data.columns)
    with pytest.warns(ConstantIndicatorWarning, match="'flat' is the same"):
        index = pca_index(data, positive=names)
    assert index.weights.loc["flat", "weight"] == 0.0
    plain = pca_index(data, positive=names[:-1])
    np.testing.assert_allclose(index.scores, plain.scores, atol=1e-12)
    groups = {"a": names[:-1], "b": ["flat"]}
    with (
        pytest.warns(ConstantIndicatorWarning),
        pytest.raises(IdentificationError, match="No indicator of dimension 'b'"),
    ):
        pca_index(data, positive=names, groups=groups)


@pytest.mark.parametrize("components", ["all", 0, -1, 1.5, True, 0.0, None])
def test_unknown_components(components):
    with pytest.raises(OptionError, match="components="):
        pca_index(related(), positive=["x0", "x1"], components=components)


def test_more_components_than_indicators():
    with pytest.raises(OptionError, match="there are 2 indicators"):
        pca_index(related(), positive=["x0", "x1"], components=3)
    with pytest.raises(DataError, match="two or more rows"):
        pca_index(related().iloc[:1], positive=["x0", "x1"])
