"""Every wrong input: what was required, what came, what to do."""

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.errors import (
    AlignmentError,
    BoundaryError,
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    SpatialAggloError,
    WeightsError,
)


@pytest.fixture
def frame():
    return sa.datasets.cigarettes()


def panel_of(frame):
    return sa.Panel(frame, entity="state", time="year")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"effects": "twoway"}, "effects='twoway'.*'none', 'entity', 'time', 'two-way'"),
        ({"effects": None}, "effects=None"),
        ({"likelihood": "lee-yu"}, "likelihood='lee-yu'.*'transformed', 'direct'"),
        ({"cov": "hc1"}, "cov='hc1'.*'observed', 'expected', 'opg', 'robust', 'clustered'"),
        ({"durbin": "logp"}, "must be a list of names; got 'logp'"),
        ({"durbin": ["price"]}, "names 'price', not among the regressors 'logp', 'logy'"),
    ],
)
def test_unknown_options(cigarettes, queen, options, match):
    with pytest.raises(OptionError, match=match):
        sa.sdm(FORMULA, cigarettes, queen, **options)
    with pytest.raises(sa.errors.OptionError, match="nsim"):
        sa.sdm(FORMULA, cigarettes, queen, nsim=500)
    with pytest.raises(TypeError, match="positional"):
        sa.sdm(FORMULA, cigarettes, queen, "two-way")


def test_every_error_is_ours(cigarettes, queen):
    for error in (AlignmentError, BoundaryError, DataError, FormulaError, OptionError):
        assert issubclass(error, SpatialAggloError)


def test_missing_cells_of_a_variable(frame, queen):
    frame.loc[[5, 77, 900], "logp"] = np.nan
    cells = [(frame.loc[i, "state"], int(frame.loc[i, "year"])) for i in (5, 77, 900)]
    with pytest.raises(DataError, match=r"'logp' has 3 missing value\(s\)") as caught:
        sa.sdm(FORMULA, panel_of(frame), queen)
    for cell in cells:
        assert repr(cell) in str(caught.value)


def test_columns_that_are_not_used_may_have_gaps(frame, queen):
    frame["spare"] = np.nan
    assert sa.sdm(FORMULA, panel_of(frame), queen).nobs == 1380


def test_units_that_do_not_match(frame, queen):
    fewer = panel_of(frame[frame["state"] != "Ohio"])
    with pytest.raises(AlignmentError, match="weights have no data: 'Ohio'"):
        sa.sdm(FORMULA, fewer, queen)
    rest = queen.subset([unit for unit in queen.ids if unit != "Ohio"]).standardize("row")
    with pytest.raises(AlignmentError, match="data have no weights: 'Ohio'"):
        sa.sdm(FORMULA, panel_of(frame), rest)
    assert sa.sdm(FORMULA, fewer, rest).nobs == 45 * 30


def test_weights_without_labels(cigarettes, queen):
    with pytest.raises(WeightsError, match="no labels"):
        sa.sdm(FORMULA, cigarettes, queen.matrix.toarray())
    with pytest.raises(WeightsError, match="sdm needs spatial weights W; got None"):
        sa.sdm(FORMULA, cigarettes, None)


def test_a_frame_instead_of_a_panel(frame, queen):
    with pytest.raises(DataError, match="A Panel is needed"):
        sa.sdm(FORMULA, frame, queen)


def test_one_period_under_fixed_effects(frame, queen):
    one = sa.Panel(frame[frame["year"] == 1992], entity="state")
    for effects in ("entity", "two-way"):
        with pytest.raises(IdentificationError, match="at least two periods; the panel has 1"):
            sa.sdm(FORMULA, one, queen, effects=effects)
    assert sa.sdm(FORMULA, one, queen, effects="none").nobs == 46


def test_collinear_regressors_are_named(frame, queen):
    frame["both"] = 2 * frame["logp"] - frame["logy"]
    with pytest.raises(
        IdentificationError, match="'both' is a linear combination of 'logp', 'logy'"
    ):
        sa.sar("logc ~ logp + logy + both", panel_of(frame), queen)
    frame["copy"] = frame["logp"] + 1e-9 * np.random.default_rng(0).normal(size=len(frame))
    with pytest.raises(IdentificationError, match="'copy' is a linear combination of 'logp'"):
        sa.sar("logc ~ logp + copy", panel_of(frame), queen)


def test_lag_of_a_common_trend_is_collinear(frame, queen):
    frame["trend"] = frame["year"] - 1963.0
    with pytest.raises(
        IdentificationError, match=r"'W\*trend' is a linear combination of 'trend'.*durbin"
    ):
        sa.sdm("logc ~ logp + trend", panel_of(frame), queen, effects="entity")
    fit = sa.sdm("logc ~ logp + trend", panel_of(frame), queen, effects="entity", durbin=["logp"])
    assert "W*trend" not in fit.names


