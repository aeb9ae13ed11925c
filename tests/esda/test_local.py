"""Local statistics against R and PySAL."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError


@pytest.fixture(scope="module")
def esda():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("esda")


def test_local_moran_against_r(cigarettes, queen, reference):
    expected = reference("cigarettes_local_moran_r")
    found = sa.esda.local_moran(cigarettes, "logc", queen, permutations=0).xs(1992, level="year")
    assert found.index.tolist() == sorted(found.index)
    for ours, theirs in (("I", "Ii"), ("expected", "E"), ("variance", "V"), ("z", "Z")):
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found["p_value"], expected["p"], rtol=1e-7)


def test_local_moran_by_loops(cigarettes, queen):
    found = sa.esda.local_moran(cigarettes, "logp", queen, permutations=0)
    W = queen.align(cigarettes.entities).matrix.toarray()
    for t, year in ((0, 1963), (20, 1983)):
        z = cigarettes.column("logp")[t] - cigarettes.column("logp")[t].mean()
        for i, state in enumerate(cigarettes.entities):
            neighbours = sum(W[i, j] * z[j] for j in range(46))
            row = found.loc[(state, year)]
            assert row["I"] == pytest.approx(z[i] * neighbours / (z @ z / 46))
            quadrant = ("H" if z[i] > 0 else "L") + ("H" if neighbours > 0 else "L")
            assert row["quadrant"] == quadrant
    # the local statistics add up to the global one
    total = found["I"].groupby(level="year").mean()
    np.testing.assert_allclose(total, sa.esda.moran(cigarettes, "logp", queen)["I"], rtol=1e-10)


def test_permutation_p_values_agree_with_analytical_ones(cigarettes, queen):
    found = sa.esda.local_moran(cigarettes, "logc", queen, permutations=999).xs(1992, level="year")
    assert np.corrcoef(found["p_permutation"], found["p_value"])[0, 1] > 0.9
    significant = found["p_permutation"] <= 0.05
    assert (found.loc[significant, "cluster"] == found.loc[significant, "quadrant"]).all()
    assert (found.loc[~significant, "cluster"] == "not significant").all()
    strict = sa.esda.local_moran(cigarettes, "logc", queen, permutations=999, correction="fdr")
    strict = strict.xs(1992, level="year")
    assert (strict["cluster"] != "not significant").sum() <= significant.sum()


@pytest.mark.parametrize("name", ["local_moran", "local_geary", "local_g"])
def test_the_seed_decides_and_numpy_is_left_alone(cigarettes, queen, name):
    function = getattr(sa.esda, name)
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    one = function(cigarettes, "logc", queen, permutations=99, seed=3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    pd.testing.assert_frame_equal(one, function(cigarettes, "logc", queen, permutations=99, seed=3))
    other = function(cigarettes, "logc", queen, permutations=99, seed=4)
    assert not one["p_permutation"].equals(other["p_permutation"])


def test_local_geary_by_loops(cigarettes, queen):
    found = sa.esda.local_geary(cigarettes, "logc", queen, permutations=999)
    W = queen.align(cigarettes.entities).matrix.toarray()
    x = cigarettes.column("logc")[-1]
    z = (x - x.mean()) / x.std()
    for i, state in enumerate(cigarettes.entities):
        row = found.loc[(state, 1992)]
        c = sum(W[i, j] * (z[i] - z[j]) ** 2 for j in range(46))
        mean = np.mean([(z[i] - z[j]) ** 2 for j in range(46) if j != i])
        assert row["C"] == pytest.approx(c)
        assert row["expected"] == pytest.approx(mean)
        if row["cluster"] != "not significant":
            assert row["cluster"] == ("similar" if c < mean else "dissimilar")


def test_local_g_against_pysal(cigarettes, queen, esda):
    w = queen.align(cigarettes.entities).to_libpysal().to_W()
    for star in (True, False):
        found = sa.esda.local_g(cigarettes, "sales", queen, star=star, permutations=0)
        x = cigarettes.column("sales")[-1].copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = esda.G_Local(x, w, transform="R", star=star, permutations=0)
        row = found.xs(1992, level="year")
        np.testing.assert_allclose(row["z"], theirs.Zs)
        np.testing.assert_allclose(row["G"], theirs.Gs)
        hot = row["cluster"] == "hot"
        assert (row.loc[hot, "z"] > 1.9).all()


def test_transitions(cigarettes, queen):
    local = sa.esda.local_moran(cigarettes, "logc", queen, permutations=0)
    moves = sa.esda.transitions(local)
    assert moves.index.tolist() == ["HH", "LH", "LL", "HL"]
    by_hand = 0
    for state in cigarettes.entities:
        path = local.loc[state, "quadrant"].tolist()
        by_hand += sum(a == "HH" and b == "LH" for a, b in pairwise(path))
    assert moves.loc["HH", "LH"] == by_hand
    assert moves.to_numpy().sum() == 46 * 29
    clusters = sa.esda.transitions(local, column="cluster")
    assert clusters.shape == (5, 5)
    one = sa.esda.local_moran(
        sa.datasets.us_states().assign(v=range(46)), "v", queen, ids="state", permutations=0
    )
    with pytest.raises(DataError, match="two periods"):
        sa.esda.transitions(one)
    with pytest.raises(DataError, match="no column 'quadrant'"):
        sa.esda.transitions(local.drop(columns="quadrant"))


def test_gaps_and_weights_by_period(cigarettes, queen):
    frame = cigarettes.frame.reset_index()
    frame.loc[(frame["state"] == "Ohio") & (frame["year"] == 1970), "logc"] = np.nan
    panel = sa.Panel(frame, entity="state", time="year")
    with pytest.raises(DataError, match="missing"):
        sa.esda.local_moran(panel, "logc", queen)
    found = sa.esda.local_moran(panel, "logc", queen, permutations=0, missing="nan")
    lost = found.xs(1970, level="year")
    assert lost["I"].isna().all()
    assert lost["cluster"].isna().all()
    near = sa.weights.inverse_distance(sa.datasets.us_states(), ids="state").standardize("row")
    mixed = sa.weights.PanelWeights(
        {year: queen if year < 1980 else near for year in cigarettes.times}
    )
    ours = sa.esda.local_moran(cigarettes, "logc", mixed, permutations=0)
    late = sa.esda.local_moran(cigarettes, "logc", near, permutations=0)
    pd.testing.assert_frame_equal(ours.xs(1990, level="year"), late.xs(1990, level="year"))


def test_bad_options(cigarettes, queen):
    with pytest.raises(OptionError, match="permutations must be 1 or more"):
        sa.esda.local_geary(cigarettes, "logc", queen, permutations=0)
    with pytest.raises(OptionError, match="alpha=5"):
        sa.esda.local_moran(cigarettes, "logc", queen, alpha=5)
    with pytest.raises(OptionError, match="'none', 'fdr'"):
        sa.esda.local_moran(cigarettes, "logc", queen, correction="bonferroni")
    with pytest.raises(DataError, match="One variable"):
        sa.esda.local_moran(cigarettes, ["logc", "logp"], queen)
