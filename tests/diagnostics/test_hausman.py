"""Fixed against random effects: R, dense twins, brute-force scores, and size."""

import dense_family
import dense_random
import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA
from dense import orthonormal
from diagnostics.size_study import BETA, FEW, WIDE, lattice, rates

import spatial_agglo as sa
from spatial_agglo.diagnostics.hausman import hausman
from spatial_agglo.diagnostics.hausman_scores import Random, meat, of_fixed
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace

FORMULA_2 = "y ~ x1 + x2"
SPLM = {
    "sphtest_ML_lag": {"model": "sar"},
    "sphtest_ML_error_KKP": {"model": "sem"},
    "sphtest_ML_error_BSK": {"model": "sem", "form": "baltagi"},
    "sphtest_ML_sarar": {"model": "sac"},
    "sphtest_ML_lag_SDM": {"model": "sdm"},
}


def weights(N=9, seed=3):
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, rng.choice([j for j in range(N) if j != i], 3, replace=False)] = rng.uniform(0.5, 1, 3)
    return W / W.sum(axis=1, keepdims=True)


def drawn(small, W, T=6, seed=0, rho=0.3):
    """A panel with unit effects that do not depend on X."""
    frame, _, given, _, X = small(W, T=T, seed=seed)
    rng = np.random.default_rng(seed)
    N = len(W)
    u = X @ [1.0, -0.5] + 2.0 + 1.5 * rng.normal(size=N) + rng.normal(size=(T, N))
    y = np.linalg.solve(np.eye(N) - rho * W, u.T).T
    return sa.Panel(frame.assign(y=y.ravel()), entity="id", time="t"), given, y, X


# --- R ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SPLM))
def test_splm(cigarettes, queen, reference, name):
    """``splm::sphtest(method = "ML")``. All of them are absolute values of negative numbers."""
    expected = reference("cigarettes_r")["splm_tests"][name]
    table = hausman(FORMULA, cigarettes, queen, method="splm", **SPLM[name])
    row = table.loc["Hausman (splm)"]
    assert row["statistic"] == pytest.approx(expected["statistic"], rel=1e-4)
    assert row["df"] == expected["df"]
    assert table["p_value"].isna().all()
    about = table.attrs["tests"]["Hausman (splm)"]
    negative = float(about["reason"].split("absolute value of ")[1].split(":")[0])
    assert negative == pytest.approx(-expected["statistic"], rel=1e-3)


def test_plm(cigarettes, reference):
    """``plm::phtest`` of the within and the Swamy-Arora estimates: the same, without a W."""
    expected = reference("cigarettes_r")["splm_tests"]["phtest_plm"]
    table = hausman(FORMULA, cigarettes, model="ols", method="plm")
    assert table["statistic"].iloc[0] == pytest.approx(expected["statistic"], rel=1e-8)
    assert table["df"].iloc[0] == expected["df"]
    assert table["p_value"].isna().all()  # the difference of the covariances is indefinite
    assert "not positive definite" in table.attrs["tests"]["Hausman (plm)"]["reason"]


def test_plm_where_it_is_defined():
    """linearmodels has the two estimates: a positive statistic and its p value."""
    from linearmodels.panel import PanelOLS, RandomEffects
    from scipy.stats import chi2

    sim = sa.simulate("ols", lattice(), 8, beta=BETA, effects="entity", seed=5)
    table = hausman(sim.formula, sim.panel, model="ols", method="plm")
    data = sim.panel.frame
    X, y = data[["x1", "x2"]], data["y"]
    fixed = PanelOLS(y, X, entity_effects=True).fit()
    random = RandomEffects(y, X.assign(one=1.0)).fit(small_sample=True)
    d = fixed.params - random.params[["x1", "x2"]]
    V = fixed.cov - random.cov.loc[["x1", "x2"], ["x1", "x2"]]
    statistic = d @ np.linalg.solve(V, d)
    assert table["statistic"].iloc[0] == pytest.approx(statistic, rel=0.02)
    assert table["p_value"].iloc[0] == pytest.approx(
        chi2.sf(table["statistic"].iloc[0], 2), rel=1e-10
    )


