"""The summary of one fit, as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import check_made
from spatial_agglo.report import describe, html, rows, text
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
    how, size, well = _facts(fit)
    height = max(len(size), len(well))
    left, right = (facts + [("", "")] * (height - len(facts)) for facts in (size, well))
    a, b = max(len(name) for name, _ in [*how, *size]), max(len(value) for _, value in size)
    c, d = max(len(name) for name, _ in well), max(len(value) for _, value in well)
    head = [f"{name:<{a}}  {value}" for name, value in how]
    head += [
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
    facts = (" ".join(f"{name}: {value}." for name, value in part) for part in _facts(fit))
    notes = (*facts, *_notes(fit))
    return html.styled(html.render(Layout(**{**table.__dict__, "notes": notes})))


def _title(fit: FitResult) -> str:
    return f"{describe.model_name(fit)}: {fit.formula}"


_Facts = list[tuple[str, str]]


def _facts(fit: FitResult) -> tuple[_Facts, _Facts, _Facts]:
    """Return what stands above the coefficients: how and from what it was estimated, how well."""
    entity, time = describe.key_names(fit.workspace.data.panel)
    sizes = describe.sizes(fit)
    how = [
        ("Effects", describe.effects_text(fit)),
        describe.likelihood_row(fit),
        ("Standard errors", describe.covariance_text(fit)),
    ]
    size = [
        (f"Entities ({entity})", f"{sizes.units:,}"),
        (f"Periods ({time})", describe.periods_text(fit)),
    ]
    if sizes.per_unit is None:
        size.append(("Observations (N x T)", f"{sizes.cells:,}"))
    else:
        least, mean, most = sizes.per_unit
        size.append(("Observations", f"{sizes.cells:,} of {sizes.possible:,} cells"))
        size.append((f"Periods per {entity}", f"{least:,} to {most:,}, mean {mean:.1f}"))
    well = [
        ("R2", number(fit.rsquared, 4, scientific=False)),
        ("sigma2", number(fit.sigma2, 5)),
    ]
    if not describe.has_likelihood(fit):
        return how, size, [*well, *_instruments(fit)]
    criteria = [
        ("Log-likelihood", f"{fit.loglik:,.3f}"),
        ("AIC", f"{fit.aic:,.3f}"),
        ("BIC", f"{fit.bic:,.3f}"),
    ]
    return how, size, [*criteria, *well]


def _instruments(fit: FitResult) -> _Facts:
    """Return the tests of the instruments, the p value of a test beside its statistic."""
    out: _Facts = []
    for (_, name, statistic), value in rows.instruments(fit):
        if statistic == "p":
            test, shown = out.pop()
            out.append((test, f"{shown} {value}"))
        else:
            out.append((name, value))
    return out


def _coefficients(fit: FitResult, title: str = "") -> Layout:
    """Lay out the estimates; variances are not tested, for zero is the edge of their range."""
    check_made(fit, "conf_int", "sa.sdm")
    interval = fit.conf_int(LEVEL)
    tested = [rows.block_of(fit, name) != "Variance" for name in fit.names]
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
    weights = describe.weights_texts(fit).items()
    notes = [f"{name}: {text}" for name, text in weights]
    if not describe.has_likelihood(fit):
        notes.append("in brackets: p values of the tests")
    return [describe.sentence(note) for note in (*notes, *describe.remarks(fit, technical=True))]
