"""Plain twins of mediation: rows that are copied, dummies that are columns, N x N inverses.

Nothing here imports the package.
"""

import numpy as np
import pandas as pd


def frame_of(N, T, seed, a=0.5, b=0.6, direct=0.3, b2=-0.4, rho=0.5):
    """A panel with two mediators, entity and period effects, serially correlated errors whose
    variance differs between units and grows with x."""
    rng = np.random.default_rng(seed)

    def errors():
        e = rng.normal(size=(T, N)) * rng.uniform(0.5, 1.5, size=N)
        for t in range(1, T):
            e[t] = rho * e[t - 1] + np.sqrt(1 - rho**2) * e[t]
        return e

    unit, period = rng.normal(size=N), rng.normal(size=(T, 1))
    x = rng.normal(size=(T, N)) + unit + period
    k1, k2 = rng.normal(size=(2, T, N)) + 0.3 * x
    wide = 1.0 + 0.3 * np.tanh(x)
    m1 = a * x + 0.2 * k1 + unit + period + wide * errors()
    m2 = -0.3 * x + 0.5 * unit - period + errors()
    y = direct * x + b * m1 + b2 * m2 + 0.1 * k1 + 2.0 * unit + period + wide * errors() + 5.0
    columns = {"x": x, "k1": k1, "k2": k2, "m1": m1, "m2": m2, "y": y}
    frame = pd.DataFrame({name: column.ravel() for name, column in columns.items()})
    return frame.assign(i=np.tile(np.arange(N), T), t=np.repeat(np.arange(T), N))


def resampled_rows(frame, units):
    """The rows of the units drawn, each draw a unit of its own."""
    parts = [frame[frame["i"] == unit].assign(i=j) for j, unit in enumerate(units)]
    return pd.concat(parts, ignore_index=True)


def dummy_regression(frame, outcome, regressors, effects):
    """Coefficients of the regressors, dummies of the effects being columns (lstsq)."""
    columns = [frame[regressors].to_numpy()]
    if effects in ("entity", "two-way"):
        columns.append(pd.get_dummies(frame["i"]).to_numpy(dtype=float))
    if effects in ("time", "two-way"):
        columns.append(pd.get_dummies(frame["t"]).to_numpy(dtype=float))
    if effects == "none":
        columns.append(np.ones((len(frame), 1)))
    X = np.hstack(columns)
    return np.linalg.lstsq(X, frame[outcome].to_numpy(), rcond=None)[0][: len(regressors)]


def naive_effects(frame, x, mediators, controls, effects):
    """Direct, indirect by mediator, indirect, total and proportion on one set of rows."""
    total = dummy_regression(frame, "y", [x, *controls], effects)[0]
    outcome = dummy_regression(frame, "y", [x, *mediators, *controls], effects)
    first = np.array([dummy_regression(frame, m, [x, *controls], effects)[0] for m in mediators])
    each = first * outcome[1 : 1 + len(mediators)]
    return np.array([outcome[0], *each, each.sum(), total, each.sum() / total])


def dense_parts(W, multipliers):
    """Own, neighbours' and total part of a product of ``(I - rho W)^-1 (b I + t W)``, N x N.

    ``multipliers`` are triples (rho, b, t).
    """
    identity = np.eye(len(W))
    product = identity
    for rho, b, t in multipliers:
        product = product @ np.linalg.inv(identity - rho * W) @ (b * identity + t * W)
    own = np.diag(product).mean()
    total = product.sum(axis=1).mean()
    return np.array([own, total - own, total])