# --- Mundlak ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "form"),
    [
        *((model, "kkp") for model in ("ols", "slx", "sar", "sem", "sdm", "sac")),
        ("sem", "baltagi"),
        ("sac", "baltagi"),
    ],
)
def test_mundlak_by_brute_force(small, model, form):
    """The Wald statistic of the means from a dense likelihood and its Hessian."""
    W = weights(12)
    panel, given, y, X = drawn(small, W, T=5, seed=1)
    p = dense_random.problem(y, X, W, model, form, mundlak=True)
    found = dense_family.fit(p)
    V = dense_family.observed_cov(found["params"], p)
    k = 4 if MODELS[model][1] else 2
    at = np.arange(1 + k, 1 + 2 * k)
    b = found["params"][at]
    q = 1 + k
    expected = b @ np.linalg.solve(V[np.ix_(at, at)], b) * (12 - q) / 12
    options = {"form": form} if MODELS[model][2] else {}
    table = hausman(FORMULA_2, panel, given, model=model, **options)
    row = table.loc["Hausman (mundlak)"]
    assert row["statistic"] == pytest.approx(expected, rel=1e-4)
    assert row["df"] == k
    about = table.attrs["tests"]["Hausman (mundlak)"]
    assert about["distribution"] == f"{k} F({k}, {12 - q})"
    means = ["mean(x1)", "mean(x2)", "W*mean(x1)", "W*mean(x2)"][:k]
    assert table.attrs["compared"] == means


def test_mundlak_is_between_against_within(small):
    """Without spatial terms: the means' coefficients are b_between - b_within, and their test is
    an F test of the regression of unit means but for the within estimates' own variance."""
    W = weights(12)
    panel, _, y, X = drawn(small, W, T=400, seed=3)  # b_within is almost known
    table = hausman(FORMULA_2, panel, model="ols")
    inside = X - X.mean(axis=0)
    b = np.linalg.lstsq(inside.reshape(-1, 2), (y - y.mean(axis=0)).ravel(), rcond=None)[0]
    A = np.column_stack([np.ones(12), X.mean(axis=0)])
    z = y.mean(axis=0) - X.mean(axis=0) @ b
    large = ((z - A @ np.linalg.lstsq(A, z, rcond=None)[0]) ** 2).sum()
    small_rss = ((z - z.mean()) ** 2).sum()
    F = ((small_rss - large) / 2) / (large / 9)
    assert table["statistic"].iloc[0] == pytest.approx(2 * F, rel=0.05)


# --- with fixed period effects ----------------------------------------------------------------


@pytest.mark.parametrize("model", ["ols", "sar", "sem", "sdm", "sac"])
def test_random_effects_with_period_effects(small, model):
    """The likelihood of the data less their period means, against explicit transforms."""
    W = weights(10)
    panel, given, y, X = drawn(small, W, T=5, seed=4)
    y = y + np.arange(5.0)[:, None]
    frame = panel.frame.reset_index().assign(y=y.ravel())
    panel = sa.Panel(frame, entity="id", time="t")
    F = orthonormal(10)
    p = dense_random.problem(
        y @ F, np.einsum("in,tik->tnk", F, X), F.T @ W @ F, model, intercept=False
    )
    p.space["rho"] = p.space["lambda"] = dense_family.interval(W)
    found = dense_family.fit(p)
    spec = ModelSpec.of(model, effects="random")
    random = Random.of(spec, Workspace.of(FORMULA_2, panel, given), "two-way")
    np.testing.assert_allclose(random.values, found["params"], rtol=1e-5, atol=1e-7)
    V = dense_family.observed_cov(found["params"], p)
    np.testing.assert_allclose(random.covariance, V, rtol=1e-3, atol=1e-9)


