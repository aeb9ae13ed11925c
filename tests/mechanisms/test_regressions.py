"""Lags by label, regressions step by step: linearmodels, statsmodels and dummies written out."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError, IdentificationError, OptionError
from spatial_agglo.mechanisms.iv import fe2sls
from spatial_agglo.mechanisms.regressions import Regressions, side_by_side, stepwise

N, T = 20, 7
STEPS = ["w1", ["w2", "w3"]]


def close(ours, theirs, rtol=1e-8):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-11)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(2)
    x, w1, w2, w3 = rng.normal(size=(4, T, N)) + rng.normal(size=(4, 1, N))
    e = rng.normal(size=(T, N)) * rng.uniform(0.5, 2.0, N) + 0.5 * rng.normal(size=N)
    y = 0.5 * x + 0.3 * w1 - w2 + e + rng.normal(size=N) + rng.normal(size=(T, 1))
    out = pd.DataFrame({"id": np.tile([f"u{i:02d}" for i in range(N)], T)})
    out["t"] = np.repeat(np.arange(2001, 2001 + T), N)
    for name, values in (("y", y), ("x", x), ("w1", w1), ("w2", w2), ("w3", w3)):
        out[name] = values.ravel()
    out["east"] = (out["id"] < "u08").map({True: "east", False: "west"})
    return out


@pytest.fixture(scope="module")
def panel(frame):
    return sa.Panel(frame, entity="id", time="t")


# --- lags ---------------------------------------------------------------------------------------


def by_hand(frame, name, k):
    """The value k periods before, looked up by unit and period."""
    lookup = frame.set_index(["id", "t"])[name]
    return [lookup.get((i, t - k), np.nan) for i, t in zip(frame["id"], frame["t"], strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_lags_are_those_of_the_label(frame, seed):
    shuffled = frame.sample(frac=1, random_state=seed)
    lagged = sa.Panel(shuffled, entity="id", time="t").lag({"x": [1, 3], "w1": 2})
    rows = lagged.frame.reset_index()
    assert set(rows.columns) == {*frame.columns, "x_lag1", "x_lag3", "w1_lag2"}
    for name, k in (("x", 1), ("x", 3), ("w1", 2)):
        expected = frame.assign(before=by_hand(frame, name, k)).set_index(["id", "t"])["before"]
        found = rows.set_index(["id", "t"])[f"{name}_lag{k}"]
        pd.testing.assert_series_equal(found, expected.loc[found.index], check_names=False)


def test_first_periods_are_cut_and_named(panel):
    lagged = panel.lag("x", [1, 3])
    assert lagged.times.tolist() == list(range(2004, 2008))
    assert lagged.cut.unique(1).tolist() == [2001, 2002, 2003]
    assert lagged.cut.size == 3 * N
    assert "60 rows cut for lags" in repr(lagged)
    assert panel.T == T
    assert panel.cut.size == 0
    assert "x_lag1" not in panel.columns
    twice = lagged.lag("w1")
    assert twice.cut.size == 4 * N
    assert twice.times[0] == 2005


def test_lags_without_a_common_sample(panel):
    """Every column keeps the cells that it has: N x (T - 1), N x (T - 2), N x (T - 3)."""
    lagged = panel.lag("x", [1, 2, 3], common=False)
    assert lagged.T == T
    assert lagged.cut.size == 0
    for k in (1, 2, 3):
        one = sa.ols(f"y ~ x_lag{k} + w1", lagged, cov="clustered")
        cut = sa.ols(f"y ~ x_lag{k} + w1", panel.lag("x", k), cov="clustered")
        assert one.nobs == cut.nobs == N * (T - k)
        close(one.params, cut.params)
        close(one.cov, cut.cov)


def test_lags_of_an_unbalanced_panel(frame):
    """A lag is missing where the unit has no row so many periods before; nothing slides."""
    holes = frame.drop(index=[5, 46, 47, 99]).reset_index(drop=True)
    panel = sa.Panel(holes, entity="id", time="t", unbalanced="allow").lag("x", 2)
    rows = panel.frame.reset_index()
    expected = holes.assign(before=by_hand(holes, "x", 2)).set_index(["id", "t"])["before"]
    found = rows.set_index(["id", "t"])["x_lag2"]
    pd.testing.assert_series_equal(found, expected.loc[found.index], check_names=False)
    assert found.isna().sum() == expected.loc[found.index].isna().sum() > 0
    assert panel.cut.size == 2 * N - 1


@pytest.mark.parametrize(
    "times",
    [
        pd.period_range("2001Q1", periods=T, freq="Q"),
        pd.date_range("2001-01-31", periods=T, freq="ME"),
        [str(year) for year in range(2001, 2001 + T)],
        [2001 + 2 * t for t in range(T)],
        [f"{month:02d}" for month in range(5, 5 + T)],
    ],
    ids=["quarters", "month ends", "years as text", "every other year", "months as text"],
)
def test_kinds_of_periods(frame, times):
    other = frame.assign(t=np.repeat(np.asarray(times, dtype=object), N))
    if isinstance(times, (pd.PeriodIndex, pd.DatetimeIndex)):
        other["t"] = times.repeat(N)
    one = sa.Panel(other, entity="id", time="t").lag("x")
    two = sa.Panel(frame, entity="id", time="t").lag("x")
    np.testing.assert_array_equal(one.column("x_lag1"), two.column("x_lag1"))


def test_categories_of_years_in_any_order(frame):
    """The order of the levels of a category is not that of time; that of an ordered one is."""
    years = frame["t"].astype(str)
    levels = sorted(years.unique())
    for categories in (levels, levels[::-1], levels[3:] + levels[:3]):
        times = pd.Categorical(years, categories=categories)
        panel = sa.Panel(frame.assign(t=times), entity="id", time="t").lag("x", common=False)
        found = panel.frame["x_lag1"].rename(index=int, level=1)
        mine = frame.assign(found=found.reindex(frame.set_index(["id", "t"]).index).to_numpy())
        np.testing.assert_array_equal(mine["found"], by_hand(frame, "x", 1))
    for ordered, kind in ((levels, str), (sorted(frame["t"].unique()), int)):
        times = pd.Categorical(frame["t"].astype(kind), categories=ordered, ordered=True)
        panel = sa.Panel(frame.assign(t=times), entity="id", time="t").lag("x")
        assert panel.frame["x_lag1"].to_numpy() == pytest.approx(
            sa.Panel(frame, entity="id", time="t").lag("x").frame["x_lag1"].to_numpy()
        )
        back = pd.Categorical(frame["t"].astype(kind), categories=ordered[::-1], ordered=True)
        with pytest.raises(DataError, match="backwards"):
            sa.Panel(frame.assign(t=back), entity="id", time="t").lag("x")


@pytest.mark.parametrize("common", [2, "no", None])
def test_common_is_true_or_false(panel, common):
    with pytest.raises(OptionError, match="common="):
        panel.lag("x", common=common)


@pytest.mark.parametrize(
    ("times", "match"),
    [
        ([2001, 2002, 2003, 2005, 2006, 2007, 2008], r"\(2003, 2005\)"),
        (list("abcdefg"), "without a distance"),
        (["2001", "2002", "2003", "2005", "2006", "2007", "2008"], "2003"),
        (["9", "10", "11", "12", "13", "14", "15"], "without a distance"),
    ],
)
def test_periods_that_are_not_evenly_spaced(frame, times, match):
    panel = sa.Panel(frame.assign(t=np.repeat(times, N)), entity="id", time="t")
    with pytest.raises(DataError, match=match):
        panel.lag("x")


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (("x", T), DataError, "more than 7 periods"),
        (("x", [1, 99]), DataError, "99"),
        (("nope",), DataError, "nope"),
        (("east",), DataError, "not numeric"),
        (("x", 0), OptionError, "at least 1"),
        (("x", -1), OptionError, "at least 1"),
        (("x", 1.0), OptionError, "whole"),
        (("x", True), OptionError, "whole"),
        (("x", []), OptionError, "whole"),
        (("x", "1"), OptionError, "whole"),
        (({},), OptionError, "no column"),
        (([],), OptionError, "no column"),
    ],
)
def test_lags_that_are_none(panel, ask, error, match):
    with pytest.raises(error, match=match):
        panel.lag(*ask)


def test_a_lag_does_not_replace_a_column(panel):
    with pytest.raises(DataError, match="x_lag1"):
        panel.lag("x").lag("x")


# --- step by step -------------------------------------------------------------------------------


def dense(frame, regressors, effects, cov):
    """Least squares with dummies; the factor of ols with clusters is max(G/(G-1), n/(n-m*))."""
    ids, times = (frame[key].astype("category").cat.codes.to_numpy(int) for key in ("id", "t"))
    D = [np.eye(ids.max() + 1)[ids]] if effects in ("entity", "two-way") else []
    if effects in ("time", "two-way"):
        D.append(np.eye(times.max() + 1)[times][:, effects == "two-way" :])
    X = np.column_stack([frame[regressors], *D])
    bread = np.linalg.inv(X.T @ X)
    b = bread @ X.T @ frame["y"]
    e = frame["y"].to_numpy() - X @ b
    n, G, k = len(frame), ids.max() + 1, len(regressors)
    lost = times.max() + 1 if effects in ("time", "two-way") else 0
    if cov == "clustered":
        sums = np.array([(X * e[:, None])[ids == g].sum(axis=0) for g in range(G)])
        V = bread @ (sums.T @ sums) @ bread * max(G / (G - 1), n / (n - lost))
    else:
        free = n - X.shape[1] + k
        V = bread @ (X.T * e**2) @ X @ bread * n / free
    return b[:k], V[:k, :k], e


@pytest.mark.parametrize("cov", ["clustered", "robust"])
@pytest.mark.parametrize("effects", ["two-way", "entity", "time"])
def test_dummies(frame, panel, effects, cov):
    found = stepwise("y ~ x", panel, STEPS, effects=effects, cov=cov)
    assert list(found.fits) == ["(1)", "(2)", "(3)"]
    table = found.to_frame()
    for name, terms in zip(found.fits, (["x"], ["x", "w1"], ["x", "w1", "w2", "w3"]), strict=True):
        b, V, e = dense(frame, terms, effects, cov)
        assert table.loc[name].index.tolist() == terms
        close(table.loc[name, "estimate"], b)
        close(table.loc[name, "se"], np.sqrt(np.diag(V)))
        close(table.loc[name, "t"], b / np.sqrt(np.diag(V)))
        y = frame["y"].to_numpy()
        close(found.statistics.loc[name, "rsquared"], 1 - e @ e / ((y - y.mean()) ** 2).sum())


@pytest.mark.parametrize("effects", ["two-way", "entity", "time"])
def test_panel_ols(frame, panel, effects):
    """linearmodels, whose clustered covariance has the factor n / (n - effects)."""
    panels = pytest.importorskip("linearmodels.panel")
    indexed = frame.set_index(["id", "t"])
    found = stepwise("y ~ x", panel, STEPS, effects=effects)
    options = {
        "entity_effects": effects in ("two-way", "entity"),
        "time_effects": effects in ("two-way", "time"),
    }
    for name, terms in zip(found.fits, (["x"], ["x", "w1"], ["x", "w1", "w2", "w3"]), strict=True):
        theirs = panels.PanelOLS(indexed["y"], indexed[terms], **options).fit(
            cov_type="clustered", cluster_entity=True, debiased=False, auto_df=False,
            count_effects=False,
        )  # fmt: skip
        close(found[name].params[terms], theirs.params)
        lost = T if effects in ("two-way", "time") else 0
        small = max(N / (N - 1), N * T / (N * T - lost))
        close(found[name].std_errors[terms], theirs.std_errors * np.sqrt(small))
        close(found.statistics.loc[name, "rsquared_within"], theirs.rsquared)
        close(found.statistics.loc[name, "rsquared"], theirs.rsquared_inclusive)
        assert found.statistics.loc[name, "clusters"] == N


def test_gaps_and_the_common_sample(frame):
    """Controls with missing values: every column on the cells of the last, unless asked."""
    holes = frame.copy()
    holes.loc[[3, 40, 41], "w1"] = np.nan
    holes.loc[[7, 90], "w3"] = np.nan
    panel = sa.Panel(holes, entity="id", time="t", unbalanced="allow")
    same = stepwise("y ~ x", panel, STEPS)
    assert same.statistics["nobs"].tolist() == [N * T - 5] * 3
    b, V, _ = dense(holes.dropna(), ["x", "w1"], "two-way", "clustered")
    close(same["(2)"].params[["x", "w1"]], b)
    close(same["(2)"].std_errors[["x", "w1"]], np.sqrt(np.diag(V)))
    own = stepwise("y ~ x", panel, STEPS, common=False)
    assert own.statistics["nobs"].tolist() == [N * T, N * T - 3, N * T - 5]
    b, _, _ = dense(holes.dropna(subset=["w1"]), ["x", "w1"], "two-way", "clustered")
    close(own["(2)"].params[["x", "w1"]], b)


def test_it_composes_ols(panel):
    found = stepwise("y ~ x", panel, ["w1"], effects="entity", cov="driscoll-kraay")
    alone = sa.ols("y ~ x + w1", panel, effects="entity", cov="driscoll-kraay")
    assert found["(2)"].params.equals(alone.params)
    assert found["(2)"].cov.equals(alone.cov)
    assert found.statistics["clusters"].isna().all()
    assert found.statistics["entity_effects"].all()
    assert not found.statistics["time_effects"].any()


def test_sub_samples_side_by_side(frame, panel):
    groups = sa.by_group(sa.ols, "y ~ x + w1", panel, groups="east", cov="clustered")
    found = side_by_side(groups.fits)
    for name in ("east", "west"):
        part = frame[frame["east"] == name].reset_index(drop=True)
        b, V, _ = dense(part, ["x", "w1"], "two-way", "clustered")
        close(found[name].params[["x", "w1"]], b)
        close(found[name].std_errors[["x", "w1"]], np.sqrt(np.diag(V)))
    assert found.statistics["nobs"].tolist() == [8 * T, 12 * T]
    assert found.statistics["entities"].tolist() == [8, 12]


def test_lags_of_one_to_three_years(frame, panel):
    """The layout of lagged regressors: each with its own sample."""
    fits = {f"({k})": sa.ols(f"y ~ x_lag{k} + w1", panel.lag("x", k), cov="clustered")
            for k in (1, 2, 3)}  # fmt: skip
    found = side_by_side(fits)
    assert found.statistics["nobs"].tolist() == [N * (T - k) for k in (1, 2, 3)]
    for k in (1, 2, 3):
        part = frame.assign(before=by_hand(frame, "x", k)).dropna().reset_index(drop=True)
        b, _, _ = dense(part, ["before", "w1"], "two-way", "clustered")
        close(found[f"({k})"].params[[f"x_lag{k}", "w1"]], b)


def test_the_record_does_not_change(panel):
    found = stepwise("y ~ x", panel, ["w1"])
    assert isinstance(found, Regressions)
    assert len(found) == 2
    with pytest.raises(TypeError):
        found.fits["(3)"] = found["(1)"]
    with pytest.raises(OptionError, match=r"\(9\)"):
        found["(9)"]


@pytest.mark.parametrize(
    ("formula", "controls", "options", "error", "match"),
    [
        ("y ~ x", [], {}, OptionError, "at least one"),
        ("y ~ x", [[]], {}, OptionError, "at least one"),
        ("y ~ x", "w1", {}, OptionError, "list"),
        ("y ~ x", [1], {}, OptionError, "at least one term"),
        ("y ~ x", ["w1", "w1"], {}, OptionError, "more than once"),
        ("y ~ x", ["w1", "x"], {}, OptionError, "already"),
        ("y ~ x", ["nope"], {}, FormulaError, "nope"),
        ("y ~ x", ["w1", "flat"], {}, IdentificationError, r"Column \(3\).*flat"),
        ("y ~ x", ["w1"], {"common": 1}, OptionError, "common"),
        ("y ~ x", ["w1"], {"effects": "both"}, OptionError, "two-way"),
        ("y ~ x", ["w1"], {"cov": "hc9"}, OptionError, "hc9"),
    ],
)
def test_errors(frame, formula, controls, options, error, match):
    panel = sa.Panel(frame.assign(flat=frame["id"].str[1:].astype(float)), entity="id", time="t")
    with pytest.raises(error, match=match):
        stepwise(formula, panel, controls, **options)


def test_what_cannot_stand_side_by_side(panel, frame):
    ids = sorted(frame["id"].unique())
    W = sa.SpatialWeights.from_dense(np.roll(np.eye(N), 1, axis=1), ids)
    for fits, match in (
        ({}, "at least one"),
        ([], "mapping"),
        ({"a": 3}, "not a fit"),
        ({"sar": sa.sar("y ~ x", panel, W)}, "spatial"),
    ):
        with pytest.raises(DataError, match=match):
            side_by_side(fits)


def test_least_squares_beside_fe2sls(panel):
    lagged = panel.lag("x")
    found = side_by_side(
        {
            "OLS": sa.ols("y ~ x + w1", lagged, cov="clustered"),
            "IV": fe2sls("y ~ x + w1", lagged, endogenous=["x"], instruments=["x_lag1"]),
        }
    )
    assert found.statistics["nobs"].nunique() == 1
    assert found.statistics["clusters"].tolist() == [N, N]
    assert found.to_frame().index.tolist() == [
        ("OLS", "x"), ("OLS", "w1"), ("IV", "x"), ("IV", "w1")
    ]  # fmt: skip
