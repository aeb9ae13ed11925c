"""Plain arrays in, tests out: against explicit formulas, and against the labelled functions."""

import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS, FORMULA
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.diagnostics.arrays import (
    lm_from_arrays,
    regression_from_arrays,
    residuals_from_arrays,
)
from spatial_agglo.errors import (
    AlignmentError,
    DataError,
    IdentificationError,
    OptionError,
    WeightsError,
)


@pytest.fixture
def arrays():
    """Seeded arrays in an order of units that is not sorted: (y, X, W, ids)."""
    rng = np.random.default_rng(11)
    T, N = 5, 12
    W = (rng.random((N, N)) < 0.3) * rng.random((N, N))
    W[np.arange(N), (np.arange(N) + 1) % N] = 1.0
    np.fill_diagonal(W, 0.0)
    W /= W.sum(axis=1, keepdims=True)
    X = rng.normal(size=(T, N, 2)) + rng.normal(size=(1, N, 1))
    u = X @ [1.0, -0.5] + rng.normal(size=(1, N)) + rng.normal(size=(T, N))
    y = np.linalg.solve(np.eye(N) - 0.4 * W, u.T).T
    return y, X, W, [f"unit {i}" for i in rng.permutation(N)]


def dummies(T, N, effects):
    """Dummies of units and periods, as columns of length T N (periods slow)."""
    D = [np.ones((T * N, 1))] if effects == "none" else []
    if effects in ("entity", "two-way"):
        D.append(np.kron(np.ones((T, 1)), np.eye(N)))
    if effects in ("time", "two-way"):
        D.append(np.kron(np.eye(T), np.ones((N, 1))))
    return np.hstack(D)


def brute_force(y, X, W, effects):
    """LM tests with explicit dummies and n = N T, by their definitions."""
    T, N, k = X.shape
    big = np.kron(np.eye(T), W)
    Z = np.hstack([X.reshape(T * N, k), dummies(T, N, effects)])
    Y = y.ravel()
    b = np.linalg.lstsq(Z, Y, rcond=None)[0]
    e = Y - Z @ b
    s2 = e @ e / (N * T)
    along = big @ Z @ b
    left = along - Z @ np.linalg.lstsq(Z, along, rcond=None)[0]
    T_W = np.trace(big @ big + big.T @ big)
    J = left @ left / s2 + T_W
    d_y, d_e = e @ big @ Y / s2, e @ big @ e / s2
    return {
        "LM lag": d_y**2 / J,
        "robust LM lag": (d_y - d_e) ** 2 / (J - T_W),
        "LM error": d_e**2 / T_W,
        "robust LM error": (d_e - T_W / J * d_y) ** 2 / (T_W * (1 - T_W / J)),
    }


@pytest.mark.parametrize("effects", EFFECTS)
def test_lm_against_explicit_dummies(arrays, effects):
    y, X, W, ids = arrays
    ones = np.ones((*y.shape, 1))
    table = lm_from_arrays(
        y, np.concatenate([ones, X], axis=2), W, effects=effects, likelihood="direct", ids=ids
    )
    for name, value in brute_force(y, X, W, effects).items():
        assert table.loc[name, "statistic"] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("effects", EFFECTS)
def test_lm_is_that_of_the_labelled_function(cigarettes, queen, effects):
    """Whatever order the units come in, and whatever the weights are given as."""
    expected = sa.lm_tests(FORMULA, cigarettes, queen, effects=effects)
    order = np.random.default_rng(0).permutation(cigarettes.N)
    ids = cigarettes.entities[order]
    y = cigarettes.column("logc")[:, order]
    columns = [np.ones_like(y), *(cigarettes.column(x)[:, order] for x in ("logp", "logy"))]
    X = np.stack(columns, axis=2)
    W = queen.align(ids).matrix
    for given, labels in ((W.toarray(), None), (W, None), (W, ids), (queen, ids)):
        found = lm_from_arrays(y, X, given, effects=effects, ids=labels)
        np.testing.assert_allclose(found["statistic"], expected["statistic"], rtol=1e-8)


