"""Weights files: what is written comes back, other programs agree, bad files are named."""

import csv
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libpysal.graph import Graph, read_gal, read_gwt
from libpysal.io import open as pysal_open
from libpysal.weights import W as PysalW
from scipy import sparse
from scipy.io import mmread, mmwrite

from spatial_agglo.errors import MissingDependencyError, OptionError, WeightsError
from spatial_agglo.weights import SpatialWeights
from spatial_agglo.weights.formats import FORMATS, read, write

EXACT = (".gwt", ".mtx", ".parquet", ".csv", ".dta")
ALL = (*EXACT, ".gal")
assert set(ALL) == set(FORMATS)

DENSE = np.array(
    [
        [0, 0.1, 2.0, 0, 1e-300],
        [1 / 3, 0, 0, 0, 0],
        [0.1 + 0.2, 0, 0, 0, 7e200],
        [0, 0, 0, 0, 0],
        [0, 123456789.123456789, 0, 0, 0],
    ]
)
LABELS = {
    "strings": ["b", "a", "c10", "c9", "x"],
    "integers": [30, 1, -2, 110000, 0],
    "digits": ["30", "1", "2", "110000", "0"],
    "zeros": ["007", "7", "07", "1", "2"],
    "scripts": ["北京", "Île-de-France", "Αθήνα", "القاهرة", "Zürich"],
    "words": ["nan", "NA", "None", "inf", "1e5"],
    "marks": ['"', "%id", "a,b", "'", "#"],
}
BLANKS = ["New York", " a ", "two\nlines", "tab\t", "cr\r"]


def weights(ids, kind="raw"):
    W = SpatialWeights.from_dense(DENSE, ids, isolates="allow", description="Straßen, 2020")
    return W.standardize("row") if kind == "row" else W


def same(back, W):
    pd.testing.assert_index_equal(back.ids, W.ids, check_names=False)
    assert [type(label) for label in back.ids] == [type(label) for label in W.ids]
    assert np.array_equal(back.matrix.indptr, W.matrix.indptr)
    assert np.array_equal(back.matrix.indices, W.matrix.indices)
    assert np.array_equal(back.matrix.data, W.matrix.data)


def put(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


# --- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("ids", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("kind", ["raw", "row"])
def test_what_is_written_comes_back(tmp_path, suffix, ids, kind):
    W = weights(ids, kind)
    if suffix == ".gal":
        W = SpatialWeights.from_dense((DENSE > 0) * 1.0, ids, isolates="allow")
    path = tmp_path / f"W{suffix}"
    write(W, path)
    back = read(path, isolates="allow")
    same(back, W)
    assert back.standardization == W.standardization
    with pytest.raises(WeightsError, match=rf"W\{suffix}: 1 unit.*no neighbours: .*'allow'"):
        read(path)


@pytest.mark.parametrize("suffix", [".mtx", ".parquet", ".csv", ".dta"])
def test_labels_with_blanks_and_breaks(tmp_path, suffix):
    W = weights(BLANKS)
    write(W, tmp_path / f"W{suffix}")
    same(read(tmp_path / f"W{suffix}", isolates="allow"), W)


@pytest.mark.parametrize("suffix", [".gal", ".gwt"])
@pytest.mark.parametrize("label", ["New York", "", "a\u00a0b", "a\u2028b", "a\x85b"])
def test_lists_cannot_hold_blanks(tmp_path, suffix, label):
    with pytest.raises(WeightsError, match=rf"W\{suffix}: .*empty or have blanks: .*\.mtx"):
        write(weights([label, "b", "c", "d", "e"]), tmp_path / f"W{suffix}", values=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".MTX", ".Parquet", ".GAL"])
def test_suffixes_in_capitals(tmp_path, suffix):
    W = weights(LABELS["strings"])
    write(W, tmp_path / f"W{suffix}", values=False)
    assert [path.name for path in tmp_path.iterdir()] == [f"W{suffix}"]
    assert read(tmp_path / f"W{suffix}", isolates="allow").n_links == W.n_links


@pytest.mark.parametrize("suffix", ALL)
def test_the_links_alone(tmp_path, suffix):
    W = weights(LABELS["strings"], "row")
    write(W, tmp_path / f"W{suffix}", values=False)
    back = read(tmp_path / f"W{suffix}", isolates="allow")
    np.testing.assert_array_equal(back.matrix.toarray(), (DENSE > 0) * 1.0)
    np.testing.assert_array_equal(W.matrix.data, weights(LABELS["strings"], "row").matrix.data)


def test_gal_does_not_drop_weights_silently(tmp_path):
    for kind, count in (("raw", 7), ("row", 4)):
        with pytest.raises(
            WeightsError, match=rf"{count} of the 7 weights.*lost.*\.gwt.*values=False"
        ):
            write(weights(LABELS["strings"], kind), tmp_path / "W.gal")
        with pytest.raises(WeightsError, match="would be lost"):
            weights(LABELS["strings"], kind).write(tmp_path / "W.gal")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mtx", ".parquet"])
