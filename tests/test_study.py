import xml.etree.ElementTree as ET
from dataclasses import FrozenInstanceError, replace

import pandas as pd
import pytest
from PIL import Image

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.report import OutputError
from spatial_agglo.study import Study, cigarettes, run, run_cities, run_provinces
from spatial_agglo.study.cities import derive as derive_cities
from spatial_agglo.study.provinces_data import derive as derive_provinces


@pytest.fixture(scope="module")
def result():
    return run(cigarettes())


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    return result.save(tmp_path_factory.mktemp("study") / "out")


def test_a_study_gives_what_its_parts_give(result):
    study = cigarettes()
    fit = sa.sdm("logc ~ logp + logy", study.panel, study.W)
    pd.testing.assert_series_equal(result.fit.params, fit.params)
    pd.testing.assert_frame_equal(result.impacts.to_frame(), fit.impacts().to_frame())
    moran = sa.esda.moran(study.panel, ["logc", "logp", "logy"], study.W)
    pd.testing.assert_frame_equal(result.moran, moran, check_names=False)
    assert result.choice.chosen == "sdm"


def test_the_text_has_all_tables(result):
    text = result.text()
    for part in (
        "Demand for cigarettes in 46 US states",
        "Moran's I by year",
        "Wald SDM/SEM",
        "Both simplifications fail: SDM.",
        "Indirect",
        "Log-likelihood",
    ):
        assert part in " ".join(text.split())
    assert text.isascii()


def test_every_file_is_written(saved):
    names = {path.name for path in saved}
    tables = {f"{s}.{k}" for s in ("moran", "selection", "results") for k in ("csv", "tex", "html")}
    pictures = {
        f"{s}.{k}" for s in ("moran_over_time", "moran_scatter", "impacts") for k in ("png", "svg")
    }
    assert names == tables | pictures | {"report.html"}
    assert saved[0].name == "report.html"
    assert all(path.stat().st_size > 200 for path in saved)
    assert {path.name for path in saved[0].parent.iterdir()} == names


def test_pictures_can_be_read(saved):
    for path in saved:
        if path.suffix == ".svg":
            ET.parse(path)
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()


def test_the_report_needs_no_other_file(saved):
    page = saved[0].read_text(encoding="utf-8")
    assert page.count("<img ") == page.count('src="data:image/svg+xml;base64,') == 3
    assert "href=" not in page
    assert page.count("Both simplifications fail: SDM.") == 1
    assert page.count('<div class="sa-table">') == 3
    for link in ("http:", "https:", "url("):
        assert link not in page.replace("http://www.w3.org", "")


def test_files_are_the_same_every_time(result, saved, tmp_path):
    for path in result.save(tmp_path):
        assert path.read_bytes() == (saved[0].parent / path.name).read_bytes()


def test_latex_labels_begin_with_the_name_of_the_study(saved):
    code = (saved[0].parent / "results.tex").read_text()
    assert r"\label{tab:cigarettes-results}" in code


def test_the_inputs_are_left_alone():
    study = cigarettes()
    frame, weights = study.panel.frame.copy(), study.W.matrix.copy()
    run(study).text()
    pd.testing.assert_frame_equal(study.panel.frame, frame)
    assert (study.W.matrix != weights).nnz == 0


def test_variables_default_to_the_columns_of_the_formula():
    base = cigarettes()
    study = Study(name="x", title="X", formula="log(sales) ~ logp", panel=base.panel, W=base.W)
    assert run(study).moran.index.unique(0).tolist() == ["logp"]
    none = Study(name="x", title="X", formula="log(sales) ~ log(price)", panel=base.panel, W=base.W)
    with pytest.raises(OptionError, match="variables="):
        run(none)


def test_a_cross_section_is_a_study_too(tmp_path):
    frame = sa.datasets.cigarettes().query("year == 1992")
    study = Study(
        name="one-year",
        title="One year, <1993> & no effects",
        formula="logc ~ logp + logy",
        panel=sa.Panel(frame, entity="state"),
        W=cigarettes().W,
        effects="none",
    )
    names = {path.name for path in run(study).save(tmp_path)}
    assert "moran_scatter.svg" in names
    assert "moran_over_time.svg" not in names
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "One year, &lt;1993&gt; &amp; no effects" in page


