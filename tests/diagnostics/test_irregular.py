"""Score tests and Moran's I on panels with gaps and with weights that change: dense twins."""

import dense_unbalanced
import numpy as np
import pytest
from diagnostics.size_study import FEW, WIDE, rates
from scipy import linalg, sparse

import spatial_agglo as sa
from spatial_agglo.core.within import Projector
from spatial_agglo.diagnostics.directed import directed_tests, score_test
from spatial_agglo.diagnostics.traces import balanced_traces, irregular_traces

XY = "y ~ x1 + x2"
EFFECTS = ("none", "entity", "time", "two-way")
LM = ["LM lag", "robust LM lag", "LM error", "robust LM error", "SARMA"]
N, T = 9, 6


def weights(seed=3):
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, rng.choice([j for j in range(N) if j != i], 4, replace=False)] = rng.uniform(0.5, 1, 4)
    return W / W.sum(axis=1, keepdims=True)


@pytest.fixture(params=["gaps", "changing", "both"])
def irregular(request, small):
    """(panel, weights, y, X, mask, the matrix of every period)."""
    W = weights()
    frame, panel, given, y, X = small(W, T=T, seed=7, rho=0.2)
    mask = np.ones((T, N), dtype=bool)
    matrices = [W] * T
    if request.param != "gaps":
        matrices = [(W, weights(5))[t % 2] for t in range(T)]
        one, two = given, sa.SpatialWeights.from_dense(weights(5), given.ids)
        given = sa.weights.PanelWeights({t: (one, two)[t % 2] for t in panel.times})
    if request.param != "changing":
        mask[[0, 2, 2, 4, 5], [1, 0, 5, 8, 3]] = False
        panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")
    return panel, given, y, X, mask, dense_unbalanced.cut(np.stack(matrices), mask)


def stacked(y, X, mask, effects, blocks):
    """Observed cells: y, regressors, dummies, block-diagonal W and the projection Q."""
    from dense import dummies

    cells = mask.ravel()
    D = dummies(T, N, effects)[cells]
    Z = X.reshape(T * N, -1)[cells]
    if effects == "none":
        Z = np.hstack([np.ones((len(Z), 1)), Z])
    Q = np.eye(len(Z)) - D @ np.linalg.pinv(D)
    return y.ravel()[cells], Z, D, linalg.block_diag(*blocks), Q


@pytest.mark.parametrize("effects", EFFECTS)
def test_lm(irregular, effects):
    """Scores, their means and covariance written out with N T x N T matrices."""
    panel, given, y, X, mask, blocks = irregular
    y, Z, _, W, Q = stacked(y, X, mask, effects, blocks)
    M = Q - Q @ Z @ np.linalg.pinv(Q @ Z)
    e = M @ y
    b = np.linalg.lstsq(Q @ Z, Q @ y, rcond=None)[0]
    held = y - Z @ b - e  # the effects
    n = np.linalg.matrix_rank(Q)
    s2 = e @ e / n
    c = np.trace(Q @ W)
    T_W = np.trace(Q @ W @ Q @ W) + np.trace(Q @ W @ Q @ W.T) - 2.0 * c**2 / n
    s = np.array([e @ W @ y, e @ W @ (e + held)]) / s2 - c
    means = np.column_stack([W @ (y - e), W @ held])
    J = means.T @ M @ means / s2 + T_W
    own, both = np.diag(J), s @ np.linalg.solve(J, s)
    lag, error = s**2 / own
    expected = [lag, both - error, error, both - lag, both]
    table = sa.lm_tests(XY, panel, given, effects=effects)
    np.testing.assert_allclose(table.loc[LM, "statistic"], expected, rtol=1e-8)
    assert table["df"].tolist() == [1, 1, 1, 1, 2]


