"""Dependence between units: against R, pair by pair, and under the null."""

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA
from diagnostics.size_study import FEW, WIDE, rates

import spatial_agglo as sa
from spatial_agglo.diagnostics import cross_section
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.table import About, described, stacked


@pytest.mark.parametrize(("effects", "name"), [("none", "cd_pool"), ("two-way", "cd_twoways")])
def test_r(cigarettes, reference, effects, name):
    """``plm::pcdtest`` of pooled and two-way within residuals."""
    expected = reference("cigarettes_r")["splm_tests"]["pcdtest"][name]
    table = cd_test(FORMULA, cigarettes, effects=effects, reference="normal")
    assert list(table.index) == ["Pesaran CD"]
    np.testing.assert_allclose(table["statistic"], expected["statistic"], rtol=1e-8)
    np.testing.assert_allclose(table["p_value"], expected["p"], rtol=1e-6, atol=1e-300)


def by_pairs(e, seen, linked):
    """Both statistics from one correlation after another."""
    every, local = [], []
    N = e.shape[1]
    for i in range(N):
        for j in range(i):
            both = seen[:, i] & seen[:, j]
            if both.sum() < 3:
                continue
            r = np.corrcoef(e[both, i], e[both, j])[0, 1]
            every.append(np.sqrt(both.sum()) * r)
            if linked[i, j] or linked[j, i]:
                local.append(every[-1])
    return [sum(every) / np.sqrt(len(every)), sum(local) / np.sqrt(len(local))], len(every)


@pytest.mark.parametrize("block", [1_000, 5])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.55])
def test_pair_by_pair(monkeypatch, missing, block):
    """With gaps every pair has its own common periods; links count in either direction."""
    monkeypatch.setattr(cross_section, "BLOCK", block)
    rng = np.random.default_rng(3)
    T, N = 7, 13
    frame = pd.DataFrame(
        {
            "id": np.tile([f"u{i:02d}" for i in range(N)], T),
            "t": np.repeat(np.arange(T), N),
            "x": rng.normal(size=N * T),
            "y": rng.normal(size=N * T) + np.repeat(rng.normal(size=T), N),
        }
    )
    frame = frame[rng.uniform(size=N * T) >= missing]
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    N = panel.N
    nearest = np.zeros((N, N))
    for i in range(N):
        nearest[i, rng.choice([j for j in range(N) if j != i], 3, replace=False)] = 1.0
    W = sa.SpatialWeights.from_dense(nearest, panel.entities)
    assert not np.array_equal(nearest != 0, nearest.T != 0)
    fit = sa.ols("y ~ x", panel, effects="entity")
    table = cd_test(fit, W=W)
    seen = panel.present
    expected, pairs = by_pairs(fit.resid, seen, nearest != 0)
    np.testing.assert_allclose(table["statistic"], expected, rtol=1e-10)
    assert table.attrs.get("pairs_left_out", 0) == N * (N - 1) // 2 - pairs
    if missing > 0.5:
        assert pairs < N * (N - 1) // 2


def test_all_units_linked(cigarettes):
    """When W links every two units the local test is the global one."""
    full = sa.SpatialWeights.from_dense(np.ones((46, 46)) - np.eye(46), cigarettes.entities)
    table = cd_test(FORMULA, cigarettes, full, effects="entity")
    assert table.loc["local CD", "statistic"] == pytest.approx(
        table.loc["Pesaran CD", "statistic"], rel=1e-12
    )


def test_formula_and_fit(cigarettes, queen):
    fit = sa.ols(FORMULA, cigarettes, queen, effects="entity")
    one = cd_test(FORMULA, cigarettes, queen, effects="entity")
    pd.testing.assert_frame_equal(one, cd_test(fit))
    pd.testing.assert_frame_equal(one, cd_test(fit, W=queen))
    assert list(cd_test(sa.sdm(FORMULA, cigarettes, queen), permutations=9).index) == [
        "Pesaran CD",
        "local CD",
    ]


