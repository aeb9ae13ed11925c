"""Mediation against hand computation, dummy regressions on resampled rows, and simulation.

There is no comparison with R's mediation or with PROCESS, neither of which was available.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from mechanisms_twin import frame_of, naive_effects, resampled_rows

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError, IdentificationError, OptionError
from spatial_agglo.mechanisms.effects import bias_corrected, p_values, verdict
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.resampling import EntityMoments, counts, least_squares

EFFECTS = ("two-way", "entity", "time", "none")


def panel_of(frame, **options):
    return sa.Panel(frame, entity="i", time="t", **options)


@pytest.fixture(scope="module")
def frame():
    return frame_of(N=25, T=6, seed=3)


@pytest.fixture(scope="module")
def gappy(frame):
    keep = np.random.default_rng(5).random(len(frame)) > 0.25
    return frame[keep].reset_index(drop=True)


def test_hand_computed():
    """Two units, three periods, entity effects; deviations from unit means are whole numbers.

    x: (-1, 0, 1), (-1, 0, 1); m: (-2, 1, 1), (-1, -1, 2); y: (-3, 0, 3), (-2, 1, 1).
    x'x = 4, m'm = 12, x'm = 3 + 3 = 6, x'y = 6 + 3 = 9, m'y = (6 + 0 + 3) + (2 - 1 + 2) = 12.
    a = 6/4, total = 9/4; [4 6; 6 12] (c', b) = (9, 12): c' = (108 - 72)/12 = 3, b = (48 - 54)/12.
    """
    frame = pd.DataFrame(
        {
            "i": [1, 1, 1, 2, 2, 2],
            "t": [1, 2, 3] * 2,
            "x": [0.0, 1, 2, 9, 10, 11],
            "m": [0.0, 3, 3, 5, 5, 8],
            "y": [1.0, 4, 7, 0, 3, 3],
        }
    )
    frame = pd.concat([frame, frame.assign(i=frame["i"] + 2)])  # twice the same: nothing changes
    found = mediation(
        "y ~ x", panel_of(frame), treatment="x", mediators="m", effects="entity", draws=60,
        cov="robust",  # scores of these numbers sum to zero within units
    )  # fmt: skip
    assert found.effects["estimate"].to_dict() == pytest.approx(
        {
            "direct": 3.0,
            "indirect via m": -0.75,
            "indirect": -0.75,
            "total": 2.25,
            "proportion mediated": -1 / 3,
        },
        abs=1e-12,
    )


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("gaps", [False, True])
def test_total_is_direct_plus_indirect(frame, gappy, effects, gaps):
    panel = panel_of(gappy if gaps else frame, unbalanced="allow")
    found = mediation(
        "y ~ x + k1 + k2", panel, treatment="x", mediators=["m1", "m2"], effects=effects, draws=20
    )
    total = found.equations["total"].params["x"]
    estimate = found.effects["estimate"]
    assert estimate["total"] == pytest.approx(total, abs=1e-12)
    assert estimate["direct"] + estimate["indirect"] == pytest.approx(total, abs=1e-12)
    assert len({fit.nobs for fit in found.equations.values()}) == 1


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("gaps", [False, True])
def test_draws_are_those_of_dummy_regressions_on_resampled_rows(frame, gappy, effects, gaps):
    """The naive loop: copy the rows of the units drawn, relabel them, regress on dummies."""
    data = gappy if gaps else frame
    names = ["m1", "m2"]
    found = mediation(
        "y ~ x + k1 + k2",
        panel_of(data, unbalanced="allow"),
        treatment="x",
        mediators=names,
        effects=effects,
        draws=12,
        seed=4,
    )
    units = np.random.default_rng(4).integers(0, 25, size=(12, 25))
    for draw, chosen in zip(found.draws.to_numpy(), units, strict=True):
        rows = resampled_rows(data, chosen)
        expected = naive_effects(rows, "x", names, ["k1", "k2"], effects)
        np.testing.assert_allclose(draw, expected, rtol=1e-8, atol=1e-10)


def test_moment_matrix_where_a_resample_falls_apart():
    """Units seen in the first periods only, and in the last only: two panels with no link."""
    rng = np.random.default_rng(0)
    cells = np.zeros((6, 8), dtype=bool)
    cells[:3, :4] = cells[3:, 4:] = True
    Z = rng.normal(size=(6, 8, 3))
    G = EntityMoments.build(Z, cells, "two-way", intercept=True)
    weights = counts(8, 5, rng)
    for w, found in zip(weights, G.of(weights), strict=True):
        t, i = np.nonzero(cells & (w > 0))
        D = np.hstack([np.eye(8)[i], np.eye(6)[t]]) * np.sqrt(w[i])[:, None]
        X = Z[t, i] * np.sqrt(w[i])[:, None] / G.scale
        left = X - D @ np.linalg.lstsq(D, X, rcond=None)[0]
        np.testing.assert_allclose(found, left.T @ left, atol=1e-12)


def test_seed_and_batches(frame):
    panel = panel_of(frame)
    options = {"treatment": "x", "mediators": "m1", "draws": 300}
    first, again = (mediation("y ~ x", panel, seed=7, **options) for _ in range(2))
    other = mediation("y ~ x", panel, seed=8, **options)
    pd.testing.assert_frame_equal(first.draws, again.draws, check_exact=True)
    assert not np.allclose(first.draws, other.draws)
    rng = np.random.default_rng(7)
    at_once = mediation("y ~ x", panel, seed=rng, **options)
    pd.testing.assert_frame_equal(first.draws, at_once.draws)
    one, parts = np.random.default_rng(1), np.random.default_rng(1)
    whole = counts(25, 9, one)
    np.testing.assert_array_equal(whole, np.concatenate([counts(25, n, parts) for n in (2, 4, 3)]))
    assert (whole.sum(axis=1) == 25).all()


def test_scale_of_variables_and_order_of_rows(frame):
    """Units of measurement: a in m per x, b in y per m; the order of rows does not matter."""
    options = {"treatment": "x", "mediators": "m1", "draws": 50}
    found = mediation("y ~ x + k1", panel_of(frame), **options)
    other = frame.assign(x=1e6 * frame["x"], m1=1e-4 * frame["m1"] + 7.0, y=10.0 * frame["y"])
    moved = mediation("y ~ x + k1", panel_of(other.sample(frac=1.0, random_state=1)), **options)
    for name in ("direct", "indirect", "total"):
        np.testing.assert_allclose(moved.draws[name] * 1e5, found.draws[name], rtol=1e-7)
    np.testing.assert_allclose(
        moved.draws["proportion mediated"], found.draws["proportion mediated"], rtol=1e-7
    )


def test_standard_errors_agree_with_the_sandwich():
    """Many units: the bootstrap of the direct effect and the clustered covariance agree."""
    found = mediation(
        "y ~ x + k1",
        panel_of(frame_of(N=400, T=5, seed=2)),
        treatment="x",
        mediators="m1",
        draws=3000,
    )
    fit = found.equations["direct"]
    assert found.effects.loc["direct", "std_error"] == pytest.approx(fit.std_errors["x"], rel=0.06)
    sobel = found.sobel.loc[("m1", "Sobel"), "std_error"]
    assert found.effects.loc["indirect", "std_error"] == pytest.approx(sobel, rel=0.1)


def test_degenerate_resamples_are_counted(frame):
    """A treatment that changes in two units only is absorbed when neither is drawn."""
    switch = frame.assign(d=((frame["i"] < 2) & (frame["t"] > 2)).astype(float))
    found = mediation("y ~ d", panel_of(switch), treatment="d", mediators="m1", draws=400)
    units = np.random.default_rng(0).integers(0, 25, size=(400, 25))
    without = int((~((units == 0) | (units == 1)).any(axis=1)).sum())
    assert found.failed == without > 20
    assert len(found.draws) == 400 - without
    assert any(f"{without} of 400 resamples do not identify" in note for note in found.notes)
    alone = frame.assign(d=((frame["i"] == 0) & (frame["t"] > 2)) * 1.0)
    few = alone[alone["i"] < 25]
    found = mediation("y ~ d", panel_of(few), treatment="d", mediators="m1", draws=100)
    assert 20 < found.failed < 50


def test_collinear_in_a_resample():
    """k differs from x in one unit only: resamples without it cannot tell them apart."""
    frame = frame_of(N=12, T=5, seed=1)
    frame["k"] = frame["x"] + (frame["i"] == 0) * frame["k1"]
    found = mediation("y ~ x + k", panel_of(frame), treatment="x", mediators="m1", draws=300)
    units = np.random.default_rng(0).integers(0, 12, size=(300, 12))
    assert found.failed == int((units != 0).all(axis=1).sum()) > 50


def test_mostly_degenerate_is_an_error():
    frame = frame_of(N=12, T=5, seed=1)
    frame["k"] = frame["x"] + (frame["i"] == 0) * frame["k1"]
    frame["l"] = frame["k2"] * (frame["i"] == 1)
    with pytest.raises(IdentificationError, match="resamples of the 12 entities do not identify"):
        mediation("y ~ x + k + l", panel_of(frame), treatment="x", mediators="m1", draws=300)


@pytest.mark.parametrize("seed", range(5))
def test_p_values_invert_the_bias_corrected_interval(seed):
    """An interval of a level above 1 - p holds zero, one of a level below leaves it out."""
    rng = np.random.default_rng(seed)
    R, q = 400, 30
    draws = rng.normal(rng.normal(0.0, 1.5, q), 1.0, (R, q)) + rng.exponential(1.0, (R, q)) - 1.0
    draws[:, :5] = np.round(draws[:, :5])  # draws at zero
    estimates = draws.mean(axis=0) + rng.normal(0.0, 0.3, q)
    p = p_values(estimates, draws)
    inside = (p > 2 / (R + 1)) & (p < 1.0)
    assert inside.sum() > 10
    for j in np.flatnonzero(inside):
        for level, holds in ((1 - p[j] + 1e-6, True), (1 - p[j] - 1e-6, False)):
            low, high = bias_corrected(estimates[[j]], draws[:, [j]], level)
            assert (low[0] <= 0.0 <= high[0]) == holds


def test_p_values_without_a_corrected_interval():
    """All draws above the estimate: the percentile interval, as in the verdict; and the floor."""
    draws = np.arange(-2.0, 98.0)[:, None]
    percentile = p_values(np.array([-5.0]), draws)
    np.testing.assert_allclose(percentile, 2 * 2 / 99)
    np.testing.assert_allclose(p_values(np.array([50.0]), draws + 10.0), 2 / 101)
    assert p_values(np.array([0.0]), np.zeros((50, 1))) == 1.0


def test_intervals_by_hand():
    """Forty draws below an estimate of 100: z0 = Phi^-1(0.4), and quantiles by their formula."""
    draws = np.arange(1.0, 101.0)[:, None]
    estimate = np.array([40.5])
    low, high = bias_corrected(estimate, draws, 0.90)
    z0, z = -0.2533471031357997, 1.6448536269514722  # Phi^-1(0.4), Phi^-1(0.95)
    from statistics import NormalDist

    ends = [NormalDist().cdf(2 * z0 + sign * z) for sign in (-1, 1)]
    expected = np.quantile(draws, ends)
    np.testing.assert_allclose([low[0], high[0]], expected)
    assert low[0] < np.quantile(draws, 0.05)  # the estimate is low among the draws
    # Zero is the quantile 9.5/99 of the draws less 10.5; 40 of them are below 30.
    u = NormalDist().inv_cdf(9.5 / 99)
    p = p_values(estimate - 10.5, draws - 10.5)
    np.testing.assert_allclose(p, 2 * NormalDist().cdf(-abs(u - 2 * z0)))
    assert np.isnan(bias_corrected(np.array([0.0]), draws, 0.9)[0][0])  # all draws on one side


@pytest.mark.parametrize(
    ("direct", "indirect", "said"),
    [
        ((0.4, 0.1), (0.3, 0.1), "Partial mediation"),
        ((0.4, 0.5), (0.3, 0.1), "Full mediation"),
        ((0.4, 0.1), (0.3, 0.5), "No mediation shown"),
        ((-0.4, 0.1), (0.3, 0.1), "Suppression"),
    ],
)
def test_verdicts(direct, indirect, said):
    rows = [
        pd.Series({"estimate": b, "bc_lower": b - h, "bc_upper": b + h})
        for b, h in (direct, indirect)
    ]
    assert verdict(*rows, "m", 0.95).startswith(said)


def test_published_numbers_of_the_provincial_paper():
    """Yin & Su (2024), tables 7 and 8: data with their a, b and c' have their other effects.

    The errors are made orthogonal to the regressors and to the dummies, so that the coefficients
    are 0.266, 1.379 and 0.400; published are 0.367 (indirect) and 0.767 (total).
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"i": np.repeat(np.arange(31), 19), "t": np.tile(np.arange(19), 31)})
    D = pd.get_dummies(frame[["i", "t"]].astype(str)).to_numpy(dtype=float)
    X = np.column_stack([D, rng.normal(size=(589, 3))])
    x, e, u = np.linalg.qr(X)[0][:, -3:].T  # orthogonal to the dummies and to each other
    frame["coagglo"] = x + D @ rng.normal(size=D.shape[1])
    frame["uic"] = 0.266 * x + 0.2 * e + D @ rng.normal(size=D.shape[1])
    frame["ami"] = 0.400 * x + 1.379 * (0.266 * x + 0.2 * e) + u + D @ rng.normal(size=D.shape[1])
    found = mediation(
        "ami ~ coagglo", panel_of(frame), treatment="coagglo", mediators="uic", draws=20
    )
    estimate = found.effects["estimate"].round(3)
    assert estimate["direct"] == 0.400
    assert estimate["indirect"] == 0.367
    assert estimate["total"] == 0.767
    assert found.equations["mediator: uic"].params["coagglo"] == pytest.approx(0.266)


