"""Wald, likelihood-ratio and F tests of nested models: R, dense twins, refusals."""

import dense_family
import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS, FORMULA
from diagnostics.size_study import FEW, WIDE, rates

import spatial_agglo as sa
from spatial_agglo.diagnostics.fixed_effects import effects_f_tests
from spatial_agglo.diagnostics.lattice import STEPS, lattice_tests, lr_test, wald_test

R_EFFECTS = {"entity": "individual", "time": "time", "two-way": "twoways"}
FORMULA_2 = "y ~ x1 + x2"


def weights(N=9, seed=3):
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, rng.choice([j for j in range(N) if j != i], 3, replace=False)] = rng.uniform(0.5, 1, 3)
    return W / W.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("effects", list(R_EFFECTS))
def test_r(cigarettes, queen, reference, effects):
    expected = reference("cigarettes_r")["exact_ml"][R_EFFECTS[effects]]["uncorrected"]["tests_SDM"]
    options = {"effects": effects, "likelihood": "direct-demeaned"}
    sdm = sa.sdm(FORMULA, cigarettes, queen, cov="expected", **options)
    table = lattice_tests(
        FORMULA, cigarettes, queen, cov="expected", models=["sdm", "sar", "sem"], **options
    )
    for small, theirs in (("sar", "lag"), ("sem", "err")):
        restricted = getattr(sa, small)(FORMULA, cigarettes, queen, **options)
        for name, one in (("LR", lr_test(sdm, restricted)), ("Wald", wald_test(sdm, small))):
            row = one.loc[f"{name} SDM/{small.upper()}"]
            np.testing.assert_allclose(
                row["statistic"], expected[f"{name.lower()}_{theirs}"], rtol=1e-6
            )
            np.testing.assert_allclose(
                row["p_value"], expected[f"{name.lower()}_{theirs}_p"], rtol=1e-4
            )
            assert row["df"] == 2
            np.testing.assert_allclose(table.loc[one.index[0], "statistic"], row["statistic"])


def test_transformed_reference(cigarettes, queen, reference):
    """Ratios of the log-likelihoods of the dense transformed ML."""
    twin = reference("cigarettes_transformed_ml")["two-way"]
    logliks = {model: found["loglik"] for model, found in twin.items()}
    table = lattice_tests(
        FORMULA, cigarettes, queen, models=["gns", "sac", "sdm", "sdem", "sar", "sem"], tests=["LR"]
    )
    for name, row in table.iterrows():
        large, small = name.removeprefix("LR ").lower().split("/")
        ratio = 2.0 * (logliks[large] - logliks[small])
        assert row["statistic"] == pytest.approx(ratio, abs=2e-5), name


@pytest.mark.parametrize("effects", ["none", "entity", "two-way"])
def test_by_brute_force(small, effects):
    """Every step: ratios of dense maxima; Wald with the dense covariance, delta by differences."""
    W = weights()
    _, panel, given, y, X = small(W, T=6, seed=4, rho=0.35)
    table = lattice_tests(FORMULA_2, panel, given, effects=effects, tests=["LR", "Wald"])
    first = int(effects == "none")
    twins = {}
    for model in ("gns", "sdm", "sdem", "sac", "sar", "sem", "slx", "ols"):
        p = dense_family.problem(y, X, W, model, effects, "transformed")
        twins[model] = p, dense_family.fit(p)
    for large, less in STEPS:
        p, found = twins[large]
        ratio = 2.0 * (found["loglik"] - twins[less][1]["loglik"])
        row = table.loc[f"LR {large.upper()}/{less.upper()}"]
        assert row["statistic"] == pytest.approx(ratio, abs=1e-6)
        params = found["params"]
        V = dense_family.observed_cov(params, p)
        names = ["c"] * first + ["x1", "x2"]
        names += ["W*x1", "W*x2"] * (large in ("gns", "sdm", "sdem", "slx"))
        names += [*p.names, "sigma2"]

        def restriction(v, large=large, less=less, names=names):
            at = dict(zip(names, v, strict=True))
            if (large, less) == ("sdm", "sem"):
                return np.array([at[f"W*{x}"] + at["rho"] * at[x] for x in ("x1", "x2")])
            gone = set(names) - {"c", "x1", "x2", "sigma2"}
            gone -= set(twins[less][0].names)
            if less in ("sdm", "sdem", "slx"):
                gone -= {"W*x1", "W*x2"}
            return np.array([at[name] for name in names if name in gone])

        r = restriction(params)
        R = np.zeros((r.size, params.size))
        for i in range(params.size):
            step = np.zeros(params.size)
            step[i] = 1e-6
            R[:, i] = (restriction(params + step) - restriction(params - step)) / 2e-6
        statistic = r @ np.linalg.solve(R @ V @ R.T, r)
        row = table.loc[f"Wald {large.upper()}/{less.upper()}"]
        assert row["statistic"] == pytest.approx(statistic, rel=1e-4)
        assert row["df"] == r.size


