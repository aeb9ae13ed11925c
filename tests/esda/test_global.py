"""Geary, Getis-Ord, permutations, pooled and bivariate statistics, and data that have gaps."""

import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError
from spatial_agglo.esda.autocorrelation import adjusted

STATISTICS = {"moran": "I", "geary": "C", "getis_ord": "G"}


@pytest.fixture(scope="module")
def esda():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("esda")


@pytest.fixture
def w(cigarettes, queen):
    return queen.align(cigarettes.entities).to_libpysal().to_W()


def test_geary_against_r(cigarettes, queen, reference):
    expected = reference("cigarettes_moran_r")
    for assumption, theirs in (("randomization", "randomisation"), ("normality", "normality")):
        frame = sa.esda.geary(cigarettes, list(expected), queen, assumption=assumption)
        for name, years in expected.items():
            for year, values in years.items():
                row, geary = frame.loc[(name, int(year))], values[theirs]["geary"]
                np.testing.assert_allclose(row["C"], geary["C"], rtol=0, atol=1e-10)
                np.testing.assert_allclose(row["variance"], geary["V"], rtol=1e-8)
                np.testing.assert_allclose(row["z"], -geary["z"], rtol=0, atol=1e-8)
                np.testing.assert_allclose(row["p_value"], geary["p"], rtol=1e-7)


def test_getis_ord_against_pysal(cigarettes, esda):
    W = sa.datasets.weights("cigarettes_queen")
    w = W.align(cigarettes.entities).to_libpysal().to_W()
    frame = sa.esda.getis_ord(cigarettes, "sales", W)
    for t in (0, 15, 29):
        theirs = esda.G(cigarettes.column("sales")[t].copy(), w, permutations=0)
        row = frame.loc[("sales", cigarettes.times[t])]
        assert row["G"] == pytest.approx(theirs.G)
        assert row["expected"] == pytest.approx(theirs.EG)
        assert row["variance"] == pytest.approx(theirs.VG, rel=1e-6)
        assert row["z"] == pytest.approx(theirs.z_norm, rel=1e-6)


@pytest.mark.parametrize("name", STATISTICS)
def test_values_by_loops(cigarettes, queen, name):
    x, W = cigarettes.column("sales")[-1], queen.align(cigarettes.entities).matrix.toarray()
    z, N = x - x.mean(), 46
    top = bottom = 0.0
    for i in range(N):
        for j in range(N):
            if name == "moran":
                top += N * W[i, j] * z[i] * z[j]
            elif name == "geary":
                top += (N - 1) * W[i, j] * (x[i] - x[j]) ** 2
            else:
                top += W[i, j] * x[i] * x[j]
                bottom += x[i] * x[j] * (i != j)
    if name != "getis_ord":
        bottom = W.sum() * (z @ z) * (2 if name == "geary" else 1)
    frame = getattr(sa.esda, name)(cigarettes, "sales", queen)
    assert frame.iloc[-1][STATISTICS[name]] == pytest.approx(top / bottom)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("assumption", ["randomization"])
def test_moments_against_all_permutations(name, assumption):
    """With six units the null distribution can be listed in full: 720 permutations."""
    from itertools import permutations

    rng = np.random.default_rng(0)
    dense = rng.random((6, 6)) * (rng.random((6, 6)) < 0.7)
    np.fill_diagonal(dense, 0.0)
    W = sa.SpatialWeights.from_dense(dense, list("abcdef"))
    x = rng.uniform(1, 5, 6)
    rows = np.array(list(permutations(range(6))))
    frame = pd.DataFrame(
        {"i": np.tile(list("abcdef"), 720), "t": np.repeat(np.arange(720), 6), "x": x[rows].ravel()}
    )
    panel = sa.Panel(frame, entity="i", time="t")
    all_values = getattr(sa.esda, name)(panel, "x", W)[STATISTICS[name]]
    one = getattr(sa.esda, name)(panel, "x", W, assumption=assumption).iloc[0]
    assert one["expected"] == pytest.approx(all_values.mean(), rel=1e-9)
    assert one["variance"] == pytest.approx(all_values.var(ddof=0), rel=1e-9)
    for alternative in ("greater", "less", "two-sided"):
        row = getattr(sa.esda, name)(
            panel, "x", W, permutations=20_000, alternative=alternative
        ).iloc[0]
        gap = all_values - one["expected"]
        mine = row[STATISTICS[name]] - one["expected"]
        exact = {
            "greater": (gap >= mine - 1e-12).mean(),
            "less": (gap <= mine + 1e-12).mean(),
            "two-sided": (gap.abs() >= abs(mine) - 1e-12).mean(),
        }[alternative]
        assert row["p_permutation"] == pytest.approx(exact, abs=0.015)


