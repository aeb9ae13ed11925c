"""The summary of one fit, as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.report import describe, html, text
from spatial_agglo.report.formats import number, p_text
from spatial_agglo.report.layout import Layout

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

LEVEL = 0.95


def summary(fit: FitResult) -> str:
    """Return the estimates of a fit as a table of text.

    Parameters
    ----------
    fit : FitResult

    Returns
    -------
    str

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> print(summary(sa.sdm("logc ~ logp + logy", panel, W)))
    Spatial Durbin model (SDM): logc ~ logp + logy
    ...
    rho      0.2712   0.0340    7.98  <0.001   0.2046   0.3378
    ...
    """
    table = _coefficients(fit)
    facts = _facts(fit)
    half = (len(facts) + 1) // 2
    left, right = facts[:half], facts[half:] + [("", "")] * (len(facts) % 2)
    a, b = max(len(name) for name, _ in left), max(len(value) for _, value in left)
    c, d = max(len(name) for name, _ in right), max(len(value) for _, value in right)
    head = [
        f"{name:<{a}}  {value:<{b}}    {other:<{c}}  {there:>{d}}".rstrip()
        for (name, value), (other, there) in zip(left, right, strict=True)
    ]
    body = text.render(table).splitlines()
    width = max(len(line) for line in [*head, *body])
    rule, thin = "=" * width, "-" * width
    body = [thin if set(line) == {"-"} else line for line in body]
    body[-1] = rule
    notes = [line for note in _notes(fit) for line in text.wrap(note, width)]
    return "\n".join([_title(fit), rule, *head, *body, *notes])


def summary_html(fit: FitResult) -> str:
    """Return the estimates of a fit as HTML.

    Parameters
    ----------
    fit : FitResult

    Returns
    -------
    str

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> "Spatial Durbin model" in summary_html(sa.sdm("logc ~ logp + logy", panel, W))
    True
    """
    table = _coefficients(fit, title=_title(fit))
    facts = " ".join(f"{name}: {value}." for name, value in _facts(fit))
    notes = (facts, *_notes(fit))
    return html.styled(html.render(Layout(**{**table.__dict__, "notes": notes})))


def _title(fit: FitResult) -> str:
    return f"{describe.model_name(fit)}: {fit.formula}"


def _facts(fit: FitResult) -> list[tuple[str, str]]:
    """Return what stands above the coefficients: how it was estimated, then how well it fits."""
    panel = fit.workspace.data.panel
    entity, time = describe.key_names(panel)
    return [
        ("Effects", describe.effects_text(fit)),
        ("Likelihood", describe.likelihood_text(fit)),
        ("Standard errors", describe.covariance_text(fit)),
        (f"Entities ({entity})", f"{panel.N:,}"),
        (f"Periods ({time})", describe.periods_text(panel)),
        ("Observations (N x T)", f"{fit.nobs:,}"),
        ("Log-likelihood", f"{fit.loglik:,.3f}"),
        ("AIC", f"{fit.aic:,.3f}"),
        ("BIC", f"{fit.bic:,.3f}"),
        ("R2", number(fit.rsquared, 4, scientific=False)),
        ("sigma2", number(fit.sigma2, 5)),
    ]


def _coefficients(fit: FitResult, title: str = "") -> Layout:
    """Lay out the estimates; the variance is not tested, for zero is the edge of its range."""
    interval = fit.conf_int(LEVEL)
    tested = [name != "sigma2" for name in fit.names]
    low, high = 0.5 - LEVEL / 2, 0.5 + LEVEL / 2
    body = pd.DataFrame(
        {
            "coef": [number(value) for value in fit.params],
            "std err": [number(value) for value in fit.std_errors],
            "z": [
                number(value, 2, scientific=False) if shown else ""
                for value, shown in zip(fit.tstats, tested, strict=True)
            ],
            "P>|z|": [
                p_text(value) if shown else ""
                for value, shown in zip(fit.pvalues, tested, strict=True)
            ],
            f"[{low:.3f}": [number(value) for value in interval["lower"]],
            f"{high:.3f}]": [number(value) for value in interval["upper"]],
        },
        index=list(fit.names),
        dtype=object,
    )
    return Layout.of(title, body, (), "")


def _notes(fit: FitResult) -> list[str]:
    notes = list(fit.notes)
    weights = describe.weights_text(fit)
    if weights and not any(note.startswith("W: ") for note in notes):
        notes.insert(0, f"W: {weights}")
    return notes
