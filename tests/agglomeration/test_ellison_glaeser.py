"""The Ellison-Glaeser index: alone, for several sectors, in full and simplified."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatial_agglo.agglomeration import (
    Employment,
    ellison_glaeser,
    ellison_glaeser_coagglomeration,
    plant_herfindahl,
    spatial_gini,
)
from spatial_agglo.errors import DataError, OptionError


def employment(counts):
    """Counts (T, N, J) of places 0, 1, ... and industries "0", "1", ..."""
    counts = np.asarray(counts, dtype=float)
    if counts.ndim == 2:
        counts = counts[None]
    T, N, J = counts.shape
    index = pd.MultiIndex.from_product([range(T), range(N)], names=["t", "id"]).swaplevel()
    names = [str(j) for j in range(J)]
    frame = pd.DataFrame(counts.reshape(T * N, J), index=index, columns=names)
    return Employment.from_wide(frame, industries=names, totals="allow")


def dense_index(plants, where, x):
    """EG of one industry from its plants, loop by loop."""
    jobs = sum(plants)
    s = [sum(z for z, i in zip(plants, where, strict=True) if i == k) / jobs for k in range(len(x))]
    G = sum((a - b) ** 2 for a, b in zip(s, x, strict=True))
    H = sum((z / jobs) ** 2 for z in plants)
    room = 1 - sum(b**2 for b in x)
    return (G - room * H) / (room * (1 - H)), G, H, s


def plants_of(seed, places=4, industries=3):
    rng = np.random.default_rng(seed)
    rows = [
        (str(j), int(rng.integers(places)), float(rng.integers(1, 50)))
        for j in range(industries)
        for _ in range(rng.integers(4, 12))
    ]
    return pd.DataFrame(rows, columns=["branch", "place", "jobs"])


@pytest.mark.parametrize("seed", range(5))
def test_one_industry_from_its_plants(seed):
    plants = plants_of(seed)
    counts = plants.pivot_table(
        index="place", columns="branch", values="jobs", aggfunc="sum", fill_value=0.0
    ).reindex(range(4), fill_value=0.0)
    x = (counts.sum(axis=1) / counts.to_numpy().sum()).to_numpy()
    H = plant_herfindahl(plants, industry="branch", employment="jobs")
    found = ellison_glaeser(employment(counts.to_numpy()), H.droplevel(1))
    for name in counts.columns:
        own = plants[plants["branch"] == name]
        gamma, G, h, _ = dense_index(own["jobs"].tolist(), own["place"].tolist(), x)
        row = found.loc[(name, 0)]
        assert row["gamma"] == pytest.approx(gamma, rel=1e-11)
        assert row["G"] == pytest.approx(G, rel=1e-11)
        assert row["H"] == pytest.approx(h, rel=1e-12)


def test_one_industry_by_pencil():
    """s = (3/4, 1/4), x = (1/2, 1/2), H = 0.1: (0.125/0.5 - 0.1)/0.9 = 1/6."""
    jobs = employment([[30, 10], [10, 30]])
    found = ellison_glaeser(jobs, pd.Series({"0": 0.1}), "0").iloc[0]
    assert found["gamma"] == pytest.approx(1 / 6, rel=1e-13)
    maurel = ellison_glaeser(jobs, pd.Series({"0": 0.1}), "0", method="maurel-sedillot").iloc[0]
    # (10/16 - 1/2)/(1/2) = 0.25 as well: with even x the two are one.
    assert maurel["gamma"] == pytest.approx(1 / 6, rel=1e-13)
    uneven = employment([[30, 30], [10, 10], [0, 20]])  # s = (.75, .25, 0), x = (.6, .2, .2)
    room, H = 1 - 0.44, 0.1
    for method, G in (("ellison-glaeser", 0.065), ("maurel-sedillot", 0.625 - 0.44)):
        found = ellison_glaeser(uneven, pd.Series({"0": H}), "0", method=method).iloc[0]
        assert found["G"] == pytest.approx(G, rel=1e-12)
        assert found["gamma"] == pytest.approx((G / room - H) / (1 - H), rel=1e-12)


def test_darts_have_no_agglomeration():
    """Plants thrown at places in proportion to x, 3,000 times: the mean is 0 to 3.5 s.e."""
    rng = np.random.default_rng(12)
    x = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    sizes = rng.lognormal(sigma=1.0, size=15)
    T = 3000
    where = rng.choice(5, size=(T, sizes.size), p=x)
    own = np.stack([(sizes * (where == i)).sum(axis=1) for i in range(5)], axis=1)
    # All other jobs are so many that the sector does not move x.
    counts = np.stack([own, np.broadcast_to(x * 1e9, own.shape)], axis=2)
    plants = pd.DataFrame({"branch": "0", "jobs": sizes})
    H = plant_herfindahl(plants, industry="branch", employment="jobs").droplevel(1)
    for method in ("ellison-glaeser", "maurel-sedillot"):
        gamma = ellison_glaeser(employment(counts), H, "0", method=method)["gamma"]
        error = gamma.std() / np.sqrt(T)
        assert abs(gamma.mean()) < 3.5 * error
        assert error < 0.005
        # Without the plants' correction it would look agglomerated.
        naive = ellison_glaeser(employment(counts), H * 1e-9, "0", method=method)["gamma"]
        assert naive.mean() > 20 * error


def test_plants_that_all_go_to_one_place_drawn_in_proportion():
    """sum_i x_i gamma(all in i) = 1: full spillovers, as in Ellison & Glaeser's model."""
    x = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    counts = np.stack([np.eye(5), np.broadcast_to(x * 1e12, (5, 5))], axis=2)
    found = ellison_glaeser(employment(counts), pd.Series({"0": 0.2}), "0")["gamma"]
    assert (x @ found.to_numpy()) == pytest.approx(1.0, rel=1e-9)


