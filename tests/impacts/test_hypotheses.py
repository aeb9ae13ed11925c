"""Wald tests on effects, written out."""

from dataclasses import replace

import numpy as np
import pytest
from impacts.explicit import averages, jacobian
from scipy import stats

import spatial_agglo as sa
from spatial_agglo.errors import IdentificationError, OptionError

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="module")
def dense_queen(cigarettes, queen):
    return queen.align(cigarettes.entities).matrix.toarray()


def wald(fit, W, R):
    """The statistic from effects and finite differences; R picks among (direct, ..) x names."""

    def effects(v):
        return R @ averages(fit, v, [(W, None)]).ravel()

    J = jacobian(fit, effects)
    v = effects(fit.values)
    return float(v @ np.linalg.solve(J @ fit.covariance @ J.T, v))


@pytest.mark.parametrize("model", ["sdm", "sar", "gns"])
@pytest.mark.parametrize(("effect", "row"), [("direct", 0), ("indirect", 1), ("total", 2)])
def test_zero_against_algebra(cigarettes, queen, dense_queen, model, effect, row):
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, cov="clustered")
    table = sa.impacts(fit).test_zero(effect)
    R = np.eye(6)[[2 * row, 2 * row + 1]]
    tests = {f"{effect} of logp = 0": R[:1], f"{effect} of logy = 0": R[1:], "joint": R}
    assert list(table.index) == list(tests)
    assert list(table.columns) == ["statistic", "df", "p_value"]
    for name, matrix in tests.items():
        statistic = wald(fit, dense_queen, matrix)
        assert table.loc[name, "statistic"] == pytest.approx(statistic, rel=1e-6)
        assert table.loc[name, "df"] == len(matrix)
        p = stats.chi2.sf(statistic, len(matrix))
        assert table.loc[name, "p_value"] == pytest.approx(p, rel=1e-5, abs=1e-300)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("total", "logp"), ("total", "logy")),
        (("direct", "logp"), ("indirect", "logp")),
        (("indirect", "logp"), ("direct", "logy")),
    ],
)
def test_equality_against_algebra(cigarettes, queen, dense_queen, first, second):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    table = sa.impacts(fit).test_equal(first, second)
    R = np.zeros((1, 6))
    for (effect, name), sign in ((first, 1.0), (second, -1.0)):
        R[0, 2 * ["direct", "indirect", "total"].index(effect) + (name == "logy")] = sign
    statistic = wald(fit, dense_queen, R)
    assert table.index[0] == "{} of {} = {} of {}".format(*first, *second)
    assert table["statistic"].iloc[0] == pytest.approx(statistic, rel=1e-6)
    again = sa.impacts(fit).test_equal(second, first)
    assert again["statistic"].iloc[0] == pytest.approx(table["statistic"].iloc[0], rel=1e-12)


def test_cases_that_collapse(cigarettes, queen):
    """slx: its indirect effects are theta; one effect: the square of z."""
    fit = sa.slx(FORMULA, cigarettes, queen)
    theta = fit.params[["W*logp", "W*logy"]].to_numpy()
    V = fit.cov.loc[["W*logp", "W*logy"], ["W*logp", "W*logy"]].to_numpy()
    found = sa.impacts(fit).test_zero("indirect").loc["joint", "statistic"]
    assert found == pytest.approx(theta @ np.linalg.solve(V, theta), rel=1e-10)
    effects = sa.impacts(sa.sdm(FORMULA, cigarettes, queen))
    frame = effects.to_frame()
    one = effects.test_zero("total", variables=["logy"])
    assert list(one.index) == ["total of logy = 0"]
    row = frame.loc[("total", "logy")]
    assert one["statistic"].iloc[0] == pytest.approx(row["z"] ** 2)
    assert one["p_value"].iloc[0] == pytest.approx(row["p_value"])


def test_simulated_covariances_serve(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    exact = sa.impacts(fit).test_zero("total")["statistic"]
    found = sa.impacts(fit, method="simulation", draws=20_000).test_zero("total")["statistic"]
    np.testing.assert_allclose(found, exact, rtol=0.1)


def test_what_is_refused(cigarettes, queen):
    effects = sa.impacts(sa.sar(FORMULA, cigarettes, queen))
    for call, message in (
        (lambda: effects.test_zero("spillover"), "'direct', 'indirect', 'total'"),
        (lambda: effects.test_zero(variables=["sales"]), "not among the variables"),
        (lambda: effects.test_zero(variables="logp"), "list of names"),
        (lambda: effects.test_zero(variables=[]), "no variable to test"),
        (lambda: effects.test_equal("logp", "logy"), "an effect and a variable"),
        (lambda: effects.test_equal(("logp", "total"), ("total", "logy")), "effect='logp'"),
        (lambda: effects.test_equal(("total", "logp"), ("total", "logp")), "twice the same"),
    ):
        with pytest.raises(OptionError, match=message):
            call()
    for model in ("ols", "sem"):
        fixed = sa.impacts(getattr(sa, model)(FORMULA, cigarettes, queen))
        with pytest.raises(OptionError, match="the model fixes it"):
            fixed.test_zero("indirect")
    partly = sa.impacts(sa.slx(FORMULA, cigarettes, queen, durbin=["logp"]))
    assert partly.test_zero("indirect", variables=["logp"])["df"].iloc[0] == 1
    with pytest.raises(OptionError, match="nothing to test in 'indirect of logy = 0'"):
        partly.test_zero("indirect")


def test_dependent_restrictions(cigarettes, queen):
    """sar: direct effects of both variables have the ratio of their coefficients."""
    effects = sa.impacts(sa.sar(FORMULA, cigarettes, queen))
    with pytest.raises(IdentificationError, match="not independent"):
        effects.test_zero("direct", variables=["logp", "logp"])


def test_fewer_clusters_than_restrictions(cigarettes, queen):
    frame = cigarettes.frame.reset_index()
    frame["half"] = frame["state"] < "M"
    panel = sa.Panel(frame, entity="state", time="year")
    fit = sa.sdm(FORMULA, panel, queen, cov="clustered")
    effects = replace(sa.impacts(fit), clusters=2)
    with pytest.raises(IdentificationError, match="2 restrictions .* made of 2 clusters"):
        effects.test_zero("total")
    assert sa.impacts(fit).clusters == 46
    assert sa.impacts(fit).test_zero("total")["df"].iloc[-1] == 2


def test_unknown_variances(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    covariance = fit.covariance.copy()
    covariance[0] = covariance[:, 0] = np.nan
    table = sa.impacts(replace(fit, covariance=covariance)).test_zero("direct")
    assert np.isnan(table.loc["joint", "statistic"])
    assert np.isfinite(table.loc["direct of logy = 0", "p_value"])
