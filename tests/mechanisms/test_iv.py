"""FE-2SLS, the strength of instruments and Anderson-Rubin sets: linearmodels, brute force, theory.

Nothing here takes its numbers from the package: dummies, projections, covariances and the
Kronecker algebra of Kleibergen & Paap are written out.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import linalg, optimize, special, stats

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError, IdentificationError, OptionError
from spatial_agglo.mechanisms import anderson_rubin
from spatial_agglo.mechanisms.critical_values import BIASES, SIZES, critical_values
from spatial_agglo.mechanisms.iv import CRAGG, LM, WALD, fe2sls

EFFECTS = ("none", "entity", "time", "two-way")
COVS = ("unadjusted", "robust", "clustered")
N, T = 24, 6
ONE = {"endogenous": ["p"], "instruments": ["z1", "z2"]}
TWO = {"endogenous": ["p", "q"], "instruments": ["z1", "z2", "z3", "z4"]}


def close(ours, theirs, rtol=1e-8):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-11)


def make(rng, units=N, periods=T, strength=1.0, invalid=0.0):
    """Draw y = 0.7 p - 0.4 q + x1 - 0.5 x2 + effects + e; p and q are correlated with e."""
    shape = (periods, units)
    e = rng.normal(size=shape) * rng.uniform(0.5, 2.0, units) + 0.7 * rng.normal(size=units)
    x1, x2, z1, z2, z3, z4 = rng.normal(size=(6, *shape)) + 0.5 * rng.normal(size=(6, 1, units))
    p = strength * (z1 + 0.5 * z2 + 0.3 * z3) + 0.3 * x1 + 0.8 * e + rng.normal(size=shape)
    q = strength * (0.6 * z2 - 0.5 * z4) + 0.2 * x2 - 0.5 * e + rng.normal(size=shape)
    y = 0.7 * p - 0.4 * q + x1 - 0.5 * x2 + e + invalid * z1
    y = y + rng.normal(size=units) + rng.normal(size=(periods, 1))
    values = {"y": y, "p": p, "q": q, "x1": x1, "x2": x2, "z1": z1, "z2": z2, "z3": z3, "z4": z4}
    frame = pd.DataFrame({name: a.ravel() for name, a in values.items()})
    frame.insert(0, "id", np.tile([f"u{i:03d}" for i in range(units)], periods))
    frame.insert(1, "t", np.repeat(np.arange(2000, 2000 + periods), units))
    return frame


@pytest.fixture(scope="module")
def frame():
    return make(np.random.default_rng(4))


@pytest.fixture(scope="module")
def holes(frame):
    """The same with rows and single values missing."""
    out = frame.drop(index=[2, 30, 31, 77, 140]).reset_index(drop=True)
    out.loc[[10, 55], "z2"] = np.nan
    out.loc[21, "x1"] = np.nan
    return out


def panel_of(frame):
    return sa.Panel(frame, entity="id", time="t", unbalanced="allow")


def dummies(frame, effects):
    ids, times = (frame[key].astype("category").cat.codes.to_numpy(int) for key in ("id", "t"))
    D = np.zeros((len(frame), 0))
    if effects in ("entity", "two-way"):
        D = np.eye(ids.max() + 1)[ids]
    if effects in ("time", "two-way"):
        D = np.hstack([D, np.eye(times.max() + 1)[times][:, effects == "two-way" :]])
    return D, ids, times


class Raw:
    """The equation in levels, with dummies; the factors that the docstring of fe2sls states."""

    def __init__(self, frame, effects, endogenous, instruments):
        self.frame = frame.dropna().reset_index(drop=True)
        self.effects = effects
        self.D, self.ids, self.times = dummies(self.frame, effects)
        self.y = self.frame["y"].to_numpy()
        exog = self.frame[["x1", "x2"]].to_numpy()
        self.exog = np.column_stack([np.ones(len(exog)), exog]) if effects == "none" else exog
        self.Y = self.frame[list(endogenous)].to_numpy()
        self.Z = self.frame[list(instruments)].to_numpy()
        self.n, self.m, self.k = len(exog), self.Y.shape[1], self.Z.shape[1]
        self.free = self.n - self.D.shape[1]
        self.names = [*(["Intercept"] if effects == "none" else []), "x1", "x2", *endogenous]
        self.q = self.exog.shape[1] + self.k

    def groups(self, cov):
        return self.ids if cov == "clustered" else np.arange(self.n)

    def factor(self, cov, k):
        if cov == "clustered":
            G = self.ids.max() + 1
            lost = self.times.max() + 1 if self.effects in ("time", "two-way") else 0
            small = max(G / (G - 1), self.n / (self.n - lost))
        else:
            small = self.n / self.free
        return small * self.free / (self.free - k)

    def meat(self, A, e, cov, k):
        """Covariance of A'e, with its factor; sums over clusters written out."""
        if cov == "unadjusted":
            return A.T @ A * (e @ e) / (self.free - k)
        groups = self.groups(cov)
        sums = np.array([(A * e[:, None])[groups == g].sum(axis=0) for g in np.unique(groups)])
        return sums.T @ sums * self.factor(cov, k)

    def without(self, A, *others):
        """Residuals on the dummies and other columns."""
        B = np.column_stack([self.D, *others])
        return A - B @ np.linalg.lstsq(B, A, rcond=None)[0]


