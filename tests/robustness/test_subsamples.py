"""The same model for every group: each fit, and each test of the difference, by hand."""

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError, OptionError, WeightsError
from spatial_agglo.robustness import by_group

NAMES = (
    "Arizona,Arkansas,California,Idaho,Iowa,Kansas,Louisiana,Minnesota,Missouri,Montana,Nebraska,"
    "Nevada,New Mexico,North Dakota,Oklahoma,South Dakota,Texas,Utah,Washington,Wyoming"
)
WEST = NAMES.split(",")


@pytest.fixture(scope="module")
def frame():
    df = sa.datasets.cigarettes()
    return df.assign(
        region=np.where(df["state"].isin(WEST), "west", "east"),
        third=pd.cut(df["year"], [0, 1972, 1982, 2000], labels=["sixties", "seventies", "later"]),
    )


@pytest.fixture(scope="module")
def panel(frame):
    return sa.Panel(frame, entity="state", time="year")


@pytest.fixture(scope="module")
def regions(panel, queen):
    return by_group("sdm", FORMULA, panel, queen, groups="region", cov="robust")


# --- fits -----------------------------------------------------------------------------------


def test_regions_are_fitted_as_by_hand(regions, frame, queen):
    assert list(regions.fits) == ["east", "west"]
    assert regions.kind == "unit"
    for name, part in frame.groupby("region"):
        own = queen.subset(part["state"].unique())
        assert own.row_standardized
        panel = sa.Panel(part, entity="state", time="year")
        fit = sa.sdm(FORMULA, panel, own, cov="robust")
        np.testing.assert_allclose(regions.fits[name].params, fit.params, rtol=1e-9)
        np.testing.assert_allclose(regions.fits[name].covariance, fit.covariance, rtol=1e-7)


def test_periods_are_fitted_as_by_hand(panel, frame, queen):
    found = by_group(sa.sar, FORMULA, panel, queen, groups="third", effects="entity")
    assert list(found.fits) == ["sixties", "seventies", "later"]  # the order of the categories
    assert found.kind == "period"
    for name, part in frame.groupby("third", observed=True):
        own = sa.Panel(part, entity="state", time="year")
        fit = sa.sar(FORMULA, own, queen, effects="entity")
        np.testing.assert_allclose(found.fits[name].params, fit.params, rtol=1e-9)
    assert "not correlated over time" in found.assumption


def test_groups_can_be_said_in_many_ways(panel, queen, regions):
    first = regions.fits["west"].params
    east = [state for state in panel.entities if state not in WEST]
    of = {state: "west" if state in WEST else "east" for state in panel.entities}
    for groups in (
        of,
        pd.Series(of)[::-1],
        {"west": WEST, "east": east},
        {"west": "region == 'west'", "east": "region == 'east'"},
    ):
        found = by_group("sdm", FORMULA, panel, queen, groups=groups, cov="robust")
        np.testing.assert_allclose(found.fits["west"].params, first, rtol=1e-12)
        assert found.kind == "unit"


def test_rows_and_units_in_any_order(frame, queen, regions):
    panel = sa.Panel(frame.sample(frac=1.0, random_state=2), entity="state", time="year")
    W = queen.align(np.random.default_rng(1).permutation(queen.ids))
    found = by_group("sdm", FORMULA, panel, W, groups="region", cov="robust")
    pd.testing.assert_frame_equal(found.differences(), regions.differences(), rtol=1e-6)


def test_other_estimators(panel, queen):
    found = by_group(sa.stsls, FORMULA, panel, queen, groups="region")
    own = panel.frame[panel.frame["region"] == "west"]
    fit = sa.stsls(FORMULA, sa.Panel(own), queen.subset(WEST))
    np.testing.assert_allclose(found.fits["west"].params, fit.params, rtol=1e-9)
    plain = by_group("ols", FORMULA, panel, groups="region")
    assert plain.differences(impacts=False).loc[("coefficient", "logp"), "df"] == 1


def test_weights_by_period_are_cut(panel, queen):
    W = sa.weights.PanelWeights(dict.fromkeys(panel.times, queen))
    found = by_group("sar", FORMULA, panel, W, groups="region", effects="entity")
    one = by_group("sar", FORMULA, panel, queen, groups="region", effects="entity")
    assert found.fits["west"].rho == pytest.approx(one.fits["west"].rho, rel=1e-7)


# --- tests of the difference ---------------------------------------------------------------------