def test_weights_may_come_from_libpysal(result):
    base = cigarettes()
    study = Study(
        name="graph",
        title="Graph",
        formula="logc ~ logp + logy",
        panel=base.panel,
        W=base.W.to_libpysal(),
        variables=["logc"],
    )
    other = run(study)
    assert other.fit.rho == pytest.approx(result.fit.rho)
    assert "libpysal" in other.text()


def test_a_declaration_is_checked_and_frozen():
    base = cigarettes()
    with pytest.raises(OptionError, match="letters, digits"):
        Study(name="a b", title="", formula="y ~ x", panel=base.panel, W=base.W)
    with pytest.raises(FrozenInstanceError):
        base.name = "other"


def test_a_folder_that_cannot_be_written_is_named(result, tmp_path):
    place = tmp_path / "taken"
    place.write_text("")
    with pytest.raises(OutputError, match=r"taken.*Name a folder"):
        result.save(place)


def test_results_show_themselves_in_a_notebook(result):
    assert result._repr_html_().count('<div class="sa-table">') == 3
    assert repr(result).startswith("StudyResult(cigarettes: FitResult(sdm")


# --- the papers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provinces():
    return run_provinces(draws=60)


@pytest.fixture(scope="module")
def cities():
    return run_cities(draws=60)


def test_every_table_of_the_papers_is_there(provinces, cities):
    assert [n for n in provinces.tables if n.isdigit()] == [str(k) for k in range(2, 12)]
    assert [n for n in cities.tables if n.isdigit()] == ["1", "2", "3", "4"]
    assert [p.number for p in provinces.pictures][:2] == ["2", "3"]
    supplements = [n for n in provinces.tables if not n.isdigit()]
    assert supplements == [f"S{k}" for k in range(1, len(supplements) + 1)]


def test_tables_have_the_layout_of_the_papers(provinces, cities):
    body = {number: table.body for number, table in provinces.tables.items()}
    assert body["2"].shape == (21, 3)
    assert list(body["3"].columns) == ["Variables", "Obs", "Mean", "Sd", "Min", "Max"]
    assert body["3"]["Obs"].eq("589").all()
    assert [head for head, _ in body["4"].columns] == [
        "Baseline regression", "IV", "IV", "Replace X", "Replace Y",
    ]  # fmt: skip
    assert body["4"].loc[("Fit", "N")].iloc[0].tolist() == ["589", "558", "558", "589", "186"]
    assert [o for _, o in body["5"].columns] == ["amt", "amm", "amw", "gam", "ame"]
    assert [head for head, _ in body["6"].columns] == [
        "East", "Central", "West", "Northeast", "Clusters", "No clusters",
    ]  # fmt: skip
    assert body["6"].loc[("Fit", "N")].iloc[0].tolist() == ["190", "114", "228", "57", "342", "247"]
    assert [o for _, o in body["7"].columns] == ["ami", "ami", "uic", "ami"]
    assert body["8"].index.tolist() == ["Indirect effect", "Direct effect"]
    for number in ("9", "10"):
        assert [o for _, o in body[number].columns] == ["ami", "uic", "uic", "ami", "ami"]
    assert [o for _, o in body["11"].columns] == ["Main", "Wx", "Direct", "Indirect", "Total"]
    one = {number: table.body for number, table in cities.tables.items()}
    assert list(one["1"].columns) == ["N", "Mean", "SD", "Min", "p50", "Max"]
    assert [len(one[n].columns) for n in ("2", "3", "4")] == [5, 4, 3]
    assert [o for _, o in one["3"].columns] == ["tec", "agg", "inter", "agg"]
    assert one["4"].loc[("Fit", "N")].iloc[0].tolist() == ["3,780", "3,510", "3,240"]


