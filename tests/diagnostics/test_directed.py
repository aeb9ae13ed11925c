"""Score tests: against spreg, dense scores and information, and one another."""

import warnings

import dense_unbalanced
import numpy as np
import pytest
from conftest import EFFECTS, FORMULA
from dense import sample
from dense_family import problem, score
from diagnostics.size_study import FEW, WIDE, rates

import spatial_agglo as sa
from spatial_agglo.diagnostics.directed import directed_tests, score_test
from spatial_agglo.diagnostics.scores import Regression
from spatial_agglo.models.specification import MODELS, ModelSpec

PAIRS = [
    ("ols", "sar"),
    ("ols", "sem"),
    ("ols", "slx"),
    ("ols", "sdm"),
    ("ols", "sdem"),
    ("ols", "sac"),
    ("slx", "sdm"),
    ("slx", "sdem"),
    ("slx", "gns"),
    ("sar", "sdm"),
    ("sar", "sac"),
    ("sem", "sdem"),
    ("sem", "sac"),
    ("sem", "sdm"),
    ("sdm", "gns"),
    ("sdem", "gns"),
    ("sac", "gns"),
]
FORMULA_2 = "y ~ x1 + x2"


def weights(N=9, seed=3, standardize=True):
    """Asymmetric weights with complex eigenvalues."""
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, rng.choice([j for j in range(N) if j != i], 3, replace=False)] = rng.uniform(0.5, 1, 3)
    return W / W.sum(axis=1, keepdims=True) if standardize else W / 4.0


# --- Koley and Bera ---------------------------------------------------------------------------


def test_spreg():
    """A cross-section: spreg has the same tests of OLS."""
    spreg = pytest.importorskip("spreg")
    from libpysal.weights import W as Neighbours
    from spreg import diagnostics_sp as theirs

    frame = sa.datasets.cigarettes().query("year == 1990")
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    panel = sa.Panel(frame, entity="state")
    ours = directed_tests(FORMULA, panel, W, effects="none")["statistic"]
    dense = W.matrix.toarray()
    w = Neighbours(
        {i: np.flatnonzero(row).tolist() for i, row in enumerate(dense)},
        {i: row[row != 0].tolist() for i, row in enumerate(dense)},
        silence_warnings=True,
    )
    ordered = frame.set_index("state").loc[W.ids]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spreg's use of pandas
        ols = spreg.OLS(ordered[["logc"]].to_numpy(), ordered[["logp", "logy"]].to_numpy())
    cache = theirs.spDcache(ols, w)
    lag, error = theirs.lmLag(ols, w, cache), theirs.lmErr(ols, w, cache)
    wx, joint = theirs.lm_wx(ols, w), theirs.lm_spdurbin(ols, w)
    expected = {
        "LM WX": wx,
        "LM SDM": joint,
        "robust LM WX": theirs.rlm_wx(ols, joint, lag),
        "robust LM lag (WX)": theirs.rlm_durlag(joint, wx),
        "LM SDEM": theirs.lm_slxerr(ols, error, wx),
    }
    for name, (statistic, _) in expected.items():
        assert ours[name] == pytest.approx(statistic, rel=1e-8), name


@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
@pytest.mark.parametrize("effects", EFFECTS)
def test_identities(cigarettes, queen, effects, likelihood):
    """Joint = marginal + adjusted; with all regressors lagged, rho is lambda to OLS."""
    options = {"effects": effects, "likelihood": likelihood}
    lm = sa.lm_tests(FORMULA, cigarettes, queen, **options)["statistic"]
    table = directed_tests(FORMULA, cigarettes, queen, **options)
    found = table["statistic"]
    assert found["LM SDM"] == pytest.approx(lm["LM lag"] + found["robust LM WX"])
    assert found["LM SDM"] == pytest.approx(found["LM WX"] + found["robust LM lag (WX)"])
    assert found["LM SDEM"] == pytest.approx(lm["LM error"] + found["LM WX"])
    if likelihood != "direct-demeaned" or effects in ("none", "entity"):  # W and Q do not commute
        assert found["robust LM lag (WX)"] == pytest.approx(lm["LM error"], rel=1e-8)
    assert table["df"].tolist() == [2, 2, 1, 3, 3]
    assert set(table.attrs["tests"]) == set(table.index)


