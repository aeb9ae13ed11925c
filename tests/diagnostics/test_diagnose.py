"""Models of other libraries go straight in: the tests are those of the same formula."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from conftest import EFFECTS, FORMULA
from linearmodels.panel import BetweenOLS, PanelOLS, PooledOLS, RandomEffects

import spatial_agglo as sa
from spatial_agglo.diagnostics.diagnose import diagnose
from spatial_agglo.errors import AlignmentError, DataError, OptionError

LM = ["LM lag", "robust LM lag", "LM error", "robust LM error", "SARMA"]
LINEARMODELS = {
    "none": "",
    "entity": " + EntityEffects",
    "time": " + TimeEffects",
    "two-way": " + EntityEffects + TimeEffects",
}
DUMMIES = {
    "none": "",
    "entity": " + C(state)",
    "time": " + C(year)",
    "two-way": " + C(state) + C(year)",
}
FIXEST = {"none": "", "entity": " | state", "time": " | year", "two-way": " | year + state"}


@pytest.fixture(scope="module")
def frame():
    """Rows in random order, with a meaningless index that is not 0, 1, 2, ..."""
    df = sa.datasets.cigarettes().sample(frac=1.0, random_state=3)
    return df.set_index(pd.Index(np.arange(len(df)) * 7 + 100))


@pytest.fixture(scope="module")
def indexed(frame):
    return frame.set_index(["state", "year"])


def check(found, panel, W, effects):
    expected = sa.lm_tests(FORMULA, panel, W, effects=effects)
    np.testing.assert_allclose(
        found.table.loc[LM, "statistic"], expected.loc[LM, "statistic"], rtol=1e-8
    )
    np.testing.assert_allclose(
        found.table.loc[LM, "p_value"], expected.loc[LM, "p_value"], rtol=1e-6
    )
    assert found.effects == effects
    moran = sa.residual_moran(FORMULA, panel, W, effects=effects)
    assert found.table.loc["Moran's I", "statistic"] == pytest.approx(moran["z"], rel=1e-8)


# --- the same numbers from every library -----------------------------------------------------


@pytest.mark.parametrize("effects", EFFECTS)
def test_linearmodels(cigarettes, queen, indexed, effects):
    formula = FORMULA.replace("~", "~ 1 +") + LINEARMODELS[effects]
    result = PanelOLS.from_formula(formula, indexed).fit()
    check(diagnose(result, queen, permutations=9), cigarettes, queen, effects)


def test_linearmodels_pooled(cigarettes, queen, indexed):
    X = sm.add_constant(indexed[["logp", "logy"]])
    result = PooledOLS(indexed["logc"], X).fit(cov_type="clustered", cluster_entity=True)
    check(diagnose(result, queen, permutations=9), cigarettes, queen, "none")


@pytest.mark.parametrize("constant", ["", " - 1"])
@pytest.mark.parametrize("effects", EFFECTS)
def test_statsmodels_with_dummies(cigarettes, queen, frame, effects, constant):
    if effects == "none" and constant:
        pytest.skip("another model")
    result = smf.ols(FORMULA + DUMMIES[effects] + constant, frame).fit()
    found = diagnose(result, queen, entity="state", time="year", permutations=9)
    check(found, cigarettes, queen, effects)
    assert (effects == "none") == (not found.notes)


def test_statsmodels_on_demeaned_data(cigarettes, queen, indexed):
    """By hand demeaned data need the effects stated."""
    columns = indexed[["logc", "logp", "logy"]]
    within = columns - columns.groupby(level=0).transform("mean")
    result = sm.OLS(within["logc"], within[["logp", "logy"]]).fit()
    stated = diagnose(result, queen, effects="entity", permutations=9)
    check(stated, cigarettes, queen, "entity")
    assert diagnose(result, queen, permutations=9).effects == "none"


def test_statsmodels_with_data_matched_by_row_label(cigarettes, queen, frame):
    result = sm.OLS(frame["logc"], sm.add_constant(frame[["logp", "logy"]])).fit()
    shuffled = frame.sample(frac=1.0, random_state=9)
    found = diagnose(result, queen, data=shuffled, entity="state", time="year", permutations=9)
    check(found, cigarettes, queen, "none")


def test_weights_that_do_not_weigh(cigarettes, queen, indexed):
    X = sm.add_constant(indexed[["logp", "logy"]])
    result = sm.WLS(indexed["logc"], X, weights=np.full(len(X), 3.0)).fit()
    check(diagnose(result, queen, permutations=9), cigarettes, queen, "none")


def test_cross_section(queen, frame):
    one = frame[frame["year"] == 1992].set_index("state")
    panel = sa.Panel(one.drop(columns="year").reset_index(), entity="state")
    result = sm.OLS(one["logc"], sm.add_constant(one[["logp", "logy"]])).fit()
    found = diagnose(result, queen)
    check(found, panel, queen, "none")
    assert "Pesaran CD" not in found.table.index
    named = diagnose(smf.ols(FORMULA, one.reset_index()).fit(), queen, entity="state")
    check(named, panel, queen, "none")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("effects", EFFECTS)
def test_pyfixest(cigarettes, queen, frame, effects):
    pf = pytest.importorskip("pyfixest")
    result = pf.feols(FORMULA + FIXEST[effects], frame)
    found = diagnose(result, queen, entity="state", time="year", permutations=9)
    check(found, cigarettes, queen, effects)


@pytest.mark.filterwarnings("ignore")
def test_pyfixest_with_fixed_effects_by_another_name(cigarettes, queen, frame):
    pf = pytest.importorskip("pyfixest")
    keys = {"entity": "state", "time": "year"}
    found = diagnose(pf.feols(FORMULA + " | code", frame), queen, permutations=9, **keys)
    check(found, cigarettes, queen, "entity")  # code is short for state
    frame = frame.assign(half=frame["year"] > 1977)
    with pytest.raises(OptionError, match="'half' are not those of the entities"):
        diagnose(pf.feols(FORMULA + " | half", frame), queen, **keys)


@pytest.mark.filterwarnings("ignore")
def test_pyfixest_with_instruments_has_no_lm_tests(queen, frame):
    pf = pytest.importorskip("pyfixest")
    result = pf.feols("logc ~ logy | state + year | logp ~ pimin", frame)
    found = diagnose(result, queen, entity="state", time="year", permutations=99)
    assert list(found.table.index) == ["Moran's I", "Pesaran CD", "local CD"]
    assert "sa.stsls(" in found.advice


@pytest.mark.filterwarnings("ignore")
def test_pyfixest_does_not_keep_the_index(queen, indexed):
    pf = pytest.importorskip("pyfixest")
    with pytest.raises(OptionError, match="do not say which entity"):
        diagnose(pf.feols(FORMULA, indexed), queen)


# --- random effects and weights ----------------------------------------------------------------


def test_random_effects_against_explicit_generalised_least_squares(queen, indexed):
    """Score tests with the dense covariance of the random effects."""
    y, X = indexed["logc"], sm.add_constant(indexed[["logp", "logy"]])
    result = RandomEffects(y, X).fit()
    table = diagnose(result, queen, permutations=9).table
    parts = result.variance_decomposition
    N, T = 46, 30
    Sigma = parts["Effects"] * np.ones((T, T)) + parts["Residual"] * np.eye(T)
    order = pd.MultiIndex.from_product([sorted(queen.ids), sorted(indexed.index.unique(1))])
    stack = order.swaplevel().sortlevel()[0].swaplevel()  # periods slow, units fast
    Y, Z = y.loc[stack].to_numpy(), X.loc[stack].to_numpy()
    inverse = np.kron(np.linalg.inv(Sigma), np.eye(N))
    W = queen.align(sorted(queen.ids)).matrix.toarray()
    big = np.kron(np.eye(T), W)
    b = np.linalg.solve(Z.T @ inverse @ Z, Z.T @ inverse @ Y)
    np.testing.assert_allclose(b, result.params, rtol=1e-8)
    u = Y - Z @ b
    s2 = u @ inverse @ u / (N * T)  # the scale of Sigma, which the score tests estimate
    inverse /= s2
    lag = big @ Z @ b
    cross = Z.T @ inverse @ lag
    left = lag @ inverse @ lag - cross @ np.linalg.solve(Z.T @ inverse @ Z, cross)
    T_W = T * np.trace(W @ W + W.T @ W)
    d_y, d_e = u @ inverse @ big @ Y, u @ inverse @ big @ u
    assert table.loc["LM lag", "statistic"] == pytest.approx(d_y**2 / (left + T_W), rel=1e-8)
    assert table.loc["LM error", "statistic"] == pytest.approx(d_e**2 / T_W, rel=1e-8)


def test_weighted_least_squares_has_no_lm_tests(queen, indexed):
    X = sm.add_constant(indexed[["logp", "logy"]])
    result = sm.WLS(indexed["logc"], X, weights=indexed["pop"]).fit()
    found = diagnose(result, queen, permutations=99)
    assert list(found.table.index) == ["Moran's I", "Pesaran CD", "local CD"]
    assert "WLS is not ordinary least squares" in found.notes[0]
    e = result.resid - result.resid.mean()
    wide = e.unstack(0)[queen.ids].to_numpy()
    moran = (wide * (queen.matrix @ wide.T).T).sum() / (wide**2).sum()
    assert found.table.loc["Moran's I", "statistic"] == pytest.approx(moran, rel=1e-9)


def test_weighted_panel_regression_has_none_either(queen, indexed):
    X = sm.add_constant(indexed[["logp", "logy"]])
    result = PanelOLS(indexed["logc"], X, weights=indexed["pop"], entity_effects=True).fit()
    found = diagnose(result, queen, permutations=9)
    assert found.effects == "entity"
    assert "weighted PanelOLS" in found.notes[0]


# --- what is said -------------------------------------------------------------------------------


def test_the_advice_can_be_run(cigarettes, queen, indexed):
    result = PanelOLS.from_formula(FORMULA + " + EntityEffects", indexed).fit()
    found = diagnose(result, queen, permutations=9)
    call = found.advice.split("Next: ")[1].removesuffix(".")
    df = sa.datasets.cigarettes()
    choice = eval(call, {"sa": sa, "df": df, "W": queen})
    assert choice.fit.spec.effects == "entity"
    assert found.regression.replace(model="sdm").rho == pytest.approx(choice.fits["sdm"].rho)


def test_advice_without_dependence():
    rng = np.random.default_rng(4)
    N, T = 40, 8
    W = np.roll(np.eye(N), 1, axis=1)
    index = pd.MultiIndex.from_product([range(N), range(T)], names=["i", "t"])
    df = pd.DataFrame(rng.normal(size=(N * T, 2)), index=index, columns=["y", "x"])
    weights = sa.SpatialWeights.from_dense(W, range(N))
    found = diagnose(PanelOLS(df["y"], df[["x"]], entity_effects=True).fit(), weights)
    assert (found.table["p_value"] > 0.05).all()
    assert "sa.slx('y ~ x', sa.Panel(df, entity='i', time='t'), W, effects='entity')" in (
        found.advice
    )
    shock = pd.Series(rng.normal(size=T), index=range(T)).loc[index.get_level_values(1)]
    df["y"] = df["y"] + 2.0 * shock.to_numpy() * np.where(index.get_level_values(0) % 2, 1, -1)
    apart = diagnose(PanelOLS(df["y"], df[["x"]], entity_effects=True).fit(), weights)
    assert apart.advice.startswith("Spatial dependence")  # neighbours move against each other
    df["y"] = rng.normal(size=N * T) + 2.0 * shock.to_numpy() * (index.get_level_values(0) % 2)
    common = diagnose(PanelOLS(df["y"], df[["x"]], entity_effects=True).fit(), weights)
    assert "common shocks, or another W" in common.advice


def test_what_is_shown(queen, indexed):
    result = PanelOLS.from_formula(FORMULA + " + EntityEffects", indexed).fit()
    found = diagnose(result, queen, permutations=9)
    assert "robust LM lag" in repr(found)
    assert found.advice in repr(found)
    assert "<table" in found._repr_html_()
    assert set(found.table.attrs["tests"]) >= {"Moran's I", "Pesaran CD", "local CD"}


# --- bad input ------------------------------------------------------------------------------------


def test_unknown_kinds_name_the_plain_arrays(queen, indexed, frame):
    y, X = indexed["logc"], sm.add_constant(indexed[["logp", "logy"]])
    logit = sm.Logit((frame["logc"] > 4.7).astype(float), frame[["logp"]]).fit(disp=False)
    for result in (object(), BetweenOLS(y, X).fit(), logit):
        with pytest.raises(OptionError, match="lm_from_arrays.*residuals_from_arrays"):
            diagnose(result, queen)


def test_a_fit_of_this_package_needs_no_diagnose(cigarettes, queen):
    with pytest.raises(OptionError, match="residual_moran"):
        diagnose(sa.ols(FORMULA, cigarettes), queen)


def test_arrays_without_labels(queen, frame):
    result = sm.OLS(frame["logc"].to_numpy(), frame[["logp", "logy"]].to_numpy()).fit()
    with pytest.raises(OptionError, match="fitted on arrays"):
        diagnose(result, queen)


def test_labels_that_cannot_be_found(queen, frame):
    result = smf.ols(FORMULA, frame).fit()
    with pytest.raises(OptionError, match="do not say which entity"):
        diagnose(result, queen)
    with pytest.raises(OptionError, match="no column 'province'"):
        diagnose(result, queen, entity="province", time="year")
    with pytest.raises(OptionError, match="needs entity="):
        diagnose(result, queen, time="year")
    with pytest.raises(DataError, match="not in data"):
        diagnose(result, queen, data=frame.iloc[5:], entity="state", time="year")
    with pytest.raises(DataError, match="repeat"):
        diagnose(result, queen, data=pd.concat([frame, frame]), entity="state", time="year")


def test_wrong_effects_are_found_out(queen, indexed):
    result = PanelOLS.from_formula(FORMULA + " + EntityEffects", indexed).fit()
    with pytest.raises(DataError, match="effects='two-way'.*differ"):
        diagnose(result, queen, effects="two-way")


def test_other_effects_of_linearmodels(queen, indexed):
    other = pd.DataFrame({"half": (indexed.index.get_level_values(1) > 1977).astype(int)})
    other.index = indexed.index
    result = PanelOLS(indexed["logc"], indexed[["logp"]], other_effects=other).fit()
    with pytest.raises(OptionError, match="other than those of entities and periods"):
        diagnose(result, queen)


def test_units_must_agree(queen, indexed):
    result = PanelOLS.from_formula(FORMULA, indexed.drop("Ohio", level=0)).fit()
    with pytest.raises(AlignmentError, match="Ohio"):
        diagnose(result, queen)


def test_options(queen, indexed):
    result = PanelOLS.from_formula(FORMULA, indexed).fit()
    for option in ({"effects": "random"}, {"alpha": 5.0}, {"likelihood": "exact"}):
        with pytest.raises(OptionError):
            diagnose(result, queen, **option)


def test_weights_by_period(queen, indexed):
    """No LM tests for them yet; Moran's I and CD there are."""
    W = sa.weights.PanelWeights(dict.fromkeys(range(1963, 1993), queen))
    result = PanelOLS.from_formula(FORMULA + " + EntityEffects", indexed).fit()
    found = diagnose(result, W, permutations=99)
    one = diagnose(result, queen, permutations=9).table
    rows = found.table["statistic"]
    assert rows["Pesaran CD"] == pytest.approx(one.loc["Pesaran CD", "statistic"], rel=1e-9)
    assert "Moran's I" in rows.index
    if "LM lag" not in rows.index:
        assert found.notes[-1].startswith("No LM tests: ")


