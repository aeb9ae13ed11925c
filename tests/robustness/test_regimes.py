"""Coefficients by group in one model: against columns made by hand and explicit matrices."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.errors import (
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
)
from spatial_agglo.robustness import by_group, regimes

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
PLAIN = {"ols": "ols", "slx": "ols", "sar": "sar", "sem": "sem", "sdm": "sar", "sdem": "sem"}
PLAIN |= {"sac": "sac", "gns": "sac"}


@pytest.fixture(scope="module")
def frame(queen):
    """The cigarettes, with a region, a half, and the spatial lags and products made by hand."""
    df = sa.datasets.cigarettes().sort_values(["year", "state"])
    df["region"] = np.where(df["state"].rank(method="dense") % 3 == 0, "a", "b")
    df["half"] = np.where(df["year"] < 1978, "early", "late")
    df["rich"] = df["logy"] > 4.6
    W = queen.align(sorted(df["state"].unique())).matrix.toarray()
    for name in ("logp", "logy"):
        df[f"lag_{name}"] = (W @ df[name].to_numpy().reshape(30, 46).T).T.ravel()
    for column in ("region", "half"):
        for group in df[column].unique():
            for name in ("logp", "logy", "lag_logp", "lag_logy"):
                df[f"{name}_{group}"] = df[name] * (df[column] == group)
            df[f"in_{group}"] = (df[column] == group).astype(float)
    return df


@pytest.fixture(scope="module")
def panel(frame):
    return sa.Panel(frame, entity="state", time="year")


def by_hand(found, model, column, groups):
    """The labels of the fit by hand for each label of the regimes."""
    out = {}
    for name in found.params.index:
        term, _, group = name.partition("[")
        term = term.replace("W*", "lag_")
        own = f"{term}_{group[:-1]}" if group else term
        out[name] = own.replace("Intercept_", "in_")
    return out


# --- estimates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("column", "groups"), [("region", "ab"), ("half", ["early", "late"])])
@pytest.mark.parametrize("cov", ["observed", "clustered"])
def test_against_columns_made_by_hand(panel, queen, model, column, groups, cov):
    found = regimes(model, FORMULA, panel, queen, groups=column, cov=cov)
    names = ["logp", "logy"]
    names += ["lag_logp", "lag_logy"] * (model in ("slx", "sdm", "sdem", "gns"))
    formula = "logc ~ " + " + ".join(f"{name}_{g}" for name in names for g in groups)
    fit = getattr(sa, PLAIN[model])(formula, panel, queen, cov=cov)
    labels = by_hand(found, model, column, groups)
    np.testing.assert_allclose(found.params, fit.params[list(labels.values())], rtol=1e-8)
    np.testing.assert_allclose(found.std_errors, fit.std_errors[list(labels.values())], rtol=1e-6)
    assert found.fit.loglik == pytest.approx(fit.loglik, rel=1e-10)


@pytest.mark.parametrize(
    ("effects", "column", "intercepts"),
    [
        ("none", "region", ["a", "b"]),
        ("entity", "region", []),
        ("time", "region", ["b"]),
        ("two-way", "region", []),
        ("random", "region", ["a", "b"]),
        ("none", "half", ["early", "late"]),
        ("entity", "half", ["late"]),
        ("time", "half", []),
        ("two-way", "half", []),
        ("two-way", "rich", ["True"]),
    ],
)
def test_intercepts_that_the_effects_leave(panel, queen, effects, column, intercepts):
    found = regimes("sar", FORMULA, panel, queen, groups=column, effects=effects)
    assert list(found.intercepts) == [f"Intercept[{group}]" for group in intercepts]
    assert "Intercept" not in found.params.index
    plain = regimes("sar", f"{FORMULA} - 1", panel, queen, groups=column, effects=effects)
    if effects in ("none", "random"):
        assert plain.intercepts == ()


def test_intercepts_are_those_of_dummies(panel, queen):
    found = regimes("sar", FORMULA, panel, queen, groups="region", effects="time")
    formula = "logc ~ logp_a + logp_b + logy_a + logy_b + in_b"
    fit = sa.sar(formula, panel, queen, effects="time")
    assert found.params["Intercept[b]"] == pytest.approx(fit.params["in_b"], rel=1e-7)
    assert found.rho == pytest.approx(fit.rho, rel=1e-8)


def test_all_by_group_without_spatial_terms_is_a_regression_for_each(panel):
    """ols with everything by group: the coefficients of the groups' own regressions."""
    found = regimes("ols", FORMULA, panel, groups="region", effects="entity")
    groups = by_group("ols", FORMULA, panel, groups="region", effects="entity")
    for group, fit in groups.fits.items():
        for name in ("logp", "logy"):
            assert found.params[f"{name}[{group}]"] == pytest.approx(fit.params[name], rel=1e-9)