# --- estimates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("ask", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("gaps", [False, True], ids=["balanced", "gaps"])
def test_linearmodels_with_dummies(frame, holes, gaps, ask, effects, cov):
    """Estimates, standard errors, rk LM, rk Wald F and Cragg-Donald F of IV2SLS."""
    iv = pytest.importorskip("linearmodels.iv")
    data = holes if gaps else frame
    fit = fe2sls("y ~ p + q + x1 + x2" if ask is TWO else "y ~ p + x1 + x2", panel_of(data),
                 effects=effects, cov=cov, **ask)  # fmt: skip
    used = data.dropna(subset=["y", "x1", "x2", *ask["endogenous"], *ask["instruments"]])
    c = Raw(used, effects, **ask)
    options = {"cov_type": cov} | ({"clusters": c.ids} if cov == "clustered" else {})
    theirs = iv.IV2SLS(c.y, np.hstack([c.exog, c.D]), c.Y, c.Z).fit(**options)
    keep = [*range(c.exog.shape[1]), *range(-c.m, 0)]
    close(fit.params[c.names], theirs.params.to_numpy()[keep])
    scale = c.n / (c.free - len(c.names)) if cov == "unadjusted" else c.factor(cov, len(c.names))
    close(fit.std_errors[c.names] ** 2, np.diag(theirs.cov)[keep] * scale)
    close(fit.resids, theirs.resids)

    table, first = fit.weak_instruments, theirs.first_stage
    close(table.loc[CRAGG, "statistic"], first.cragg_donald_f)
    lm = table.iloc[0]
    raw = c.factor(cov, 0) if cov != "unadjusted" else c.n / c.free
    close(lm["statistic"] * raw, first.kleibergen_paap.stat)
    assert lm["df"] == first.kleibergen_paap.df == c.k - c.m + 1
    close(lm["p_value"], stats.chi2.sf(lm["statistic"], lm["df"]))
    if cov == "unadjusted":
        assert list(table.index) == ["Anderson canonical correlations LM", CRAGG]
        return
    assert list(table.index) == [LM, WALD, CRAGG]
    theirs_f = first.kleibergen_paap_f
    if cov == "clustered":  # their factor is that of ivreg2
        G = c.ids.max() + 1
        theirs_f *= (c.n - 1) / (c.n - c.D.shape[1] - c.q) * G / (G - 1) / c.factor(cov, c.q)
    close(table.loc[WALD, "statistic"], theirs_f)


@pytest.mark.parametrize("cov", COVS)
def test_linearmodels_on_within_data(frame, cov):
    """Two-way demeaned by hand on the balanced panel, no dummies."""
    iv = pytest.importorskip("linearmodels.iv")
    columns = ["y", "x1", "x2", "p", "z1", "z2"]
    within = frame[columns].copy()
    within -= frame.groupby("id")[columns].transform("mean")
    within -= frame.groupby("t")[columns].transform("mean")
    within += frame[columns].mean()
    ids = frame["id"].astype("category").cat.codes.to_numpy(int)
    options = {"cov_type": cov} | ({"clusters": ids} if cov == "clustered" else {})
    model = iv.IV2SLS(within["y"], within[["x1", "x2"]], within[["p"]], within[["z1", "z2"]])
    theirs = model.fit(**options)
    fit = fe2sls("y ~ p + x1 + x2", panel_of(frame), cov=cov, **ONE)
    close(fit.params[["x1", "x2", "p"]], theirs.params)
    c = Raw(frame, "two-way", **ONE)
    scale = c.n / (c.free - 3) if cov == "unadjusted" else c.factor(cov, 3)
    close(fit.std_errors[["x1", "x2", "p"]], theirs.std_errors * np.sqrt(scale))