def test_gaps(queen, indexed):
    result = PanelOLS.from_formula(FORMULA, indexed.iloc[1:]).fit()
    with pytest.raises(DataError, match="unbalanced='allow'"):
        diagnose(result, queen)
    found = diagnose(result, queen, unbalanced="allow", permutations=9)
    assert found.regression.nobs == len(indexed) - 1
    assert "Pesaran CD" in found.table.index


# --- bad input ------------------------------------------------------------------------------


def ring(seed=0, T=4, shuffled=True):
    """A panel of eight units on a ring with dependence along W, rows in random order."""
    rng = np.random.default_rng(seed)
    ids = [f"u{i}" for i in range(8)]
    near = np.roll(np.eye(8), 1, axis=1) + np.roll(np.eye(8), -1, axis=1)
    W = sa.SpatialWeights.from_dense(near, ids).standardize("row")
    frame = pd.DataFrame({"id": np.tile(ids, T), "t": np.repeat(range(2000, 2000 + T), 8)})
    frame["x"] = rng.normal(size=len(frame))
    frame["y"] = frame["x"] + rng.normal(size=len(frame))
    return (frame.sample(frac=1, random_state=1) if shuffled else frame), W


def test_a_bare_matrix_is_not_matched_by_position():
    smf = pytest.importorskip("statsmodels.formula.api")
    frame, W = ring()
    result = smf.ols("y ~ x", frame).fit()
    for bare in (W.matrix.toarray(), W.matrix, None):
        with pytest.raises(sa.errors.WeightsError):
            sa.diagnose(result, bare, entity="id", time="t")