def test_period_effects_move_cd(cigarettes):
    """Without dependence, residuals that sum to zero in every period have correlations of
    -1/(N - 1) on average, so CD is near -sqrt(T N / (2 (N - 1))) (Juodis & Reese 2022): the
    permutations know, the normal distribution does not."""
    T, N = cigarettes.shape
    rng = np.random.default_rng(0)
    frame = cigarettes.frame.reset_index().assign(noise=rng.normal(size=N * T))
    panel = sa.Panel(frame, entity="state", time="year")
    fit = sa.ols("noise ~ logp", panel)
    table = cd_test(fit, permutations=199)
    centre = -np.sqrt(T * N / (2.0 * (N - 1)))
    assert table.loc["Pesaran CD", "statistic"] == pytest.approx(centre, abs=0.5)
    drawn = cross_section._permuted(fit, None, 199, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(centre, abs=0.1)
    assert "permutations" in table.attrs["tests"]["Pesaran CD"]["distribution"]
    normal = cd_test(fit, reference="normal")
    assert normal.loc["Pesaran CD", "p_value"] < 1e-3 < table.loc["Pesaran CD", "p_value"]


def test_permutations_are_seeded(cigarettes, queen):
    tables = [cd_test(FORMULA, cigarettes, queen, permutations=49, seed=s) for s in (1, 1, 2)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_permutations_with_gaps(monkeypatch):
    """Shuffled residuals stay in observed cells, and keep the values of their unit."""
    rng = np.random.default_rng(5)
    T, N = 6, 8
    frame = pd.DataFrame(
        {
            "id": np.tile(np.arange(N), T),
            "t": np.repeat(np.arange(T), N),
            "x": rng.normal(size=N * T),
            "y": rng.normal(size=N * T),
        }
    ).drop(index=[1, 9, 30])
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = sa.ols("y ~ x", panel, effects="entity")
    seen = []
    original = cross_section.Pairs.of

    def spy(e, cells, links):
        seen.append(e)
        return original(e, cells, links)

    monkeypatch.setattr(cross_section.Pairs, "of", spy)
    cross_section._permuted(fit, None, 3, np.random.default_rng(0))
    assert len(seen) == 3
    for e in seen:
        assert np.all(e[~panel.present] == 0.0)
        for i in range(N):
            here = panel.present[:, i]
            np.testing.assert_allclose(np.sort(e[here, i]), np.sort(fit.resid[here, i]), atol=1e-12)
        assert not np.allclose(e, fit.resid)


def test_no_common_periods():
    frame = pd.DataFrame(
        {
            "id": np.repeat(["a", "b"], 5),
            "t": [0, 1, 2, 3, 4, 3, 4, 5, 6, 7],
            "x": np.arange(10.0) ** 2,
            "y": np.sin(np.arange(10.0)),
        }
    )
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(sa.errors.DataError, match="3 common periods"):
        cd_test("y ~ x", panel, effects="entity")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formula": FORMULA}, "needs the panel"),
        ({"formula": FORMULA, "reference": "exact"}, "reference='exact' is not known"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(sa.errors.OptionError, match=message):
        cd_test(**arguments)


def test_a_fit_brings_its_options(cigarettes):
    fit = sa.ols(FORMULA, cigarettes)
    with pytest.raises(sa.errors.OptionError, match="brings its own panel"):
        cd_test(fit, effects="entity")
    with pytest.raises(sa.errors.OptionError, match="at least 1"):
        cd_test(fit, permutations=0)


def test_rows_know_what_they_test(cigarettes, queen):
    """What a row tests survives selection, rounding, copies and stacking."""
    table = cd_test(FORMULA, cigarettes, queen, effects="entity")
    for made in (table.round(2), table.loc[["local CD"]], table.copy(), table["p_value"]):
        assert set(made.attrs["tests"]["local CD"]) == {"null", "distribution", "source"}
    other = described(
        table.rename({"local CD": "a", "Pesaran CD": "b"}), {"a": About("n", "d", "s")}
    )
    both = stacked([table, other])
    assert list(both.attrs["tests"]) == ["Pesaran CD", "local CD", "a"]
    assert both.attrs["tests"]["a"] == {"null": "n", "distribution": "d", "source": "s"}


def test_variance_of_few_periods():
    """Correlations of independent units over T periods have variance 1/(T - 1): by simulation."""
    rng = np.random.default_rng(11)
    cells = np.ones((5, 30), dtype=bool)
    cells[:2, :10] = False  # three periods for these, and no pair is left out
    drawn, variances = [], set()
    for _ in range(8000):
        e = rng.normal(size=cells.shape) * cells
        found = cross_section.Pairs.of(e, cells, None)
        drawn.append(found.statistics["Pesaran CD"])
        variances.add(found.variances["Pesaran CD"])
    (variance,) = variances
    assert variance > 1.25
    assert np.var(drawn) == pytest.approx(variance, rel=0.1)  # standard error 3%: CD is skewed


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_size(effects):
    """Without dependence 5% are rejected; the normal distribution fails with period effects."""
    table = rates("ols", effects, FEW)
    for name in ("Pesaran CD", "local CD"):
        assert WIDE[0] <= table.loc[name, "rate"] <= WIDE[1]
    if effects == "two-way":
        assert table.loc["Pesaran CD, taken for normal", "rate"] > 0.5
