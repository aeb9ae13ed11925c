"""Every covariance of the likelihood estimators: explicit loops, other libraries, rules."""

import pickle

import dense_family
import dense_unbalanced
import numpy as np
import pandas as pd
import pytest
from dense import dummies, weights_cases
from scipy.linalg import block_diag

import spatial_agglo as sa
from spatial_agglo.core import bootstrap as core_bootstrap
from spatial_agglo.core.bootstrap import wild_weights
from spatial_agglo.errors import AlignmentError, DataError, IdentificationError, OptionError

T, N = 5, 12
FIRST = 2000
PERIODS = ["contiguity", "knn5", "mix", "knn5", "contiguity"]
MODELS = ("sar", "sem", "sdm", "gns")
SITUATIONS = ("balanced", "gaps", "changing W")


@pytest.fixture(scope="module")
def matrices():
    return weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


class Case:
    """A small panel with regions, places and, if wanted, gaps or weights that change."""

    def __init__(self, small, matrices, situation, seed=1):
        W = matrices["contiguity"]
        frame, _, weights, self.y, self.X = small(W, T=T, seed=seed)
        rng = np.random.default_rng(7)
        unit = np.tile(np.arange(N), T)
        self.region = np.broadcast_to(np.arange(N) // 3, (T, N))
        self.spell = rng.integers(0, 5, size=(T, N))
        self.place = np.column_stack([rng.uniform(100, 110, N), rng.uniform(25, 35, N)])
        frame["region"] = np.array(list("abcd"))[unit // 3]
        frame["spell"] = self.spell.ravel().astype(float)
        frame["lon"], frame["lat"] = self.place[unit].T
        self.mask = np.ones((T, N), dtype=bool)
        if situation == "gaps":
            self.mask = rng.uniform(size=(T, N)) > 0.12
            self.mask[:2] = True
        self.frame = frame[self.mask.ravel()].sample(frac=1.0, random_state=1)
        unbalanced = "error" if self.mask.all() else "allow"
        self.panel = sa.Panel(self.frame, entity="id", time="t", unbalanced=unbalanced)
        self.stack = np.stack([W] * T)
        self.W = weights
        if situation == "changing W":
            self.stack = np.stack([matrices[name] for name in PERIODS])
            self.W = sa.weights.PanelWeights(
                {
                    FIRST + t: sa.SpatialWeights.from_dense(self.stack[t], weights.ids)
                    for t in range(T)
                }
            )
        self.ids = weights.ids

    def problem(self, model, effects):
        if self.mask.all() and np.ptp(self.stack, axis=0).max() == 0:
            return dense_family.problem(
                self.y, self.X, self.stack[0], model, effects, "transformed"
            )
        return dense_unbalanced.problem(
            self.y, self.X, self.stack, self.mask, model, effects, "transformed"
        )

    def distances(self):
        """Great-circle distances in km, pair by pair."""
        d = np.zeros((N, N))
        for i in range(N):
            for j in range(N):
                (a, b), (c, e) = np.radians(self.place[i]), np.radians(self.place[j])
                h = np.sin((b - e) / 2) ** 2 + np.cos(b) * np.cos(e) * np.sin((a - c) / 2) ** 2
                d[i, j] = 2 * 6371.0088 * np.arcsin(np.sqrt(h))
        return d


class Twin:
    """Scores, innovations and couplings on the stacked observed cells, by explicit matrices.

    ``adjusted``: the effects for which the likelihood makes up in the means of the scores.
    """

    def __init__(self, case, fit, model, effects, adjusted=None):
        cells = case.mask.ravel()
        blocks = dense_unbalanced.cut(case.stack, case.mask)
        self.t, self.i = (a.ravel()[cells] for a in np.mgrid[:T, :N])
        n = int(cells.sum())
        W, one = block_diag(*blocks), np.eye(n)
        D = dummies(T, N, effects)[cells]
        Q = one - D @ np.linalg.pinv(D)
        adjusted = effects if adjusted is None else adjusted
        E = dummies(T, N, adjusted)[cells]
        C = one - E @ np.linalg.pinv(E)
        y = case.y.ravel()[cells]
        Z = dense_family.regressors(case.X.reshape(T * N, -1)[cells], blocks, model)
        p = dict(zip(fit.names, fit.values, strict=True))
        rho, lam, s2 = p.get("rho", 0.0), p.get("lambda", 0.0), p["sigma2"]
        S, B = one - rho * W, one - lam * W
        u = S @ y - Z @ fit.values[: Z.shape[1]]
        v = Q @ B @ u
        np.testing.assert_allclose(v, fit.resid[case.mask], atol=1e-8)
        columns = [(Q @ B @ Z) * (v / s2)[:, None]]
        coupled = []
        if "rho" in p:
            coupled.append((Q @ B @ W @ y, B @ W @ np.linalg.inv(S) @ np.linalg.inv(B)))
        if "lambda" in p:
            coupled.append((Q @ W @ u, W @ np.linalg.inv(B)))
        for lagged, H in coupled:
            columns.append((lagged * v / s2 - np.diag(C @ H))[:, None])
        columns.append(((v**2 / s2 - np.diag(C)) / (2 * s2))[:, None])
        self.s = np.hstack(columns)
        size = np.sqrt((self.s**2).sum(axis=0))
        np.testing.assert_allclose(self.s.sum(axis=0) / size, 0.0, atol=1e-6)
        self.at = list(range(Z.shape[1], Z.shape[1] + len(coupled)))
        same = self.t[:, None] == self.t
        J = one - same / same.sum(axis=1) if adjusted == "two-way" else one
        #: v_c H_ce v_e / sigma2, within periods.
        self.A = [v[:, None] * (J @ H) * v / s2 for _, H in coupled]
        self.n, self.lost = n, {"entity": N, "two-way": N + T - 1}[effects]
        self.periods_lost = T if effects == "two-way" else 0

    def related(self, same):
        """Pairs of cells in one cluster: outer products; other pairs: products of covariances."""
        total = np.zeros((self.s.shape[1],) * 2)
        for c in range(self.n):
            for d in range(self.n):
                if same[c, d]:
                    total += np.outer(self.s[c], self.s[d])
                    continue
                for a, A in zip(self.at, self.A, strict=True):
                    for b, B in zip(self.at, self.A, strict=True):
                        total[a, b] += (A[c] @ same[:, d]) * (B[d] @ same[:, c])
        return total

    def clusters(self, labels):
        return self.related(labels[:, None] == labels)

    def driscoll_kraay(self, lags):
        total = np.zeros((self.s.shape[1],) * 2)
        for c in range(self.n):
            for d in range(self.n):
                fade = max(0.0, 1 - abs(self.t[c] - self.t[d]) / (lags + 1))
                total += fade * np.outer(self.s[c], self.s[d])
        k = sum(max(0.0, 1 - abs(t - r) / (lags + 1)) for t in range(T) for r in range(T)) / T
        return total * max(T / (T - k), self.n / (self.n - N))

    def conley(self, K, lags):
        """Near units in one period; one unit in periods up to ``lags`` apart."""
        total = np.zeros((self.s.shape[1],) * 2)
        for c in range(self.n):
            for d in range(self.n):
                fade = max(0.0, 1 - abs(self.t[c] - self.t[d]) / (lags + 1))
                if fade == 0.0:
                    continue
                k = K if self.t[c] == self.t[d] else np.eye(N)
                i, j = self.i[c], self.i[d]
                total += fade * k[i, j] * np.outer(self.s[c], self.s[d])
                others = [
                    np.flatnonzero((self.t == self.t[e]) & (self.i != self.i[e])) for e in (c, d)
                ]
                for a, A in zip(self.at, self.A, strict=True):
                    for b, B in zip(self.at, self.A, strict=True):
                        left = sum(A[c, e] * k[self.i[e], j] for e in others[0])
                        right = sum(B[d, f] * k[self.i[f], i] for f in others[1])
                        total[a, b] += fade * (1 - k[i, j]) * left * right
        return total * self.n / (self.n - self.lost)

    def repaired(self, meat):
        """Negative eigenvalues, scores scaled to unit length, are set to zero."""
        size = np.sqrt((self.s**2).sum(axis=0))
        values, vectors = np.linalg.eigh(meat / np.outer(size, size))
        return (vectors * values.clip(0.0)) @ vectors.T * np.outer(size, size)


def kernel_weights(d, cutoff, kernel):
    K = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            if d[i, j] <= cutoff:
                K[i, j] = 1.0 if kernel == "uniform" else 1.0 - d[i, j] / cutoff
    return K


def meats(twin, case):
    """(name, what to ask for, its meat) of every sandwich, factors written out."""
    n, lost = twin.n, twin.lost
    cells = case.mask.ravel()
    labels = {
        "entity": twin.i,
        "time": twin.t,
        "region": case.region.ravel()[cells],
        "spell": case.spell.ravel()[cells],
    }
    # constants that do not vary within a cluster cost nothing
    costs = {"entity": twin.periods_lost, "region": twin.periods_lost, "time": N, "spell": lost}

    def G(name):
        return np.unique(labels[name]).size

    yield "robust", "robust", twin.related(np.eye(n, dtype=bool)) * n / (n - lost)
    for name in labels:
        factor = max(G(name) / (G(name) - 1), n / (n - costs[name]))
        yield name, sa.Clustered(name), twin.clusters(labels[name]) * factor
    for one, two, cost in (("entity", "time", 0), ("region", "spell", twin.periods_lost)):
        both = labels[one] * 1000 + labels[two]
        total = twin.clusters(labels[one]) + twin.clusters(labels[two]) - twin.clusters(both)
        smallest = min(G(one), G(two))
        factor = max(smallest / (smallest - 1), n / (n - cost))
        yield f"{one} and {two}", sa.Clustered([one, two]), total * factor
    default = int(np.floor(4 * (T / 100) ** (2 / 9)))
    yield "Driscoll-Kraay", "driscoll-kraay", twin.driscoll_kraay(default)
    for lags in (0, 3):
        yield f"Driscoll-Kraay {lags}", sa.DriscollKraay(lags), twin.driscoll_kraay(lags)
    d = case.distances()
    table = pd.DataFrame(d, case.ids, case.ids)
    turned = table.iloc[::-1, np.random.default_rng(0).permutation(N)]
    for kernel, lags in (("bartlett", 0), ("uniform", 0), ("bartlett", 2), ("uniform", 1)):
        twin_meat = twin.conley(kernel_weights(d, 400.0, kernel), lags)
        options = {"kernel": kernel, "lags": lags}
        by_place = sa.Conley(400.0, coordinates=("lon", "lat"), **options)
        yield f"Conley, {kernel}, {lags} lags, places", by_place, twin_meat
        given = sa.Conley(400, distances=turned, **options)
        yield f"Conley, {kernel}, {lags} lags, distances", given, twin_meat
    d[0, 1] = d[1, 0] = 400.0  # the cutoff itself belongs to the uniform kernel
    d[2, 3] = d[3, 2] = 0.0  # two units in one place
    for kernel in ("uniform", "bartlett"):
        edge = sa.Conley(400.0, distances=pd.DataFrame(d, case.ids, case.ids), kernel=kernel)
        yield f"Conley, {kernel}, edges", edge, twin.conley(kernel_weights(d, 400.0, kernel), 0)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", MODELS)
def test_sandwiches_against_loops(small, matrices, model, effects, situation):
    case = Case(small, matrices, situation)
    fit = run(model, case.panel, case.W, effects=effects)
    twin = Twin(case, fit, model, effects)
    bread = fit.covariance
    check(bread, dense_family.observed_cov(fit.values, case.problem(model, effects)), 2e-4)
    repairs = []
    for name, cov, meat in meats(twin, case):
        found = fit.replace(cov=cov)
        np.testing.assert_array_equal(found.values, fit.values)
        check(found.covariance, bread @ twin.repaired(meat) @ bread, 1e-7, name)
        changed = np.abs(twin.repaired(meat) - meat).max() > 1e-8 * np.abs(meat).max()
        repairs.append(any("not positive semi-definite" in note for note in found.notes))
        assert repairs[-1] == changed
        if name == "robust":
            check(fit.replace(cov="opg").covariance, np.linalg.inv(meat), 1e-7)
    assert sum(repairs) < len(repairs) / 2


def check(covariance, twin, tolerance, name=""):
    """Compare in units of the standard errors of the twin."""
    scale = np.sqrt(np.outer(np.diag(twin), np.diag(twin)))
    np.testing.assert_allclose(covariance / scale, twin / scale, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("situation", ["balanced", "gaps"])
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("kind", ["direct", "not standardised"])
@pytest.mark.parametrize("model", ["sar", "sdm", "gns"])
def test_other_likelihoods_against_loops(small, matrices, model, kind, effects, situation):
    """Direct: scores have the means of all cells. Otherwise period effects are parameters."""
    case = Case(small, matrices, situation)
    options, adjusted = {"effects": effects}, "none"
    if kind == "direct":
        options["likelihood"] = "direct"
    else:
        if model == "gns" and effects == "two-way":
            pytest.skip("an error process with period effects needs row-standardised weights")
        case.stack = np.stack([matrices["unstandardised"]] * T)
        case.W = sa.SpatialWeights.from_dense(matrices["unstandardised"], case.ids)
        adjusted = "entity" if situation == "balanced" else effects
    fit = run(model, case.panel, case.W, **options)
    twin = Twin(case, fit, model, effects, adjusted)
    for name, cov, meat in meats(twin, case):
        twin_cov = fit.covariance @ twin.repaired(meat) @ fit.covariance
        check(fit.replace(cov=cov).covariance, twin_cov, 1e-7, name)


@pytest.mark.parametrize("effects", ["none", "time"])
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
def test_clusters_of_a_regression_with_other_effects(small, matrices, effects, likelihood):
    """Without rho: sums of scores, and the factor of the effects."""
    case = Case(small, matrices, "gaps")
    fit = run("ols", case.panel, None, effects=effects, likelihood=likelihood)
    found = fit.replace(cov="clustered").covariance[:-1, :-1]
    cells = case.mask.ravel()
    D = dummies(T, N, effects)[cells]
    D = np.ones((cells.sum(), 1)) if effects == "none" else D
    X = case.X.reshape(T * N, 2)[cells]
    X = X - D @ np.linalg.pinv(D) @ X if effects == "time" else np.hstack([D, X])
    unit = np.tile(np.arange(N), T)[cells]
    e = fit.resid[case.mask]
    sums = np.array([(X * e[:, None])[unit == i].sum(axis=0) for i in range(N)])
    bread = np.linalg.inv(X.T @ X)
    n = cells.sum()
    factor = max(N / (N - 1), n / (n - T) if effects == "time" else 1.0)
    check(found, bread @ sums.T @ sums @ bread * factor, 1e-9)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_regressions_of_linearmodels(cigarettes, effects):
    """The same sandwiches, but for the small-sample factors, which are written out."""
    linearmodels = pytest.importorskip("linearmodels")
    ours = sa.ols("logc ~ logp + logy", cigarettes, effects=effects)
    frame = cigarettes.frame
    model = linearmodels.PanelOLS(
        frame["logc"],
        frame[["logp", "logy"]],
        entity_effects=True,
        time_effects=effects == "two-way",
    )
    periods, units = 30, 46
    n = periods * units
    entity, time = periods / (periods - 1), units / (units - 1)
    K = np.clip(1 - np.abs(np.subtract.outer(np.arange(30), np.arange(30))) / 4, 0, None)
    alone = {"debiased": False, "auto_df": False, "count_effects": False}
    options = {
        "robust": ({"cov_type": "robust"}, entity * (time if effects == "two-way" else 1.0)),
        sa.Clustered("entity"): (
            {"cov_type": "clustered", "cluster_entity": True, "group_debias": False},
            units / (units - 1) if effects == "entity" else max(time, n / (n - periods)),
        ),
        sa.Clustered("time"): (
            {"cov_type": "clustered", "cluster_time": True, "group_debias": False},
            max(periods / (periods - 1), n / (n - units)),
        ),
        sa.Clustered(["entity", "time"]): (
            {
                "cov_type": "clustered",
                "cluster_entity": True,
                "cluster_time": True,
                "group_debias": False,
            },
            periods / (periods - 1),
        ),
        sa.DriscollKraay(3): (
            {"cov_type": "kernel", "kernel": "bartlett", "bandwidth": 3},
            max(30 / (30 - K.sum() / 30), n / (n - units)),
        ),
    }
    for cov, (theirs, factor) in options.items():
        found = ours.replace(cov=cov).cov.loc[["logp", "logy"], ["logp", "logy"]]
        twin = model.fit(**theirs, **alone).cov * factor
        check(found.to_numpy(), twin.to_numpy(), 1e-8, str(cov))


# --- bootstrap --------------------------------------------------------------------------------


def resampled_outcome(case, fit, signs):
    """y*_t = y_t + S^-1 B^-1 (v* - v)_t with explicit inverses, period by period."""
    y = case.y.copy()
    change = np.nan_to_num(fit.resid) * (np.sqrt(N / (N - 1)) * signs - 1.0)
    rho, lam = fit.rho or 0.0, fit.lam or 0.0
    blocks = dense_unbalanced.cut(case.stack, case.mask)
    for t, W in enumerate(blocks):
        here, one = case.mask[t], np.eye(len(W))
        inverse = np.linalg.inv(one - rho * W) @ np.linalg.inv(one - lam * W)
        y[t, here] += inverse @ change[t, here]
    return y


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("effects", ["none", "entity", "two-way"])
@pytest.mark.parametrize("model", ["ols", *MODELS])
def test_bootstrap_is_estimation_on_resampled_outcomes(small, matrices, model, effects, situation):
    """Every resample as a panel of its own, through the front door."""
    case = Case(small, matrices, situation)
    fit = run(model, case.panel, case.W, effects=effects)
    found = fit.replace(cov=sa.Bootstrap(draws=6, seed=3))
    signs = wild_weights(N, 6, np.random.default_rng(3))
    draws = []
    for row in signs:
        frame = case.frame.drop(columns="y").merge(
            pd.DataFrame(
                {
                    "id": np.tile(case.ids, T),
                    "t": np.repeat(np.arange(FIRST, FIRST + T), N),
                    "y": resampled_outcome(case, fit, row).ravel(),
                }
            )
        )
        panel = sa.Panel(frame, entity="id", time="t", unbalanced=case.panel.unbalanced)
        try:
            draws.append(run(model, panel, case.W, effects=effects).values)
        except sa.errors.BoundaryError:
            continue
    draws = np.array(draws)
    np.testing.assert_allclose(found.details["draws"], draws, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        found.covariance[:-1, :-1], np.cov(draws.T)[:-1, :-1], rtol=1e-5, atol=1e-9
    )
    np.testing.assert_array_equal(found.values, fit.values)
    assert np.isnan(found.std_errors["sigma2"])
    assert any("no standard error of sigma2" in note for note in found.notes)
    left = [note for note in found.notes if "are left out" in note]
    assert bool(left) == (len(draws) < 6)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_bootstrap_against_a_dense_estimator(small, matrices, model, effects):
    """The same, estimated by a brute force that shares no code with the package."""
    case = Case(small, matrices, "balanced")
    fit = run(model, case.panel, case.W, effects=effects, cov=sa.Bootstrap(draws=2, seed=1))
    signs = wild_weights(N, 2, np.random.default_rng(1))
    for row, draw in zip(signs, fit.details["draws"], strict=True):
        y = resampled_outcome(case, fit, row)
        W = case.stack[0]
        problem = dense_family.problem(y, case.X, W, model, effects, "transformed")
        np.testing.assert_allclose(draw, dense_family.fit(problem)["params"], rtol=1e-5, atol=1e-6)


def test_bootstrap_is_seeded_and_the_same_in_parallel(cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    one, again, two, other = (
        fit.replace(cov=sa.Bootstrap(draws=12, seed=seed, n_jobs=n_jobs))
        for seed, n_jobs in ((5, 1), (5, 1), (5, 2), (6, 1))
    )
    np.testing.assert_array_equal(one.details["draws"], again.details["draws"])
    np.testing.assert_allclose(one.details["draws"], two.details["draws"], rtol=1e-12)
    np.testing.assert_allclose(one.cov.iloc[:-1, :-1], two.cov.iloc[:-1, :-1], rtol=1e-10)
    assert np.abs(one.details["draws"] - other.details["draws"]).max() > 1e-3


def test_bootstrap_shows_its_progress_when_it_takes_long(cigarettes, queen, monkeypatch, capsys):
    options = {"cov": sa.Bootstrap(draws=30)}
    assert core_bootstrap.PATIENCE == 2.0
    sa.ols("logc ~ logp", cigarettes, **options)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(core_bootstrap, "PATIENCE", 0.0)
    sa.ols("logc ~ logp", cigarettes, **options)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "bootstrap" in shown.err


def test_bootstrap_says_how_many_failed(small, matrices):
    """A resample without an interior maximum is left out, counted and reported."""
    case = Case(small, matrices, "balanced", seed=10)
    fit = run("gns", case.panel, case.W, effects="two-way", cov=sa.Bootstrap(draws=40))
    failed = 40 - len(fit.details["draws"])
    assert 0 < failed < 20
    left = [note for note in fit.notes if "are left out" in note]
    assert left == [f"the estimation failed on {failed} of 40 resamples, which are left out"]
    assert np.isfinite(fit.covariance[:-1, :-1]).all()


# --- available everywhere ---------------------------------------------------------------------


def every(case):
    table = pd.DataFrame(case.distances(), case.ids, case.ids)
    return {
        "observed": "observed",
        "expected": "expected",
        "opg": "opg",
        "robust": "robust",
        "entity": "clustered",
        "time": sa.Clustered("time"),
        "column": sa.Clustered("region"),
        "two ways": sa.Clustered(["entity", "time"]),
        "two columns": sa.Clustered(["region", "spell"]),
        "Driscoll-Kraay": "driscoll-kraay",
        "Driscoll-Kraay 1": sa.DriscollKraay(1),
        "Conley": sa.Conley(400.0, coordinates=("lon", "lat")),
        "Conley distances": sa.Conley(300.0, distances=table, kernel="uniform", lags=1),
        "bootstrap": sa.Bootstrap(draws=25, seed=2),
    }


@pytest.mark.parametrize("situation", SITUATIONS)
def test_wald_impacts_and_pickles(small, matrices, situation):
    """Every covariance reaches tests and impacts, by its own numbers."""
    case = Case(small, matrices, situation)
    fit = run("sdm", case.panel, case.W, effects="entity")
    seen = []
    for name, cov in every(case).items():
        found = fit.replace(cov=cov)
        V = found.cov.iloc[:-1, :-1].to_numpy()
        assert np.isfinite(V).all(), name
        seen.append(V[0, 0])
        theta = found.values[2:4]
        wald = sa.wald_tests(found)["statistic"]
        twin = theta @ np.linalg.solve(V[2:4, 2:4], theta)
        assert wald.iloc[0] == pytest.approx(twin), name
        R = np.zeros((2, 5))
        R[:, 2:4] = np.eye(2)
        R[:, :2] = found.rho * np.eye(2)
        R[:, 4] = found.values[:2]
        restriction = theta + found.rho * found.values[:2]
        twin = restriction @ np.linalg.solve(R @ V @ R.T, restriction)
        assert wald.iloc[1] == pytest.approx(twin), name
        delta = found.impacts()
        drawn = found.impacts(method="simulation", draws=50, seed=1)
        assert np.isfinite(delta.se).all(), name
        assert np.isfinite(drawn.se).all(), name
        np.testing.assert_allclose(delta.estimate, fit.impacts().estimate, rtol=1e-12)
        # the variance of the total effect of x1, with its derivatives by finite differences
        step = 1e-6 * np.eye(5)
        slopes = [
            (total(case, found.values[:5] + h) - total(case, found.values[:5] - h)) / 2e-6
            for h in step
        ]
        assert delta.se[2, 0] ** 2 == pytest.approx(slopes @ V @ np.array(slopes), rel=1e-5), name
        copy = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(copy.covariance, found.covariance)
        np.testing.assert_allclose(copy.replace(cov=cov).covariance, found.covariance, rtol=1e-10)
        assert sa.wald_tests(copy)["statistic"].tolist() == wald.tolist()
    assert len(np.unique(np.round(seen, 14))) >= len(seen) - 1


def total(case, values):
    """Mean over cells of the row sums of S^-1 (beta_1 I + theta_1 W)."""
    out = 0.0
    for W in dense_unbalanced.cut(case.stack, case.mask):
        one = np.eye(len(W))
        out += (np.linalg.inv(one - values[4] * W) @ (values[0] * one + values[2] * W)).sum()
    return out / case.mask.sum()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_order_of_rows_and_names_of_units_change_nothing(small, matrices, effects, situation):
    """Rows shuffled, weights in another order, units renamed so that they sort differently."""
    case = Case(small, matrices, situation)
    fit = run("sdm", case.panel, case.W, effects=effects)
    rng = np.random.default_rng(4)
    names = dict(zip(case.ids, [f"n{k:02d}" for k in rng.permutation(N)], strict=True))
    other = Case(small, matrices, situation)
    order = rng.permutation(N)

    def renamed(W):
        ids = [names[unit] for unit in W.ids[order]]
        return sa.SpatialWeights.from_sparse(W.matrix[order][:, order], ids)

    W = case.W
    if situation == "changing W":
        W = sa.weights.PanelWeights({period: renamed(W[period]) for period in case.panel.times})
    else:
        W = renamed(W)
    frame = case.frame.assign(id=case.frame["id"].map(names)).sample(frac=1.0, random_state=9)
    panel = sa.Panel(frame, entity="id", time="t", unbalanced=case.panel.unbalanced)
    again = run("sdm", panel, W, effects=effects)
    shuffled = run(
        "sdm",
        sa.Panel(
            case.frame.sample(frac=1.0, random_state=5),
            entity="id",
            time="t",
            unbalanced=case.panel.unbalanced,
        ),
        case.W,
        effects=effects,
    )
    other.ids = pd.Index([names[unit] for unit in case.ids])
    for (name, cov), renamed_cov in zip(every(case).items(), every(other).values(), strict=True):
        one = fit.replace(cov=cov).covariance[:-1, :-1]
        check(shuffled.replace(cov=cov).covariance[:-1, :-1], one, 1e-8, name)
        if name != "bootstrap":  # signs are drawn in the order of the names
            check(again.replace(cov=renamed_cov).covariance[:-1, :-1], one, 1e-8, name)


# --- rules ------------------------------------------------------------------------------------


def with_column(case, name, values):
    frame = case.frame.copy()
    frame[name] = values(frame)
    return sa.Panel(frame, entity="id", time="t", unbalanced=case.panel.unbalanced)


def test_clusters_that_cannot_be_used(small, matrices):
    case = Case(small, matrices, "balanced")
    fit = run("sar", case.panel, case.W, effects="entity")
    with pytest.raises(OptionError, match=r"by='province'.*'entity', 'time', or one of 'y', 'x1'"):
        fit.replace(cov=sa.Clustered("province"))
    panel = with_column(case, "all", lambda frame: "here")
    with pytest.raises(OptionError, match="in one cluster; at least two"):
        fit.replace(panel=panel, cov=sa.Clustered("all"))
    panel = with_column(
        case, "some", lambda f: f["region"].where(f["t"] + (f["id"] == "u03") < 2005)
    )
    with pytest.raises(DataError, match=r"'some' is missing at \('u03', 2004\).*complete"):
        fit.replace(panel=panel, cov=sa.Clustered("some"))
    for by in ([], ["entity", "time", "region"], ["time", "time"], [["entity"]]):
        with pytest.raises(OptionError, match="one or two different columns"):
            sa.Clustered(by)
    assert sa.Clustered(("region",)).by == ("region",)


def test_a_cell_that_is_not_used_needs_no_cluster_and_no_place(small, matrices):
    """A row without an outcome may lack its cluster, and its unit's coordinates there."""
    case = Case(small, matrices, "balanced")
    gone = (case.frame["t"] == 2002) & (case.frame["id"] == "u05")
    cut = sa.Panel(case.frame[~gone], entity="id", time="t", unbalanced="allow")
    frame = case.frame.copy()
    frame.loc[gone, ["y", "lon"]] = np.nan
    frame.loc[gone, "region"] = None
    kept = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    for cov in (sa.Clustered("region"), sa.Conley(300.0, coordinates=("lon", "lat"))):
        one, two = (run("sar", panel, case.W, effects="entity", cov=cov) for panel in (cut, kept))
        np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cutoff": 0.0, "coordinates": ("lon", "lat")}, "cutoff=0.0 must be a distance above 0"),
        ({"cutoff": -3, "coordinates": ("lon", "lat")}, "above 0"),
        ({"cutoff": np.inf, "coordinates": ("lon", "lat")}, "above 0"),
        ({"cutoff": "100 km", "coordinates": ("lon", "lat")}, "above 0"),
        ({"cutoff": True, "coordinates": ("lon", "lat")}, "above 0"),
        ({"cutoff": 100.0}, "one of the two"),
        ({"cutoff": 100.0, "coordinates": ("lon", "lat"), "distances": 1}, "one of the two"),
        ({"cutoff": 100.0, "coordinates": "lon"}, "names of two columns"),
        ({"cutoff": 100.0, "coordinates": ("lon", "lat", "t")}, "names of two columns"),
        ({"cutoff": 9.0, "coordinates": ("lon", "lat"), "kernel": "flat"}, "'bartlett', 'uniform'"),
        ({"cutoff": 9.0, "coordinates": ("lon", "lat"), "lags": -1}, "lags=-1"),
        ({"cutoff": 9.0, "coordinates": ("lon", "lat"), "lags": 1.5}, "lags=1.5"),
    ],
)
def test_conley_options(options, match):
    with pytest.raises(OptionError, match=match):
        sa.Conley(**options)


def test_numbers_of_numpy_are_numbers():
    assert sa.Conley(np.int64(3), coordinates=["lon", "lat"], lags=np.int64(1)).lags == 1
    assert sa.Bootstrap(draws=np.int64(20)).draws == 20
    assert sa.DriscollKraay(np.int32(2)).lags == 2


def test_coordinates_that_cannot_be_used(small, matrices):
    case = Case(small, matrices, "balanced")
    fit = run("sar", case.panel, case.W, effects="entity")

    def conley(panel, *names):
        return fit.replace(panel=panel, cov=sa.Conley(300.0, coordinates=names))

    with pytest.raises(DataError, match="no column 'longitude'"):
        conley(case.panel, "longitude", "lat")
    with pytest.raises(DataError, match="'region' is not numeric"):
        conley(case.panel, "region", "lat")
    panel = with_column(case, "lon", lambda f: f["lon"] + (f["t"] == 2003) * (f["id"] == "u07"))
    with pytest.raises(DataError, match="must not change over time; 'lon' does in 'u07'"):
        conley(panel, "lon", "lat")
    with pytest.raises(DataError, match="no valid longitude and latitude.*swapped"):
        conley(case.panel, "lat", "lon")
    frame = case.frame.copy()
    frame.loc[frame["id"] == "u04", "lat"] = np.nan
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(DataError, match="no valid longitude and latitude in degrees: 'u04'"):
        conley(panel, "lon", "lat")


def test_distances_that_cannot_be_used(small, matrices):
    case = Case(small, matrices, "balanced")
    fit = run("sar", case.panel, case.W, effects="entity")
    table = pd.DataFrame(case.distances(), case.ids, case.ids)

    def conley(distances):
        return fit.replace(cov=sa.Conley(300.0, distances=distances))

    good = conley(table).covariance
    with pytest.raises(OptionError, match="labelled DataFrame.*got ndarray"):
        conley(table.to_numpy())
    with pytest.raises(AlignmentError, match="lack the unit\\(s\\) 'u03'"):
        conley(table.drop(index="u03"))
    with pytest.raises(AlignmentError, match="lack the unit\\(s\\) 'u02', 'u03'"):
        conley(table.drop(index="u03", columns="u02"))
    with pytest.raises(AlignmentError, match="rows of the distances name 'u00' more than once"):
        conley(pd.concat([table, table.iloc[:1]]))
    one_way = table.copy()
    one_way.loc["u01", "u06"] *= 1.5
    with pytest.raises(DataError, match="same in both directions; from 'u01' to 'u06'"):
        conley(one_way)
    one_way.loc["u01", "u06"] = np.inf
    with pytest.raises(DataError, match="from 'u01' to 'u06' it is inf"):
        conley(one_way)
    for value, what in ((np.nan, "missing"), (-1.0, "negative")):
        bad = table.copy()
        bad.loc["u01", "u06"] = bad.loc["u06", "u01"] = value
        with pytest.raises(sa.errors.WeightsError, match=f"{what}.*'u01', 'u06'"):
            conley(bad)
    away = table.copy()
    away.loc["u02", "u02"] = 1.0
    with pytest.raises(sa.errors.WeightsError, match="to itself must be zero"):
        conley(away)
    # units of no account may stand in the table, and Distances of the package will do
    more = table.reindex(index=[*case.ids, "x"], columns=["x", *case.ids])
    np.testing.assert_array_equal(conley(more).covariance, good)
    places = pd.DataFrame(case.place, case.ids, ["lon", "lat"]).sample(frac=1.0, random_state=1)
    prepared = sa.weights.distances(places, longitude="lon", latitude="lat")
    np.testing.assert_allclose(conley(prepared).covariance, good, rtol=1e-9)
    given = sa.weights.given_distances(table.iloc[::-1, ::-1])
    np.testing.assert_array_equal(conley(given).covariance, good)
    with pytest.raises(AlignmentError, match="lack the unit\\(s\\) 'u05'"):
        conley(sa.weights.distances(places.drop("u05"), longitude="lon", latitude="lat"))


def test_lags_that_cannot_be_used(small, matrices):
    case = Case(small, matrices, "balanced")
    fit = run("sar", case.panel, case.W, effects="entity")
    for cov in (sa.DriscollKraay(T), sa.Conley(300.0, coordinates=("lon", "lat"), lags=T)):
        with pytest.raises(OptionError, match=f"lags={T}.*from 0 to T - 1 = {T - 1}"):
            fit.replace(cov=cov)
    for lags in (-1, 2.0, "2", True):
        with pytest.raises(OptionError, match="whole number of periods"):
            sa.DriscollKraay(lags)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"draws": 1}, "draws=1 must be a whole number of at least 2"),
        ({"draws": 10.5}, "draws=10.5"),
        ({"n_jobs": 0}, "n_jobs=0 must be 1 or more"),
        ({"n_jobs": "all"}, "n_jobs='all'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": "a"}, "seed='a'"),
    ],
)
def test_bootstrap_options(options, match):
    with pytest.raises(OptionError, match=match):
        sa.Bootstrap(**options)


