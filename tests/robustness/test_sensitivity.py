"""Many specifications in one call: each is the fit that one would make by hand."""

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.errors import (
    DataError,
    FormulaError,
    OptionError,
    SpatialAggloError,
)
from spatial_agglo.models import workspace
from spatial_agglo.robustness import sensitivity

SOUTH = ["Alabama", "Arkansas", "Florida", "Georgia", "Louisiana", "Mississippi", "Tennessee"]
NUMBERS = ["estimate", "se", "z", "p_value", "lower", "upper"]


@pytest.fixture(scope="module")
def weights():
    names = {"queen": "cigarettes_queen", "near": "cigarettes_5_nearest"}
    return {key: sa.datasets.weights(name).standardize("row") for key, name in names.items()}


@pytest.fixture(scope="module")
def found(cigarettes, weights):
    return sensitivity(
        FORMULA,
        cigarettes,
        weights,
        models=["ols", "sar", "sdm", "sdem"],
        effects=["two-way", "entity"],
        samples={"whole": None, "late": "year > 1977", "south": SOUTH},
        cov="robust",
    )


@pytest.fixture(scope="module")
def rows_of(found):
    return found.to_frame()


def part(frame, **keys):
    for name, value in keys.items():
        frame = frame[frame[name] == value]
    return frame


# --- the numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ols", "sar", "sdm", "sdem"])
@pytest.mark.parametrize("effects", ["two-way", "entity"])
@pytest.mark.parametrize("sample", ["whole", "late", "south"])
def test_every_row_is_the_fit_made_by_hand(rows_of, weights, model, effects, sample):
    df = sa.datasets.cigarettes()
    own = {"whole": df, "late": df[df["year"] > 1977], "south": df[df["state"].isin(SOUTH)]}
    panel = sa.Panel(own[sample], entity="state", time="year")
    for name, W in weights.items():
        if sample == "south":
            W = W.subset(SOUTH)
            assert W.row_standardized
        fit = getattr(sa, model)(FORMULA, panel, W, effects=effects, cov="robust")
        key = "no W" if model == "ols" else name
        rows = part(rows_of, W=key, model=model, effects=effects, sample=sample)
        assert len(rows) == 6
        expected = fit.impacts().to_frame()
        rows = rows.set_index(["effect", "variable"]).loc[expected.index]
        np.testing.assert_allclose(rows[NUMBERS], expected[NUMBERS], rtol=1e-9)
        one = rows.iloc[0]
        for parameter in ("rho", "lambda"):
            here = fit.params.get(parameter, np.nan)
            np.testing.assert_allclose(one[parameter], here, rtol=1e-9)
            np.testing.assert_allclose(
                one[f"{parameter}_se"], fit.std_errors.get(parameter, np.nan), rtol=1e-9
            )
        np.testing.assert_allclose(
            one[["loglik", "aic", "bic"]].astype(float), [fit.loglik, fit.aic, fit.bic]
        )
        assert one[["nobs", "entities", "periods"]].tolist() == [panel.nobs, panel.N, panel.T]


def test_the_frame_is_complete_and_in_order(found):
    frame = found.to_frame()
    # 2 W x 3 models x 2 effects x 3 samples, ols once per effects and sample; 3 effects of 2
    assert len(frame) == (2 * 3 * 2 * 3 + 2 * 3) * 3 * 2
    assert list(dict.fromkeys(frame["W"])) == ["queen", "near", "no W"]
    assert list(dict.fromkeys(frame["model"])) == ["sar", "sdm", "sdem", "ols"]
    assert list(dict.fromkeys(part(frame, W="queen")["model"])) == ["sar", "sdm", "sdem"]
    assert (frame["error"] == "").all()
    assert found.failures.empty
    assert found.varying == ("W", "model", "effects", "sample")
    assert not frame.duplicated(["W", "model", "effects", "sample", "effect", "variable"]).any()


def test_likelihoods_can_be_compared(found):
    """ols is nested in sar, which is nested in sdm, on one and the same transformed sample."""
    wide = found.to_frame().groupby(["effects", "sample", "W", "model"])["loglik"].first()
    for effects in ("two-way", "entity"):
        for sample in ("whole", "late", "south"):
            ols = wide[effects, sample, "no W", "ols"]
            for W in ("queen", "near"):
                own = wide[effects, sample, W]
                assert ols <= own["sar"] <= own["sdm"]