def test_what_is_known_of_the_weights(tmp_path, suffix):
    W = SpatialWeights(
        sparse.csr_array(DENSE),
        list("abcde"),
        description='roads, "2020"\nÎle',
        formula="w = 1/d",
        meaning="near weighs more",
        isolates="allow",
    ).standardize("spectral")
    write(W, tmp_path / f"W{suffix}")
    back = read(tmp_path / f"W{suffix}", isolates="allow")
    for name in ("description", "formula", "meaning", "standardization"):
        assert getattr(back, name) == getattr(W, name)
    write(W, tmp_path / f"V{suffix}", values=False)
    assert read(tmp_path / f"V{suffix}", isolates="allow").standardization == "none"


@pytest.mark.parametrize("suffix", [".gal", ".gwt", ".csv", ".dta"])
def test_other_files_are_described_by_their_name(tmp_path, suffix):
    write(weights(list("abcde")), tmp_path / f"roads{suffix}", values=False)
    assert read(tmp_path / f"roads{suffix}", isolates="allow").description == "roads"


@pytest.mark.parametrize("suffix", ALL)
def test_only_strings_or_integers_are_written(tmp_path, suffix):
    for ids, match in (
        ([1, "a", 2, 3, 4], "all strings or all integers.*got, among others, 1, 2, 3 and 1 more"),
        ([0.5, 1.5, 2.5, 3.5, 4.5], "got, among others, 0.5, 1.5, 2.5 and 2 more"),
        ([10**18, 1, 2, 3, 4], "at most 18 digits; got 1000000000000000000"),
        (pd.Index(["\ud800", "b", "c", "d", "e"], dtype=object), "not valid Unicode"),
    ):
        with pytest.raises(WeightsError, match=rf"W\{suffix}: .*{match}"):
            write(weights(ids), tmp_path / f"W{suffix}", values=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gwt", ".mtx", ".parquet", ".csv"])
def test_integers_of_eighteen_digits(tmp_path, suffix):
    W = weights([10**18 - 1, -(10**18) + 1, 2**53 + 1, 2**31, 5])
    write(W, tmp_path / f"W{suffix}")
    same(read(tmp_path / f"W{suffix}", isolates="allow"), W)


def test_a_frame_or_a_graph_is_written_too(tmp_path):
    frame = pd.DataFrame(DENSE[:3, :3], index=list("abc"), columns=list("abc"))
    write(frame, tmp_path / "W.gwt")
    same(read(tmp_path / "W.gwt"), SpatialWeights.from_frame(frame))


@st.composite
def any_weights(draw, alphabet):
    N = draw(st.integers(2, 6))
    text = st.text(alphabet, min_size=1, max_size=6)
    whole = st.integers(-(10**15), 10**15)
    one_kind = st.sampled_from([text, whole, whole.map(str)])
    ids = draw(one_kind.flatmap(lambda kind: st.lists(kind, min_size=N, max_size=N, unique=True)))
    value = st.one_of(st.just(0.0), st.floats(0, 8e307, allow_subnormal=True))
    cells = draw(st.lists(value, min_size=N * N, max_size=N * N))
    dense = np.array(cells).reshape(N, N)
    np.fill_diagonal(dense, 0.0)
    dense[0, 1] = dense[0, 1] or 1.0
    return SpatialWeights.from_dense(dense, ids, isolates="allow")


@pytest.mark.parametrize("suffix", EXACT)
@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_weights_come_back(suffix, data):
    visible = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
    anything = st.characters(codec="utf-8", exclude_characters="\0")
    W = data.draw(any_weights(visible if suffix == ".gwt" else anything))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"W{suffix}")
        write(W, path)
        same(read(path, isolates="allow"), W)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gwt", ".mtx", ".parquet"])
def test_a_hundred_thousand_units(tmp_path, suffix):
    N, k = 100_000, 8
    rng = np.random.default_rng(0)
    target = (np.arange(N)[:, None] + np.arange(1, k + 1) ** 2) % N
    edges = (np.repeat(np.arange(N), k), target.ravel())
    matrix = sparse.csr_array((rng.random(N * k), edges), shape=(N, N))
    W = SpatialWeights.from_sparse(matrix, [f"县{i}" for i in range(N)]).standardize("row")
    write(W, tmp_path / f"W{suffix}")
    same(read(tmp_path / f"W{suffix}"), W)


# --- labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("1", "2", [1, 2]),
        ("-1", "0", [-1, 0]),
        ("007", "8", ["007", "8"]),
        ("1.0", "2.0", ["1.0", "2.0"]),
        ("1", "a", ["1", "a"]),
        ("1_0", "2", ["1_0", "2"]),
        ("٣", "٤", ["٣", "٤"]),
        ("-0", "1", ["-0", "1"]),
        ("9" * 19, "1", ["9" * 19, "1"]),
    ],
)
def test_the_rule_for_labels_in_text(tmp_path, first, second, expected):
    a, b = first, second
    files = [
        put(tmp_path, "W.gal", f"2\n{a} 1\n{b}\n{b} 1\n{a}\n"),
        put(tmp_path, "W.gwt", f"0 2 file key\n{a} {b} 1\n{b} {a} 1\n"),
        put(tmp_path, "W.csv", f",{a},{b}\n{a},0,1\n{b},1,0\n"),
        put(tmp_path, "E.csv", f"source,target,weight\n{a},{b},1\n{b},{a},1\n"),
    ]
    for path in files:
        assert read(path).ids.tolist() == expected
        assert read(path, ids="str").ids.tolist() == [a, b]
    assert read(put(tmp_path, "W.gal", f"0 2 x id_text\n{a} 1\n{b}\n{b} 1\n{a}\n")).ids[0] == a