def by_density(y, Z, D, W, eta, large):
    """The score statistic from the density of the sample, dummies among the parameters.

    ``(I - lambda W)((I - rho W) y - Z g) = D d + e``, effects inside the error process; the
    information by central differences of mean and covariance.
    """
    k, q = Z.shape[1], D.shape[1]

    def pieces(eta):
        eta = list(eta)
        s2 = eta.pop()
        lam = eta.pop() if large in ("sem", "sac", "sdem", "gns") else 0.0
        rho = eta.pop() if large in ("sar", "sac", "sdm", "gns") else 0.0
        S, B = np.eye(len(y)) - rho * W, np.eye(len(y)) - lam * W
        mean = np.linalg.solve(S, Z @ eta[:k] + np.linalg.solve(B, D @ eta[k : k + q]))
        spread = np.linalg.inv(B @ S)
        return mean, s2 * spread @ spread.T

    mean, V = pieces(eta)
    inverse, r = np.linalg.inv(V), y - mean
    slopes = []
    for i in range(eta.size):
        step = np.zeros(eta.size)
        step[i] = 1e-5
        slopes.append(
            [(a - b) / 2e-5 for a, b in zip(pieces(eta + step), pieces(eta - step), strict=True)]
        )
    solved = [inverse @ change for _, change in slopes]
    score = np.array(
        [
            m @ inverse @ r - 0.5 * np.trace(A) + 0.5 * r @ A @ inverse @ r
            for (m, _), A in zip(slopes, solved, strict=True)
        ]
    )
    info = np.array(
        [
            [
                m @ inverse @ other + 0.5 * np.trace(A @ C)
                for (other, _), C in zip(slopes, solved, strict=True)
            ]
            for (m, _), A in zip(slopes, solved, strict=True)
        ]
    )
    return score @ np.linalg.solve(info, score)