def test_only_some_coefficients_vary(panel, queen):
    found = regimes("sdm", FORMULA, panel, queen, groups="region", vary=["logy"], durbin=["logp"])
    formula = "logc ~ logp + logy_a + logy_b + lag_logp"
    fit = sa.sar(formula, panel, queen)
    assert list(found.params.index) == [
        "logp",
        "logy[a]",
        "logy[b]",
        "W*logp",
        "rho",
        "sigma2",
    ]
    np.testing.assert_allclose(found.params, fit.params, rtol=1e-8)
    frame = found.to_frame()
    assert frame.loc[("logp", "a"), "estimate"] == frame.loc[("logp", "b"), "estimate"]
    assert list(found.tests().index) == ["logy", "all"]


def test_groups_as_a_mapping(panel, queen, frame):
    of = frame.drop_duplicates("state").set_index("state")["region"]
    one = regimes("sdm", FORMULA, panel, queen, groups="region")
    two = regimes("sdm", FORMULA, panel, queen, groups=of.to_dict())
    pd.testing.assert_series_equal(one.params, two.params)
    assert one.kind == two.kind == "unit"


def test_rows_and_units_in_any_order(frame, panel, queen):
    one = regimes("sdm", FORMULA, panel, queen, groups="region")
    shuffled = sa.Panel(frame.sample(frac=1.0, random_state=1), entity="state", time="year")
    W = queen.align(np.random.default_rng(1).permutation(queen.ids))
    two = regimes("sdm", FORMULA, shuffled, W, groups="region")
    np.testing.assert_allclose(one.params, two.params, rtol=1e-7)


# --- tests that the groups are equal -------------------------------------------------------------


def test_wald_by_hand(panel, queen):
    found = regimes("sdm", FORMULA, panel, queen, groups="region", cov="robust")
    table, b, V = found.tests(), found.params, found.fit.cov
    terms = ["logp", "logy", "W*logp", "W*logy"]
    assert list(table.index) == [*terms, "all"]
    for term in terms:
        one, two = f"{term}[a]", f"{term}[b]"
        variance = V.loc[one, one] + V.loc[two, two] - 2 * V.loc[one, two]
        expected = (b[one] - b[two]) ** 2 / variance
        assert table.loc[term, "statistic"] == pytest.approx(expected, rel=1e-8)
    R = np.zeros((4, len(b)))
    for j, term in enumerate(terms):
        R[j, list(b.index).index(f"{term}[a]")] = 1.0
        R[j, list(b.index).index(f"{term}[b]")] = -1.0
    d = R @ b.to_numpy()
    expected = d @ np.linalg.solve(R @ V.to_numpy() @ R.T, d)
    assert table.loc["all", "statistic"] == pytest.approx(expected, rel=1e-8)
    assert table["df"].tolist() == [1, 1, 1, 1, 4]


def test_intercepts_belong_to_the_joint_test(panel, queen):
    for effects, df in (("none", 3), ("time", 3), ("entity", 2)):
        found = regimes("sar", FORMULA, panel, queen, groups="region", effects=effects)
        assert found.tests().loc["all", "df"] == df
    found = regimes("sar", FORMULA, panel, queen, groups="region", effects="time")
    names = list(found.params.index)
    pairs = [("logp[b]", "logp[a]"), ("logy[b]", "logy[a]"), ("Intercept[b]", None)]
    R = np.zeros((3, len(names)))
    for row, (one, two) in zip(R, pairs, strict=True):
        row[names.index(one)] = 1.0
        if two:
            row[names.index(two)] = -1.0
    d = R @ found.params.to_numpy()
    expected = d @ np.linalg.solve(R @ found.fit.covariance @ R.T, d)
    assert found.tests().loc["all", "statistic"] == pytest.approx(expected, rel=1e-8)