@pytest.mark.parametrize("suffix", ALL)
def test_labels_asked_for(tmp_path, suffix):
    path = tmp_path / f"W{suffix}"
    W = weights(LABELS["integers"])
    write(W, path, values=False)
    texts = [str(label) for label in W.ids]
    assert read(path, ids="str", isolates="allow").ids.tolist() == texts
    back = read(path, ids=texts[::-1], isolates="allow")
    assert back.ids.tolist() == texts[::-1]
    np.testing.assert_array_equal(back.matrix.toarray(), (DENSE > 0)[::-1, ::-1])
    with pytest.raises(WeightsError, match=rf"W\{suffix}: units of the file .* ids=: '110000'"):
        read(path, ids=[30, 1, -2, 5, 0], isolates="allow")
    with pytest.raises(WeightsError, match=rf"W\{suffix}: .*"):
        read(path, ids=[30, 1, -2, 110000, 0, 99], isolates="allow")
    with pytest.raises(WeightsError, match=rf"W\{suffix}: Unit labels must differ"):
        read(path, ids=[1, 1, -2, 110000, 0], isolates="allow")
    write(weights([*LABELS["zeros"][::2], "a", "b"]), path, values=False)
    with pytest.raises(WeightsError, match=rf"W\{suffix}: ids='int' .*not integers: 'a', 'b'"):
        read(path, ids="int", isolates="allow")
    write(weights(["007", "1", "2", "3", "4"]), path, values=False)
    assert read(path, ids="int", isolates="allow").ids.tolist() == [7, 1, 2, 3, 4]
    with pytest.raises(OptionError, match="ids='float' is not known.*'int', 'str'"):
        read(path, ids="float")
    with pytest.raises(OptionError, match="isolates='drop'"):
        read(path, isolates="drop")


def test_units_that_a_list_of_links_does_not_name(tmp_path):
    gwt = put(tmp_path, "W.gwt", "0 3 x id\n1 2 0.5\n2 1 1\n")
    with pytest.raises(WeightsError, match=r"W.gwt: .*announces 3 units, the links name 2.*ids="):
        read(gwt)
    assert read(gwt, ids=[3, 1, 2], isolates="allow").isolates.tolist() == [3]
    with pytest.raises(WeightsError, match="holds 3 units, ids= lists 4"):
        read(gwt, ids=[1, 2, 3, 4], isolates="allow")
    edges = put(tmp_path, "E.csv", "source,target,weight\n1,2,0.5\n2,1,1\n")
    assert read(edges, ids=[3, 1, 2], isolates="allow").isolates.tolist() == [3]
    zero = put(tmp_path, "Z.csv", "source,target,weight\n3,3,0\n1,2,0.5\n2,1,1\n")
    assert read(zero, isolates="allow").ids.tolist() == [3, 1, 2]


# --- other programs -----------------------------------------------------------------------

LINKS = {"b": ["a", "c"], "a": ["b"], "c": ["b"], "d": ["a"]}
VALUES = {"b": [0.25, 0.75], "a": [2.0], "c": [1.0], "d": [0.125]}


@pytest.mark.parametrize("ids", [["b", "a", "c", "d"], [12, 7, 3, 1]], ids=["text", "whole"])
def test_libpysal_and_back(tmp_path, ids):
    names = dict(zip("bacd", ids, strict=True))
    links = {names[i]: [names[j] for j in others] for i, others in LINKS.items()}
    values = {names[i]: row for i, row in VALUES.items()}
    expected = SpatialWeights.from_dict(links, values)
    binary = SpatialWeights.from_dict(links)
    graph = expected.to_libpysal()
    old = PysalW(links, values, id_order=ids)

    graph.to_gal(tmp_path / "graph.gal")
    same(read(tmp_path / "graph.gal"), binary)
    graph.to_gwt(tmp_path / "graph.gwt")
    same(read(tmp_path / "graph.gwt"), expected)
    graph.to_parquet(tmp_path / "graph.parquet")
    same(read(tmp_path / "graph.parquet"), expected)
    for suffix in ("gal", "gwt", "mtx"):
        with closing(pysal_open(str(tmp_path / f"old.{suffix}"), "w")) as file:
            file.write(old)
    same(read(tmp_path / "old.gal"), binary)
    same(read(tmp_path / "old.gwt"), expected)
    same(read(tmp_path / "old.mtx", ids=ids), expected)

    write(binary, tmp_path / "ours.gal")
    for suffix in ("gwt", "mtx", "parquet"):
        write(expected, tmp_path / f"ours.{suffix}")
    same(SpatialWeights.from_libpysal(read_gal(tmp_path / "ours.gal")), binary)
    same(SpatialWeights.from_libpysal(read_gwt(tmp_path / "ours.gwt")), expected)
    with closing(pysal_open(str(tmp_path / "ours.gal"))) as file:
        found = file.read()
        assert [type(ids[0])(i) for i in found.id_order] == ids
        assert found.sparse.nnz == binary.n_links
    with closing(pysal_open(str(tmp_path / "ours.gwt"))) as file:
        with pytest.warns(RuntimeWarning, match="DBF relating to GWT was not found"):
            found = file.read()
        assert [type(ids[0])(i) for i in found.id_order] == ids
        np.testing.assert_array_equal(found.sparse.toarray(), expected.matrix.toarray())
    with closing(pysal_open(str(tmp_path / "ours.mtx"))) as file:
        np.testing.assert_array_equal(file.read().sparse.toarray(), expected.matrix.toarray())
    table = pd.read_parquet(tmp_path / "ours.parquet")
    assert table.columns.tolist() == ["source", "target", "weight"]
    again = Graph.from_adjacency(
        table, focal_col="source", neighbor_col="target", weight_col="weight"
    )
    same(SpatialWeights.from_libpysal(again), expected)