def test_period_effects_do_not_matter(small):
    """With two-way effects, adding period effects to y changes nothing; else it does."""
    W = weights(12)
    panel, given, y, _ = drawn(small, W, T=5, seed=4)
    N = len(W)
    shock = np.linalg.solve(np.eye(N) - 0.3 * W, np.ones(N)) * np.arange(5.0)[:, None] ** 2
    moved = sa.Panel(panel.frame.reset_index().assign(y=(y + shock).ravel()), entity="id", time="t")
    for method in ("mundlak", "robust"):
        for effects, same in (("two-way", True), ("entity", False)):
            one, other = (
                hausman(FORMULA_2, p, given, method=method, effects=effects)["statistic"].iloc[0]
                for p in (panel, moved)
            )
            assert (abs(one - other) < 1e-6 * one) == same


# --- stacked scores ---------------------------------------------------------------------------


def by_pairs(model, W, Z, Wy, y, params, A, effects, phi):
    """Scores unit by unit and pair by pair from the definition, with dense H; kkp."""
    T, N = y.shape
    has = MODELS[model]
    k = Z.shape[2]
    gamma, at = params[:k], k
    rho = params[at] if has[0] else 0.0
    at += has[0]
    lam = params[at] if has[2] else 0.0
    s2 = params[-1]
    left = 1.0 - (1.0 / N if effects == "two-way" else 0.0)
    J = np.eye(N) - (1.0 - left)
    B = np.eye(N) - lam * W

    def filtered(F):
        return J @ B @ F

    X = np.stack([filtered(Z[t]) for t in range(T)])
    v = np.stack([filtered(y[t] - rho * Wy[t] - Z[t] @ gamma) for t in range(T)])
    H_rho = W @ np.linalg.inv(np.eye(N) - rho * W)
    H_lam = W @ np.linalg.inv(B)
    mean = np.stack([J @ (B @ Wy[t] - H_rho @ v[t]) for t in range(T)])
    Hs = [H_rho] * has[0] + [H_lam] * has[2]
    p = params.size + (phi is not None)
    own = np.zeros((N, p))
    pairs = {}
    share = np.trace(A) if phi is None else float(T)
    for i in range(N):
        q = v[:, i] @ A @ v[:, i] / s2
        own[i, :k] = X[:, i].T @ A @ v[:, i] / s2
        for j, H in enumerate(Hs):
            own[i, k + j] = (J @ H)[i, i] * (q - share)
            if j == 0 and has[0]:
                own[i, k] += mean[:, i] @ A @ v[:, i] / s2
        own[i, -1] = 0.5 * (q - share * left) / s2
        if phi is not None:
            w = 1.0 / (1.0 + T * phi)
            own[i, -2] = 0.5 * T * w * (w * T * v[:, i].mean() ** 2 / s2 - left)
        for other in range(i):
            b = np.zeros(p)
            for j, H in enumerate(Hs):
                h = (J @ H)[i, other] + (J @ H)[other, i]
                b[k + j] = h * (v[:, i] @ A @ v[:, other]) / s2
            pairs[i, other] = b
    return own, pairs