def test_plant_indices_by_sector_and_period():
    plants = pd.DataFrame(
        {
            "branch": ["a", "a", "b", "a", "b", "b"],
            "year": [1, 1, 1, 2, 2, 2],
            "jobs": [30.0, 10.0, 5.0, 7.0, 2.0, 2.0],
        }
    )
    found = plant_herfindahl(plants, industry="branch", employment="jobs", time="year")
    assert found.index.names == ["branch", "year"]
    assert found["a", 1] == pytest.approx(0.625)
    assert found["b", 2] == pytest.approx(0.5)
    merged = plant_herfindahl(
        plants, industry="branch", employment="jobs", time="year", sectors={"all": ["a", "b"]}
    )
    assert merged["all", 1] == pytest.approx((900 + 100 + 25) / 45**2)
    assert merged["all", 2] == pytest.approx((49 + 4 + 4) / 11**2)


# --- two and more sectors ---------------------------------------------------------------

positive = arrays(
    float, st.tuples(st.integers(2, 7), st.integers(3, 5)), elements=st.floats(0.5, 1e3)
)


def sector_shares(values, names):
    own = values[:, names]
    return own / own.sum(axis=0), own.sum(axis=0) / own.sum(), own.sum(axis=1) / own.sum()


@settings(max_examples=60, deadline=None)
@given(values=positive)
def test_the_published_formula_with_its_misprint_mended(values):
    """[H_ij - (H_i w_i**2 + H_j w_j**2)] / [1 - (w_i**2 + w_j**2)], H = sum s**2 - 1/n."""
    n = len(values)
    s, w, joint = sector_shares(values, [0, 1])
    H_i, H_j, H_ij = (float(v @ v) - 1 / n for v in (s[:, 0], s[:, 1], joint))
    above = H_ij - (H_i * w[0] ** 2 + H_j * w[1] ** 2)
    expected = above / (1 - (w[0] ** 2 + w[1] ** 2))
    jobs = employment(values)
    found = ellison_glaeser_coagglomeration(jobs, ["0", "1"], method="devereux").item()
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)
    # The weights cancel: it is the covariance of the two sectors' shares, times n.
    assert found == pytest.approx(n * float(np.cov(s.T, ddof=0)[0, 1]), rel=1e-7, abs=1e-9)
    swapped = ellison_glaeser_coagglomeration(jobs, ["1", "0"], method="devereux").item()
    assert swapped == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_the_misprinted_formula_is_another():
    """As printed, with w_i twice, the index depends on which sector comes first."""
    values = np.array([[30.0, 5.0, 50.0], [10.0, 15.0, 50.0], [20.0, 4.0, 50.0]])
    s, w, joint = sector_shares(values, [0, 1])
    H = [float(v @ v) - 1 / 3 for v in (s[:, 0], s[:, 1], joint)]
    printed = [(H[2] - (H[0] + H[1]) * w[k] ** 2) / (1 - 2 * w[k] ** 2) for k in (0, 1)]
    found = ellison_glaeser_coagglomeration(
        employment(values), ["0", "1"], method="devereux"
    ).item()
    assert abs(printed[0] - printed[1]) > 0.01
    assert all(abs(value - found) > 0.01 for value in printed)