def test_some_lags(cigarettes, queen):
    """With one lag, theta takes less of rho, and the scores are no longer one."""
    table = directed_tests(FORMULA, cigarettes, queen, durbin=["logp"])
    assert table["df"].tolist() == [1, 1, 1, 2, 2]
    lm = sa.lm_tests(FORMULA, cigarettes, queen)["statistic"]
    found = table["statistic"]
    assert abs(found["robust LM lag (WX)"] - lm["LM error"]) > 1.0
    assert found["LM SDM"] == pytest.approx(lm["LM lag"] + found["robust LM WX"])


def test_wx_is_a_regression(cigarettes, queen):
    """LM WX = n R^2 of the residuals on X and WX: from two least-squares fits."""
    for effects in EFFECTS:
        n = {"none": 1380, "entity": 46 * 29, "time": 45 * 30, "two-way": 45 * 29}[effects]
        small, large = (
            (getattr(sa, model)(FORMULA, cigarettes, queen, effects=effects).resid ** 2).sum()
            for model in ("ols", "slx")
        )
        table = directed_tests(FORMULA, cigarettes, queen, effects=effects)
        assert table.loc["LM WX", "statistic"] == pytest.approx(n * (1.0 - large / small))


# --- any model in a larger one, by brute force -----------------------------------------------


def brute_force(y, X, W, small, large, effects, likelihood):
    """The score statistic from the density of the whole sample, dummies among the parameters.

    y is normal with mean S^-1 (Z g + D d) and covariance s2 (B S)^-1 (B S)^-T; scores and
    information come from matrix derivatives of both, the latter by central differences.
    """
    s = sample(y, X, W, "slx" if MODELS[large.model][1] else "ols", effects, likelihood)
    k, q = s.Z.shape[1], s.D.shape[1]
    has = MODELS[large.model]

    def pieces(eta):
        eta = list(eta)
        s2 = eta.pop()
        lam = eta.pop() if has[2] else 0.0
        rho = eta.pop() if has[0] else 0.0
        S, B = np.eye(s.n) - rho * s.Wbig, np.eye(s.n) - lam * s.Wbig
        mean = np.linalg.solve(S, s.Z @ eta[:k] + s.D @ eta[k:])
        spread = np.linalg.inv(B @ S)
        return mean, s2 * spread @ spread.T

    rho, lam, gamma = small.rho or 0.0, small.lam or 0.0, dict(small.params)
    first = [gamma["Intercept"]] if effects == "none" else []
    theta = [gamma.get(f"W*{name}", 0.0) for name in ("x1", "x2")]
    if small.model == "sem" and large.model == "sdm":
        rho, lam = lam, 0.0
        theta = [-rho * gamma[name] for name in ("x1", "x2")]
        first = [v * (1.0 - rho) for v in first]
    g = [*first, gamma["x1"], gamma["x2"], *(theta if has[1] else [])]
    B = np.eye(s.n) - lam * s.Wbig
    left = B @ (s.y - rho * s.Wbig @ s.y - s.Z @ g)
    d = np.linalg.lstsq(B @ s.D, left, rcond=None)[0] if q else np.zeros(0)
    eta = np.array([*g, *d, *([rho] * has[0]), *([lam] * has[2]), small.sigma2])
    mean, V = pieces(eta)
    inverse, r = np.linalg.inv(V), s.y - mean
    slopes = []
    for i in range(eta.size):
        step = np.zeros(eta.size)
        step[i] = 1e-5
        up, down = pieces(eta + step), pieces(eta - step)
        slopes.append([(a - b) / 2e-5 for a, b in zip(up, down, strict=True)])
    size = eta.size
    score = np.zeros(size)
    info = np.zeros((size, size))
    solved = [inverse @ D for _, D in slopes]
    for i, (m, _) in enumerate(slopes):
        score[i] = m @ inverse @ r - 0.5 * np.trace(solved[i])
        score[i] += 0.5 * r @ solved[i] @ inverse @ r
        for j in range(size):
            info[i, j] = m @ inverse @ slopes[j][0] + 0.5 * np.trace(solved[i] @ solved[j])
    return score @ np.linalg.solve(info, score)


