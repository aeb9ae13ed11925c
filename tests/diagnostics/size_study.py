"""Size and power of every test of the package, by simulation.

``python tests/diagnostics/size_study.py --replications 2000 --jobs 2 --out docs/sizes.md`` draws
panels of 49 units (rook contiguity of a 7 x 7 grid, row-standardised) and 10 periods under the
null hypothesis of each test, counts how often the nominal 5% test rejects, and writes a table.
``--power`` draws under one alternative instead. ``--only ols sar`` runs some nulls.

A study is a null: what is simulated, and a function from the panel to p values. Slow tests use
``rates`` with their own number of replications.
"""

import argparse
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import spatial_agglo as sa
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.directed import directed_tests
from spatial_agglo.diagnostics.hausman import hausman
from spatial_agglo.diagnostics.lattice import effects_f_tests, lattice_tests
from spatial_agglo.diagnostics.random_effects import bsk_tests
from spatial_agglo.errors import BoundaryError, IdentificationError

SIDE, PERIODS = 7, 10
BETA, THETA, RHO, LAM = (1.0, -0.5), (0.5, 0.3), 0.4, 0.4
FORMULA = "y ~ x1 + x2"
FIXED = ("entity", "two-way")


def lattice(side=SIDE):
    """Row-standardised rook contiguity of a grid."""
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    cells = [(i, j) for i in range(side) for j in range(side)]
    neighbours = {
        f"{i}-{j}": [f"{i + a}-{j + b}" for a, b in steps if (i + a, j + b) in set(cells)]
        for i, j in cells
    }
    return sa.SpatialWeights.from_dict(neighbours).standardize("row")


# --- what is tested under each null: (panel, W, effects) -> {name: p value} ------------------


def of_table(table, prefix=""):
    return {f"{prefix}{name}": float(p) for name, p in table["p_value"].items()}


def steps(panel, W, effects, *pairs, cov="observed"):
    """Rows of the lattice for some pairs (larger, smaller)."""
    found = {}
    for large, small in pairs:
        table = lattice_tests(FORMULA, panel, W, effects=effects, models=[large, small], cov=cov)
        found |= of_table(table)
    return found


def after(panel, W, effects, model):
    """Dependence that a fitted model leaves."""
    fit = getattr(sa, model)(FORMULA, panel, W, effects=effects)
    moran = sa.residual_moran(fit, permutations=199)
    found = {f"Moran after {model} (permutations)": float(moran["p_permutation"])}
    return found | of_table(cd_test(fit, permutations=199), f"after {model}: ")


def regression(panel, W, effects):
    found = of_table(sa.lm_tests(FORMULA, panel, W, effects=effects))
    found |= of_table(directed_tests(FORMULA, panel, W, effects=effects))
    moran = sa.residual_moran(FORMULA, panel, W, effects=effects)
    found["Moran of OLS residuals"] = float(moran["p_value"])
    found |= of_table(cd_test(FORMULA, panel, W, effects=effects, permutations=199))
    normal = cd_test(FORMULA, panel, W, effects=effects, reference="normal")
    found |= of_table(normal, "taken for normal: ")
    return found | steps(panel, W, effects, ("sar", "ols"), ("sem", "ols"), ("slx", "ols"))


def lag(panel, W, effects):
    found = steps(panel, W, effects, ("sdm", "sar"), ("sac", "sar"))
    robust = steps(panel, W, effects, ("sdm", "sar"), cov="clustered")
    found["Wald SDM/SAR, clustered"] = robust["Wald SDM/SAR"]
    return found | after(panel, W, effects, "sar")


def error(panel, W, effects):
    return steps(panel, W, effects, ("sdm", "sem"), ("sdem", "sem"), ("sac", "sem"))


def lagged_x(panel, W, effects):
    return steps(panel, W, effects, ("sdm", "slx"), ("sdem", "slx"))


def durbin(panel, W, effects):
    return steps(panel, W, effects, ("gns", "sdm")) | after(panel, W, effects, "sdm")


def durbin_error(panel, W, effects):
    return steps(panel, W, effects, ("gns", "sdem"))


def lag_and_error(panel, W, effects):
    return steps(panel, W, effects, ("gns", "sac"))


