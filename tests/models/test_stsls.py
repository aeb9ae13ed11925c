"""Spatial two-stage least squares against spreg, linearmodels, brute force and simulation.

``pytest -m slow -s tests/models/test_stsls.py`` prints what the simulations find.
"""

import contextlib
import io
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS
from dense import dummies, orthonormal
from scipy.linalg import block_diag

import spatial_agglo as sa
from spatial_agglo.errors import (
    BoundaryError,
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
)
from spatial_agglo.models.gmm import stsls

COVS = ("unadjusted", "robust", "clustered")
MODELS = ("sar", "sdm", "ols", "slx")
N, T, RHO = 15, 6, 0.35
FORMULA = "y ~ x1 + x2 + p"
OUTSIDE = {"endogenous": ["p"], "instruments": ["z1", "z2"]}


def close(ours, theirs, rtol=1e-8):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-11)


@pytest.fixture
def spreg():
    """The package, whose imports and constructors warn and print."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("spreg")


def network(units, links, rng, standardize=True):
    """Random asymmetric weights, no isolates."""
    W = np.zeros((units, units))
    for i in range(units):
        others = np.delete(np.arange(units), i)
        W[i, rng.choice(others, links, replace=False)] = rng.uniform(0.5, 1.5, links)
    return W / W.sum(axis=1, keepdims=True) if standardize else W


def make(W, periods, rng, errors=None, share=0.8, rho=RHO):
    """Draw y = rho W y + x1 - 0.5 x2 + 0.7 p + effects + e, p correlated with e."""
    units = W.shape[0]
    shape = (periods, units)
    e = rng.normal(size=shape) if errors is None else errors
    x1, x2 = rng.normal(size=(2, *shape)) + rng.normal(size=(2, 1, units))
    z1, z2 = rng.normal(size=(2, *shape))
    p = z1 + 0.5 * z2 + 0.3 * x1 + share * e + rng.normal(size=shape) + rng.normal(size=units)
    u = x1 - 0.5 * x2 + 0.7 * p + e + rng.normal(size=units) + rng.normal(size=(periods, 1))
    y = np.linalg.solve(np.eye(units) - rho * W, u.T).T
    ids = [f"u{i:03d}" for i in range(units)]
    frame = pd.DataFrame({"id": np.tile(ids, periods), "t": np.repeat(range(periods), units)})
    for name, values in zip(
        ("y", "x1", "x2", "p", "z1", "z2"), (y, x1, x2, p, z1, z2), strict=True
    ):
        frame[name] = values.ravel()
    panel = sa.Panel(frame, entity="id", time="t")
    return frame, panel, sa.SpatialWeights.from_dense(W, ids)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    return make(network(N, 4, rng), T, rng)


def columns(frame, W, model, effects, lags=2, lag_outside=False):
    """The raw equation, written out: regressors and instruments by hand, one big W.

    The rows of the frame are sorted by period; W is a matrix, or one for the units of each.
    """
    big = block_diag(*([W] * frame["t"].nunique() if isinstance(W, np.ndarray) else W))
    powers = {1: big, 2: big @ big, 3: big @ big @ big}
    x = {name: frame[name].to_numpy() for name in ("y", "x1", "x2", "p", "z1", "z2")}
    exog = {"x1": x["x1"], "x2": x["x2"]}
    lagged = model in ("sdm", "slx")
    if lagged:
        exog |= {"W*x1": big @ x["x1"], "W*x2": big @ x["x2"]}
    if effects == "none":
        exog = {"Intercept": np.ones(len(frame)), **exog}
    endog = {"p": x["p"]}
    instruments = []
    if model in ("sar", "sdm"):
        endog["rho"] = big @ x["y"]
        for power in range(1 + lagged, lags + 1 + lagged):
            instruments += [powers[power] @ x["x1"], powers[power] @ x["x2"]]
    instruments += [x["z1"], x["z2"]]
    if lag_outside:
        instruments += [powers[p] @ x[z] for p in range(1, lags + 1) for z in ("z1", "z2")]
    ids, times = (frame[key].astype("category").cat.codes.to_numpy() for key in ("id", "t"))
    D = np.zeros((len(frame), 0))
    if effects in ("entity", "two-way"):
        D = np.eye(ids.max() + 1)[ids]
    if effects in ("time", "two-way"):
        D = np.hstack([D, np.eye(times.max() + 1)[times][:, effects == "two-way" :]])
    return SimpleNamespace(
        y=x["y"],
        exog=np.column_stack(list(exog.values())),
        endog=np.column_stack(list(endog.values())),
        Z=np.column_stack(instruments),
        names=[*exog, *endog],
        ids=ids,
        times=times,
        D=D,
    )


def factor(c, effects, cov, k):
    """The documented small-sample factors of the covariances."""
    cells, free = c.y.size, c.y.size - c.D.shape[1]
    if cov == "clustered":
        G = c.ids.max() + 1
        periods = T if effects in ("time", "two-way") else 0
        return max(G / (G - 1), cells / (cells - periods)) * free / (free - k)
    return cells / (free - k)


# --- independent packages ---------------------------------------------------------------------


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_linearmodels_with_dummies(data, model, effects, cov):
    """Estimates, covariance and every test, from linearmodels on a regression with dummies."""
    iv = pytest.importorskip("linearmodels.iv")
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), model, effects)
    D, k, q = c.D, len(c.names), c.exog.shape[1] + c.Z.shape[1]
    absorbed = D.shape[1]
    q2, m = c.Z.shape[1], c.endog.shape[1]
    options = {"cov_type": cov} | ({"clusters": c.ids} if cov == "clustered" else {})
    theirs = iv.IV2SLS(c.y, np.hstack([c.exog, D]), c.endog, c.Z).fit(**options)
    keep = [*range(c.exog.shape[1]), *range(c.exog.shape[1] + absorbed, k + absorbed)]
    fit = stsls(FORMULA, panel, W, model=model, effects=effects, cov=cov, **OUTSIDE)
    assert sorted(fit.names) == sorted(c.names)
    close(fit.params[c.names], theirs.params.to_numpy()[keep])
    V = theirs.cov.to_numpy()[np.ix_(keep, keep)] * factor(c, effects, cov, k)
    close(fit.cov.loc[c.names, c.names], V)
    close(fit.resid.ravel(), theirs.resids)
    close(fit.sigma2, theirs.resid_ss / (N * T - absorbed - k))

    first = theirs.first_stage.diagnostics
    wald = first["f.stat"] * (q2 if cov == "unadjusted" else 1)
    close(fit.first_stage["F"], wald / q2 / factor(c, effects, cov, q))
    close(fit.first_stage["partial_rsquared"], first["partial.rsquared"])
    if effects == "none":
        close(fit.first_stage["rsquared"], first["rsquared"])
    scale = 1.0
    if cov == "clustered":  # their factor is that of Stata's ivreg2
        scale = factor(c, effects, cov, q) * (N - 1) / N * (N * T - absorbed - q) / (N * T - 1)
    close(fit.underidentification["F"] * scale, theirs.first_stage.kleibergen_paap_f)
    if cov == "unadjusted":
        close(fit.underidentification["F"], theirs.first_stage.cragg_donald_f)
        scale = (N * T - absorbed) / (N * T)
        close(fit.overidentification.loc["Sargan", "statistic"], theirs.sargan.stat * scale)
        close(fit.endogeneity.loc["all", "statistic"] / m, theirs.wu_hausman().stat)
    dwh = theirs.wooldridge_regression.stat / factor(c, effects, cov, k + m)
    close(fit.endogeneity.loc["all", "statistic"], dwh)
    assert fit.endogeneity.loc["all", "df"] == m


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("model", MODELS)
def test_hansen_j_of_linearmodels(data, model, cov):
    iv = pytest.importorskip("linearmodels.iv")
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), model, "none", lag_outside=True)
    options = {"clusters": c.ids} if cov == "clustered" else {}
    gmm = iv.IVGMM(c.y, c.exog, c.endog, c.Z, weight_type=cov, **options)
    theirs = gmm.fit(iter_limit=2, cov_type="robust").j_stat
    fit = stsls(FORMULA, panel, W, model=model, effects="none", cov=cov, lag_instruments=True,
                **OUTSIDE)  # fmt: skip
    ours = fit.overidentification.iloc[0]
    close(ours["statistic"], theirs.stat / factor(c, "none", cov, 0))
    assert ours["df"] == theirs.df
    if cov != "clustered":
        close(ours["p_value"], theirs.pval)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_orthonormal_transformation(data, spreg, model, effects):
    """The fixed effects transformed away: an ordinary regression on fewer cells, any package."""
    iv = pytest.importorskip("linearmodels.iv")
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), model, effects, lag_outside=True)
    F = np.kron(
        orthonormal(T) if effects in ("entity", "two-way") else np.eye(T),
        orthonormal(N) if effects in ("time", "two-way") else np.eye(N),
    )
    y, X, Y, Z = (F.T @ a for a in (c.y, c.exog, c.endog, c.Z))
    fit = stsls(FORMULA, panel, W, model=model, effects=effects, cov="unadjusted",
                lag_instruments=True, **OUTSIDE)  # fmt: skip
    theirs = spreg.twosls.BaseTSLS(y[:, None], X, Y, q=Z, sig2n_k=True)
    close(fit.params[c.names], theirs.betas.ravel())
    close(fit.cov.loc[c.names, c.names], theirs.vm)
    close(fit.sigma2, theirs.sig2)
    plain = iv.IV2SLS(y, X, Y, Z).fit(cov_type="unadjusted", debiased=True)
    close(fit.first_stage["F"], plain.first_stage.diagnostics["f.stat"])
    close(fit.first_stage["p_value"], plain.first_stage.diagnostics["f.pval"])
    for ours, test in (
        (fit.overidentification.loc["Sargan"], plain.sargan),
        (fit.underidentification.loc["Cragg-Donald"], plain.first_stage.cragg_donald),
    ):
        close(ours["statistic"], test.stat)
        close(ours["p_value"], test.pval)
        assert ours["df"] == test.df
    assert fit.n_effective == y.size


@pytest.mark.parametrize("robust", [None, "white"])
@pytest.mark.parametrize("case", ["lag", "durbin", "endogenous", "lagged instruments", "tsls"])
def test_cross_section_of_spreg(cigarettes, queen, spreg, case, robust):
    """Cigarettes in 1992, GM_Lag and TSLS as their users call them."""
    frame = cigarettes.frame.reset_index().query("year == 1992")
    frame = frame.assign(lowest=np.log(frame["pimin"] / frame["cpi"]))
    panel = sa.Panel(frame, entity="state")
    w = queen.align(panel.entities).to_libpysal().to_W()
    frame = frame.set_index("state").loc[list(panel.entities)]
    y, p, x, z = (frame[[name]].to_numpy() for name in ("logc", "logp", "logy", "lowest"))
    common = {"robust": robust, "sig2n_k": True}
    own = {"effects": "none", "cov": "robust" if robust else "unadjusted"}
    outside = {"endogenous": ["logp"], "instruments": ["lowest"]}
    names = ["Intercept", "logy", "logp"]
    if case == "lag":
        theirs = spreg.GM_Lag(y, np.hstack([p, x]), w=w, w_lags=2, **common)
        fit, names = stsls("logc ~ logp + logy", panel, queen, **own), []
    elif case == "durbin":
        theirs = spreg.GM_Lag(y, np.hstack([p, x]), w=w, w_lags=2, slx_lags=1, **common)
        fit = stsls("logc ~ logp + logy", panel, queen, model="sdm", **own)
        names = []
    elif case == "tsls":
        theirs = spreg.TSLS(y, x, p, z, w=w, **common)
        fit = stsls("logc ~ logp + logy", panel, model="ols", **outside, **own)
    else:
        lag = case == "lagged instruments"
        theirs = spreg.GM_Lag(y, x, p, z, w=w, w_lags=2, lag_q=lag, **common)
        fit = stsls("logc ~ logp + logy", panel, queen, lag_instruments=lag, **outside, **own)
        names += ["rho"]
    names = names or list(fit.names)
    close(fit.params[names], theirs.betas.ravel())
    close(fit.cov.loc[names, names], theirs.vm)
    close(fit.resid.ravel(), theirs.u.ravel())


# --- brute force ------------------------------------------------------------------------------


def brute(c, effects, cov):
    """Dense projection matrices, loops over cells and clusters; the two-step GMM objective."""
    cells = c.y.size
    M = np.eye(cells) - c.D @ np.linalg.pinv(c.D) if c.D.shape[1] else np.eye(cells)
    y, X, Z = (M @ a for a in (c.y, np.hstack([c.exog, c.endog]), np.hstack([c.exog, c.Z])))
    P = Z @ np.linalg.pinv(Z)
    bread = np.linalg.inv(X.T @ P @ X)
    b = bread @ X.T @ P @ y
    e = y - X @ b
    groups = c.ids if cov == "clustered" else np.arange(cells)

    def meat(A):
        if cov == "unadjusted":
            return A.T @ A * (e @ e) / cells
        out = np.zeros((A.shape[1], A.shape[1]))
        for group in np.unique(groups):
            s = sum(A[i] * e[i] for i in np.flatnonzero(groups == group))
            out += np.outer(s, s)
        return out

    S = meat(Z) * factor(c, effects, cov, 0)
    weight = np.linalg.inv(S)
    gmm = np.linalg.solve(X.T @ Z @ weight @ Z.T @ X, X.T @ Z @ weight @ Z.T @ y)
    g = Z.T @ (y - X @ gmm)
    V = bread @ meat(P @ X) @ bread * factor(c, effects, cov, X.shape[1])
    return SimpleNamespace(b=b, V=V, J=g @ weight @ g, X=X, Z=Z, y=y, P=P, e=e, bread=bread)


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_dense_twin(data, model, effects, cov):
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), model, effects)
    twin = brute(c, effects, cov)
    fit = stsls(FORMULA, panel, W, model=model, effects=effects, cov=cov, **OUTSIDE)
    close(fit.params[c.names], twin.b)
    close(fit.cov.loc[c.names, c.names], twin.V)
    close(fit.overidentification["statistic"].iloc[0], twin.J)
    assert fit.overidentification.index[0] == ("Sargan" if cov == "unadjusted" else "Hansen J")


def cut(W, seen, standardize):
    """The matrix among some units, rows divided by their sums again."""
    W = W[np.ix_(seen, seen)]
    return W / W.sum(axis=1, keepdims=True) if standardize else W


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_gaps_and_weights_that_change(data, model, effects, cov):
    """Missing rows and a missing instrument, another W in every period: dummies for the rest."""
    frame, _, W = data
    rng = np.random.default_rng(1)
    frame = frame.drop(index=[3, 17, 40, 77]).reset_index(drop=True)
    frame.loc[[5, 60], "z1"] = np.nan
    frame.loc[[9], "x2"] = np.nan
    used = frame.dropna().sort_values(["t", "id"])
    ids = list(W.ids)
    matrices = [network(N, 8, rng) for _ in range(T)]
    cuts = [
        cut(matrices[t], [ids.index(name) for name in used.loc[used["t"] == t, "id"]], True)
        for t in range(T)
    ]
    c = columns(used, cuts, model, effects)
    twin = brute(c, effects, cov)
    by_period = {t: sa.SpatialWeights.from_dense(matrices[t], ids) for t in range(T)}
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = stsls(FORMULA, panel, sa.weights.PanelWeights(by_period), model=model, effects=effects,
                cov=cov, **OUTSIDE)  # fmt: skip
    close(fit.params[c.names], twin.b)
    close(fit.cov.loc[c.names, c.names], twin.V)
    close(fit.overidentification["statistic"].iloc[0], twin.J)
    assert fit.nobs == len(used) == N * T - 7
    assert fit.n_effective == len(used) - c.D.shape[1]
    assert any("7 of 90 (entity, time) cells are missing" in note for note in fit.notes)
    assert list(fit.resids.index) == list(zip(used["id"], used["t"], strict=True))
    close(fit.resids.to_numpy(), twin.e)


def test_other_covariances(data):
    """Clusters of periods and Driscoll-Kraay, from sums over periods written out."""
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), "sar", "entity")
    twin = brute(c, "entity", "unadjusted")
    scores = (twin.P @ twin.X) * twin.e[:, None]
    sums = np.array([scores[c.times == t].sum(axis=0) for t in range(T)])
    lagged = sum((1 - j / 3) * (sums[j:].T @ sums[:-j] + sums[:-j].T @ sums[j:]) for j in (1, 2))
    free, k = N * T - N, len(c.names)
    nested, dof = max(T / (T - 1), N * T / free), free / (free - k)
    weights = T + 2 * sum((1 - j / 3) * (T - j) for j in (1, 2))  # 1'K1 of Bartlett's weights
    for cov, meat, factor in (
        (sa.models.covariances.Clustered("time"), sums.T @ sums, nested),
        (
            sa.models.covariances.DriscollKraay(lags=2),
            sums.T @ sums + lagged,
            max(T / (T - weights / T), nested),
        ),
    ):
        small = factor * dof
        fit = stsls(FORMULA, panel, W, effects="entity", cov=cov, **OUTSIDE)
        close(fit.cov.loc[c.names, c.names], small * twin.bread @ meat @ twin.bread)
        assert (fit.first_stage["df_resid"] == T - 1).all()


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", ["none", "two-way"])
def test_conditional_f(data, effects, cov):
    """Sanderson-Windmeijer: the other regressor out by 2SLS, what is left on the instruments.

    The distance of that regression's coefficients from a multiple of the other's, in the metric
    of their covariance: it has q - 1 degrees of freedom.
    """
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), "sar", effects)
    fit = stsls(FORMULA, panel, W, effects=effects, cov=cov, **OUTSIDE)
    twin = brute(c, effects, cov)
    k1, q = c.exog.shape[1], twin.Z.shape[1]
    for j, ours in ((0, "p"), (1, "W*y")):
        x, other = twin.X[:, k1 + j], twin.X[:, k1 + 1 - j]
        A = np.column_stack([twin.X[:, :k1], other])
        b = np.linalg.solve(A.T @ twin.P @ A, A.T @ twin.P @ x)
        left = x - other * b[-1]
        pi = np.linalg.lstsq(twin.Z, np.column_stack([x, other]), rcond=None)[0]
        v = left - twin.P @ left
        bread = np.linalg.inv(twin.Z.T @ twin.Z)
        if cov == "unadjusted":
            V = bread * (v @ v) / (N * T)
        else:
            groups = c.ids if cov == "clustered" else np.arange(N * T)
            sums = [(twin.Z * v[:, None])[groups == g].sum(axis=0) for g in np.unique(groups)]
            V = bread @ sum(np.outer(s, s) for s in sums) @ bread
        weight = np.linalg.inv(V[k1:, k1:] * factor(c, effects, cov, q))
        own, theirs = pi[k1:, 0], pi[k1:, 1]
        delta = (theirs @ weight @ own) / (theirs @ weight @ theirs)
        distance = (own - delta * theirs) @ weight @ (own - delta * theirs)
        close(fit.first_stage.loc[ours, "conditional_F"], distance / (c.Z.shape[1] - 1))


def test_endogeneity_of_one_regressor(data):
    """p against Wy, each with the other instrumented: 2SLS with the residual of one added."""
    frame, panel, W = data
    c = columns(frame, W.matrix.toarray(), "sar", "two-way")
    twin = brute(c, "two-way", "unadjusted")
    fit = stsls(FORMULA, panel, W, cov="unadjusted", **OUTSIDE)
    for j, name in ((2, "p"), (3, "W*y")):
        v = twin.X[:, j] - twin.P @ twin.X[:, j]
        X, Z = np.column_stack([twin.X, v]), np.column_stack([twin.Z, v])
        P = Z @ np.linalg.pinv(Z)
        bread = np.linalg.inv(X.T @ P @ X)
        b = bread @ X.T @ P @ twin.y
        s2 = np.sum((twin.y - X @ b) ** 2) / (N * T - (N + T - 1) - 5)
        close(fit.endogeneity.loc[name, "statistic"], b[-1] ** 2 / (s2 * bread[-1, -1]))
        assert fit.endogeneity.loc[name, "df"] == 1


def test_impacts_of_the_estimates(data):
    """Direct, indirect and total effects, and a delta-method error, from the N x N algebra."""
    _, panel, W = data
    fit = stsls(FORMULA, panel, W, model="sdm", cov="clustered", **OUTSIDE)
    assert list(fit.names) == ["x1", "x2", "p", "W*x1", "W*x2", "rho"]
    dense = W.matrix.toarray()

    def effects(values, name):
        at = dict(zip(fit.names, values, strict=True))
        S = at[name] * np.eye(N) + at.get(f"W*{name}", 0.0) * dense
        S = np.linalg.solve(np.eye(N) - at["rho"] * dense, S)
        return np.array([np.trace(S) / N, (S.sum() - np.trace(S)) / N, S.sum() / N])

    frame = fit.impacts().to_frame()
    for name in ("x1", "p"):
        rows = [frame.loc[(effect, name)] for effect in ("direct", "indirect", "total")]
        close([row["estimate"] for row in rows], effects(fit.values, name))
        J = np.array(
            [
                (effects(fit.values + step, name) - effects(fit.values - step, name)) / 2e-6
                for step in 1e-6 * np.eye(6)
            ]
        )
        close([row["se"] for row in rows], np.sqrt(np.diag(J.T @ fit.covariance @ J)), 1e-6)


def test_wald_tests_take_the_fit(data):
    _, panel, W = data
    fit = stsls("y ~ x1 + x2", panel, W, model="sdm", cov="unadjusted")
    theta = fit.params[["W*x1", "W*x2"]].to_numpy()
    V = fit.cov.loc[["W*x1", "W*x2"], ["W*x1", "W*x2"]].to_numpy()
    table = sa.wald_tests(fit)
    close(table.loc["Wald SDM/SAR", "statistic"], theta @ np.linalg.inv(V) @ theta)


# --- cases that collapse ----------------------------------------------------------------------


@pytest.mark.parametrize("effects", EFFECTS)
def test_lags_made_by_hand(data, effects):
    """sar is ols with a column Wy that is endogenous, and columns WX that instrument it."""
    frame, panel, W = data
    big = np.kron(np.eye(T), W.matrix.toarray())
    by_hand = frame.assign(Wy=big @ frame["y"])
    for name in ("x1", "x2"):
        by_hand[f"W{name}"] = big @ frame[name]
        by_hand[f"WW{name}"] = big @ big @ frame[name]
    fit = stsls("y ~ x1 + x2", panel, W, effects=effects)
    twin = stsls(
        "y ~ x1 + x2 + Wy",
        sa.Panel(by_hand, entity="id", time="t"),
        model="ols",
        effects=effects,
        endogenous=["Wy"],
        instruments=["Wx1", "Wx2", "WWx1", "WWx2"],
    )
    close(fit.values, twin.values)
    close(fit.covariance, twin.covariance)
    assert fit.instruments == ("W*x1", "W*x2", "W2*x1", "W2*x2")


def test_lagged_endogenous_regressor(data):
    """durbin=['p'] makes W*p a second endogenous regressor, instrumented by W*z."""
    frame, panel, W = data
    big = np.kron(np.eye(T), W.matrix.toarray())
    by_hand = frame.assign(Wp=big @ frame["p"], Wz1=big @ frame["z1"], Wz2=big @ frame["z2"])
    fit = stsls(FORMULA, panel, W, model="slx", durbin=["p"], lags=1, lag_instruments=True,
                **OUTSIDE)  # fmt: skip
    twin = stsls(
        "y ~ x1 + x2 + p + Wp",
        sa.Panel(by_hand, entity="id", time="t"),
        model="ols",
        endogenous=["p", "Wp"],
        instruments=["z1", "z2", "Wz1", "Wz2"],
    )
    assert fit.endogenous == ("p", "W*p")
    close(fit.values, twin.values)
    close(fit.covariance, twin.covariance)


def test_exactly_identified(data):
    """As many instruments as regressors: b = (Z'X)^-1 Z'y, and nothing to over-identify."""
    frame, panel, W = data
    fit = stsls("y ~ x1 + p", panel, model="ols", endogenous=["p"], instruments=["z1"])
    Q = np.eye(N * T) - dummies(T, N, "two-way") @ np.linalg.pinv(dummies(T, N, "two-way"))
    X, Z = (Q @ frame[names].to_numpy() for names in (["x1", "p"], ["x1", "z1"]))
    close(fit.values, np.linalg.solve(Z.T @ X, Z.T @ frame["y"].to_numpy()))
    assert fit.overidentification.empty
    assert any("exactly identified" in note for note in fit.notes)
    close(fit.first_stage["conditional_F"], fit.first_stage["F"])
    assert W.n == N


def test_nothing_lagged_is_sar(data):
    _, panel, W = data
    durbin = stsls(FORMULA, panel, W, model="sdm", durbin=[], **OUTSIDE)
    plain = stsls(FORMULA, panel, W, **OUTSIDE)
    close(durbin.values, plain.values)
    close(durbin.covariance, plain.covariance)


def test_durbin_by_name_keeps_the_other_lags_as_instruments(data):
    _, panel, W = data
    fit = stsls(FORMULA, panel, W, model="sdm", durbin=["x1"], **OUTSIDE)
    assert fit.instruments == ("W*x2", "W2*x1", "W2*x2", "W3*x1", "z1", "z2")


@pytest.mark.parametrize("standardize", [True, False])
def test_units_of_measurement_and_order_of_rows(standardize):
    """Rows shuffled, columns in other units: the same estimates, in those units."""
    rng = np.random.default_rng(3)
    frame, panel, W = make(network(N, 4, rng, standardize), T, rng, rho=0.1)
    fit = stsls(FORMULA, panel, W, **OUTSIDE)
    other = frame.assign(x1=frame["x1"] * 1e7, p=frame["p"] * 1e-6, y=frame["y"] * 1e3)
    other["z1"] = other["z1"] * 1e8 + 1e9
    again = stsls(
        FORMULA,
        sa.Panel(other.sample(frac=1, random_state=1), entity="id", time="t"),
        W,
        **OUTSIDE,
    )
    scale = np.array([1e-4, 1e3, 1e9, 1.0])
    close(again.values, fit.values * scale, 1e-6)
    close(again.std_errors, fit.std_errors * scale, 1e-6)
    close(again.first_stage["F"], fit.first_stage["F"], 1e-6)
    close(again.overidentification["statistic"], fit.overidentification["statistic"], 1e-6)


def test_what_the_result_says(data):
    _, panel, W = data
    fit = stsls(FORMULA, panel, W, model="sdm", cov="clustered", **OUTSIDE)
    assert isinstance(fit, sa.FitResult)
    assert fit.nobs == N * T
    assert "sigma2" not in fit.names
    assert np.isnan([fit.loglik, fit.aic, fit.bic]).all()
    assert any("no likelihood" in note for note in fit.notes)
    assert any("not lagged, being endogenous: p" in note for note in fit.notes)
    assert fit.spec.durbin == ("x1", "x2")
    close(fit.rho, fit.params["rho"])
    close(fit.sigma2, np.sum(fit.resid**2) / (N * T - (N + T - 1) - 6))
    assert "two-stage least squares" in fit.summary
    assert "2 endogenous" in repr(fit)


# --- what must not pass -----------------------------------------------------------------------


@pytest.fixture
def bad(data):
    """Columns that cannot serve, beside those that can."""
    frame, _, W = data
    rng = np.random.default_rng(0)
    frame = frame.assign(
        copy=2.0 * frame["p"] + 1.0,
        sum=frame["x1"] + frame["z1"],
        fixed=frame["id"].astype("category").cat.codes.astype(float),
        shock=frame["t"] * 1.5,
        noise=rng.normal(size=len(frame)),
        q=rng.normal(size=len(frame)),
    )
    return sa.Panel(frame, entity="id", time="t"), W


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"endogenous": ["p"]}, IdentificationError, "'p' need at least 1 .*none given"),
        (
            {"formula": "y ~ x1 + x2 + p", "endogenous": ["p", "x2"], "instruments": ["z1"]},
            IdentificationError,
            "'x2', 'p' need at least 2 .*1 given: 'z1'",
        ),
        (
            {"formula": "y ~ p", "endogenous": ["p"], "instruments": ["z1"]},
            IdentificationError,
            r"'p', 'W\*y' need at least 2 instruments; there are 1: 'z1'.*raise lags",
        ),
        ({"formula": "y ~ 1"}, IdentificationError, r"'W\*y' need .*there are 0: none"),
        ({"endogenous": ["z1"], "instruments": ["z2"]}, OptionError, "names 'z1', not among"),
        ({"endogenous": "p", "instruments": ["z1"]}, OptionError, "list of names; got 'p'"),
        ({"endogenous": ["p"], "instruments": "z1"}, OptionError, "list of names; got 'z1'"),
        ({"endogenous": ["p"], "instruments": [1]}, OptionError, r"list of names; got \[1\]"),
        (
            {"endogenous": ["p", "p"], "instruments": ["z1"]},
            OptionError,
            "'p' more than once",
        ),
        (
            {"endogenous": ["p"], "instruments": ["z1", "x1"]},
            OptionError,
            "'x1' are in the equation",
        ),
        ({"endogenous": ["p"], "instruments": ["p"]}, OptionError, "'p' are in the equation"),
        ({"endogenous": ["p"], "instruments": ["y"]}, OptionError, "'y' are in the equation"),
        ({"endogenous": ["p"], "instruments": ["nought"]}, FormulaError, "'nought'"),
        ({"endogenous": ["p"], "instruments": ["1"]}, FormulaError, "name no variable"),
        (
            {"endogenous": ["p"], "instruments": ["z1", "sum"]},
            IdentificationError,
            "instrument 'sum' is a linear combination of 'x1', 'z1'",
        ),
        (
            {"endogenous": ["p"], "instruments": ["fixed"]},
            IdentificationError,
            "instrument 'fixed' does not vary beyond",
        ),
        (
            {"endogenous": ["p"], "instruments": ["fixed"], "effects": "entity"},
            IdentificationError,
            "instrument 'fixed' does not vary over time",
        ),
        (
            {"endogenous": ["p"], "instruments": ["shock"], "effects": "time"},
            IdentificationError,
            "instrument 'shock' does not vary between units",
        ),
        (
            {"endogenous": ["p"], "instruments": ["copy"]},
            IdentificationError,
            "add up to 'p' exactly",
        ),
        ({"formula": "y ~ x1 + fixed"}, IdentificationError, "regressor 'fixed' does not vary"),
        (
            {"formula": "y ~ x1 + z1 + sum"},
            IdentificationError,
            "regressor 'sum' is a linear combination of 'x1', 'z1'",
        ),
        (
            {"formula": "y ~ x1 + y", "endogenous": ["y"], "instruments": ["z1"]},
            (IdentificationError, OptionError, FormulaError),
            "y",
        ),
        ({"model": "sem"}, OptionError, "'sar', 'sdm', 'ols', 'slx'"),
        ({"model": "ols"}, OptionError, r"has nothing to instrument: use ols\("),
        ({"cov": "observed"}, OptionError, "'robust', 'unadjusted', 'clustered'"),
        (
            {"cov": sa.models.covariances.Bootstrap()},
            OptionError,
            "cov='bootstrap' belongs to maximum likelihood",
        ),
        ({"effects": "random"}, OptionError, "effects='random'"),
        ({"effects": "fixed"}, OptionError, "effects='fixed'"),
        ({"lags": 0}, OptionError, "lags=0"),
        ({"lags": True}, OptionError, "lags=True"),
        ({"lag_instruments": 1, "instruments": ["z1"]}, OptionError, "True or False"),
        ({"lag_instruments": True}, OptionError, "nothing to lag"),
        ({"durbin": ["x1"]}, OptionError, "no meaning for sar"),
        ({"model": "sdm", "durbin": ["z1"]}, OptionError, "durbin names 'z1'"),
        ({"W": None}, WeightsError, "model='sar' needs spatial weights"),
        (
            {"W": None, "model": "ols", "endogenous": ["p"], "instruments": ["z1"],
             "lag_instruments": True},
            WeightsError,
            "lag_instruments=True needs spatial weights",
        ),
    ],
)  # fmt: skip
def test_errors(bad, options, error, match):
    panel, W = bad
    options = {"formula": FORMULA, "panel": panel, "W": W} | options
    with pytest.raises(error, match=match):
        stsls(options.pop("formula"), options.pop("panel"), options.pop("W"), **options)


def test_powers_that_repeat(data):
    """Equal weights for all: W2 is a combination of W and 1, so W2*x instruments nothing."""
    frame, panel, _ = data
    W = (np.ones((N, N)) - np.eye(N)) / (N - 1)
    W = sa.SpatialWeights.from_dense(W, list(panel.entities))
    with pytest.raises(IdentificationError, match=r"'W2\*x1' is a linear combination of .*lags"):
        stsls("y ~ x1 + x2", panel, W, effects="entity")
    assert stsls("y ~ x1 + x2", panel, W, effects="entity", lags=1).instruments == (
        "W*x1",
        "W*x2",
    )
    assert len(frame) == N * T


def test_irrelevant_instrument():
    """An instrument that is orthogonal to what it should move: not identified, by name."""
    rng = np.random.default_rng(5)
    frame, panel, W = make(network(N, 4, rng), T, rng)
    Q = np.eye(N * T) - dummies(T, N, "entity") @ np.linalg.pinv(dummies(T, N, "entity"))
    A = Q @ frame[["x1", "p"]].to_numpy()
    z = Q @ rng.normal(size=N * T)
    frame["z"] = z - A @ np.linalg.lstsq(A, z, rcond=None)[0]
    panel = sa.Panel(frame, entity="id", time="t")
    with pytest.raises(IdentificationError, match="tell of 'p' is a combination of"):
        stsls("y ~ x1 + p", panel, model="ols", effects="entity", endogenous=["p"],
              instruments=["z"])  # fmt: skip
    with pytest.raises(IdentificationError, match="tell nothing of 'p'"):
        stsls("y ~ p", panel, model="ols", effects="entity", endogenous=["p"],
              instruments=["z"])  # fmt: skip
    assert W.n == N


def test_weak_instruments_are_a_note(bad):
    panel, W = bad
    fit = stsls(FORMULA, panel, W, model="ols", endogenous=["p"], instruments=["noise", "q"])
    F = fit.first_stage.loc["p", "F"]
    assert F < 10
    note = next(note for note in fit.notes if note.startswith("weak instruments"))
    assert f"first-stage F of p is {F:.2f}" in note
    strong = stsls(FORMULA, panel, W, model="ols", **OUTSIDE)
    assert strong.first_stage.loc["p", "F"] > 10
    assert not any(note.startswith("weak") for note in strong.notes)


def test_more_instruments_than_clusters():
    """Tests that do not exist are NaN, with the reason."""
    rng = np.random.default_rng(6)
    _, panel, W = make(network(6, 2, rng), 30, rng)
    fit = stsls(FORMULA, panel, W, cov="clustered", lag_instruments=True, **OUTSIDE)
    assert fit.first_stage["F"].isna().all()
    assert fit.overidentification["statistic"].isna().all()
    assert any(
        "12 instruments, exogenous regressors" in n and "(6 clusters" in n for n in fit.notes
    )
    assert np.isfinite(fit.values).all()


def test_rho_outside_the_parameter_space():
    """2SLS does not confine rho: it is reported, and effects that do not exist are refused."""
    rng = np.random.default_rng(4)
    frame, panel, W = make(network(N, 4, rng), T, rng)
    dense = W.matrix.toarray()
    x = panel.column("x1")
    lagged = x @ dense.T
    # y such that the best fit on the lags of x has a coefficient of Wy above one
    y = np.linalg.solve(np.eye(N) - 1.6 * dense, x.T).T + 0.01 * rng.normal(size=x.shape)
    frame = frame.set_index(["t", "id"]).sort_index().assign(y=y.ravel()).reset_index()
    fit = stsls("y ~ x1", sa.Panel(frame, entity="id", time="t"), W, effects="none")
    assert fit.rho > 1
    assert any("lies outside the parameter space" in note for note in fit.notes)
    with pytest.raises(BoundaryError, match="rho = .* outside the parameter space"):
        fit.impacts()
    assert lagged.shape == (T, N)


def test_instruments_and_data_never_meet(data):
    frame, _, W = data
    frame = frame.assign(z1=frame["z1"].where(frame["t"] < 3), x1=frame["x1"].where(frame["t"] > 2))
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(DataError, match="No cell .* instruments 'z1', 'z2' as well"):
        stsls(FORMULA, panel, W, **OUTSIDE)


def test_too_many_instruments():
    rng = np.random.default_rng(6)
    _, panel, W = make(network(6, 2, rng), 3, rng)
    with pytest.raises(
        IdentificationError, match="12 instruments .* too many for the 10 cells .* leave of 18"
    ):
        stsls(FORMULA, panel, W, lag_instruments=True, **OUTSIDE)


def test_one_entity_has_no_clusters(data):
    frame, _, _ = data
    panel = sa.Panel(frame[frame["id"] == "u000"], entity="id", time="t")
    with pytest.raises(OptionError, match="in one cluster; at least two are needed"):
        stsls("y ~ p", panel, model="ols", effects="none", cov="clustered", endogenous=["p"],
              instruments=["z1"])  # fmt: skip


# --- simulation -------------------------------------------------------------------------------


def covers(fit, names, truth):
    return np.abs(fit.params[names] - truth) <= 1.959963984540054 * fit.std_errors[names]


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["plain", "heteroskedastic", "serially correlated"])
def test_bias_and_coverage(errors):
    """An endogenous regressor in a two-way SAR: 2SLS is right, maximum likelihood is not."""
    rng = np.random.default_rng(12)
    units, periods, replications = 100, 10, 1000
    W = network(units, 5, rng)
    names, truth = ["x1", "x2", "p", "rho"], np.array([1.0, -0.5, 0.7, RHO])
    cov = {"plain": "unadjusted", "heteroskedastic": "robust"}.get(errors, "clustered")
    spread = np.exp(rng.normal(scale=0.6, size=units))
    found = {"2sls": [], "ml": []}
    hits = {"2sls": [], "ml": []}
    for _ in range(replications):
        e = rng.normal(size=(periods, units))
        if errors == "heteroskedastic":
            e = e * spread
        elif errors == "serially correlated":
            for t in range(1, periods):
                e[t] += 0.7 * e[t - 1]
        _, panel, weights = make(W, periods, rng, e)
        fits = {
            "2sls": stsls(FORMULA, panel, weights, cov=cov, **OUTSIDE),
            "ml": sa.sar(FORMULA, panel, weights),
        }
        for name, fit in fits.items():
            found[name].append(fit.params[names].to_numpy())
            hits[name].append(covers(fit, names, truth))
    bias = {name: np.mean(values, axis=0) - truth for name, values in found.items()}
    coverage = {name: np.mean(values, axis=0) for name, values in hits.items()}
    print(f"\n{errors} errors, N = {units}, T = {periods}, {replications} draws: {names}")
    for name in found:
        print(f"  {name:5s} bias", bias[name].round(4), "coverage", coverage[name].round(3))
    spread_of_mean = np.std(found["2sls"], axis=0) / np.sqrt(replications)
    assert (np.abs(bias["2sls"]) < np.maximum(4 * spread_of_mean, 0.005)).all()
    assert ((coverage["2sls"] > 0.92) & (coverage["2sls"] < 0.98)).all()
    assert bias["ml"][2] > 0.2
    assert coverage["ml"][2] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("periods", "cov"), [(2, "unadjusted"), (2, "clustered"), (8, "robust")])
def test_size_of_the_tests(periods, cov):
    """5% is 5%, in two periods too: the fixed effects are taken off the count of cells."""
    rng = np.random.default_rng(21)
    units, replications = 150, 2000
    W = network(units, 5, rng)
    p_values, naive = {"overidentification": [], "endogeneity": []}, []
    for _ in range(replications):
        _, panel, weights = make(W, periods, rng, share=0.0, rho=0.0)
        fit = stsls(FORMULA, panel, weights, model="ols", cov=cov, lag_instruments=True,
                    **OUTSIDE)  # fmt: skip
        for name, values in p_values.items():
            values.append(getattr(fit, name)["p_value"].iloc[0])
        # the same statistic with the number of cells for their number less the effects
        row = fit.overidentification.iloc[0]
        scale = units * periods / ((units - 1) * (periods - 1))
        naive.append(row["statistic"] * scale > 11.0705)
    size = {name: float(np.mean(np.array(values) < 0.05)) for name, values in p_values.items()}
    print(f"\nT = {periods}, {cov}: size at 5%", size, "cells uncorrected", np.mean(naive))
    for value in size.values():
        assert 0.035 < value < 0.065
    if cov == "unadjusted":
        assert np.mean(naive) > 0.2