def test_wald_is_near_the_likelihood_ratio(cigarettes, queen):
    """Groups that do not matter: the two tests of the same restriction agree closely."""
    df = cigarettes.frame.reset_index()
    df["group"] = pd.factorize(df["state"])[0] % 2
    panel = sa.Panel(df, entity="state", time="year")
    rng = np.random.default_rng(3)
    S = np.linalg.inv(np.eye(46) - 0.3 * queen.align(panel.entities).matrix.toarray())
    y = (-panel.column("logp") + 0.5 * panel.column("logy") + 0.1 * rng.normal(size=(30, 46))) @ S.T
    df = panel.frame.assign(y=y[panel.present])
    found = regimes("sar", "y ~ logp + logy", sa.Panel(df), queen, groups="group")
    restricted = sa.sar("y ~ logp + logy", sa.Panel(df), queen)
    ratio = 2.0 * (found.fit.loglik - restricted.loglik)
    wald = found.tests().loc["all", "statistic"]
    assert wald == pytest.approx(ratio, rel=0.02)


def test_a_known_break_is_found():
    rng = np.random.default_rng(5)
    N, T = 60, 12
    ring = (np.roll(np.eye(N), 1, axis=1) + np.roll(np.eye(N), -1, axis=1)) / 2
    W = sa.SpatialWeights.from_dense(ring, range(N))
    group = (np.arange(N) < 30).astype(int)
    x = rng.normal(size=(T, N))
    beta, theta = np.array([1.0, 2.0])[group], np.array([0.5, -0.5])[group]
    u = beta * x + theta * (x @ ring.T) + rng.normal(size=(1, N)) + 0.5 * rng.normal(size=(T, N))
    y = np.linalg.solve(np.eye(N) - 0.4 * ring, u.T).T
    index = pd.MultiIndex.from_product([range(T), range(N)], names=["t", "i"])
    df = pd.DataFrame({"y": y.ravel(), "x": x.ravel()}, index=index).reset_index()
    df["group"] = group[df["i"]]
    panel = sa.Panel(df, entity="i", time="t")
    found = regimes("sdm", "y ~ x", panel, W, groups="group")
    truth = {"x[0]": 1.0, "x[1]": 2.0, "W*x[0]": 0.5, "W*x[1]": -0.5, "rho": 0.4}
    for name, value in truth.items():
        assert abs(found.params[name] - value) < 3.5 * found.std_errors[name]
    assert (found.tests()["p_value"] < 1e-6).all()


# --- impacts ----------------------------------------------------------------------------------


def explicit(found, queen, params, group):
    """Effects on the units of a group from the N x N matrix of derivatives."""
    W = queen.align(found.data.panel.entities).matrix.toarray()
    N = len(W)
    A = np.linalg.inv(np.eye(N) - params.get("rho", 0.0) * W)
    masks = found.masks[:, 0, :]
    out = {}
    for name in found.regressors:
        E = np.zeros((N, N))
        for mask, g in zip(masks, found.groups, strict=True):
            if found.kind == "period":
                if g != group:
                    continue
                mask = np.ones(N, dtype=bool)
            own = params.get(f"{name}[{g}]", params.get(name))
            lag = params.get(f"W*{name}[{g}]", params.get(f"W*{name}", 0.0))
            E += np.diag(mask.astype(float)) @ (own * np.eye(N) + lag * W)
        E = A @ E
        mine = np.ones(N, bool) if found.kind == "period" else masks[found.groups.index(group)]
        direct, total = np.diag(E)[mine].mean(), E.sum(axis=1)[mine].mean()
        out[name] = np.array([direct, total - direct, total])
    return np.array([out[name] for name in found.regressors]).T


@pytest.mark.parametrize("column", ["region", "half"])
@pytest.mark.parametrize("model", MODELS)
def test_impacts_against_explicit_matrices(panel, queen, model, column):
    found = regimes(model, FORMULA, panel, queen, groups=column, vary=["logp"])
    values = found.params.to_numpy()
    names = list(found.params.index)
    for group, impacts in found.impacts().items():
        point = explicit(found, queen, dict(zip(names, values, strict=True)), group)
        np.testing.assert_allclose(impacts.estimate, point, rtol=1e-10, atol=1e-12)
        J = np.zeros((point.size, len(values)))
        for j in range(len(values)):
            h = 1e-5 * max(1.0, abs(values[j]))
            ends = []
            for sign in (1.0, -1.0):
                moved = values.copy()
                moved[j] += sign * h
                params = dict(zip(names, moved, strict=True))
                ends.append(explicit(found, queen, params, group).ravel())
            J[:, j] = (ends[0] - ends[1]) / (2.0 * h)
        se = np.sqrt(np.diag(J @ found.fit.covariance @ J.T)).reshape(3, 2)
        np.testing.assert_allclose(
            np.nan_to_num(impacts.se), np.where(se > 1e-9, se, 0.0), rtol=1e-6, atol=1e-10
        )


