"""The study of provinces: mediation, moderation, spatial dependence and spillovers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spatial_agglo.diagnostics import choose_model
from spatial_agglo.esda import moran
from spatial_agglo.mechanisms.conditional import ModeratedMediation
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation
from spatial_agglo.mechanisms.spatial import spatial_mediation
from spatial_agglo.models.estimators import sdm
from spatial_agglo.panel import Panel
from spatial_agglo.report import figures
from spatial_agglo.report.durbin_table import sdm_table
from spatial_agglo.report.simple_slopes import simple_slopes
from spatial_agglo.report.table import Table
from spatial_agglo.report.tables import moran_table, results_table, selection_table
from spatial_agglo.study import layouts
from spatial_agglo.study.paper import Picture
from spatial_agglo.study.provinces_data import FORMULA, MODERATORS, Derived, Part
from spatial_agglo.study.provinces_regressions import table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def mechanisms(found: Derived, draws: int, seed: int) -> Part:
    """Yield mediation, its bootstrap, and moderation of its paths."""
    yield "mediation, bootstrapped"
    options: dict[str, Any] = {"draws": draws, "seed": seed, "progress": False}
    med = mediation(FORMULA, found.panel, treatment="coagglo", mediators="uic", **options)
    keys = ("total", "mediators", "mediator: uic", "direct")
    fits = {f"({k})": med.equations[key] for k, key in enumerate(keys, 1)}
    yield "7", table_of(fits, "Intermediate effect test").led_by(["coagglo", "uic"])
    yield "8", layouts.bootstrap_table(med, "The results of the bootstrap mediation analysis")
    for k, (name, words) in enumerate(MODERATORS.items()):
        yield f"mediation moderated by {words}"
        mod = moderated_mediation(FORMULA, mediator="uic", **_moderation(found, name), **options)
        yield str(9 + k), _moderated_table(mod, words)
        yield f"S{3 + k}", replace(mod.table(), title=f"Direct and indirect effects given {words}")
        yield Picture(
            f"S{2 + k}",
            f"Simple slopes of the first step, coagglo to uic, given {words}.",
            _slopes(mod),
        )


def _moderated_table(found: ModeratedMediation, words: str) -> Table:
    """Lay out equations (5) to (9), the products as the paper writes them."""
    name = found.moderator
    products = {f"{x}:{name}": f"{x}*{name}" for x in ("coagglo", "uic")}
    fits = {f"({k - 4})": found.stepwise[f"({k})"] for k in range(5, 10)}
    table = table_of(fits, f"The regulating effect of {words}", labels=products)
    extra = f"{name} is measured in its standard deviations."
    leading = ["coagglo", "uic", name, *products.values()]
    return replace(table.led_by(leading), notes=(*table.notes, extra))


def spatial(found: Derived, draws: int, seed: int) -> Part:
    """Yield Moran's I, the choice of a model, the SDM and mediation within it."""
    yield "spatial dependence and the choice of a model"
    panel, W = found.panel, found.W
    seen = moran(panel, ["coagglo", "ami"], W).rename_axis(["variable", "year"])
    table = moran_table(seen)
    where = f"W: {W.description}."
    yield "S5", replace(table, title="Global Moran's I", notes=(*table.notes, where))
    choice = choose_model(FORMULA, panel, W, cov="clustered")
    yield "S6", replace(selection_table(choice), title="Tests of the spatial model")
    fit = sdm(FORMULA, panel, W, cov="clustered")
    effects = fit.impacts()
    yield "11", sdm_table(fit, effects, title="Spatial spillover effect test")
    yield "the SDM under other weights and likelihoods"
    others = {
        "Nested": fit,
        "Economic": sdm(FORMULA, panel, found.W_economic, cov="clustered"),
        "Nested, direct": sdm(FORMULA, panel, W, cov="clustered", likelihood="direct"),
    }
    table = results_table(others, decimals=3)
    extra = (
        "Economic: inverse difference in product per head, instead of the nested weights. Direct: "
        "maximum likelihood with the effects as dummies, which is biased towards a smaller rho, "
        "the more so the denser W is; the paper's rho of -0.048 is of this kind."
    )
    title = "The spatial Durbin model under other weights and by the direct likelihood"
    yield "S7", replace(table, title=title, notes=(*table.notes, extra))
    yield "mediation within the SDM"
    options: dict[str, Any] = {"draws": draws, "seed": seed, "progress": False}
    within = spatial_mediation(FORMULA, panel, W, treatment="coagglo", mediators="uic", **options)
    yield "S8", replace(within.table(), title="Own and neighbours' effects by path")
    for k, (name, words) in enumerate(MODERATORS.items()):
        yield f"mediation within the SDM, moderated by {words}"
        given = spatial_mediation(
            FORMULA, W=W, mediators="uic", **_moderation(found, name), **options
        )
        title = f"Own and neighbours' effects by path, given {words}"
        yield f"S{9 + k}", replace(given.table(), title=title)
    for k, variable in enumerate(("coagglo", "ami")):
        for j, year in enumerate((panel.times[0], panel.times[-1])):
            yield Picture(
                f"S{4 + 2 * k + j}",
                f"Moran scatter plot of {variable}, {year}.",
                _scatter(found, variable, year),
                (3.4, 3.0),
            )
    yield Picture(
        "S8",
        "Moran's I by year.",
        lambda ax: figures.moran_over_time(seen, ax=ax),
    )
    yield Picture(
        "S9",
        "Direct, indirect and total effects in the SDM, with 95% intervals.",
        lambda ax: figures.impacts_plot(effects, ax=ax),
        figures.impacts_size(effects),
    )


# --- helpers ------------------------------------------------------------------------------


def _moderation(found: Derived, name: str) -> dict[str, Any]:
    """Return panel and options with a moderator in standard deviations, and where to look.

    Moderators as skewed as these have no values one standard deviation below their mean.
    """
    frame = found.frame.copy()
    z = frame[name] / frame[name].std()
    frame[name] = z
    mean = float(z.mean())
    at = {"lower quartile": float(z.quantile(0.25)), "mean": mean, "mean + s.d.": mean + 1.0}
    panel = Panel(frame, entity="province", time="year")
    return {"panel": panel, "treatment": "coagglo", "moderator": name, "at": at}


def _slopes(found: ModeratedMediation) -> Callable[[Axes], object]:
    return lambda ax: simple_slopes(found, "first", ax=ax)


def _scatter(found: Derived, variable: str, year: Hashable) -> Callable[[Axes], object]:
    return lambda ax: figures.moran_scatter(found.panel, variable, found.W, time=year, ax=ax)
