import xml.etree.ElementTree as ET
from dataclasses import FrozenInstanceError

import pandas as pd
import pytest
from PIL import Image

import spatial_agglo as sa
from spatial_agglo.errors import OptionError
from spatial_agglo.report import OutputError
from spatial_agglo.study import Study, cigarettes, run


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
