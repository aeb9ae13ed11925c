"""Simulation: how often nominal 95% intervals hold the truth, by covariance and process.

``pytest -m slow -s -n 0 tests/models/test_coverage.py`` prints the rows of docs/simulations.md.
Every replication draws the regressors, the effects, and how units respond to common shocks anew:
units are a sample. The plain covariance, "observed", stands beside every other one.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa

pytestmark = pytest.mark.slow

#: Half the width of a nominal 95% interval, in standard errors.
Z = 1.959963984540054
LOW, HIGH = 0.92, 0.98


@cache
def lattice(side):
    """Row-standardised rook contiguity of a grid, with labels."""
    cells = [(i, j) for i in range(side) for j in range(side)]
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    neighbours = {
        f"{i:02d}-{j:02d}": [
            f"{i + a:02d}-{j + b:02d}" for a, b in steps if (i + a, j + b) in set(cells)
        ]
        for i, j in cells
    }
    return sa.SpatialWeights.from_dict(neighbours).standardize("row")


@cache
def distances(side):
    """Euclidean distances on the grid."""
    ids = lattice(side).ids
    place = np.array([[int(x) for x in unit.split("-")] for unit in ids], dtype=float)
    d = np.sqrt(((place[:, None] - place) ** 2).sum(axis=2))
    return pd.DataFrame(d, index=ids, columns=ids)


@dataclass(frozen=True)
class Design:
    """A process, the model fitted to it, and the covariances to compare."""

    process: str
    covs: dict
    T: int
    side: int = 10
    fitted: str = ""
    effects: str = "two-way"
    replications: int = 1000
    seed: int = 0
    options: dict = field(default_factory=dict)

    @property
    def model(self):
        """The model that is fitted."""
        return self.fitted or self.process


def coverage(name, design):
    """Return, and print, the share of intervals with the truth: rows covariances."""
    W, R = lattice(design.side), design.replications
    hits = {"observed": [], **{label: [] for label in design.covs}}
    estimates, failed = [], 0
    for r in range(R):
        seed = np.random.SeedSequence([design.seed, r]).generate_state(1)[0]
        sim = sa.simulate(
            design.process, W, design.T, effects=design.effects, seed=seed, **design.options
        )
        try:
            fit = getattr(sa, design.model)(sim.formula, sim.panel, W, effects=design.effects)
        except sa.errors.BoundaryError:
            failed += 1
            continue
        params = [param for param in fit.names if param != "sigma2"]
        truth = sim.truth.reindex(params)
        estimates.append(fit.params[params] - truth)
        for label, found in hits.items():
            cov = design.covs.get(label, label)
            errors = fit.replace(cov=cov).std_errors[params]
            found.append(estimates[-1].abs() <= Z * errors)
    assert failed <= 0.01 * R
    table = pd.DataFrame({label: pd.DataFrame(found).mean() for label, found in hits.items()}).T
    errors = pd.DataFrame(estimates)
    bias = errors.mean() / errors.std()
    print(f"\n{name}: {design.model}, {design.effects}, N = {W.n}, T = {design.T}, ", end="")
    print(f"{R} replications, seed {design.seed}; bias in standard deviations: ", end="")
    print(", ".join(f"{param} {value:.2f}" for param, value in bias.items()))
    for label, row in table.iterrows():
        print(f"| {name} | {label} | " + " | ".join(f"{p} {share:.3f}" for p, share in row.items()))
    return table, bias


def holds(shares):
    """Whether all of them are near enough to 95%."""
    shares = np.asarray(shares)
    return bool(((shares >= LOW) & (shares <= HIGH)).all())


BASE = {"beta": [1.0], "theta": [0.5], "rho": 0.4}
SERIAL = BASE | {"serial": 0.6, "x_serial": 0.6}
TWO_WAYS = sa.Clustered(["entity", "time"])


@pytest.mark.parametrize("model", ["sdm", "sdem"])
def test_independent_errors_of_one_variance(model):
    options = dict(BASE)
    if model == "sdem":
        options["lam"] = options.pop("rho")
    covs = {"expected": "expected", "opg": "opg"}
    table, _ = coverage("iid normal", Design(model, covs, T=10, options=options))
    assert holds(table)


def test_heteroskedastic_errors():
    """The spread differs between units and grows with x1, which fools the plain errors of x1."""
    options = BASE | {"heteroskedasticity": {"unit": 0.5, "x1": 0.5}}
    table, _ = coverage("heteroskedastic", Design("sdm", {"robust": "robust"}, 10, options=options))
    assert holds(table.loc["robust"])
    assert table.loc["observed", "x1"] < 0.9


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_serially_correlated_errors(effects):
    design = Design(
        "sdm", {"clustered": "clustered", "robust": "robust"}, 10, effects=effects, options=SERIAL
    )
    table, _ = coverage("serial correlation 0.6", design)
    assert holds(table.loc["clustered"])
    for plain in ("observed", "robust"):
        assert (table.loc[plain] < 0.9).all()


def test_bootstrap():
    covs = {"bootstrap": sa.Bootstrap(draws=200)}
    design = Design("sdm", covs, 10, replications=400, options=SERIAL)
    table, _ = coverage("serial correlation 0.6", design)
    assert holds(table.loc["bootstrap"])
    assert (table.loc["observed"] < 0.9).all()


COMMON = {"Driscoll-Kraay": "driscoll-kraay", "two ways": TWO_WAYS}


def test_common_shocks_in_a_regression():
    """Shocks that all units share, in x1 and in the errors, under entity effects; T = 40."""
    shocks = {"common": 0.2, "x_common": 0.1, "serial": 0.2, "x_serial": 0.2}
    options = {"beta": [1.0], "theta": [0.5]} | shocks
    design = Design("slx", COMMON, 40, effects="entity", options=options)
    table, _ = coverage("common shocks", design)
    assert holds(table.loc[["Driscoll-Kraay", "two ways"]])
    assert (table.loc["observed"] < 0.85).all()


def test_common_shocks_where_regressors_tell_rho():
    """Two-way effects, and regressors so strong that rho rests on them, not on the errors."""
    options = {"beta": [6.0], "theta": [3.0], "rho": 0.4, "common": 0.2, "x_common": 0.2}
    table, _ = coverage("common shocks, strong x", Design("sdm", COMMON, 40, options=options))
    assert holds(table.loc[["Driscoll-Kraay", "two ways"]])
    assert table.loc["observed", "x1"] < 0.9


def test_common_shocks_where_errors_tell_rho():
    """W x1 says little: rho settles where the units' responses to the shocks put it.

    More periods do not help: sums over units cannot see an error that every period repeats.
    Clusters by entity can, because the responses are a sample.
    """
    options = {"beta": [6.0], "theta": [-3.0], "rho": 0.4, "common": 0.2, "x_common": 0.2}
    name = "common shocks, weak W x"
    short, _ = coverage(name, Design("sdm", COMMON, 40, replications=500, options=options))
    long, _ = coverage(name, Design("sdm", COMMON, 160, replications=300, options=options))
    assert 0.8 < short.loc["Driscoll-Kraay", "rho"] < 0.92
    assert long.loc["Driscoll-Kraay", "rho"] < 0.8
    assert holds(short.loc["two ways"])
    assert long.loc["two ways", "rho"] > 0.88


def test_common_shocks_without_period_effects():
    """Then rho takes the shocks for spillovers, and no covariance can cover the bias."""
    options = {"beta": [3.0], "rho": 0.4, "common": 0.3, "x_common": 0.3}
    design = Design("sar", COMMON, 40, effects="entity", replications=300, options=options)
    table, bias = coverage("common shocks, no period effects", design)
    assert bias["rho"] > 2.0
    assert (table["rho"] < 0.5).all()


def conley(kernel="uniform"):
    return sa.Conley(2.5, distances=distances(14), kernel=kernel)


@pytest.mark.parametrize(("process", "fitted"), [("sem", "ols"), ("sdem", "slx")])
def test_spatially_correlated_errors(process, fitted):
    options = {"beta": [1.0], "lam": 0.5, "x_spatial": 0.5}
    options |= {"theta": [0.5]} if fitted == "slx" else {}
    covs = {"Conley uniform": conley(), "Conley Bartlett": conley("bartlett")}
    design = Design(process, covs, 10, 14, fitted, options=options)
    table, _ = coverage("spatial errors, lambda = 0.5", design)
    assert holds(table.loc["Conley uniform"])
    last = table.columns[-1]  # of slx the errors of x1 are too long, those of W x1 too short
    assert table.loc["observed", last] <= min(0.92, table.loc["Conley uniform", last] - 0.015)


@pytest.mark.parametrize("strength", [1.0, 40.0])
def test_spatially_correlated_errors_beside_a_lag(strength):
    """rho takes up the correlation of the errors, unless regressors pin it down."""
    options = {"beta": [strength], "theta": [strength / 2], "rho": 0.4, "lam": 0.3}
    design = Design(
        "gns", {"Conley uniform": conley()}, 10, 14, "sdm", replications=200, options=options
    )
    table, bias = coverage(f"spatial errors, lambda = 0.3, beta = {strength:g}", design)
    if strength == 1.0:
        assert bias["rho"] > 3.0
        assert table.loc["Conley uniform", "rho"] < 0.2
    else:
        assert abs(bias["rho"]) < 1.0
        assert table.loc["Conley uniform", "rho"] > 0.8


def test_variances_that_differ_by_unit_in_a_long_panel():
    """Clusters by entity see that the score of a unit has a mean: rho's bias is in their errors.

    Centring every unit's score by its own variance would take that out.
    """
    options = {"beta": [0.1], "rho": 0.4, "heteroskedasticity": {"unit": 0.7}}
    covs = {"robust": "robust", "clustered": "clustered"}
    design = Design("sar", covs, 40, 7, replications=500, options=options)
    table, _ = coverage("variance by unit", design)
    assert holds(table.loc["clustered"])
    assert table.loc["clustered", "rho"] > table.loc["robust", "rho"]