def test_every_step_has_its_tests(cigarettes, queen):
    table = lattice_tests(FORMULA, cigarettes, queen)
    assert len(table) == 3 * len(STEPS)
    assert (table["statistic"] >= 0.0).all()
    about = table.attrs["tests"]
    assert set(about) == set(table.index)
    assert about["Wald SDM/SEM"]["null"] == "theta + rho beta = 0 (common factor)"
    assert about["LR SDM/SAR"]["null"] == "theta = 0"
    assert about["LM GNS/SDM"]["null"] == "lambda = 0"
    n, p = 45 * 29, 5
    factor = (n - p + 2 / 2 - 1) / n
    assert about["LR SDM/SAR"]["distribution"] == f"chi2(2) of {factor:.4f} LR"
    assert about["Wald SDM/SAR"]["distribution"] == f"{2 * n / (n - p):.4g} F(2, {n - p})"
    assert about["LM SDM/SAR"]["distribution"] == "chi2(2)"
    chi2_p = float(np.exp(-0.5 * factor * table.loc["LR SDM/SAR", "statistic"]))  # two df
    assert table.loc["LR SDM/SAR", "p_value"] == pytest.approx(chi2_p)
    direct = lattice_tests(FORMULA, cigarettes, queen, likelihood="direct", models=["sdm", "sar"])
    chi2_p = np.exp(-0.5 * direct["statistic"])
    np.testing.assert_allclose(direct["p_value"], chi2_p, rtol=1e-10)
    assert "Debarsy" in about["LM SAC/SAR"]["source"]


def test_random_effects(cigarettes, queen):
    table = lattice_tests(
        FORMULA, cigarettes, queen, effects="random", models=["sdm", "sar", "sem"]
    )
    assert [name.split()[0] for name in table.index] == ["LR", "Wald"] * 2
    sdm = sa.sdm(FORMULA, cigarettes, queen, effects="random")
    sar = sdm.replace(model="sar")
    assert table.loc["LR SDM/SAR", "statistic"] == pytest.approx(2 * (sdm.loglik - sar.loglik))
    outside = sa.sem(FORMULA, cigarettes, queen, effects="random", form="baltagi")
    with pytest.raises(sa.errors.OptionError, match="form='kkp'"):
        lr_test(sdm, outside)


def test_robust_covariance(cigarettes, queen):
    """The Wald tests take the covariance of the fit."""
    plain = lattice_tests(FORMULA, cigarettes, queen, models=["sdm", "sar"])["statistic"]
    robust = lattice_tests(FORMULA, cigarettes, queen, models=["sdm", "sar"], cov="clustered")
    fit = sa.sdm(FORMULA, cigarettes, queen, cov="clustered")
    theta = ["W*logp", "W*logy"]
    expected = fit.params[theta] @ np.linalg.solve(fit.cov.loc[theta, theta], fit.params[theta])
    assert robust.loc["Wald SDM/SAR", "statistic"] == pytest.approx(expected)
    from scipy.stats import f

    nu, W = 46 - 1 - 5 / 2, robust.loc["Wald SDM/SAR", "statistic"]  # Hotelling's T^2
    expected = f.sf(W * (nu - 1) / (2 * nu), 2, nu - 1)
    assert robust.loc["Wald SDM/SAR", "p_value"] == pytest.approx(expected)
    assert robust.loc["LR SDM/SAR", "statistic"] == pytest.approx(plain["LR SDM/SAR"])
    few = sa.Panel(
        cigarettes.frame.reset_index().assign(half=lambda d: (d["year"] > 1977).astype(int)),
        entity="state",
        time="year",
    )
    with pytest.raises(sa.errors.IdentificationError, match="fewer restrictions"):
        wald_test(sa.sdm(FORMULA, few, queen, cov=sa.Clustered("half")), "sar")