def test_tables_have_the_numbers_of_the_estimators(provinces, cities):
    found = derive_provinces(sa.datasets.provinces())
    right = "pdgp + fdi + hcl + gov + inv + str + inf"
    fit = sa.sdm(f"ami ~ coagglo + {right}", found.panel, found.W, cov="clustered")
    row = provinces.tables["11"].body.loc[("", "coagglo", "estimate")]
    effects = fit.impacts().to_frame()["estimate"].xs("coagglo", level="variable")
    wanted = [fit.params["coagglo"], fit.params["W*coagglo"], *effects]
    assert [float(cell.rstrip("*")) for cell in row] == pytest.approx(wanted, abs=6e-4)
    base = sa.ols(f"ami ~ coagglo + {right}", found.panel, effects="two-way", cov="clustered")
    for number, column in (("4", 0), ("7", 0)):
        cells = provinces.tables[number].body.loc[("", "coagglo")].iloc[:, column]
        assert float(cells.iloc[0].rstrip("*")) == pytest.approx(base.params["coagglo"], abs=6e-4)
        assert cells.iloc[1] == f"({base.std_errors['coagglo']:.3f})"
    panel = derive_cities(sa.datasets.cities()).lag("digital", 2)
    formula = "agg ~ digital_lag2 + manu + serv + pop + edu"
    lagged = sa.ols(formula, panel, effects="two-way", cov="robust")
    cells = cities.tables["4"].body.loc[("", "L2.digital")].iloc[:, 1]
    assert float(cells.iloc[0].rstrip("*")) == pytest.approx(
        lagged.params["digital_lag2"], abs=6e-5
    )


def test_synthetic_data_are_called_so_in_every_file(provinces, cities, tmp_path):
    for paper in (provinces, cities):
        few = replace(paper, pictures=paper.pictures[:1])
        written = few.save(tmp_path / paper.name)
        assert [path.name for path in written[:2]] == ["index.html", "README.txt"]
        assert {path.name for path in (tmp_path / paper.name).iterdir()} == {
            path.name for path in written
        }
        for path in written:
            if path.suffix not in (".png", ".svg"):
                assert "Synthetic data:" in path.read_text(encoding="utf-8"), path.name
            elif path.suffix == ".svg":
                ET.parse(path)
        for number in paper.tables:
            assert paper[number].notes[-1].startswith("Synthetic data:")


def test_files_list_all_tables_and_carry_their_numbers(provinces, tmp_path):
    place = tmp_path / "out"
    replace(provinces, pictures=()).save(place)
    listed = (place / "README.txt").read_text()
    page = (place / "index.html").read_text(encoding="utf-8")
    for number, table in provinces.tables.items():
        assert f"Table {number}. {table.title}" in listed
        assert f"Table {number}. " in page
        stem = f"table_{number.zfill(2) if number.isdigit() else number}"
        assert {f"{stem}.{k}" for k in ("txt", "csv", "tex", "html")} <= {
            path.name for path in place.iterdir()
        }
        code = (place / f"{stem}.tex").read_text()
        assert rf"\renewcommand{{\thetable}}{{{number}}}" in code
        assert rf"\label{{tab:provinces-{number}}}" in code


def test_no_table_of_a_paper_has_powers_of_ten(provinces, cities):
    for paper in (provinces, cities):
        for number in paper.tables:
            assert not paper[number].body.map(lambda cell: "e-0" in cell).to_numpy().any(), number


def test_the_same_seed_gives_the_same_tables(cities):
    again = run_cities(draws=60)
    assert again.text() == cities.text()
    assert run_cities(draws=60, seed=1)["S1"].to_text() != cities["S1"].to_text()


def test_the_users_own_data_are_not_called_synthetic():
    own = sa.datasets.cities()
    own.attrs = {}
    told = []
    paper = run_cities(own.sample(frac=1.0, random_state=0), draws=60, progress=told.append)
    assert "ynthetic" not in paper.text()
    assert "S2" not in paper.tables  # printed moments beside those of the made-up data
    assert len(told) == 3
    pd.testing.assert_frame_equal(paper.tables["2"].body, run_cities(draws=60).tables["2"].body)


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="'uic'"):
        run_provinces(sa.datasets.provinces().drop(columns="uic"))
    with pytest.raises(DataError, match="'tec'"):
        run_cities(sa.datasets.cities().drop(columns="tec"))


def test_a_table_that_is_not_there_is_an_error(cities):
    with pytest.raises(OptionError, match="'1'.*'S2'"):
        cities["12"]
    assert repr(cities) == "Paper(cities: tables 1, 2, 3, 4, S1, S2)"
    assert cities._repr_html_().count('<div class="sa-table">') == 6
