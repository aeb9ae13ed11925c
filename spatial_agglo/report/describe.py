"""What a reader must know about fits, in words: W, effects, likelihood, covariance, cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from spatial_agglo.core.kernels import default_lags
from spatial_agglo.errors import DataError, check_made, listing
from spatial_agglo.models import covariances
from spatial_agglo.models.kernels import cluster_labels
from spatial_agglo.panel import CROSS_SECTION
from spatial_agglo.report.formats import in_words, period_text
from spatial_agglo.weights.matrix import SpatialWeights

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult
    from spatial_agglo.models.weighting import Weighting
    from spatial_agglo.panel import Panel

MODELS = {
    "ols": "Regression without spatial terms",
    "slx": "Spatial lag of X model",
    "sar": "Spatial autoregressive model",
    "sem": "Spatial error model",
    "sdm": "Spatial Durbin model",
    "sdem": "Spatial Durbin error model",
    "sac": "Spatial autoregressive model with spatial errors",
    "gns": "General nesting spatial model",
}
TWO_STAGE = "two-stage least squares"
LIKELIHOODS = {
    "transformed": "transformed (Lee & Yu 2010)",
    "direct": "direct, effects as dummies",
    "corrected": "direct, bias-corrected",
    "direct-demeaned": "direct, data demeaned before they are lagged",
    "2sls": TWO_STAGE,
}
FORMS = {"kkp": "Kapoor-Kelejian-Prucha", "baltagi": "Baltagi-Song-Koh"}
COVARIANCES = {
    "observed": "observed information",
    "expected": "expected information",
    "opg": "outer product of the scores",
    "robust": "robust to heteroskedasticity",
    "unadjusted": "independent errors of one variance",
}
#: Standard errors clustered by fewer than this are too small, and stars too many.
FEW_CLUSTERS = 10
KERNELS = {"bartlett": "Bartlett"}
#: Matrices by the part they have in a model.
W, W_DURBIN, W_ERROR = "W", "W of the regressors", "W of the error process"
#: How the notes of a fit begin that the tables say in their own words.
_SAID = (
    *(f"{name}: " for name in (W, W_DURBIN, W_ERROR)),
    f"{TWO_STAGE}: there is no likelihood",
    "Driscoll-Kraay with ",
    "bootstrap by entity: ",
    "the score of the likelihood is adjusted",
    "bias-corrected",
)


def model_name(fit: FitResult) -> str:
    """Return the name of a model in full, with its abbreviation."""
    short = fit.model.upper()
    full = MODELS.get(fit.model)
    if not has_likelihood(fit):
        if fit.model == "ols":
            short = "2SLS" if fit.spec.fixed == "none" else "FE-2SLS"
        else:
            short += f", {TWO_STAGE}"
    if full and fit.spec.dynamic is not None:
        full = f"Dynamic {full[:1].lower()}{full[1:]}"
    return f"{full} ({short})" if full else short


def effects_text(fit: FitResult) -> str:
    """Return the effects in words, with the names the panel gives to units and periods."""
    entity, time = key_names(fit.workspace.data.panel)
    spec = fit.spec
    if spec.effects == "random":
        kind = "correlated random" if spec.correlated else "random"
        form = f", {FORMS[spec.form]}" if spec.has_error else ""
        return f"{kind} ({entity}){form}"
    words = {
        "two-way": f"two-way ({entity} and {time})",
        "entity": f"fixed, {entity}",
        "time": f"fixed, {time}",
    }
    return words.get(spec.effects, spec.effects)


def likelihood_text(fit: FitResult) -> str:
    """Return the likelihood in words, or the estimator that has none."""
    spec, space = fit.spec, fit.workspace
    if spec.effects == "random":
        return "maximum likelihood, random effects"
    if spec.dynamic is not None:
        return _dynamic_likelihood(fit)
    if spec.fixed == "none" and spec.likelihood in ("transformed", "direct"):
        return "maximum likelihood"
    if spec.likelihood == "transformed" and space.irregular and spec.spatial:
        return "transformed, score adjusted for the fixed effects"
    return LIKELIHOODS.get(spec.likelihood, spec.likelihood)


def likelihood_row(fit: FitResult) -> tuple[str, str]:
    """Return what the likelihood, or the estimator that has none, is called, and what it is."""
    return ("Likelihood" if has_likelihood(fit) else "Estimator"), likelihood_text(fit)


def has_likelihood(fit: FitResult) -> bool:
    """Tell whether a fit is by maximum likelihood."""
    return fit.spec.likelihood != "2sls"


def _dynamic_likelihood(fit: FitResult) -> str:
    spec = fit.spec
    if not spec.bias_correction:
        return f"{LIKELIHOODS[spec.likelihood]}, not bias-corrected"
    if spec.effects == "entity":
        return "direct, bias-corrected (Yu, de Jong & Lee 2008)"
    kind = "period effects transformed away" if spec.likelihood == "transformed" else "direct"
    return f"{kind}, bias-corrected (Lee & Yu 2010)"


def covariance_text(fit: FitResult) -> str:
    """Return what the standard errors rest on, in words."""
    cov, panel = fit.spec.cov, fit.workspace.data.panel
    entity, _ = key_names(panel)
    match cov:
        case covariances.Clustered():
            return f"clustered by {_clusters(fit, cov)}"
        case covariances.DriscollKraay():
            lags = default_lags(panel.T) if cov.lags is None else cov.lags
            return f"Driscoll-Kraay, {_count(lags, 'lag')}"
        case covariances.Conley():
            unit = "km" if cov.coordinates is not None else getattr(cov.distances, "unit", "")
            over = f", {_count(cov.lags, 'lag')}" if cov.lags else ""
            kernel = KERNELS.get(cov.kernel, cov.kernel)
            return f"Conley, {kernel} kernel, cutoff {f'{cov.cutoff:g} {unit}'.strip()}{over}"
        case covariances.Bootstrap():
            draws = int(np.shape(fit.details["draws"])[0])
            return f"wild bootstrap by {entity}, {draws:,} draws"
    return COVARIANCES.get(cov.name, cov.name)


def _clusters(fit: FitResult, cov: covariances.Clustered) -> str:
    """Name what is clustered by, with the number of clusters among the cells that are used."""
    data = fit.workspace.data
    names = dict(zip(("entity", "time"), key_names(data.panel), strict=True))
    parts = []
    for by in cov.by:
        count = np.unique(cluster_labels(data.panel, by)[data.cells]).size
        own = by not in data.panel.dtypes
        parts.append(f"{names.get(by, by) if own else by} ({_count(count, 'cluster')})")
    return " and ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


# --- weights --------------------------------------------------------------------------------


def weights_texts(fit: FitResult) -> dict[str, str]:
    """Return what the matrices are that a model uses, by the part they have in it."""
    spec, space = fit.spec, fit.workspace
    used = {
        W: (space.weights, spec.has_lag),
        W_DURBIN: (space.durbin_weights, spec.has_durbin),
        W_ERROR: (space.error_weights, spec.has_error),
    }
    found: dict[str, str] = {}
    for name, (weights, wanted) in used.items():
        if weights is None or not wanted:
            continue
        found[W if weights is space.weights else name] = _described(weights)
    return found


def _described(weights: Weighting) -> str:
    source = weights.source
    if isinstance(source, SpatialWeights):
        return f"{source.description} ({source.n} units, {source.n_links} links)"
    return f"{source.description} ({source.ids.size} units, {len(source)} periods)"


# --- the panel ------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """How many units, periods and cells a fit uses; periods of a unit where cells are missing."""

    units: int
    periods: int
    cells: int
    possible: int
    per_unit: tuple[int, float, int] | None


def sizes(fit: FitResult) -> Sizes:
    """Count the cells that a fit uses."""
    data = fit.workspace.data
    if data.observed is None:
        return Sizes(data.panel.N, data.panel.T, data.nobs, data.nobs, None)
    of_unit = data.cells.sum(axis=0)
    of_unit = of_unit[of_unit > 0]
    per_unit = int(of_unit.min()), float(of_unit.mean()), int(of_unit.max())
    periods = int(data.cells.any(axis=1).sum())
    return Sizes(of_unit.size, periods, data.nobs, data.cells.size, per_unit)


def key_names(panel: Panel) -> tuple[str, str]:
    """Return the names of the panel's two keys."""
    return str(panel.entities.name), str(panel.times.name)


