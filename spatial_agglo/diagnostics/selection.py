"""The rows of the published selection table: which tests, in which order, on which fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from spatial_agglo.core.within import removes_entity
from spatial_agglo.diagnostics.dependence import moran_of
from spatial_agglo.diagnostics.likelihood_ratio import effects_table, lr_tests
from spatial_agglo.diagnostics.lm import lm_table
from spatial_agglo.diagnostics.table import chi2_table, normal_row, stacked
from spatial_agglo.diagnostics.wald import Reference, wald_tests
from spatial_agglo.errors import SpatialAggloError
from spatial_agglo.models.covariances import Observed
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

_ELHORST = "Elhorst (2014), sections 2.3 and 3.4"
#: Rows of the published selection table, in its order: null and source.
ROWS = {
    "Moran's I": ("no spatial dependence of the residuals", "Cliff & Ord (1981)"),
    "LM error": ("lambda = 0", "Anselin (1988); Debarsy & Ertur (2010)"),
    "robust LM error": (
        "lambda = 0 in the local presence of rho",
        "Anselin, Bera, Florax & Yoon (1996)",
    ),
    "LM lag": ("rho = 0", "Anselin (1988); Debarsy & Ertur (2010)"),
    "robust LM lag": (
        "rho = 0 in the local presence of lambda",
        "Anselin, Bera, Florax & Yoon (1996)",
    ),
    "LR SDM/SAR": ("theta = 0", _ELHORST),
    "LR SDM/SEM": ("theta + rho beta = 0", _ELHORST),
    "Wald SDM/SAR": ("theta = 0", _ELHORST),
    "Wald SDM/SEM": ("theta + rho beta = 0", f"{_ELHORST}; Burridge (1981)"),
    "LR two-way/entity": ("no effects of the periods", _ELHORST),
    "LR two-way/time": ("no effects of the units", _ELHORST),
    "LR entity/none": ("no effects of the units", _ELHORST),
    "LR time/none": ("no effects of the periods", _ELHORST),
    "Hausman": ("unit effects independent of the regressors", "Mundlak (1978); Debarsy (2012)"),
}


def tests_of(
    fits: Mapping[str, FitResult], space: Workspace, spec: ModelSpec, needed: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the tests in the published order, and what could not be made with the reason."""
    direct = replace(spec, likelihood="direct", cov=Observed())
    parts: dict[str, tuple[tuple[str, ...], Callable[..., pd.DataFrame]]] = {
        "Moran's I": (("ols",), lambda ols: normal_row("Moran's I", float(moran_of(ols)["z"]))),
        "LM tests": (("ols",), lm_table),
        "LR tests of the SDM": (("sdm",), lr_tests),
        "Wald tests of the SDM": (("sdm",), wald_tests),
        "Tests of the SLX": (("sdm", "slx", "ols"), _of_slx),
    }
    decisive = set(parts) - {"Moran's I"} if needed else set()
    if spec.effects not in ("none", "random"):
        parts["LR tests of the effects"] = (), lambda: effects_table(space, direct)
    if removes_entity(spec.effects) or spec.effects == "random":
        parts["Hausman"] = (), lambda: _hausman(space, spec)
    tables, missing = [], {}
    for what, (models, make) in parts.items():
        absent = [name.upper() for name in models if name not in fits]
        if absent:
            missing[what] = f"the {absent[0]} could not be estimated."
            continue
        try:
            tables.append(make(*(fits[name] for name in models)))
        except SpatialAggloError as error:
            if what in decisive:
                raise
            missing[what] = str(error)
    found = stacked(tables) if tables else chi2_table({})
    order = [*ROWS, *(name for name in found.index if name not in ROWS)]
    return found.loc[[name for name in order if name in found.index]], missing


def _of_slx(sdm: FitResult, slx: FitResult, ols: FitResult) -> pd.DataFrame:
    """Test the SLX against OLS, and the SDM against the SLX."""
    lagged = len(slx.names) - len(ols.names)
    wald = float(sdm.params["rho"] / sdm.std_errors["rho"]) ** 2
    rows = {
        "LR SLX/OLS": (2.0 * (slx.loglik - ols.loglik), lagged),
        "LR SDM/SLX": (2.0 * (sdm.loglik - slx.loglik), 1),
        "Wald SDM/SLX": (wald, 1),
    }
    table = chi2_table(rows)
    for name, (value, df) in rows.items():
        known = Reference.of(slx if name.endswith("OLS") else sdm)
        refer = known.wald if name.startswith("Wald") else known.ratio
        table.loc[name, "p_value"] = refer(value, df)[0]
    return table


def _hausman(space: Workspace, spec: ModelSpec) -> pd.DataFrame:
    from spatial_agglo.diagnostics.hausman import hausman_table

    effects = spec.effects if removes_entity(spec.effects) else "entity"
    random = ModelSpec.of("sdm", effects="random", durbin=spec.durbin)
    table = hausman_table(space, random, effects=effects).set_axis(["Hausman"], axis=0)
    table.attrs["tests"] = {"Hausman": next(iter(table.attrs["tests"].values()))}
    return table


def described_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Put into ``attrs`` what every row tests; what the test itself says of it comes first."""
    said = table.attrs.get("tests", {})
    out = table.rename_axis("test")
    out.attrs["tests"] = {}
    for name, df in table["df"].items():
        null, source = ROWS[str(name)]
        own = {
            "null": null,
            "distribution": "standard normal" if pd.isna(df) else f"chi2({df})",
            "source": source,
        }
        out.attrs["tests"][str(name)] = own | dict(said.get(name, {}))
    return out