@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_by_brute_force(small, pair, effects, likelihood):
    W = weights()
    _, panel, given, y, X = small(W, T=4, seed=5, rho=0.3)
    options = {"effects": effects, "likelihood": likelihood}
    fit = getattr(sa, pair[0])(FORMULA_2, panel, given, **options)
    large = ModelSpec.of(pair[1], **options)
    expected = brute_force(y, X, W, fit, large, effects, likelihood)
    assert score_test(fit, pair[1]) == pytest.approx(expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("pair", [("sar", "sdm"), ("sar", "sac"), ("sem", "sdem"), ("slx", "gns")])
def test_weights_of_their_own(small, pair):
    """Without row standardisation, entity effects: the same brute force."""
    W = weights(standardize=False)
    _, panel, given, y, X = small(W, T=4, seed=6, rho=0.3)
    fit = getattr(sa, pair[0])(FORMULA_2, panel, given, effects="entity")
    large = ModelSpec.of(pair[1], effects="entity")
    expected = brute_force(y, X, W, fit, large, "entity", "transformed")
    assert score_test(fit, pair[1]) == pytest.approx(expected, rel=2e-5)


def test_scores_are_derivatives(small):
    """The score that the statistic uses is the gradient of the dense log-likelihood."""
    from spatial_agglo.diagnostics.directed import _embedded
    from spatial_agglo.diagnostics.scores import score_and_information

    W = weights()
    _, panel, given, y, X = small(W, T=4, seed=8, rho=0.3)
    for effects in ("entity", "two-way"):
        for pair in (("sar", "gns"), ("sem", "sdm"), ("sac", "gns")):
            fit = getattr(sa, pair[0])(FORMULA_2, panel, given, effects=effects)
            spec = ModelSpec.of(pair[1], effects=effects)
            at = _embedded(fit, spec)
            ours, _ = score_and_information(fit.workspace, spec, at)
            spatial = [at.rho] * spec.has_lag + [at.lam] * spec.has_error
            params = np.concatenate([at.gamma, spatial, [at.sigma2]])
            dense = score(params, problem(y, X, W, pair[1], effects, "transformed"))
            np.testing.assert_allclose(ours, dense, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
def test_scores_with_gaps(small, effects, likelihood):
    """The adjusted score of a panel with missing cells, against its dense twin."""
    from spatial_agglo.diagnostics.directed import _embedded
    from spatial_agglo.diagnostics.scores import score_and_information

    W = weights()
    frame, panel, _, y, X = small(W, T=6, seed=7, rho=0.3)
    seen = np.ones((6, 9), dtype=bool)
    seen[[0, 2, 2, 4], [1, 0, 5, 8]] = False
    gaps = sa.Panel(frame[seen.ravel()], entity="id", time="t", unbalanced="allow")
    given = sa.SpatialWeights.from_dense(W, panel.entities, isolates="allow").standardize("row")
    for pair in (("ols", "sdm"), ("sar", "sac"), ("sem", "sdem")):
        options = {"effects": effects, "likelihood": likelihood}
        fit = getattr(sa, pair[0])(FORMULA_2, gaps, given, **options)
        spec = ModelSpec.of(pair[1], **options)
        at = _embedded(fit, spec)
        ours, _ = score_and_information(fit.workspace, spec, at)
        spatial = [at.rho] * spec.has_lag + [at.lam] * spec.has_error
        params = np.concatenate([at.gamma, spatial, [at.sigma2]])
        twin = dense_unbalanced.problem(y, X, W, seen, pair[1], effects, likelihood)
        np.testing.assert_allclose(ours, score(params, twin), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("pair", [("ols", "sar"), ("sar", "sac"), ("sem", "sdm")], ids="-".join)
def test_weights_that_hardly_change(small, pair):
    """With one W per period the general path runs; with equal ones it gives the same."""
    W = weights()
    _, panel, given, _, _ = small(W, T=4, seed=5, rho=0.3)
    rng = np.random.default_rng(0)
    moved = {}
    for t in panel.times:
        close = W * (1.0 + 1e-9 * rng.uniform(size=W.shape))
        close /= close.sum(axis=1, keepdims=True)
        moved[t] = sa.SpatialWeights.from_dense(close, given.ids)
    one, other = (
        score_test(getattr(sa, pair[0])(FORMULA_2, panel, V), pair[1])
        for V in (given, sa.weights.PanelWeights(moved))
    )
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] in ("ols", "slx")], ids="-".join)
@pytest.mark.parametrize("effects", EFFECTS)
def test_two_ways_to_the_same(cigarettes, queen, effects, pair):
    """From a regression: its own formulas, and the general score and information."""
    from spatial_agglo.diagnostics.directed import _embedded
    from spatial_agglo.diagnostics.scores import quadratic, score_and_information

    fit = getattr(sa, pair[0])(FORMULA, cigarettes, queen, effects=effects)
    spec = ModelSpec.of(pair[1], effects=effects)
    general = score_and_information(fit.workspace, spec, _embedded(fit, spec))
    assert score_test(fit, pair[1]) == pytest.approx(quadratic(*general), rel=1e-7)


