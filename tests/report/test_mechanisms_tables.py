"""Tables and pictures of mechanisms say what the results hold."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import OptionError
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation
from spatial_agglo.mechanisms.spatial import spatial_mediation
from spatial_agglo.report.formats import number, stars
from spatial_agglo.report.simple_slopes import conditional_plot, simple_slopes

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def panel():
    return sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")


@pytest.fixture(scope="module")
def mediated(panel):
    return mediation(
        "logc ~ logy + pop16", panel, treatment="logy", mediators=["logp", "pimin"], draws=200
    )


@pytest.fixture(scope="module")
def moderated(panel):
    return moderated_mediation(
        "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin", draws=200
    )


@pytest.fixture(scope="module")
def spatial(panel):
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    return spatial_mediation("logc ~ logy", panel, W, treatment="logy", mediators="logp", draws=200)


def cells(row, decimals=3):
    """What a row of effects becomes."""
    from spatial_agglo.report.formats import p_text

    ends = ["bc_lower", "bc_upper", "percentile_lower", "percentile_upper"]
    size = max(abs(row["estimate"]), abs(row["std_error"]))
    while float(f"{size:.{decimals}f}") < 10 ** (1 - decimals):  # two significant digits
        decimals += 1
    return [
        number(row["estimate"], decimals) + stars(row["p_value"]),
        number(row["std_error"], decimals),
        *(number(row[end], decimals) for end in ends),
        p_text(row["p_value"]),
    ]


def test_mediation_table(mediated):
    table = mediated.table()
    body = table.body
    assert body.loc[("Effects", "Direct")].tolist() == cells(mediated.effects.loc["direct"])
    indirect = mediated.effects.loc["indirect via logp"]
    assert body.loc[("Effects", "Indirect via logp")].tolist() == cells(indirect)
    contrast = mediated.contrasts.loc["logp - pimin"]
    key = ("Contrasts of indirect effects", "logp - pimin")
    assert body.loc[key].tolist() == cells(contrast)
    assert body.loc[("Effects", "Proportion mediated"), ("", "Std. error")] == "n/a"
    assert table.notes[-1] == mediated.verdict
    z = mediated.sobel.loc[("logp", "Sobel"), "z"]
    assert any(f"logp: z = {z:.2f}" in note for note in table.notes)
    for text in (table.to_text(), table.to_latex(), table.to_html(), table.to_csv()):
        assert "logp" in text


def test_one_mediator_has_no_double_row(panel):
    found = mediation("logc ~ logy", panel, treatment="logy", mediators="logp", draws=50)
    rows = [name for _, name in found.table().body.index]
    assert rows == ["Direct", "Indirect via logp", "Total", "Proportion mediated"]
    assert found.contrasts.empty
    assert "Mediation(logy -> logp -> logc" in repr(found)
    assert "<table" in found._repr_html_()


def test_equations_stand_side_by_side(mediated):
    table = mediated.equations_table()
    body = table.body
    assert list(body.columns) == [
        ("(1)", "logc"), ("(2)", "logc"), ("(3)", "logp"), ("(4)", "pimin"), ("(5)", "logc"),
    ]  # fmt: skip
    terms = list(dict.fromkeys(term for block, term, _ in body.index if block == "Main"))
    assert terms == ["logy", "logp", "pimin", "pop16"]
    fit = mediated.equations["direct"]
    value = number(fit.params["logp"], 3) + stars(fit.pvalues["logp"])
    shown = body.loc[("Main", "logp"), ("(5)", "logc")].tolist()
    assert shown == [value, f"({number(fit.std_errors['logp'], 3)})"]
    assert body.loc[("Main", "logp"), ("(1)", "logc")].tolist() == ["", ""]


def test_moderated_tables(moderated):
    body = moderated.table().body
    high = moderated.values["high"]
    row = moderated.conditional.loc[("indirect", "high")]
    assert body.loc[("Indirect", f"pimin high ({high:.4g})")].tolist() == cells(row)
    index = moderated.index.loc[("indirect", "high - low")]
    assert body.loc[("Change with the moderator", "Indirect: high - low")].tolist() == cells(index)
    alone = moderated.interactions.loc[("direct", "alone")]
    assert body.loc[("Products", "Direct: alone")].tolist() == cells(alone)
    columns = moderated.equations_table().body.columns
    assert [head for head, _ in columns] == ["(5)", "(6)", "(7)", "(8)", "(9)", "(10)", "(11)"]
    assert [outcome for _, outcome in columns] == [
        "logc", "logp", "logp", "logc", "logc", "logp", "logc",
    ]  # fmt: skip


def test_spatial_tables(spatial, panel):
    body = spatial.table().body
    assert body.loc[("Direct", "Own")].tolist() == cells(spatial.effects.loc[("direct", "own")])
    row = spatial.effects.loc[("mediated via logp", "neighbours")]
    assert body.loc[("Mediated via logp", "Neighbours'")].tolist() == cells(row)
    assert ("Mediated", "Own") not in body.index  # one mediator: said once
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    given = spatial_mediation(
        "logc ~ logy", panel, W, treatment="logy", mediators="logp", moderator="pimin", draws=100
    )
    body = given.table().body
    value = given.effects.loc[("direct", "own", "low"), "pimin"]
    row = given.effects.loc[("direct", "own", "low")]
    assert body.loc[("Direct", f"Own, pimin low ({value:.4g})")].tolist() == cells(row)
    last = body.loc[("Last less first value of the moderator", "Mediated, own")]
    assert last.tolist() == cells(given.differences.loc[("mediated", "own")])
    assert len(spatial.equations_table().body.columns) == 3


def test_decimals_are_checked(mediated):
    error = mediated.effects["std_error"].iloc[0]
    assert mediated.table(decimals=6).body.iloc[0, 1] == number(error, 6)
    with pytest.raises(OptionError, match="decimals"):
        mediated.table(decimals=-1)


def test_simple_slopes_are_the_slopes(moderated):
    """Each line has the conditional slope, and the differences at the mean that z makes."""
    import matplotlib.pyplot as plt

    for path in ("direct", "first", "second"):
        ax = simple_slopes(moderated, path)
        lines = {line.get_label(): line for line in ax.get_lines()}
        for label in moderated.values.index:
            x, y = lines[f"pimin {label} ({moderated.values[label]:.4g})"].get_data()
            slope = (y[-1] - y[0]) / (x[-1] - x[0])
            assert slope == pytest.approx(moderated.conditional["estimate"][path, label])
        plt.close(ax.figure)


def test_bands_are_those_of_the_equation(moderated):
    """Half-width at the ends of the line at the mean moderator: z times |x - mean| se(slope)."""
    import matplotlib.pyplot as plt

    ax = simple_slopes(moderated, "first")
    x = moderated.observed("logy")
    fit = moderated.equations["mediator"]
    ends = np.quantile(x, [0.01, 0.99])
    band = ax.collections[1].get_paths()[0].vertices  # the second line is that of the mean
    at_end = band[np.isclose(band[:, 0], ends[1]), 1]
    V = fit.cov.loc[["logy", "logy:pimin"], ["logy", "logy:pimin"]].to_numpy()
    g = np.array([ends[1] - x.mean(), 0.0])  # the product is zero at the mean moderator
    half = 1.959963984540054 * np.sqrt(g @ V @ g)
    assert (at_end.max() - at_end.min()) / 2 == pytest.approx(half, rel=1e-6)
    plt.close(ax.figure)


def test_conditional_plot_follows_the_curve(moderated):
    import matplotlib.pyplot as plt

    ax = conditional_plot(moderated, "indirect")
    curve = moderated.curve("indirect")
    line = next(line for line in ax.get_lines() if len(line.get_xdata()) == len(curve))
    np.testing.assert_allclose(line.get_ydata(), curve["estimate"])
    assert ax.get_ylabel().replace("\n", " ") == "Indirect effect of logy on logc"
    plt.close(ax.figure)
    with pytest.raises(OptionError, match="effect"):
        conditional_plot(moderated, "sideways")
    with pytest.raises(OptionError, match="path"):
        simple_slopes(moderated, "indirect")


def test_pictures_are_drawn(moderated, tmp_path):
    from spatial_agglo.report.figures import save

    for name, ax in (("slopes", moderated.plot_slopes()), ("curve", moderated.plot())):
        paths = save(ax.figure, tmp_path, name)
        assert all(path.stat().st_size > 1000 for path in paths)
    import matplotlib.pyplot as plt

    plt.close("all")


def test_tables_do_not_change_results(mediated):
    before = mediated.effects.copy()
    mediated.table()
    pd.testing.assert_frame_equal(before, mediated.effects)


def test_stars_agree_with_the_bias_corrected_interval(panel):
    """At 95%: two stars or more exactly where that interval leaves out zero."""
    found = moderated_mediation(
        "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin", draws=400,
        seed=3,
    )  # fmt: skip
    body = found.table().body
    lower, upper = (
        body["Bias-corrected 95%", end].astype(float).to_numpy() for end in ("Lower", "Upper")
    )
    starred = body["", "Effect"].str.contains("**", regex=False).to_numpy()
    np.testing.assert_array_equal(starred, (lower > 0) | (upper < 0))
    assert 0 < starred.sum() < starred.size
    assert "own standard errors" in found.equations_table().notes[-1]


def test_the_plot_stays_within_the_data(panel):
    import matplotlib.pyplot as plt

    found = moderated_mediation(
        "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin",
        at={"far": -100.0, "near": 60.0}, draws=100,
    )  # fmt: skip
    ax = conditional_plot(found)
    assert [text.get_text() for text in ax.texts] == ["near"]
    low, high = ax.get_xlim()
    seen = found.observed("pimin")
    width = seen.max() - seen.min()
    assert 0 < seen.min() - low < 0.05 * width
    assert 0 < high - seen.max() < 0.05 * width
    plt.close(ax.figure)


def test_names_of_near_values_do_not_overlap(panel):
    import matplotlib.pyplot as plt

    found = moderated_mediation(
        "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin",
        at={"lower quartile": 60.0, "mean": 62.0, "high": 64.0}, draws=100,
    )  # fmt: skip
    ax = conditional_plot(found)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    plt.close(ax.figure)


def test_the_legend_of_slopes_is_in_the_order_of_the_values(moderated):
    import matplotlib.pyplot as plt

    ax = simple_slopes(moderated)
    ax.figure.draw_without_rendering()
    entries = ax.get_legend().get_texts()
    values = [f"pimin {name} ({value:.4g})" for name, value in moderated.values.items()]
    assert [text.get_text() for text in entries] == values
    corners = [(-box.y0, box.x0) for box in (text.get_window_extent() for text in entries)]
    assert corners == sorted(corners)
    assert len({x for _, x in corners}) == 1 or len({round(y) for y, _ in corners}) == 1
    plt.close(ax.figure)
