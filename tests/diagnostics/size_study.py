"""Size and power of every test of the package, by simulation.

``python tests/diagnostics/size_study.py --replications 2000 --folder sizes`` draws panels of 49
units (rook contiguity of a 7 x 7 grid, row-standardised) and 10 periods under the null hypothesis
of each test, and keeps the p values of every null in a file of that folder: what is there is not
made again, so a study can be stopped, continued and made longer. ``--power`` draws under one
alternative instead, ``--only ols sar`` runs some nulls, and ``--table FILE`` writes what the
folder holds at the end of a document. One process; tests of one null share a panel and the models
fitted to it.

A study is a null: what is simulated, and a function from the panel to p values. Slow tests use
``rates`` with their own number of replications.
"""

import argparse
import contextlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

import spatial_agglo as sa
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.directed import directed_tests
from spatial_agglo.diagnostics.fixed_effects import effects_f_tests
from spatial_agglo.diagnostics.hausman import hausman
from spatial_agglo.diagnostics.lattice import _tried, wald_test
from spatial_agglo.diagnostics.lm import lm_table
from spatial_agglo.diagnostics.nesting import Step
from spatial_agglo.diagnostics.random_effects import bsk_tests
from spatial_agglo.diagnostics.wald import Reference
from spatial_agglo.errors import BoundaryError, IdentificationError
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

SIDE, PERIODS, PERMUTATIONS = 7, 10, 99
BETA, THETA, RHO, LAM = (1.0, -0.5), (0.5, 0.3), 0.4, 0.4
FORMULA = "y ~ x1 + x2"
FIXED = ("entity", "two-way")
#: What slow tests run again, and their limits: three and a half standard errors.
FEW, WIDE = 400, (0.015, 0.09)
#: What follows in a document is the table.
MARK = "## The table"


@cache
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


class Fits(dict):
    """Models of one panel, estimated when they are asked for."""

    def __init__(self, panel, W, effects):
        super().__init__()
        self.space, self.effects = Workspace.of(FORMULA, panel, W), effects

    def __missing__(self, model):
        try:
            self[model] = fit(ModelSpec.of(model, effects=self.effects), self.space)
        except (BoundaryError, IdentificationError) as error:
            self[model] = error
        return self[model]


def steps(fits, *pairs):
    """Score, likelihood-ratio and Wald tests of some pairs (larger, smaller)."""
    found = {}
    for large, small in pairs:
        spec = ModelSpec.of(large, effects=fits.effects)
        step = Step.of(spec, fits.space, small)
        for test in ("LM", "LR", "Wald"):
            name = f"{test} {large.upper()}/{small.upper()}"
            value, _ = _tried(test, fits[large], fits[small], step)
            known = Reference()
            if test != "LM" and not isinstance(fits[large], Exception):
                known = Reference.of(fits[large])
            refer = known.wald if test == "Wald" else known.ratio
            found[name] = refer(value, step.df)[0]
    return found


def after(fitted, label):
    """Dependence that a fitted model leaves."""
    found = {f"Moran's I after {label}": float(sa.residual_moran(fitted)["p_value"])}
    table = cd_test(fitted, permutations=PERMUTATIONS)
    return found | {f"{name} after {label}": float(p) for name, p in table["p_value"].items()}


def regression(panel, W, effects):
    fits = Fits(panel, W, effects)
    found = of_table(lm_table(fits["ols"]))
    found |= of_table(directed_tests(FORMULA, panel, W, effects=effects))
    found["Moran's I of OLS residuals"] = float(sa.residual_moran(fits["ols"])["p_value"])
    found |= of_table(cd_test(fits["ols"], permutations=PERMUTATIONS))
    normal = cd_test(fits["ols"], reference="normal")
    found |= {f"{name}, taken for normal": p for name, p in of_table(normal).items()}
    return found | steps(fits, ("sar", "ols"), ("sem", "ols"), ("slx", "ols"))


def lag(panel, W, effects):
    fits = Fits(panel, W, effects)
    found = steps(fits, ("sdm", "sar"), ("sac", "sar"))
    for cov in ("robust", "clustered"):
        large = fit(ModelSpec.of("sdm", effects=effects, cov=cov), fits.space)
        found[f"Wald SDM/SAR, {cov}"] = float(wald_test(large, "sar")["p_value"].iloc[0])
    found |= after(fits["sar"], "sar")
    two_stage = sa.stsls(FORMULA, panel, W, model="sar", effects=effects, cov="unadjusted")
    found["Moran's I after stsls"] = float(sa.residual_moran(two_stage)["p_value"])
    return found


