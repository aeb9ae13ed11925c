"""Maps and small multiples: what is drawn, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError
from spatial_agglo.report import cluster_map, moran_scatters, significance_map
from spatial_agglo.report.esda_figures import CLUSTERS


@pytest.fixture(scope="module")
def states():
    return sa.datasets.us_states()


@pytest.fixture(scope="module")
def local(cigarettes, queen):
    return sa.esda.local_moran(cigarettes, "logc", queen, permutations=0)


def legend(ax):
    return {
        text.get_text().rpartition(" (")[0]: int(text.get_text().rpartition("(")[2][:-1])
        for text in ax.get_legend().get_texts()
    }


def test_the_map_shows_every_unit_in_its_class(local, states):
    shuffled = states.sample(frac=1, random_state=0)
    ax = cluster_map(local, shuffled, ids="state", time=1992, ax=Figure().add_subplot())
    found = local["cluster"].xs(1992, level="year").value_counts()
    expected = {CLUSTERS[kind][1]: count for kind, count in found.items()}
    assert legend(ax) == expected
    drawn = sum(len(c.get_paths()) for c in ax.collections)
    assert drawn >= 46
    colours = {to_hex(c.get_facecolor()[0]).upper() for c in ax.collections}
    assert colours == {CLUSTERS[kind][0] for kind in found.index}


def test_significance_in_steps(local, states):
    ax = significance_map(local, states, ids="state", time=1992, ax=Figure().add_subplot())
    p = local["p_value"].xs(1992, level="year")
    found = legend(ax)
    assert found["Not significant"] == (p > 0.05).sum()
    assert found["p ≤ 0.05"] == ((p <= 0.05) & (p > 0.01)).sum()
    assert sum(found.values()) == 46


def test_units_without_a_value_are_hatched(cigarettes, queen, states):
    frame = cigarettes.frame.reset_index()
    frame.loc[(frame["state"] == "Ohio") & (frame["year"] == 1992), "logc"] = np.nan
    panel = sa.Panel(frame, entity="state", time="year")
    local = sa.esda.local_moran(panel, "logc", queen, permutations=0, missing="nan")
    ax = cluster_map(local, states, ids="state", time=1992, ax=Figure().add_subplot())
    assert legend(ax) == {"No value": 46}


def test_other_statistics_are_mapped(cigarettes, queen, states):
    for found in (
        sa.esda.local_g(cigarettes, "sales", queen, permutations=0),
        sa.esda.local_geary(cigarettes, "sales", queen, permutations=19),
    ):
        ax = cluster_map(found, states, ids="state", time=1992, ax=Figure().add_subplot())
        assert sum(legend(ax).values()) == 46


def test_maps_refuse_what_does_not_match(local, states):
    axes = {"ax": Figure().add_subplot()}
    with pytest.raises(AlignmentError, match="Without geometry: 'Ohio'; without values: none"):
        cluster_map(local, states[states["state"] != "Ohio"], ids="state", time=1992, **axes)
    with pytest.raises(AlignmentError, match="Without geometry"):
        cluster_map(local, states, time=1992, **axes)
    with pytest.raises(DataError, match="Name the period"):
        cluster_map(local, states, ids="state", **axes)
    with pytest.raises(DataError, match="no period 1900"):
        cluster_map(local, states, ids="state", time=1900, **axes)
    with pytest.raises(DataError, match="no column 'cluster'"):
        cluster_map(local.drop(columns="cluster"), states, ids="state", time=1992, **axes)


def test_small_multiples_share_their_axes(cigarettes, queen):
    figure = moran_scatters(cigarettes, "logc", queen, times=[1963, 1983, 1992])
    assert len(figure.axes) == 3
    assert [ax.get_title() for ax in figure.axes] == ["1963", "1983", "1992"]
    limits = {(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}
    assert len(limits) == 1
    (low, high), (bottom, top) = limits.pop()
    for year in (1963, 1983, 1992):
        x = cigarettes.frame["logc"].xs(year, level="year")
        z = (x - x.mean()) / x.std(ddof=0)
        lagged = pd.Series(queen.matrix @ z.loc[queen.ids].to_numpy())
        assert low < z.min()
        assert z.max() < high
        assert bottom < lagged.min()
        assert lagged.max() < top
    import matplotlib.pyplot as plt

    plt.close(figure)
    with pytest.raises(DataError, match="at least one period"):
        moran_scatters(cigarettes, "logc", queen, times=[])
    with pytest.raises(OptionError, match="columns=0"):
        moran_scatters(cigarettes, "logc", queen, times=[1963], columns=0)


def test_scatter_with_weights_by_period(cigarettes, queen):
    yearly = sa.weights.PanelWeights(dict.fromkeys(cigarettes.times, queen))
    one = sa.report.moran_scatter(cigarettes, "logc", yearly, time=1992, ax=Figure().add_subplot())
    two = sa.report.moran_scatter(cigarettes, "logc", queen, time=1992, ax=Figure().add_subplot())
    np.testing.assert_allclose(one.lines[-1].get_ydata(), two.lines[-1].get_ydata())