@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["ols", "sar", "sem", "sdm", "sac"])
def test_scores_by_brute_force(small, model, effects):
    """Own terms, pairs and the joint covariance of fixed and random effects; they sum to zero."""
    W = weights(8)
    panel, given, y, X = drawn(small, W, T=5, seed=6)
    T, N = y.shape
    Wy = y @ W.T
    lagged = np.einsum("ij,tjk->tik", W, X)
    Z = np.concatenate([X, lagged], axis=2) if MODELS[model][1] else X
    fixed = getattr(sa, model)(FORMULA_2, panel, given, effects=effects)
    random = Random.of(
        ModelSpec.of(model, effects="random"), Workspace.of(FORMULA_2, panel, given), effects
    )
    one, two = of_fixed(fixed), random.scores()
    phi = random.found.phi
    A_f = np.eye(T) - 1.0 / T
    A_r = np.eye(T) - phi / (1.0 + T * phi)
    first = [] if effects == "two-way" else [np.ones((T, N, 1))]
    own_f, pairs_f = by_pairs(model, W, Z, Wy, y, fixed.values, A_f, effects, None)
    Zr = np.concatenate([*first, Z], axis=2)
    shifts = random.space.shifts(random.spec.effects)
    yr = y
    if shifts is not None:  # the data that an intercept is fitted to are centred
        Zr = Zr.copy()
        yr = y - shifts[0]
        Zr[:, :, 1:3] -= shifts[1:]
        if MODELS[model][1]:
            Zr[:, :, 3:] -= shifts[1:]
    values = np.delete(random.values, -2)
    own_r, pairs_r = by_pairs(model, W, Zr, yr @ W.T, yr, values, A_r, effects, phi)
    np.testing.assert_allclose(one.own, own_f, atol=1e-7)
    np.testing.assert_allclose(two.own, own_r, atol=1e-7)
    for own, pairs in ((own_f, pairs_f), (own_r, pairs_r)):
        np.testing.assert_allclose(own.sum(axis=0) + sum(pairs.values()), 0.0, atol=1e-4)
    own = np.hstack([own_f, own_r])
    expected = own.T @ own
    for key, b in pairs_f.items():
        b = np.concatenate([b, pairs_r[key]])
        expected += np.outer(b, b)
    found = meat([one, two])
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    assert np.linalg.eigvalsh(found)[0] > -1e-9 * np.abs(found).max()


def test_robust_variance_is_hausmans(small):
    """With normal errors and many units it is V_fixed - V_random, Hausman's own."""
    W = lattice(20)
    sim = sa.simulate("sdm", W, 6, beta=BETA, theta=(0.5, 0.3), rho=0.4, effects="entity", seed=3)
    fixed = sa.sdm(sim.formula, sim.panel, W, effects="entity")
    random = Random.of(
        ModelSpec.of("sdm", effects="random"), Workspace.of(sim.formula, sim.panel, W), "entity"
    )
    k = 4
    effect = np.hstack([fixed.covariance[:k], -random.covariance[1 : 1 + k]])
    V = effect @ meat([of_fixed(fixed), random.scores()]) @ effect.T
    classical = fixed.covariance[:k, :k] - random.covariance[1 : 1 + k, 1 : 1 + k]
    np.testing.assert_allclose(np.diag(V), np.diag(classical), rtol=0.25)


@pytest.mark.parametrize(("effects", "left"), [("entity", 46 - 5), ("two-way", 46 - 1 - 4)])
def test_robust_p_value_is_hotellings(cigarettes, queen, effects, left):
    """T^2 of four coefficients with what N leaves of the unit means."""
    from scipy.stats import f

    table = hausman(FORMULA, cigarettes, queen, method="robust", effects=effects)
    T2 = table["statistic"].iloc[0]
    expected = f.sf((left - 3) / (4 * left) * T2, 4, left - 3)
    assert table["p_value"].iloc[0] == pytest.approx(expected)
    about = table.attrs["tests"]["Hausman (robust)"]
    assert about["distribution"] == f"{4 * left / (left - 3):.4g} F(4, {left - 3})"


# --- behaviour --------------------------------------------------------------------------------


def test_classical_is_never_negative(cigarettes, queen):
    """Either a positive statistic, or an error that says why and what to do."""
    table = hausman(FORMULA, cigarettes, queen, model="sdm", method="classical")
    assert table["statistic"].iloc[0] > 0.0
    with pytest.raises(sa.errors.IdentificationError, match="not positive definite.*mundlak"):
        hausman(FORMULA, cigarettes, queen, model="sac", method="classical")


def test_what_is_compared(cigarettes, queen):
    for spatial, names in (
        (False, ["logp", "logy", "W*logp", "W*logy"]),
        (True, ["logp", "logy", "W*logp", "W*logy", "rho"]),
    ):
        table = hausman(FORMULA, cigarettes, queen, method="robust", spatial=spatial)
        assert table.attrs["compared"] == names
        assert table["df"].iloc[0] == len(names)
        assert table["statistic"].iloc[0] >= 0.0
    some = hausman(FORMULA, cigarettes, queen, durbin=["logp"])
    assert some.attrs["compared"] == ["mean(logp)", "mean(logy)", "W*mean(logp)"]


