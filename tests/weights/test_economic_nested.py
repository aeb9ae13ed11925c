"""Economic and nested weights: brute force, and the algebra that they must obey."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError
from spatial_agglo.weights import (
    PanelWeights,
    SpatialWeights,
    convex,
    distances,
    economic_distance,
    given_distances,
    hadamard,
    higher_order,
    inverse_distance,
    knn,
    levels,
    nested,
    power,
    union_nearest,
)

IDS = list("abcdef")
FORMS = ("product", "convex", "scaled", "contiguity", "gravity", "asymmetric")


def world(seed, n=6):
    rng = np.random.default_rng(seed)
    d = np.abs(rng.normal(size=(n, n))) + 0.5
    d = d + d.T
    np.fill_diagonal(d, 0.0)
    ids = IDS[:n]
    gdp = pd.Series(rng.uniform(1, 100, n), index=ids, name="gdp")
    links = np.triu(rng.random((n, n)) < 0.6, 1) + np.diag(np.ones(n - 1), 1) > 0
    C = SpatialWeights.from_dense((links + links.T) * 1.0, ids)
    return given_distances(d, ids, unit="km"), d, gdp, C


def build(form, D, gdp, C, **options):
    if form == "convex":
        options = {"share": 0.3, **options}
    return nested(C if form == "contiguity" else D, gdp, form=form, **options)


def by_loops(form, d, gdp, C):
    """The table of METHODS, cell by cell."""
    n = len(gdp)
    y = gdp.to_numpy()
    geo, econ, out = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                geo[i, j], econ[i, j] = 1 / d[i, j], 1 / abs(y[i] - y[j])
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            out[i, j] = {
                "product": geo[i, j] * econ[i, j],
                "convex": 0.3 * geo[i, j] / geo[i].sum() + 0.7 * econ[i, j] / econ[i].sum(),
                "scaled": geo[i, j] * y[j] / y.mean(),
                "contiguity": C[i, j] * econ[i, j],
                "gravity": y[i] * y[j] / d[i, j] ** 2,
                "asymmetric": geo[i, j] * y[j] / (y[i] + y[j]),
            }[form]
    return out


@pytest.mark.parametrize("form", FORMS)
def test_every_form_by_loops(form):
    D, d, gdp, C = world(0)
    W = build(form, D, gdp.sample(frac=1, random_state=1), C)
    np.testing.assert_allclose(W.matrix.toarray(), by_loops(form, d, gdp, C.matrix.toarray()))
    assert W.ids.tolist() == IDS
    word = "similar" if form in ("product", "convex", "contiguity") else "rich"
    assert W.meaning == f"{word} neighbours weigh more"
    assert W.formula.startswith("w_ij = ")
    assert form in W.description
    assert "gdp" in W.description


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 1000))
def test_algebra_of_the_nested_forms(seed, scale):
    D, _, gdp, C = world(seed)
    G = inverse_distance(D)
    E = economic_distance(gdp)

    def std(W):
        return W.standardize("row").matrix.toarray()

    # standardising the parts first changes nothing for products
    product = hadamard(G, E)
    np.testing.assert_allclose(std(product), std(hadamard(G.standardize("row"), E)), rtol=1e-9)
    np.testing.assert_allclose(std(product), std(hadamard(G, E.standardize("row"))), rtol=1e-9)
    np.testing.assert_allclose(std(product), std(nested(D, gdp, form="product")), rtol=1e-9)
    # the mean cancels, and so does any scaling of rows, in "scaled"
    scaled = nested(D, gdp, form="scaled")
    np.testing.assert_allclose(std(scaled), std(nested(D, gdp * scale, form="scaled")), rtol=1e-9)
    rows = SpatialWeights.from_dense(G.matrix.toarray() * (1 + np.arange(6))[:, None], IDS)
    np.testing.assert_allclose(std(scaled), std(nested(rows, gdp, form="scaled")), rtol=1e-9)
    # gravity is "scaled" with d^-2 once rows are standardised
    squared = nested(D, gdp, form="scaled", power=2)
    np.testing.assert_allclose(std(nested(D, gdp, form="gravity")), std(squared), rtol=1e-9)
    for form in FORMS:
        W = build(form, D, gdp, C)
        np.testing.assert_allclose(std(W).sum(axis=1), 1.0)
        np.testing.assert_allclose(std(W), std(build(form, D, gdp * scale, C)), rtol=1e-8)
        radius = np.abs(np.linalg.eigvals(W.standardize("spectral").matrix.toarray())).max()
        assert radius == pytest.approx(1.0)
        bounded = W.standardize("min-max").matrix.toarray()
        assert min(bounded.sum(axis=0).max(), bounded.sum(axis=1).max()) == pytest.approx(1.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_permuting_units_permutes_the_weights(seed):
    D, d, gdp, C = world(seed)
    order = np.random.default_rng(seed).permutation(6)
    ids = [IDS[i] for i in order]
    turned = given_distances(d[np.ix_(order, order)], ids)
    for form in FORMS:
        one = build(form, D, gdp, C)
        two = build(form, turned, gdp.loc[ids], C.align(ids))
        np.testing.assert_allclose(two.align(IDS).matrix.toarray(), one.matrix.toarray(), rtol=1e-9)


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": IDS * 4,
            "year": np.repeat([2001, 2002, 2003, 2004], 6),
            "gdp": rng.uniform(1, 10, 24),
            "edu": rng.uniform(1, 10, 24),
        }
    )
    return sa.Panel(frame.sample(frac=1, random_state=0), entity="id", time="year")


def test_windows_are_explicit(panel):
    gdp = panel.column("gdp")
    cases = {
        "sample": gdp.mean(axis=0),
        2002: gdp[1],
        (2001, 2003): (gdp[0] + gdp[2]) / 2,
    }
    for window, level in cases.items():
        found = levels(panel, "gdp", window=window)
        np.testing.assert_allclose(found["gdp"], level)
        W = economic_distance(panel, "gdp", window=window)
        expected = np.abs(level[:, None] - level[None])
        np.testing.assert_allclose(
            W.matrix.toarray()[~np.eye(6, dtype=bool)], 1 / expected[~np.eye(6, dtype=bool)]
        )
    early = levels(panel, "gdp", window=slice(None, 2002))
    np.testing.assert_allclose(early["gdp"], gdp[:2].mean(axis=0))
    assert "2001 to 2002" in early.attrs["window"]
    with pytest.raises(OptionError, match="State the window"):
        economic_distance(panel, "gdp")
    with pytest.raises(OptionError, match="Name the variable"):
        economic_distance(panel, window="sample")
    with pytest.raises(DataError, match=r"window names 1999.*2001, 2002"):
        economic_distance(panel, "gdp", window=1999)
    with pytest.raises(DataError, match="Known words"):
        economic_distance(panel, "gdp", window="pre-sample")
    with pytest.raises(DataError, match="none of the panel's periods"):
        levels(panel, "gdp", window=slice(2010, None))
    with pytest.raises(OptionError, match="needs a Panel"):
        economic_distance(early, window="sample")


def test_one_matrix_per_year(panel):
    W = economic_distance(panel, "gdp", window="yearly")
    assert isinstance(W, PanelWeights)
    assert W.periods == (2001, 2002, 2003, 2004)
    y = panel.column("gdp")[2]
    assert W[2003].matrix[0, 1] == pytest.approx(1 / abs(y[0] - y[1]))
    D, *_ = world(1)
    both = nested(D, levels(panel, "gdp", window="yearly"), form="gravity")
    assert isinstance(both, PanelWeights)
    single = nested(D, levels(panel, "gdp", window=2003), form="gravity")
    np.testing.assert_allclose(both[2003].matrix.toarray(), single.matrix.toarray())
    fit = sa.sdm("gdp ~ edu", panel, W)  # the estimators take one W a year
    assert fit.workspace.irregular
    assert np.isfinite(fit.loglik)


def test_yearly_weights_say_so(panel):
    """The description names no single year, and keeps variable, distance and standardisation."""
    W = economic_distance(panel, "gdp", window="yearly").standardize("row")
    expected = "inverse economic distance (difference of gdp, yearly), row-standardised, by period"
    assert W.description == expected
    assert W.align(W.ids, [2002, 2003]).description == expected
    by_hand = {year: economic_distance(panel, "gdp", window=year) for year in panel.times}
    assert PanelWeights(by_hand).standardize("row").description == expected
    D, *_ = world(1)
    both = nested(D, levels(panel, "gdp", window="yearly"), form="convex", share=0.5)
    one = nested(D, levels(panel, "gdp", window=2003), form="convex", share=0.5)
    assert both.description == one.description.replace("2003", "yearly") + ", by period"


def test_other_economic_distances(panel):
    table = levels(panel, ["gdp", "edu"], window="sample")
    x = table.to_numpy()
    S = np.linalg.inv(np.cov(x, rowvar=False))
    logs, ratio = np.log(x[:, 0]), x[:, 0]
    W = economic_distance(table, distance="mahalanobis")
    L = economic_distance(table, "gdp", distance="log difference", power=2)
    R = economic_distance(table, "gdp", distance="ratio")
    for i in range(6):
        for j in range(6):
            if i != j:
                gap = x[i] - x[j]
                assert W.matrix[i, j] == pytest.approx(1 / np.sqrt(gap @ S @ gap))
                assert L.matrix[i, j] == pytest.approx((logs[i] - logs[j]) ** -2)
                expected = min(ratio[i], ratio[j]) / max(ratio[i], ratio[j])
                assert R.matrix[i, j] == pytest.approx(expected)
    with pytest.raises(OptionError, match="takes one variable; got 2"):
        economic_distance(table)
    with pytest.raises(DataError, match="collinear"):
        economic_distance(table.assign(twice=2 * table["gdp"]), distance="mahalanobis")
    with pytest.raises(OptionError, match="distance='cosine'"):
        economic_distance(table, "gdp", distance="cosine")


def test_ties_are_ruled_explicitly():
    gdp = pd.Series([1.0, 1.0, 3.0, 7.0], index=list("abcd"))
    with pytest.raises(WeightsError, match=r"same level: \('a', 'b'\).*ties='cap'"):
        economic_distance(gdp)
    capped = economic_distance(gdp, ties="cap").to_frame()
    assert capped.loc["a", "b"] == 0.5  # the largest of the others: 1 / |1 - 3|
    assert "capped" in economic_distance(gdp, ties="cap").description
    added = economic_distance(gdp, ties=0.5).to_frame()
    assert added.loc["a", "b"] == 2.0
    assert added.loc["a", "c"] == 0.4
    with pytest.raises(OptionError, match="ties='drop'"):
        economic_distance(gdp, ties="drop")
    with pytest.raises(WeightsError, match="All units have the same level"):
        economic_distance(gdp * 0 + 1, ties="cap")
    assert economic_distance(gdp, distance="ratio").to_frame().loc["a", "b"] == 1.0


def test_bad_levels():
    D, _, gdp, C = world(0)
    with pytest.raises(DataError, match="missing for 'c'"):
        economic_distance(gdp.where(gdp.index != "c"))
    with pytest.raises(DataError, match="must be positive.*'c'"):
        economic_distance(gdp.where(gdp.index != "c", -1.0), distance="ratio")
    with pytest.raises(DataError, match="must be positive.*'c'"):
        nested(D, gdp.where(gdp.index != "c", 0.0), form="gravity")
    for form in FORMS:
        with pytest.raises(AlignmentError, match="'f'"):
            build(form, D, gdp.drop("f"), C)
    with pytest.raises(DataError, match="A Series with one level"):
        nested(D, [1, 2], form="gravity")
    with pytest.raises(DataError, match="not numeric"):
        economic_distance(gdp.astype(str))
    with pytest.raises(DataError, match="no column 'z'"):
        economic_distance(gdp.to_frame(), "z")
    with pytest.raises(DataError, match="got int"):
        economic_distance(3)


def test_options_of_the_forms():
    D, _, gdp, C = world(0)
    with pytest.raises(OptionError, match="'product', 'convex', 'scaled'"):
        nested(D, gdp, form="nested")
    with pytest.raises(OptionError, match="needs share"):
        nested(D, gdp, form="convex")
    with pytest.raises(OptionError, match="has no share"):
        nested(D, gdp, form="product", share=0.5)
    with pytest.raises(OptionError, match="between 0 and 1"):
        nested(D, gdp, form="convex", share=1.5)
    with pytest.raises(OptionError, match="needs contiguity weights"):
        nested(D, gdp, form="contiguity")
    with pytest.raises(OptionError, match="power=... is for distances"):
        nested(C, gdp, form="product", power=2)
    towns = pd.DataFrame({"x": range(6), "y": 0.0, "gdp": gdp.to_numpy()}, index=IDS)
    from_points = nested(distances(towns, x="x", y="y"), gdp, form="product")
    assert from_points.n == 6


def test_algebra_of_weights():
    _, _, _, C = world(3)
    V = world(4)[3]
    c, v = C.matrix.toarray(), V.matrix.toarray()
    np.testing.assert_array_equal(C.T.matrix.toarray(), c.T)
    np.testing.assert_array_equal(hadamard(C, V).matrix.toarray(), c * v)
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_array_equal(power(C, 3).matrix.toarray(), c @ c @ c * off)
    mixed = convex(C, V.align(IDS[::-1]), share=0.25)
    twin = 0.25 * c / c.sum(1, keepdims=True) + 0.75 * v / v.sum(1, keepdims=True)
    np.testing.assert_allclose(mixed.matrix.toarray(), twin)
    assert mixed.row_standardized
    raw = convex(C, V, share=0.25, standardize=False)
    np.testing.assert_allclose(raw.matrix.toarray(), 0.25 * c + 0.75 * v)
    part = C.standardize("row").subset(["a", "b", "c", "d"])
    kept = c[:4, :4]
    np.testing.assert_allclose(part.matrix.toarray(), kept / kept.sum(1, keepdims=True))
    loose = C.standardize("row").subset(["a", "b", "c", "d"], standardize=False)
    np.testing.assert_allclose(loose.matrix.toarray(), (c / c.sum(1, keepdims=True))[:4, :4])
    assert "4 of 6 units" in loose.description
    for bad in (0, 1.5, True):
        with pytest.raises(OptionError, match="whole number"):
            power(C, bad)
        with pytest.raises(OptionError, match="whole number"):
            higher_order(C, bad)


def test_isolates_are_linked_to_their_nearest():
    island = SpatialWeights.from_dense(
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]], ids=["a", "b", "c"], isolates="allow"
    )
    places = pd.DataFrame({"x": [0.0, 1.0, 9.0], "y": 0.0}, index=["a", "b", "c"])
    joined = union_nearest(island, knn(places, k=1, x="x", y="y"))
    assert joined.isolates.empty
    assert joined.to_frame().loc["c"].tolist() == [0.0, 1.0, 0.0]
    assert joined.to_frame().loc["b"].tolist() == [1.0, 0.0, 1.0]
    assert "1 isolate(s)" in joined.description
    assert union_nearest(joined, joined) is joined


def test_spectral_standardisation_of_a_larger_matrix():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"x": rng.random(700), "y": rng.random(700)})
    W = inverse_distance(places, x="x", y="y", cutoff=0.2)
    scaled = W.standardize("spectral")
    assert scaled.standardization == "spectral"
    radius = np.abs(np.linalg.eigvals(scaled.matrix.toarray())).max()
    assert radius == pytest.approx(1.0, abs=1e-9)
    assert scaled.standardize("row").row_standardized


def test_ties_matter_only_between_linked_units():
    path = SpatialWeights.from_dense([[0, 1, 0], [1, 0, 1], [0, 1, 0]], list("abc"))
    level = pd.Series([1.0, 2.0, 1.0], index=list("abc"), name="gdp")
    W = nested(path, level, form="contiguity")
    assert W.to_frame().loc["b"].tolist() == [1.0, 0.0, 1.0]
    tied = pd.Series([1.0, 1.0, 3.0], index=list("abc"), name="gdp")
    with pytest.raises(WeightsError, match=r"linked units have the same level: \('a', 'b'\)"):
        nested(path, tied, form="contiguity")
    capped = nested(path, tied, form="contiguity", ties="cap").to_frame()
    assert capped.loc["a", "b"] == capped.loc["b", "c"] == 0.5
    assert nested(path, tied, form="contiguity", ties=1.0).to_frame().loc["a", "b"] == 1.0


def test_flows_keep_units_that_trade_with_themselves_only():
    table = pd.DataFrame({"i": ["a", "b", "c"], "j": ["b", "a", "c"], "v": [1.0, 2.0, 3.0]})
    names = {"source": "i", "target": "j", "value": "v"}
    with pytest.raises(WeightsError, match="no neighbours: 'c'"):
        sa.weights.flows(table, **names)
    assert sa.weights.flows(table, **names, isolates="allow").ids.tolist() == ["a", "b", "c"]


def test_units_out_of_reach_are_not_neighbours():
    d = [
        [0, 1, np.inf, np.inf],
        [1, 0, np.inf, np.inf],
        [np.inf, np.inf, 0, 1],
        [np.inf] * 2 + [1, 0],
    ]
    with pytest.raises(WeightsError, match="Fewer than 2 units can be reached from 'a', 'b'"):
        knn(given_distances(d, list("abcd")), k=2)
    assert knn(given_distances(d, list("abcd")), k=1).n_links == 4


def test_too_many_units_for_a_dense_matrix(monkeypatch):
    import sys

    module = sys.modules[economic_distance.__module__]
    monkeypatch.setattr(module, "DENSE_UNITS", 3)
    with pytest.raises(WeightsError, match="between 4 units need 0 GiB.*form='contiguity'"):
        economic_distance(pd.Series([1.0, 2.0, 4.0, 7.0], index=list("abcd")))