def test_it_is_stsls_without_weights(frame):
    panel = panel_of(frame)
    one = fe2sls("y ~ p + q + x1", panel, cov="driscoll-kraay", **TWO)
    two = sa.stsls("y ~ p + q + x1", panel, model="ols", cov="driscoll-kraay", **TWO)
    close(one.params, two.params, 1e-14)
    close(one.cov, two.cov, 1e-14)
    for name in ("first_stage", "underidentification", "overidentification", "endogeneity"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    wald = one.underidentification.iloc[0]
    close(one.weak_instruments.loc[WALD, "statistic"], wald["statistic"] / 4)


def test_groups(frame):
    """The estimator has the arguments that by_group gives."""
    data = frame.assign(half=(frame["id"] < "u012").map({True: "one", False: "two"}))
    fits = sa.by_group(fe2sls, "y ~ p + x1", panel_of(data), groups="half", **ONE).fits
    for name in ("one", "two"):
        part = data[data["half"] == name]
        close(fits[name].params, fe2sls("y ~ p + x1", panel_of(part), **ONE).params, 1e-12)
    with pytest.raises(OptionError, match="stsls"):
        fe2sls("y ~ p + x1", panel_of(frame), np.eye(N), **ONE)


def test_pickled_results_answer_the_same(frame):
    fit = fe2sls("y ~ p + x1", panel_of(frame), **ONE)
    copy = pickle.loads(pickle.dumps(fit))
    assert copy.anderson_rubin_set() == fit.anderson_rubin_set()
    pd.testing.assert_frame_equal(copy.weak_instruments, fit.weak_instruments)


# --- relevance of the instruments ---------------------------------------------------------------


def kleibergen_paap(c, cov, *, score):
    """Kleibergen & Paap (2006), section 2, with every Kronecker product written out.

    theta = G Pi F' with G'G = (Z'Z) and F'F = (Y'Y)^-1; theta = U S V', partitioned after the
    first r = m - 1 columns; A_perp = [U12; U22] U22^-1 (U22 U22')^(1/2), B_perp likewise;
    lambda = A_perp' theta B_perp'; rk = lambda' [(B_perp (x) A_perp') W (...)']^-1 lambda, W the
    covariance of vec(theta). ``score``: W under no relation of Y and Z, else from residuals.
    """
    Y, Z = c.without(c.Y, c.exog), c.without(c.Z, c.exog)
    Pi = np.linalg.solve(Z.T @ Z, Z.T @ Y)
    E = Y if score else Y - Z @ Pi
    k, m = Pi.shape
    k_count = 0 if score else c.q
    if cov == "unadjusted":
        S = np.kron(E.T @ E / (c.free - k_count), Z.T @ Z)
    else:
        S = np.zeros((k * m, k * m))
        groups = c.groups(cov)
        for g in np.unique(groups):
            s = sum(np.kron(E[i], Z[i]) for i in np.flatnonzero(groups == g))
            S += np.outer(s, s)
        S *= c.factor(cov, k_count)
    bread = np.kron(np.eye(m), np.linalg.inv(Z.T @ Z))
    V = bread @ S @ bread.T  # of vec(Pi)
    G = np.linalg.cholesky(Z.T @ Z).T
    F = np.linalg.inv(np.linalg.cholesky(Y.T @ Y))
    theta = G @ Pi @ F.T
    W = np.kron(F, G) @ V @ np.kron(F, G).T
    U, _, Vt = np.linalg.svd(theta)
    r, Vm = m - 1, Vt.T
    U12, U22, V12, V22 = U[:r, r:], U[r:, r:], Vm[:r, r:], Vm[r:, r:]
    A = np.vstack([U12, U22]) @ np.linalg.inv(U22) @ np.real(linalg.sqrtm(U22 @ U22.T))
    B = np.real(linalg.sqrtm(V22 @ V22.T)) @ np.linalg.inv(V22.T) @ np.hstack([V12.T, V22.T])
    lam = np.kron(B, A.T) @ theta.ravel(order="F")
    omega = np.kron(B, A.T) @ W @ np.kron(B, A.T).T
    return lam @ np.linalg.solve(omega, lam)


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", ["none", "two-way"])
@pytest.mark.parametrize("instruments", [["z1", "z2", "z4"], ["z1", "z2", "z3", "z4"]], ids=len)
def test_rank_statistics_of_the_paper(frame, instruments, effects, cov):
    """Two endogenous regressors, three and four instruments: LM and Wald."""
    ask = {"endogenous": ["p", "q"], "instruments": instruments}
    c = Raw(frame, effects, **ask)
    fit = fe2sls("y ~ p + q + x1 + x2", panel_of(frame), effects=effects, cov=cov, **ask)
    table = fit.weak_instruments
    close(table["statistic"].iloc[0], kleibergen_paap(c, cov, score=True))
    wald = kleibergen_paap(c, cov, score=False)
    name = CRAGG if cov == "unadjusted" else WALD
    close(table.loc[name, "statistic"], wald / len(instruments))
    close(fit.underidentification["statistic"].iloc[0], wald)
    simple = kleibergen_paap(c, "unadjusted", score=False)
    close(table.loc[CRAGG, "statistic"], simple / len(instruments))


def test_canonical_correlations(frame):
    """Errors of one variance: Anderson's LM is free r2, Cragg & Donald's Wald r2 / (1 - r2)."""
    c = Raw(frame, "two-way", **TWO)
    Y, Z = c.without(c.Y, c.exog), c.without(c.Z, c.exog)
    r2 = np.linalg.eigvals(np.linalg.solve(Y.T @ Y, Y.T @ Z @ np.linalg.solve(Z.T @ Z, Z.T @ Y)))
    least = np.real(r2).min()
    table = fe2sls("y ~ p + q + x1 + x2", panel_of(frame), cov="unadjusted", **TWO).weak_instruments
    close(table["statistic"].iloc[0], c.free * least)
    close(table.loc[CRAGG, "statistic"], least / (1 - least) * (c.free - c.q) / c.k)


@pytest.mark.parametrize("instruments", [["z1"], ["z1", "z2", "z3"]], ids=len)
def test_one_endogenous_regressor_is_the_clustered_first_stage_f(frame, instruments):
    """Kleibergen-Paap's F is the Wald F of PanelOLS, but for the stated factor."""
    panels = pytest.importorskip("linearmodels.panel")
    indexed = frame.set_index(["id", "t"])
    model = panels.PanelOLS(
        indexed["p"], indexed[[*instruments, "x1", "x2"]], entity_effects=True, time_effects=True
    )
    # without their own factors, n / (n - effects) among them
    theirs = model.fit(cov_type="clustered", cluster_entity=True, debiased=False,
                       auto_df=False, count_effects=False)  # fmt: skip
    pi, V = theirs.params[instruments], theirs.cov.loc[instruments, instruments]
    c = Raw(frame, "two-way", ["p"], instruments)
    wald = pi @ np.linalg.solve(V, pi) / c.factor("clustered", c.q)
    fit = fe2sls("y ~ p + x1 + x2", panel_of(frame), endogenous=["p"], instruments=instruments)
    close(fit.weak_instruments.loc[WALD, "statistic"], wald / len(instruments))
    close(fit.first_stage.loc["p", "F"], wald / len(instruments))


def test_first_stage_fits(holes):
    """On the same cells, the coefficients are those of the reduced form."""
    fit = fe2sls("y ~ p + q + x1 + x2", panel_of(holes), **TWO)
    c = Raw(holes, "two-way", **TWO)
    assert list(fit.first_stage_fits) == ["p", "q"]
    Z = c.without(np.column_stack([c.Z, c.exog]))
    for j, name in enumerate(fit.endogenous):
        b = np.linalg.lstsq(Z, c.without(c.Y[:, j]), rcond=None)[0]
        found = fit.first_stage_fits[name]
        close(found.params.drop("sigma2"), b)
        assert found.nobs == fit.nobs == c.n
    one = fe2sls("y ~ p + x1 + x2", panel_of(holes), endogenous=["p"], instruments=["z1"])
    t = one.first_stage_fits["p"].tstats["z1"]
    free = one.errors.free
    close(one.first_stage.loc["p", "F"], t**2 * (free - 3) / free)


# --- critical values ----------------------------------------------------------------------------


def test_critical_values_against_another_transcription(reference):
    published = reference("stock_yogo")
    seen = 0
    for criterion, names in (("bias", BIASES), ("size", SIZES)):
        for m, rows in published[criterion].items():
            for k, numbers in rows.items():
                assert critical_values(int(m), int(k))[list(names)].tolist() == numbers
                seen += 4
    found = [critical_values(m, k) for m in range(1, 6) for k in range(m, 40)]
    assert sum(int(values.notna().sum()) for values in found) == seen == 560


@pytest.mark.parametrize("k", [3, 4, 5, 8, 12, 20, 30])
def test_relative_bias_in_closed_form(k):
    """Skeels & Windmeijer (2018): the bias is 1F1(1, k/2, -mu/2); the table is simulated."""
    for share, name in zip((0.05, 0.10, 0.20, 0.30), BIASES, strict=True):
        mu = optimize.brentq(lambda c, b=share: special.hyp1f1(1, k / 2, -c / 2) - b, 1e-8, 3000)
        exact = stats.ncx2.ppf(0.95, k, mu) / k
        assert abs(critical_values(1, k)[name] / exact - 1) < 0.022


def rejections(mu, k):
    """How often a nominal 5% Wald test of 2SLS rejects in the worst case, errors of corr. 1.

    With z normal in k dimensions, shifted by sqrt(mu) along the first: b = w/v, w = (z + l)'z,
    v = |z + l|^2, and t^2 = b^2 v / (1 - b)^2. Integrated over the first coordinate and the
    squared length of the others.
    """
    shift = np.sqrt(mu)
    x = np.linspace(-8, 8, 200_001 if k == 1 else 2001)
    chi = stats.chi2(k - 1)
    r = np.array([0.0]) if k == 1 else chi.ppf((np.arange(300) + 0.5) / 300)
    X, R = np.meshgrid(x, r)
    w, v = (shift + X) * X + R, (shift + X) ** 2 + R
    reject = (w * w * v) > stats.chi2.ppf(0.95, 1) * (v - w) ** 2
    return float((reject.mean(axis=0) * stats.norm.pdf(x)).sum() * (x[1] - x[0]))


@pytest.mark.parametrize("k", [1, 2, 3, 7, 15, 30])
def test_size_by_numerical_integration(k):
    for size, name in zip((0.10, 0.15, 0.20, 0.25), SIZES, strict=True):
        mu = optimize.brentq(lambda c, s=size: rejections(c, k) - s, 1e-3, 100.0 * k, xtol=1e-3)
        exact = stats.ncx2.ppf(0.95, k, mu) / k
        assert abs(critical_values(1, k)[name] / exact - 1) < 0.035


@pytest.mark.parametrize(
    ("m", "k", "missing", "reason"),
    [
        (1, 1, "bias", "from 3 instruments"),
        (1, 2, "bias", "from 3 instruments"),
        (2, 3, "bias", "from 4 instruments"),
        (3, 6, "size", "at most 2 endogenous"),
        (4, 9, "bias", "at most 3 endogenous"),
        (1, 31, "size", "at most 30 instruments"),
    ],
)
def test_outside_the_tables(m, k, missing, reason):
    found = critical_values(m, k)
    assert found[[name for name in found.index if name.startswith(missing)]].isna().all()
    assert reason in found.attrs["reasons"][missing]


@pytest.mark.parametrize(("m", "k"), [(0, 1), (2, 1), (1.0, 3), (True, 3)])
def test_counts_that_are_none(m, k):
    with pytest.raises(OptionError):
        critical_values(m, k)


def test_critical_values_stand_beside_the_f(frame):
    table = fe2sls("y ~ p + x1", panel_of(frame), **ONE).weak_instruments
    assert table.loc[WALD, "size 10%"] == table.loc[CRAGG, "size 10%"] == 19.93
    assert table.loc[LM, list(SIZES)].isna().all()
    assert "from 3 instruments" in table.loc[WALD, "reason"]
    assert table.loc[[WALD, CRAGG], "p_value"].isna().all()


# --- Anderson-Rubin -----------------------------------------------------------------------------


def wald_of_instruments(c, values, cov):
    """Wald test of the instruments in the regression of y - Y b on everything exogenous."""
    u = c.y - c.Y @ np.atleast_1d(values)
    A = c.without(np.column_stack([c.Z, c.exog]))
    u = c.without(u)
    bread = np.linalg.inv(A.T @ A)
    d = bread @ A.T @ u
    V = (bread @ c.meat(A, u - A @ d, cov, c.q) @ bread)[: c.k, : c.k]
    return d[: c.k] @ np.linalg.solve(V, d[: c.k]) / c.k


@pytest.mark.parametrize("cov", COVS)
@pytest.mark.parametrize("effects", EFFECTS)
def test_anderson_rubin_is_a_wald_test_of_the_instruments(holes, effects, cov):
    c = Raw(holes, effects, **TWO)
    fit = fe2sls("y ~ p + q + x1 + x2", panel_of(holes), effects=effects, cov=cov, **TWO)
    left = c.ids.max() if cov == "clustered" else c.free - c.q
    for values in ((0.0, 0.0), (0.7, -0.4), (2.0, 5.0)):
        at = dict(zip(("p", "q"), values, strict=True))
        table, F = fit.anderson_rubin_test(at), wald_of_instruments(c, values, cov)
        assert table["df"].tolist() == [4, 4]
        assert table.loc["Anderson-Rubin F", "df_resid"] == left
        chi2 = F * 4 * c.free / (c.free - c.q)
        close(table["statistic"], [F, chi2])
        close(table["p_value"], [stats.f.sf(F, 4, left), stats.chi2.sf(chi2, 4)])
    pd.testing.assert_frame_equal(fit.anderson_rubin, fit.anderson_rubin_test({"q": 0, "p": 0}))


def test_anderson_rubin_with_one_instrument_is_the_reduced_form(frame):
    """F of the coefficients' being zero is the squared t of the instrument on the outcome."""
    panels = pytest.importorskip("linearmodels.panel")
    indexed = frame.set_index(["id", "t"])
    reduced = panels.PanelOLS(
        indexed["y"], indexed[["z1", "x1"]], entity_effects=True, time_effects=True
    ).fit(cov_type="unadjusted")
    fit = fe2sls("y ~ p + x1", panel_of(frame), endogenous=["p"], instruments=["z1"],
                 cov="unadjusted")  # fmt: skip
    close(fit.anderson_rubin["statistic"].iloc[0], reduced.tstats["z1"] ** 2)


def draw(seed, **options):
    return make(np.random.default_rng(seed), **options)


#: Sets of every kind, found among weak, irrelevant and invalid instruments.
CASES = [(s, strength, 0.0) for s in range(5) for strength in (1.0, 0.15, 0.05, 0.0)]
CASES += [(s, 1.0, 0.8) for s in range(4)]


@pytest.mark.parametrize("cov", [*COVS, "driscoll-kraay"])
@pytest.mark.parametrize("instruments", [["z1"], ["z1", "z2", "z3"]], ids=len)
def test_sets_on_a_grid(instruments, cov):
    """Membership is the test's; at every end the statistic is the critical value."""
    kinds = set()
    for seed, strength, invalid in CASES:
        frame = draw(seed, strength=strength, invalid=invalid)
        fit = fe2sls("y ~ p + x1 + x2", panel_of(frame), endogenous=["p"],
                     instruments=instruments, cov=cov)  # fmt: skip
        found = fit.anderson_rubin_set()
        kinds.add(found.kind)

        def F(b, fit=fit):
            return anderson_rubin.statistic(fit.design, fit.errors, np.array([b]))[0]

        ends = [end for pair in found.intervals for end in pair if np.isfinite(end)]
        close([F(end) for end in ends], [found.critical] * len(ends), 1e-6)
        left = fit.anderson_rubin["df_resid"].iloc[0]
        close(found.critical, stats.f.ppf(0.95, len(instruments), left))
        grid = np.concatenate([0.7 + np.tan(np.linspace(-1.57, 1.57, 61)), [-1e7, 1e7]])
        for b in grid:
            assert (b in found) == (F(b) <= found.critical)
    if cov != "driscoll-kraay":
        assert {"interval", "line", "union"} <= kinds
        assert ("empty" in kinds) == (len(instruments) > 1)


def test_set_for_errors_of_one_variance_is_the_quadratic_formula():
    """Kleibergen's a b^2 + 2 h b + g <= 0, from projection matrices."""
    for seed in range(6):
        frame = draw(seed, strength=0.4)
        fit = fe2sls("y ~ p + x1", panel_of(frame), cov="unadjusted", **ONE)
        c = Raw(frame, "two-way", **ONE)
        exog = frame[["x1"]].to_numpy()
        y, x, Z = (c.without(a, exog) for a in (c.y, c.Y[:, 0], c.Z))
        P = Z @ np.linalg.pinv(Z)
        free = c.free - 3
        K = P - stats.f.ppf(0.9, 2, free) * 2 / free * (np.eye(c.n) - P)
        a, h, g = x @ K @ x, -2 * (x @ K @ y), y @ K @ y
        ends = np.sort(np.roots([a, h, g]))
        found = fit.anderson_rubin_set(0.9)
        if np.isreal(ends).all() and a > 0:
            close(found.intervals, [ends], 1e-7)
        elif np.isreal(ends).all():
            close([found.intervals[0][1], found.intervals[1][0]], ends, 1e-7)
        else:
            assert found.kind == ("empty" if a > 0 else "line")


def test_two_way_clusters():
    """Exact where the covariance is a quadratic form; an error where it had to be repaired."""
    kinds = set()
    for seed in range(12, 36):
        panel = panel_of(draw(seed, units=12, periods=8))
        fit = fe2sls("y ~ p + x1", panel, cov=sa.Clustered(["entity", "time"]), **ONE)

        def F(b, fit=fit):
            return anderson_rubin.statistic(fit.design, fit.errors, np.array([b]))[0]

        # seen along the whole line, in direction: from -inf to inf
        line = np.tan(np.linspace(-1.5707, 1.5707, 801))
        covariances = [two_way(fit, b) for b in line]
        positive = all(np.linalg.eigvalsh(S)[0] > 0 for S in covariances)
        kinds.add(positive)
        if not positive:
            with pytest.raises(OptionError, match="negative eigenvalues"):
                fit.anderson_rubin_set()
            continue
        found = fit.anderson_rubin_set()
        for b in line[::20]:
            assert (b in found) == (F(b) <= found.critical)
        for end in [end for pair in found.intervals for end in pair if np.isfinite(end)]:
            close(F(end), found.critical, 1e-5)
    assert kinds == {True, False}


def two_way(fit, b):
    """Moments summed by unit, plus by period, less by cell: before any repair."""
    d = fit.design
    Q2 = d.Q[:, d.X.shape[1] - 1 :]
    u = d.y - b * d.X[:, d.endogenous[0]]
    e = u - d.Q @ (d.Q.T @ u)
    s = (Q2 * e[:, None]).reshape(*fit.errors.seen.shape, -1)
    by_unit, by_period, cells = s.sum(axis=0), s.sum(axis=1), s.reshape(-1, s.shape[2])
    S = by_unit.T @ by_unit + by_period.T @ by_period - cells.T @ cells
    return S / (1.0 + b * b)


def test_one_instrument_centres_on_the_estimate(frame):
    """Exactly identified: the estimate is always in the set, and its statistic is zero."""
    fit = fe2sls("y ~ p + x1", panel_of(frame), endogenous=["p"], instruments=["z1"])
    assert fit.params["p"] in fit.anderson_rubin_set(0.5)
    assert fit.anderson_rubin_test(float(fit.params["p"]))["statistic"].abs().max() < 1e-18


def test_units_of_measurement_and_order_of_rows(frame):
    base = fe2sls("y ~ p + x1", panel_of(frame), **ONE)
    other = frame.assign(p=frame["p"] * 1e5, z1=frame["z1"] * 1e-4, y=frame["y"] + 1e3)
    scaled = fe2sls("y ~ p + x1", panel_of(other.sample(frac=1, random_state=3)), **ONE)
    close(scaled.weak_instruments["statistic"], base.weak_instruments["statistic"])
    (low, high), (low2, high2) = (fit.anderson_rubin_set().intervals[0] for fit in (base, scaled))
    close([low2 * 1e5, high2 * 1e5], [low, high], 1e-7)


def test_higher_levels_contain_lower_ones(frame):
    fit = fe2sls("y ~ p + x1", panel_of(frame), **ONE)
    (inner,), (outer,) = (fit.anderson_rubin_set(level).intervals for level in (0.9, 0.99))
    assert outer[0] < inner[0] < inner[1] < outer[1]


# --- lags as instruments ------------------------------------------------------------------------


def test_a_lagged_regressor_as_instrument(frame):
    """``panel.lag`` against a shift within units, on rows in any order."""
    iv = pytest.importorskip("linearmodels.iv")
    shuffled = frame.sample(frac=1, random_state=1)
    panel = sa.Panel(shuffled, entity="id", time="t").lag("p")
    fit = fe2sls("y ~ p + x1", panel, endogenous=["p"], instruments=["p_lag1"], cov="unadjusted")
    by_hand = frame.sort_values(["id", "t"])
    by_hand["before"] = by_hand.groupby("id")["p"].shift(1)
    by_hand = by_hand.dropna().reset_index(drop=True)
    D, _, _ = dummies(by_hand, "two-way")
    theirs = iv.IV2SLS(
        by_hand["y"], np.column_stack([by_hand["x1"], D]), by_hand[["p"]], by_hand[["before"]]
    ).fit(cov_type="unadjusted")
    close(fit.params[["x1", "p"]], theirs.params.iloc[[0, -1]])
    assert fit.nobs == N * (T - 1)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "options", "error", "match"),
    [
        ("y ~ p + x1", {"endogenous": [], "instruments": ["z1"]}, OptionError, "endogenous=.* is"),
        ("y ~ p + x1", {"endogenous": ["p"], "instruments": []}, OptionError, "instruments=.* is"),
        ("y ~ p", {"endogenous": ["nope"], "instruments": ["z1"]}, OptionError, "nope"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["nope"]}, FormulaError, "nope"),
        ("y ~ p + x1", {"endogenous": ["p"], "instruments": ["x1"]}, OptionError, "in the eq"),
        ("y ~ p + x1", {"endogenous": ["p"], "instruments": ["p"]}, OptionError, "in the eq"),
        ("y ~ p + x1", {"endogenous": ["p"], "instruments": ["y"]}, OptionError, "in the eq"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["copy"]}, IdentificationError, "copy"),
        ("y ~ p + q", {"endogenous": ["p", "q"], "instruments": ["z1"]}, IdentificationError,
         "at least 2"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["z1", "twice"]}, IdentificationError,
         "linear combination"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["constant"]}, IdentificationError,
         "does not vary"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["trend"]}, IdentificationError, "absorb"),
        ("y ~ p", {"endogenous": "p", "instruments": ["z1"]}, OptionError, "list of names"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["z1"], "cov": "observed"}, OptionError,
         "unadjusted"),
        ("y ~ p", {"endogenous": ["p"], "instruments": ["z1"], "effects": "both"}, OptionError,
         "two-way"),
        ("y ~ missing", {"endogenous": ["missing"], "instruments": ["z1"]}, FormulaError, "miss"),
        ("y ~ word", {"endogenous": ["word"], "instruments": ["z1"]}, DataError, "numeric"),
    ],
)  # fmt: skip
def test_errors(frame, formula, options, error, match):
    data = frame.assign(
        copy=frame["p"], twice=2 * frame["z1"], constant=1.0, trend=frame["t"], word="a"
    )
    with pytest.raises((error, FormulaError) if "word" in formula else error, match=match):
        fe2sls(formula, panel_of(data), **options)