def test_permutations_against_pysal(cigarettes, queen, w, esda):
    ours = sa.esda.moran(
        cigarettes, "logc", queen, permutations=9999, alternative="greater", seed=1
    )
    np.random.seed(0)
    for t in range(0, 30, 7):
        x = cigarettes.column("logc")[t].copy()
        theirs = esda.Moran(x, w, permutations=9999, two_tailed=False)
        p = theirs.p_sim
        mine = ours.iloc[t]["p_permutation"]
        assert abs(mine - p) < 5 * np.sqrt(2 * p * (1 - p) / 9999) + 1e-4


def test_the_seed_decides(cigarettes, queen):
    options = {"permutations": 199}
    one = sa.esda.moran(cigarettes, ["logc", "logp"], queen, **options, seed=5)
    two = sa.esda.moran(cigarettes, ["logc", "logp"], queen, **options, seed=5)
    pd.testing.assert_frame_equal(one, two)
    other = sa.esda.moran(cigarettes, ["logc", "logp"], queen, **options, seed=6)
    assert not one["p_permutation"].equals(other["p_permutation"])
    rng = np.random.default_rng(5)
    state = rng.bit_generator.state
    three = sa.esda.moran(cigarettes, ["logc", "logp"], queen, **options, seed=rng)
    pd.testing.assert_frame_equal(one, three)
    assert rng.bit_generator.state == state
    # a variable's p values do not depend on the company it is tested in, nor on row order
    alone = sa.esda.moran(cigarettes, "logp", queen, **options, seed=5)
    pd.testing.assert_frame_equal(one.loc[["logp"]], alone)
    frame = cigarettes.frame.reset_index().sample(frac=1, random_state=0)
    panel = sa.Panel(frame, entity="state", time="year")
    turned = queen.align(queen.ids[::-1])
    again = sa.esda.moran(panel, ["logc", "logp"], turned, **options, seed=5)
    pd.testing.assert_frame_equal(one, again, rtol=1e-10)
    yearly = sa.weights.PanelWeights(dict.fromkeys(cigarettes.times, queen))
    by_year = sa.esda.moran(cigarettes, ["logc", "logp"], yearly, **options, seed=5)
    pd.testing.assert_frame_equal(one, by_year, rtol=1e-10)


def test_small_batches_change_nothing(monkeypatch, cigarettes, queen):
    from spatial_agglo.esda import permutation

    one = sa.esda.moran(cigarettes, "logc", queen, permutations=99)
    monkeypatch.setattr(permutation, "BATCH_CELLS", 46 * 30 * 7)
    two = sa.esda.moran(cigarettes, "logc", queen, permutations=99)
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)


def test_bivariate_against_loops_and_pysal(cigarettes, queen, w, esda):
    ours = sa.esda.moran_bivariate(cigarettes, "logc", ["logp"], queen, permutations=999)
    for t in (0, 29):
        y, x = cigarettes.column("logc")[t], cigarettes.column("logp")[t]
        theirs = esda.Moran_BV(x.copy(), y.copy(), w, permutations=0)
        # PySAL standardises with N - 1; the ratio is the same. Its first argument is in place
        swapped = esda.Moran_BV(y.copy(), x.copy(), w, permutations=0)
        zy, zx = (y - y.mean()) / y.std(), (x - x.mean()) / x.std()
        W = queen.align(cigarettes.entities).matrix.toarray()
        total = sum(zy[i] * W[i, j] * zx[j] for i in range(46) for j in range(46))
        mine = ours.iloc[t]["I"]
        assert mine == pytest.approx(total / 46)
        candidates = [theirs.I, swapped.I, theirs.I * 45 / 46, swapped.I * 45 / 46]
        assert np.min(np.abs(np.array(candidates) - mine)) < 1e-9