def test_the_model_without_weights_does_not_need_any(cigarettes, queen):
    samples = {"apart": ["Maine", "Texas", "Ohio"]}
    found = sensitivity(FORMULA, cigarettes, queen, models=["ols", "sar"], samples=samples)
    assert list(found.failures["model"]) == ["sar"]
    row = part(found.to_frame(), model="ols", effect="direct", variable="logp")
    df = sa.datasets.cigarettes()
    panel = sa.Panel(df[df["state"].isin(samples["apart"])], entity="state", time="year")
    assert row["estimate"].item() == pytest.approx(sa.ols(FORMULA, panel).params["logp"])


def test_summary_by_hand(found):
    frame = part(found.to_frame(), effect="indirect", variable="logp")
    kept = frame[frame["se"].notna()]  # ols has no indirect effects
    row = found.summary().loc[("indirect", "logp")]
    assert row["fits"] == len(kept) == 36
    assert row["failed"] == 0
    assert row["median"] == pytest.approx(np.median(kept["estimate"]))
    assert row["positive"] == pytest.approx(np.mean([e > 0 for e in kept["estimate"]]))
    assert row["significant"] == pytest.approx(
        np.mean([abs(e / s) > 1.959964 for e, s in zip(kept["estimate"], kept["se"], strict=True)])
    )


def test_processes_do_not_change_the_answer(cigarettes, weights):
    options = {"models": ["ols", "sdm"], "samples": {"all": None, "late": "year > 1977"}}
    one = sensitivity(FORMULA, cigarettes, weights, **options)
    two = sensitivity(FORMULA, cigarettes, weights, n_jobs=2, **options)
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())


def test_models_of_one_sample_share_their_moments(cigarettes, weights, monkeypatch):
    calls = []
    original = workspace.accumulate
    monkeypatch.setattr(
        workspace, "accumulate", lambda *args, **kw: calls.append(1) or original(*args, **kw)
    )
    sensitivity(
        FORMULA,
        cigarettes,
        weights,
        models=["sar", "sem", "slx", "sdm", "sdem", "sac"],
        effects=["two-way", "entity"],
    )
    assert len(calls) == 2 * 2  # W x effects


# --- samples --------------------------------------------------------------------------------------


def test_a_sample_can_be_said_in_many_ways(cigarettes, queen):
    frame = cigarettes.frame
    mask = pd.Series(frame.index.get_level_values(1) > 1980, index=frame.index)
    samples = {
        "query": "year > 1980",
        "mask": mask,
        "shuffled": mask.sample(frac=1.0, random_state=0),
        "function": lambda f: pd.Series(f.index.get_level_values("year") > 1980, index=f.index),
    }
    found = sensitivity(FORMULA, cigarettes, queen, samples=samples).to_frame()
    first = part(found, sample="query")["estimate"].to_numpy()
    for name in samples:
        np.testing.assert_array_equal(part(found, sample=name)["estimate"], first)
    states = pd.Series(cigarettes.entities.isin(SOUTH), index=cigarettes.entities)
    samples = {"list": SOUTH[::-1], "by entity": states[::-1], "index": pd.Index(SOUTH)}
    found = sensitivity(FORMULA, cigarettes, queen, samples=samples).to_frame()
    first = part(found, sample="list")["estimate"].to_numpy()
    for name in samples:
        np.testing.assert_array_equal(part(found, sample=name)["estimate"], first)


def test_rows_in_any_order(cigarettes, queen, found):
    df = sa.datasets.cigarettes().sample(frac=1.0, random_state=1)
    panel = sa.Panel(df, entity="state", time="year")
    order = np.random.default_rng(0).permutation(queen.ids)
    again = sensitivity(FORMULA, panel, {"queen": queen.align(order)}, cov="robust").to_frame()
    first = part(found.to_frame(), W="queen", model="sdm", effects="two-way", sample="whole")
    np.testing.assert_allclose(again[NUMBERS], first[NUMBERS], rtol=1e-7)


def test_other_standardisations_are_made_again(cigarettes):
    W = sa.datasets.weights("cigarettes_queen").standardize("spectral")
    found = sensitivity(
        FORMULA, cigarettes, W, models="sar", effects="entity", samples={"south": SOUTH}
    )
    df = sa.datasets.cigarettes()
    panel = sa.Panel(df[df["state"].isin(SOUTH)], entity="state", time="year")
    own = W.subset(SOUTH)
    values = np.abs(np.linalg.eigvals(own.matrix.toarray())).max()
    by_hand = sa.SpatialWeights.from_dense(own.matrix.toarray() / values, own.ids)
    fit = sa.sar(FORMULA, panel, by_hand, effects="entity")
    assert found.to_frame()["rho"].iloc[0] == pytest.approx(fit.rho, rel=1e-7)


