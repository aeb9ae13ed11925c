"""Traces of W (I - rho W)^-1 without N x N arrays, against those of the dense inverse."""

import numpy as np
import pytest
from scipy import sparse

from spatial_agglo.core import traces
from spatial_agglo.core.logdet import log_determinant
from spatial_agglo.core.selected import inverse_diagonal


def rows(A):
    sums = np.asarray(A.sum(axis=1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ A)


def queen(m):
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    full = line + sparse.eye_array(m)
    return sparse.csr_array(sparse.kron(full, full) - sparse.eye_array(m * m))


def links(n, k, seed=0):
    rng = np.random.default_rng(seed)
    A = np.zeros((n, n))
    A[np.repeat(np.arange(n), k), rng.integers(0, n, n * k)] = rng.random(n * k)
    np.fill_diagonal(A, 0.0)
    return sparse.csr_array(A)


def nearest(n, k):
    points = np.random.default_rng(0).random((n, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    W = np.zeros((n, n))
    np.put_along_axis(W, np.argsort(distance, axis=1)[:, :k], 1.0 / k, axis=1)
    return sparse.csr_array(W)


def star(n):
    A = np.zeros((n, n))
    A[0, 1:] = A[1:, 0] = 1.0
    return sparse.csr_array(A)


CASES = {
    "queen": rows(queen(15)),
    "binary queen": queen(14),
    "chain": rows(sparse.csr_array(np.eye(90, k=1) + np.eye(90, k=-1))),
    "star": rows(star(60)),
    "nearest": nearest(180, 5),
    "directed": rows(links(150, 2)),
    "isolates": sparse.csr_array(sparse.block_diag([rows(queen(9)), sparse.csr_array((3, 3))])),
}


def dense(W, share):
    """Return rho at a share of the inverse spectral radius, and H."""
    radius = np.abs(np.linalg.eigvals(W.toarray())).max()
    rho = share / radius
    return rho, W.toarray() @ np.linalg.inv(np.eye(W.shape[0]) - rho * W.toarray())


@pytest.mark.parametrize("share", [-0.9, -0.3, 0.2, 0.97])
@pytest.mark.parametrize("name", CASES)
def test_the_diagonal_of_an_inverse(name, share):
    W = CASES[name]
    rho, _ = dense(W, share)
    S = np.eye(W.shape[0]) - rho * W.toarray()
    found = inverse_diagonal(sparse.csc_array(S))
    np.testing.assert_allclose(found, np.diag(np.linalg.inv(S)), rtol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_diagonal_of_the_inverse_of_random_sparse_matrices(seed):
    """Any pattern: rows without entries, several components, dense rows and columns."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 80))
    A = rng.random((n, n)) * (rng.random((n, n)) < rng.choice([0.01, 0.05, 0.3, 0.9]))
    if seed % 3 == 0:
        A[int(rng.integers(n))] = rng.random(n)
    np.fill_diagonal(A, 0.0)
    S = np.eye(n) - rng.choice([-1, 1]) * 0.9 * A / max(A.sum(axis=1).max(), 1e-9)
    found = inverse_diagonal(sparse.csc_array(S))
    np.testing.assert_allclose(found, np.diag(np.linalg.inv(S)), rtol=1e-12)


@pytest.mark.parametrize("share", [-0.95, -0.4, -1e-4, 2e-6, 5e-4, 2e-3, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("name", CASES)
def test_resolvent_of_sparse_weights(monkeypatch, name, share):
    monkeypatch.setattr(traces, "SELECTED_UNITS", 0)
    monkeypatch.setattr(traces, "DENSE_SHARE", 1.0)
    W = CASES[name]
    rho, H = dense(W, share)
    for logdet in (None, log_determinant(W, "spectrum")):
        found = traces.resolvent(W, rho, logdet)
        size = np.abs(np.diag(H)).max()
        np.testing.assert_allclose(found.diagonal, np.diag(H), rtol=1e-8, atol=1e-8 * size)
        np.testing.assert_allclose(found.column_sums, H.sum(axis=0), rtol=1e-11)
        assert found.squared == pytest.approx(np.trace(H @ H), rel=1e-7)
        assert found.frobenius == pytest.approx(np.trace(H.T @ H), rel=1e-8)


def off_diagonal(A, q):
    """The sum by its definition."""
    total = (A * A.T * np.outer(q, q)).sum()
    return total - (np.diag(A) ** 2 * q**2).sum()


@pytest.mark.parametrize("share", [-0.8, 0.0, 1e-5, 0.5, 0.9])
@pytest.mark.parametrize("name", CASES)
def test_sums_over_pairs(monkeypatch, name, share):
    W = CASES[name]
    N = W.shape[0]
    rho, H = dense(W, share)
    rng = np.random.default_rng(0)
    Q = np.stack([rng.normal(size=N) ** 2, rng.normal(size=N)])
    part = rng.random(N)
    for centre in (None, np.full(N, 1.0 / N), part / part.sum()):
        A = H if centre is None else H - np.outer(centre, np.ones(N)) @ H
        exact = np.array([off_diagonal(A, q) for q in Q])
        scale = (Q**2).sum(axis=1) * np.abs(H * H.T).max()
        monkeypatch.setattr(traces, "SELECTED_UNITS", 0)
        monkeypatch.setattr(traces, "DENSE_SHARE", 1.0)
        assert np.all(np.abs(traces.pair_sums(W, rho, Q, centre) - exact) <= 1e-7 * scale)
        monkeypatch.setattr(traces, "SELECTED_UNITS", 10_000)
        found = traces.pair_sums(W, rho, Q, centre)
        np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-12)


def test_sums_over_pairs_beyond_minus_the_inverse_radius(monkeypatch):
    """Where a symmetric W has a parameter space that goes further down: by blocks."""
    monkeypatch.setattr(traces, "SELECTED_UNITS", 0)
    monkeypatch.setattr(traces, "DENSE_UNITS", 0)
    monkeypatch.setattr(traces, "BLOCK", 4)
    W = CASES["queen"]
    rho, H = dense(W, -1.5)
    q = np.random.default_rng(0).random((1, W.shape[0]))
    assert log_determinant(W).interval[0] < rho
    assert traces.pair_sums(W, rho, q)[0] == pytest.approx(off_diagonal(H, q[0]), rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_columns_and_rows(monkeypatch, name):
    monkeypatch.setattr(traces, "DENSE_UNITS", 0)
    monkeypatch.setattr(traces, "BLOCK", 7)
    W = CASES[name]
    rho, H = dense(W, 0.7)
    covered = 0
    for block, columns, across in traces.resolvent_blocks(W, rho):
        np.testing.assert_allclose(columns, H[:, block], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(across, H[block].T, rtol=1e-10, atol=1e-13)
        covered += columns.shape[1]
    assert covered == W.shape[0]