@pytest.mark.parametrize(
    ("effects", "column", "match"),
    [
        ("entity", "area", "'area' does not vary over time.*entity effects absorb it"),
        ("time", "shock", "'shock' does not vary between units.*time effects absorb it"),
        ("two-way", "area", "'area' does not vary beyond what the entity and time effects"),
        ("none", "one", "'one' is constant"),
    ],
)
def test_absorbed_regressors_are_named(frame, queen, effects, column, match):
    rng = np.random.default_rng(0)
    frame["area"] = frame["state"].map(dict(zip(queen.ids, rng.normal(1e3, 10, 46), strict=True)))
    frame["shock"] = frame["year"].map(
        dict(zip(range(1963, 1993), rng.normal(size=30), strict=True))
    )
    frame["one"] = 1.0
    for model in (sa.ols, sa.sar, sa.sdm):
        with pytest.raises(IdentificationError, match=match):
            model(f"logc ~ logp + {column}", panel_of(frame), queen, effects=effects)


def test_an_outcome_without_variation(frame, queen):
    frame["flat"] = 7.0
    with pytest.raises(IdentificationError, match="outcome 'flat'"):
        sa.sar("flat ~ logp", panel_of(frame), queen)


def test_a_perfect_fit(frame, queen):
    frame["copy"] = 3 * frame["logc"]
    with pytest.raises(IdentificationError, match="exactly"):
        sa.ols("logc ~ copy", panel_of(frame), queen)


def test_too_few_observations(queen):
    rng = np.random.default_rng(0)
    W = sa.SpatialWeights.from_dense(np.ones((4, 4)) - np.eye(4), list("abcd")).standardize("row")
    frame = pd.DataFrame(rng.normal(size=(8, 6)), columns=["y", *(f"x{i}" for i in range(5))])
    frame["i"], frame["t"] = list("abcd") * 2, [1] * 4 + [2] * 4
    panel = sa.Panel(frame, entity="i", time="t")
    with pytest.raises(IdentificationError, match="Too few observations: 4 units x 2 periods"):
        sa.sar("y ~ x0 + x1 + x2 + x3 + x4", panel, W)