def test_bad_values_to_test(frame):
    fit = fe2sls("y ~ p + q", panel_of(frame), **TWO)
    for values in (
        1.0,
        {"p": 1.0, "q": np.nan},
        {"p": np.inf, "q": 0.0},
        {"p": 1.0},
        {"p": 1.0, "q": 0.0, "x": 1.0},
        "p",
        None,
    ):
        with pytest.raises(OptionError):
            fit.anderson_rubin_test(values)
    with pytest.raises(OptionError, match="one endogenous"):
        fit.anderson_rubin_set()
    one = fe2sls("y ~ p", panel_of(frame), **ONE)
    for level in (0.0, 1.0, 95, "0.9"):
        with pytest.raises(OptionError, match="level"):
            one.anderson_rubin_set(level)


def test_more_instruments_than_clusters():
    few = draw(0, units=4, periods=30)
    names = ["z1", "z2", "z3", "z4"]
    fit = fe2sls("y ~ p", panel_of(few), endogenous=["p"], instruments=names)
    assert np.isnan(fit.weak_instruments.loc[WALD, "statistic"])
    assert np.isfinite(fit.weak_instruments.loc[CRAGG, "statistic"])
    assert any("NaN" in note for note in fit.notes)
    with pytest.raises(IdentificationError, match="clusters"):
        fit.anderson_rubin_set()


def test_weak_instruments_are_a_note():
    fit = fe2sls("y ~ p + x1", panel_of(draw(1, strength=0.02)), **ONE)
    assert any(note.startswith("weak instruments") for note in fit.notes)
    assert fit.weak_instruments.loc[WALD, "statistic"] < fit.weak_instruments.loc[WALD, "size 25%"]


# --- simulation ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.05, 1.0])
def test_coverage_of_anderson_rubin(strength):
    """However weak the instruments, 95% is 95%; the interval of 2SLS fails when they are weak."""
    rng = np.random.default_rng(7)
    hits = {"set": 0, "wald": 0}
    draws = 600
    for _ in range(draws):
        frame = make(rng, units=60, strength=strength)
        frame["y"] = frame["y"] + 0.4 * frame["q"]
        fit = fe2sls("y ~ p + x1 + x2", panel_of(frame), **ONE)
        hits["set"] += 0.7 in fit.anderson_rubin_set()
        low, high = fit.conf_int().loc["p"]
        hits["wald"] += low <= 0.7 <= high
    assert abs(hits["set"] / draws - 0.95) < 0.03
    if strength < 0.1:
        assert hits["wald"] / draws < 0.85