def test_data_with_another_index_than_the_one_fitted():
    smf = pytest.importorskip("statsmodels.formula.api")
    frame, W = ring()
    result = smf.ols("y ~ x", frame).fit()
    right = sa.diagnose(result, W, data=frame, entity="id", time="t").table
    assert len(right)
    with pytest.raises(sa.errors.DataError, match="another 'y' than the row"):
        sa.diagnose(result, W, data=frame.reset_index(drop=True), entity="id", time="t")


def test_options_are_errors_and_not_notes():
    smf = pytest.importorskip("statsmodels.formula.api")
    frame, W = ring()
    model = smf.ols("y ~ x", frame)
    result = model.fit()
    keys = {"entity": "id", "time": "t"}
    for options in ({"alpha": None}, {"alpha": [0.1]}, {"permutations": 0}, {"seed": "a"}):
        with pytest.raises(sa.errors.OptionError):
            sa.diagnose(result, W, **keys, **options)
    for wrong in (model, model.fit_regularized()):
        with pytest.raises(sa.errors.OptionError, match=r"fit|penalty"):
            sa.diagnose(wrong, W, **keys)


def test_a_dummy_without_a_constant_is_no_period_effect():
    smf = pytest.importorskip("statsmodels.formula.api")
    frame, W = ring(T=2)
    frame["post"] = (frame["t"] == 2001).astype(float)
    keys = {"entity": "id", "time": "t"}
    assert sa.diagnose(smf.ols("y ~ x + post", frame).fit(), W, **keys).effects == "time"
    assert sa.diagnose(smf.ols("y ~ x + post - 1", frame).fit(), W, **keys).effects == "none"
    both = smf.ols("y ~ x + C(t) - 1", frame).fit()
    assert sa.diagnose(both, W, **keys).effects == "time"
