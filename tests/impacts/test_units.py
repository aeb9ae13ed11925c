"""Effects by unit and from unit to unit against explicit matrices."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from impacts.explicit import matrix

import spatial_agglo as sa
from spatial_agglo.core import selected
from spatial_agglo.errors import BoundaryError, DataError, OptionError
from spatial_agglo.impacts import impact_matrix, impacts_by_unit, stretches
from spatial_agglo.impacts import units as engine

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
COLUMNS = ["own", "received", "sent", "total_received", "total_sent"]


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


def by_unit(E):
    own = np.diag(E)
    received, sent = E.sum(axis=1), E.sum(axis=0)
    return np.column_stack([own, received - own, sent - own, received, sent])


@pytest.fixture
def large(monkeypatch):
    """Take the ways of large matrices for small ones."""
    monkeypatch.setattr(stretches, "DENSE_UNITS", 5)
    monkeypatch.setattr(stretches, "DENSE_SHARE", 1.0)
    monkeypatch.setattr(engine, "BLOCK", 5)


@pytest.mark.parametrize("case", ["contiguity", "knn5", "unstandardised"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model(matrices, small, model, case):
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(model, panel, weights, effects="entity")
    E = matrix(fit.params, "x1", W)
    found = impacts_by_unit(fit, "x1")
    assert list(found.columns) == COLUMNS
    np.testing.assert_allclose(found, by_unit(E), rtol=0, atol=1e-10)
    frame = impact_matrix(fit, "x1")
    np.testing.assert_allclose(frame, E, rtol=0, atol=1e-10)
    assert (frame.index.name, frame.columns.name) == ("to", "from")
    average = sa.impacts(fit).to_frame()["estimate"]
    assert found["own"].mean() == pytest.approx(average["direct", "x1"], abs=1e-12)
    for column in ("received", "sent"):
        assert found[column].mean() == pytest.approx(average["indirect", "x1"], abs=1e-12)


@pytest.mark.parametrize("case", ["contiguity", "knn5", "unstandardised"])
@pytest.mark.parametrize("durbin", [None, "mix"])
@pytest.mark.parametrize("rho", [None, 1e-5, 0.0])
def test_large_matrices(large, matrices, small, labelled, case, durbin, rho):
    W, D = matrices[case], matrices[durbin or case]
    _, panel, weights, _, _ = small(W, seed=4)
    options = {"W_durbin": labelled(D)} if durbin else {}
    fit = run("sdm", panel, weights, effects="entity", **options)
    if rho is not None:
        fit = replace(fit, values=np.where(np.array(fit.names) == "rho", rho, fit.values))
    E = matrix(fit.params, "x2", W, D)
    np.testing.assert_allclose(impacts_by_unit(fit, "x2"), by_unit(E), rtol=0, atol=1e-10)


def test_large_matrices_beyond_the_spectral_radius(large, matrices, small):
    W = matrices["unstandardised"]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run("sar", panel, weights, effects="entity")
    assert fit.workspace.W.logdet.interval[0] < -1.5
    fit = replace(fit, values=np.where(np.array(fit.names) == "rho", -1.5, fit.values))
    E = matrix(fit.params, "x1", W)
    np.testing.assert_allclose(impacts_by_unit(fit, "x1"), by_unit(E), rtol=0, atol=1e-10)


def test_large_matrices_take_selected_entries(large, monkeypatch, matrices, small):
    """No N systems are solved where W lags the regressors as well."""
    _, panel, weights, _, _ = small(matrices["contiguity"], seed=4)
    fit = run("sdm", panel, weights, effects="entity")
    called = []
    plain = selected.inverse_diagonal
    monkeypatch.setattr(engine, "inverse_diagonal", lambda S: called.append(1) or plain(S))
    monkeypatch.setattr(engine, "_solved_diagonal", None)
    impacts_by_unit(fit, "x1")
    assert called


# --- periods ------------------------------------------------------------------------------


@pytest.fixture
def changing(matrices, small, labelled):
    """A panel with gaps and two matrices; the first unit is never observed."""
    frame, _, _, y, _ = small(matrices["contiguity"], seed=3)
    T, N = y.shape
    mask = np.random.default_rng(0).uniform(size=(T, N)) > 0.15
    mask[:3] = True
    frame.loc[frame["id"] == "u00", "x1"] = np.nan
    mask[:, 0] = False
    kinds = ["contiguity", "knn5"]
    stack = [matrices[kinds[t % 2]] for t in range(T)]
    W = sa.weights.PanelWeights({2000 + t: labelled(stack[t]) for t in range(T)})
    keep = mask.ravel() | (frame["id"] == "u00").to_numpy()
    panel = sa.Panel(frame[keep], entity="id", time="t", unbalanced="allow")
    fit = run("sdm", panel, W, effects="entity")
    whole = []
    for t in range(T):
        cut = stack[t] * np.outer(mask[t], mask[t])
        sums = cut.sum(axis=1, keepdims=True)
        cut = np.divide(cut, sums, out=np.zeros_like(cut), where=sums > 0)
        E = matrix(fit.params, "x1", cut)
        whole.append(np.where(np.outer(mask[t], mask[t]), E, 0.0))
    return fit, mask, np.array(whole)


def test_means_over_the_periods_of_a_unit(changing):
    fit, mask, E = changing
    found = impacts_by_unit(fit, "x1")
    twin = np.array([by_unit(e) for e in E]).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)[:, None]
    assert found.iloc[0].isna().all()
    np.testing.assert_allclose(found[1:], twin[1:], rtol=0, atol=1e-10)
    weighted = np.average(found["own"][1:], weights=mask.sum(axis=0)[1:])
    assert weighted == pytest.approx(sa.impacts(fit).direct.loc["x1", "estimate"], abs=1e-12)


def test_one_period(changing):
    fit, mask, E = changing
    found = impacts_by_unit(fit, "x1", period=2004)
    here = mask[4]
    assert (~here[1:]).any()
    np.testing.assert_allclose(found[here], by_unit(E[4])[here], rtol=0, atol=1e-10)
    assert found[~here].isna().all().all()
    frame = impact_matrix(fit, "x1", period=2004)
    assert list(frame.index) == list(found.index[here])
    np.testing.assert_allclose(frame, E[4][np.ix_(here, here)], rtol=0, atol=1e-10)
    with pytest.raises(OptionError, match="Effects differ between periods"):
        impact_matrix(fit, "x1")
    with pytest.raises(DataError, match="no period 1900"):
        impacts_by_unit(fit, "x1", period=1900)


# --- labels and limits --------------------------------------------------------------------


def test_labels_follow_the_units(cigarettes, queen):
    """The same numbers by label when rows and weights come in another order."""
    frame = cigarettes.frame.reset_index().sample(frac=1.0, random_state=0)
    panel = sa.Panel(frame, entity="state", time="year")
    shuffled = queen.align(list(queen.ids[::-1]))
    first = impacts_by_unit(sa.sdm("logc ~ logp + logy", cigarettes, queen), "logp")
    second = impacts_by_unit(sa.sdm("logc ~ logp + logy", panel, shuffled), "logp")
    pd.testing.assert_frame_equal(first, second.loc[first.index], rtol=1e-8)
    E = impact_matrix(sa.sdm("logc ~ logp + logy", panel, shuffled), "logp")
    assert E["Ohio"].sum() == pytest.approx(first.loc["Ohio", "total_sent"])
    assert E.loc["Ohio"].sum() == pytest.approx(first.loc["Ohio", "total_received"])


def test_row_standardised_totals_are_equal(cigarettes, queen):
    """What a unit receives when all change is (beta + theta)/(1 - rho), for each of them."""
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    total = (fit.params["logp"] + fit.params["W*logp"]) / (1.0 - fit.rho)
    np.testing.assert_allclose(impacts_by_unit(fit, "logp")["total_received"], total, rtol=1e-12)


def test_what_is_refused(monkeypatch, cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    with pytest.raises(OptionError, match="'W\\*logp' is not among the variables"):
        impacts_by_unit(fit, "W*logp")
    outside = replace(fit, values=np.where(np.array(fit.names) == "rho", 1.2, fit.values))
    for function in (impacts_by_unit, impact_matrix):
        with pytest.raises(BoundaryError, match="outside the parameter space"):
            function(outside, "logp")
    monkeypatch.setattr(engine, "MATRIX_UNITS", 40)
    with pytest.raises(OptionError, match="up to 40 units; here are 46"):
        impact_matrix(fit, "logp")