def unit_effects(*models):
    """Random effects are true, and in the models that nest the simulated one."""

    def tests(panel, W, effects):
        found = {}
        for model in models:
            for label, options in HAUSMAN.items():
                if "spatial" in options and model == "ols":
                    continue
                name = f"Hausman {model} ({label})"
                found[name] = np.nan
                with contextlib.suppress(IdentificationError, BoundaryError):
                    table = hausman(FORMULA, panel, W, model=model, effects=effects, **options)
                    found[name] = float(table["p_value"].iloc[0])
        return found

    return tests


HAUSMAN = {
    "mundlak": {},
    "robust": {"method": "robust"},
    "robust with rho or lambda": {"method": "robust", "spatial": True},
    "classical": {"method": "classical"},
}


def fixed_effects(smaller, *models):
    """Two-way effects against fewer."""

    def tests(panel, W, effects):
        found = of_table(effects_f_tests(FORMULA, panel)) if "ols" in models else {}
        for model in models:
            table = sa.effects_tests(FORMULA, panel, W, model=model, effects="two-way")
            found |= of_table(table, f"{model}: ")
        return {name: p for name, p in found.items() if name.endswith(f"/{smaller}")}

    return tests


def nothing(panel, W, effects):
    found = of_table(bsk_tests(FORMULA, panel, W))
    either = of_table(bsk_tests(FORMULA, panel, W, alternative="either"), "lambda of either sign: ")
    found |= {name: p for name, p in either.items() if name.endswith(("LM-H", "LM2", "lambda"))}
    found["F entity/none"] = float(
        effects_f_tests(FORMULA, panel, effects="entity").loc["F entity/none", "p_value"]
    )
    return found


def only_effects(panel, W, effects):
    names = {"CLM lambda": {}, "CLM lambda, kkp": {"form": "kkp"}}
    return {
        name: float(bsk_tests(FORMULA, panel, W, **options).loc["CLM lambda", "p_value"])
        for name, options in names.items()
    }


def only_errors(panel, W, effects):
    names = {"CLM mu": {}, "CLM mu, kkp": {"form": "kkp"}}
    return {
        name: float(bsk_tests(FORMULA, panel, W, **options).loc["CLM mu", "p_value"])
        for name, options in names.items()
    }