def test_isolates_of_libpysal(tmp_path):
    W = SpatialWeights.from_dense(DENSE > 0, list("edcba"), isolates="allow")
    graph = W.to_libpysal()
    graph.to_gal(tmp_path / "graph.gal")
    same(read(tmp_path / "graph.gal", isolates="allow"), W)
    graph.to_parquet(tmp_path / "graph.parquet")
    found = read(tmp_path / "graph.parquet", isolates="allow")
    same(found.align(W.ids), W)
    graph.to_gwt(tmp_path / "graph.gwt")
    same(read(tmp_path / "graph.gwt", isolates="allow").align(W.ids), W)
    write(W, tmp_path / "ours.gal")
    write(W, tmp_path / "ours.gwt")
    assert read_gal(tmp_path / "ours.gal").isolates.tolist() == ["b"]
    assert read_gwt(tmp_path / "ours.gwt").isolates.tolist() == ["b"]


def test_gal_files_without_the_line_of_an_isolate(tmp_path):
    for text in ("3\na 1\nb\nc 0\nb 1\na\n", "0 3 x y\na 1\nb\nc 0\n\nb 1\na\n\n"):
        W = read(put(tmp_path, "W.gal", text), isolates="allow")
        assert W.ids.tolist() == ["a", "c", "b"]
        assert W.isolates.tolist() == ["c"]
    assert read(put(tmp_path, "W.gal", "3\na 1\nb\nb 1\na\nc 0"), isolates="allow").n == 3


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    for name, text in (
        ("W.gal", "2\r\na 1\r\nb\r\nb 1\r\na\r\n"),
        ("W.gwt", "0 2 x id\r\na b 1\r\n\r\nb a 1\r\n"),
        ("W.csv", "id,a,b\r\na,0,1\r\n\r\nb,1,0\r\n"),
        ("E.csv", "source,target,weight\r\na,b,1\r\nb,a,1\r\n"),
    ):
        assert read(put(tmp_path, name, "\ufeff" + text)).ids.tolist() == ["a", "b"]


def test_matrix_market_of_others(tmp_path):
    dense = DENSE[:3, :3]
    mmwrite(tmp_path / "W.mtx", sparse.coo_array(dense), comment="%id 3\n%made by hand é")
    with pytest.raises(WeightsError, match=r"W.mtx: .*not name its 3 units.*ids=\[...\].*range"):
        read(tmp_path / "W.mtx")
    with pytest.raises(WeightsError, match="not name its 3 units"):
        read(tmp_path / "W.mtx", ids="int")
    with pytest.raises(WeightsError, match="holds 3 units, ids= lists 2"):
        read(tmp_path / "W.mtx", ids=["a", "b"])
    same(read(tmp_path / "W.mtx", ids=range(3)), SpatialWeights.from_dense(dense, range(3)))
    mmwrite(tmp_path / "A.mtx", dense)
    same(read(tmp_path / "A.mtx", ids=range(3)), SpatialWeights.from_dense(dense, range(3)))
    text = "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 2\n2 1\n3 1\n"
    W = read(put(tmp_path, "P.mtx", text), ids=list("abc"))
    assert W.matrix.toarray().tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    text = "%%MatrixMarket matrix coordinate integer general\n%\n\n2 2 3\n1 1 0\n1 2 3\n2 1 4\n"
    assert read(put(tmp_path, "I.mtx", text), ids=list("ab")).matrix.sum() == 7.0


def test_others_read_our_matrix_market(tmp_path):
    W = weights(LABELS["scripts"])
    write(W, tmp_path / "W.mtx")
    np.testing.assert_array_equal(mmread(tmp_path / "W.mtx").toarray(), DENSE)
    text = (tmp_path / "W.mtx").read_bytes()
    assert text.startswith(b"%%MatrixMarket matrix coordinate real general\n%spatial_agglo\n")
    assert text.isascii()


