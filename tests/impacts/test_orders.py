"""Effects by order of neighbours against explicit powers of W."""

import dense_unbalanced
import numpy as np
import pytest
from impacts.explicit import delta

import spatial_agglo as sa
from spatial_agglo.errors import OptionError
from spatial_agglo.impacts import orders as engine
from spatial_agglo.impacts import partition, stretches

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


def powers(fit, v, blocks, orders, *, long=False):
    """(variable, effect, order) by ``np.linalg.matrix_power``."""
    p = dict(zip(fit.names, v, strict=True))
    tau = p.get("y(t-1)", 0.0) if long else 0.0
    eta = p.get("W*y(t-1)", 0.0) if long else 0.0
    r = (p.get("rho", 0.0) + eta) / (1.0 - tau)
    cells = sum(len(W) for W, _ in blocks)
    out = np.zeros((len(fit.regressors), 3, orders + 1))
    for W, D in blocks:
        D = W if D is None else D
        for k, name in enumerate(fit.regressors):
            B = p[name] * np.eye(len(W)) + p.get(f"W*{name}", 0.0) * D
            for q in range(orders + 1):
                E = r**q * np.linalg.matrix_power(W, q) @ B / (1.0 - tau)
                out[k, 0, q] += np.trace(E) / cells
                out[k, 2, q] += E.sum() / cells
    out[:, 1] = out[:, 2] - out[:, 0]
    return out


def compare(found, fit, twin):
    at = twin(fit.values)
    np.testing.assert_allclose(found["estimate"], at.ravel(), rtol=1e-10, atol=1e-12)
    errors = delta(fit, twin).ravel()
    free = errors > 1e-12
    assert found["se"][~free].isna().all()
    np.testing.assert_allclose(found["se"][free], errors[free], rtol=1e-6)


@pytest.mark.parametrize("case", ["knn5", "unstandardised"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model(matrices, small, model, case):
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(model, panel, weights, effects="entity")
    found = partition(fit, orders=5)
    assert found.index.names == ["variable", "effect", "order"]
    compare(found, fit, lambda v: powers(fit, v, [(W, None)], 5))


@pytest.mark.parametrize("sparse", [False, True])
def test_other_weights_for_the_regressors(monkeypatch, matrices, small, labelled, sparse):
    W, D = matrices["contiguity"], matrices["knn5"]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run("sdm", panel, weights, effects="entity", W_durbin=labelled(D))
    if sparse:
        monkeypatch.setattr(stretches, "DENSE_UNITS", 5)
        monkeypatch.setattr(stretches, "DENSE_SHARE", 1.0)
    compare(partition(fit, orders=6), fit, lambda v: powers(fit, v, [(W, D)], 6))


@pytest.mark.parametrize("how", ["spectrum", "lu"])
def test_traces_from_the_spectrum_or_from_powers(matrices, small, how):
    W = matrices["knn5"]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run("sdm", panel, weights.with_logdet(how), effects="entity")
    compare(partition(fit, orders=7), fit, lambda v: powers(fit, v, [(W, None)], 7))


def test_gaps(matrices, small):
    frame, _, weights, y, _ = small(matrices["contiguity"], seed=3)
    mask = np.random.default_rng(0).uniform(size=y.shape) > 0.15
    mask[:3] = True
    panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")
    fit = run("sdm", panel, weights, effects="entity")
    stack = np.stack([matrices["contiguity"]] * len(mask))
    blocks = [(W, None) for W in dense_unbalanced.cut(stack, mask)]
    compare(partition(fit), fit, lambda v: powers(fit, v, blocks, 4))


def test_long_run(matrices, labelled, dynamic_panel):
    W = matrices["contiguity"]
    fit = sa.sdm("y ~ x1 + x2", dynamic_panel(W), labelled(W), dynamic="both")
    found = partition(fit, horizon="long")
    compare(found, fit, lambda v: powers(fit, v, [(W, None)], 4, long=True))
    whole = sa.impacts(fit, horizon="long").to_frame()["estimate"]
    many = partition(fit, orders=200, horizon="long")["cumulated"]
    assert many["x1", "total", 200] == pytest.approx(whole["total", "x1"], rel=1e-10)


def test_the_parts_add_up(cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    found = partition(fit, orders=60)
    whole = sa.impacts(fit).to_frame()["estimate"]
    for variable in fit.regressors:
        for effect in ("direct", "indirect", "total"):
            rows = found.loc[(variable, effect)]
            np.testing.assert_allclose(rows["cumulated"], rows["estimate"].cumsum())
            assert rows["cumulated"].iloc[-1] == pytest.approx(whole[effect, variable], rel=1e-12)
            np.testing.assert_allclose(rows["share"], rows["cumulated"] / whole[effect, variable])


def test_a_row_standardised_sar_is_a_geometric_series(cigarettes, queen):
    """Total effects of order q are rho^q beta, their share 1 - rho^(q + 1)."""
    fit = sa.sar("logc ~ logp + logy", cigarettes, queen)
    rows = partition(fit, orders=6).loc[("logp", "total")]
    q = np.arange(7)
    np.testing.assert_allclose(rows["estimate"], fit.params["logp"] * fit.rho**q, rtol=1e-12)
    np.testing.assert_allclose(rows["share"], 1.0 - fit.rho ** (q + 1), rtol=1e-12)
    own = partition(fit, orders=6).loc[("logp", "direct"), "estimate"]
    assert own[0] == pytest.approx(fit.params["logp"])
    assert own[1] == pytest.approx(0.0, abs=1e-14)  # nobody is their own neighbour


def test_without_rho_everything_is_of_order_zero(cigarettes, queen):
    fit = sa.slx("logc ~ logp + logy", cigarettes, queen)
    found = partition(fit, orders=2)
    later = found[found.index.get_level_values("order") > 0]
    assert (later["estimate"] == 0.0).all()
    assert later["se"].isna().all()
    np.testing.assert_allclose(found["share"], 1.0)


def test_what_is_refused(monkeypatch, cigarettes, queen):
    fit = sa.sar("logc ~ logp + logy", cigarettes, queen.with_logdet("ldl"))
    for orders in (-1, 1.5, True, "4"):
        with pytest.raises(OptionError, match="whole number of at least 0"):
            partition(fit, orders=orders)
    monkeypatch.setattr(engine, "POWER_CELLS", 100)
    monkeypatch.setattr(stretches, "DENSE_UNITS", 5)
    with pytest.raises(OptionError, match="fewer orders"):
        partition(fit)
