"""F tests of the fixed effects of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from scipy.special import fdtrc

from spatial_agglo.diagnostics.table import About, described
from spatial_agglo.errors import check_option
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec, free_cells
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel


def effects_f_tests(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "ols",
    effects: str = "two-way",
    durbin: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test the fixed effects of a regression by F, exact under normal errors.

    ``F = [(SSR_0 - SSR)/df] / [SSR/(n - d - k)]`` with d independent dummies in the larger model.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : weights, optional
        For ``model="slx"``.
    model : {"ols", "slx"}
        Spatial models have no exact F; see :func:`spatial_agglo.effects_tests` for them.
    effects : {"two-way", "entity", "time"}
        The effects of the larger model.
    durbin : list of str, optional

    Returns
    -------
    DataFrame
        Rows "F two-way/entity" (df T - 1), "F two-way/time" (N - 1) and "F two-way/none", or
        one kind of effects against none; columns ``statistic``, ``df`` (of the numerator),
        ``p_value``. Both degrees of freedom are in ``.attrs["tests"]``.

    Raises
    ------
    OptionError
        Another model, or effects="none".

    References
    ----------
    Baltagi (2021), section 2.1.3 and chapter 3.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> effects_f_tests("logc ~ logp + logy", panel)["df"].tolist()
    [29, 45, 74]
    """
    check_option("model", model, ("ols", "slx"))
    check_option("effects", effects, ("two-way", "entity", "time"))
    options: dict[str, Any] = {"durbin": durbin} if durbin is not None else {}
    spec = ModelSpec.of(model, effects=effects, likelihood="direct", **options)
    space = Workspace.of(formula, panel, W)
    smaller = ["entity", "time", "none"] if effects == "two-way" else ["none"]
    fits = {name: fit_model(replace(spec, effects=name), space) for name in (effects, *smaller)}
    ssr = {name: float((found.resid**2).sum()) for name, found in fits.items()}
    left = {name: _residual_df(found) for name, found in fits.items()}
    rows, about = {}, {}
    for name in smaller:
        df = left[name] - left[effects]
        F = ((ssr[name] - ssr[effects]) / df) / (ssr[effects] / left[effects])
        row = f"F {effects}/{name}"
        rows[row] = (F, df, float(fdtrc(df, left[effects], F)))
        what = {"entity": "period effects", "time": "unit effects", "none": "effects"}[name]
        about[row] = About(f"no {what}", f"F({df}, {left[effects]})", "Baltagi (2021)")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p_value"])
    table.index.name = "test"
    return described(table.astype({"df": "Int64"}), about)


def _residual_df(found: FitResult) -> int:
    """Return the observations less dummies and coefficients."""
    space, spec = found.workspace, found.spec
    T, N = space.data.panel.shape
    projector = space.projector(spec)
    free = free_cells(N, T, spec.fixed) if projector is None else projector.rank
    return int(free) - (len(found.names) - 1)  # without sigma2
