"""Effects by explicit N x N algebra: plain, and independent of the package.

A panel is a list of blocks ``(W, D)``, one for each period that differs, cut to the units
observed in it.
"""

import dense
import numpy as np

#: Steps of finite differences, relative to max(|value|, 0.1).
STEP = 1e-3


def matrix(values, variable, W, D=None, *, long=False, own=None, spatial=None):
    """The matrix of effects of a variable at a mapping from names to values."""
    D = W if D is None else D
    N = len(W)
    tau, eta = (values[name] if long and name else 0.0 for name in (own, spatial))
    S = (1.0 - tau) * np.eye(N) - (values.get("rho", 0.0) + eta) * W
    return np.linalg.inv(S) @ (values[variable] * np.eye(N) + values.get(f"W*{variable}", 0.0) * D)


def averages(fit, values, blocks, **options):
    """Direct, indirect and total effects over all cells, shape (3, k)."""
    values = dict(zip(fit.names, values, strict=True))
    cells = sum(len(W) for W, _ in blocks)
    out = []
    for name in fit.regressors:
        E = [matrix(values, name, W, D, **options) for W, D in blocks]
        direct, total = sum(np.trace(e) for e in E) / cells, sum(e.sum() for e in E) / cells
        out.append([direct, total - direct, total])
    return np.array(out).T


def jacobian(fit, function):
    """Derivatives of a function of all parameters, by finite differences, (m, p)."""
    step = STEP * np.maximum(np.abs(fit.values), 0.1)
    return dense.jacobian(lambda v: np.ravel(function(v)), fit.values, step)


def delta(fit, function):
    """Delta-method standard errors, with the whole covariance of the fit; NaN counts as zero."""
    J = jacobian(fit, function)
    covariance = np.where(np.isnan(fit.covariance), 0.0, fit.covariance)
    return np.sqrt(np.diag(J @ covariance @ J.T)).reshape(np.shape(function(fit.values)))


def check(found, twin, errors, rtol=1e-6):
    """Estimates to 1e-10, standard errors to 1e-6; NaN where an effect is fixed at zero."""
    np.testing.assert_allclose(found.estimate, twin, rtol=1e-10, atol=1e-10)
    fixed = errors < 1e-12
    assert np.isnan(found.se[fixed]).all()
    np.testing.assert_allclose(found.se[~fixed], errors[~fixed], rtol=rtol)