@pytest.mark.parametrize(
    ("pair", "effects"),
    [(("ols", large), effects) for large in ("sar", "sem", "sac") for effects in EFFECTS]
    + [
        (pair, effects)
        for pair in (("sar", "sac"), ("sem", "sac"), ("sdm", "gns"))
        for effects in ("none", "entity", "two-way")
    ],
)
def test_score_tests_by_density(irregular, pair, effects):
    """The direct likelihood is that of the sample, so nothing but its density is needed."""
    panel, given, y, X, mask, blocks = irregular
    fit = getattr(sa, pair[0])(XY, panel, given, effects=effects, likelihood="direct")
    y, Z, D, W, _ = stacked(y, X, mask, effects, blocks)
    if pair[0] == "sdm":
        Z = np.hstack([Z, W @ Z[:, -2:]])
    names = ["Intercept"] * (effects == "none") + ["x1", "x2"]
    names += ["W*x1", "W*x2"] * (pair[0] == "sdm")
    g, rho, lam = fit.params[names].to_numpy(), fit.rho or 0.0, fit.lam or 0.0
    inside = (np.eye(len(y)) - lam * W) @ (y - rho * W @ y - Z @ g)
    D = linalg.orth(D) if D.size else D
    spatial = [rho] * (pair[1] != "sem") + [lam] * (pair[1] != "sar")
    eta = np.array([*g, *(D.T @ inside), *spatial, fit.sigma2])
    expected = by_density(y, Z, D, W, eta, pair[1])
    assert score_test(fit, pair[1]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_lm_tests_are_score_tests(irregular):
    panel, given, *_ = irregular
    ols = sa.ols(XY, panel, given)
    table = sa.lm_tests(XY, panel, given)["statistic"]
    for name, large in (("LM lag", "sar"), ("LM error", "sem"), ("SARMA", "sac")):
        assert table[name] == pytest.approx(score_test(ols, large), rel=1e-8)
    found = directed_tests(XY, panel, given)["statistic"]
    assert found["LM SDM"] == pytest.approx(table["LM lag"] + found["robust LM WX"])
    assert found["LM WX"] == pytest.approx(score_test(ols, "slx"), rel=1e-8)


@pytest.mark.parametrize("effects", EFFECTS)
def test_moran(irregular, effects):
    """Mean and variance of ``e'We/e'e`` for residuals of a regression, P written out."""
    panel, given, y, X, mask, blocks = irregular
    y, Z, _, W, Q = stacked(y, X, mask, effects, blocks)
    P = Q - Q @ Z @ np.linalg.pinv(Q @ Z)
    e, r = P @ y, np.linalg.matrix_rank(P)
    first = np.trace(P @ W)
    second = np.trace(P @ W @ P @ W.T) + np.trace(P @ W @ P @ W)
    expected = first / r
    variance = (second + first**2) / (r * (r + 2)) - expected**2
    found = sa.residual_moran(XY, panel, given, effects=effects)
    value = e @ W @ e / (e @ e)
    z = (value - expected) / np.sqrt(variance)
    np.testing.assert_allclose(
        found[["I", "expected", "variance", "z"]], [value, expected, variance, z], rtol=1e-8
    )


def test_moran_of_weights_that_do_not_add_up(irregular):
    """Every period counts with its cells over the sum of its weights."""
    panel, given, *_ = irregular
    fit = sa.ols(XY, panel, given, effects="entity")
    if isinstance(given, sa.SpatialWeights):
        halved = given.derive(given.matrix * 0.5, ", halved")
        one, other = (
            sa.residual_moran(sa.ols(XY, panel, W, effects="entity"))
            for W in (given, sa.SpatialWeights.from_dense(np.ones((N, N)) - np.eye(N), given.ids))
        )
        assert abs(one["I"] - other["I"]) > 1e-6
        raw = sa.residual_moran(fit, W=halved.derive(halved.matrix, "", isolates="allow"))
        cells = panel.present
        e = fit.resid
        W = halved.matrix.toarray()
        parts = [
            cells[t].sum() / W[np.ix_(cells[t], cells[t])].sum() * (e[t] @ W @ e[t])
            for t in range(T)
        ]
        assert raw["I"] == pytest.approx(sum(parts) / (e**2).sum())


@pytest.mark.parametrize("effects", EFFECTS)
def test_traces(effects):
    """Every trace against N T x N T matrices, sparse and dense blocks, two of them alike."""
    rng = np.random.default_rng(0)
    which = [0, 1, 2, 1, 0]
    mask = rng.uniform(size=(5, 7)) > 0.25
    mask[0], mask[4], mask[3] = True, True, mask[1]
    projector = Projector.of(mask, effects)
    Q = np.stack([projector.apply(row.reshape(5, 7)).ravel() for row in np.eye(35)])
    blocks = [
        [rng.normal(size=(7, 7)) * np.outer(mask[which.index(j)], mask[which.index(j)])
         for j in range(3)]
        for _ in range(2)
    ]  # fmt: skip
    found = irregular_traces(
        [blocks[0], [sparse.csr_array(block) for block in blocks[1]]], which, projector
    )
    dense = [linalg.block_diag(*[kind[j] for j in which]) for kind in blocks]
    np.testing.assert_allclose(found.single, [np.trace(Q @ K) for K in dense], atol=1e-10)
    for i, K in enumerate(dense):
        for j, L in enumerate(dense):
            assert found.squared[i, j] == pytest.approx(np.trace(Q @ K @ Q @ L), abs=1e-9)
            assert found.frobenius[i, j] == pytest.approx(np.trace(Q @ K @ Q @ L.T), abs=1e-9)


@pytest.mark.parametrize("remove_mean", [True, False])
def test_traces_of_a_balanced_panel(remove_mean):
    """In blocks of units, with row sums that differ."""
    K = np.random.default_rng(1).normal(size=(2, 7, 7))
    J = np.eye(7) - remove_mean / 7
    parts = (slice(0, 3), slice(3, 7))
    blocks = [(part, [k[:, part] for k in K], [k[part].T for k in K]) for part in parts]
    found = balanced_traces(blocks, 7, 4, remove_mean=remove_mean)
    for i, one in enumerate(K):
        assert found.single[i] == pytest.approx(4 * np.trace(J @ one))
        for j, two in enumerate(K):
            assert found.squared[i, j] == pytest.approx(4 * np.trace(J @ one @ J @ two))
            assert found.frobenius[i, j] == pytest.approx(4 * np.trace(J @ one @ J @ two.T))


def test_elhorsts_path(irregular):
    panel, given, *_ = irregular
    choice = sa.choose_model(XY, panel, given)
    assert {"LM lag", "Moran's I", "LR SDM/SAR", "Wald SDM/SAR"} <= set(choice.table.index)
    assert "Hausman" not in choice.table.index
    assert any(note.startswith("Hausman left out") for note in choice.notes)


def test_other_likelihoods_are_refused(irregular):
    panel, given, *_ = irregular
    with pytest.raises(sa.errors.OptionError, match="balanced panels and one W"):
        sa.lm_tests(XY, panel, given, likelihood="direct-demeaned")


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("null", ["ols with gaps", "sar with gaps"])
def test_size(null, effects):
    table = rates(null, effects, FEW)
    assert table["rate"].between(*WIDE).all(), table
