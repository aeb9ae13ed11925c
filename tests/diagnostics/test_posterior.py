"""Posterior probabilities of models and weights: against R, brute force, and what must hold."""

import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS, FORMULA
from scipy.special import gammaln, logsumexp

import spatial_agglo as sa
from spatial_agglo.diagnostics.posterior import Beta, model_probabilities
from spatial_agglo.errors import FormulaError, IdentificationError, OptionError, WeightsError

R_EFFECTS = {"none": "none", "entity": "individual", "time": "time", "two-way": "twoways"}
SIX = ["ols", "slx", "sar", "sem", "sdm", "sdem"]
EIGHT = [*SIX, "sac", "gns"]


@pytest.fixture(scope="module")
def several():
    names = {"queen": "cigarettes_queen", "five": "cigarettes_5_nearest"}
    names["distance"] = "cigarettes_inverse_distance"
    return {name: sa.datasets.weights(file).standardize("row") for name, file in names.items()}


def odds(table, one, other):
    return float(table.loc[one, "log_marginal"] - table.loc[other, "log_marginal"])


# --- against R and brute force ------------------------------------------------------------


@pytest.mark.parametrize("prior", ["uniform", "beta"])
@pytest.mark.parametrize("effects", EFFECTS)
def test_log_marginals_of_r(cigarettes, queen, reference, effects, prior):
    """SDPDmod's blmpSDPD, with its integral made properly."""
    theirs = reference("cigarettes_r")["blmp_correct_integral"][R_EFFECTS[effects]][prior]
    ours = model_probabilities(
        FORMULA,
        cigarettes,
        queen,
        models=SIX,
        effects=effects,
        likelihood="direct-demeaned",
        prior=prior,
        coefficients="flat",
    ).droplevel("W")
    for model in SIX:
        found = ours.loc[model]
        assert found["log_marginal"] == pytest.approx(theirs["lmarginal"][model], abs=1e-9)
        assert found["probability"] == pytest.approx(theirs["probs"][model], rel=1e-8, abs=1e-300)


def test_gaps_against_stacked_cells(cigarettes, queen):
    """SAR, direct likelihood, no effects, on a panel with gaps: the observed cells one by one."""
    keep = np.random.default_rng(0).uniform(size=1380) > 0.1
    frame = sa.datasets.cigarettes()[keep]
    panel = sa.Panel(frame, entity="state", time="year", unbalanced="allow")
    W = sa.SpatialWeights.from_dense(queen.matrix.toarray(), list(queen.ids), isolates="allow")
    W = W.standardize("row")
    table = model_probabilities(
        FORMULA, panel, W, models=["ols", "sar"], effects="none", likelihood="direct"
    )
    dense = pd.DataFrame(queen.matrix.toarray(), queen.ids, queen.ids)
    y, Wy, X, logdets = [], [], [], []
    rho = np.linspace(-0.9999, 0.9999, 4001)
    low = -np.inf
    for _, part in frame.groupby("year"):
        here = dense.loc[part["state"], part["state"]].to_numpy()
        sums = here.sum(axis=1, keepdims=True)
        here = np.divide(here, sums, out=np.zeros_like(here), where=sums > 0)
        omega = np.linalg.eigvals(here).real
        low = max(low, 1 / omega.min())
        logdets.append(np.log(np.abs(1 - rho[:, None] * omega)).sum(axis=1))
        y.append(part["logc"])
        Wy.append(here @ part["logc"])
        X.append(np.column_stack([np.ones(len(part)), part["logp"], part["logy"]]))
    y, Wy, X = np.concatenate(y), np.concatenate(Wy), np.concatenate(X)
    n, g = len(y), 1 / max(len(y) - 1, 16)

    def height(left):
        centred = left - left.mean(axis=0)
        e = left - X @ np.linalg.lstsq(X, left, rcond=None)[0]
        mixed = ((e**2).sum(axis=0) + g * (centred**2).sum(axis=0)) / (1 + g)
        return -0.5 * (n - 1) * np.log(mixed)

    ols = height(y[:, None])[0]
    sar = height(y[:, None] - Wy[:, None] * rho) + np.sum(logdets, axis=0)
    sar = logsumexp(sar) + np.log(rho[1] - rho[0]) - np.log(1.0 - low)
    assert odds(table, ("W", "sar"), ("none", "ols")) == pytest.approx(sar - ols, abs=1e-6)