def periods_text(fit: FitResult) -> str:
    """Return the number of periods that a fit uses, with the first and the last."""
    data = fit.workspace.data
    times = data.panel.times[data.cells.any(axis=1)]
    if len(times) == 1:
        return "1" if times[0] == CROSS_SECTION else f"1 ({period_text(times[0])})"
    return f"{len(times)} ({period_text(times[0])} to {period_text(times[-1])})"


# --- notes ----------------------------------------------------------------------------------


def settings(fits: Mapping[str, FitResult]) -> list[str]:
    """Describe W, effects, likelihood and covariance of one or more fits in a note.

    What the fits share is said once; what differs is said with the names of the columns.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fits = {"one": sa.sar("logc ~ logp", panel, W, effects="time"),
    ...         "two": sa.sar("logc ~ logp", panel, W, effects="entity")}
    >>> settings(fits)[1]
    'Effects: fixed, year in one; fixed, state in two. Likelihood: transformed (Lee & Yu 2010)...'
    """
    rows = {name: weights_texts(fit) | _row_texts(fit) for name, fit in fits.items()}

    def say(*parts: str) -> str:
        found = (
            _shared(part, {name: row.get(part, "") for name, row in rows.items()}) for part in parts
        )
        return " ".join(text for text in found if text)

    notes = (
        say(W, W_DURBIN, W_ERROR),
        say("Effects", "Likelihood", "Estimator", "Standard errors"),
    )
    return [note for note in notes if note]


def _row_texts(fit: FitResult) -> dict[str, str]:
    return {
        "Effects": effects_text(fit),
        **dict([likelihood_row(fit)]),
        "Standard errors": covariance_text(fit),
    }


