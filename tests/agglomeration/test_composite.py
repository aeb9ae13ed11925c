"""Composite indices with entropy weights."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatial_agglo.agglomeration import CompositeIndex, ConstantIndicatorWarning, composite_index
from spatial_agglo.agglomeration.entropy import entropies, shares, weights_of
from spatial_agglo.errors import DataError, IdentificationError, OptionError

#: Alternatives by criteria: Elsayed, Dawood & Karthikeyan (2017), Int. J. Eng. Trends Technol. 46.
CRITERIA = np.array([
    [7, 312, 1891, 6613, 163], [72, 88, 728, 941804, 1078], [10, 252, 2594, 3466, 117471],
    [10, 145, 980, 2371, 86329], [65, 54, 350, 501, 29897], [29, 48, 380, 912, 34051],
    [7, 476, 3300, 78470, 2212], [70, 87, 650, 733, 819000], [4, 86, 591, 3015, 103],
    [12, 79, 579, 3240, 96098], [21, 45, 261, 1253, 453], [1, 72, 530, 4333, 0.104800],
])  # fmt: skip


def frame_of(values, T=1):
    """Rows of T periods of as many units, unit slow."""
    values = np.asarray(values, dtype=float)
    N = len(values) // T
    index = pd.MultiIndex.from_product(
        [[f"p{i}" for i in range(N)], range(2001, 2001 + T)], names=["province", "year"]
    )
    return pd.DataFrame(values, index, [f"x{j}" for j in range(values.shape[1])])


def dense(values, negative, kind):
    """Scores and weights of one set of units, loop by loop."""
    n, J = values.shape
    Y = [[0.0] * J for _ in range(n)]
    for j in range(J):
        low, high = min(values[:, j]), max(values[:, j])
        for i in range(n):
            up = values[i, j] - low if not negative[j] else high - values[i, j]
            Y[i][j] = up / (high - low)
    divergence = []
    P = [[0.0] * J for _ in range(n)]
    for j in range(J):
        total = sum(row[j] for row in Y)
        entropy = 0.0
        for i in range(n):
            P[i][j] = Y[i][j] / total
            if P[i][j] > 0:
                entropy -= P[i][j] * math.log(P[i][j]) / math.log(n)
        divergence.append(1 - entropy)
    w = [d / sum(divergence) for d in divergence]
    what, factor = (P, 1000) if kind == "share" else (Y, 100)
    return [factor * sum(a * b for a, b in zip(row, w, strict=True)) for row in what], w


def test_weights_of_pymcdm():
    """pymcdm 1.4.0, weights.entropy_weights; published to six digits."""
    found = weights_of(entropies(shares(CRITERIA)))
    expected = [0.10499069, 0.06912398, 0.07137315, 0.44993707, 0.3045751]
    np.testing.assert_allclose(found, expected, atol=5e-9)


def test_by_pencil():
    """Y of patents 0, 1/4, 1, of smoke (reversed) 0, 1, 1/2; ln 3 = 1.0986.

    E = (0.2 ln 5 + 0.8 ln 1.25)/ln 3 = 0.4555 and (2/3 ln 1.5 + 1/3 ln 3)/ln 3 = 0.5794; the
    divergences 0.5445 and 0.4206 give weights 0.5642 and 0.4358.
    """
    data = pd.DataFrame({"city": list("abc"), "patents": [0.0, 1.0, 4.0], "smoke": [3.0, 1.0, 2.0]})
    options = {"positive": ["patents"], "negative": ["smoke"], "entity": "city"}
    index = composite_index(data, **options)
    assert index.weights["entropy"].to_list() == pytest.approx([0.4555, 0.5794], abs=5e-5)
    w = index.weights["weight"].to_list()
    assert w == pytest.approx([0.5642, 0.4358], abs=5e-5)
    expected = [0.0, 1000 * (w[0] * 0.2 + w[1] * 2 / 3), 1000 * (w[0] * 0.8 + w[1] / 3)]
    assert index.scores.to_list() == pytest.approx(expected, rel=1e-12)
    standard = composite_index(data, **options, score="standardised")
    expected = [0.0, 100 * (w[0] / 4 + w[1]), 100 * (w[0] + w[1] / 2)]
    assert standard.scores.to_list() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["share", "standardised"])
@pytest.mark.parametrize("pooled", [True, False])
def test_against_loops(kind, pooled):
    rng = np.random.default_rng(0)
    data = frame_of(rng.lognormal(size=(4 * 7, 5)), T=4)
    up, down = ["x0", "x2", "x3"], ["x1", "x4"]
    index = composite_index(data, positive=up, negative=down, pooled=pooled, score=kind)
    assert index.scores.index.equals(data.index)
    for year in [None] if pooled else index.times:
        part = data if year is None else data.xs(year, level=1, drop_level=False)
        values = part[up + down].to_numpy()
        scores, w = dense(values, [False] * 3 + [True] * 2, kind)
        np.testing.assert_allclose(index.scores[part.index], scores, rtol=1e-11)
        weights = index.weights if year is None else index.weights.loc[year]
        assert list(weights.index) == up + down
        np.testing.assert_allclose(weights["weight"], w, rtol=1e-10)
        assert list(weights["direction"]) == list("+++--")


def test_dimensions_have_weights_and_scores_of_their_own():
    """A dimension is the index of its indicators alone; the overall score does not change."""
    rng = np.random.default_rng(1)
    data = frame_of(rng.lognormal(size=(3 * 6, 5)), T=3)
    up, down = ["x0", "x2", "x3"], ["x1", "x4"]
    groups = {"technology": ["x1", "x0"], "green": ["x4", "x2", "x3"]}
    for pooled in (True, False):
        options = {"positive": up, "negative": down, "pooled": pooled, "score": "standardised"}
        index = composite_index(data, groups=groups, **options)
        plain = composite_index(data, **options)
        np.testing.assert_allclose(index.scores, plain.scores, rtol=1e-12)
        for name, members in groups.items():
            alone = composite_index(
                data,
                positive=[x for x in members if x in up],
                negative=[x for x in members if x in down],
                pooled=pooled,
                score="standardised",
            )
            np.testing.assert_allclose(index.dimensions[name], alone.scores, rtol=1e-12)
            own = index.weights[index.weights["group"] == name]["weight_in_group"]
            np.testing.assert_allclose(
                own.to_numpy(), alone.weights["weight"][own.index].to_numpy(), rtol=1e-12
            )
        assert list(index.dimensions.columns) == ["technology", "green"]
        # Indicators stand dimension by dimension, as in the papers' tables.
        assert list(index.mean_weights.index) == ["x1", "x0", "x4", "x2", "x3"]


def test_the_units_compared_decide_the_scale():
    rng = np.random.default_rng(2)
    values = rng.lognormal(sigma=0.1, size=(5 * 31, 3)) * np.tile(np.arange(1.0, 6.0), 31)[:, None]
    data = frame_of(values, T=5)
    names = list(data.columns)
    by_year = composite_index(data, positive=names, pooled=False).scores
    pooled = composite_index(data, positive=names).scores
    # Shares of 31 provinces in a year have mean 1000/31 = 32.26; pooled ones sum to 1000.
    np.testing.assert_allclose(by_year.groupby("year").mean(), 1000 / 31, rtol=1e-12)
    assert pooled.sum() == pytest.approx(1000.0, rel=1e-12)
    assert pooled.groupby("year").mean().is_monotonic_increasing
    # By period on the scale of all rows: weights by period, and growth can be seen.
    mixed = composite_index(
        data, positive=names, pooled=False, scaling="pooled", score="standardised"
    )
    same = composite_index(data, positive=names, score="standardised")
    pd.testing.assert_frame_equal(mixed.standardised, same.standardised)
    assert mixed.weights.index.names == ["year", "indicator"]
    assert mixed.scores.groupby("year").mean().is_monotonic_increasing
    for year in mixed.times:
        Y = same.standardised.xs(year, level=1).to_numpy()
        w = weights_of(entropies(shares(Y)))
        np.testing.assert_allclose(mixed.weights.loc[year, "weight"], w, rtol=1e-12)
        np.testing.assert_allclose(mixed.scores.xs(year, level=1), 100 * Y @ w, rtol=1e-12)


tables = arrays(
    float,
    st.tuples(st.integers(3, 9), st.integers(2, 5)),
    elements=st.floats(-1e3, 1e3).map(lambda v: round(v, 3)),
).filter(lambda a: (np.ptp(a, axis=0) > 0.5).all())


@settings(max_examples=80, deadline=None)
@given(values=tables, seed=st.integers(0, 10**6))
def test_properties(values, seed):
    rng = np.random.default_rng(seed)
    data = frame_of(values)
    names = list(data.columns)
    down = [name for name in names if rng.random() < 0.5]
    up = [name for name in names if name not in down]
    groups = {"a": names[:1], "b": names[1:]}
    options = {"positive": up, "negative": down}
    index = composite_index(data, **options, groups=groups, score="standardised")
    weights = index.weights
    assert weights["weight"].sum() == pytest.approx(1.0, rel=1e-12)
    sums = weights.groupby("group")["weight_in_group"].sum()
    np.testing.assert_allclose(sums, 1.0, rtol=1e-12)
    assert (weights["weight"] >= 0).all()
    assert weights["entropy"].between(0, 1).all()
    assert index.scores.between(-1e-9, 100 + 1e-9).all()
    # The order of rows and of indicators does not matter.
    order = rng.permutation(len(data))
    swapped = composite_index(
        data.iloc[order], positive=up[::-1], negative=down[::-1], score="standardised"
    )
    assert list(swapped.scores.index) == list(data.index[order])
    np.testing.assert_allclose(swapped.scores[data.index], index.scores, atol=1e-9)
    # Neither do units of measurement, nor an indicator turned round with its direction.
    scale, shift = rng.uniform(0.1, 10.0, len(names)), rng.uniform(-5, 5, len(names))
    moved = composite_index(data * scale + shift, **options, score="standardised")
    np.testing.assert_allclose(moved.scores, index.scores, atol=1e-7)
    turned = composite_index(-data, positive=down, negative=up, score="standardised")
    np.testing.assert_allclose(turned.scores, index.scores, atol=1e-9)
    # The two kinds of score differ by indicator, not in their weights.
    share = composite_index(data, **options)
    np.testing.assert_allclose(share.weights["weight"].loc[weights.index], weights["weight"])
    assert share.scores.sum() == pytest.approx(1000.0, rel=1e-9)


def test_the_best_in_everything_scores_100():
    data = frame_of([[5.0, 1.0], [3.0, 4.0], [1.0, 9.0]])
    index = composite_index(data, positive=["x0"], negative=["x1"], score="standardised")
    assert index.scores.to_list()[0] == pytest.approx(100.0, rel=1e-12)
    assert index.scores.to_list()[2] == 0.0


def test_zero_times_its_logarithm_is_zero():
    """One unit has everything: the entropy of (1, 0, 0) is 0, its weight the largest."""
    data = frame_of([[9.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    index = composite_index(data, positive=["x0", "x1"])
    assert index.weights.loc["x0", "entropy"] == 0.0
    E = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3)) / math.log(3)
    assert index.weights.loc["x1", "entropy"] == pytest.approx(E, rel=1e-13)
    assert index.weights.loc["x0", "weight"] == pytest.approx(1 / (2 - E), rel=1e-13)


# --- constant indicators ----------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 7.0, 0.1 + 0.2, 1e9 / 3])
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_a_constant_indicator_has_weight_zero(level, side):
    data = frame_of(np.random.default_rng(0).uniform(size=(6, 3)))
    plain = composite_index(data, positive=["x0", "x1", "x2"])
    options = {"positive": ["x0", "x1", "x2"], "negative": []}
    options[side] = [*options[side], "flat"]
    with pytest.warns(ConstantIndicatorWarning, match="'flat' is the same for all units: it has"):
        index = composite_index(data.assign(flat=level), **options)
    assert index.weights.loc["flat", "weight"] == 0.0
    assert index.weights.loc["flat", "entropy"] == 1.0
    np.testing.assert_allclose(index.scores, plain.scores, rtol=1e-13)


def test_an_indicator_that_is_constant_in_some_periods():
    data = frame_of(np.random.default_rng(0).uniform(size=(3 * 5, 3)), T=3)
    year = data.index.get_level_values(1)
    data["x1"] = data["x1"].where(~year.isin([2001, 2003]), 0.5)
    for scaling in ("same", "pooled"):
        with pytest.warns(ConstantIndicatorWarning, match="in 2001, 2003: it has weight 0 there"):
            index = composite_index(
                data, positive=list(data.columns), pooled=False, scaling=scaling
            )
        w = index.weights["weight"].xs("x1", level="indicator")
        assert list(w == 0.0) == [True, False, True]
        np.testing.assert_allclose(index.weights["weight"].groupby("year").sum(), 1.0)
    with pytest.warns(ConstantIndicatorWarning, match="in 2001, 2003: it counts as 0 there"):
        composite_index(data, positive=list(data.columns), scaling="period")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        composite_index(data, positive=list(data.columns))


def test_nothing_to_weigh():
    data = frame_of(np.ones((4, 2)))
    with pytest.raises(IdentificationError, match="No indicator differs"):
        composite_index(data, positive=["x0", "x1"])
    data["x2"] = [1.0, 2.0, 3.0, 5.0]
    with pytest.raises(IdentificationError, match="of dimension 'a' differs"):
        composite_index(data, positive=["x0", "x1", "x2"], groups={"a": ["x0", "x1"], "b": ["x2"]})
    late = frame_of([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0], [1.0, 3.0]], T=2).drop(columns="x0")
    late["x1"] = late["x1"].where(late.index.get_level_values(1) == 2002, 2.0)
    with pytest.raises(IdentificationError, match="compared in 2001"):
        composite_index(late, positive=["x1"], pooled=False)


# --- the result -------------------------------------------------------------------------


def test_ranking_and_mean_weights():
    data = frame_of(np.random.default_rng(3).uniform(size=(2 * 5, 4)), T=2)
    groups = {"a": ["x0", "x1"], "b": ["x2", "x3"]}
    index = composite_index(
        data, positive=list(data.columns), groups=groups, pooled=False, name="level"
    )
    assert isinstance(index, CompositeIndex)
    ranking = index.ranking(2002)
    assert list(ranking.columns) == ["rank", "level", "a", "b"]
    assert list(ranking["rank"]) == [1, 2, 3, 4, 5]
    scores = index.scores.xs(2002, level=1)
    assert ranking.index[0] == scores.idxmax()
    assert ranking["level"].is_monotonic_decreasing
    assert ranking.loc["p3", "a"] == index.dimensions.loc[("p3", 2002), "a"]
    with pytest.raises(DataError, match="no period 1999; there are 2001, 2002"):
        index.ranking(1999)
    mean = index.mean_weights
    by_hand = (index.weights.loc[2001, "weight"] + index.weights.loc[2002, "weight"]) / 2
    np.testing.assert_allclose(mean["weight"], by_hand, rtol=1e-14)
    assert list(mean["group"]) == ["a", "a", "b", "b"]
    pooled = composite_index(data, positive=list(data.columns))
    assert pooled.mean_weights is pooled.weights
    assert "4 indicators" in repr(pooled)


def test_equal_units_share_a_rank():
    data = frame_of([[1.0], [3.0], [3.0], [2.0]])
    index = composite_index(data, positive=["x0"])
    assert index.ranking(2001)["rank"].to_dict() == {"p1": 1, "p2": 1, "p3": 3, "p0": 4}


def test_scores_join_by_label():
    data = frame_of(np.random.default_rng(4).uniform(size=(2 * 5, 2)), T=2)
    shuffled = data.sample(frac=1.0, random_state=0)
    a = composite_index(data, positive=["x0", "x1"]).scores
    b = composite_index(shuffled.reset_index(), positive=["x0", "x1"], entity="province",
                        time="year").scores  # fmt: skip
    assert list(b.index) == list(shuffled.index)
    pd.testing.assert_series_equal(a, b.loc[a.index])


# --- the gate ---------------------------------------------------------------------------


def test_wrong_arguments():
    data = frame_of(np.random.default_rng(5).uniform(size=(4, 3)))

    def index(frame=data, **options):
        return composite_index(frame, **({"positive": ["x0", "x1"]} | options))

    missing = data.copy()
    missing.iloc[2, 1] = np.nan
    with pytest.raises(DataError, match=r"1 value\(s\) are missing.*'p2', 2001, 'x1'.*interpolate"):
        index(missing)
    with pytest.raises(DataError, match="infinite"):
        index(data.replace(data.iloc[0, 0], np.inf))
    with pytest.raises(DataError, match="no column 'y'"):
        index(positive=["x0", "y"])
    with pytest.raises(DataError, match="both positive and negative"):
        index(negative=["x1"])
    with pytest.raises(DataError, match="more than once"):
        index(positive=["x0", "x0"])
    with pytest.raises(DataError, match=r"Write positive=\['x0'\]"):
        index(positive="x0")
    with pytest.raises(DataError, match="Name the indicators"):
        index(positive=[])
    with pytest.raises(DataError, match="'x1' is in no dimension"):
        index(groups={"a": ["x0"]})
    with pytest.raises(DataError, match="'x2', which is neither"):
        index(groups={"a": ["x0", "x1", "x2"]})
    with pytest.raises(DataError, match="more than one dimension"):
        index(groups={"a": ["x0", "x1"], "b": ["x1"]})
    with pytest.raises(DataError, match="both named 'a'"):
        index(groups={"a": ["x0", "x1"]}, name="a")
    with pytest.raises(DataError, match="repeat"):
        index(pd.concat([data, data]))
    with pytest.raises(DataError, match="there is one"):
        index(data.iloc[:1])
    with pytest.raises(OptionError, match="score"):
        index(score="entropy")
    for pooled in ("x", None, 1):
        with pytest.raises(OptionError, match="pooled="):
            index(pooled=pooled)
    for name in (["a"], None):
        with pytest.raises(OptionError, match="name="):
            index(name=name)
    with pytest.raises(DataError, match="named 'rank'"):
        index(groups={"rank": ["x0", "x1"]})
    with pytest.raises(DataError, match="no period"):
        index().ranking([2001])
    with pytest.raises(OptionError, match="scaling"):
        index(scaling="year")
    with pytest.raises(DataError, match=r"entity=\.\.\. and time="):
        index(data.reset_index(drop=True))


def test_one_unit_in_a_period_cannot_be_compared():
    data = frame_of(np.random.default_rng(6).uniform(size=(2 * 3, 2)), T=2).iloc[:-2]
    composite_index(data.iloc[:3], positive=["x0", "x1"])
    with pytest.raises(DataError, match=r"there is one, \('p1', 2002\)|there is one"):
        composite_index(data.iloc[:3], positive=["x0", "x1"], pooled=False)