def test_sobel_family(frame):
    found = mediation("y ~ x", panel_of(frame), treatment="x", mediators="m1", draws=20)
    first, second = found.equations["mediator: m1"], found.equations["direct"]
    a, b = first.params["x"], second.params["m1"]
    va, vb = first.std_errors["x"] ** 2, second.std_errors["m1"] ** 2
    core = a**2 * vb + b**2 * va
    errors = found.sobel.loc["m1", "std_error"]
    assert errors["Sobel"] == pytest.approx(np.sqrt(core))
    assert errors["Aroian"] == pytest.approx(np.sqrt(core + va * vb))
    assert errors["Goodman"] == pytest.approx(np.sqrt(core - va * vb))


def test_missing_cells_leave_all_equations(frame):
    data = frame.copy()
    data.loc[3, "m1"] = np.nan
    data.loc[7, "k1"] = np.nan
    with pytest.raises(DataError, match="m1"):
        mediation("y ~ x", panel_of(data), treatment="x", mediators="m1", draws=10)
    found = mediation(
        "y ~ x + k1", panel_of(data, unbalanced="allow"), treatment="x", mediators="m1", draws=10
    )
    assert {fit.nobs for fit in found.equations.values()} == {len(data) - 2}
    assert found.notes[0].startswith("2 of 150 (entity, time) cells lack a variable")