def test_the_regression_is_a_fit_that_goes_on(cigarettes, queen):
    y = cigarettes.column("logc")
    X = np.stack([cigarettes.column(x) for x in ("logp", "logy")], axis=2)
    base = regression_from_arrays(
        y,
        X,
        queen,
        effects="two-way",
        ids=cigarettes.entities,
        times=cigarettes.times,
        names=["logp", "logy"],
    )
    sdm = sa.sdm(FORMULA, cigarettes, queen)
    pd.testing.assert_series_equal(base.replace(model="sdm").params, sdm.params)
    assert list(base.resids.index.levels[0]) == list(cigarettes.entities)


def test_units_and_periods_are_labelled_in_any_order(arrays):
    y, X, W, ids = arrays
    times = [2003, 2001, 2005, 2002, 2004]
    fit = regression_from_arrays(y, X, W, effects="two-way", ids=ids, times=times)
    assert list(fit.workspace.data.panel.times) == sorted(times)
    values = fit.workspace.data.y
    place = list(fit.workspace.data.panel.entities)
    for t, period in enumerate(times):
        for i, unit in enumerate(ids):
            assert values[sorted(times).index(period), place.index(unit)] == y[t, i]


def test_own_residuals_are_checked(arrays):
    y, X, W, ids = arrays
    base = regression_from_arrays(y, X, W, effects="entity", ids=ids)
    resid = base.resids.unstack(0)[ids].to_numpy()
    lm_from_arrays(y, X, W, effects="entity", ids=ids, resid=resid)
    with pytest.raises(DataError, match="not those of least squares.*effects='two-way'"):
        lm_from_arrays(y, X, W, effects="two-way", ids=ids, resid=resid)
    with pytest.raises(DataError, match="not those of least squares"):
        lm_from_arrays(y, X, W, effects="entity", resid=resid[:, ::-1])


def test_gaps_are_left_out_when_that_is_allowed(arrays):
    y, X, W, ids = arrays
    y = y.copy()
    y[1, 3] = np.nan
    with pytest.raises(DataError, match="'y' has 1 missing"):
        regression_from_arrays(y, X, W, ids=ids)
    fit = regression_from_arrays(y, X, W, ids=ids, unbalanced="allow")
    assert fit.nobs == y.size - 1
    assert list(fit.missing) == [(ids[3], 1)]


# --- residuals of anything ----------------------------------------------------------------


def test_residuals_against_loops(arrays):
    _, _, W, ids = arrays
    rng = np.random.default_rng(5)
    e = rng.normal(size=(8, 12))
    e -= e.mean()
    table = residuals_from_arrays(e, W, ids=ids, permutations=99)
    moran = 12 / W.sum() * sum(row @ W @ row for row in e) / (e**2).sum()
    assert table.loc["Moran's I", "statistic"] == pytest.approx(moran, rel=1e-10)
    r = np.corrcoef(e.T)
    pairs = [(i, j) for i in range(12) for j in range(i)]
    cd = np.sqrt(8 / len(pairs)) * sum(r[i, j] for i, j in pairs)
    assert table.loc["Pesaran CD", "statistic"] == pytest.approx(cd, rel=1e-10)
    linked = [(i, j) for i, j in pairs if W[i, j] > 0 or W[j, i] > 0]
    local = np.sqrt(8 / len(linked)) * sum(r[i, j] for i, j in linked)
    assert table.loc["local CD", "statistic"] == pytest.approx(local, rel=1e-10)


def test_residuals_of_spatial_errors_are_found_out_and_others_are_not(arrays):
    _, _, W, _ = arrays
    rng = np.random.default_rng(2)
    v = rng.normal(size=(20, 12))
    u = np.linalg.solve(np.eye(12) - 0.6 * W, v.T).T
    assert residuals_from_arrays(u, W)["p_value"].iloc[0] < 0.01
    assert residuals_from_arrays(v, W)["p_value"].iloc[0] > 0.05


