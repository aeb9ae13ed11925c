"""What a reader must know about fits, in words: W, effects, likelihood, covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import DataError, listing
from spatial_agglo.panel import CROSS_SECTION
from spatial_agglo.report.formats import period_text

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult
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
LIKELIHOODS = {
    "transformed": "transformed (Lee & Yu 2010)",
    "corrected": "direct, bias-corrected",
    "direct-demeaned": "direct, data demeaned before they are lagged",
}
COVARIANCES = {
    "observed": "observed information",
    "expected": "expected information",
    "robust": "robust to heteroskedasticity",
}


def model_name(fit: FitResult) -> str:
    """Return the name of a model in full, with its abbreviation."""
    short = fit.model.upper()
    full = MODELS.get(fit.model)
    return f"{full} ({short})" if full else short


def effects_text(fit: FitResult) -> str:
    """Return the effects in words, with the names the panel gives to units and periods."""
    entity, time = key_names(fit.workspace.data.panel)
    words = {
        "two-way": f"two-way ({entity} and {time})",
        "entity": f"fixed, {entity}",
        "time": f"fixed, {time}",
    }
    return words.get(fit.spec.effects, fit.spec.effects)


def covariance_text(fit: FitResult) -> str:
    """Return what the standard errors rest on, in words."""
    if fit.spec.cov.name == "clustered":
        return f"clustered by {key_names(fit.workspace.data.panel)[0]}"
    return COVARIANCES.get(fit.spec.cov.name, fit.spec.cov.name)


def likelihood_text(fit: FitResult) -> str:
    """Return the likelihood in words."""
    return LIKELIHOODS.get(fit.spec.likelihood, fit.spec.likelihood)


def weights_text(fit: FitResult) -> str:
    """Return what W is, or nothing when the model does not use it."""
    W = fit.workspace.W
    if W is None or not (fit.spec.has_lag or fit.spec.has_durbin or fit.spec.has_error):
        return ""
    return f"{W.description} ({W.n} units, {W.n_links} links)"


def key_names(panel: Panel) -> tuple[str, str]:
    """Return the names of the panel's two keys."""
    entity, time = panel.frame.index.names
    return str(entity), str(time)


def periods_text(panel: Panel) -> str:
    """Return the number of periods, with the first and the last."""
    if panel.T == 1:
        return "1" if panel.times[0] == CROSS_SECTION else f"1 ({period_text(panel.times[0])})"
    return f"{panel.T} ({period_text(panel.times[0])} to {period_text(panel.times[-1])})"


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
    W = _shared("W", {name: weights_text(fit) for name, fit in fits.items()})
    rest = [
        _shared(what, {name: describe(fit) for name, fit in fits.items()})
        for what, describe in (
            ("Effects", effects_text),
            ("Likelihood", likelihood_text),
            ("Standard errors", covariance_text),
        )
    ]
    return [note for note in (W, " ".join(rest)) if note]


def notes_of(fits: Mapping[str, FitResult]) -> list[str]:
    """Return the notes the fits carry, without those that :func:`settings` has said."""
    said = ("W: ", "log-determinant: ")
    found: dict[str, list[str]] = {}
    for name, fit in fits.items():
        for note in fit.notes:
            if not note.startswith(said):
                found.setdefault(note, []).append(name)
    return [
        f"{_sentence(note)}." if len(names) == len(fits) else f"{listed(names)}: {note}."
        for note, names in found.items()
    ]


def _shared(what: str, values: Mapping[str, str]) -> str:
    """Say a property of several fits: once if they share it."""
    columns: dict[str, list[str]] = {}
    for name, value in values.items():
        if value:
            columns.setdefault(value, []).append(name)
    if len(columns) < 2:
        return "".join(f"{what}: {value}." for value in columns)
    parts = "; ".join(f"{value} in {listed(names)}" for value, names in columns.items())
    return f"{what}: {parts}."


def require_moran(frame: pd.DataFrame) -> None:
    """Raise unless a frame is one that ``esda.moran`` returns."""
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


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
