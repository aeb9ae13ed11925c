"""The numerical core against explicit matrices."""

from functools import partial

import numpy as np
import pytest
from scipy import sparse

from spatial_agglo.core import coupling as couples
from spatial_agglo.core import logdet as logdets
from spatial_agglo.core import moments as momentums
from spatial_agglo.core import traces
from spatial_agglo.core.kernels import entity_labels
from spatial_agglo.core.logdet import Interpolant, Spectrum, log_determinant, symmetrize
from spatial_agglo.core.moments import accumulate, blocks, lag
from spatial_agglo.core.mutual import Couplings, mutual_clusters
from spatial_agglo.core.within import EFFECTS, within
from spatial_agglo.errors import WeightsError


def lattice(m):
    """Row-standardised rook contiguity of an m x m grid."""
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    one = sparse.eye_array(m)
    B = sparse.csr_array(sparse.kron(line, one) + sparse.kron(one, line))
    return sparse.csr_array(sparse.diags_array(1.0 / B.sum(axis=1)) @ B)


def neighbours(n, k, seed):
    """Row-standardised k nearest neighbours of random points: asymmetric."""
    points = np.random.default_rng(seed).random((n, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    W = np.zeros((n, n))
    np.put_along_axis(W, np.argsort(distance, axis=1)[:, :k], 1.0 / k, axis=1)
    return sparse.csr_array(W)


RHO = np.array([-0.93, -0.4, -1e-3, 0.2, 0.77, 0.985])


@pytest.mark.parametrize(
    ("W", "method"),
    [
        (lattice(5), "spectrum"),
        (neighbours(40, 5, 0), "spectrum"),
        (lattice(14), "sparse LDL'"),
        (neighbours(200, 5, 1), "sparse LU"),
        (0.5 * lattice(14), "sparse LDL'"),
        (sparse.csr_array(0.5 * lattice(14) + 0.5 * neighbours(196, 4, 2)), "sparse LU"),
    ],
)
def test_log_determinant_and_derivatives(W, method):
    back_end = log_determinant(W)
    assert back_end.method.startswith(method)
    low, high = back_end.interval
    rho = RHO * np.where(RHO > 0, high, min(-low, high))
    dense = W.toarray()
    N = W.shape[0]
    exact, first, second = [], [], []
    for r in rho:
        S = np.eye(N) - r * dense
        H = dense @ np.linalg.inv(S)
        exact.append(np.linalg.slogdet(S)[1])
        first.append(-np.trace(H))
        second.append(-np.trace(H @ H))
    np.testing.assert_allclose(back_end.value(rho), exact, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([back_end.value(np.asarray(r)) for r in rho], exact, atol=1e-9)
    d1, d2 = back_end.derivatives(rho)
    np.testing.assert_allclose(d1, first, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(d2, second, rtol=1e-6)


def test_parameter_space_holds_no_singularity_and_ends_at_one():
    for W in (lattice(5), neighbours(40, 5, 0), lattice(14), neighbours(200, 5, 1)):
        back_end = log_determinant(W)
        low, high = back_end.interval
        real = np.linalg.eigvals(W.toarray())
        real = real.real[np.abs(real.imag) < 1e-10]
        assert high == 1.0
        assert low <= -1.0 or isinstance(back_end, Interpolant)
        assert 1.0 / real.min() <= low + 1e-9


def test_lower_end_is_found_by_inertia():
    """A graph with triangles has 1/omega_min below -1; LDL' certifies it to 1%."""
    m = 14
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    full = sparse.kron(line + sparse.eye_array(m), line + sparse.eye_array(m))
    B = sparse.csr_array(full - sparse.eye_array(m * m))
    W = sparse.csr_array(sparse.diags_array(1.0 / B.sum(axis=1)) @ B)
    back_end = log_determinant(W)
    assert isinstance(back_end, Interpolant)
    exact = 1.0 / np.linalg.eigvals(W.toarray()).real.min()
    assert exact < -1.2
    assert exact <= back_end.interval[0] <= exact / 1.0102


def test_symmetric_twin_has_the_same_spectrum():
    W = lattice(6)
    twin = symmetrize(W)
    assert twin is not None
    np.testing.assert_allclose(twin.toarray(), twin.toarray().T)
    ours = np.sort(np.linalg.eigvalsh(twin.toarray()))
    np.testing.assert_allclose(ours, np.sort(np.linalg.eigvals(W.toarray()).real), atol=1e-10)


def test_symmetric_twin_of_full_weights_and_of_components():
    rng = np.random.default_rng(0)
    B = rng.random((12, 12))
    B = B + B.T
    np.fill_diagonal(B, 0.0)
    B[:5, 5:] = B[5:, :5] = 0.0  # two components
    W = sparse.csr_array(B / B.sum(axis=1, keepdims=True))
    twin = symmetrize(W)
    assert twin is not None
    np.testing.assert_allclose(twin.toarray(), twin.toarray().T, atol=1e-14)


def test_asymmetric_weights_have_no_symmetric_twin():
    assert symmetrize(neighbours(30, 4, 0)) is None
    dense = np.random.default_rng(0).random((6, 6))
    np.fill_diagonal(dense, 0.0)
    assert symmetrize(sparse.csr_array(dense)) is None


def test_too_large_a_full_matrix_is_refused(monkeypatch):
    monkeypatch.setattr(logdets, "SPECTRUM_LIMIT", 10)
    with pytest.raises(WeightsError, match="cut-off"):
        log_determinant(sparse.csr_array(np.ones((11, 11)) - np.eye(11)))


def test_spectrum_keeps_complex_eigenvalues():
    W = neighbours(40, 5, 0)
    spectrum = Spectrum.of(W, None)
    assert np.iscomplexobj(spectrum.omega)
    wrong = np.log(np.abs(1 - 0.6 * spectrum.omega.real)).sum()
    right = np.linalg.slogdet(np.eye(40) - 0.6 * W.toarray())[1]
    assert spectrum.value(np.asarray(0.6)) == pytest.approx(right, abs=1e-10)
    assert abs(wrong - right) > 1e-3


@pytest.mark.parametrize("units", [10_000, 0])
@pytest.mark.parametrize("rho", [0.0, 0.6, -0.5])
def test_resolvent_dense_and_in_blocks(monkeypatch, units, rho):
    monkeypatch.setattr(traces, "DENSE_UNITS", units)
    monkeypatch.setattr(traces, "BLOCK", 7)
    W = neighbours(40, 5, 0)
    H = W.toarray() @ np.linalg.inv(np.eye(40) - rho * W.toarray())
    J = np.eye(40) - 1.0 / 40
    found = traces.resolvent(W, rho)
    np.testing.assert_allclose(found.diagonal, np.diag(H), atol=1e-12)
    np.testing.assert_allclose(found.column_sums, H.sum(axis=0), atol=1e-12)
    expected = (np.trace(H), np.trace(H @ H), np.trace(H.T @ H))
    np.testing.assert_allclose(found.projected(False), expected, atol=1e-11)
    P = J @ H @ J
    expected = (np.trace(P), np.trace(P @ P), np.trace(P.T @ P))
    np.testing.assert_allclose(found.projected(True), expected, atol=1e-11)


@pytest.mark.parametrize("units", [10_000, 0])
def test_mutual_terms_dense_and_in_blocks(monkeypatch, units):
    """The couplings of a fit with period effects, ``J H``, in blocks of units."""
    monkeypatch.setattr(couples, "DENSE_UNITS", units)
    monkeypatch.setattr(couples, "BLOCK", 7)
    W, rho = neighbours(40, 5, 0), 0.6
    A = (np.eye(40) - 1.0 / 40) @ W.toarray() @ np.linalg.inv(np.eye(40) - rho * W.toarray())
    v = np.random.default_rng(0).normal(size=(3, 40))
    coupling = couples.Coupling(W, None, rho)
    couplings = Couplings((0,), 1.0, (partial(coupling.centred, np.ones(40)),))
    own = np.arange(120).reshape(3, 40)
    for labels, c in ((own, (v**2).T @ v**2), (entity_labels(3, 40), (v.T @ v) ** 2)):
        twin = sum(A[i, j] * A[j, i] * c[i, j] for i in range(40) for j in range(40) if i != j)
        assert mutual_clusters(labels, v, couplings)[0, 0] == pytest.approx(twin, rel=1e-9)


@pytest.mark.parametrize("effects", EFFECTS)
def test_within_is_the_dummy_projection(effects):
    rng = np.random.default_rng(0)
    T, N = 4, 5
    Z = rng.normal(size=(T, N, 2))
    D = [np.zeros((T * N, 0))]
    if effects in ("entity", "two-way"):
        D.append(np.kron(np.ones((T, 1)), np.eye(N)))
    if effects in ("time", "two-way"):
        D.append(np.kron(np.eye(T), np.ones((N, 1))))
    D = np.hstack(D)
    flat = Z.reshape(T * N, 2)
    twin = flat - D @ np.linalg.lstsq(D, flat, rcond=None)[0] if D.size else flat
    np.testing.assert_allclose(within(Z, effects).reshape(T * N, 2), twin, atol=1e-12)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("lag_last", [False, True])
def test_moments_add_up_over_blocks_of_periods(monkeypatch, effects, lag_last):
    rng = np.random.default_rng(0)
    F = within(
        rng.normal(size=(9, 16, 3)), "entity" if effects in ("entity", "two-way") else "none"
    )
    W = lattice(4)
    words = ("", "W", "WW")
    whole = accumulate(F, {"W": W}, effects, words=words, lag_last=lag_last)
    monkeypatch.setattr(momentums, "BLOCK_CELLS", 16 * 9 * 2)
    split = accumulate(F, {"W": W}, effects, words=words, lag_last=lag_last)
    np.testing.assert_allclose(whole.G, split.G, atol=1e-11)
    Z = blocks(F, {"W": W}, effects, words=words, lag_last=lag_last).reshape(-1, 9)
    np.testing.assert_allclose(whole.G, Z.T @ Z, atol=1e-11)


def test_lag_of_dense_and_sparse_agree():
    rng = np.random.default_rng(0)
    W, Z = lattice(4), rng.normal(size=(3, 16, 2))
    twin = np.stack([W.toarray() @ z for z in Z])
    for operator in (W, W.toarray()):
        np.testing.assert_allclose(lag(operator, Z), twin, atol=1e-14)
        np.testing.assert_allclose(lag(operator, Z[:, :, 0]), twin[:, :, 0], atol=1e-14)


def test_weights_without_a_way_back():
    W = sparse.csr_array(np.triu(np.ones((4, 4)), 1))
    with pytest.raises(WeightsError, match="leads back"):
        log_determinant(W)


def test_defective_zero_eigenvalues_do_not_move_the_ends():
    """Rounding turns a defective zero into a cloud around zero; it is not an end."""
    dense = np.zeros((8, 8))
    dense[np.arange(7), np.arange(1, 8)] = 1.0  # a chain, nilpotent on its own
    dense[0, 1] = dense[1, 0] = 1.0
    low, high = log_determinant(sparse.csr_array(dense)).interval
    assert (low, high) == pytest.approx((-1.0, 1.0))


def test_interval_that_is_lopsided():
    """Groups of 40: eigenvalues 1 and -1/39, so the interval is (-39, 1)."""
    block = (np.ones((40, 40)) - np.eye(40)) / 39
    W = sparse.csr_array(sparse.block_diag([block] * 15))
    W.eliminate_zeros()
    back_end = log_determinant(W)
    assert isinstance(back_end, Interpolant)
    assert back_end.interval[0] < -35
    omega = np.tile(np.append(np.full(39, -1 / 39), 1.0), 15)
    rho = np.array([-30.0, -5.0, -0.5, -0.1, -0.02, 0.3, 0.9])
    d1, d2 = back_end.derivatives(rho)
    ratio = omega / (1 - rho[:, None] * omega)
    np.testing.assert_allclose(d1, -ratio.sum(axis=1), rtol=1e-8)
    np.testing.assert_allclose(d2, -(ratio**2).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(
        back_end.value(rho), np.log(np.abs(1 - rho[:, None] * omega)).sum(axis=1), rtol=1e-9
    )