def test_lm_tests_are_among_them(cigarettes, queen):
    lm = sa.lm_tests(FORMULA, cigarettes, queen)["statistic"]
    ols = sa.ols(FORMULA, cigarettes, queen)
    assert score_test(ols, "sar") == pytest.approx(lm["LM lag"])
    assert score_test(ols, "sem") == pytest.approx(lm["LM error"])
    assert score_test(ols, "sac") == pytest.approx(lm["SARMA"])


def test_nothing_to_find(small):
    """At the maximum of the larger model its score is zero."""
    from spatial_agglo.diagnostics.scores import score_and_information

    W = weights()
    _, panel, given, _, _ = small(W, T=6, seed=9)
    for model in ("sdm", "sac", "gns"):
        fit = getattr(sa, model)(FORMULA_2, panel, given)
        s, info = score_and_information(fit.workspace, fit.spec, fit.estimate)
        assert s @ np.linalg.solve(info, s) < 1e-10


def test_not_identified(cigarettes, queen):
    ols = sa.ols(FORMULA, cigarettes, queen)
    with pytest.raises(sa.errors.IdentificationError, match="cannot be told apart"):
        score_test(ols, "gns")
    with pytest.raises(sa.errors.IdentificationError, match="linear combination"):
        directed_tests("logc ~ logp + C(year)", cigarettes, queen, effects="entity")


def test_what_has_no_score_test(cigarettes, queen):
    sar = sa.sar(FORMULA, cigarettes, queen, effects="random")
    with pytest.raises(sa.errors.OptionError, match="fixed effects"):
        score_test(sar, "sdm")
    corrected = sa.sar(FORMULA, cigarettes, queen, likelihood="corrected")
    with pytest.raises(sa.errors.OptionError, match="direct-demeaned"):
        score_test(corrected, "sdm")
    with pytest.raises(sa.errors.OptionError, match="large='sdd' is not known"):
        score_test(sa.sar(FORMULA, cigarettes, queen), "sdd")
    ols = sa.ols(FORMULA, cigarettes)
    with pytest.raises(sa.errors.WeightsError, match="need weights W"):
        Regression.of(ols, ModelSpec.of("sar"))


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_size(effects):
    table = rates("ols", effects, FEW)
    names = ["LM WX", "robust LM WX", "robust LM lag (WX)", "LM SDM", "LM SDEM"]
    assert table.loc[names, "rate"].between(*WIDE).all()