def error(panel, W, effects):
    fits = Fits(panel, W, effects)
    found = steps(fits, ("sdm", "sem"), ("sdem", "sem"), ("sac", "sem"))
    return found | after(fits["sem"], "sem")


def lagged_x(panel, W, effects):
    return steps(Fits(panel, W, effects), ("sdm", "slx"), ("sdem", "slx"))


def durbin(panel, W, effects):
    fits = Fits(panel, W, effects)
    return steps(fits, ("gns", "sdm")) | after(fits["sdm"], "sdm")


def durbin_error(panel, W, effects):
    return steps(Fits(panel, W, effects), ("gns", "sdem"))


def lag_and_error(panel, W, effects):
    return steps(Fits(panel, W, effects), ("gns", "sac"))


def dynamic(panel, W, effects):
    fitted = sa.sar(FORMULA, panel, W, effects=effects, dynamic="both")
    return {"Moran's I after dynamic sar": float(sa.residual_moran(fitted)["p_value"])}


def gaps(*tests):
    """The same tests on a panel without one cell in six."""

    def of(panel, W, effects):
        fits = Fits(panel, W, effects)
        found = of_table(lm_table(fits["ols"])) if "ols" in tests else {}
        if "ols" in tests:
            found["Moran's I of OLS residuals"] = float(sa.residual_moran(fits["ols"])["p_value"])
            found |= of_table(cd_test(fits["ols"], permutations=PERMUTATIONS))
            found |= steps(fits, ("sar", "ols"), ("sem", "ols"))
        if "sar" in tests:
            found |= steps(fits, ("sdm", "sar"))
            found["Moran's I after sar"] = float(sa.residual_moran(fits["sar"])["p_value"])
        return found

    return of


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
    "classical": {"method": "classical"},
}


def fixed_effects(smaller, *models):
    """Two-way effects against fewer."""

    def tests(panel, W, effects):
        found = of_table(effects_f_tests(FORMULA, panel)) if "ols" in models else {}
        for model in models:
            for scaling, label in (("small-sample", ""), ("none", ", not scaled")):
                table = sa.effects_tests(FORMULA, panel, W, model=model, scaling=scaling)
                found |= {f"{model}: {name}{label}": p for name, p in of_table(table).items()}
        return {name: p for name, p in found.items() if f"/{smaller}" in name}

    return tests


def nothing(panel, W, effects):
    found = of_table(bsk_tests(FORMULA, panel, W))
    either = of_table(bsk_tests(FORMULA, panel, W, alternative="either"))
    found |= {
        f"{name}, either sign": p
        for name, p in either.items()
        if name.endswith(("LM-H", "LM2", "lambda"))
    }
    found["F entity/none"] = float(
        effects_f_tests(FORMULA, panel, effects="entity").loc["F entity/none", "p_value"]
    )
    return found


def only_effects(panel, W, effects):
    names = {"CLM lambda": {}, "CLM lambda, kkp": {"form": "kkp"}}
    found = {
        name: float(bsk_tests(FORMULA, panel, W, **options).loc["CLM lambda", "p_value"])
        for name, options in names.items()
    }
    random = sa.ols(FORMULA, panel, W, effects="random")
    return found | {"Moran's I after ols": float(sa.residual_moran(random)["p_value"])}


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
    periods: int = PERIODS