def test_binary_treatment_and_mediator(frame):
    data = frame.assign(d=(frame["x"] > 0).astype(int), b=frame["m1"] > 0)
    found = mediation("y ~ d + C(g)", panel_of(data.assign(g=(data["k1"] > 0))), treatment="d",
                      mediators="b", draws=30)  # fmt: skip
    assert np.isfinite(found.effects["estimate"]).all()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"mediators": "nothing"}, DataError, "no column 'nothing'"),
        ({"mediators": "y"}, OptionError, "'y' is the outcome"),
        ({"mediators": "x"}, OptionError, "'x' is the treatment"),
        ({"mediators": "k1"}, OptionError, "'k1' is a control"),
        ({"mediators": []}, OptionError, "must be the name"),
        ({"mediators": ["m1", "m1"]}, OptionError, "must differ"),
        ({"treatment": "m2"}, OptionError, "must be a regressor"),
        ({"formula": "y ~ x + nothing"}, FormulaError, "nothing"),
        ({"draws": 1}, OptionError, "at least 2"),
        ({"draws": 10.5}, OptionError, "whole number"),
        ({"level": 95}, OptionError, "between 0 and 1"),
        ({"effects": "random"}, OptionError, "two-way"),
        ({"cov": "nonsense"}, OptionError, "cov"),
        ({"seed": -1}, OptionError, "seed"),
    ],
)
def test_bad_input(frame, options, error, said):
    given = {"formula": "y ~ x + k1", "treatment": "x", "mediators": "m1", "draws": 10, **options}
    with pytest.raises(error, match=said):
        mediation(given.pop("formula"), panel_of(frame), **given)