def test_an_estimate_on_the_boundary(queen):
    """Outcomes that are their own spatial lag push rho to one."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(8, 1)) + 1e-6 * rng.normal(size=(8, 46))  # a shock that all share
    frame = pd.DataFrame(
        {
            "state": np.tile(queen.ids, 8),
            "year": np.repeat(range(8), 46),
            "y": y.ravel(),
            "x": rng.normal(size=46 * 8),
        }
    )
    with pytest.raises(BoundaryError, match=r"parameter space of rho.*include time effects"):
        sa.sar("y ~ x", panel_of(frame), queen, effects="none")


def test_corrected_two_way_needs_row_standardised_weights(cigarettes):
    raw = sa.datasets.weights("cigarettes_queen")
    with pytest.raises(WeightsError, match="row-standardised"):
        sa.sar(FORMULA, cigarettes, raw, likelihood="corrected")


def test_impacts_options(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    for options in ({"method": "mcmc"}, {"method": "simulation", "draws": 1}, {"level": 95}):
        with pytest.raises(OptionError):
            fit.impacts(**options)


def test_tests_that_do_not_apply(cigarettes, queen):
    sar = sa.sar(FORMULA, cigarettes, queen)
    for test in (sa.wald_tests, sa.lr_tests):
        with pytest.raises(OptionError, match="spatial Durbin model, sdm.*got sar"):
            test(sar)
    with pytest.raises(OptionError, match="cannot test effects"):
        sa.effects_tests(FORMULA, cigarettes, queen, likelihood="transformed")
    with pytest.raises(OptionError, match="nothing to test"):
        sa.effects_tests(FORMULA, cigarettes, queen, effects="none")
    with pytest.raises(OptionError, match="model='gwr'"):
        sa.effects_tests(FORMULA, cigarettes, queen, model="gwr")
    with pytest.raises(WeightsError, match="W; got None"):
        sa.effects_tests(FORMULA, cigarettes)
    with pytest.raises(WeightsError):
        sa.lm_tests(FORMULA, cigarettes, None)
    with pytest.raises(OptionError, match="alpha"):
        sa.choose_model(FORMULA, cigarettes, queen, alpha=5)
    with pytest.raises(FormulaError, match="no regressor"):
        sa.choose_model("logc ~ 1", cigarettes, queen)


def test_moran_input(frame, queen):
    frame["flat"] = np.where(frame["year"] == 1970, 1.0, frame["logc"])
    panel = panel_of(frame)
    with pytest.raises(DataError, match="'flat' is the same for all units in period.* 1970"):
        sa.esda.moran(panel, "flat", queen)
    with pytest.raises(DataError, match="no column 'nothing'"):
        sa.esda.moran(panel, "nothing", queen)
    with pytest.raises(DataError, match="at least one variable"):
        sa.esda.moran(panel, [], queen)
    with pytest.raises(OptionError, match="assumption"):
        sa.esda.moran(panel, "logc", queen, assumption="permutation")


def test_small_and_large_weights_give_the_same_model(cigarettes):
    """The scale of W only scales rho: no error, no loss of digits."""
    raw = sa.datasets.weights("cigarettes_queen")
    base = sa.sdm(FORMULA, cigarettes, raw, effects="entity")
    for scale in (1e-14, 1e9, 1e22):
        W = sa.SpatialWeights.from_sparse(raw.matrix * scale, raw.ids)
        fit = sa.sdm(FORMULA, cigarettes, W, effects="entity")
        assert fit.rho * scale == pytest.approx(base.rho, rel=1e-9)
        assert fit.loglik == pytest.approx(base.loglik, rel=1e-12)
        np.testing.assert_allclose(fit.impacts().estimate, base.impacts().estimate, rtol=1e-7)


def test_weights_in_which_all_are_equal(cigarettes):
    N = cigarettes.N
    W = sa.SpatialWeights.from_dense(np.ones((N, N)) - np.eye(N), cigarettes.entities)
    W = W.standardize("row")
    with pytest.raises(WeightsError, match="same weight in each other"):
        sa.esda.moran(cigarettes, "logc", W)
    with pytest.raises(IdentificationError, match="Wy is a multiple of y"):
        sa.sar(FORMULA, cigarettes, W)


def test_lm_without_regressors(cigarettes, queen):
    table = sa.lm_tests("logc ~ 1", cigarettes, queen)
    assert table.loc[["robust LM lag", "robust LM error", "SARMA"], "statistic"].isna().all()
    assert table.loc["LM lag", "statistic"] == pytest.approx(table.loc["LM error", "statistic"])


def test_a_fit_brings_its_own_panel(cigarettes, queen):
    fit = sa.ols(FORMULA, cigarettes, queen)
    with pytest.raises(OptionError, match="brings its own panel"):
        sa.residual_moran(fit, cigarettes, queen)


@pytest.mark.parametrize("level", [95, -1, 0, "a"])
def test_levels_are_shares(cigarettes, queen, level):
    with pytest.raises(OptionError, match="between 0 and 1"):
        sa.sdm(FORMULA, cigarettes, queen).conf_int(level)


@pytest.mark.parametrize("seed", [-1, "a", 1.5])
def test_seeds(cigarettes, queen, seed):
    with pytest.raises(OptionError, match="seed="):
        sa.sdm(FORMULA, cigarettes, queen).impacts(method="simulation", seed=seed)
    with pytest.raises(OptionError, match="seed="):
        sa.esda.pooled_moran(cigarettes, "logc", queen, seed=seed)


def test_results_cannot_be_changed(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    before = fit.impacts().estimate.copy()
    params = fit.params
    params["rho"] = 0.99
    np.testing.assert_array_equal(fit.impacts().estimate, before)
    assert fit.params["rho"] == fit.rho


def test_too_few_clusters_for_a_joint_test():
    rng = np.random.default_rng(0)
    W = sa.SpatialWeights.from_dense(np.ones((3, 3)) - np.eye(3), list("abc")).standardize("row")
    frame = pd.DataFrame(rng.normal(size=(60, 4)), columns=["y", "x0", "x1", "x2"])
    frame["i"], frame["t"] = list("abc") * 20, np.repeat(range(20), 3)
    panel = sa.Panel(frame, entity="i", time="t")
    W = sa.SpatialWeights.from_dense([[0, 1, 0], [1, 0, 2], [0, 1, 0]], list("abc")).standardize()
    fit = sa.sdm("y ~ x0 + x1 + x2", panel, W, effects="entity", cov="clustered")
    with pytest.raises(IdentificationError, match="3 clusters.*fewer restrictions"):
        sa.wald_tests(fit)


def test_isolates_are_named_where_rows_must_sum_to_one(cigarettes, queen):
    dense = queen.matrix.toarray()
    alone = queen.ids.get_loc("Ohio")
    dense[alone] = dense[:, alone] = 0.0
    W = sa.SpatialWeights.from_dense(dense, queen.ids, isolates="allow").standardize("row")
    with pytest.raises(WeightsError, match="without neighbours do not: 'Ohio'"):
        sa.sem(FORMULA, cigarettes, W)
    local = sa.esda.local_moran(cigarettes, "logc", W, permutations=99).loc["Ohio"]
    assert local["I"].isna().all()
    assert sa.esda.local_geary(cigarettes, "logc", W, permutations=19).loc["Ohio", "C"].isna().all()


def test_a_search_that_does_not_converge(cigarettes, queen, monkeypatch):
    from spatial_agglo.core import maximize

    monkeypatch.setattr(maximize, "_polish", lambda *_: None)
    with pytest.raises(sa.errors.ConvergenceError, match=r"near rho = .*sdm, sdem"):
        sa.gns(FORMULA, cigarettes, queen)