def test_regressors_that_do_not_vary(cigarettes, queen):
    """They stay in the random effects model and are not compared."""
    frame = cigarettes.frame.reset_index()
    frame = frame.assign(size=frame.groupby("state")["pop"].transform("first") / 1e4)
    panel = sa.Panel(frame, entity="state", time="year")
    formula = f"{FORMULA} + size"
    for method in ("mundlak", "robust", "classical"):
        table = hausman(formula, panel, queen, model="sar", method=method)
        assert [
            name.removeprefix("mean(").removesuffix(")") for name in table.attrs["compared"]
        ] == [
            "logp",
            "logy",
        ]
        plain = hausman(FORMULA, panel, queen, model="sar", method=method)
        assert abs(table["statistic"].iloc[0] - plain["statistic"].iloc[0]) > 1e-6
    for method in ("mundlak", "robust"):
        with pytest.raises(sa.errors.OptionError, match="No regressor varies over time"):
            hausman("logc ~ size", panel, queen, model="sar", method=method)


def test_row_order_and_labels(cigarettes, queen):
    """The statistic does not depend on the order of rows, or of units in W."""
    frame = cigarettes.frame.reset_index()
    shuffled = sa.Panel(frame.sample(frac=1.0, random_state=1), entity="state", time="year")
    renamed = {name: f"{i:02d}-{name}" for i, name in enumerate(reversed(list(queen.ids)))}
    other = sa.Panel(frame.assign(state=frame["state"].map(renamed)), entity="state", time="year")
    dense = pd.DataFrame(queen.matrix.toarray(), index=queen.ids, columns=queen.ids)
    W = dense.rename(index=renamed, columns=renamed)
    for method in ("mundlak", "robust"):
        values = [
            hausman(FORMULA, panel, V, method=method)["statistic"].iloc[0]
            for panel, V in ((cigarettes, queen), (shuffled, queen), (other, W))
        ]
        np.testing.assert_allclose(values, values[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "white"}, "method='white' is not known"),
        ({"effects": "time"}, "effects='time' is not known"),
        ({"model": "sem", "form": "baltagi", "method": "robust"}, "form='kkp'"),
        ({"model": "sem", "form": "baltagi", "effects": "two-way"}, "form='kkp'"),
        ({"spatial": True}, "spatial=True is for"),
        ({"model": "ols", "method": "robust", "spatial": True}, "spatial=True is for"),
        ({"method": "plm"}, "is for ols and slx"),
        ({"method": "splm", "effects": "two-way"}, "effects='entity'"),
        ({"model": "sdd"}, "model='sdd' is not known"),
    ],
)
def test_options_that_do_not_go_together(cigarettes, queen, options, message):
    with pytest.raises(sa.errors.OptionError, match=message):
        hausman(FORMULA, cigarettes, queen, **options)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_gaps(cigarettes, queen, effects):
    gaps = cigarettes.frame.reset_index().iloc[1:]
    panel = sa.Panel(gaps, entity="state", time="year", unbalanced="allow")
    with pytest.raises(sa.errors.OptionError, match="balanced panel"):
        hausman(FORMULA, panel, queen, effects=effects)


def test_too_many_means(small):
    W = weights(6)
    _, panel, given, _, _ = small(W, T=8, k=3)
    with pytest.raises(sa.errors.SpatialAggloError):
        hausman("y ~ x1 + x2 + x3", panel, given)  # 7 means of 6 units


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["ols", "sdm"])
def test_size(model, effects):
    table = rates(f"random effects in {model}", effects, FEW)
    for label in ("mundlak", "robust"):
        row = table.loc[f"Hausman {model} ({label})"]
        assert WIDE[0] <= row["rate"] <= WIDE[1], table
        assert row["failed"] == 0


@pytest.mark.slow
def test_power():
    table = rates("random effects in sdm", "entity", 300, power=True)
    assert (table.loc[["Hausman sdm (mundlak)", "Hausman sdm (robust)"], "rate"] > 0.3).all()
