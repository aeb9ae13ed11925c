"""SpatialWeights: labels and matrix cannot be parted."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, OptionError, WeightsError
from spatial_agglo.weights import SpatialWeights, as_weights

DENSE = np.array([[0, 1, 2.0], [1, 0, 0], [3, 0, 0]])
IDS = ["a", "b", "c"]


def test_the_makers_agree():
    W = SpatialWeights.from_dense(DENSE, IDS)
    frame = pd.DataFrame(DENSE, index=IDS, columns=IDS)
    others = [
        SpatialWeights.from_sparse(sparse.coo_matrix(DENSE), IDS),
        SpatialWeights.from_sparse(sparse.csc_array(DENSE), IDS),
        SpatialWeights.from_frame(frame),
        SpatialWeights.from_frame(frame[["c", "a", "b"]]),
        SpatialWeights.from_dict(
            {"a": ["b", "c"], "b": ["a"], "c": ["a"]}, {"a": [1, 2], "b": [1], "c": [3]}
        ),
        as_weights(frame),
        as_weights(W.to_libpysal()),
        SpatialWeights.from_libpysal(W.to_libpysal().to_W()),
    ]
    for other in others:
        pd.testing.assert_frame_equal(
            other.align(IDS).to_frame(),
            W.to_frame(),
            check_index_type=False,
            check_names=False,
            check_column_type=False,
        )
    assert as_weights(W) is W
    assert isinstance(W.matrix, sparse.csr_array)
    assert (W.n, W.n_links, W.standardization) == (3, 4, "none")
    assert "3 units, 4 links" in repr(W)


def test_standardize():
    W = SpatialWeights.from_dense(DENSE, IDS)
    R = W.standardize("row")
    np.testing.assert_allclose(R.matrix.sum(axis=1), 1.0)
    np.testing.assert_allclose(R.to_frame().loc["a"], [0, 1 / 3, 2 / 3])
    assert R.row_standardized
    assert R.standardization == "row"
    assert "row-standardised" in R.description
    assert R.standardize("row") is R
    assert W.standardize("none") is W
    np.testing.assert_array_equal(W.matrix.toarray(), DENSE)
    with pytest.raises(OptionError, match="'row', 'spectral', 'min-max', 'none'"):
        W.standardize("rows")


def test_align_and_subset_match_by_label():
    W = SpatialWeights.from_dense(DENSE, IDS)
    turned = W.align(["c", "b", "a"])
    assert turned.to_frame().loc["a", "c"] == 2.0
    assert turned.to_frame().loc["c", "a"] == 3.0
    assert W.align(IDS) is W
    part = W.subset(["c", "a"])
    assert part.to_frame().loc["c", "a"] == 3.0
    assert part.n == 2
    with pytest.raises(AlignmentError, match="no unit 'z'"):
        W.subset(["a", "z"])


def test_the_callers_matrix_is_not_shared():
    dense = DENSE.copy()
    csr = sparse.csr_array(DENSE)
    one, two = SpatialWeights.from_dense(dense, IDS), SpatialWeights.from_sparse(csr, IDS)
    dense[0, 1] = 99.0
    csr.data[:] = 99.0
    assert one.matrix.max() == two.matrix.max() == 3.0
    graph = one.to_libpysal()
    before = graph.adjacency.copy()
    sa.weights.as_weights(graph).standardize("row")
    pd.testing.assert_series_equal(graph.adjacency, before)


@pytest.mark.parametrize(
    ("array", "ids", "match"),
    [
        (DENSE[:2], IDS, "3 x 3 is needed for 3 labels; got 2 x 3"),
        (DENSE, ["a", "b"], "2 x 2 is needed"),
        (DENSE, ["a", "b", "b"], "repeated: 'b'"),
        (DENSE, ["a", "b", None], "no label"),
        (np.where(DENSE == 2, np.nan, DENSE), IDS, r"missing or infinite.*\('a', 'c'\)"),
        (np.where(DENSE == 2, np.inf, DENSE), IDS, r"missing or infinite.*\('a', 'c'\)"),
        (-DENSE, IDS, r"4 weight\(s\) are negative"),
        (DENSE + np.diag([1, 0, 0]), IDS, "their own neighbour: 'a'"),
        (np.zeros((3, 3)), IDS, "3 unit.* have no neighbours: 'a', 'b', 'c'"),
        (
            np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0.0]]),
            IDS,
            "no neighbours: 'c'.*isolates='allow'",
        ),
        (np.ones(3), IDS, "1 dimension"),
        ([["x"]], ["a"], "must hold numbers"),
        ([[0.0]], ["a"], "at least two units"),
    ],
)
def test_bad_matrices(array, ids, match):
    with pytest.raises(WeightsError, match=match):
        SpatialWeights.from_dense(array, ids)


def test_other_bad_makers():
    with pytest.raises(WeightsError, match="only one of them has"):
        SpatialWeights.from_frame(pd.DataFrame(DENSE, index=IDS, columns=["a", "b", "z"]))
    with pytest.raises(WeightsError, match="not units: 'z'"):
        SpatialWeights.from_dict({"a": ["z"], "b": ["a"]})
    with pytest.raises(WeightsError, match="more than once"):
        SpatialWeights.from_dict({"a": ["b", "b"], "b": ["a"]})
    with pytest.raises(WeightsError, match="2 neighbours and 1 weights"):
        SpatialWeights.from_dict({"a": ["b", "c"], "b": [], "c": []}, {"a": [1], "b": [], "c": []})
    with pytest.raises(WeightsError, match="scipy sparse matrix is needed; got ndarray"):
        SpatialWeights.from_sparse(DENSE, IDS)
    with pytest.raises(WeightsError, match="Graph or W is needed; got dict"):
        SpatialWeights.from_libpysal({})
    with pytest.raises(WeightsError, match="bare matrix has no labels"):
        as_weights(DENSE)
    with pytest.raises(WeightsError, match="got str"):
        as_weights("queen.gal")
    with pytest.raises(OptionError, match="isolates='drop'"):
        SpatialWeights.from_dense(DENSE, IDS, isolates="drop")


def test_allowed_isolates_keep_a_lag_of_zero():
    array = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0.0]])
    W = SpatialWeights.from_dense(array, IDS, isolates="allow").standardize("row")
    assert W.isolates.tolist() == ["c"]
    assert not W.row_standardized
    np.testing.assert_allclose(W.matrix @ np.ones(3), [1, 1, 0])


def test_mismatch_with_the_panel_is_named():
    W = SpatialWeights.from_dense(DENSE, IDS)
    with pytest.raises(AlignmentError, match=r"1 unit\(s\) of the data have no weights: 'd'"):
        W.align([*IDS, "d"])
    with pytest.raises(AlignmentError, match=r"1 unit\(s\) of the weights have no data: 'c'"):
        W.align(["a", "b"])
    with pytest.raises(AlignmentError, match="int labels such as 1.*str labels such as 'a'"):
        W.align([1, 2, 3])


def test_gal_round_trip_and_bad_files(tmp_path):
    W = SpatialWeights.from_dense((DENSE > 0) * 1.0, ["é", "b", "c"])
    W.write(tmp_path / "w.gal")
    back = sa.weights.read(tmp_path / "w.gal")
    pd.testing.assert_frame_equal(back.to_frame(), W.to_frame())
    from libpysal.graph import read_gal

    assert read_gal(tmp_path / "w.gal").n_edges == 4
    good = (tmp_path / "w.gal").read_text(encoding="utf-8")

    def bad(text, match):
        (tmp_path / "x.gal").write_text(text, encoding="utf-8")
        with pytest.raises(WeightsError, match=match):
            SpatialWeights.read(tmp_path / "x.gal")

    bad("", "empty")
    bad(
        good.replace("b 1", "b 2"),
        r"x.gal, line 5: unit 'b' announces 2 neighbour\(s\) and lists 1",
    )
    bad(good.replace("0 3", "0 4"), "announces 4 units, the file holds 3")
    bad(good.replace("b 1", "b one"), "line 4: a count is expected, got 'one'")
    bad(good.replace("b 1", "b"), "line 4: expected 'id count'")
    bad(good.replace("c 1", "b 1"), "line 6: unit 'b' occurs twice")
    bad(good.replace("b c", "b z"), "not units: 'z'")
    with pytest.raises(WeightsError, match=r"\.gal file is needed"):
        sa.weights.read(tmp_path / "w.txt")
    with pytest.raises(WeightsError, match=r"\.gal file is needed"):
        W.write(tmp_path / "w.txt")
    with pytest.raises(WeightsError, match="blanks: 'New York'"):
        SpatialWeights.from_dense(DENSE, ["New York", "b", "c"]).write(tmp_path / "y.gal")


def test_neighbours_with_their_weights():
    nested = {"a": {"b": 0.7, "c": 0.3}, "b": {"a": 1.0}, "c": {"a": 2.0}}
    table = SpatialWeights.from_dict(nested).to_frame()
    assert table.loc["a"].tolist() == [0.0, 0.7, 0.3]
    assert table.loc["c", "a"] == 2.0
    with pytest.raises(WeightsError, match="list of units, or a mapping"):
        SpatialWeights.from_dict({"a": "b", "b": "a"})


@pytest.mark.parametrize("ids", [{"a", "b", "c"}, "abc", None, pd.DataFrame({"a": [1]})])
def test_labels_need_a_stated_order(ids):
    with pytest.raises(WeightsError, match="stated order"):
        SpatialWeights.from_dense(DENSE, ids)


def test_the_constructor_copies():
    raw = sparse.csr_array(DENSE)
    raw.data[0] = 0.0
    W = SpatialWeights(raw, IDS)
    assert raw.nnz == 4
    raw.data[:] = 9.0
    assert W.matrix.max() == 3.0