TOWARDS_SDM = {"model": "sdm", "rho": 0.15, "theta": (0.15, 0.15)}
TOWARDS_GNS = {"model": "gns", "theta": (0.15, 0.15), "lam": 0.3}
NULLS = {
    "ols": Study("ols", regression, alternative=TOWARDS_SDM),
    "sar": Study("sar", lag, {"rho": RHO}, TOWARDS_GNS),
    "sem": Study("sem", error, {"lam": LAM}, {"model": "gns", "rho": 0.3, "theta": (0.15, 0.15)}),
    "slx": Study("slx", lagged_x, {"theta": THETA}, {"model": "sdm", "rho": 0.15}),
    "sdm": Study("sdm", durbin, {"theta": THETA, "rho": RHO}, {"model": "gns", "lam": 0.4}),
    "sdem": Study("sdem", durbin_error, {"theta": THETA, "lam": LAM}, {"model": "gns", "rho": 0.4}),
    "sac": Study(
        "sac", lag_and_error, {"rho": RHO, "lam": 0.3}, {"model": "gns", "theta": (0.15, 0.15)}
    ),
    "dynamic sar": Study("sar", dynamic, {"rho": RHO, "tau": 0.3}, {"model": "sac", "lam": 0.3}),
    "ols with gaps": Study("ols", gaps("ols"), {"missing": 1 / 6}, TOWARDS_SDM),
    "sar with gaps": Study("sar", gaps("sar"), {"rho": RHO, "missing": 1 / 6}, TOWARDS_GNS),
    "sar, 4 periods": Study("sar", gaps("sar"), {"rho": RHO}, TOWARDS_GNS, periods=4),
    "sar, 4 periods with gaps": Study(
        "sar", gaps("sar"), {"rho": RHO, "missing": 0.15}, TOWARDS_GNS, periods=4
    ),
    "random effects in ols": Study("ols", unit_effects("ols"), {}, {"correlated": 0.4}),
    "random effects in sdm": Study(
        "sdm", unit_effects("sdm"), {"theta": THETA, "rho": RHO}, {"correlated": 0.4}
    ),
    "no period effects": Study(
        "ols",
        fixed_effects("entity", "ols", "sdm", "sem"),
        {},
        {"effects": "two-way", "effects_scale": 0.1},
        effects=("two-way",),
        true_effects="entity",
    ),
    "no period effects in sdm": Study(
        "sdm",
        fixed_effects("entity", "sdm"),
        {"theta": THETA, "rho": RHO},
        {"effects": "two-way", "effects_scale": 0.1},
        effects=("two-way",),
        true_effects="entity",
    ),
    "no unit effects": Study(
        "ols",
        fixed_effects("time", "ols", "sdm", "sem"),
        {},
        {"effects": "two-way", "effects_scale": 0.2},
        effects=("two-way",),
        true_effects="time",
    ),
    "no unit effects in sdm": Study(
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
    sim = sa.simulate(model, W, study.periods, beta=BETA, x_spatial=0.3, seed=seed, **options)
    try:
        return study.tests(sim.panel, W, effects)
    except (BoundaryError, IdentificationError):
        return {}


def p_values(null, effects, replications, *, seed=0, first=0, power=False):
    """DataFrame of p values: a row per replication, a column per test."""
    seeds = np.random.SeedSequence(seed).spawn(replications)[first:]
    made = [once(null, effects, np.random.default_rng(s), power) for s in seeds]
    return pd.DataFrame(made, index=range(first, replications))


def summary(found, *, level=0.05):
    """Share of rejections, its Monte-Carlo standard error, and how many had no p value."""
    count = found.notna().sum()
    rate = (found <= level).sum() / count
    table = pd.DataFrame(
        {"rate": rate, "se": np.sqrt(rate * (1 - rate) / count), "failed": len(found) - count}
    )
    table.index.name = "test"
    return table


def rates(null, effects, replications, *, level=0.05, **options):
    """Simulate, and summarise."""
    return summary(p_values(null, effects, replications, **options), level=level)


def markdown(tables):
    """One table of sizes and powers: ``{(null, effects): (sizes, powers, replications)}``."""
    lines = [
        "| simulated | effects | test | size | power | without a p value | replications |",
        "|---|---|---|---|---|---|---|",
    ]
    for (null, effects), (sizes, powers, replications) in tables.items():
        for name, row in sizes.iterrows():
            known = powers is not None and name in powers.index
            power = f"{powers.loc[name, 'rate']:.2f}" if known else ""
            beyond = max(0.015, 3.0 * np.sqrt(0.05 * 0.95 / replications))
            mark = "" if abs(row["rate"] - 0.05) < beyond + 1e-9 else " *"
            failed = int(row["failed"]) or ""
            size = f"{row['rate']:.3f}{mark}"
            lines.append(
                f"| {null} | {effects} | {name} | {size} | {power} | {failed} | {replications} |"
            )
    return "\n".join(lines) + "\n"


def kept(folder, null, effects, power):
    return folder / f"{'power' if power else 'size'} {null} {effects}.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(NULLS), choices=list(NULLS))
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("sizes"))
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    tables = {}
    for null in args.only:
        for effects in NULLS[null].effects:
            path = kept(args.folder, null, effects, args.power)
            have = pd.read_csv(path, index_col=0) if path.exists() else pd.DataFrame()
            if args.table is None and len(have) < args.replications:
                options = {"seed": args.seed, "first": len(have), "power": args.power}
                more = p_values(null, effects, args.replications, **options)
                have = pd.concat([have, more])
                have.to_csv(path)
                print(null, effects, summary(have).round(3), sep="\n", flush=True)
            if args.table is not None and path.exists():
                other = kept(args.folder, null, effects, True)
                powers = summary(pd.read_csv(other, index_col=0)) if other.exists() else None
                tables[null, effects] = summary(have), powers, len(have)
    if args.table is not None:
        text = args.table.read_text(encoding="utf-8") if args.table.exists() else MARK
        before = text.partition(MARK)[0]
        args.table.write_text(f"{before}{MARK}\n\n{markdown(tables)}", encoding="utf-8")


if __name__ == "__main__":
    main()