def test_tables_of_others(tmp_path):
    frame = pd.DataFrame(DENSE[:3, :3], index=list("abc"), columns=list("abc"))
    expected = SpatialWeights.from_frame(frame)
    frame.to_csv(tmp_path / "W.csv")
    same(read(tmp_path / "W.csv"), expected)
    frame[["c", "a", "b"]].to_csv(tmp_path / "W.csv")
    same(read(tmp_path / "W.csv"), expected)
    write(expected, tmp_path / "V.csv")
    again = pd.read_csv(tmp_path / "V.csv", index_col=0)
    pd.testing.assert_frame_equal(again, frame, check_names=False)
    with (tmp_path / "V.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["id", "a", "b", "c"]


@pytest.mark.parametrize(
    "header", ["source,target,weight", "Focal, Neighbor ,WEIGHT", "weight,target,source"]
)
def test_lists_of_links_in_csv(tmp_path, header):
    rows = "a,b,0.5\nb,a,1e-5\nc,a,2\n"
    if header.startswith("weight"):
        rows = "0.5,b,a\n1e-5,a,b\n2,a,c\n"
    W = read(put(tmp_path, "E.csv", f"{header}\n{rows}"))
    assert W.ids.tolist() == ["a", "b", "c"]
    assert W.matrix.toarray().tolist() == [[0, 0.5, 0], [1e-5, 0, 0], [2, 0, 0]]


def test_parquet_of_others(tmp_path):
    frame = pd.DataFrame(
        {"year": 2020, "weight": [1, 2, 0], "target": list("bac"), "source": list("abc")}
    )
    for table in (frame, frame.astype({"source": "category", "target": "category"})):
        table.to_parquet(tmp_path / "E.parquet")
        W = read(tmp_path / "E.parquet", isolates="allow")
        assert W.ids.tolist() == ["a", "b", "c"]
        assert W.matrix.toarray().tolist() == [[0, 1, 0], [2, 0, 0], [0, 0, 0]]
    frame.assign(source=[3, 1, 2], target=[1, 3, 2]).to_parquet(tmp_path / "E.parquet")
    assert read(tmp_path / "E.parquet", isolates="allow").ids.tolist() == [3, 1, 2]
    frame.assign(source=list("312"), target=list("132")).to_parquet(tmp_path / "E.parquet")
    assert read(tmp_path / "E.parquet", isolates="allow").ids.tolist() == ["3", "1", "2"]


def test_stata_of_others(tmp_path):
    path = tmp_path / "W.dta"
    dense = DENSE[:3, :3]
    columns = pd.DataFrame(dense, columns=["x1", "x2", "x3"])

    def stata(frame):
        frame.to_stata(path, write_index=False)
        return path

    same(read(stata(columns), ids=list("abc")), SpatialWeights.from_dense(dense, list("abc")))
    with pytest.raises(WeightsError, match=r"W.dta: the file does not name its 3 units"):
        read(path)
    W = read(stata(columns.assign(_ID=np.array([3.0, 1.0, 2.0]), name=["x", "y", "z"])))
    same(W, SpatialWeights.from_dense(dense, [3, 1, 2]))
    turned = columns[["x3", "x1", "x2"]].set_axis(["w3", "w1", "w2"], axis=1)
    W = read(stata(turned.assign(pop=[7.0, 8.0, 9.0], id=["a", "b", "c"])))
    same(W, SpatialWeights.from_dense(dense, list("abc")))
    with pytest.raises(WeightsError, match=r"3 rows.*w1 to w3.*got 4: 'x1', 'x2', 'x3', 'pop'"):
        read(stata(columns.assign(pop=1.0, id=["a", "b", "c"])))
    for bad, match in ((1.5, "got 1.5 in row.* 1"), (np.nan, "got nan in row.* 1")):
        with pytest.raises(WeightsError, match=f"variable id must hold text or whole.*{match}"):
            read(stata(columns.assign(id=[bad, 1.0, 2.0])))
    with pytest.raises(WeightsError, match="W.dta: weights that are missing.*: 'b' to 'a'"):
        read(stata(columns.assign(x1=[0, np.nan, 1], id=["a", "b", "c"])))


def test_stata_as_its_users_see_it(tmp_path):
    long = "Île " + "x" * 100
    write(weights([long, "b", "c", "d", "e"]), tmp_path / "W.dta")
    with pd.io.stata.StataReader(tmp_path / "W.dta") as reader:
        frame, notes = reader.read(), reader.variable_labels()
        assert reader.data_label == "Straßen, 2020"
    assert frame.columns.tolist() == ["id", "w1", "w2", "w3", "w4", "w5"]
    assert notes["w1"] == long[:80]
    assert notes["w2"] == "b"
    for last, kind in ((2**31 - 28, np.int32), (2**31 - 27, float), (2**53 - 1, float)):
        W = weights([1, -last, 3, 4, last])
        write(W, tmp_path / "W.dta")
        assert pd.read_stata(tmp_path / "W.dta")["id"].dtype == kind
        same(read(tmp_path / "W.dta", isolates="allow"), W)


def test_what_stata_cannot_hold(tmp_path):
    for ids, match in (
        ([2**53, 1, 2, 3, 4], r"exactly up to 2\^53; got 9007199254740992"),
        (["x" * 2046, "b", "c", "d", "e"], "labels of 1 to 2045 bytes"),
        (["", "b", "c", "d", "e"], "labels of 1 to 2045 bytes.*''"),
        (["a\0b", "b", "c", "d", "e"], "without a null character"),
    ):
        with pytest.raises(WeightsError, match=f"W.dta: Stata holds.*{match}"):
            write(weights(ids), tmp_path / "W.dta")
    huge = SpatialWeights.from_dense([[0, 1.7e308], [1, 0]], ["a", "b"])
    with pytest.raises(WeightsError, match="W.dta: Stata cannot hold this matrix"):
        write(huge, tmp_path / "W.dta")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".dta"])
