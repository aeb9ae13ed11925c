"""Meats against loops over all pairs of cells, special cases, permutations and simulation."""

import itertools

import numpy as np
import pytest
from scipy import optimize, sparse

from spatial_agglo.core import bootstrap, mutual
from spatial_agglo.core import meat as module
from spatial_agglo.core.kernels import (
    Clustered,
    Conley,
    DriscollKraay,
    Robust,
    TwoWayClustered,
    bartlett,
    default_lags,
    entity_labels,
    time_labels,
)
from spatial_agglo.core.meat import meat, opg
from spatial_agglo.core.mutual import Couplings, mutual_clusters, mutual_conley
from spatial_agglo.errors import DataError, IdentificationError, OptionError

T, N, P = 4, 5, 5
AT = (2, 3)  # positions of rho and lambda
SIGMA2 = 1.7


class Case:
    """Scores, innovations and two coupling matrices, constant or changing over time."""

    def __init__(self, *, changing=False, missing=False, seed=0, periods=T, units=N):
        rng = np.random.default_rng(seed)
        self.seen = np.ones((periods, units), dtype=bool)
        if missing:
            self.seen[0, 1] = self.seen[2, 0] = self.seen[3, :2] = False
        self.s = rng.normal(size=(periods, units, P)) * self.seen[:, :, None]
        self.v = rng.normal(size=(periods, units)) * self.seen
        H = rng.normal(size=(periods if changing else 1, 2, units, units))
        self.H = np.broadcast_to(H, (periods, 2, units, units))
        self.couplings = Couplings.dense(H if changing else H[0], AT, SIGMA2)
        self.region = np.broadcast_to(np.arange(units) // 2, (periods, units))

    def meat(self, kernel, **options):
        return meat(kernel, self.s, self.v, self.couplings, observed=self.seen, **options)


def cells(case):
    return [(t, i) for t, i in zip(*np.nonzero(case.seen), strict=True)]


def by_loops(case, labels):
    """Clusters, pair by pair: outer products within, products of two covariances between."""
    total = np.zeros((P, P))
    v, H = case.v, case.H
    for c, d in itertools.product(cells(case), repeat=2):
        if labels[c] == labels[d]:
            total += np.outer(case.s[c], case.s[d])
            continue
        for e, f in itertools.product(cells(case), repeat=2):
            same = e[0] == c[0] and f[0] == d[0]  # H links units of one period
            if same and labels[e] == labels[d] and labels[f] == labels[c]:
                four = v[c] * v[e] * v[d] * v[f] / SIGMA2**2
                for a, b in itertools.product(range(2), repeat=2):
                    hh = H[c[0], a, c[1], e[1]] * H[d[0], b, d[1], f[1]]
                    total[AT[a], AT[b]] += hh * four
    return total


def conley_by_loops(case, K, lags, lagged):
    total = np.zeros((P, P))
    v, H, units = case.v, case.H, range(case.v.shape[1])
    for (t, i), (s, j) in itertools.product(cells(case), repeat=2):
        fade = max(0.0, 1 - abs(t - s) / (lags + 1))
        kernel = np.eye(len(units)) if lagged == "own" and t != s else K
        total += fade * kernel[i, j] * np.outer(case.s[t, i], case.s[s, j])
        for a, b in itertools.product(range(2), repeat=2):
            left = sum(v[t, i] * H[t, a, i, e] * v[t, e] * kernel[e, j] for e in units if e != i)
            right = sum(v[s, j] * H[s, b, j, f] * v[s, f] * kernel[f, i] for f in units if f != j)
            total[AT[a], AT[b]] += fade * (1 - kernel[i, j]) * left * right / SIGMA2**2
    return total


def labellings():
    own = np.arange(T * N).reshape(T, N)
    region = np.broadcast_to(np.arange(N) // 2, (T, N))
    general = np.random.default_rng(4).integers(0, 6, size=(T, N))
    spells = np.broadcast_to(np.arange(N), (T, N)) + N * (np.arange(T)[:, None] // 2)
    moved = np.array(entity_labels(T, N))
    moved[2:, 0] = 1  # unit 0 joins unit 1's cluster
    return {
        "own": own,
        "entity": entity_labels(T, N),
        "time": time_labels(T, N),
        "region": region,
        "region-period": region + 10 * np.arange(T)[:, None],
        "spells": spells,
        "moved": moved,
        "general": general,
    }


SITUATIONS = [
    pytest.param({"changing": changing, "missing": missing}, id=f"{name}-{cover}")
    for changing, name in ((False, "one W"), (True, "W by period"))
    for missing, cover in ((False, "balanced"), (True, "unbalanced"))
]


@pytest.fixture
def unrepaired(monkeypatch):
    """Leave negative eigenvalues of made-up numbers as they are; the repair is tested apart."""
    monkeypatch.setattr(module, "NEGATIVE", np.inf)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", labellings())
def test_clusters_against_loops(unrepaired, situation, name):
    case, labels = Case(**situation), labellings()[name]
    found = case.meat(Clustered(labels))
    np.testing.assert_allclose(
        found.matrix, by_loops(case, labels) * found.factor, rtol=1e-9, atol=1e-9
    )
    G = np.unique(labels[case.seen]).size
    assert (found.clusters, found.factor) == (G, G / (G - 1))
    assert bool(found.notes) == (G <= P)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_robust_against_loops(unrepaired, situation):
    case = Case(**situation)
    found = case.meat(Robust())
    np.testing.assert_allclose(found.matrix, by_loops(case, labellings()["own"]), rtol=1e-9)
    assert (found.factor, found.clusters, found.notes) == (1.0, None, ())


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("pair", [("entity", "time"), ("region", "time"), ("general", "spells")])
def test_two_ways_against_loops(unrepaired, situation, pair):
    case = Case(**situation)
    one, two = (labellings()[name] for name in pair)
    twin = by_loops(case, one) + by_loops(case, two) - by_loops(case, one * 1000 + two)
    found = case.meat(TwoWayClustered(one, two))
    np.testing.assert_allclose(found.matrix, twin * found.factor, rtol=1e-9, atol=1e-9)
    G = min(np.unique(one[case.seen]).size, np.unique(two[case.seen]).size)
    assert (found.clusters, found.factor) == (G, G / (G - 1))


def of_zero_sums(lags, periods=T):
    """What makes ``sum k_ts g_t g_s`` unbiased for independent g, less their mean."""
    K = np.zeros((periods, periods))
    for t, s in itertools.product(range(periods), repeat=2):
        K[t, s] = max(0, 1 - abs(t - s) / (lags + 1))
    less_mean = np.eye(periods) - 1 / periods
    return np.trace(K) / np.trace(K @ less_mean)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("lags", [0, 2])
def test_driscoll_kraay_against_loops(unrepaired, situation, lags):
    """All pairs of units are in the sums of the periods: nothing is added for rho."""
    case = Case(**situation)
    twin = np.zeros((P, P))
    for c, d in itertools.product(cells(case), repeat=2):
        twin += max(0, 1 - abs(c[0] - d[0]) / (lags + 1)) * np.outer(case.s[c], case.s[d])
    found = case.meat(DriscollKraay(lags))
    np.testing.assert_allclose(found.matrix, twin * of_zero_sums(lags), rtol=1e-9, atol=1e-9)
    assert found.clusters == T
    assert f"{lags} lags" in found.notes[0]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("lagged", ["neighbours", "own"])
@pytest.mark.parametrize("lags", [0, 2])
@pytest.mark.parametrize("kernel", ["uniform", "bartlett"])
def test_conley_against_loops(unrepaired, situation, kernel, lags, lagged):
    case = Case(**situation)
    place = np.random.default_rng(1).uniform(size=(N, 2))
    d = np.sqrt(((place[:, None] - place) ** 2).sum(axis=2))
    chosen = Conley.within(d, 0.5, kernel=kernel, lags=lags, lagged=lagged)
    K = np.zeros((N, N))
    for i, j in itertools.product(range(N), repeat=2):
        if d[i, j] <= 0.5:
            K[i, j] = 1.0 if kernel == "uniform" else 1 - d[i, j] / 0.5
    assert 0 < (K > 0).sum() - N < N * N - N
    twin = conley_by_loops(case, K, lags, lagged)
    np.testing.assert_allclose(case.meat(chosen).matrix, twin, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", ["uniform", "bartlett"])
def test_distances_may_be_sparse(kernel):
    """Pairs that are not stored are beyond the cutoff; the diagonal need not be stored."""
    place = np.random.default_rng(1).uniform(size=(N, 2))
    d = np.sqrt(((place[:, None] - place) ** 2).sum(axis=2))
    near = sparse.csr_array(np.where(d <= 0.6, d, 0.0))
    dense, stored = (Conley.within(x, 0.5, kernel=kernel).K.toarray() for x in (d, near))
    np.testing.assert_array_equal(stored, dense)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_kernels_that_must_agree(unrepaired, situation):
    case = Case(**situation)

    def core(kernel):
        found = case.meat(kernel)
        return found.matrix / found.factor

    names = labellings()
    alone, ones = np.eye(N), np.ones((N, N))
    robust, entity = core(Robust()), core(Clustered(names["entity"]))
    region = case.region[0]
    same = {
        "own cells": (core(Clustered(names["own"])), robust),
        "tiny cutoff": (core(Conley(alone)), robust),
        "no lag": (core(DriscollKraay(0)), core(Clustered(names["time"]))),
        "all near": (core(Conley(ones, lags=2)), core(DriscollKraay(2))),
        "regions": (
            core(Conley((region[:, None] == region) * 1.0)),
            core(Clustered(names["region-period"])),
        ),
        "one way twice": (core(TwoWayClustered(names["entity"], names["entity"])), entity),
        "nested": (
            core(TwoWayClustered(names["region"], names["entity"])),
            core(Clustered(case.region)),
        ),
        "own lags": (core(Conley(alone, lags=2, lagged="own")), core(Conley(alone, lags=2))),
    }
    for name, (one, two) in same.items():
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9, err_msg=name)
    assert np.abs(robust - entity).max() > 1e-3


def test_long_bartlett_windows_approach_clusters_by_entity(unrepaired):
    """With T fixed and ever more weight on all lags, the kernel of a unit is its cluster."""
    case = Case()
    wide = bartlett(T, 10**9)
    np.testing.assert_allclose(wide, 1.0, atol=1e-8)
    K = sparse.csr_array(np.eye(N))
    near = mutual_conley(K, 10**9, "neighbours", case.v, case.couplings)
    entity = mutual_clusters(np.array(entity_labels(T, N)), case.v, case.couplings)
    np.testing.assert_allclose(near, entity, rtol=1e-6)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_order_of_units_is_irrelevant(situation):
    case = Case(**situation)
    order = np.random.default_rng(3).permutation(N)
    H = case.H[:, :, order][:, :, :, order]
    turned = Couplings.dense(H, AT, SIGMA2)
    place = np.random.default_rng(1).uniform(size=(N, 2))
    d = np.sqrt(((place[:, None] - place) ** 2).sum(axis=2))
    names = labellings()
    kernels = [
        (Robust(), Robust()),
        (Clustered(names["general"]), Clustered(names["general"][:, order])),
        (DriscollKraay(), DriscollKraay()),
        (Conley.within(d, 0.5, lags=1), Conley.within(d[order][:, order], 0.5, lags=1)),
        (
            TwoWayClustered(names["entity"], names["time"]),
            TwoWayClustered(names["entity"][:, order], names["time"]),
        ),
    ]
    for kernel, other in kernels:
        ours = meat(other, case.s[:, order], case.v[:, order], turned, observed=case.seen[:, order])
        np.testing.assert_allclose(ours.matrix, case.meat(kernel).matrix, rtol=1e-8, atol=1e-8)


def test_blocks_of_units_add_up(unrepaired):
    """Blocks of any width give what one dense block gives, for every kernel."""
    case = Case()
    H = case.H[0]

    def pieces():
        for start in range(0, N, 2):
            block = slice(start, min(start + 2, N))
            yield block, [h[:, block] for h in H], [h[block].T for h in H]

    blocks = Couplings(AT, SIGMA2, (pieces,))
    names = labellings()
    for kernel in (
        Robust(),
        *(Clustered(labels) for labels in names.values()),
        TwoWayClustered(names["entity"], names["time"]),
        Conley((names["region"][0][:, None] == names["region"][0]) * 1.0, lags=1),
    ):
        ours = meat(kernel, case.s, case.v, blocks)
        np.testing.assert_allclose(ours.matrix, case.meat(kernel).matrix, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
def test_small_sample_factors(effects):
    """They return what demeaning takes from the sum of squares of independent errors."""
    case = Case()
    entity = T / (T - 1) if effects in ("entity", "two-way") else 1.0
    time = N / (N - 1) if effects in ("time", "two-way") else 1.0
    names = labellings()
    near = Conley(np.eye(N))
    expected = {
        Robust(): entity * time,
        near: entity * time,
        Clustered(names["entity"]): N / (N - 1),
        Clustered(names["time"]): T / (T - 1),
        DriscollKraay(0): T / (T - 1),
        DriscollKraay(1): of_zero_sums(1),
        Clustered(names["own"]): max(entity * time, T * N / (T * N - 1)),
        Clustered(names["region-period"]): max(entity * time, 12 / 11),  # 3 regions, 4 periods
        Clustered(names["region"]): max(time, 3 / 2),
        TwoWayClustered(names["entity"], names["time"]): T / (T - 1),
    }
    for kernel, factor in expected.items():
        assert case.meat(kernel, effects=effects).factor == pytest.approx(factor)


def test_factor_of_an_unbalanced_panel():
    case = Case(missing=True)
    n = T * N - 4
    assert case.meat(Robust(), effects="entity").factor == pytest.approx(n / (n - N))
    assert case.meat(Robust(), effects="two-way").factor == pytest.approx(n / (n - N - T + 1))


def test_driscoll_kraay_default_lags():
    assert [default_lags(t) for t in (2, 10, 30, 100, 200)] == [1, 2, 3, 4, 4]
    case = Case()
    assert np.array_equal(
        case.meat(DriscollKraay()).matrix, case.meat(DriscollKraay(default_lags(T))).matrix
    )


def test_negative_eigenvalues_are_reported():
    """Entity + time - cell of one strong cell each way is indefinite."""
    s = np.zeros((2, 2, 2))
    s[0, 0], s[0, 1], s[1, 0], s[1, 1] = [1, 0], [-1, 0.2], [-1, -0.2], [1, 0]
    v = s[:, :, 0]
    both = TwoWayClustered(entity_labels(2, 2), time_labels(2, 2))
    flat = s.reshape(-1, 2)
    twin = sum(np.einsum("gi,gj->ij", x, x) for x in (s.sum(0), s.sum(1))) - flat.T @ flat
    assert np.linalg.eigvalsh(twin)[0] < 0
    found = meat(both, s, v)
    assert "not positive semi-definite" in found.notes[-1]
    assert np.linalg.eigvalsh(found.matrix)[0] > -1e-12


def test_outer_product_is_the_information_of_independent_errors():
    """Its inverse; and with normal errors and rho alone, tr(HH) + tr(H'H) on average."""
    rng = np.random.default_rng(0)
    units, draws = 40, 600
    H = rng.normal(size=(units, units))
    H += H.T
    np.fill_diagonal(H, 0.0)
    couplings = Couplings.dense(H[None], (0,), 1.0)
    expected = 2 * (np.trace(H @ H) + np.trace(H.T @ H))
    found = []
    for _ in range(draws):
        v = rng.normal(size=(2, units))
        s = (v * (v @ H.T))[:, :, None]
        found.append(1 / opg(s, v, couplings)[0, 0])
    error = np.std(found) / np.sqrt(draws)
    assert abs(np.mean(found) - expected) < 4 * error
    assert 2 * np.trace(H.T @ H) < expected - 10 * error
    case = Case(periods=30)
    np.testing.assert_allclose(
        opg(case.s, case.v) @ meat(Robust(), case.s, case.v).matrix, np.eye(P), atol=1e-10
    )


BAD = [
    (lambda c: c.meat(Clustered(np.zeros((T, N), dtype=int))), OptionError, "at least two"),
    (lambda c: c.meat(Clustered(np.zeros((N, T), dtype=int))), OptionError, "shape"),
    (lambda c: c.meat(Clustered(np.zeros((T, N)))), OptionError, "integers"),
    (lambda c: c.meat(DriscollKraay(T)), OptionError, "T - 1 = 3"),
    (lambda c: c.meat(DriscollKraay(-1)), OptionError, "lags"),
    (lambda c: c.meat(Conley(np.eye(N), lags=1.5)), OptionError, "lags"),
    (lambda c: c.meat(Conley(np.eye(N + 1))), OptionError, "symmetric"),
    (lambda c: c.meat(Conley(np.triu(np.ones((N, N))))), OptionError, "symmetric"),
    (lambda c: c.meat(Conley(np.eye(N), lagged="all")), OptionError, "'neighbours', 'own'"),
    (lambda c: Conley.within(np.eye(N), 0.0), OptionError, "above 0"),
    (lambda c: Conley.within(np.eye(N), 1.0, kernel="flat"), OptionError, "'uniform'"),
    (lambda c: c.meat("robust"), OptionError, "Robust, Clustered"),
    (lambda c: meat(Robust(), c.s * np.nan, c.v), DataError, "finite"),
    (lambda c: meat(Robust(), c.s, c.v.T), DataError, "must fit"),
    (lambda c: meat(Robust(), c.s, c.v, observed=c.v > 0), DataError, "zero in cells"),
    (lambda c: meat(Robust(), c.s[:1], c.v[:1], effects="entity"), IdentificationError, "effects"),
    (
        lambda c: meat(Robust(), c.s, c.v, Couplings.dense(c.H[:2], AT, 1.0)),
        OptionError,
        "one for each of the 4",
    ),
    (lambda c: opg(c.s[:1, :3], c.v[:1, :3]), IdentificationError, "not positive definite"),
    (lambda c: opg(c.s * [1, 1, 0, 1, 1], c.v), IdentificationError, "all zero"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(Case())


def test_size_limits_are_stated(monkeypatch):
    monkeypatch.setattr(mutual, "DENSE_LIMIT", 2)
    case = Case(changing=True)
    with pytest.raises(OptionError, match="at most 2 are done"):
        case.meat(Clustered(entity_labels(T, N)))
    with pytest.raises(OptionError, match="at most 2 units"):
        case.meat(Conley(np.eye(N)))


# --- the score of rho, drawn ---------------------------------------------------------------------


def grid_weights(side):
    place = np.array(list(itertools.product(range(side), repeat=2)))
    d = np.sqrt(((place[:, None] - place) ** 2).sum(axis=2))
    W = (d == 1) * 1.0
    return W / W.sum(axis=1, keepdims=True), d


def dense_weights(side):
    d = grid_weights(side)[1]
    W = np.divide(1.0, d, where=d > 0, out=np.zeros_like(d))
    return W / W.sum(axis=1, keepdims=True), d


def experiment(
    weights, spread, kernels, draws, *, side=6, periods=6, rho=0.5, seed=0, **dependence
):
    """Meats of drawn errors over the exact variance of the summed score of rho.

    v = L_t z L_i', z normal, so v has covariance (L_t L_t') kron (L_i L_i') and the variance of
    sum_it v_it (H v_t + m)_i is known: A = I_T kron H gives tr(ASAS) + tr(ASA'S) + m'Sm.
    """
    rng = np.random.default_rng(seed)
    W, d = weights(side)
    units = side * side
    H = W @ np.linalg.inv(np.eye(units) - rho * W)
    over_time = dependence.get("time", np.eye(periods))
    over_units = dependence.get("space", lambda d: np.eye(units))(d)
    left = np.linalg.cholesky(over_time)
    right = spread(rng, units)[:, None] * np.linalg.cholesky(over_units)
    S = right @ right.T
    m = 0.3 * rng.normal(size=(periods, units))
    HS = H @ S
    gamma2 = (over_time**2).sum()
    exact = gamma2 * (np.trace(HS @ HS) + np.trace(HS @ H.T @ S))
    exact += np.einsum("ti,ts,ij,sj->", m, over_time, S, m)
    centre = np.outer(np.diag(over_time), np.diag(HS))
    couplings = Couplings.dense(H[None], (0,), 1.0)
    labels = {
        "entity": entity_labels(periods, units),
        "time": time_labels(periods, units),
        "quarter": np.broadcast_to(quarters(side), (periods, units)),
    }
    found = {name: [] for name in kernels}

    def noise():
        return left @ rng.normal(size=(periods, units)) @ right.T

    sums = []
    for _ in range(4_000):
        v = noise()
        sums.append((v * (v @ H.T + m) - centre).sum())
    assert np.var(sums) == pytest.approx(exact, rel=0.15)
    for _ in range(draws):
        v = noise()
        s = (v * (v @ H.T + m) - centre)[:, :, None]
        for name, make in kernels.items():
            couple = None if name.endswith("alone") else couplings
            result = meat(make(labels, d), s, v, couple)
            found[name].append(result.matrix[0, 0] / result.factor)
    print({name: float(np.mean(values) / exact) for name, values in found.items()})
    return {name: np.array(values) / exact for name, values in found.items()}


def unbiased(shares, precision=0.08):
    """Whether the mean is 1 within 3.5 standard errors, and these are small enough to tell."""
    error = np.std(shares) / np.sqrt(len(shares))
    return error < precision and abs(np.mean(shares) - 1) < 3.5 * error


def quarters(side):
    """Four square regions of a grid."""
    half = side // 2
    return np.array([2 * (i // half) + j // half for i in range(side) for j in range(side)])


def alike(rng, units):
    return np.ones(units)


def unlike(rng, units):
    return np.exp(rng.normal(scale=0.5, size=units))


def ar1(r, periods=6):
    return r ** np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))


def blocks_of_regions(d):
    side = int(np.sqrt(len(d)))
    region = quarters(side)
    return 0.6 * np.eye(len(d)) + 0.4 * (region[:, None] == region)


def moving_average(d):
    F = np.eye(len(d)) + 0.4 * (d == 1)
    F /= np.sqrt((F**2).sum(axis=1, keepdims=True))
    return F @ F.T


DENSE_IS_SLOW = [grid_weights, pytest.param(dense_weights, marks=pytest.mark.slow)]


@pytest.mark.parametrize("weights", DENSE_IS_SLOW)
def test_robust_is_unbiased_for_independent_errors(weights):
    share = experiment(
        weights,
        unlike,
        {
            "robust": lambda labels, d: Robust(),
            "robust alone": lambda labels, d: Robust(),
            "entity": lambda labels, d: Clustered(labels["entity"]),
            "two ways": lambda labels, d: TwoWayClustered(labels["entity"], labels["time"]),
            "near": lambda labels, d: Conley.within(d, 1.5),
        },
        150 if weights is grid_weights else 1500,
    )
    for name in ("robust", "entity", "two ways", "near"):
        assert unbiased(share[name]), name
    assert np.mean(share["robust alone"]) < 0.7


@pytest.mark.parametrize("weights", DENSE_IS_SLOW)
def test_clusters_by_entity_hold_serial_correlation(weights):
    share = experiment(
        weights,
        alike,
        {
            "entity": lambda labels, d: Clustered(labels["entity"]),
            "entity alone": lambda labels, d: Clustered(labels["entity"]),
            "robust": lambda labels, d: Robust(),
            "two ways": lambda labels, d: TwoWayClustered(labels["entity"], labels["time"]),
        },
        150 if weights is grid_weights else 1500,
        time=ar1(0.8),
    )
    assert unbiased(share["entity"])
    assert unbiased(share["two ways"])
    assert np.mean(share["entity alone"]) < 0.7
    assert np.mean(share["robust"]) < 0.5


@pytest.mark.slow
def test_clusters_by_region_hold_correlation_between_units():
    share = experiment(
        dense_weights,
        alike,
        {
            "region": lambda labels, d: Clustered(labels["quarter"]),
            "region alone": lambda labels, d: Clustered(labels["quarter"]),
            "entity": lambda labels, d: Clustered(labels["entity"]),
        },
        1500,
        space=blocks_of_regions,
    )
    assert unbiased(share["region"])
    assert np.mean(share["region alone"]) < 0.85
    assert np.mean(share["entity"]) < 0.4


@pytest.mark.slow
def test_conley_holds_correlation_between_near_units():
    """The kernel smooths the mutual term too: far pairs are tied through their neighbours.

    Not unbiased: pairs just beyond the cutoff have common neighbours within it.
    """
    share = experiment(
        dense_weights,
        alike,
        {
            "conley": lambda labels, d: Conley.within(d, 2.3),
            "conley alone": lambda labels, d: Conley.within(d, 2.3),
            "robust": lambda labels, d: Robust(),
        },
        1500,
        side=8,
        space=moving_average,
    )
    assert np.mean(share["conley"]) == pytest.approx(1.0, abs=0.12)
    assert np.mean(share["conley alone"]) < 0.85
    assert np.mean(share["robust"]) < 0.4


def test_driscoll_kraay_holds_any_correlation_between_units():
    share = experiment(
        dense_weights,
        alike,
        {"no lag": lambda labels, d: DriscollKraay(0), "robust": lambda labels, d: Robust()},
        400,
        space=blocks_of_regions,
    )
    assert unbiased(share["no lag"])
    assert np.mean(share["robust"]) < 0.4


@pytest.mark.slow
def test_driscoll_kraay_in_long_panels():
    """Serial correlation too: what Bartlett weights cut off becomes small."""
    share = experiment(
        dense_weights,
        alike,
        {"lags": lambda labels, d: DriscollKraay(12), "no lag": lambda labels, d: DriscollKraay(0)},
        1500,
        periods=200,
        space=blocks_of_regions,
        time=ar1(0.5, 200),
    )
    assert 0.85 < np.mean(share["lags"]) < 1.02
    assert np.mean(share["no lag"]) < 0.8


# --- bootstrap -----------------------------------------------------------------------------------


def all_signs(units):
    return np.array(list(itertools.product((-1.0, 1.0), repeat=units)))


def test_wild_bootstrap_of_a_regression_is_the_clustered_covariance():
    """Over all 2^N patterns the variance of the coefficients is the sandwich, exactly."""
    rng = np.random.default_rng(0)
    periods, units = 3, 8
    X = rng.normal(size=(periods, units, 2))
    X -= X.mean(axis=0)
    y = X @ [1.0, 2.0] + rng.normal(size=(periods, units))
    y -= y.mean(axis=0)
    bread = np.linalg.inv(np.einsum("tni,tnj->ij", X, X))
    gamma = bread @ np.einsum("tni,tn->i", X, y)
    v = y - X @ gamma

    def estimate(weights):
        star = bootstrap.wild_outcome(X @ gamma, v, weights)
        star = star - star.mean(axis=0)  # the second within transform takes nothing
        return bread @ np.einsum("tni,tn->i", X, star)

    draws = bootstrap.entity_bootstrap(estimate, all_signs(units)).draws
    middle = meat(
        Clustered(entity_labels(periods, units)), X * v[:, :, None], v, effects="entity"
    ).matrix
    ours = (draws - gamma).T @ (draws - gamma) / len(draws)
    np.testing.assert_allclose(ours, bread @ middle @ bread, rtol=1e-10)


def test_wild_bootstrap_of_a_quadratic_form_is_the_clustered_meat():
    """Over all 2^N patterns: sum_t v*'H v* varies by what `meat` holds, mutual terms and all."""
    rng = np.random.default_rng(2)
    periods, units = 4, 9
    H = rng.normal(size=(units, units))
    np.fill_diagonal(H, 0.0)
    v = rng.normal(size=(periods, units))

    def score(weights):
        star = v * weights
        return np.array([np.einsum("ti,ij,tj->", star, H, star)])

    draws = bootstrap.entity_bootstrap(score, all_signs(units)).draws
    # the mean of products over patterns is their own cell's: c_ij = (sum_t v_it v_jt)^2
    c = (v.T @ v) ** 2
    exact = (H * H * c).sum() + (H * H.T * c).sum()
    assert np.mean(draws**2) == pytest.approx(exact)
    between = mutual_clusters(
        np.array(entity_labels(periods, units)), v, Couplings.dense(H[None], (0,), 1.0)
    )
    assert between[0, 0] == pytest.approx(exact - (H * H * c).sum())


@pytest.mark.slow
def test_wild_bootstrap_of_a_spatial_lag_varies_as_estimates_do():
    """Two-way effects, serially correlated errors: the spread over resamples of one panel is the
    spread over panels, for beta and rho; not so for sigma2 with rademacher multipliers."""
    rng = np.random.default_rng(0)
    W, _ = grid_weights(6)
    periods, units, beta, rho = 6, 36, 0.5, 0.4
    omega = np.linalg.eigvals(W)
    root = np.linalg.cholesky(ar1(0.7, periods))
    X = rng.normal(size=(periods, units)).cumsum(axis=0)

    def within(Z):
        Z = Z - Z.mean(axis=0)
        return Z - Z.mean(axis=1, keepdims=True)

    x = within(X)

    def fit(y):
        """Maximise (T-1)(ln|S| - ln(1 - rho)) - n/2 ln SSR, and return residuals too."""
        pair = np.stack([within(y).ravel(), within(y @ W.T).ravel()])
        slope = pair @ x.ravel() / (x**2).sum()
        e = pair - np.outer(slope, x.ravel())
        C = e @ e.T
        n = (periods - 1) * (units - 1)

        def minus(r):
            jacobian = (periods - 1) * (np.log(np.abs(1 - r * omega)).sum() - np.log(1 - r))
            return 0.5 * n * np.log(C[0, 0] - 2 * r * C[0, 1] + r * r * C[1, 1]) - jacobian

        r = optimize.minimize_scalar(minus, bounds=(-0.99, 0.99), method="bounded").x
        v = (e[0] - r * e[1]).reshape(periods, units)
        return np.array([slope[0] - r * slope[1], r, (v**2).sum() / n]), v

    def solve(r):
        inverse = np.linalg.inv(np.eye(units) - r * W)
        return lambda Z: Z @ inverse.T

    panels = [solve(rho)(beta * X + root @ rng.normal(size=(periods, units))) for _ in range(600)]
    estimates = np.array([fit(y)[0] for y in panels])
    spread = []
    for y in panels[:100]:
        values, v = fit(y)

        def again(weights, values=values, v=v):
            mean, outcome = values[0] * X, solve(values[1])
            return fit(bootstrap.wild_outcome(mean, v, weights, outcome=outcome))[0]

        rows = bootstrap.wild_weights(units, 100, rng)
        spread.append(np.diag(bootstrap.entity_bootstrap(again, rows, progress=False).covariance()))
    ratio = np.mean(spread, axis=0) / estimates.var(axis=0)
    print("bootstrap variance over variance of beta, rho, sigma2:", ratio)
    assert ((ratio[:2] > 0.85) & (ratio[:2] < 1.15)).all()
    assert ratio[2] < 0.3


def test_wild_outcome_solves_for_both_processes():
    rng = np.random.default_rng(0)
    W, _ = grid_weights(3)
    rho, lam = 0.4, -0.3
    mean, v, w = rng.normal(size=(2, 9)), rng.normal(size=(2, 9)), all_signs(9)[77]
    S, B = np.eye(9) - rho * W, np.eye(9) - lam * W
    found = bootstrap.wild_outcome(
        mean,
        v,
        w,
        outcome=lambda Z: np.linalg.solve(S, Z.T).T,
        error=lambda Z: np.linalg.solve(B, Z.T).T,
    )
    for t in range(2):
        residual = B @ (S @ found[t] - mean[t])
        np.testing.assert_allclose(residual, np.sqrt(9 / 8) * v[t] * w, atol=1e-12)
    with pytest.raises(OptionError, match="one multiplier"):
        bootstrap.wild_outcome(mean, v, w[:3])


@pytest.mark.parametrize(
    ("kind", "third", "fourth"), [("rademacher", 0, 1), ("mammen", 1, 2), ("webb", 0, 7 / 6)]
)
def test_moments_of_the_multipliers(kind, third, fourth):
    w = bootstrap.wild_weights(500, 2000, np.random.default_rng(0), kind=kind)
    assert w.shape == (2000, 500)
    for power, expected in ((1, 0), (2, 1), (3, third), (4, fourth)):
        assert (w**power).mean() == pytest.approx(expected, abs=0.01)
    assert np.abs(np.corrcoef(w[:, :20].T) - np.eye(20)).max() < 0.1
    with pytest.raises(OptionError, match="'webb'"):
        bootstrap.wild_weights(5, 5, np.random.default_rng(0), kind="normal")


def test_pairs_bootstrap_of_a_mean():
    """Over all N^N resamples of units, the variance of a mean is the sum of squares by N^2."""
    y = np.array([1.0, 4.0, 5.0, 9.0])
    rows = np.array(list(itertools.product(range(4), repeat=4)))
    draws = bootstrap.entity_bootstrap(lambda units: y[units].mean(keepdims=True), rows).draws
    assert draws.var() == pytest.approx(((y - y.mean()) ** 2).sum() / 16)
    drawn = bootstrap.resample_indices(7, 2000, np.random.default_rng(0))
    assert drawn.shape == (2000, 7)
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / drawn.size, 1 / 7, atol=0.01)


def mean_of(weights):
    return np.array([weights.mean(), weights.std()])


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_parallel_draws_are_the_serial_ones(backend):
    rows = bootstrap.wild_weights(6, 30, np.random.default_rng(1))
    serial = bootstrap.entity_bootstrap(mean_of, rows, progress=False)
    parallel = bootstrap.entity_bootstrap(
        np.square, rows, n_jobs=2, backend=backend, progress=False
    )
    assert np.array_equal(parallel.draws, rows**2)
    assert serial.draws.shape == (30, 2)
    assert np.array_equal(rows, bootstrap.wild_weights(6, 30, np.random.default_rng(1)))


def test_failures_are_counted_and_bugs_are_raised():
    rows = np.arange(40.0).reshape(20, 2)

    def sometimes(row):
        if row[0] % 8 == 0:
            raise IdentificationError("collinear.")
        return row * (np.nan if row[0] == 2 else 1.0)

    found = bootstrap.entity_bootstrap(sometimes, rows)
    assert found.failures == {
        "IdentificationError: collinear.": 5,
        "the estimates are not finite.": 1,
    }
    assert "6 of 20" in found.notes[-1]
    assert np.isnan(found.draws[0]).all()
    good = np.delete(rows, [0, 1, 4, 8, 12, 16], axis=0)
    np.testing.assert_array_equal(found.succeeded, good)
    np.testing.assert_allclose(found.covariance(), np.cov(good.T))
    np.testing.assert_allclose(found.interval(0.9), np.quantile(good, [0.05, 0.95], axis=0).T)
    with pytest.raises(IdentificationError, match="failed on 20 of 20"):
        bootstrap.entity_bootstrap(lambda row: np.full(2, np.inf), rows)
    with pytest.raises(ZeroDivisionError):
        bootstrap.entity_bootstrap(lambda row: 1 / 0, rows)
    with pytest.raises(OptionError, match=r"\(R, N\)"):
        bootstrap.entity_bootstrap(mean_of, rows[0])
    with pytest.raises(OptionError, match="'threads', 'processes'"):
        bootstrap.entity_bootstrap(mean_of, rows, backend="dask")
    with pytest.raises(OptionError, match="n_jobs"):
        bootstrap.entity_bootstrap(mean_of, rows, n_jobs=0)
    with pytest.raises(OptionError, match="level"):
        found.interval(95)
    assert bootstrap.few_units(30, "rademacher") is None


@pytest.mark.parametrize("kernel", [DriscollKraay(0), Clustered(time_labels(2, 9))])
def test_sums_that_vanish_whatever_the_data(kernel):
    """Two periods without unit effects: each period's scores are the others', and all sum to 0."""
    rng = np.random.default_rng(5)
    half = rng.normal(size=(1, 9, 2))
    half -= half.mean(axis=1, keepdims=True)
    s = np.concatenate([half, half])
    with pytest.raises(IdentificationError, match="sum to zero in every cluster"):
        meat(kernel, s, s[:, :, 0], effects="entity")
    assert np.all(np.diag(meat(Robust(), s, s[:, :, 0], effects="entity").matrix) > 0)
