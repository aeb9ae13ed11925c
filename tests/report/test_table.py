import io
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from spatial_agglo.errors import DataError, OptionError, SpatialAggloError
from spatial_agglo.report import OutputError, Table
from spatial_agglo.report.latex import escape


@pytest.fixture
def table():
    index = pd.MultiIndex.from_tuples(
        [
            ("Main", "log_p", "estimate"),
            ("Main", "log_p", "z"),
            ("Wx", "W*log_p", "estimate"),
            ("Wx", "W*log_p", "z"),
            ("Fit", "N", "value"),
        ],
        names=["block", "term", "statistic"],
    )
    body = pd.DataFrame(
        {"(1)": ["-1.02***", "(-24.3)", "0.30**", "(2.2)", "1,380"], "A & B": [""] * 4 + ["46"]},
        index=index,
    )
    return Table("Share of 100% & more", body, ("5% < x_1",), footer="Fit")


def test_text_aligns_the_digits_of_a_column(table):
    lines = table.to_text().splitlines()
    rows = [line for line in lines if "0.30" in line or "-1.02" in line]
    assert len({line.index(".") for line in rows}) == 1
    assert all(len(line) <= 72 for line in lines)


def test_text_shows_a_label_once_and_indents_it_below_its_block(table):
    text = table.to_text()
    assert text.count("log_p") == 2
    assert "\nMain\n  log_p" in text
    assert "\nFit" not in text


def test_text_has_title_and_notes(table):
    lines = str(table).splitlines()
    assert lines[0] == "Share of 100% & more"
    assert lines[-1] == "5% < x_1"


def test_text_never_breaks_a_line_inside_a_comparison():
    body = pd.DataFrame({"a": ["1"]}, index=["x"])
    for padding in range(60, 75):
        note = "x" * padding + " p < 0.05 and more"
        assert "p < 0.05" in Table("", body, (note,)).to_text()


def test_csv_comes_back_as_it_was(table):
    back = pd.read_csv(
        io.StringIO(table.to_csv()), index_col=[0, 1, 2], dtype=str, keep_default_na=False
    )
    pd.testing.assert_frame_equal(
        back, table.body, check_dtype=False, check_index_type=False, check_column_type=False
    )


def test_csv_of_two_levels_of_columns_has_one_heading_line():
    body = pd.DataFrame({("a", "I"): ["1"], ("a", "z"): ["2"]}, index=pd.Index(["x"], name="year"))
    assert Table("", body).to_csv() == "year,a I,a z\nx,1,2\n"


def test_latex_escapes_everything_that_has_a_meaning():
    text = r"a_b & 5% of $3 #1 {x} ~ ^ \ <>|"
    assert escape(text) == (
        r"a\_b \& 5\% of \$3 \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"$<$$>$$|$"
    )


def test_latex_is_a_table_environment(table):
    code = table.to_latex(label="tab:x")
    assert code.startswith("\\begin{table}[htbp]\n")
    assert code.endswith("\\end{table}\n")
    assert "\\caption{Share of 100\\% \\& more}\n\\label{tab:x}" in code
    for environment in ("table", "tabular", "minipage"):
        assert code.count(rf"\begin{{{environment}}}") == code.count(rf"\end{{{environment}}}") == 1
    for rule in (r"\toprule", r"\bottomrule"):
        assert code.count(rule) == 1
    assert "|" not in code.split("\\toprule")[0]


def test_latex_rows_have_the_same_number_of_cells(table):
    body = table.to_latex().split("\\toprule")[1].split("\\bottomrule")[0]
    rows = [
        line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert len(rows) == 6
    assert {row.replace(r"\&", "").count("&") for row in rows} == {2}
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert body.count("$") % 2 == 0


def test_latex_shows_signs_stars_and_lags(table):
    code = table.to_latex()
    assert r"\quad log\_p & $-$1.02\rlap{\textsuperscript{***}}" in code
    assert r"($-$24.3\rlap{)}" in code
    assert r"\quad $W{\times}$log\_p & 0.30\rlap{\textsuperscript{**}}" in code
    assert r"A \& B" in code


def test_latex_guards_a_row_that_begins_with_a_bracket():
    body = pd.DataFrame({"a": ["1", "2"]}, index=["[T.b]", "*x"])
    code = Table("", body).to_latex()
    assert "\n{}[T.b] & 1" in code
    assert "\n{}*x & 2" in code


def test_latex_headings_span_their_columns():
    columns = {("a", "I"): ["1"], ("a", "z"): ["2"], ("b_c", "I"): ["3"], ("b_c", "z"): ["4"]}
    code = Table("", pd.DataFrame(columns, index=["x"])).to_latex()
    assert r"& \multicolumn{2}{c}{a} & \multicolumn{2}{c}{b\_c} \\" in code
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}" in code