def test_absorbed_mediator_is_named(frame):
    data = frame.assign(fixed=frame["i"] * 1.0)
    with pytest.raises(IdentificationError, match="fixed"):
        mediation("y ~ x", panel_of(data), treatment="x", mediators="fixed", draws=10)


def test_an_exact_fit_of_a_resample_is_no_error():
    """least_squares: a singular sample gives NaN, its neighbours their solution."""
    G = np.stack([np.eye(3), np.ones((3, 3))])
    found = least_squares(G, 0, [1, 2], np.ones(3))
    np.testing.assert_allclose(found[0], 0.0)
    assert np.isnan(found[1]).all()


def test_nothing_is_changed(frame):
    before = frame.copy()
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    mediation("y ~ x", panel_of(frame), treatment="x", mediators="m1", draws=10, seed=rng)
    pd.testing.assert_frame_equal(before, frame)
    assert rng.bit_generator.state == state


@pytest.mark.slow
def test_coverage():
    """Nominal 95% intervals, errors with serial correlation and unequal variances."""
    reps, draws = 500, 500
    truth = {"direct": 0.2, "indirect": 0.4 * 0.3, "total": 0.2 + 0.12}
    hits = dict.fromkeys(itertools.product(truth, ("percentile", "bc")), 0)
    for rep in range(reps):
        frame = frame_of(N=80, T=8, seed=1000 + rep, a=0.4, b=0.3, direct=0.2, b2=0.0)
        found = mediation(
            "y ~ x + k1", panel_of(frame), treatment="x", mediators="m1", draws=draws, seed=rep
        )
        for name, kind in hits:
            row = found.effects.loc[name]
            hits[name, kind] += row[f"{kind}_lower"] <= truth[name] <= row[f"{kind}_upper"]
    shares = {key: hit / reps for key, hit in hits.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