def test_ols_in_closed_form(cigarettes):
    """Two-way effects by hand; the constant is that of a proper density."""
    frame = cigarettes.frame
    z = {}
    for name in ("logc", "logp", "logy"):
        x = frame[name].unstack()
        x = x.sub(x.mean(axis=1), axis=0).sub(x.mean(axis=0), axis=1) + x.to_numpy().mean()
        z[name] = x.to_numpy().ravel()
    X = np.column_stack([z["logp"], z["logy"]])
    y, n = z["logc"], 45 * 29
    g = 1 / n
    e = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    expected = gammaln(n / 2) - n / 2 * np.log(np.pi) + np.log(g / (1 + g))
    expected -= n / 2 * np.log((e @ e + g * y @ y) / (1 + g))
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    table = model_probabilities(FORMULA, cigarettes, W, models=["ols"])
    assert table.loc[("none", "ols"), "log_marginal"] == pytest.approx(expected, rel=1e-12)
    assert table.loc[("none", "ols"), "probability"] == 1.0


# --- what must hold -----------------------------------------------------------------------


def test_probabilities_are_shares(cigarettes, queen):
    table = model_probabilities(FORMULA, cigarettes, queen)
    assert list(table.index.get_level_values("model")) == [
        "ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns"
    ]  # fmt: skip
    assert table["probability"].sum() == pytest.approx(1.0)
    assert table["probability"].idxmax() == table["log_marginal"].idxmax()
    ratio = np.exp(odds(table, ("W", "sdm"), ("W", "sem")))
    p = table["probability"]
    assert p[("W", "sdm")] / p[("W", "sem")] == pytest.approx(ratio)


@pytest.mark.parametrize("effects", ["none", "two-way"])
def test_units_do_not_matter_with_the_g_prior(cigarettes, queen, effects):
    frame = sa.datasets.cigarettes()
    other = frame.assign(logp=1000 * frame["logp"] - 7, logy=frame["logy"] - 0.3 * frame["logp"])
    changed = sa.Panel(other, entity="state", time="year")
    one, two = (
        model_probabilities(FORMULA, panel, queen, effects=effects)
        for panel in (cigarettes, changed)
    )
    np.testing.assert_allclose(one["log_marginal"], two["log_marginal"], rtol=0, atol=1e-6)


def test_units_matter_with_a_flat_prior(cigarettes, queen):
    """Every coefficient of a regressor in other units shifts the log marginal by their log."""
    frame = sa.datasets.cigarettes()
    changed = sa.Panel(frame.assign(logp=1000 * frame["logp"]), entity="state", time="year")
    one, two = (
        model_probabilities(FORMULA, panel, queen, coefficients="flat")
        for panel in (cigarettes, changed)
    )
    shift = (one["log_marginal"] - two["log_marginal"]).droplevel("W") / np.log(1000)
    expected = {model: 2.0 if model in ("slx", "sdm", "sdem", "gns") else 1.0 for model in EIGHT}
    assert shift.round(6).to_dict() == expected
    best = [table["probability"].drop(("W", "gns")).idxmax() for table in (one, two)]
    assert best == [("W", "sdm"), ("W", "sem")]


@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
def test_effects_of_units_and_periods_are_gone(cigarettes, queen, likelihood):
    rng = np.random.default_rng(1)
    frame = sa.datasets.cigarettes()
    units = frame["state"].map(dict(zip(frame["state"].unique(), rng.normal(size=46), strict=True)))
    years = frame["year"].map(dict(zip(range(1963, 1993), rng.normal(size=30), strict=True)))
    changed = sa.Panel(
        frame.assign(logc=frame["logc"] + units + years), entity="state", time="year"
    )
    one, two = (
        model_probabilities(FORMULA, panel, queen, likelihood=likelihood)
        for panel in (cigarettes, changed)
    )
    np.testing.assert_allclose(one["log_marginal"], two["log_marginal"], rtol=0, atol=1e-7)


def test_several_weights_are_compared_in_one_table(cigarettes, several):
    table = model_probabilities(FORMULA, cigarettes, several, models=SIX)
    assert [name for name in table.index if name[1] == "ols"] == [("none", "ols")]
    assert len(table) == 1 + 3 * 5
    assert table["probability"].sum() == pytest.approx(1.0)
    for name, W in several.items():
        alone = model_probabilities(FORMULA, cigarettes, W, models=SIX)
        pd.testing.assert_series_equal(
            table.loc[name, "log_marginal"],
            alone.loc["W", "log_marginal"],
            check_names=False,
        )


def test_one_matrix_for_every_year_is_one_w(cigarettes, queen):
    yearly = sa.weights.PanelWeights({year: queen for year in cigarettes.times})
    one = model_probabilities(FORMULA, cigarettes, queen, models=["sar", "sdm"])
    two = model_probabilities(FORMULA, cigarettes, yearly, models=["sar", "sdm"])
    assert list(two.index) == [("W", "sar"), ("W", "sdm")]
    np.testing.assert_allclose(one["log_marginal"], two["log_marginal"], rtol=0, atol=1e-6)


