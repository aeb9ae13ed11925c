"""Every covariance of the likelihood estimators: explicit loops, other libraries, rules."""

import dense_family
import dense_unbalanced
import numpy as np
import pandas as pd
import pytest
from dense import dummies, weights_cases
from scipy.linalg import block_diag

import spatial_agglo as sa

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
    """Scores, innovations and couplings on the stacked observed cells, by explicit matrices."""

    def __init__(self, case, fit, model, effects):
        cells = case.mask.ravel()
        blocks = dense_unbalanced.cut(case.stack, case.mask)
        self.t, self.i = (a.ravel()[cells] for a in np.mgrid[:T, :N])
        n = int(cells.sum())
        W, one = block_diag(*blocks), np.eye(n)
        D = dummies(T, N, effects)[cells]
        Q = one - D @ np.linalg.pinv(D)
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
            columns.append((lagged * v / s2 - np.diag(Q @ H))[:, None])
        columns.append(((v**2 / s2 - np.diag(Q)) / (2 * s2))[:, None])
        self.s = np.hstack(columns)
        size = np.sqrt((self.s**2).sum(axis=0))
        np.testing.assert_allclose(self.s.sum(axis=0) / size, 0.0, atol=1e-6)
        self.at = list(range(Z.shape[1], Z.shape[1] + len(coupled)))
        same = self.t[:, None] == self.t
        J = one - same / same.sum(axis=1) if effects == "two-way" else one
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
        return total * max(T / (T - k), self.n / (self.n - self.units_lost))

    @property
    def units_lost(self):
        """Constants that vary within a period: those of the units."""
        return N

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
    edge = sa.Conley(400.0, distances=pd.DataFrame(d, case.ids, case.ids), kernel="uniform")
    yield "Conley, edge", edge, twin.conley(kernel_weights(d, 400.0, "uniform"), 0)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", MODELS)
def test_sandwiches_against_loops(small, matrices, model, effects, situation):
    case = Case(small, matrices, situation)
    fit = run(model, case.panel, case.W, effects=effects)
    twin = Twin(case, fit, model, effects)
    bread = dense_family.observed_cov(fit.values, case.problem(model, effects))
    some = 0
    for name, cov, meat in meats(twin, case):
        V = bread @ twin.repaired(meat) @ bread
        found = fit.replace(cov=cov)
        np.testing.assert_array_equal(found.values, fit.values)
        scale = np.sqrt(np.outer(np.diag(V), np.diag(V)))
        np.testing.assert_allclose(found.covariance / scale, V / scale, atol=2e-4, err_msg=name)
        repaired = any("not positive semi-definite" in note for note in found.notes)
        assert repaired == (np.abs(twin.repaired(meat) - meat).max() > 1e-8 * np.abs(meat).max())
        some += repaired
        if name == "robust":
            inverse = np.linalg.inv(meat)
            scale = np.sqrt(np.outer(np.diag(inverse), np.diag(inverse)))
            found = fit.replace(cov="opg").covariance
            np.testing.assert_allclose(found / scale, inverse / scale, rtol=0, atol=1e-7)
    assert some < 12