def test_html_is_well_formed_and_escaped(table):
    root = ET.fromstring(f"<div>{table.to_html()}</div>")
    text = "".join(root.itertext())
    assert "Share of 100% & more" in text
    assert "−1.02***" in text
    assert "W×log_p" in text
    rows = root.findall(".//tbody/tr")
    assert len(rows) == 7
    assert {len(row.findall("td")) for row in rows if row.get("class") != "head"} == {2}
    assert table._repr_html_() == table.to_html()


def test_html_of_hostile_labels_stays_text():
    body = pd.DataFrame({"<script>": ["<b>"]}, index=["</td><script>alert(1)</script>"])
    html = Table("<i>", body, ("<u>",)).to_html()
    assert "<script>" not in html
    assert "<u>" not in html


def test_save_writes_three_files(table, tmp_path):
    paths = table.save(tmp_path / "a" / "b", "results")
    assert [path.name for path in paths] == ["results.csv", "results.tex", "results.html"]
    assert all(path.stat().st_size for path in paths)
    assert "\\label{tab:results}" in paths[1].read_text()
    assert paths[2].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_file_in_the_place_of_the_folder_is_named(table, tmp_path):
    place = tmp_path / "taken"
    place.write_text("")
    with pytest.raises(OutputError, match=r"taken.*cannot be made.*a file of that name"):
        table.save(place, "results")


def test_a_read_only_folder_is_named(table, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="read-only"):
        table.save(tmp_path, "results")


@pytest.mark.parametrize("form", ["csv", "latex", "html"])
def test_a_missing_folder_is_named(table, tmp_path, form):
    path = tmp_path / "missing" / "file"
    with pytest.raises(OutputError, match=r"missing.*cannot be written") as caught:
        getattr(table, f"to_{form}")(path)
    assert isinstance(caught.value, SpatialAggloError)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (pd.DataFrame({"a": [1.0]}), "strings"),
        (pd.DataFrame({"a": ["1", None]}), "strings"),
        (pd.DataFrame({"a": []}), "at least one row"),
        (pd.DataFrame(index=["x"]), "at least one row"),
        (
            pd.DataFrame({"a": ["1"]}, index=pd.MultiIndex.from_tuples([("a", "b", "c", "d")])),
            "levels",
        ),
    ],
)
def test_a_body_that_is_no_table_is_refused(body, message):
    with pytest.raises(DataError, match=message):
        Table("", body)


def test_an_empty_heading_has_no_rule_and_no_blank():
    columns = pd.MultiIndex.from_tuples([("", "Effect"), ("", "p"), ("95%", "Lower")])
    table = Table("T", pd.DataFrame([["1", "2", "3"]], index=["a"], columns=columns))
    code = table.to_latex()
    assert r"\cmidrule(lr){4-4}" in code
    assert code.count(r"\cmidrule") == 1
    assert table.to_csv().splitlines()[0] == "row0,Effect,p,95% Lower"
    assert table.to_html().count('class="span"') == 1
    alone = Table("T", pd.DataFrame([["1"]], index=["a"], columns=columns[:1])).to_latex()
    assert r"\cmidrule" not in alone
    assert "\n\n" not in alone.split(r"\end{tabular}")[0]


def test_the_square_of_a_correlation_is_a_symbol():
    body = pd.DataFrame({"(1)": ["0.3", "0.9"]}, index=["R2 within", "R2"])
    assert r"$R^2$ within & 0.3" in Table("T", body).to_latex()
    assert "<i>R²</i> within" in Table("T", body).to_html()


def test_rows_can_lead_their_block():
    index = pd.MultiIndex.from_tuples(
        [(b, t, s) for b, t in (("", "x"), ("", "z"), ("Fit", "N")) for s in ("b", "se")]
    )
    table = Table("T", pd.DataFrame({"(1)": list("abcdef")}, index=index))
    led = table.led_by(["z"])
    assert led.body["(1)"].tolist() == list("cdabef")
    assert table.body["(1)"].tolist() == list("abcdef")
    with pytest.raises(OptionError, match="'N'"):
        table.led_by(["N"])