def test_differences_of_two_groups_by_hand(regions):
    table = regions.differences(level=0.9)
    east, west = regions.fits["east"], regions.fits["west"]
    for name in east.names:
        row = table.loc[("coefficient", name)]
        d = east.params[name] - west.params[name]
        se = np.hypot(east.std_errors[name], west.std_errors[name])
        assert row["difference"] == pytest.approx(d, rel=1e-10)
        assert row["se"] == pytest.approx(se, rel=1e-10)
        assert row["statistic"] == pytest.approx((d / se) ** 2, rel=1e-9)
        assert row["lower"] == pytest.approx(d - 1.6448536 * se, rel=1e-6)
    for effect in ("direct", "indirect", "total"):
        a, b = (getattr(fit.impacts(), effect).loc["logp"] for fit in (east, west))
        row = table.loc[(effect, "logp")]
        assert row["difference"] == pytest.approx(a["estimate"] - b["estimate"])
        assert row["se"] == pytest.approx(np.hypot(a["se"], b["se"]))
    d = (east.params - west.params).drop("sigma2")
    V = (east.cov + west.cov).loc[d.index, d.index]
    joint = table.loc[("joint", "all coefficients")]
    assert joint["statistic"] == pytest.approx(d @ np.linalg.solve(V, d), rel=1e-8)
    assert joint["df"] == len(d) == 5
    assert "independent" in table.attrs["assumption"]


def test_differences_of_three_groups_by_contrasts(panel, queen):
    """Against the Wald statistic of explicit contrasts of the stacked estimates."""
    found = by_group("sar", FORMULA, panel, queen, groups="third", effects="entity")
    fits = list(found.fits.values())
    table = found.differences()
    assert "difference" not in table.columns
    R = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    for name in fits[0].names:
        b = np.array([fit.params[name] for fit in fits])
        V = np.diag([fit.std_errors[name] ** 2 for fit in fits])
        expected = (R @ b) @ np.linalg.solve(R @ V @ R.T, R @ b)
        assert table.loc[("coefficient", name), "statistic"] == pytest.approx(expected, rel=1e-8)
        assert table.loc[("coefficient", name), "df"] == 2
    assert table.loc[("joint", "all coefficients"), "df"] == 6


def test_two_halves_that_are_the_same_do_not_differ(queen, frame):
    """The same data twice under other names of the periods."""
    early = frame[frame["year"] < 1978]
    again = early.assign(year=early["year"] + 100)
    both = pd.concat([early, again]).assign(copy=lambda d: d["year"] > 2000)
    panel = sa.Panel(both, entity="state", time="year")
    table = by_group("sdm", FORMULA, panel, queen, groups="copy").differences()
    np.testing.assert_allclose(table["statistic"], 0.0, atol=1e-12)
    np.testing.assert_allclose(table["p_value"], 1.0, atol=1e-6)


def test_overlapping_groups_cannot_be_compared(panel, queen):
    groups = {"all": None, "west": WEST}
    found = by_group("sdm", FORMULA, panel, queen, groups=groups)
    assert found.overlap == 20 * 30
    with pytest.raises(OptionError, match="600 cell.*more than one group"):
        found.differences()
    assert "Equal: p" not in found.table().body.columns


def test_too_few_clusters_for_a_joint_test(frame, queen):
    frame = frame.assign(block=frame["state"].str[0] < "M")
    panel = sa.Panel(frame, entity="state", time="year")
    found = by_group("sdm", FORMULA, panel, queen, groups="region", cov=sa.Clustered("block"))
    table = found.differences(impacts=False)
    assert np.isnan(table.loc[("joint", "all coefficients"), "statistic"])
    assert "2 clusters" in table.attrs["note"]
    assert table.loc["coefficient", "statistic"].notna().all()


@pytest.mark.slow
def test_size_of_the_test():
    """Two groups of the same process, apart from one another: 5% of 1,000 are rejected."""
    rng = np.random.default_rng(0)
    N, T, draws = 30, 8, 1000
    one = np.roll(np.eye(N), 1, axis=1) + np.roll(np.eye(N), -1, axis=1)
    W = sa.SpatialWeights.from_dense(np.kron(np.eye(2), one / 2), range(2 * N))
    S = np.linalg.inv(np.eye(2 * N) - 0.4 * W.matrix.toarray())
    index = pd.MultiIndex.from_product([range(T), range(2 * N)], names=["t", "i"])
    p = []
    for _ in range(draws):
        x = rng.normal(size=(T, 2 * N))
        y = (x + 0.5 * (W.matrix @ x.T).T + rng.normal(size=(T, 2 * N))) @ S.T
        df = pd.DataFrame({"y": y.ravel(), "x": x.ravel()}, index=index).reset_index()
        panel = sa.Panel(df.assign(g=df["i"] < N), entity="i", time="t")
        table = by_group("sdm", "y ~ x", panel, W, groups="g", effects="entity").differences()
        p.append(table["p_value"])
    rejected = (pd.DataFrame(p) < 0.05).mean()
    assert rejected.between(0.033, 0.068).all(), rejected.to_string()