def test_lags_of_some_regressors(cigarettes, queen):
    some = model_probabilities(FORMULA, cigarettes, queen, durbin=["logp"]).droplevel("W")
    every = model_probabilities(FORMULA, cigarettes, queen).droplevel("W")
    by_formula = model_probabilities(
        "logc ~ logp + logy", cigarettes, queen, durbin=["logp", "logy"]
    ).droplevel("W")
    same = ["ols", "sar", "sem", "sac"]
    pd.testing.assert_series_equal(some.loc[same, "log_marginal"], every.loc[same, "log_marginal"])
    assert (some["log_marginal"] - every["log_marginal"]).drop(same).abs().min() > 0.1
    pd.testing.assert_frame_equal(by_formula, every)


def test_the_correction_concerns_estimates_only(cigarettes, queen):
    one, two = (
        model_probabilities(FORMULA, cigarettes, queen, likelihood=name)
        for name in ("direct-demeaned", "corrected")
    )
    pd.testing.assert_frame_equal(one, two)


def test_priors_are_stated(cigarettes, queen):
    table = model_probabilities(FORMULA, cigarettes, queen, models=["sar"])
    assert "uniform over the parameter space" in table.attrs["priors"]
    assert "g = 1/1305" in table.attrs["priors"]  # 45 x 29
    table = model_probabilities(
        FORMULA, cigarettes, queen, models=["sar"], prior=Beta(2.0), coefficients="flat"
    )
    assert "beta(2, 2)" in table.attrs["priors"]
    assert "coefficients: flat" in table.attrs["priors"]


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["sar", "sdn"]}, "sdn"),
        ({"models": "sar"}, "list of names"),
        ({"models": []}, "list of names"),
        ({"prior": "normal"}, "prior='normal'"),
        ({"prior": Beta(0.5)}, "at least 1"),
        ({"prior": Beta(float("nan"))}, "at least 1"),
        ({"coefficients": "ridge"}, "coefficients='ridge'"),
        ({"effects": "random"}, "information criteria"),
        ({"effects": "state"}, "effects='state'"),
        ({"likelihood": "bayes"}, "likelihood='bayes'"),
        ({"durbin": []}, "nothing to lag"),
        ({"durbin": ["income"]}, "income"),
    ],
)
def test_bad_options(cigarettes, queen, options, message):
    with pytest.raises(OptionError, match=message):
        model_probabilities(FORMULA, cigarettes, queen, **options)


def test_bad_weights(cigarettes, queen, several):
    with pytest.raises(OptionError, match="empty mapping"):
        model_probabilities(FORMULA, cigarettes, {})
    with pytest.raises(OptionError, match="stands for models without weights"):
        model_probabilities(FORMULA, cigarettes, {"none": queen})
    with pytest.raises(WeightsError, match="needs spatial weights"):
        model_probabilities(FORMULA, cigarettes, None)
    raw = {"queen": queen, "raw": sa.datasets.weights("cigarettes_inverse_distance")}
    with pytest.raises(OptionError, match=r"Row-standardised: 'queen'; not: 'raw'"):
        model_probabilities(FORMULA, cigarettes, raw, models=["sar"])
    table = model_probabilities(FORMULA, cigarettes, raw, models=["sar"], likelihood="direct")
    assert len(table) == 2


def test_no_regressor(cigarettes, queen):
    with pytest.raises(FormulaError, match="no regressor"):
        model_probabilities("logc ~ 1", cigarettes, queen, effects="none")


def test_an_error_names_the_model_and_the_weights(cigarettes, queen):
    """With weights that are all the same, lags are multiples of what the period means leave."""
    N = 46
    same = sa.SpatialWeights.from_dense((np.ones((N, N)) - np.eye(N)) / (N - 1), list(queen.ids))
    with pytest.raises(IdentificationError, match="slx with the weights 'same'"):
        model_probabilities(FORMULA, cigarettes, {"queen": queen, "same": same})


# --- simulation ---------------------------------------------------------------------------

TRUE = {
    "ols": {},
    "slx": {"theta": [0.5, -0.5]},
    "sar": {"rho": 0.4},
    "sem": {"lam": 0.5},
    "sdm": {"rho": 0.4, "theta": [0.5, 0.5]},
    "sdem": {"lam": 0.5, "theta": [0.5, 0.5]},
    "sac": {"rho": 0.4, "lam": 0.4},
    "gns": {"rho": 0.4, "lam": 0.4, "theta": [0.8, -0.8]},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", list(TRUE))
def test_the_true_model_and_weights_are_found(several, model):
    """Out of 22, with 46 units and 20 periods, in at least 90 of 100 samples."""
    hits = 0
    for seed in range(100):
        sample = sa.simulate(
            model, several["queen"], 20, beta=[1.0, 0.5], sigma=0.5, seed=seed, **TRUE[model]
        )
        table = model_probabilities("y ~ x1 + x2", sample.panel, several)
        hits += table["probability"].idxmax() == ("none" if model == "ols" else "queen", model)
    assert hits >= 90