def test_where_the_bootstrap_is_not_available(cigarettes, queen):
    formula = "logc ~ logp + logy"
    for likelihood in ("direct-demeaned", "corrected"):
        with pytest.raises(OptionError, match="likelihood='transformed' or 'direct'"):
            sa.sdm(formula, cigarettes, queen, likelihood=likelihood, cov="bootstrap")
    with pytest.raises(OptionError, match="random effects"):
        sa.sdm(formula, cigarettes, queen, effects="random", cov="bootstrap")


def test_names_of_covariances(cigarettes, queen):
    with pytest.raises(OptionError, match="cov='conley' needs distances"):
        sa.sar("logc ~ logp", cigarettes, queen, cov="conley")
    with pytest.raises(OptionError, match="'observed', 'expected', 'opg', 'robust', 'clustered'"):
        sa.sar("logc ~ logp", cigarettes, queen, cov="hac")
    assert sa.sar("logc ~ logp", cigarettes, queen, cov=sa.DriscollKraay()).notes[0] == (
        "Driscoll-Kraay with 3 lags"
    )


def test_more_restrictions_than_the_covariance_can_carry(small, matrices):
    case = Case(small, matrices, "balanced")
    few = with_column(case, "half", lambda f: f["id"] < "u06")
    for cov in (sa.Clustered("half"), sa.Bootstrap(draws=2)):
        fit = run("sdm", few, case.W, effects="entity", cov=cov)
        with pytest.raises(IdentificationError, match="2 restrictions.*fewer restrictions"):
            sa.wald_tests(fit)