def test_tables_have_a_limit(tmp_path, suffix):
    N = 5001
    ring = sparse.csr_array((np.ones(N), (np.arange(N), (np.arange(N) + 1) % N)), shape=(N, N))
    with pytest.raises(WeightsError, match=r"5001 x 5001 .*at most 5000.*\.parquet, \.mtx or"):
        write(SpatialWeights.from_sparse(ring, range(N)), tmp_path / f"W{suffix}")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    write(weights(list("abcde")), tmp_path / "W.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (
        lambda: read(tmp_path / "W.parquet"),
        lambda: write(weights(list("abcde")), tmp_path / "V.parquet"),
    ):
        with pytest.raises(MissingDependencyError, match=r"pip install 'spatial-agglo\[parquet\]'"):
            call()
    assert not (tmp_path / "V.parquet").exists()


# --- bad files ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ALL)
def test_files_that_are_not_what_they_should_be(tmp_path, suffix):
    path = tmp_path / f"W{suffix}"
    with pytest.raises(FileNotFoundError, match="W"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=rf"W\{suffix}: the file is empty"):
        read(path)
    for rubbish in (b"rubbish", b"\xff\xfe\x00\x01" * 40, b"\n\n \n"):
        path.write_bytes(rubbish)
        with pytest.raises(WeightsError, match=rf"W\{suffix}"):
            read(path, isolates="allow")
    good = weights(list("abcde"))
    write(good, path, values=False)
    content = path.read_bytes()
    for cut in range(1, len(content) - 1, max(1, len(content) // 40)):
        path.write_bytes(content[:cut])
        with suppress(WeightsError):
            assert read(path, isolates="allow").n == good.n


@pytest.mark.parametrize("name", ["W.txt", "W", "W.gal.gz", "W.shp"])
def test_unknown_suffixes(tmp_path, name):
    match = rf"A \.csv, \.dta, \.gwt, \.mtx, \.parquet or \.gal file is needed; got '{name}'"
    with pytest.raises(WeightsError, match=match):
        read(tmp_path / name)
    with pytest.raises(WeightsError, match=match):
        write(weights(list("abcde")), tmp_path / name)


@pytest.mark.parametrize("name", ["W.gal", "W.gwt", "W.csv"])
def test_other_encodings(tmp_path, name):
    (tmp_path / name).write_bytes("2\nZürich 1\nb\nb 1\nZürich\n".encode("latin-1"))
    with pytest.raises(WeightsError, match=f"{name}, line 2: the file is not UTF-8.*as UTF-8"):
        read(tmp_path / name)


GAL = "0 3 x id\na 1\nb\nb 2\na c\nc 1\nb\n"
GWT = "0 3 x id\na b 1\nb a 0.5\nb c 0.5\nc b 1\n"
CSV = "id,a,b,c\na,0,1,0\nb,0.5,0,0.5\nc,0,1,0\n"
EDGES = "source,target,weight\na,b,1\nb,a,0.5\nb,c,0.5\nc,b,1\n"
MTX = (
    '%%MatrixMarket matrix coordinate real general\n%spatial_agglo\n%id "a"\n%id "b"\n%id "c"\n'
    "3 3 4\n1 2 1\n2 1 0.5\n2 3 0.5\n3 2 1\n"
)


@pytest.mark.parametrize(
    ("name", "text", "old", "new", "match"),
    [
        ("W.gal", GAL, "b 2", "b 3", "W.gal, line 5: unit 'b' announces 3 neighbour.*lists 2"),
        ("W.gal", GAL, "b 2", "b -2", "W.gal, line 4: a count is expected, got '-2'"),
        ("W.gal", GAL, "b 2", "b", "W.gal, line 4: expected 'id count', got 'b'"),
        ("W.gal", GAL, "0 3", "0 4", "W.gal: the first line announces 4 units, .* holds 3"),
        ("W.gal", GAL, "0 3 x id\n", "\n", "W.gal, line 1: the number of units is expected"),
        ("W.gal", GAL, "0 3 x", "0 x 3", "W.gal, line 1: a count is expected, got 'x'"),
        ("W.gal", GAL, "c 1", "a 1", "W.gal, line 6: unit 'a' occurs twice"),
        ("W.gal", GAL, "a c", "a z", "W.gal, line 5: neighbours that are not units: 'z'"),
        ("W.gal", GAL, "a c", "a a", r"W.gal: links .* twice: 'b' to 'a' \(line 5\)"),
        ("W.gal", GAL, "a c", "a b", r"W.gal: .*own neighbour: 'b' to 'b' \(line 5\)"),
        ("W.gwt", GWT, "b c 0.5", "b c", "W.gwt, line 4: expected 'unit neighbour weight', got"),
        ("W.gwt", GWT, "b c 0.5", "b c 1 2", "W.gwt, line 4: expected.*got 'b c 1 2'"),
        ("W.gwt", GWT, "b c 0.5", "b c 0,5", "W.gwt, line 4: a weight is expected, got '0,5'"),
        ("W.gwt", GWT, "b c 0.5", "b c -1", r"negative: 'b' to 'c' \(line 4\)"),
        ("W.gwt", GWT, "b c 0.5", "b c nan", r"missing or infinite: 'b' to 'c' \(line 4\)"),
        ("W.gwt", GWT, "b c 0.5", "b c 1e999", r"missing or infinite: 'b' to 'c' \(line 4\)"),
        ("W.gwt", GWT, "b c 0.5", "b a 0.5", r"twice: 'b' to 'a' \(line 4\)"),
        ("W.gwt", GWT, "b c 0.5", "\nb b 0.5", r"own neighbour: 'b' to 'b' \(line 5\)"),
        ("W.gwt", GWT, "b c 0.5", "b z 0.5", "announces 3 units, the links name 4"),
        ("W.gwt", GWT, "0 3", "0 2", "announces 2 units, the links name 3"),
        ("W.gwt", GWT, "0 3 x id\n", "", "W.gwt, line 1: a count is expected, got 'b'"),
        ("W.gwt", GWT, GWT[9:], "", "W.gwt: the file has no links"),
        ("W.csv", CSV, "0.5,0,0.5", "0.5,0", "W.csv, line 3: .* 3 units, the row of 'b' 2 cells"),
        ("W.csv", CSV, "0.5,0,0.5", "0.5,,0.5", "W.csv, line 3: .*'b' and neighbour 'b', got ''"),
        ("W.csv", CSV, "0.5,0,0.5", "0.5,0,-1", r"negative: 'b' to 'c' \(line 3\)"),
        ("W.csv", CSV, "0.5,0,0.5", "0.5,0,nan", r"missing or infinite: 'b' to 'c' \(line 3\)"),
        ("W.csv", CSV, "0.5,0,0.5", "0.5,9,0.5", r"own neighbour: 'b' to 'b' \(line 3\)"),
        ("W.csv", CSV, "\nb,", "\nz,", "header must have the same labels.*: 'b', 'z'"),
        ("W.csv", CSV, "\nb,", "\na,", "twice in the first column: 'a'"),
        ("W.csv", CSV, "id,a,b", "id,a,a", "twice in the header: 'a'"),
        ("W.csv", CSV, "\nb,", '\n"b,', "W.csv, line 4: this is not a good CSV file"),
        ("W.csv", CSV, CSV[9:], "", "W.csv: there is a header and no row"),
        ("W.csv", CSV, "id,a,b,c", "id;a;b;c", "W.csv, line 1: a header with commas .*'id;a;b;c'"),
        ("W.csv", EDGES, "b,c,0.5", "b,c", "W.csv, line 4: three cells are expected, got 2"),
        ("W.csv", EDGES, "b,c,0.5", "b,c,x", "W.csv, line 4: a weight is expected, got 'x'"),
        ("W.csv", EDGES, "b,c,0.5", "b,a,0.5", r"twice: 'b' to 'a' \(line 4\)"),
        ("W.csv", EDGES, EDGES[21:], "", "W.csv: the file has no links"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 x", "W.mtx, line 9: two positions and a number .*'2 3 x'"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 0,5", "W.mtx, line 9: .* expected, got '2 3 0,5'"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 0.5 1", "W.mtx, line 9: .* expected, got '2 3 0.5 1'"),
        ("W.mtx", MTX, "2 3 0.5", "2 3", "W.mtx, line 9: .* expected, got '2 3'"),
        ("W.mtx", MTX, "2 3 0.5", "2.5 3 1", "W.mtx, line 9: .* expected, got '2.5 3 1'"),
        ("W.mtx", MTX, "2 3 0.5\n", "", "W.mtx: .*Truncated file"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 0.5\n1 3 1", "W.mtx: .*Too many lines"),
        ("W.mtx", MTX, "2 3 0.5", "2 4 1", "W.mtx: .*Line 9: Column index out of bounds"),
        ("W.mtx", MTX, "2 3 0.5", "2 1 1", "W.mtx: links .* twice: 'b' to 'a'"),
        ("W.mtx", MTX, "2 3 0.5", "2 2 1", "W.mtx: .*own neighbour: 'b' to 'b'"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 -1", "W.mtx: .*negative: 'b' to 'c'"),
        ("W.mtx", MTX, "2 3 0.5", "2 3 nan", "W.mtx: .*missing or infinite: 'b' to 'c'"),
        ("W.mtx", MTX, "3 3 4", "3 4 4", "W.mtx: a square matrix is needed; got 3 x 4"),
        ("W.mtx", MTX, '%id "c"\n', "", "W.mtx: the comments name 2 units, .* 3 rows"),
        ("W.mtx", MTX, '"c"', '"b"', "W.mtx: Unit labels must differ; repeated: 'b'"),
        ("W.mtx", MTX, '"c"', "3", "W.mtx: labels must be all strings or all integers; .*, 3"),
        ("W.mtx", MTX, '"c"', "c", "W.mtx, line 5: expected '%id' and a label in JSON"),
        ("W.mtx", MTX, "real", "complex", "W.mtx"),
    ],
)
def test_bad_lines_are_named(tmp_path, name, text, old, new, match):
    assert read(put(tmp_path, name, text)).n == 3
    assert text.count(old) >= 1
    with pytest.raises(WeightsError, match=match):
        read(put(tmp_path, name, text.replace(old, new, 1)))


@pytest.mark.parametrize("end", ["3 2 1E", "3 2 1E-", "3 2 1x", "3 2", "3", "3 2 1\0"])
def test_matrix_market_files_that_break_off(tmp_path, end):
    """Without its last line break such a file made scipy read memory that is not its own."""
    text = MTX.removesuffix("3 2 1\n")
    with pytest.raises(WeightsError, match="W.mtx"):
        read(put(tmp_path, "W.mtx", text + end))
    assert read(put(tmp_path, "W.mtx", text + "3 2 1\t ")).n == 3


def test_stata_text_in_another_encoding(tmp_path):
    write(SpatialWeights.from_dense([[0, 1], [1, 0]], ["Île", "b"]), tmp_path / "W.dta")
    content = (tmp_path / "W.dta").read_bytes()
    (tmp_path / "W.dta").write_bytes(content.replace("Île".encode(), b"\xce\xcele"))
    with pytest.raises(WeightsError, match="W.dta: this is not a good Stata file"):
        read(tmp_path / "W.dta")


def test_complex_matrix_market(tmp_path):
    mmwrite(tmp_path / "W.mtx", sparse.coo_array(DENSE * 1j))
    with pytest.raises(WeightsError, match="W.mtx: the weights are complex"):
        read(tmp_path / "W.mtx", ids=range(5))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weight": [1.0, -1.0, 1.0]}, "negative: 'b' to 'a'"),
        ({"weight": [1.0, np.nan, 1.0]}, "missing or infinite: 'b' to 'a'"),
        ({"weight": ["1", "1", "1"]}, "weight must hold numbers"),
        ({"source": ["a", "b", "b"], "target": ["b", "a", "a"]}, "twice: 'b' to 'a'"),
        ({"source": ["a", "b", "a"]}, "own neighbour: 'a' to 'a'"),
        ({"source": ["a", "b", None]}, "row 3 of the links lacks the label"),
        ({"source": [1, 2, 3]}, "labels must be all strings or all integers"),
        ({"source": [1.0, 2, 3], "target": [2.0, 1, 1]}, "labels must be all strings or all"),
        ({"weight": None}, "columns source, target and weight .*; got 'source', 'target'"),
    ],
)
def test_bad_parquet(tmp_path, change, match):
    frame = pd.DataFrame({"source": list("abc"), "target": list("baa"), "weight": [1.0, 2, 3]})
    frame.to_parquet(tmp_path / "E.parquet")
    assert read(tmp_path / "E.parquet").n == 3
    bad = frame.drop(columns="weight") if change == {"weight": None} else frame.assign(**change)
    bad.to_parquet(tmp_path / "E.parquet")
    with pytest.raises(WeightsError, match=f"E.parquet: .*{match}"):
        read(tmp_path / "E.parquet")


def test_parquet_with_changed_metadata(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.table({"source": ["a", "b"], "target": ["b", "a"], "weight": [1.0, 1.0]})
    for metadata, match in (
        ("{}", "metadata 'spatial_agglo' do not list the units"),
        ("[", "metadata 'spatial_agglo' do not list the units"),
        ('{"ids": ["a", "c"]}', "units that the file does not list: 'b'"),
        ('{"ids": ["a", 1]}', "all strings or all integers"),
    ):
        parquet.write_table(
            table.replace_schema_metadata({"spatial_agglo": metadata}), tmp_path / "E.parquet"
        )
        with pytest.raises(WeightsError, match=f"E.parquet: .*{match}"):
            read(tmp_path / "E.parquet")


def test_writing_does_not_open_a_file_it_cannot_fill(tmp_path):
    """What stands in the way is found before the old file is lost."""
    good = SpatialWeights.from_dense([[0, 1], [1, 0]], ["a", "b"])
    write(good, tmp_path / "W.gal")
    before = (tmp_path / "W.gal").read_bytes()
    with pytest.raises(WeightsError):
        write(weights(list("abcde")), tmp_path / "W.gal")
    assert (tmp_path / "W.gal").read_bytes() == before