def test_bivariate_with_itself_is_moran(cigarettes, queen):
    one = sa.esda.moran_bivariate(cigarettes, "logc", "logc", queen, permutations=0)["I"]
    two = sa.esda.moran(cigarettes, "logc", queen)["I"]
    pd.testing.assert_series_equal(one, two)


def test_pooled_by_loops_and_its_size():
    """The pooled test keeps its size for persistent variables, thanks to its scheme."""
    rng = np.random.default_rng(0)
    side = [(i, j) for i in range(5) for j in range(5)]
    links = {
        f"{i}{j}": [f"{a}{b}" for a, b in side if abs(a - i) + abs(b - j) == 1] for i, j in side
    }
    W = sa.SpatialWeights.from_dict(links).standardize("row")
    hits = 0
    for repeat in range(200):
        x = rng.normal(size=25) + 0.3 * rng.normal(size=(8, 25))  # the units persist
        frame = pd.DataFrame(
            {"i": np.tile(list(links), 8), "t": np.repeat(range(8), 25), "x": x.ravel()}
        )
        panel = sa.Panel(frame, entity="i", time="t")
        found = sa.esda.pooled_moran(panel, "x", W, permutations=99, seed=repeat).iloc[0]
        hits += found["p_permutation"] <= 0.05
    assert 0.01 <= hits / 200 <= 0.10
    z = panel.column("x") - panel.column("x").mean(axis=1, keepdims=True)
    matrix = W.align(panel.entities).matrix.toarray()
    twin = sum(z[t] @ matrix @ z[t] for t in range(8)) / (z**2).sum()
    assert found["I"] == pytest.approx(twin)
    yearly = sa.weights.PanelWeights(dict.fromkeys(range(8), W))
    again = sa.esda.pooled_moran(panel, "x", yearly, permutations=99, seed=repeat).iloc[0]
    assert again["I"] == pytest.approx(twin)
    assert again["p_permutation"] == found["p_permutation"]


def test_multiple_testing():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(adjusted(p, "bonferroni"), [0.04, 0.16, np.nan, 0.12, 1.0])
    np.testing.assert_allclose(adjusted(p, "holm"), [0.04, 0.09, np.nan, 0.09, 0.5])
    np.testing.assert_allclose(adjusted(p, "fdr"), [0.04, 0.16 / 3, np.nan, 0.16 / 3, 0.5])
    assert np.isnan(adjusted(np.array([np.nan]), "fdr")).all()


def test_adjusted_column(cigarettes, queen):
    frame = sa.esda.moran(cigarettes, ["logc", "logp"], queen, adjust="bonferroni")
    np.testing.assert_allclose(frame["p_adjusted"], np.minimum(frame["p_value"] * 30, 1))


def test_gaps_are_errors_or_nan_with_the_reason(cigarettes, queen):
    frame = cigarettes.frame.reset_index()
    at = frame.index[(frame["state"] == "Ohio") & (frame["year"] == 1970)]
    frame.loc[at, "logc"] = np.nan
    frame.loc[frame["year"] == 1980, "logp"] = 3.0
    panel = sa.Panel(frame, entity="state", time="year")
    with pytest.raises(DataError, match=r"1 missing.*\('Ohio', 1970\)"):
        sa.esda.moran(panel, "logc", queen)
    with pytest.raises(DataError, match=r"the same for all units in period\(s\) 1980"):
        sa.esda.moran(panel, "logp", queen)
    found = sa.esda.moran(panel, ["logc", "logp"], queen, missing="nan", permutations=99)
    whole = sa.esda.moran(cigarettes, ["logc", "logp"], queen, permutations=99)
    assert found.loc[("logc", 1970), "note"] == "missing for 'Ohio'"
    assert found.loc[("logp", 1980), "note"] == "the same for all units"
    lost = found["I"].isna()
    assert lost.sum() == 2
    assert found.loc[lost, "p_permutation"].isna().all()
    pd.testing.assert_frame_equal(found.loc[~lost].drop(columns="note"), whole.loc[~lost])
    with pytest.raises(OptionError, match="missing='drop'"):
        sa.esda.moran(panel, "logc", queen, missing="drop")