def test_two_sectors_by_pencil():
    """Shares (1/2, 1/2, 0) and (1/2, 0, 1/2): 1/4 - 1/3 = -1/12."""
    jobs = employment([[5, 20, 9], [5, 0, 9], [0, 20, 9]])
    found = ellison_glaeser_coagglomeration(jobs, ["0", "1"], method="devereux").item()
    assert found == pytest.approx(-1 / 12, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("names", [["0", "1"], ["0", "1", "2"]])
def test_the_full_index_with_plants(seed, names):
    """Ellison & Glaeser (1997): the plants' Herfindahl indices enter, and cancel."""
    plants = plants_of(seed)
    counts = plants.pivot_table(
        index="place", columns="branch", values="jobs", aggfunc="sum", fill_value=0.0
    ).reindex(range(4), fill_value=0.0)
    counts["rest"] = [40.0, 10.0, 25.0, 60.0]
    x = (counts.sum(axis=1) / counts.to_numpy().sum()).to_numpy()
    room = 1 - x @ x
    part = plants[plants["branch"].isin(names)]
    w = part.groupby("branch")["jobs"].sum() / part["jobs"].sum()
    s = part.groupby("place")["jobs"].sum().reindex(range(4), fill_value=0.0) / part["jobs"].sum()
    G = float(((s.to_numpy() - x) ** 2).sum())
    H, own = 0.0, 0.0
    for name in names:
        rows = plants[plants["branch"] == name]
        gamma, _, h, _ = dense_index(rows["jobs"].tolist(), rows["place"].tolist(), x)
        H += w[name] ** 2 * h
        own += gamma * w[name] ** 2 * (1 - h)
    expected = (G / room - H - own) / (1 - float((w**2).sum()))
    found = ellison_glaeser_coagglomeration(employment(counts.to_numpy()), names).item()
    assert found == pytest.approx(expected, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(values=positive)
def test_the_pairwise_form_of_ellison_glaeser_and_kerr(values):
    s, _, _ = sector_shares(values, [0, 1])
    x = values.sum(axis=1) / values.sum()
    expected = (s[:, 0] - x) @ (s[:, 1] - x) / (1 - x @ x)
    found = ellison_glaeser_coagglomeration(employment(values), ["0", "1"]).item()
    assert found == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


def test_the_two_forms_are_one_where_all_jobs_are_spread_evenly():
    """x = 1/n: they differ by the factor 1 - 1/n."""
    values = np.array([[30.0, 10.0, 60.0], [10.0, 40.0, 50.0], [20.0, 20.0, 60.0]])
    jobs = employment(values)
    full = ellison_glaeser_coagglomeration(jobs, ["0", "1"]).item()
    simple = ellison_glaeser_coagglomeration(jobs, ["0", "1"], method="devereux").item()
    assert simple == pytest.approx(full * (1 - 1 / 3), rel=1e-12)


@pytest.mark.parametrize("method", ["ellison-glaeser", "devereux"])
def test_a_sector_with_its_double_is_as_concentrated_as_itself(method):
    values = np.array([[30.0, 60.0, 8.0], [10.0, 20.0, 9.0], [20.0, 40.0, 2.0]])
    jobs = employment(values)
    found = ellison_glaeser_coagglomeration(jobs, ["0", "1"], method=method).item()
    if method == "devereux":
        squares = spatial_gini(jobs, "0", method="squares", benchmark="uniform").item()
        assert found == pytest.approx(squares, rel=1e-12)
    else:
        row = ellison_glaeser(jobs, pd.Series({"0": 1e-15}), "0").iloc[0]
        assert found == pytest.approx(row["gamma"], rel=1e-12)


@pytest.mark.parametrize("method", ["ellison-glaeser", "devereux"])
def test_contributions_sum_to_the_index(method):
    rng = np.random.default_rng(3)
    jobs = employment(rng.uniform(1, 9, size=(3, 6, 4)))
    names = ["0", "2", "3"]
    whole = ellison_glaeser_coagglomeration(jobs, names, method=method)
    assert whole.index.name == "t"
    parts = ellison_glaeser_coagglomeration(jobs, names, method=method, contributions=True)
    assert parts.index.names == ["id", "t"]
    np.testing.assert_allclose(parts.groupby("t").sum(), whole, rtol=1e-12)


def test_within_regions():
    rng = np.random.default_rng(4)
    values = rng.uniform(1, 9, size=(2, 6, 3))
    regions = dict(zip(range(6), "eewwww", strict=True))
    for method in ("ellison-glaeser", "devereux"):
        found = ellison_glaeser_coagglomeration(
            employment(values), ["0", "1"], method=method, regions=regions
        )
        for region, part in (("e", slice(0, 2)), ("w", slice(2, 6))):
            alone = ellison_glaeser_coagglomeration(
                employment(values[:, part]), ["0", "1"], method=method
            )
            np.testing.assert_allclose(found.xs(region), alone, rtol=1e-12)


def test_random_sectors_are_not_coagglomerated():
    """Two sectors of darts: the mean index over 3,000 throws is 0 to 3.5 s.e."""
    rng = np.random.default_rng(5)
    x = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    T = 3000
    a, b = (rng.multinomial(20, x, size=T) for _ in range(2))
    counts = np.stack([a, b, np.broadcast_to(x * 1e9, a.shape)], axis=2)
    gamma = ellison_glaeser_coagglomeration(employment(counts), ["0", "1"])
    assert abs(gamma.mean()) < 3.5 * gamma.std() / np.sqrt(T)
    # The simplified form takes unequal places for co-agglomeration: sum x**2 - 1/n.
    simple = ellison_glaeser_coagglomeration(employment(counts), ["0", "1"], method="devereux")
    error = simple.std() / np.sqrt(T)
    assert simple.mean() == pytest.approx(x @ x - 1 / 5, abs=3.5 * error)


# --- what cannot be ---------------------------------------------------------------------


def test_undefined_indices():
    one_place = employment([[3.0, 4.0, 5.0]])
    with pytest.raises(DataError, match="all jobs are in one place"):
        ellison_glaeser_coagglomeration(one_place, ["0", "1"])
    assert np.isnan(ellison_glaeser_coagglomeration(one_place, ["0", "1"], undefined="nan").item())
    jobs = employment([[3.0, 4.0, 0.0], [5.0, 6.0, 0.0]])
    with pytest.raises(DataError, match=r"employs nobody.*'2', 0"):
        ellison_glaeser_coagglomeration(jobs, ["0", "2"])
    with pytest.raises(DataError, match=r"one plant.*'0', 0"):
        ellison_glaeser(jobs, pd.Series({"0": 1.0}), "0")
    found = ellison_glaeser(jobs, pd.Series({"0": 1.0, "1": 0.5}), ["0", "1"], undefined="nan")
    assert list(found["gamma"].isna()) == [True, False]
    # A sector that employs nobody has no plants and needs no H.
    assert np.isnan(ellison_glaeser(jobs, pd.Series(dtype=float), "2", undefined="nan").iloc[0, 2])


def test_plant_indices_are_matched_by_label():
    jobs = employment(np.random.default_rng(0).uniform(1, 5, size=(2, 3, 2)))
    full = pd.Series(
        [0.1, 0.2, 0.3, 0.4],
        index=pd.MultiIndex.from_tuples([("1", 1), ("0", 0), ("1", 0), ("0", 1)]),
    )
    found = ellison_glaeser(jobs, full)
    assert found["H"].to_dict() == full.sort_index().to_dict()
    with pytest.raises(DataError, match=r"no Herfindahl index for \('1', 0\)"):
        ellison_glaeser(jobs, full.drop(("1", 0)))
    with pytest.raises(DataError, match="no Herfindahl index for '1'"):
        ellison_glaeser(jobs, pd.Series({"0": 0.1}))
    with pytest.raises(DataError, match=r"above 0 and at most 1.*'0', 1, 1\.4"):
        ellison_glaeser(jobs, full.replace(0.4, 1.4))
    with pytest.raises(DataError, match="must hold numbers"):
        ellison_glaeser(jobs, pd.Series({"0": "a", "1": "b"}))
    with pytest.raises(DataError, match="3 level"):
        ellison_glaeser(jobs, pd.concat({"x": full}))
    with pytest.raises(DataError, match="must be a Series"):
        ellison_glaeser(jobs, 0.1)
    with pytest.raises(DataError, match="repeats a label"):
        ellison_glaeser(jobs, pd.concat([full, full]))


def test_wrong_arguments():
    jobs = employment([[3.0, 4.0], [5.0, 6.0]])
    with pytest.raises(DataError, match="two or more sectors"):
        ellison_glaeser_coagglomeration(jobs, ["0"])
    with pytest.raises(DataError, match="more than once"):
        ellison_glaeser_coagglomeration(jobs, ["0", "0"])
    with pytest.raises(OptionError, match="cannot be asked for together"):
        ellison_glaeser_coagglomeration(jobs, ["0", "1"], regions={0: 1, 1: 1}, contributions=True)
    with pytest.raises(OptionError, match="contributions="):
        ellison_glaeser_coagglomeration(jobs, ["0", "1"], contributions="x")
    with pytest.raises(OptionError, match="method"):
        ellison_glaeser_coagglomeration(jobs, ["0", "1"], method="duranton")
    plants = pd.DataFrame({"branch": ["a", "b"], "jobs": [1.0, np.nan]})
    with pytest.raises(DataError, match=r"missing or negative size, in row\(s\) 1"):
        plant_herfindahl(plants, industry="branch", employment="jobs")
    with pytest.raises(DataError, match="No plant is in industry 'c'"):
        plant_herfindahl(plants, industry="branch", employment="jobs", sectors={"s": ["c"]})
    with pytest.raises(DataError, match="no label in 'branch'"):
        plant_herfindahl(
            plants.assign(branch=["a", None]), industry="branch", employment="jobs",
            sectors={"s": ["a"]},
        )  # fmt: skip
