"""Moran's I by period beside PySAL's esda, and with weights that change over time."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa


def test_against_pysal(cigarettes, queen):
    esda = pytest.importorskip("esda")
    w = queen.align(cigarettes.entities).to_libpysal().to_W()
    ours = sa.esda.moran(cigarettes, ["logc", "logp"], queen)
    normal = sa.esda.moran(cigarettes, ["logc", "logp"], queen, assumption="normality")
    for name in ("logc", "logp"):
        x = cigarettes.column(name)
        for t in (0, 13, 29):
            theirs = esda.Moran(x[t].copy(), w, transformation="r", permutations=0)
            row = ours.loc[(name, cigarettes.times[t])]
            assert row["I"] == pytest.approx(theirs.I, abs=1e-12)
            assert row["expected"] == pytest.approx(theirs.EI)
            assert row["z"] == pytest.approx(theirs.z_rand, abs=1e-9)
            assert normal.loc[(name, cigarettes.times[t]), "z"] == pytest.approx(theirs.z_norm)


def test_asymmetric_weights_against_pysal(cigarettes):
    esda = pytest.importorskip("esda")
    rng = np.random.default_rng(0)
    dense = rng.random((46, 46)) * (rng.random((46, 46)) < 0.2)
    np.fill_diagonal(dense, 0.0)
    W = sa.SpatialWeights.from_dense(dense, cigarettes.entities)
    row = sa.esda.moran(cigarettes, "logc", W).loc[("logc", 1992)]
    w = W.to_libpysal().to_W()
    theirs = esda.Moran(cigarettes.column("logc")[-1].copy(), w, "o", permutations=0)
    assert row["I"] == pytest.approx(theirs.I, abs=1e-12)
    assert row["z"] == pytest.approx(theirs.z_rand, abs=1e-9)


def test_weights_by_period(cigarettes, queen):
    near = sa.weights.inverse_distance(sa.datasets.us_states(), ids="state").standardize("row")
    mixed = sa.weights.PanelWeights(
        {year: queen if year < 1980 else near for year in reversed(cigarettes.times)}
    )
    ours = sa.esda.moran(cigarettes, ["logc", "logp"], mixed)
    early = sa.esda.moran(cigarettes, ["logc", "logp"], queen)
    late = sa.esda.moran(cigarettes, ["logc", "logp"], near)
    before = ours.index.get_level_values("year") < 1980
    pd.testing.assert_frame_equal(ours[before], early[before])
    pd.testing.assert_frame_equal(ours[~before], late[~before])
    with pytest.raises(sa.errors.AlignmentError, match=r"have no weights: 1963"):
        sa.esda.moran(cigarettes, "logc", sa.weights.PanelWeights({1980: queen}))
