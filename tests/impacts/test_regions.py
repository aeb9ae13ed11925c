"""Effects between groups of units against sums over explicit matrices."""

import numpy as np
import pandas as pd
import pytest
from impacts.explicit import delta, matrix

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError
from spatial_agglo.impacts import aggregate, impact_matrix
from spatial_agglo.impacts import regions as engine

FORMULA = "y ~ x1 + x2"
MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
GROUPS = pd.Series({f"u{i:02d}": "abc"[i % 3] if i < 9 else "d" for i in range(12)})


def sums(E, member, mean):
    out = member.T @ E @ member
    return out / member.sum(axis=0)[:, None] if mean else out


def membership(groups=GROUPS):
    return (groups.to_numpy()[:, None] == np.array(sorted(groups.unique()))).astype(float)


@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize("case", ["knn5", "unstandardised"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model(matrices, small, model, case, how):
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = getattr(sa, model)(FORMULA, panel, weights, effects="entity")

    def twin(v):
        E = matrix(dict(zip(fit.names, v, strict=True)), "x1", W)
        return sums(E, membership(), how == "mean")

    found = aggregate(fit, "x1", GROUPS.sample(frac=1.0, random_state=1), how=how)
    assert found.index.names == ["to", "from"]
    np.testing.assert_allclose(found["estimate"], twin(fit.values).ravel(), rtol=0, atol=1e-10)
    errors = delta(fit, twin).ravel()
    free = errors > 1e-12
    assert found["se"][~free].isna().all()
    np.testing.assert_allclose(found["se"][free], errors[free], rtol=1e-6)
    half = (found["upper"] - found["estimate"]) / found["se"]
    np.testing.assert_allclose(half[free], 1.959963984540054)


def test_other_weights_gaps_and_periods(matrices, small, labelled):
    frame, _, _, y, _ = small(matrices["contiguity"], seed=3)
    T, N = y.shape
    mask = np.random.default_rng(0).uniform(size=(T, N)) > 0.15
    mask[:3] = True
    panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")
    W, D = labelled(matrices["contiguity"]), labelled(matrices["knn5"])
    fit = sa.sdm(FORMULA, panel, W, effects="entity", W_durbin=D)

    def cut(Z, t):
        Z = Z * np.outer(mask[t], mask[t])
        total = Z.sum(axis=1, keepdims=True)
        return np.divide(Z, total, out=np.zeros_like(Z), where=total > 0)

    def twin(v, how, periods):
        p = dict(zip(fit.names, v, strict=True))
        out, cells = 0.0, 0.0
        for t in periods:
            E = matrix(p, "x1", cut(matrices["contiguity"], t), cut(matrices["knn5"], t))
            member = membership() * mask[t][:, None]
            out, cells = out + member.T @ E @ member, cells + member.sum(axis=0)
        return out / cells[:, None] if how == "mean" else out / len(periods)

    for how in ("mean", "sum"):
        for period, periods in ((None, range(T)), (2005, [5])):
            found = aggregate(fit, "x1", GROUPS, how=how, period=period)
            at = twin(fit.values, how, periods)
            np.testing.assert_allclose(found["estimate"], at.ravel(), rtol=0, atol=1e-10)
            errors = delta(fit, lambda v, h=how, p=periods: twin(v, h, p))
            np.testing.assert_allclose(found["se"], errors.ravel(), rtol=1e-6)


def test_cases_that_collapse(cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    units = cigarettes.entities
    effects = sa.impacts(fit).to_frame()
    one = aggregate(fit, "logp", dict.fromkeys(units, "all"))
    for column in ("estimate", "se", "z", "p_value", "lower", "upper"):
        assert one[column].iloc[0] == pytest.approx(effects.loc[("total", "logp"), column])
    each = aggregate(fit, "logp", pd.Series(units, index=units))["estimate"].unstack("from")
    pd.testing.assert_frame_equal(each, impact_matrix(fit, "logp"), rtol=1e-10)
    three = {unit: "abc"[i % 3] for i, unit in enumerate(units)}
    found = aggregate(fit, "logp", three)["estimate"].unstack("from")
    total = effects.loc[("total", "logp"), "estimate"]
    np.testing.assert_allclose(found.sum(axis=1), total)  # every unit receives as much
    summed = aggregate(fit, "logp", three, how="sum")["estimate"].sum()
    assert summed == pytest.approx(46 * total)


def test_groups_from_a_column(cigarettes, queen):
    frame = cigarettes.frame.reset_index()
    frame["coast"] = np.where(frame["state"] < "M", "early", "late")
    ordered = pd.CategoricalDtype(["late", "early", "never"], ordered=True)
    frame["ordered"] = frame["coast"].astype(ordered)
    frame["sizes"] = frame["pop"] > 5000
    panel = sa.Panel(frame, entity="state", time="year")
    fit = sa.sdm("logc ~ logp + logy", panel, queen)
    by_series = aggregate(fit, "logp", frame.groupby("state")["coast"].first())
    by_column = aggregate(fit, "logp", "coast")
    pd.testing.assert_frame_equal(by_series, by_column)
    in_order = aggregate(fit, "logp", "ordered")
    assert list(in_order.index.get_level_values("to").unique()) == ["late", "early"]
    assert in_order.loc[("early", "late"), "estimate"] == pytest.approx(
        by_column.loc[("early", "late"), "estimate"]
    )
    with pytest.raises(DataError, match="'sizes' varies over time.* unit"):
        aggregate(fit, "logp", "sizes")
    with pytest.raises(DataError, match="no column 'regions'"):
        aggregate(fit, "logp", "regions")


def test_groups_must_be_a_partition(monkeypatch, cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen)
    groups = pd.Series("a", index=cigarettes.entities)
    with pytest.raises(AlignmentError, match="without a group: 'Ohio'; .* not have: none"):
        aggregate(fit, "logp", groups.drop("Ohio"))
    with pytest.raises(AlignmentError, match="without a group: none; .* not have: 'Guam'"):
        aggregate(fit, "logp", {**groups.to_dict(), "Guam": "a"})
    with pytest.raises(AlignmentError, match=r"1 unit\(s\) have no group: 'Ohio'"):
        aggregate(fit, "logp", groups.where(groups.index != "Ohio"))
    with pytest.raises(AlignmentError, match="more than once: 'Ohio'"):
        aggregate(fit, "logp", pd.concat([groups, groups[["Ohio"]]]))
    with pytest.raises(OptionError, match="groups must be a Series or dict"):
        aggregate(fit, "logp", list(groups))
    with pytest.raises(OptionError, match="'mean', 'sum'"):
        aggregate(fit, "logp", groups, how="median")
    with pytest.raises(OptionError, match="not among the variables"):
        aggregate(fit, "sales", groups)
    monkeypatch.setattr(engine, "CELLS", 45)
    with pytest.raises(OptionError, match="1 groups of 46 units are too many"):
        aggregate(fit, "logp", groups)