def notes_of(fits: Mapping[str, FitResult]) -> list[str]:
    """Return as sentences the notes the fits carry, without those that :func:`settings` says."""
    found: dict[str, list[str]] = {}
    for name, fit in fits.items():
        for note in remarks(fit):
            found.setdefault(note, []).append(name)
    return [
        sentence(note) if len(names) == len(fits) else f"{listed(names)}: {note}."
        for note, names in found.items()
    ]


def remarks(fit: FitResult, *, technical: bool = False) -> list[str]:
    """Return what a reader must know besides the settings; ``technical``: back ends as well."""
    said = _SAID if technical else (*_SAID, "log-determinant: ")
    out = [note for note in fit.notes if not note.startswith(said)]
    if "phi" in _variances(fit):
        out.append("phi: variance of the unit effects over sigma2")
    stability = fit.details.get("stability")
    if stability is not None and not any(note.startswith("NOT STABLE") for note in out):
        out.append(_stability(fit))
    return [*out, *_few_clusters(fit), *_without_error(fit)]


def _few_clusters(fit: FitResult) -> list[str]:
    """Say that there are too few clusters for what rests on many of them."""
    cov, data = fit.spec.cov, fit.workspace.data
    if not isinstance(cov, covariances.Clustered):
        return []
    counts = [np.unique(cluster_labels(data.panel, by)[data.cells]).size for by in cov.by]
    if min(counts) >= FEW_CLUSTERS:
        return []
    return [
        f"with {_count(min(counts), 'cluster')} standard errors are not reliable, most often too "
        "small, and stars with them"
    ]


def _stability(fit: FitResult) -> str:
    found = fit.details["stability"]
    terms = " + ".join(name for name in (*fit.details.get("auxiliary", ()), "rho"))
    return (
        f"stable: {terms} = {found.total:.4f} (standard error {found.std_error:.4f}, "
        f"Wald test of 1: {in_words(found.p_value)}), largest root {found.radius:.4f}"
    )


def _without_error(fit: FitResult) -> list[str]:
    """Say why standard errors are not there, where the fit does not say it itself."""
    lost = [name for name, error in fit.std_errors.items() if np.isnan(error)]
    if any(note.startswith("phi is at its lower end") for note in fit.notes):
        lost = [name for name in lost if name != "phi"]
    if any(note.endswith("no standard error of sigma2") for note in fit.notes):
        lost = [name for name in lost if name != "sigma2"]
    if not lost:
        return []
    which = ", ".join(map(str, lost))
    return [f"n/a: no standard error of {which}, whose estimated variance is not positive"]


def _variances(fit: FitResult) -> tuple[str, ...]:
    """Names of the parameters whose zero is the edge of their range."""
    names = ("phi", "sigma2") if fit.spec.effects == "random" else ("sigma2",)
    return tuple(name for name in names if name in fit.names)


def variances(fits: Mapping[str, FitResult]) -> list[str]:
    """Return the variance parameters of some fits: they are not tested against zero."""
    return sorted({name for fit in fits.values() for name in _variances(fit)})


def _shared(what: str, values: Mapping[str, str]) -> str:
    """Say a property of several fits: once if they share it.

    Fits that do not have it (an empty text) are left out, and the others named; but that a model
    without spatial terms has no W goes without saying.
    """
    columns: dict[str, list[str]] = {}
    for name, value in values.items():
        if value:
            columns.setdefault(value, []).append(name)
    if len(columns) < 2 and (what == W or all(values.values())):
        return "".join(f"{what}: {value}." for value in columns)
    parts = "; ".join(f"{value} in {listed(names)}" for value, names in columns.items())
    return f"{what}: {parts}." if parts else ""


def require_moran(frame: pd.DataFrame) -> None:
    """Raise unless a frame is one that ``esda.moran`` returns."""
    check_made(frame, "assign", "sa.esda.moran")
    missing = {"I", "expected", "variance", "z", "p_value"}.difference(frame.columns)
    if missing or frame.index.nlevels != 2:
        raise DataError(
            "The DataFrame of esda.moran is needed, indexed by variable and time; got the columns "
            f"{listing(frame.columns)} and {frame.index.nlevels} level(s) of rows."
        )


def listed(names: Sequence[str]) -> str:
    """List names of columns, in quotes where a name has a comma of its own.

    Examples
    --------
    >>> listed(["SAR", "SDM"]), listed(["queen, row", "SDM"])
    ('SAR, SDM', "'queen, row', 'SDM'")
    """
    quote = "'" if any("," in name for name in names) else ""
    return ", ".join(f"{quote}{name}{quote}" for name in names)


def sentence(text: str) -> str:
    """Write a note as a sentence; a parameter's name at its beginning keeps its letters.

    Examples
    --------
    >>> sentence("unit means are included"), sentence("phi: a ratio")
    ('Unit means are included.', 'phi: a ratio.')
    """
    named = re.match(r"(rho|lambda|phi|sigma2|n/a)\b", text)
    return f"{text if named else text[:1].upper() + text[1:]}."