def test_weights_by_period(cigarettes, queen, weights):
    late = cigarettes.times > 1977
    changing = sa.weights.PanelWeights(
        {
            t: weights["near"] if is_late else queen
            for t, is_late in zip(cigarettes.times, late, strict=True)
        }
    )
    samples = {"early": "year < 1978", "south": SOUTH}
    options = {"models": "sar", "effects": "entity"}
    found = sensitivity(FORMULA, cigarettes, changing, samples=samples, **options)
    assert found.failures.empty
    only = sensitivity(FORMULA, cigarettes, queen, samples=samples, **options)
    one, two = (part(f.to_frame(), sample="early")["rho"].iloc[0] for f in (found, only))
    assert one == pytest.approx(two, rel=1e-8)


# --- several formulas, some variables -----------------------------------------------------------


def test_formulas_are_a_dimension(cigarettes, queen):
    formulas = {"short": "logc ~ logp", "long": FORMULA}
    found = sensitivity(formulas, cigarettes, queen)
    frame = found.to_frame()
    assert set(part(frame, formula="short")["variable"]) == {"logp"}
    assert set(part(frame, formula="long")["variable"]) == {"logp", "logy"}
    expected = sa.sdm("logc ~ logp", cigarettes, queen).impacts().total.loc["logp", "estimate"]
    row = part(frame, formula="short", effect="total")
    assert row["estimate"].item() == pytest.approx(expected)
    assert found.varying == ("formula",)


def test_only_the_variables_that_are_wanted(cigarettes, queen):
    found = sensitivity(FORMULA, cigarettes, queen, variables=["logy"], durbin=["logy"])
    assert set(found.to_frame()["variable"]) == {"logy"}
    fit = sa.sdm(FORMULA, cigarettes, queen, durbin=["logy"])
    expected = fit.impacts().indirect.loc["logy", "estimate"]
    row = part(found.to_frame(), effect="indirect")
    assert row["estimate"].item() == pytest.approx(expected)


def test_a_single_cross_section(queen):
    df = sa.datasets.cigarettes()
    one = sa.Panel(df[df["year"] == 1980].drop(columns="year"), entity="state")
    found = sensitivity(FORMULA, one, queen, models=["sar", "sem"], effects="none")
    assert found.failures.empty
    expected = sa.sar(FORMULA, one, queen, effects="none").rho
    assert found.to_frame()["rho"].iloc[0] == pytest.approx(expected)


# --- failures -------------------------------------------------------------------------------------


def test_failures_are_rows_with_their_reason(cigarettes, queen):
    foreign = sa.SpatialWeights.from_dense(
        np.roll(np.eye(46), 1, axis=1), [f"place {i}" for i in range(46)]
    )
    found = sensitivity(
        FORMULA,
        cigarettes,
        {
            "queen": queen,
            "foreign": foreign,
            "bare": queen.matrix.toarray(),
            "unscaled": sa.datasets.weights("cigarettes_queen"),
        },
        models=["sem", "sdm"],
        samples={
            "all": None,
            "holes": "logy > 4.5",
            "no neighbours": ["Maine", "Texas", "Ohio"],
            "nothing": "year > 2100",
            "unknown": ["Atlantis"],
        },
    )
    frame = found.to_frame()
    assert len(frame) == 4 * 2 * 5 * 6
    good = part(frame, W="queen", sample="all")
    assert good["estimate"].notna().all()
    assert (good["error"] == "").all()

    def reason(**keys):
        rows = part(frame, **keys)
        assert rows["estimate"].isna().all()
        assert rows["loglik"].isna().all()
        return rows["error"].unique().item()

    assert reason(W="foreign", sample="all", model="sdm").startswith("AlignmentError: ")
    assert "no labels" in reason(W="bare", sample="all", model="sdm")
    assert "row-standardised" in reason(W="unscaled", sample="all", model="sem")
    assert part(frame, W="unscaled", sample="all", model="sdm")["estimate"].notna().all()
    assert "'holes' is not a panel" in reason(W="queen", sample="holes", model="sdm")
    assert "no neighbours left: 'Maine', 'Ohio', 'Texas'" in reason(
        W="queen", sample="no neighbours", model="sdm"
    )
    assert "selects no row" in reason(W="queen", sample="nothing", model="sdm")
    assert "'Atlantis'" in reason(W="queen", sample="unknown", model="sdm")
    assert len(found.failures) == 4 * 2 * 5 - 3
    assert found.summary().loc[("total", "logp"), "failed"] == 37
    assert found.summary().loc[("total", "logp"), "fits"] == 3


