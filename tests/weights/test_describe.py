"""summary and compare against dense brute force."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError
from spatial_agglo.weights import PanelWeights, SpatialWeights, describe
from spatial_agglo.weights.describe import WeightsSummary, compare, summary

#: Two parts (a triangle with a tail, a pair) and an isolate; symmetric.
PARTS = np.zeros((7, 7))
for i, j, w in ((0, 1, 2.0), (1, 2, 1.0), (0, 2, 4.0), (2, 3, 0.5), (4, 5, 3.0)):
    PARTS[i, j] = PARTS[j, i] = w
LETTERS = list("abcdefg")


def random_weights(N, seed, share=0.3, symmetric=False):
    rng = np.random.default_rng(seed)
    dense = rng.random((N, N)) * (rng.random((N, N)) < share)
    if symmetric:
        dense = dense + dense.T
    np.fill_diagonal(dense, 0.0)
    dense[np.arange(N), (np.arange(N) + 1) % N] += 0.1  # nobody is left alone
    if symmetric:
        dense[(np.arange(N) + 1) % N, np.arange(N)] += 0.1
    return dense


def reach(dense):
    """Sizes of components: powers of the undirected pattern."""
    step = np.eye(len(dense)) + (dense + dense.T > 0)
    linked = np.linalg.matrix_power(step, len(dense)) > 0
    rows = {tuple(row) for row in linked}
    return sorted((sum(row) for row in rows), reverse=True)


def first_poles(dense):
    """Reciprocals of the extreme real eigenvalues."""
    omega = np.linalg.eigvals(dense)
    real = omega[np.abs(omega.imag) < 1e-9].real
    return 1 / real.min(), 1 / real.max()


# --- summary ------------------------------------------------------------------------------


def test_a_small_matrix_by_hand():
    W = SpatialWeights.from_dense(PARTS, LETTERS, description="by hand", isolates="allow")
    found = summary(W)
    assert isinstance(found, WeightsSummary)
    assert (found.units, found.links) == (7, 10)
    assert found.share_nonzero == pytest.approx(10 / 49)
    assert (found.neighbours_min, found.neighbours_max) == (0, 3)
    assert found.neighbours_mean == pytest.approx(10 / 7)
    assert found.neighbours_median == 1
    assert found.fewest.tolist() == found.isolates.tolist() == ["g"]
    assert found.most.tolist() == ["c"]
    assert (found.components, found.component_sizes) == (3, (4, 2, 1))
    assert found.symmetric_structure
    assert found.symmetric_values
    assert found.similar_to_symmetric
    assert (found.row_sum_min, found.row_sum_max) == (0.0, 6.0)
    assert found.standardization == "none"
    assert found.description == "by hand"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.units = 8


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_summary_equals_brute_force(symmetric, share):
    dense = random_weights(30, 5, share, symmetric)
    ids = np.random.default_rng(0).permutation(30)
    found = summary(SpatialWeights.from_dense(dense, ids))
    counts = (dense > 0).sum(axis=1)
    assert found.links == counts.sum()
    assert found.neighbours_median == np.median(counts)
    assert set(found.most) == {ids[i] for i in range(30) if counts[i] == counts.max()}
    assert set(found.fewest) == {ids[i] for i in range(30) if counts[i] == counts.min()}
    assert list(found.component_sizes) == reach(dense)
    assert found.symmetric_structure == np.array_equal(dense > 0, dense.T > 0)
    assert found.symmetric_values == symmetric
    np.testing.assert_allclose(
        [found.row_sum_min, found.row_sum_max], [dense.sum(1).min(), dense.sum(1).max()]
    )


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("how", ["none", "row", "spectral", "min-max"])
def test_the_space_of_rho_ends_at_the_first_poles(symmetric, how):
    W = SpatialWeights.from_dense(random_weights(25, 2, 0.2, symmetric), range(25))
    W = W.standardize(how)
    found = summary(W)
    assert found.standardization == how
    assert found.rho_exact
    dense = W.matrix.toarray()
    np.testing.assert_allclose((found.rho_min, found.rho_max), first_poles(dense), rtol=1e-8)
    assert found.similar_to_symmetric == symmetric


def test_a_cycle_has_no_negative_real_eigenvalue():
    dense = np.roll(np.eye(5), 1, axis=1)
    found = summary(SpatialWeights.from_dense(dense, range(5)))
    assert not found.rho_exact
    assert "no real eigenvalue is negative" in found.rho_note
    assert found.rho_max == pytest.approx(1.0)
    inside = np.linspace(found.rho_min + 1e-6, found.rho_max - 1e-6, 50)
    assert all(np.linalg.det(np.eye(5) - rho * dense) > 0 for rho in inside)


def test_links_that_never_lead_back_allow_any_rho():
    dense = np.triu(np.ones((4, 4)), 1)
    found = summary(SpatialWeights.from_dense(dense, range(4), isolates="allow"))
    assert (found.rho_min, found.rho_max, found.rho_exact) == (-np.inf, np.inf, True)
    assert np.linalg.det(np.eye(4) - 50.0 * dense) == pytest.approx(1.0)
    assert "inf" in repr(found)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("how", ["none", "row"])
@pytest.mark.parametrize("limit", [1_000, 100])
def test_bounds_are_on_the_safe_side(symmetric, how, limit, monkeypatch):
    """Sparse matrices, below and above the size up to which the interval is computed."""
    monkeypatch.setattr(describe, "EXACT_UNITS", limit)
    N = 160
    W = SpatialWeights.from_dense(random_weights(N, 7, 3 / N, symmetric), range(N))
    W = W.standardize(how)
    found = summary(W)
    low, high = first_poles(W.matrix.toarray())
    assert not found.rho_exact
    assert low * (1 + 1e-9) <= found.rho_min < 0 < found.rho_max <= high * (1 + 1e-9)
    if how == "row" or limit > N:
        assert found.rho_max == pytest.approx(high)
        assert "lower end is a bound" in found.rho_note
    if symmetric and limit > N:
        assert found.rho_min == pytest.approx(low, rel=2e-2)
    if limit < N:
        assert "not computed for more than 100 units" in found.rho_note
        if how == "none":
            assert "both ends are bounds" in found.rho_note


def test_equal_row_sums_are_the_spectral_radius_unless_they_leak():
    N = 1200
    ring = sparse.csr_array(
        (np.full(2 * N, 0.25), (np.repeat(np.arange(N), 2), np.arange(1, 2 * N + 1) % N)),
        shape=(N, N),
    )
    ring.setdiag(0.0)
    ring = sparse.csr_array(sparse.diags_array(3.0 / ring.sum(axis=1)) @ ring)
    found = summary(SpatialWeights.from_sparse(ring, range(N)))
    assert found.rho_max == pytest.approx(1 / 3)
    assert "the lower end" in found.rho_note
    leak = ring.tolil()
    leak[0, :] = 0.0
    found = summary(SpatialWeights.from_sparse(leak, range(N), isolates="allow"))
    assert "both ends" in found.rho_note


def test_a_million_units_without_dense_memory():
    side = 1000
    path = sparse.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1])
    eye = sparse.eye_array(side)
    grid = sparse.csr_array(sparse.kron(path, eye) + sparse.kron(eye, path))
    W = SpatialWeights.from_sparse(grid, np.arange(side**2)).standardize("row")
    found = summary(W)
    assert found.links == 4 * side * (side - 1)
    assert (found.neighbours_min, found.neighbours_max) == (2, 4)
    assert found.fewest.tolist() == [0, side - 1, side**2 - side, side**2 - 1]
    assert (found.components, found.similar_to_symmetric) == (1, True)
    assert (found.rho_min, found.rho_max) == (-1.0, 1.0)
    assert len(repr(found)) < 1500
    assert found.to_frame().loc["most", "value"].endswith("more")


def test_two_units():
    found = summary(pd.DataFrame([[0, 1.0], [1, 0]], index=["a", "b"], columns=["a", "b"]))
    assert (found.units, found.links, found.rho_min, found.rho_max) == (2, 2, -1.0, 1.0)


def test_what_as_weights_takes_is_described_alike():
    W = sa.datasets.weights("us_production_queen")
    pd.testing.assert_series_equal(
        summary(W.to_libpysal()).to_frame()["value"].drop(["description", "formula", "meaning"]),
        summary(W).to_frame()["value"].drop(["description", "formula", "meaning"]),
    )
    with pytest.raises(WeightsError, match="no labels"):
        summary(np.ones((3, 3)))


def test_repr_and_frame_tell_the_same():
    W = SpatialWeights.from_dense(PARTS, LETTERS, isolates="allow")
    text = repr(summary(W))
    for part in ("10 (20.4% of all cells)", "1: 'g'", "3, of 4, 2, 1 units", "0 to 3, mean 1.43"):
        assert part in text
    frame = summary(W).to_frame()
    assert frame.columns.tolist() == ["value"]
    assert frame.index.tolist() == [field.name for field in dataclasses.fields(WeightsSummary)]
    assert frame.loc["isolates", "value"] == "'g'"
    ring = summary(SpatialWeights.from_dense(np.ones((3, 3)) - np.eye(3), list("abc")))
    assert "2 each" in repr(ring)
    assert "fewest" not in repr(ring)
    assert "isolates         none" in repr(ring)


def test_panel_weights_have_a_row_per_period():
    first = SpatialWeights.from_dense(PARTS, LETTERS, isolates="allow")
    second = SpatialWeights.from_dense(random_weights(7, 1), LETTERS)
    frame = summary(PanelWeights({2001: first, 2002: second}))
    assert frame.index.tolist() == [2001, 2002]
    assert frame.index.name == "period"
    assert frame["links"].tolist() == [10, second.n_links]
    assert frame["links"].dtype.kind == "i"
    assert frame.loc[2001, "isolates"] == "'g'"


# --- compare ------------------------------------------------------------------------------


def brute(A, B, X=None):
    """Jaccard, correlation over the union of links, mean correlation of lags, all dense."""
    A, B = (M / np.where(M.sum(1) > 0, M.sum(1), 1.0)[:, None] for M in (A, B))
    union = (A > 0) | (B > 0)
    both = (A > 0) & (B > 0)
    row = [(A > 0).sum(), (B > 0).sum(), both.sum(), both.sum() / union.sum()]
    row.append(np.corrcoef(A[union], B[union])[0, 1])
    if X is not None:
        row.append(np.mean([np.corrcoef(A @ x, B @ x)[0, 1] for x in X]))
    return row


@pytest.fixture
def three():
    return {"one": random_weights(12, 1), "two": random_weights(12, 2), "tri": PARTS12}


PARTS12 = np.zeros((12, 12))
PARTS12[:7, :7] = PARTS
PARTS12[11, 0] = 1.0


def test_compare_equals_brute_force_whatever_the_order(three):
    rng = np.random.default_rng(3)
    ids = np.array([f"u{i}" for i in range(12)])
    x = rng.normal(size=12)
    matrices = {}
    for name, dense in three.items():
        order = rng.permutation(12)
        matrices[name] = SpatialWeights.from_dense(
            dense[np.ix_(order, order)], ids[order], isolates="allow"
        )
    shuffled = pd.Series(x, index=ids).sample(frac=1.0, random_state=1)
    frame = compare(matrices, shuffled)
    assert frame.index.tolist() == list(itertools.combinations(three, 2))
    assert frame.index.names == ["first", "second"]
    assert frame.columns.tolist() == [
        "links_first",
        "links_second",
        "links_common",
        "jaccard",
        "corr_weights",
        "corr_lags",
    ]
    for first, second in itertools.combinations(three, 2):
        np.testing.assert_allclose(
            frame.loc[(first, second)].astype(float),
            brute(three[first], three[second], [x]),
            rtol=1e-10,
        )
    assert frame.attrs["notes"] == []
    assert "corr_lags" not in compare(matrices)


def test_the_correlation_of_lags_is_averaged_over_periods(three):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3, 12))
    ids = [f"u{i:02d}" for i in range(12)]
    frame = pd.DataFrame(
        {"id": ids * 3, "t": np.repeat([1, 2, 3], 12), "x": X.ravel(), "flat": 1.0}
    )
    frame.loc[frame.t == 1, "flat"] = X[0]
    panel = sa.Panel(frame.sample(frac=1.0, random_state=2), entity="id", time="t")
    order = list(reversed(range(12)))
    matrices = {
        name: SpatialWeights.from_dense(three[name][np.ix_(order, order)], [ids[i] for i in order])
        for name in ("one", "two")
    }
    found = compare(matrices, "x", panel=panel).loc[("one", "two")]
    np.testing.assert_allclose(
        found.astype(float), brute(three["one"], three["two"], X), rtol=1e-10
    )
    with pytest.raises(DataError, match=r"'flat' is constant .* period\(s\) 2, 3"):
        compare(matrices, "flat", panel=panel)
    with pytest.raises(DataError, match="no column 'z'"):
        compare(matrices, "z", panel=panel)
    with pytest.raises(OptionError, match="Series"):
        compare(matrices, panel.frame["x"], panel=panel)


def test_undefined_correlations_are_nan_and_said():
    W = SpatialWeights.from_dense(np.ones((4, 4)) - np.eye(4), list("abcd"))
    frame = compare({"one": W, "same": W.standardize("row")}, pd.Series(range(4), index=[*"abcd"]))
    assert frame["jaccard"].tolist() == [1.0]
    assert np.isnan(frame["corr_weights"]).all()
    assert frame["corr_lags"].tolist() == pytest.approx([1.0])
    assert frame.attrs["notes"] == ["one, same: corr_weights is undefined, one side is constant"]


def test_disjoint_links():
    upper = SpatialWeights.from_dense(np.triu(np.ones((4, 4)), 1), list("abcd"), isolates="allow")
    found = compare({"up": upper, "down": upper.T}).loc[("up", "down")]
    assert (found["links_common"], found["jaccard"]) == (0, 0)
    assert found["corr_weights"] < 0


def test_panel_weights_compare_their_periods(three):
    W = PanelWeights(
        {2001: SpatialWeights.from_dense(three["one"], range(12)),
         2002: SpatialWeights.from_dense(three["two"], range(12))}
    )  # fmt: skip
    np.testing.assert_allclose(
        compare(W).loc[(2001, 2002)].astype(float), brute(three["one"], three["two"])
    )


def test_compare_says_what_is_wrong(three):
    W = SpatialWeights.from_dense(three["one"], range(12))
    other = SpatialWeights.from_dense(three["two"], [*range(11), "z"])
    with pytest.raises(AlignmentError, match=r"'a' and 'b' .* 1 only in 'b': 'z'; 1 only in 'a'"):
        compare({"a": W, "b": other})
    with pytest.raises(WeightsError, match="two matrices are needed.*got 1"):
        compare({"a": W})
    with pytest.raises(WeightsError, match="mapping.*got list"):
        compare([W, W])
    two = {"a": W, "b": SpatialWeights.from_dense(three["two"], range(12))}
    with pytest.raises(AlignmentError, match="only in the Series x: 99"):
        compare(two, pd.Series(np.arange(12.0), index=[*range(11), 99]))
    with pytest.raises(WeightsError, match="repeated"):
        compare(two, pd.Series(np.arange(12.0), index=[0] * 12))
    with pytest.raises(DataError, match="x is constant over units:"):
        compare(two, pd.Series(5.0, index=range(12)))
    with pytest.raises(DataError, match=r"missing or infinite for the unit\(s\) 3"):
        compare(two, pd.Series(np.where(np.arange(12) == 3, np.nan, np.arange(12.0))))
    with pytest.raises(DataError, match="not numeric"):
        compare(two, pd.Series(list("abcdefghijkl")))
    with pytest.raises(OptionError, match="str without a panel"):
        compare(two, "x")


def test_nothing_is_changed(three):
    W = SpatialWeights.from_dense(three["one"], range(12))
    x = pd.Series(np.arange(12.0), index=range(12)).iloc[::-1]
    before = W.matrix.copy(), x.copy()
    compare({"a": W, "b": W.T}, x)
    summary(W)
    assert (W.matrix != before[0]).nnz == 0
    pd.testing.assert_series_equal(x, before[1])