def test_fewer_lags(cigarettes, queen):
    """One lagged regressor less is nested too."""
    large = sa.sdm(FORMULA, cigarettes, queen)
    small = large.replace(durbin=["logp"])
    table = lr_test(large, small)
    assert table["df"].tolist() == [1]
    assert table["statistic"].iloc[0] == pytest.approx(2 * (large.loglik - small.loglik))
    z = large.tstats["W*logy"]
    assert table["statistic"].iloc[0] == pytest.approx(z**2, rel=0.1)
    with pytest.raises(sa.errors.OptionError, match="same durbin"):
        lr_test(small, large)
    with pytest.raises(sa.errors.OptionError, match="nothing to test"):
        lr_test(large, large)


def test_common_factor_needs_all_lags(cigarettes, queen):
    table = lattice_tests(FORMULA, cigarettes, queen, durbin=["logp"])
    assert "LR SDM/SEM" not in table.index
    assert table.loc["LR SDM/SAR", "df"] == 1
    some = sa.sdm(FORMULA, cigarettes, queen, durbin=["logp"])
    with pytest.raises(sa.errors.OptionError, match="only where all regressors are lagged"):
        wald_test(some, "sem")
    plain = sa.datasets.weights("cigarettes_queen")
    free = sa.sdm(FORMULA, cigarettes, plain, effects="none")
    with pytest.raises(sa.errors.OptionError, match="lag of the intercept"):
        wald_test(free, "sem")
    inverse = sa.datasets.weights("cigarettes_inverse_distance").standardize("row")
    two = sa.sdm(FORMULA, cigarettes, queen, W_durbin=inverse)
    with pytest.raises(sa.errors.OptionError, match="W_durbin differs"):
        wald_test(two, "sem")


@pytest.mark.parametrize(
    ("large", "small"),
    [("sdm", "sdem"), ("sdem", "sdm"), ("sac", "sdm"), ("sar", "sem"), ("sem", "slx")],
)
def test_models_that_are_not_nested(cigarettes, queen, large, small):
    fits = [getattr(sa, model)(FORMULA, cigarettes, queen) for model in (large, small)]
    with pytest.raises(sa.errors.OptionError, match="not nested.*information criteria"):
        lr_test(*fits)
    with pytest.raises(sa.errors.OptionError, match="not nested"):
        wald_test(fits[0], small)


@pytest.mark.parametrize(("large", "small"), [("sar", "sdm"), ("sem", "sdm"), ("ols", "slx")])
def test_the_wrong_way_round(cigarettes, queen, large, small):
    fits = [getattr(sa, model)(FORMULA, cigarettes, queen) for model in (large, small)]
    with pytest.raises(sa.errors.OptionError, match="larger model first"):
        lr_test(*fits)