# --- bad input ---------------------------------------------------------------------------------


def test_isolates_after_cutting_are_named_with_what_to_do(panel, queen):
    groups = {
        state: "coast" if state in ("Maine", "Texas", "Ohio") else "rest"
        for state in panel.entities
    }
    with pytest.raises(
        WeightsError, match="3 units of 'coast', 3 unit.*'Maine'.*union_nearest.*isolates='allow'"
    ):
        by_group("sdm", FORMULA, panel, queen, groups=groups)
    allowed = sa.SpatialWeights.from_sparse(queen.matrix, queen.ids, isolates="allow")
    found = by_group(
        "slx",
        FORMULA,
        panel,
        allowed,
        groups={"a": ["Maine", "New Hampshire", "Texas"], "b": ["Ohio", "Kentucky", "Indiana"]},
        effects="entity",
    )
    assert np.isfinite(found.fits["a"].params).all()


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ("continent", DataError, "must be a column"),
        (["region"], DataError, "must be a column"),
        ({"Ohio": "a", "Texas": "b"}, DataError, "no group"),
        ({"only": WEST}, DataError, "At least two groups"),
        ({"a": WEST, "b": ["Atlantis"]}, DataError, "'Atlantis'"),
        ({"a": WEST, "b": "year > 3000"}, DataError, "selects no row"),
        ({1: WEST, "1": ["Ohio", "Kentucky"]}, DataError, "differ as text"),
        ({"a": 3, "b": WEST}, OptionError, "a query"),
    ],
)
def test_bad_groups(panel, queen, groups, error, message):
    with pytest.raises(error, match=message):
        by_group("sdm", FORMULA, panel, queen, groups=groups)


def test_a_constant_column_and_missing_groups(frame, queen):
    panel = sa.Panel(frame.assign(one=1), entity="state", time="year")
    with pytest.raises(DataError, match="every row is in 1"):
        by_group("sdm", FORMULA, panel, queen, groups="one")
    holes = frame.assign(region=frame["region"].where(frame["state"] != "Ohio"))
    with pytest.raises(DataError, match="30 row.*'Ohio', 1963"):
        by_group(
            "sdm", FORMULA, sa.Panel(holes, entity="state", time="year"), queen, groups="region"
        )


def test_groups_that_part_cells_leave_gaps(frame, queen):
    panel = sa.Panel(frame.assign(rich=frame["logy"] > 4.6), entity="state", time="year")
    with pytest.raises(DataError, match="'False' is not a panel.*unbalanced='allow'"):
        by_group("sdm", FORMULA, panel, queen, groups="rich")


def test_errors_name_the_group(frame, queen):
    panel = sa.Panel(
        frame.assign(x=np.where(frame["region"] == "west", 1.0, frame["logp"])),
        entity="state",
        time="year",
    )
    with pytest.raises(sa.errors.IdentificationError, match="Group 'west'.*'x'"):
        by_group("sdm", "logc ~ x", panel, queen, groups="region")
    with pytest.raises(FormulaError, match="Group 'east'.*nothing"):
        by_group("sdm", "logc ~ nothing", panel, queen, groups="region")
    with pytest.raises(OptionError, match="'gns'"):
        by_group("durbin", FORMULA, panel, queen, groups="region")
    with pytest.raises(OptionError, match="between 0 and 1"):
        by_group("ols", FORMULA, panel, groups="region").differences(level=2)


def test_weights_of_other_units_are_not_cut_to_size(panel, queen):
    """The whole W must be that of the whole panel, as in any fit."""
    wider = np.zeros((47, 47))
    wider[:46, :46] = queen.matrix.toarray()
    wider[46, 0] = wider[0, 46] = 1.0
    W = sa.SpatialWeights.from_dense(wider, [*queen.ids, "Alaska"])
    with pytest.raises(sa.errors.AlignmentError, match="'Alaska'"):
        by_group("sdm", FORMULA, panel, W, groups="region")