def test_an_error_of_any_kind_does_not_lose_the_run(cigarettes, queen, monkeypatch):
    from spatial_agglo.robustness import runs

    original = runs.fit

    def broken(spec, space):
        if spec.model == "sar":
            raise np.linalg.LinAlgError("Singular matrix")
        return original(spec, space)

    monkeypatch.setattr(runs, "fit", broken)
    found = sensitivity(FORMULA, cigarettes, queen, models=["sar", "sdm"])
    assert found.failures["error"].tolist() == ["LinAlgError: Singular matrix"]


def test_when_everything_fails(cigarettes, queen):
    with pytest.raises(SpatialAggloError, match="None of the 2 specifications.*no neighbours left"):
        sensitivity(
            FORMULA, cigarettes, queen, models=["sar", "sdm"], samples={"a": ["Maine", "Ohio"]}
        )


def test_a_formula_that_fails_on_a_sample_only(cigarettes, weights):
    """A variable that the units of one sample do not have."""
    frame = cigarettes.frame.copy()
    frame["odd"] = frame["price"].where(~frame.index.get_level_values(0).isin(SOUTH))
    panel = sa.Panel(frame, unbalanced="allow")
    found = sensitivity(
        "logc ~ logp + odd",
        panel,
        weights["near"],
        effects="entity",
        samples={"a": None, "b": SOUTH},
    )
    assert list(found.failures["sample"]) == ["b"]
    assert "No cell of the panel has every variable" in found.failures["error"].item()
    row = found.to_frame().iloc[0]
    assert row[["entities", "nobs"]].tolist() == [39, 39 * 30]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"formula": "logc ~ nothing"}, FormulaError, "nothing"),
        ({"formula": {}}, FormulaError, "not empty"),
        ({"formula": {"a": "logc ~ logp", "b": "sales ~ logp"}}, FormulaError, "same outcome"),
        ({"formula": "logc ~ 1"}, FormulaError, "no effects to compare"),
        ({"W": {}}, OptionError, "at least one matrix"),
        ({"W": {"no W": None}}, OptionError, "cannot be named"),
        ({"W": {1: None, "1": None}}, OptionError, "differ as text"),
        ({"models": ["sdm", "durbin"]}, OptionError, "'gns'"),
        ({"models": []}, OptionError, "at least one of"),
        ({"models": ["sdm", "sdm"]}, OptionError, "twice"),
        ({"effects": "twoways"}, OptionError, "'two-way'"),
        ({"likelihood": "exact"}, OptionError, "transformed"),
        ({"cov": "white"}, OptionError, "robust"),
        ({"samples": ["a"]}, OptionError, "mapping of names"),
        ({"samples": {}}, OptionError, "mapping of names"),
        ({"samples": {"a": 3}}, OptionError, "a query"),
        ({"samples": {"a": "year >"}}, OptionError, "cannot be evaluated"),
        ({"samples": {"a": "year + 1"}}, OptionError, "true or false"),
        ({"variables": "logp"}, OptionError, "list of names"),
        ({"variables": ["price"]}, OptionError, "'price'"),
        ({"level": 95}, OptionError, "between 0 and 1"),
        ({"n_jobs": 0}, OptionError, "number of processes"),
    ],
)
def test_bad_input(cigarettes, queen, change, error, message):
    given = {"formula": FORMULA, "W": {"queen": queen}} | change
    with pytest.raises(error, match=message):
        sensitivity(given.pop("formula"), cigarettes, given.pop("W"), **given)


def test_masks_must_say_something_about_every_row(cigarettes, queen):
    mask = pd.Series(True, index=cigarettes.frame.index[5:])
    found = sensitivity(FORMULA, cigarettes, queen, samples={"all": None, "short": mask})
    assert "says nothing about ('Alabama', 1963)" in found.failures["error"].item()
    double = pd.Series(True, index=cigarettes.frame.index.append(cigarettes.frame.index[:1]))
    with pytest.raises(OptionError, match="each once"):
        sensitivity(FORMULA, cigarettes, queen, samples={"double": double})


def test_inputs_are_not_changed(cigarettes, queen):
    before, matrix = cigarettes.frame.copy(), queen.matrix.copy()

    def sample(frame):
        frame["logc"] = 0.0
        return pd.Series(frame.index.get_level_values("year") > 1970, index=frame.index)

    sensitivity(FORMULA, cigarettes, queen, samples={"late": sample, "south": SOUTH})
    pd.testing.assert_frame_equal(cigarettes.frame, before)
    assert (queen.matrix != matrix).nnz == 0


def test_errors_of_the_panel_are_raised_at_once(cigarettes, queen):
    with pytest.raises(DataError, match="Panel is needed"):
        sensitivity(FORMULA, cigarettes.frame, queen)