# --- the nulls --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """A null hypothesis.

    model, options: what is simulated. alternative: options that make it false. tests: the
    function. effects: those of the estimated models; true_effects: those simulated, where they
    differ.
    """

    model: str
    tests: object
    options: dict = field(default_factory=dict)
    alternative: dict = field(default_factory=dict)
    effects: tuple = FIXED
    true_effects: str | None = None


TOWARDS_SDM = {"model": "sdm", "rho": 0.15, "theta": (0.15, 0.15)}
NULLS = {
    "ols": Study("ols", regression, alternative=TOWARDS_SDM),
    "sar": Study(
        "sar",
        lag,
        {"rho": RHO},
        {"model": "gns", "theta": (0.15, 0.15), "lam": 0.3},
    ),
    "sem": Study("sem", error, {"lam": LAM}, {"model": "gns", "rho": 0.3, "theta": (0.15, 0.15)}),
    "slx": Study("slx", lagged_x, {"theta": THETA}, {"model": "sdm", "rho": 0.15}),
    "sdm": Study("sdm", durbin, {"theta": THETA, "rho": RHO}, {"model": "gns", "lam": 0.4}),
    "sdem": Study("sdem", durbin_error, {"theta": THETA, "lam": LAM}, {"model": "gns", "rho": 0.4}),
    "sac": Study(
        "sac", lag_and_error, {"rho": RHO, "lam": 0.3}, {"model": "gns", "theta": (0.15, 0.15)}
    ),
    "random effects in ols": Study("ols", unit_effects("ols"), {}, {"correlated": 0.4}),
    "random effects in sar": Study("sar", unit_effects("sar"), {"rho": RHO}, {"correlated": 0.4}),
    "random effects in sem": Study("sem", unit_effects("sem"), {"lam": LAM}, {"correlated": 0.4}),
    "random effects in sdm": Study(
        "sdm", unit_effects("sdm"), {"theta": THETA, "rho": RHO}, {"correlated": 0.4}
    ),
    "no period effects, ols": Study(
        "ols",
        fixed_effects("entity", "ols"),
        {},
        {"effects": "two-way", "effects_scale": 0.1},
        effects=("two-way",),
        true_effects="entity",
    ),
    "no period effects, sdm": Study(
        "sdm",
        fixed_effects("entity", "sdm"),
        {"theta": THETA, "rho": RHO},
        {"effects": "two-way", "effects_scale": 0.1},
        effects=("two-way",),
        true_effects="entity",
    ),
    "no unit effects, ols": Study(
        "ols",
        fixed_effects("time", "ols"),
        {},
        {"effects": "two-way", "effects_scale": 0.2},
        effects=("two-way",),
        true_effects="time",
    ),
    "no unit effects, sdm": Study(
        "sdm",
        fixed_effects("time", "sdm"),
        {"theta": THETA, "rho": RHO},
        {"effects": "two-way", "effects_scale": 0.2},
        effects=("two-way",),
        true_effects="time",
    ),
    "neither effects nor errors": Study(
        "ols",
        nothing,
        {},
        {"model": "sem", "lam": 0.1, "effects": "random", "effects_scale": 0.2},
        effects=("none",),
    ),
    "unit effects only": Study(
        "ols",
        only_effects,
        {},
        {"model": "sem", "lam": 0.15, "form": "baltagi"},
        effects=("random",),
    ),
    "spatial errors only": Study(
        "sem",
        only_errors,
        {"lam": LAM},
        {"effects": "random", "effects_scale": 0.25, "form": "baltagi"},
        effects=("none",),
    ),
}


def once(null, effects, seed, power=False):
    """P values of one simulated panel; a model without a maximum gives none."""
    study = NULLS[null]
    options = {"effects": study.true_effects or effects, **study.options}
    model = study.model
    if power:
        options |= study.alternative
        model = options.pop("model", model)
    options.pop("model", None)
    W = lattice()
    sim = sa.simulate(model, W, PERIODS, beta=BETA, x_spatial=0.3, seed=seed, **options)
    try:
        return study.tests(sim.panel, W, effects)
    except (BoundaryError, IdentificationError):
        return {}


def p_values(null, effects, replications, *, seed=0, jobs=1, power=False):
    """DataFrame of p values: a row per replication, a column per test."""
    seeds = np.random.SeedSequence(seed).spawn(replications)
    work = (delayed(once)(null, effects, np.random.default_rng(s), power) for s in seeds)
    return pd.DataFrame(Parallel(n_jobs=jobs)(work))


def rates(null, effects, replications, *, level=0.05, **options):
    """Share of rejections, its Monte-Carlo standard error, and how many had no p value."""
    found = p_values(null, effects, replications, **options)
    count = found.notna().sum()
    rate = (found < level).sum() / count
    table = pd.DataFrame(
        {"rate": rate, "se": np.sqrt(rate * (1 - rate) / count), "failed": replications - count}
    )
    table.index.name = "test"
    return table


def markdown(tables, replications, power):
    """The table, one section per null."""
    what = "Power" if power else "Size"
    lines = [
        f"{what} of nominal 5% tests, {replications} replications, N = {SIDE**2}, T = {PERIODS} "
        f"(Monte-Carlo standard error at 5%: {np.sqrt(0.05 * 0.95 / replications):.2%}).",
        "",
        "| simulated | effects | test | rejects | failed |",
        "|---|---|---|---|---|",
    ]
    for (null, effects), table in tables.items():
        for name, row in table.iterrows():
            lines.append(
                f"| {null} | {effects} | {name} | {row['rate']:.3f} | {int(row['failed'])} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(NULLS), choices=list(NULLS))
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tables = {}
    for null in args.only:
        for effects in NULLS[null].effects:
            tables[null, effects] = rates(
                null, effects, args.replications, seed=args.seed, jobs=args.jobs, power=args.power
            )
            print(null, effects, tables[null, effects].round(3), sep="\n", flush=True)
    if args.out is not None:
        args.out.write_text(markdown(tables, args.replications, args.power), encoding="utf-8")


if __name__ == "__main__":
    main()