def test_series_and_residuals_as_variables(cigarettes, queen):
    fit = sa.ols("logc ~ logp + logy", cigarettes, effects="two-way")
    found = sa.esda.moran(cigarettes, {"residuals": fit.resids}, queen)
    twin = cigarettes.frame.assign(e=fit.resids)
    panel = sa.Panel(twin)
    pd.testing.assert_frame_equal(
        found.droplevel("variable"), sa.esda.moran(panel, "e", queen).droplevel("variable")
    )
    shuffled = fit.resids.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        sa.esda.moran(cigarettes, shuffled.rename("residuals"), queen), found
    )
    with pytest.raises(DataError, match="one value for every"):
        sa.esda.moran(cigarettes, fit.resids.iloc[:-1], queen)


def test_a_map_and_one_column(cigarettes, queen):
    """A GeoDataFrame with one row per unit does as well as a panel."""
    states = sa.datasets.us_states().sample(frac=1, random_state=0)
    values = cigarettes.frame["logc"].xs(1992, level="year")
    states = states.assign(logc=states["state"].map(values))
    assert isinstance(states, gpd.GeoDataFrame)
    by_map = sa.esda.moran(states, "logc", queen, ids="state")
    indexed = sa.esda.moran(states.set_index("state"), "logc", queen)
    pd.testing.assert_frame_equal(by_map, indexed)
    by_panel = sa.esda.moran(cigarettes, "logc", queen).loc[("logc", 1992)]
    np.testing.assert_allclose(by_map.iloc[0], by_panel)
    with pytest.raises(AlignmentError, match="have no weights"):
        sa.esda.moran(states, "logc", queen)
    with pytest.raises(DataError, match="a Panel knows its units"):
        sa.esda.moran(cigarettes, "logc", queen, ids="state")
    with pytest.raises(DataError, match="got list"):
        sa.esda.moran([1], "logc", queen)


def test_bad_options(cigarettes, queen):
    for options, match in (
        ({"permutations": -1}, "must not be negative"),
        ({"permutations": 9.5}, "whole number"),
        ({"alternative": "both"}, "'two-sided', 'greater', 'less'"),
        ({"adjust": "bh"}, "'none', 'fdr', 'holm', 'bonferroni'"),
    ):
        with pytest.raises(OptionError, match=match):
            sa.esda.moran(cigarettes, "logc", queen, **options)
    with pytest.raises(OptionError, match="assumption='normality'"):
        sa.esda.getis_ord(cigarettes, "sales", queen, assumption="normality")
    frame = cigarettes.frame.reset_index().assign(low=lambda d: -d["sales"])
    with pytest.raises(DataError, match="negative for"):
        sa.esda.getis_ord(sa.Panel(frame, entity="state", time="year"), "low", queen)
    three = frame[frame["state"].isin(["Ohio", "Indiana", "Kentucky"])]
    W = queen.subset(["Ohio", "Indiana", "Kentucky"])
    with pytest.raises(DataError, match="at least four units; there are 3"):
        sa.esda.moran(sa.Panel(three, entity="state", time="year"), "logc", W)
    with pytest.raises(DataError, match="One outcome"):
        sa.esda.moran_bivariate(cigarettes, ["logc", "logp"], "logy", queen)


def test_isolates_that_are_allowed(cigarettes, queen):
    dense = queen.matrix.toarray()
    alone = queen.ids.get_loc("Ohio")
    dense[alone] = dense[:, alone] = 0.0
    W = sa.SpatialWeights.from_dense(dense, queen.ids, isolates="allow").standardize("row")
    frame = sa.esda.moran(cigarettes, "logc", W)
    z = cigarettes.column("logc")[-1] - cigarettes.column("logc")[-1].mean()
    matrix = W.align(cigarettes.entities).matrix.toarray()
    assert frame.iloc[-1]["I"] == pytest.approx(46 / 45 * (z @ matrix @ z) / (z @ z))


def test_pysals_weights_are_left_alone(cigarettes, w):
    before = {unit: list(values) for unit, values in w.weights.items()}
    kind = w.transform
    sa.esda.moran(cigarettes, "logc", w, permutations=9)
    sa.esda.local_moran(cigarettes, "logc", w, permutations=9)
    assert w.transform == kind
    assert {unit: list(values) for unit, values in w.weights.items()} == before