def test_the_seed_decides(arrays):
    y, _, W, _ = arrays
    first, again = (residuals_from_arrays(y, W, permutations=19, seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = residuals_from_arrays(y, W, permutations=19, seed=8)
    assert other.loc["Moran's I", "statistic"] == first.loc["Moran's I", "statistic"]


def test_one_period_has_no_cd(arrays):
    y, _, W, _ = arrays
    assert list(residuals_from_arrays(y[:1], W).index) == ["Moran's I"]
    with pytest.raises(DataError, match="no test for these residuals"):
        residuals_from_arrays(y[:1], None)


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.zeros(12)}, DataError, r"shape \(T, N\).*\(12,\)"),
        ({"X": np.zeros((5, 12))}, DataError, r"shape \(T, N, k\)"),
        ({"X": np.zeros((12, 5, 1))}, DataError, "same periods and units"),
        ({"y": [["a"] * 12] * 5}, DataError, "must hold numbers"),
        ({"ids": ["a", "b"]}, DataError, "label for each of 12"),
        ({"ids": ["a"] * 12}, DataError, "must differ"),
        ({"times": [1, 2]}, DataError, "label for each of 5"),
        ({"names": ["a"]}, DataError, "must name the 2"),
        ({"names": ["a", "a"]}, DataError, "occur twice"),
        ({"names": ["rho", "a"]}, DataError, "own parameters"),
        ({"names": ["y", "a"]}, DataError, "own parameters"),
        ({"effects": "random"}, OptionError, "'none', 'entity', 'time', 'two-way'"),
        ({"likelihood": "exact"}, OptionError, "transformed"),
        ({"W": np.zeros((3, 3))}, WeightsError, "12 x 12"),
        ({"resid": np.zeros((2, 2))}, DataError, "shape of y"),
    ],
)
def test_bad_input(arrays, change, error, message):
    y, X, W, ids = arrays
    given = {"y": y, "X": X, "W": W, "ids": ids} | change
    with pytest.raises(error, match=message):
        regression_from_arrays(given.pop("y"), given.pop("X"), given.pop("W"), **given)


def test_labelled_weights_are_never_matched_by_position(arrays):
    y, X, W, ids = arrays
    labelled = sa.SpatialWeights.from_dense(W, ids)
    with pytest.raises(OptionError, match="matched by label: give ids"):
        lm_from_arrays(y, X, labelled)
    with pytest.raises(AlignmentError):
        lm_from_arrays(y, X, labelled, ids=range(12))


def test_lm_needs_weights(arrays):
    y, X, *_ = arrays
    with pytest.raises(WeightsError, match="need spatial weights"):
        lm_from_arrays(y, X, None)


def test_dummies_that_the_effects_absorb_are_named(arrays):
    y, X, W, _ = arrays
    X = X.copy()
    X[:, :, 1] = np.arange(12)
    with pytest.raises(IdentificationError, match="'x2'.*entity effects absorb"):
        lm_from_arrays(y, X, W, effects="entity")


def test_inputs_are_not_changed(arrays):
    y, X, W, ids = arrays
    before = y.copy(), X.copy(), W.copy()
    lm_from_arrays(y, X, sparse.csr_array(W), effects="two-way", ids=ids)
    lm_from_arrays(y, X, W, effects="two-way", ids=ids)
    for now, then in zip((y, X, W), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_labels_masks_and_complex_numbers_are_not_ignored():
    rng = np.random.default_rng(0)
    y, X = rng.normal(size=(3, 6)), rng.normal(size=(3, 6, 1))
    M = np.roll(np.eye(6), 1, axis=1) + np.roll(np.eye(6), -1, axis=1)
    hidden = np.ma.masked_array(np.where(np.eye(3, 6) > 0, 1e6, y), mask=np.eye(3, 6) > 0)
    plain = np.where(np.eye(3, 6) > 0, np.nan, y)
    found, expected = (
        lm_from_arrays(values, X, M, effects="none", unbalanced="allow")
        for values in (hidden, plain)
    )
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(DataError, match="missing"):
        lm_from_arrays(hidden, X, M, effects="none")
    for wrong, words in ((y + 1j, "complex"), (pd.DataFrame(y), "to_numpy")):
        with pytest.raises(DataError, match=words):
            lm_from_arrays(wrong, X, M, effects="none")
    for wrong in (3, "abcdef"):
        with pytest.raises(OptionError, match="ids must be a list"):
            lm_from_arrays(y, X, M, ids=wrong)
