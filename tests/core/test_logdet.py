"""Log-determinants: every back end against dense matrices."""

import numpy as np
import pytest
from scipy import sparse

from spatial_agglo.core import interpolation
from spatial_agglo.core import logdet as logdets
from spatial_agglo.core.charts import Disc, Slits
from spatial_agglo.core.factorization import ldl, lu, similarity
from spatial_agglo.core.interpolation import Interpolant, power_traces
from spatial_agglo.core.logdet import Spectrum, log_determinant, symmetrize
from spatial_agglo.core.parameter_space import certified, radius
from spatial_agglo.errors import OptionError, WeightsError


def rows(B):
    sums = np.asarray(B.sum(axis=1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ B)


def grid(m, *, queen=False):
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    one = sparse.eye_array(m)
    if queen:
        return sparse.csr_array(sparse.kron(line + one, line + one) - sparse.eye_array(m * m))
    return sparse.csr_array(sparse.kron(line, one) + sparse.kron(one, line))


def nearest(n, k, seed=0):
    points = np.random.default_rng(seed).random((n, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    W = np.zeros((n, n))
    np.put_along_axis(W, np.argsort(distance, axis=1)[:, :k], 1.0 / k, axis=1)
    return sparse.csr_array(W)


def links(n, k, seed=0, *, both=False):
    """k random links from every unit, and back if ``both``."""
    rng = np.random.default_rng(seed)
    A = np.zeros((n, n))
    A[np.repeat(np.arange(n), k), rng.integers(0, n, n * k)] = 1.0
    np.fill_diagonal(A, 0.0)
    return sparse.csr_array(np.maximum(A, A.T) if both else A)


def with_isolates(W):
    """Add a unit without any link, one that nobody names, and one that names nobody."""
    n = W.shape[0]
    out = sparse.lil_array((n + 3, n + 3))
    out[:n, :n] = W
    out[n + 1, [0, 1]] = 0.5
    out[2, n + 2] = 0.3
    return sparse.csr_array(out)


def two_parts(one, other):
    return sparse.csr_array(sparse.block_diag([one, other]))


WEIGHTED = links(180, 3, 3, both=True).multiply(np.random.default_rng(3).random((180, 180)))
CASES = {
    "queen": rows(grid(14, queen=True)),
    "rook": rows(grid(14)),
    "binary queen": grid(14, queen=True),
    "two parts": two_parts(rows(grid(9)), rows(grid(10, queen=True))),
    "symmetric with isolates": two_parts(rows(grid(13)), sparse.csr_array((4, 4))),
    "random, both ways": rows(links(200, 2, both=True)),
    "weighted": rows(WEIGHTED + WEIGHTED.T),
    "nearest": nearest(200, 5),
    "directed": rows(links(200, 3)),
    "directed, not standardised": links(200, 3, 1),
    "directed with isolates": with_isolates(nearest(190, 4)),
    "mixture": sparse.csr_array(0.5 * rows(grid(14)) + 0.5 * nearest(196, 4)),
}
SYMMETRIC = [
    "queen",
    "rook",
    "binary queen",
    "two parts",
    "symmetric with isolates",
    "random, both ways",
    "weighted",
]
BACK_ENDS = [(name, how) for name in CASES for how in ("spectrum", "lu")] + [
    (name, "ldl") for name in SYMMETRIC
]
#: Shares of the way to the ends of the interval.
SHARES = np.array([-0.97, -0.6, -0.2, -0.05, -1e-3, 1e-5, 0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99])


def inside(back_end, shares=SHARES):
    low, high = back_end.interval
    return np.where(shares > 0, shares * high, -shares * low)


@pytest.mark.parametrize(("name", "how"), BACK_ENDS)
def test_values_and_derivatives_are_those_of_dense_matrices(name, how):
    W = CASES[name]
    N, dense = W.shape[0], W.toarray()
    back_end = log_determinant(W, how)
    rho = inside(back_end)
    value, first, second = [], [], []
    for r in rho:
        S = np.eye(N) - r * dense
        H = dense @ np.linalg.inv(S)
        value.append(np.linalg.slogdet(S)[1])
        first.append(-np.trace(H))
        second.append(-np.trace(H @ H))
    np.testing.assert_allclose(back_end.value(rho), value, rtol=1e-11, atol=1e-11)
    d1, d2 = back_end.derivatives(rho)
    # in units of what the derivatives of a single eigenvalue at the end would be
    unit = radius(W) / (1.0 - np.abs(SHARES))
    assert np.all(np.abs(d1 - first) <= 1e-10 * np.abs(first) + 1e-12 * N * unit)
    assert np.all(np.abs(d2 - second) <= 1e-9 * np.abs(second) + 1e-11 * N * unit**2)
    # one by one, and before any derivative
    fresh = log_determinant(W, how)
    one_by_one = [float(fresh.value(np.asarray(r))) for r in rho]
    np.testing.assert_allclose(one_by_one, value, rtol=1e-11, atol=1e-11)
    assert d1.shape == d2.shape == rho.shape
    assert back_end.value(rho.reshape(1, -1)).shape == (1, rho.size)


@pytest.mark.parametrize(("name", "how"), [("queen", "ldl"), ("nearest", "lu"), ("mixture", "lu")])
def test_derivatives_are_those_of_values_between_panels(name, how):
    """Central differences, at points on both sides of an edge of a panel and on it."""
    back_end = log_determinant(CASES[name], how)
    some = back_end._edges[np.abs(back_end._edges) < 0.7]
    edge = back_end.chart.rho(some[::7])
    rho = np.sort(np.concatenate([edge - 1e-9, edge, edge + 1e-9, edge + 7e-3]))
    h = 1e-4
    up, middle, down = (back_end.value(rho + step) for step in (h, 0.0, -h))
    d1, d2 = back_end.derivatives(rho)
    np.testing.assert_allclose((up - down) / (2 * h), d1, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose((up - 2 * middle + down) / h**2, d2, rtol=1e-3, atol=1e-2)


def test_real_parts_of_complex_eigenvalues_are_not_enough():
    W = CASES["nearest"]
    omega = np.linalg.eigvals(W.toarray())
    assert np.abs(omega.imag).max() > 0.1
    exact = np.linalg.slogdet(np.eye(200) - 0.7 * W.toarray())[1]
    for how in ("spectrum", "lu"):
        assert log_determinant(W, how).value(np.asarray(0.7)) == pytest.approx(exact, abs=1e-10)
    assert abs(np.log(np.abs(1 - 0.7 * omega.real)).sum() - exact) > 0.01


@pytest.mark.parametrize("scale", [1e-14, 1e9, 1e60])
@pytest.mark.parametrize(("name", "how"), [("queen", "ldl"), ("nearest", "lu"), ("rook", "lu")])
def test_the_scale_of_the_weights_only_scales_rho(name, how, scale):
    one = log_determinant(CASES[name], how)
    other = log_determinant(sparse.csr_array(CASES[name] * scale), how)
    rho = inside(one)[2:-2]
    np.testing.assert_allclose(np.multiply(other.interval, scale), one.interval, rtol=1e-9)
    np.testing.assert_allclose(other.value(rho / scale), one.value(rho), rtol=1e-9, atol=1e-12)
    pairs = zip(other.derivatives(rho / scale), one.derivatives(rho), strict=True)
    for power, (found, wanted) in enumerate(pairs, start=1):
        np.testing.assert_allclose(found / scale**power, wanted, rtol=1e-8, atol=1e-8)


def test_outside_the_interval_there_is_no_value():
    back_end = log_determinant(CASES["nearest"], "lu")
    found = back_end.value(np.array([-1.01, -1.0, 0.2, 1.0, 1.5]))
    np.testing.assert_array_equal(np.isnan(found), [True, True, False, True, True])
    assert np.isnan(back_end.derivatives(np.asarray(1.0))[0])


def counted(back_end):
    """Count the factorisations that an interpolant asks for."""
    calls = []
    factorize = back_end.factorize
    object.__setattr__(back_end, "factorize", lambda rho: calls.append(rho) or factorize(rho))
    return calls


def test_a_panel_takes_a_dozen_factorisations_and_serves_what_lies_on_it():
    back_end = log_determinant(CASES["queen"], "ldl")
    calls = counted(back_end)
    back_end.value(np.array([0.31, 0.32]))
    back_end.value(np.asarray(0.31))
    assert len(calls) == 2  # two values, one of them kept
    back_end.derivatives(np.asarray(0.315))
    assert 4 <= len(calls) <= 14
    before = len(calls)
    back_end.derivatives(np.array([0.31, 0.314, 0.32]))
    back_end.value(np.linspace(0.31, 0.32, 500))
    back_end.value(np.asarray(0.3111))
    assert len(calls) == before
    back_end.value(np.asarray(0.0))
    back_end.derivatives(np.asarray(0.0))
    back_end.sketch.value(np.linspace(-0.9, 0.9, 60))
    assert len(calls) == before


@pytest.mark.parametrize("name", ["queen", "rook", "nearest", "directed"])
def test_the_bound_of_the_sketch_holds(name):
    W = CASES[name]
    exact = log_determinant(W, "spectrum")
    assert exact.sketch is exact
    sketch = log_determinant(W, "ldl" if name in SYMMETRIC else "lu").sketch
    assert sketch.sketch is sketch
    rho = inside(sketch, np.linspace(-0.999, 0.999, 101))
    gap = np.abs(sketch.value(rho) - exact.value(rho))
    assert np.all(gap <= sketch.error(rho) + 1e-11)
    # close enough for a search: a few per cent of the units even near the ends
    middle = np.abs(rho) < 0.8
    assert gap[middle].max() < 0.03 * W.shape[0]
    first, second = sketch.derivatives(np.asarray(0.0))
    assert first == pytest.approx(0.0, abs=1e-12)
    assert second == pytest.approx(-np.trace((W @ W).toarray()), rel=1e-12)
    rho, h = rho[::10], 1e-6
    d1, d2 = sketch.derivatives(rho)
    slope = (sketch.value(rho + h) - sketch.value(rho - h)) / (2 * h)
    np.testing.assert_allclose(d1, slope, rtol=1e-5, atol=1e-4)
    bend = (sketch.derivatives(rho + h)[0] - sketch.derivatives(rho - h)[0]) / (2 * h)
    np.testing.assert_allclose(d2, bend, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "chart", [Slits(10, -0.53, 1.0), Slits(10, -1.0, 1.0), Slits(10, -0.02, 2.0), Disc(10, 0.4)]
)
def test_charts_are_smooth_maps_of_the_interval_into_the_disc(chart):
    low, high = (1 / chart.low, 1 / chart.high) if isinstance(chart, Slits) else (-2.5, 2.5)
    rho = np.array([0.999 * low, 0.5 * low, 0.1 * low, 0.0, 0.2 * high, 0.7 * high, 0.999 * high])
    z, z1, z2 = chart.z(rho)
    assert np.all(np.diff(z) > 0)
    assert np.all(np.abs(z) < 1)
    assert z[3] == 0.0
    np.testing.assert_allclose(chart.rho(z), rho, rtol=1e-12)
    h = 1e-6 * np.minimum(rho - low, high - rho)
    up, down = chart.z(rho + h), chart.z(rho - h)
    np.testing.assert_allclose((up[0] - down[0]) / (2 * h), z1, rtol=1e-6)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), z2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["queen", "rook", "two parts", "weighted", "nearest", "directed"])
def test_the_series_are_those_of_the_eigenvalues(name):
    """The Chebyshev moments and power traces, from eigenvalues."""
    W = CASES[name]
    omega = np.linalg.eigvals(W.toarray())
    fill = 60 * W.shape[0]  # as if the factors were rather full
    symmetric = symmetrize(W)
    if symmetric is None:
        traces = power_traces(W, fill, symmetric=False)
        known, guess = Disc(W.shape[0], 1.0).series(traces)
        k = np.arange(1, traces.size)
        exact = -(omega[:, None] ** k).sum(axis=0).real / k
    else:
        traces = power_traces(symmetric, fill, symmetric=True)
        low = omega.real.min() * 1.01
        known, guess = Slits(W.shape[0], low, 1.0).series(traces)
        k = np.arange(1, traces.size)
        angle = np.arccos(np.clip((2 * omega.real - 1 - low) / (1 - low), -1, 1))
        exact = -2.0 * np.cos(angle[:, None] * k).sum(axis=0) / k
    assert traces.size >= 5
    powers = (omega[:, None] ** np.arange(traces.size)).sum(axis=0)
    np.testing.assert_allclose(traces, powers.real, atol=1e-10 * W.shape[0])
    np.testing.assert_allclose(known[1:], exact, atol=1e-10 * W.shape[0])
    np.testing.assert_array_equal(guess[: known.size], known)


@pytest.mark.parametrize("m", [11, 14, 18])
def test_the_lower_end_is_certified_with_one_trial_or_two(m):
    W = rows(grid(m, queen=True))
    symmetric = symmetrize(W)
    trials = []
    factorize = ldl(symmetric)

    def trial(rho):
        trials.append(rho)
        return factorize(rho)

    (low, high), fill = certified(symmetric, trial, radius(W))
    exact = 1.0 / np.linalg.eigvalsh(symmetric.toarray())[0]
    assert exact <= low <= exact / 1.0102
    assert high == 1.0
    assert fill > W.nnz
    assert len(trials) <= 2


def test_the_lower_end_without_a_guess(monkeypatch):
    """Were the Lanczos steps to fail, trials alone find the end."""
    from spatial_agglo.core import parameter_space

    monkeypatch.setattr(parameter_space, "_outside", lambda symmetric: -np.inf)
    symmetric = symmetrize(rows(grid(12, queen=True)))
    (low, _), _ = certified(symmetric, ldl(symmetric), 1.0)
    exact = 1.0 / np.linalg.eigvalsh(symmetric.toarray())[0]
    assert exact <= low <= exact / 1.0102


def test_the_radius_with_and_without_a_symmetric_twin():
    W = grid(12, queen=True)
    exact = np.abs(np.linalg.eigvalsh(W.toarray())).max()
    assert radius(W) == pytest.approx(exact, rel=1e-12)
    assert radius(W, W) == pytest.approx(exact, rel=1e-12)
    directed = links(80, 3)
    exact = np.abs(np.linalg.eigvals(directed.toarray())).max()
    assert radius(directed) == pytest.approx(exact, rel=1e-10)
    assert radius(sparse.csr_array(np.array([[0.0, 2.0], [8.0, 0.0]]))) == pytest.approx(4.0)


def test_a_graph_without_small_separators_gets_its_spectrum():
    random, plane = rows(links(400, 5, both=True)), rows(grid(20, queen=True))
    fill = lu(random)(0.5)[1]
    assert fill > logdets.FULL_FILL * 400**2
    assert log_determinant(random).method == "spectrum"
    assert log_determinant(random, "ldl").method.startswith("sparse LDL'")
    assert log_determinant(plane).method.startswith("sparse LDL'")
    directed = rows(links(400, 6))
    assert log_determinant(directed).method == "spectrum"
    assert log_determinant(directed, "lu").method.startswith("sparse LU")
    assert log_determinant(nearest(400, 5)).method.startswith("sparse LU")


def test_a_graph_too_large_for_its_spectrum_is_factorised(monkeypatch):
    monkeypatch.setattr(logdets, "SPECTRUM_LIMIT", 300)
    assert log_determinant(rows(links(400, 5, both=True))).method.startswith("sparse LDL'")


def test_a_back_end_that_cannot_be_had_says_so(monkeypatch):
    with pytest.raises(OptionError, match="'auto', 'spectrum', 'ldl', 'lu'"):
        log_determinant(CASES["queen"], "cholesky")
    with pytest.raises(WeightsError, match="makes symmetric"):
        log_determinant(CASES["nearest"], "ldl")
    monkeypatch.setattr(logdets, "SPECTRUM_LIMIT", 100)
    with pytest.raises(WeightsError, match="Use logdet='auto'"):
        log_determinant(CASES["queen"], "spectrum")


def test_links_that_never_lead_back():
    W = sparse.csr_array(np.triu(links(200, 4).toarray(), 1))
    with pytest.raises(WeightsError, match="leads back"):
        log_determinant(W)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_scaling_that_makes_symmetric(name):
    W = CASES[name].toarray()
    d = similarity(CASES[name])
    A = W / d[:, None] * d
    np.testing.assert_allclose(A, A.T, atol=1e-13)
    np.testing.assert_allclose(A, symmetrize(CASES[name]).toarray(), atol=1e-13)


def test_threads_may_share_a_back_end():
    from concurrent.futures import ThreadPoolExecutor

    back_end = log_determinant(CASES["queen"], "ldl")
    rho = np.linspace(-0.9, 0.95, 120)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda r: float(back_end.value(np.asarray(r))), rho))
    exact = log_determinant(CASES["queen"], "spectrum").value(rho)
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-11)


def test_the_number_of_nodes_follows_the_distance_to_the_end():
    """Few where the traces say nearly all, never more than what a Chebyshev series needs."""
    back_end = log_determinant(CASES["queen"], "ldl")
    ends = [back_end._ends(panel) for panel in range(back_end._edges.size - 1)]
    nodes = [back_end._nodes(*e) for e in ends if e[0] > 0 and e[1] < 0.98]
    assert nodes == sorted(nodes)
    assert nodes[-1] <= 16


def test_a_looser_tolerance_is_still_bounded(monkeypatch):
    """The bound behind the number of nodes: the error stays below what was asked for."""
    W = CASES["nearest"]
    exact = log_determinant(W, "spectrum")
    for tolerance in (1e-2, 1e-4, 1e-6):
        monkeypatch.setattr(interpolation, "TOLERANCE", tolerance)
        back_end = log_determinant(W, "lu")
        assert isinstance(back_end, Interpolant)
        assert isinstance(exact, Spectrum)
        rho = np.linspace(-0.7, 0.9, 12)
        gap = np.abs(back_end.derivatives(rho)[1] - exact.derivatives(rho)[1])
        assert np.all(gap <= tolerance * W.shape[0] / (1 - np.abs(rho)) ** 2)
