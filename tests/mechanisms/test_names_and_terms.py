"""Names and terms that would silently mean something else: each is an error, or read as it is."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import IdentificationError, OptionError
from spatial_agglo.mechanisms import (
    fe2sls,
    mediation,
    moderated_mediation,
    side_by_side,
    spatial_mediation,
    stepwise,
)
from spatial_agglo.models.gmm import stsls
from spatial_agglo.panel import columns_in, functions_of

N, T = 20, 6
COLUMNS = ["y", "x", "k", "m", "mod", "z1", "z2"]


@pytest.fixture(scope="module")
def frame():
    values = np.random.default_rng(0).normal(size=(N * T, len(COLUMNS)))
    out = pd.DataFrame(values, columns=COLUMNS)
    out["x"] += out["z1"]
    out["m"] += 0.5 * out["x"]
    out["y"] += out["x"] + out["m"]
    ids = [f"u{i:02d}" for i in range(N)]
    return out.assign(i=np.repeat(ids, T), t=np.tile(np.arange(2001, 2001 + T), N))


@pytest.fixture(scope="module")
def W(frame):
    ring = np.roll(np.eye(N), 1, axis=1)
    return sa.SpatialWeights.from_dense((ring + ring.T) / 2.0, sorted(frame["i"].unique()))


def panel_of(frame):
    return sa.Panel(frame, entity="i", time="t")


def every(formula, frame, W, *, mediator="m", moderator="mod", treatment="x"):
    """The three kinds of mediation, as functions without arguments."""
    panel = panel_of(frame)
    plain = {"treatment": treatment, "draws": 20}
    return (
        lambda: mediation(formula, panel, mediators=mediator, **plain),
        lambda: moderated_mediation(
            formula, panel, mediator=mediator, moderator=moderator, **plain
        ),
        lambda: spatial_mediation(
            formula, panel, W, mediators=mediator, moderator=moderator, **plain
        ),
    )


@pytest.mark.parametrize("name", ["rho", "lambda", "sigma2", "Intercept", "W*x"])
def test_names_of_parameters(frame, W, name):
    data = frame.assign(**{name: frame["m"] + frame["mod"]})
    for run in every("y ~ x", data, W, mediator=name):
        with pytest.raises(OptionError, match="own parameters"):
            run()
    for run in every("y ~ x", data, W, moderator=name)[1:]:
        with pytest.raises(OptionError, match="own parameters"):
            run()


@pytest.mark.parametrize("name", ["estimate", "std_error"])
def test_names_of_columns_of_the_tables(frame, W, name):
    for run in every("y ~ x", frame.assign(**{name: frame["mod"]}), W, moderator=name)[1:]:
        with pytest.raises(OptionError, match="column of the tables"):
            run()


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("y ~ x * k", "'x:k' move"),
        ("y ~ x + I(x ** 2)", "move"),
        ("y ~ x + np.exp(x)", "move"),
        ("y ~ x + x:mod", "'x:mod' move"),
        ("y ~ x + np.log(m ** 2)", "contain.* mediator 'm'"),
        ("y ~ x + m:k", "contain.* mediator 'm'"),
    ],
)
def test_terms_with_the_treatment_or_a_mediator(frame, W, formula, said):
    for run in every(formula, frame, W):
        with pytest.raises(OptionError, match=said):
            run()


def test_terms_that_do_not_move_with_the_treatment(frame, W):
    """Main effects of a treatment that is a product, and other levels of a category."""
    product = mediation("y ~ x * k", panel_of(frame), treatment="x:k", mediators="m", draws=20)
    assert np.isfinite(product.effects["estimate"]).all()
    levels = frame.assign(g=np.arange(len(frame)) ** 2 % 7 % 3, xx=frame["k"])
    found = mediation("y ~ C(g) + xx", panel_of(levels), treatment="C(g)[T.1]", mediators="m",
                      draws=20)  # fmt: skip
    assert np.isfinite(found.effects["estimate"]).all()
    for run in every("y ~ x + mod:k", frame, W):  # the moderator may stand in controls
        run()


def test_a_column_with_the_name_of_a_product(frame, W):
    data = frame.assign(**{"x:mod": frame["k"]})
    for run in every("y ~ x + `x:mod`", data, W)[1:]:
        with pytest.raises(OptionError, match="name of the product"):
            run()
    for run in every("y ~ x", data, W, mediator="x:mod")[1:]:
        with pytest.raises(OptionError, match="name of the product"):
            run()


@pytest.mark.parametrize("estimate", [fe2sls, stsls])
@pytest.mark.parametrize("formula", ["y ~ x * k", "y ~ x + I(x ** 2)"])
def test_exogenous_terms_with_an_endogenous_regressor(frame, estimate, formula):
    options = {} if estimate is fe2sls else {"model": "ols"}
    given = {"endogenous": ["x"], "instruments": ["z1", "z2"], **options}
    with pytest.raises(OptionError, match="cannot be exogenous"):
        estimate(formula, panel_of(frame), **given)


def test_endogenous_products_are_named(frame):
    """The remedy of the message, against the same columns made by hand."""
    panel = panel_of(frame.assign(xk=frame["x"] * frame["k"], zk=frame["z1"] * frame["k"]))
    one = fe2sls("y ~ x * k", panel, endogenous=["x", "x:k"], instruments=["z1", "z1:k"])
    two = fe2sls("y ~ x + k + xk", panel, endogenous=["x", "xk"], instruments=["z1", "zk"])
    np.testing.assert_allclose(one.params[["x", "k", "x:k"]], two.params[["x", "k", "xk"]])


@pytest.mark.parametrize("name", ["z1-1", "z1*z2", "a b"])
def test_a_column_is_read_by_its_name(frame, name):
    """The same numbers as under a plain name."""
    panel = panel_of(frame.assign(**{name: frame["z2"]}))
    iv = {"formula": "y ~ x", "panel": panel, "endogenous": ["x"]}
    ours, plain = (fe2sls(**iv, instruments=[one]) for one in (name, "z2"))
    assert ours.instruments == (name,)
    np.testing.assert_array_equal(ours.params, plain.params)
    ours.first_stage_fits["x"]
    ours, plain = (stepwise("y ~ x", panel, [one])["(2)"] for one in (name, "z2"))
    assert name in ours.names
    np.testing.assert_array_equal(ours.params, plain.params)


@pytest.mark.parametrize("term", ["z1-1", "z1 - z2", "-1"])
def test_terms_that_take_away(frame, term):
    panel = panel_of(frame)
    with pytest.raises(OptionError, match=r"write I\("):
        fe2sls("y ~ x", panel, endogenous=["x"], instruments=["z2", term])
    with pytest.raises(OptionError, match=r"write I\("):
        stepwise("y ~ x", panel, [["z2", term]])
    inside = fe2sls("y ~ x", panel, endogenous=["x"], instruments=["I(z1 - 1)"])
    plain = fe2sls("y ~ x", panel, endogenous=["x"], instruments=["z1"])
    np.testing.assert_allclose(inside.params, plain.params)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("x", {"x"}),
        ("np.log(x)", {"x"}),
        ("x:k", {"x", "k"}),
        ("x2", set()),
        ("a.x", set()),
        ("C(g)[T.x]", {"g"}),
        ("log(k)", {"k"}),
        ("GDP (x):k", {"GDP (x)", "k"}),
        ("I(x**2 + k)", {"x", "k"}),
    ],
)
def test_columns_of_a_term(term, expected):
    assert columns_in(term, ["x", "k", "g", "log", "GDP (x)"]) == expected


def test_functions_of_a_name_that_is_no_column():
    assert functions_of("C(g)[T.1]", ["C(g)[T.1]", "C(g)[T.2]", "x", "x:C(g)[T.1]"], "gx") == [
        "x:C(g)[T.1]"
    ]
    assert functions_of("1", ["x"], ["x"]) == []


def test_a_regressor_named_phi(frame):
    panel = panel_of(frame.assign(phi=frame["k"]))
    found = side_by_side({"a": sa.ols("y ~ x + phi", panel)}).to_frame()
    assert found.index.get_level_values("term").tolist() == ["x", "phi"]


def test_headings_that_are_written_alike(frame):
    fit = sa.ols("y ~ x", panel_of(frame))
    with pytest.raises(sa.errors.DataError, match="'1' stands for several"):
        side_by_side({1: fit, "1": fit})
    with pytest.raises(OptionError, match="no column"):
        side_by_side({1: fit})[["1"]]


def test_few_entities_are_said(frame):
    few = panel_of(frame[frame["i"] < "u05"])
    found = mediation("y ~ x", few, treatment="x", mediators="m", draws=20)
    assert "only 126 different resamples of 5 entities: intervals of so few are too short" in (
        found.notes
    )
    many = mediation("y ~ x", panel_of(frame), treatment="x", mediators="m", draws=20)
    assert not any("different resamples" in note for note in many.notes)


def test_collinear_in_the_sample_itself(frame):
    panel = panel_of(frame.assign(x=frame["x"] + 2e5))
    roles = {"treatment": "x", "mediator": "m", "moderator": "mod", "draws": 20}
    with pytest.raises(IdentificationError, match="in the sample itself.*centre=True"):
        moderated_mediation("y ~ x", panel, centre=False, **roles)
    assert moderated_mediation("y ~ x", panel, **roles).failed == 0


@pytest.mark.parametrize("model", ["sem", "ols"])
def test_what_is_zero_by_construction(frame, W, model):
    roles = {"treatment": "x", "mediators": "m", "draws": 50}
    found = spatial_mediation("y ~ x", panel_of(frame), W, model=model, **roles)
    neighbours = found.verdict.split("From neighbours: ")[1]
    assert "zero by construction" in neighbours
    assert "interval" not in neighbours
    assert "by construction" not in found.verdict.split("From neighbours: ")[0]
    lagged = spatial_mediation("y ~ x", panel_of(frame), W, model="slx", durbin=["m"], **roles)
    assert "From neighbours: the direct effect is zero by construction, the 95%" in lagged.verdict


@pytest.mark.parametrize("cov", [None, 1, "observed", "hc3"])
def test_only_covariances_of_two_stage_least_squares_are_listed(frame, cov):
    with pytest.raises(OptionError, match="'unadjusted'") as caught:
        fe2sls("y ~ x", panel_of(frame), endogenous=["x"], instruments=["z1"], cov=cov)
    assert "'opg'" not in str(caught.value)
    assert "'bootstrap'" not in str(caught.value)


@pytest.mark.parametrize("level", [None, [0.9], np.array([0.9]), True, "0.9", 95])
def test_levels(frame, W, level):
    panel = panel_of(frame)
    fit = fe2sls("y ~ x", panel, endogenous=["x"], instruments=["z1"])
    for run in (
        lambda: fit.anderson_rubin_set(level),
        lambda: mediation("y ~ x", panel, treatment="x", mediators="m", level=level),
        lambda: spatial_mediation("y ~ x", panel, W, treatment="x", mediators="m", level=level),
    ):
        with pytest.raises(OptionError, match="level="):
            run()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mediators": None}, "mediators must be"),
        ({"mediators": 1}, "mediators must be"),
        ({"moderator": ["mod"]}, "moderator must be the name"),
        ({"moderator": "mod", "paths": 1}, "paths must be"),
        ({"durbin": 5}, "durbin must be a list"),
        ({"n_jobs": "a"}, "n_jobs="),
        ({"n_jobs": 1.5}, "n_jobs="),
        ({"n_jobs": 0}, "n_jobs="),
        ({"n_jobs": "a", "intervals": "bootstrap"}, "n_jobs="),
    ],
)
def test_options_of_another_type(frame, W, options, said):
    given = {"treatment": "x", "mediators": "m", "draws": 10, **options}
    with pytest.raises(OptionError, match=said):
        spatial_mediation("y ~ x", panel_of(frame), W, **given)
