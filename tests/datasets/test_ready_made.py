"""The ready-made weights are what their formulas say, and every machine can make them again."""

from __future__ import annotations

import hashlib
import math
import re
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np
import pytest

from spatial_agglo import datasets
from spatial_agglo.datasets import catalogue, recipes, shipped
from spatial_agglo.errors import DataError, OptionError, OutputError

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(catalogue.CATALOGUE)
QUEEN = [name for name in NAMES if name.endswith("queen")]
NEAREST = [name for name in NAMES if name.endswith("5_nearest")]
INVERSE = [name for name in NAMES if name.endswith("inverse_distance")]
SYNTHETIC = [name for name in NAMES if "synthetic" in name]
STUDY = {"cigarettes": "cigarettes", "us_production": "production"}


def haversine(one, other):
    """Distance in km of two (longitude, latitude), by the math module alone."""
    (lon1, lat1), (lon2, lat2) = one, other
    dlat = math.radians(lat1) - math.radians(lat2)
    dlon = math.radians(lon1) - math.radians(lon2)
    h = math.sin(dlat / 2) ** 2
    h += math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * math.sin(dlon / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def points(name):
    """Longitude and latitude by code, of the units of ready-made weights."""
    if name.startswith("china"):
        rows = datasets.china_capitals()[["code", "longitude", "latitude"]]
        return {code: (lon, lat) for code, lon, lat in rows.itertuples(index=False)}
    states = datasets.us_states(STUDY[catalogue.CATALOGUE[name].data])
    inside = states.geometry.representative_point()
    return {
        code: (round(point.x, 5), round(point.y, 5))
        for code, point in zip(states["code"], inside, strict=True)
    }


def by_hand(name):
    """Weights by loops over pairs of codes, before they are rounded."""
    place = points(name)
    d = {(i, j): haversine(place[i], place[j]) for i in place for j in place if i != j}
    if name in INVERSE:
        return {pair: 1 / km for pair, km in d.items()}
    table = datasets.china_capitals()
    code_of = dict(zip(table["province"], table["code"], strict=True))
    Y = {code_of[province]: level for province, level in datasets.synthetic_gdp().items()}
    mean = sum(Y.values()) / len(Y)
    form = name.removeprefix("china_synthetic_")
    if form == "convex":
        near = {i: sum(1 / d[i, k] for k in Y if k != i) for i in Y}
        alike = {i: sum(1 / abs(Y[i] - Y[k]) for k in Y if k != i) for i in Y}
        return {(i, j): 0.5 / d[i, j] / near[i] + 0.5 / abs(Y[i] - Y[j]) / alike[i] for i, j in d}
    formula = {
        "product": lambda i, j: 1 / d[i, j] / abs(Y[i] - Y[j]),
        "scaled": lambda i, j: Y[j] / mean / d[i, j],
        "gravity": lambda i, j: Y[i] * Y[j] / d[i, j] ** 2,
        "asymmetric": lambda i, j: Y[j] / (Y[i] + Y[j]) / d[i, j],
    }[form]
    return {(i, j): formula(i, j) for i, j in d}


def stored(name):
    """The numbers of a GWT file as they are written, by pair of codes."""
    rows = datasets.ready_made_path(name).read_text(encoding="utf-8").splitlines()[1:]
    return {tuple(row.split()[:2]): row.split()[2] for row in rows}


class TestFiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_units_and_links_are_the_declared_ones(self, name):
        entry = catalogue.CATALOGUE[name]
        W = datasets.weights(name)
        assert (W.n, W.n_links) == (entry.units, entry.links)
        assert W.isolates.empty
        data = getattr(datasets, entry.data)()
        first = data.columns[0]
        assert W.ids.tolist() == data[first].unique().tolist()
        assert datasets.weights(name, ids="code").ids.tolist() == data["code"].unique().tolist()

    @pytest.mark.parametrize("name", NAMES)
    def test_file_is_plain_text_of_this_format(self, name):
        raw = datasets.ready_made_path(name).read_bytes()
        assert raw.isascii()
        assert b"\r" not in raw
        assert raw.endswith(b"\n")
        flag, units, _, _ = raw.splitlines()[0].decode().split()
        assert (flag, int(units)) == ("0", catalogue.CATALOGUE[name].units)

    @pytest.mark.parametrize("name", INVERSE + SYNTHETIC)
    def test_weights_have_at_most_ten_digits(self, name):
        for text in stored(name).values():
            assert len(Decimal(text).as_tuple().digits) <= 10, text
            assert float(text) == float(f"{float(text):.9e}")

    @pytest.mark.parametrize("name", NAMES)
    def test_values_are_those_of_the_file_whatever_the_labels(self, name):
        W = datasets.weights(name)
        other = datasets.weights(name, ids="code")
        np.testing.assert_array_equal(W.matrix.toarray(), other.matrix.toarray())
        if catalogue.CATALOGUE[name].suffix == ".gwt":
            frame = other.to_frame()
            for (i, j), text in stored(name).items():
                assert frame.loc[i, j] == float(text)
        else:
            assert (W.matrix.data == 1).all()

    def test_declared_checksums_are_those_of_the_files(self):
        readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
        rows = re.findall(r"\| `(\w+\.g\w+)` \| (\d+) \| ([\d,]+) \| .*`([0-9a-f]{64})` \|", readme)
        assert [row[0] for row in rows] == [catalogue.file_name(name) for name in NAMES]
        for name, (_, units, links, digest) in zip(NAMES, rows, strict=True):
            entry = catalogue.CATALOGUE[name]
            assert (entry.units, entry.links) == (int(units), int(links.replace(",", "")))
            content = datasets.ready_made_path(name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest

    def test_the_wheel_carries_every_file(self):
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        table = dict(re.findall(r'^"weights/(\S+)" = "(\S+)"$', text, flags=re.MULTILINE))
        assert table == {
            file: f"spatial_agglo/datasets/matrices/{file}"
            for file in map(catalogue.file_name, NAMES)
        }
        assert all((ROOT / "weights" / file).is_file() for file in table)

    @pytest.mark.parametrize("name", NAMES)
    def test_libpysal_reads_the_file(self, name):
        from libpysal.graph import read_gal, read_gwt

        entry = catalogue.CATALOGUE[name]
        reader = read_gal if entry.suffix == ".gal" else read_gwt
        graph = reader(str(datasets.ready_made_path(name)))
        assert (graph.n, graph.nonzero) == (entry.units, entry.links)
        W = datasets.weights(name, ids="code").to_frame()
        for (i, j), value in graph.adjacency.items():
            assert W.loc[i, j] == value


class TestValues:
    @pytest.mark.parametrize("name", INVERSE + SYNTHETIC)
    def test_weights_are_what_loops_give(self, name):
        found, expected = stored(name), by_hand(name)
        assert set(found) == set(expected)
        for pair, value in expected.items():
            # Other arithmetic, the same ten digits: this is what the rounding is for.
            assert float(found[pair]) == float(f"{value:.9e}"), pair

    @pytest.mark.parametrize("name", INVERSE + SYNTHETIC)
    def test_no_weight_could_be_rounded_the_other_way(self, name):
        for value in recipes.recipe(name).matrix.data.tolist():
            unit = Decimal(10) ** (Decimal(value).adjusted() - 9)
            places = Decimal(value) / unit
            beyond = places - places.to_integral_value(rounding=ROUND_FLOOR)
            assert abs(beyond - Decimal("0.5")) * unit / Decimal(value) > Decimal("5e-14")

    @pytest.mark.parametrize("study", STUDY.values())
    def test_no_point_could_be_rounded_the_other_way(self, study):
        inside = datasets.us_states(study).geometry.representative_point()
        places = np.concatenate([inside.x, inside.y]) * 1e5
        assert np.abs(places % 1 - 0.5).min() > 1e-6

    @pytest.mark.parametrize("name", NEAREST)
    def test_nearest_are_the_first_five_of_all(self, name):
        place = points(name)
        W = datasets.weights(name, ids="code").to_frame()
        for i in place:
            order = sorted((haversine(place[i], place[j]), j) for j in place if j != i)
            assert set(W.columns[W.loc[i] > 0]) == {j for _, j in order[:5]}
            assert order[5][0] - order[4][0] > 0.5

    @pytest.mark.parametrize("name", QUEEN)
    def test_queen_is_symmetric_and_libpysal_agrees(self, name):
        from libpysal.graph import Graph

        W = datasets.weights(name, ids="code").to_frame()
        assert (W == W.T).all(axis=None)
        states = datasets.us_states(STUDY[catalogue.CATALOGUE[name].data]).set_index("code")
        built = Graph.build_contiguity(states, rook=False)
        assert {code: set(W.columns[W.loc[code] > 0]) for code in W.index} == {
            code: set(built[code].index) for code in W.index
        }

    def test_cigarette_weights_equal_the_matrix_that_libpysal_ships(self):
        from libpysal.examples import load_example
        from scipy.io import loadmat

        path = load_example("wmat").get_path("spat-sym-us.mat")
        (matrix,) = (M for key, M in loadmat(path).items() if not key.startswith("__"))
        assert matrix.sum() == 188
        W = datasets.weights("cigarettes_queen")
        np.testing.assert_array_equal(W.matrix.toarray(), np.asarray(matrix, dtype=float))

    def test_dc_is_linked_to_maryland_and_virginia(self):
        W = datasets.weights("cigarettes_queen").to_frame()
        row = W.loc["District of Columbia"]
        assert row.index[row > 0].tolist() == ["Maryland", "Virginia"]

    def test_only_the_convex_form_is_standardised(self):
        for name in NAMES:
            W = datasets.weights(name)
            assert W.row_standardized == (name == "china_synthetic_convex"), name

    @pytest.mark.parametrize("name", NAMES)
    def test_formula_and_meaning_are_those_of_the_builder(self, name):
        built, W = recipes.recipe(name), datasets.weights(name)
        assert W.formula.startswith(built.formula)
        assert W.meaning == built.meaning
        assert name in W.description
        assert W.description.startswith(catalogue.CATALOGUE[name].description)

    def test_distances_agree_with_the_builder_that_a_user_would_call(self):
        from spatial_agglo.weights import inverse_distance

        W = datasets.weights("cigarettes_inverse_distance")
        direct = inverse_distance(datasets.us_states(), ids="state")
        np.testing.assert_allclose(W.matrix.toarray(), direct.matrix.toarray(), rtol=5e-5)


class TestRecipe:
    def test_it_rebuilds_the_files_byte_for_byte(self, tmp_path):
        written = recipes.rebuild(tmp_path / "new")
        assert [path.name for path in written] == [catalogue.file_name(name) for name in NAMES]
        for name, path in zip(NAMES, written, strict=True):
            assert path.read_bytes() == datasets.ready_made_path(name).read_bytes(), name

    def test_there_is_one_for_every_name(self):
        assert list(recipes.RECIPES) == NAMES

    def test_files_that_differ_or_are_missing_are_named(self, tmp_path):
        recipes.rebuild(tmp_path)
        assert recipes.differing(tmp_path) == []
        (tmp_path / "cigarettes_queen.gal").unlink()
        (tmp_path / "china_synthetic_gravity.gwt").write_text("0 31 unknown id\n")
        assert recipes.differing(tmp_path) == [
            "cigarettes_queen.gal is missing",
            "china_synthetic_gravity.gwt differs from what its recipe gives",
        ]

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputError, match=r"taken.*Name a folder"):
            recipes.rebuild(tmp_path / "taken")

    def test_unknown_name_is_an_error(self):
        with pytest.raises(OptionError, match="'cigarettes_queen'"):
            recipes.recipe("cigarettes_rook")


class TestLookup:
    def test_table_lists_them_all(self):
        table = datasets.ready_made()
        assert table.index.tolist() == NAMES
        assert table.index.name == "name"
        assert table.columns.tolist() == ["data", "units", "links", "description", "formula"]
        assert table["description"].str.fullmatch(r"[^\n]{10,90}").all()
        table.loc[:, "units"] = 0
        assert (datasets.ready_made()["units"] > 0).all()

    def test_docstring_names_them_all(self):
        text = datasets.weights.__doc__
        assert not [name for name in NAMES if "production" not in name and name not in text]

    def test_chinese_names_are_labels(self):
        W = datasets.weights("china_inverse_distance", ids="capital_zh")
        frame = datasets.china_capitals()
        assert W.ids.tolist() == frame["capital_zh"].tolist()
        assert 1 / W.to_frame().loc["北京市", "上海市"] == pytest.approx(1068, abs=1)
        aligned = W.align(frame["capital_zh"].tolist()[::-1])
        assert aligned.to_frame().loc["北京市", "上海市"] == W.to_frame().loc["北京市", "上海市"]
        by_province = datasets.weights("china_inverse_distance", ids="province_zh")
        assert by_province.ids[1] == "北京市"

    def test_state_is_the_default(self):
        assert datasets.weights("cigarettes_queen", "state").ids.equals(
            datasets.weights("cigarettes_queen").ids
        )

    @pytest.mark.parametrize("name", ["cigarettes_queen", "china_synthetic_convex"])
    def test_file_is_found_inside_an_installed_package(self, name, tmp_path, monkeypatch):
        file = catalogue.file_name(name)
        inside = tmp_path / "matrices" / file
        inside.parent.mkdir()
        inside.write_text("0 0 unknown code\n")
        monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
        assert datasets.ready_made_path(name) == inside

    def test_weights_are_loaded_from_an_installed_package(self, tmp_path, monkeypatch):
        # The way of a wheel: data and matrices below the package, no checkout around it.
        for folder, source in (("data", ROOT / "spatial_agglo/datasets/data"), ("matrices", ROOT)):
            (tmp_path / folder).mkdir()
            found = (source / "weights").glob("*.g*") if folder == "matrices" else source.iterdir()
            for path in found:
                if path.is_file():
                    (tmp_path / folder / path.name).write_bytes(path.read_bytes())
        expected = datasets.weights("china_synthetic_gravity")
        monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
        monkeypatch.setattr(shipped, "__file__", str(tmp_path / "a" / "b" / "shipped.py"))
        W = datasets.weights("china_synthetic_gravity")
        np.testing.assert_array_equal(W.matrix.toarray(), expected.matrix.toarray())
        assert recipes.differing() == []

    def test_file_that_is_nowhere_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
        monkeypatch.setattr(shipped, "__file__", str(tmp_path / "a" / "b" / "shipped.py"))
        with pytest.raises(DataError, match=r"cigarettes_queen\.gal must lie in"):
            datasets.ready_made_path("cigarettes_queen")

    @pytest.mark.parametrize("call", [datasets.weights, datasets.ready_made_path])
    @pytest.mark.parametrize("name", ["cigarettes_rook", "", None, "cigarettes_queen.gal"])
    def test_unknown_name_is_an_error_that_names_the_known(self, call, name):
        with pytest.raises(ValueError, match=r"'cigarettes_queen', .*'china_synthetic_"):
            call(name)

    def test_unknown_ids_are_an_error_that_names_the_known(self):
        with pytest.raises(ValueError, match=r"ids='fips'.*'state', 'code'"):
            datasets.weights("cigarettes_queen", ids="fips")
        with pytest.raises(ValueError, match=r"ids='state'.*'province', 'province_zh'"):
            datasets.weights("china_inverse_distance", ids="state")