def test_what_two_fits_must_share(cigarettes, queen):
    sdm = sa.sdm(FORMULA, cigarettes, queen)
    inverse = sa.datasets.weights("cigarettes_inverse_distance").standardize("row")
    one_year_less = sa.Panel(
        cigarettes.frame.reset_index().query("year < 1992"), entity="state", time="year"
    )
    bad = {
        "same effects": sdm.replace(model="sar", effects="entity"),
        "same likelihood": sdm.replace(model="sar", likelihood="direct"),
        "same data": sa.sar("logc ~ logp", cigarettes, queen),
        "be of the same data": sa.sar(FORMULA, one_year_less, queen),
        "same W": sa.sar(FORMULA, cigarettes, inverse),
        "the same W:": sa.sem(FORMULA, cigarettes, inverse),
    }
    for message, small in bad.items():
        with pytest.raises(sa.errors.OptionError, match=message):
            lr_test(sdm, small)
    with pytest.raises(sa.errors.OptionError, match="Two fitted models"):
        lr_test(sdm, "sar")
    with pytest.raises(sa.errors.OptionError, match="fitted model is needed"):
        wald_test("sdm", "sar")
    two_stage = sa.stsls(FORMULA, cigarettes, queen)
    with pytest.raises(sa.errors.OptionError, match="without a likelihood"):
        lr_test(sdm, two_stage)
    # the same data and W, read twice, are the same
    again = sa.sar(FORMULA, cigarettes, sa.datasets.weights("cigarettes_queen").standardize("row"))
    assert again.workspace is not sdm.workspace
    assert lr_test(sdm, again)["df"].tolist() == [2]


def test_singular_step(cigarettes, queen):
    gns = sa.gns(FORMULA, cigarettes, queen)
    with pytest.raises(sa.errors.IdentificationError, match="Go down in steps"):
        lr_test(gns, gns.replace(model="ols"))


def test_a_local_maximum_is_no_test(cigarettes, queen):
    from dataclasses import replace

    sdm = sa.sdm(FORMULA, cigarettes, queen)
    sar = sdm.replace(model="sar")
    with pytest.raises(sa.errors.IdentificationError, match="local maximum"):
        lr_test(replace(sdm, loglik=sar.loglik - 1.0), sar)


def test_rows_that_fail_say_why(monkeypatch, cigarettes, queen):
    """A model without a maximum leaves NaN and its reason; the others are there."""
    from spatial_agglo.diagnostics import lattice

    original = lattice.fit_model

    def fails(spec, space):
        if spec.model == "gns":
            raise sa.errors.BoundaryError("no interior maximum")
        return original(spec, space)

    monkeypatch.setattr(lattice, "fit_model", fails)
    table = lattice_tests(FORMULA, cigarettes, queen)
    assert table.loc[["LR GNS/SDM", "Wald GNS/SDM"], "statistic"].isna().all()
    assert "no interior maximum" in table.attrs["tests"]["LR GNS/SDM"]["reason"]
    assert np.isfinite(table.loc["LM GNS/SDM", "statistic"])  # it needs the smaller model only
    assert (
        table.drop(index=["LR GNS/SDM", "LR GNS/SDEM", "LR GNS/SAC"])
        .filter(like="LR", axis=0)["statistic"]
        .notna()
        .all()
    )


# --- fixed effects ----------------------------------------------------------------------------


def dummies(T, N, effects):
    columns = [np.ones((T * N, 1))]
    if effects in ("entity", "two-way"):
        columns.append(np.kron(np.ones((T, 1)), np.eye(N))[:, 1:])
    if effects in ("time", "two-way"):
        columns.append(np.kron(np.eye(T), np.ones((N, 1)))[:, 1:])
    return np.hstack(columns)


@pytest.mark.parametrize(("model", "missing"), [("ols", ()), ("slx", ()), ("ols", (3, 17, 18, 40))])
def test_f_by_dummies(small, model, missing):
    W = weights()
    frame, _, given, y, X = small(W, T=6, seed=2)
    T, N = y.shape
    frame = frame.drop(index=list(missing))
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    kept = np.setdiff1d(np.arange(T * N), missing)
    Z = X.reshape(T * N, 2)
    if model == "slx":
        Z = np.hstack([Z, np.kron(np.eye(T), W) @ Z])
    table = effects_f_tests(FORMULA_2, panel, given if model == "slx" else None, model=model)
    rss, left = {}, {}
    for effects in EFFECTS:
        A = np.hstack([dummies(T, N, effects), Z])[kept]
        target = y.ravel()[kept]
        rss[effects] = ((target - A @ np.linalg.lstsq(A, target, rcond=None)[0]) ** 2).sum()
        left[effects] = len(kept) - np.linalg.matrix_rank(A)
    for effects in ("entity", "time", "none"):
        df = left[effects] - left["two-way"]
        F = (rss[effects] - rss["two-way"]) / df / (rss["two-way"] / left["two-way"])
        row = table.loc[f"F two-way/{effects}"]
        assert row["statistic"] == pytest.approx(F, rel=1e-9)
        assert row["df"] == df
        about = table.attrs["tests"][f"F two-way/{effects}"]
        assert about["distribution"] == f"F({df}, {left['two-way']})"


