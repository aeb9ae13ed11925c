"""Large sparse W: the search on a sketch and the sums without N x N arrays, against the exact."""

import numpy as np
import pytest
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.core import maximize, mutual, traces
from spatial_agglo.core.jacobian import LogJacobian


def rook(rows, columns):
    def line(n):
        return sparse.diags_array([np.ones(n - 1)] * 2, offsets=[-1, 1], shape=(n, n))

    A = sparse.kron(line(rows), sparse.eye_array(columns))
    A = A + sparse.kron(sparse.eye_array(rows), line(columns))
    ids = [f"{i:04d}" for i in range(rows * columns)]
    return sa.SpatialWeights.from_sparse(sparse.csr_array(A), ids).standardize("row")


def nearest(n, k, seed=0):
    """The k nearest of random points: not similar to a symmetric matrix."""
    xy = np.random.default_rng(seed).uniform(size=(n, 2))
    d = np.linalg.norm(xy[:, None] - xy, axis=2)
    np.fill_diagonal(d, np.inf)
    A = (d <= np.sort(d, axis=1)[:, k - 1 : k]).astype(float)
    return sa.SpatialWeights.from_dense(A, [f"{i:04d}" for i in range(n)]).standardize("row")


def drawn(model, W, rho, seed, T=3):
    options = {"beta": [1.0, -0.5], "theta": [0.5, 0.2]}
    for name in {"sdm": ["rho"], "sdem": ["lam"], "gns": ["rho", "lam"]}[model]:
        options[name] = rho if name == "rho" else 0.3
    return sa.simulate(model, W, T, effects="entity", seed=seed, **options)


@pytest.mark.parametrize("how", ["ldl", "lu"])
@pytest.mark.parametrize("model", ["sdm", "sdem", "gns"])
@pytest.mark.parametrize("rho", [-0.6, 0.05, 0.5, 0.9])
def test_the_maximum_is_that_of_the_spectrum(how, model, rho):
    """The search looks at a few traces; where it ends is the exact maximum."""
    W = rook(12, 12) if how == "ldl" else nearest(144, 6)
    sim = drawn(model, W, rho, seed=int(100 * abs(rho)))
    exact, other = (
        getattr(sa, model)(sim.formula, sim.panel, V, effects="entity")
        for V in (W.with_logdet("spectrum"), W.with_logdet(how))
    )
    assert other.loglik == pytest.approx(exact.loglik, rel=1e-10)
    np.testing.assert_allclose(other.params, exact.params, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(other.std_errors, exact.std_errors, rtol=1e-5)


class Misleading:
    """A Jacobian term with a sketch that puts the maximum elsewhere."""

    def __init__(self, jacobian, tilt):
        self.jacobian, self.tilt = jacobian, tilt
        self.interval, self.grid = jacobian.interval, jacobian.grid

    def value(self, rho):
        return self.jacobian.value(rho) + self.tilt * np.asarray(rho)

    def derivatives(self, rho):
        first, second = self.jacobian.derivatives(rho)
        return first + self.tilt, second

    @property
    def sketch(self):
        return self


@pytest.mark.parametrize("tilt", [-4000.0, -300.0, 300.0, 4000.0])
def test_a_sketch_that_misleads_does_no_harm(tilt, monkeypatch):
    W = rook(10, 10)
    sim = drawn("sdm", W, 0.4, seed=3)
    honest = sa.sdm(sim.formula, sim.panel, W.with_logdet("spectrum"), effects="entity")
    asked = []

    def sketch(jacobian):
        asked.append(1)
        return Misleading(jacobian, tilt)

    monkeypatch.setattr(LogJacobian, "sketch", property(sketch))
    found = sa.sdm(sim.formula, sim.panel, W.with_logdet("spectrum"), effects="entity")
    assert asked
    np.testing.assert_allclose(found.params, honest.params, rtol=1e-9)


def test_the_search_near_a_point_gives_up():
    """A zero far away, and a minimum, are not taken for the maximum that was sought."""

    class Space:
        grid = np.linspace(-0.99, 0.99, 50)

    assert maximize._near(lambda x: 0.31 - x, 0.30, Space) == pytest.approx(0.31, abs=1e-14)
    assert maximize._near(lambda x: 0.9 - x, 0.30, Space) is None
    assert maximize._near(lambda x: x - 0.31, 0.30, Space) is None
    assert maximize._near(lambda x: np.asarray(1.0), 0.30, Space) is None


@pytest.mark.parametrize("model", ["sdm", "sdem"])
@pytest.mark.parametrize("cov", ["expected", "robust", "clustered"])
@pytest.mark.parametrize("effects", ["none", "time"])
def test_sums_over_pairs_without_square_arrays(model, cov, effects, monkeypatch):
    """The same covariance from the blocks of a dense H and from selected entries of the inverse."""
    W = rook(30, 36)
    sim = drawn(model, W, 0.5, seed=8, T=1 if effects == "none" else 2)
    fit = getattr(sa, model)(sim.formula, sim.panel, W, effects=effects)
    quick = fit.replace(cov=cov).cov
    called = []
    by_pairs = mutual._by_pairs
    monkeypatch.setattr(mutual, "_by_pairs", lambda *a: called.append(1) or by_pairs(*a))
    again = getattr(sa, model)(sim.formula, sim.panel, W, effects=effects, cov=cov).cov
    assert bool(called) == (cov == "robust" or (cov == "clustered" and effects == "none"))
    np.testing.assert_allclose(again, quick, rtol=1e-9)
    monkeypatch.setattr(mutual, "UNITS_PER_SUM", 10**9)
    monkeypatch.setattr(traces, "DENSE_UNITS", 10**9)
    slow = getattr(sa, model)(sim.formula, sim.panel, W, effects=effects, cov=cov).cov
    np.testing.assert_allclose(quick, slow, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("model", ["sar", "sac"])
def test_units_that_all_weigh_the_same(model):
    """Once period means are gone Wy is a multiple of y, with an error process or without."""
    W = sa.SpatialWeights.from_dense(
        np.ones((12, 12)) - np.eye(12), [f"u{i:02d}" for i in range(12)]
    )
    sim = sa.simulate("ols", W.standardize("row"), 6, beta=[1.0], effects="two-way", seed=0)
    with pytest.raises(sa.errors.IdentificationError, match="Wy is a multiple of y"):
        getattr(sa, model)(sim.formula, sim.panel, W.standardize("row"), effects="two-way")