def test_equal_coefficients_give_the_impacts_of_one_model(panel, queen):
    """Groups weighted by their sizes add up to the plain impacts."""
    found = regimes("sdm", FORMULA, panel, queen, groups="region")
    plain = sa.sdm(FORMULA, panel, queen)
    values = [
        plain.params[name.split("[")[0]] if name != "sigma2" else plain.sigma2
        for name in found.params.index
    ]
    same = dataclasses.replace(found, fit=dataclasses.replace(found.fit, values=np.array(values)))
    shares = found.masks[:, 0, :].mean(axis=1)
    parts = [impacts.estimate for impacts in same.impacts().values()]
    total = sum(share * part for share, part in zip(shares, parts, strict=True))
    np.testing.assert_allclose(total, plain.impacts().estimate, rtol=1e-9)


def test_impacts_that_there_are_not(panel, frame, queen):
    rich = regimes("sdm", FORMULA, panel, queen, groups="rich")
    with pytest.raises(OptionError, match="neither units nor periods"):
        rich.impacts()
    holes = sa.Panel(frame.iloc[1:], entity="state", time="year", unbalanced="allow")
    found = regimes("sar", FORMULA, holes, queen, groups="region", effects="entity")
    with pytest.raises(OptionError, match="balanced panel"):
        found.impacts()
    whole = regimes("sdm", FORMULA, panel, queen, groups="region")
    assert whole.fit.impacts().names == ()  # the plain ones would be wrong
    with pytest.raises(OptionError, match="between 0 and 1"):
        whole.impacts(level=0.0)


def test_gaps_are_left_out(frame, queen):
    """More coefficients on the same cells can only fit better."""
    holes = sa.Panel(frame.iloc[3:], entity="state", time="year", unbalanced="allow")
    found = regimes("slx", FORMULA, holes, queen, groups="region", effects="entity")
    plain = sa.slx(FORMULA, holes, queen, effects="entity")
    assert found.fit.nobs == plain.nobs
    assert (found.fit.resid**2).sum() < (plain.resid**2).sum()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "durbin"}, OptionError, "'gns'"),
        ({"formula": "logc ~ 1"}, FormulaError, "no regressor"),
        ({"groups": "continent"}, DataError, "must be a column"),
        ({"groups": {"Ohio": 1}}, DataError, "no group"),
        ({"groups": {"Atlantis": 1}}, DataError, "'Atlantis'"),
        ({"vary": ["price"]}, OptionError, "'price'"),
        ({"vary": "logp"}, OptionError, "list of names"),
        ({"vary": []}, OptionError, "at least one of: 'logp'"),
        ({"durbin": ["price"]}, OptionError, "'price'"),
        ({"W": None}, WeightsError, "needs spatial weights"),
        ({"effects": "fixed"}, OptionError, "'two-way'"),
    ],
)
def test_bad_input(panel, queen, change, error, message):
    given = {"model": "sdm", "formula": FORMULA, "W": queen, "groups": "region"} | change
    with pytest.raises(error, match=message):
        regimes(given.pop("model"), given.pop("formula"), panel, given.pop("W"), **given)


def test_a_regressor_that_is_absorbed_in_one_group(frame, queen):
    frame = frame.assign(x=np.where(frame["region"] == "a", 1.0, frame["logp"]))
    panel = sa.Panel(frame, entity="state", time="year")
    with pytest.raises(IdentificationError, match=r"'x\[a\]'"):
        regimes("sar", "logc ~ x", panel, queen, groups="region", effects="entity")


def test_the_table(panel, queen):
    found = regimes("sdm", FORMULA, panel, queen, groups="region", vary=["logp"])
    body = found.table().body
    assert list(body.columns) == ["a", "b", "Common", "Equal: p"]
    estimate = ("Main", "logp", "estimate")
    assert body.loc[estimate, "a"].startswith(f"{found.params['logp[a]']:.4f}")
    assert body.loc[estimate, "Common"] == ""
    assert body.loc[("Main", "logy", "estimate"), "Common"].startswith(
        f"{found.params['logy']:.4f}"
    )
    assert body.loc[("Spatial", "rho", "estimate"), "Common"].startswith(f"{found.rho:.4f}")
    p = found.tests().loc["W*logp", "p_value"]
    shown = body.loc[("Wx", "W*logp", "estimate"), "Equal: p"]
    assert shown == ("<0.001" if p < 0.001 else f"{p:.3f}")
    assert "W*logp" in repr(found)
    assert "<table" in found._repr_html_()
