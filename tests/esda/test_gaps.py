"""Spatial autocorrelation on panels with gaps: an error that names the cells, or NaN by period."""

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.errors import DataError

LOST = [("Ohio", 1970), ("Utah", 1970), ("Utah", 1985)]


@pytest.fixture(scope="module")
def gaps():
    """The cigarette panel without two rows, and with one value missing."""
    frame = sa.datasets.cigarettes().set_index(["state", "year"])
    frame = frame.drop(index=LOST[:2])
    frame.loc[LOST[2], "logc"] = np.nan
    return sa.Panel(frame, unbalanced="allow")


@pytest.mark.parametrize(
    "statistic",
    [
        sa.esda.moran,
        sa.esda.geary,
        sa.esda.getis_ord,
        sa.esda.pooled_moran,
        sa.esda.local_moran,
        lambda panel, name, W: sa.esda.moran_bivariate(panel, "logp", name, W),
        lambda panel, name, W: sa.esda.moran_bivariate(panel, name, "logp", W),
    ],
)
def test_missing_cells_are_named(gaps, queen, statistic):
    with pytest.raises(DataError) as error:
        statistic(gaps, "logc", queen)
    assert "no value in 3 of 1380 (entity, time) cells" in str(error.value) or (
        "'logp' has no value in 2 of 1380" in str(error.value)  # the rows, for logp
    )
    for cell in LOST[:2]:
        assert str(cell) in str(error.value)
    assert "missing='nan'" in str(error.value)


@pytest.mark.parametrize("name", ["moran", "geary"])
def test_periods_without_gaps_can_be_had(cigarettes, gaps, queen, name):
    statistic = getattr(sa.esda, name)
    found = statistic(gaps, "logc", queen, missing="nan").loc["logc"]
    whole = statistic(cigarettes, "logc", queen).loc["logc"]
    empty = found.index.isin([1970, 1985])
    assert found.loc[empty].drop(columns="note").isna().all(axis=None)
    assert found.loc[1970, "note"] == "missing for 'Ohio', 'Utah'"
    pd.testing.assert_frame_equal(found.loc[~empty].drop(columns="note"), whole.loc[~empty])


@pytest.mark.parametrize("name", ["local_moran", "local_geary", "local_g"])
def test_local_statistics_of_periods_without_gaps_can_be_had(cigarettes, gaps, queen, name):
    statistic = getattr(sa.esda, name)
    found = statistic(gaps, "logc", queen, missing="nan", permutations=9)
    whole = statistic(cigarettes, "logc", queen, permutations=9)
    assert found.index.equals(whole.index)
    empty = found.index.get_level_values("year").isin([1970, 1985])
    assert found.loc[empty].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.loc[~empty], whole.loc[~empty])


def test_a_variable_of_truth_values_with_gaps(gaps, queen):
    frame = gaps.frame.assign(
        high=lambda f: f["price"] > f["price"].groupby("year").transform("median")
    )
    panel = sa.Panel(frame, unbalanced="allow")
    found = sa.esda.moran(panel, "high", queen, missing="nan").loc[("high", 1980), "I"]
    z = frame["high"].xs(1980, level=1).astype(float)
    z = (z - z.mean()).to_numpy()
    W = queen.align(gaps.entities).matrix
    assert found == pytest.approx(z @ (W @ z) / (z @ z), rel=1e-12)


def test_a_panel_that_may_have_gaps_and_has_none(cigarettes, queen):
    allowed = sa.Panel(cigarettes.frame, unbalanced="allow")
    pd.testing.assert_frame_equal(
        sa.esda.moran(allowed, "logc", queen), sa.esda.moran(cigarettes, "logc", queen)
    )


def test_residuals_of_a_panel_with_gaps(gaps, queen):
    """A series need only have the cells that were used; the others are missing."""
    fit = sa.ols(FORMULA, gaps)
    found = sa.esda.moran(gaps, fit.resids, queen, missing="nan").loc["resids"]
    e = fit.resid[gaps.times.get_loc(1980)]
    z = e - e.mean()
    W = queen.align(gaps.entities).matrix
    assert found.loc[1980, "I"] == pytest.approx(z @ (W @ z) / (z @ z), rel=1e-12)
    assert found.loc[[1970, 1985], "I"].isna().all()
    with pytest.raises(DataError, match=r"'resids' has no value in 3 of 1380.*\('Utah', 1985\)"):
        sa.esda.moran(gaps, fit.resids, queen)


def test_a_series_of_other_cells_is_refused(cigarettes, gaps, queen):
    fit = sa.ols(FORMULA, gaps)
    with pytest.raises(DataError, match=r"one value for every \(entity, time\)"):
        sa.esda.moran(cigarettes, fit.resids, queen)
    strange = fit.resids.rename(index={"Utah": "Utopia"}, level=0)
    with pytest.raises(DataError, match=r"one value for every \(entity, time\)"):
        sa.esda.moran(gaps, strange, queen, missing="nan")
