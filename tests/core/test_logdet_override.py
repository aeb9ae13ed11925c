"""W.with_logdet: the choice of the user, kept where the matrix is kept."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.core import logdet as logdets
from spatial_agglo.core.logdet import Interpolant, Spectrum
from spatial_agglo.errors import OptionError, WeightsError


def queen(m):
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    full = line + sparse.eye_array(m)
    A = sparse.csr_array(sparse.kron(full, full) - sparse.eye_array(m * m))
    return sa.SpatialWeights.from_sparse(A, [f"u{i}" for i in range(m * m)])


def directed(n, seed=0):
    rng = np.random.default_rng(seed)
    A = np.zeros((n, n))
    A[np.repeat(np.arange(n), 3), rng.integers(0, n, 3 * n)] = 1.0
    np.fill_diagonal(A, 0.0)
    return sa.SpatialWeights.from_dense(A, [f"u{i}" for i in range(n)], isolates="allow")


def test_the_choice_is_made_on_a_new_object():
    W = queen(6).standardize("row")
    assert W.logdet.method == "spectrum"
    for how, kind, method in (
        ("ldl", Interpolant, "sparse LDL'"),
        ("lu", Interpolant, "sparse LU"),
        ("spectrum", Spectrum, "spectrum"),
        ("auto", Spectrum, "spectrum"),
    ):
        other = W.with_logdet(how)
        assert other is not W
        assert isinstance(other.logdet, kind)
        assert other.logdet.method.startswith(method)
        assert other.logdet is other.logdet
        np.testing.assert_array_equal(other.matrix.toarray(), W.matrix.toarray())
        assert other.ids.equals(W.ids)
        assert other.description == W.description
    assert W.logdet.method == "spectrum"


def test_aligned_copies_share_it_and_other_matrices_start_again():
    W = queen(6).standardize("row").with_logdet("ldl")
    aligned = W.align(W.ids[::-1])
    assert aligned.logdet is W.logdet
    chosen = aligned.with_logdet("lu")
    assert chosen.logdet.method.startswith("sparse LU")
    assert chosen.align(W.ids).logdet is chosen.logdet
    assert aligned.logdet is W.logdet
    assert W.subset(W.ids[:20]).logdet.method == "spectrum"
    assert queen(6).with_logdet("ldl").standardize("row").logdet.method == "spectrum"


def test_pickles_keep_the_choice():
    W = queen(6).standardize("row").with_logdet("ldl")
    aligned = W.align(W.ids[::-1])
    rho = np.asarray(0.4)
    value = W.logdet.value(rho)
    for weights in (W, aligned):
        copy = pickle.loads(pickle.dumps(weights))
        assert copy.logdet.method == W.logdet.method
        assert copy.logdet.value(rho) == pytest.approx(float(value), rel=1e-13)


def test_choices_that_cannot_be(monkeypatch):
    W = queen(6)
    with pytest.raises(OptionError, match="'auto', 'spectrum', 'ldl', 'lu'"):
        W.with_logdet("LU")
    with pytest.raises(WeightsError, match="makes symmetric"):
        directed(40).with_logdet("ldl")
    monkeypatch.setattr(logdets, "SPECTRUM_LIMIT", 30)
    with pytest.raises(WeightsError, match="36 x 36"):
        W.with_logdet("spectrum")


@pytest.mark.parametrize("model", ["sar", "sem", "sdm", "sac"])
@pytest.mark.parametrize("rho", [-0.7, 0.3, 0.9])
@pytest.mark.parametrize(("kind", "how"), [("queen", "ldl"), ("queen", "lu"), ("directed", "lu")])
def test_fits_do_not_depend_on_the_back_end(model, rho, kind, how):
    """Estimates, standard errors and likelihood by factorisation, as by eigenvalues."""
    W = (queen(13) if kind == "queen" else directed(170)).standardize("row")
    rng = np.random.default_rng(7)
    X = rng.normal(size=(W.n, 2))
    S = np.eye(W.n) - rho * W.matrix.toarray()
    y = np.linalg.solve(S, X @ [1.0, 0.5] + rng.normal(size=W.n))
    frame = pd.DataFrame({"id": W.ids, "y": y, "x1": X[:, 0], "x2": X[:, 1]})
    panel = sa.Panel(frame, entity="id")
    fits = [
        getattr(sa, model)("y ~ x1 + x2", panel, W.with_logdet(choice), effects="none")
        for choice in (how, "spectrum")
    ]
    np.testing.assert_allclose(fits[0].params, fits[1].params, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(fits[0].std_errors, fits[1].std_errors, rtol=1e-7)
    assert fits[0].loglik == pytest.approx(fits[1].loglik, rel=1e-11)
    assert any(note.startswith("log-determinant: sparse") for note in fits[0].notes)