def test_f_of_linearmodels(cigarettes):
    """linearmodels has the joint test of all effects (its F for poolability)."""
    from linearmodels.panel import PanelOLS

    data = cigarettes.frame
    data = data.set_axis(data.index.set_levels(data.index.levels[1].astype(int), level=1))
    for effects, options in {
        "two-way": {"entity_effects": True, "time_effects": True},
        "entity": {"entity_effects": True},
        "time": {"time_effects": True},
    }.items():
        found = PanelOLS(
            data["logc"], data[["logp", "logy"]].assign(one=1.0), drop_absorbed=False, **options
        ).fit()
        table = effects_f_tests(FORMULA, cigarettes, effects=effects)
        row = table.loc[f"F {effects}/none"]
        assert row["statistic"] == pytest.approx(found.f_pooled.stat, rel=1e-8)
        assert row["p_value"] == pytest.approx(found.f_pooled.pval, abs=1e-12)


def test_f_options(cigarettes, queen):
    with pytest.raises(sa.errors.OptionError, match="model='sdm' is not known"):
        effects_f_tests(FORMULA, cigarettes, queen, model="sdm")
    with pytest.raises(sa.errors.OptionError, match="effects='none' is not known"):
        effects_f_tests(FORMULA, cigarettes, effects="none")
    table = effects_f_tests(FORMULA, cigarettes, effects="time")
    assert isinstance(table, pd.DataFrame)
    assert table["df"].tolist() == [29]


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("null", ["ols", "sar", "sem", "slx"])
def test_size(null, effects):
    table = rates(null, effects, FEW)
    steps = table[["/" in name for name in table.index]]
    assert steps["rate"].between(*WIDE).all(), steps


def test_wald_statistics_from_the_gns_have_no_p_value():
    """They would reject in 7% to 17% of samples; the statistic and the reason are there."""
    panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    table = sa.lattice_tests("logc ~ logp + logy", panel, W, models=["gns", "sdm", "sar"])
    alone = sa.wald_test(sa.gns("logc ~ logp + logy", panel, W), "sdm")
    for found in (table, alone):
        assert found.loc["Wald GNS/SDM", "statistic"] > 0
        assert np.isnan(found.loc["Wald GNS/SDM", "p_value"])
        assert "take the LM or the LR row" in found.attrs["tests"]["Wald GNS/SDM"]["reason"]
    assert table.loc[["LM GNS/SDM", "LR GNS/SDM", "Wald SDM/SAR"], "p_value"].notna().all()


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("null", ["sdm", "sdem", "sac"])
def test_size_from_the_gns(null, effects):
    """Score and likelihood-ratio tests keep their size; Wald tests do not (see the docstring)."""
    table = rates(null, effects, FEW)
    kept = table[table.index.str.startswith(("LM", "LR"))]
    assert kept["rate"].between(*WIDE).all(), kept


@pytest.mark.slow
@pytest.mark.parametrize("null", ["no period effects", "no unit effects"])
@pytest.mark.parametrize("model", ["", " in sdm"])
def test_size_of_tests_of_effects(null, model):
    """F, and LR after scaling; LR as it is rejects too often."""
    table = rates(null + model, "two-way", FEW)
    plain = table.index.str.endswith("not scaled")
    assert table[~plain]["rate"].between(*WIDE).all(), table
    assert (table[plain]["rate"] > 0.06).all(), table
