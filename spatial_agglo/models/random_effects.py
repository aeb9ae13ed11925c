"""Random unit effects: from a specification and a workspace to the core, and the result back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spatial_agglo.core import random_effects as core
from spatial_agglo.core.likelihood import Estimate, Filtered
from spatial_agglo.core.moments import accumulate, lag
from spatial_agglo.core.random_likelihood import RandomModel
from spatial_agglo.core.within import within
from spatial_agglo.errors import FormulaError, OptionError
from spatial_agglo.formula import Variables
from spatial_agglo.models.covariances import Observed
from spatial_agglo.models.fitting import invert, notes, uncentre
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace


def fit_random(spec: ModelSpec, space: Workspace) -> FitResult:
    """Estimate a model with random unit effects by maximum likelihood.

    ``phi = sigma_mu^2 / sigma2`` is among the parameters, before sigma2.
    """
    if not isinstance(spec.cov, Observed):
        raise OptionError(
            f"cov={spec.cov.name!r} is not available with random effects, whose standard errors "
            "rest on their likelihood: use cov='observed', or fixed effects."
        )
    if "phi" in space.data.regressors:
        raise FormulaError(
            "With effects='random' phi is a parameter (the variance of the unit effects over that "
            "of the innovations): rename the regressor 'phi'."
        )
    given = space
    auxiliary: tuple[str, ...] = ()
    remarks: list[str] = []
    if spec.correlated:
        spec, space, auxiliary, remarks = _with_means(spec, space)
    _, names = space.regressors(spec)
    T, N = space.data.panel.shape
    space.moments(spec)  # checks ranks and sizes, naming variables
    model = _model(spec, space)
    found = core.maximize(model)
    estimate = Estimate(found.gamma, found.rho, found.lam, found.sigma2, found.loglik)
    spatial = [found.rho] * spec.has_lag + [found.lam] * spec.has_error
    values = np.concatenate([found.gamma, spatial, [found.phi, found.sigma2]])
    covariance = core.covariance(core.observed(model, found), invert)
    labels = (*names, *spec.spatial, "phi", "sigma2")
    b = np.concatenate([[1.0], [-found.rho] * spec.has_lag, -found.gamma])
    u = space.combination(spec, dict(zip(space.columns(spec), b.tolist(), strict=True)))
    M = space.error_weights.matrices[0].matrix if spec.has_error and space.error_weights else None
    predicted = core.predict(u, phi=found.phi, lam=found.lam, M=M, form=spec.form)
    unknown = np.isnan(covariance)  # of phi at its lower end
    values, covariance = uncentre(spec, space, labels, values, np.where(unknown, 0.0, covariance))
    covariance[unknown] = np.nan
    if found.boundary:
        remarks.append(
            "phi is at its lower end, zero: the data show no unit effects, and the other standard "
            "errors are those of the model without them"
        )
    return FitResult(
        spec=spec,
        names=labels,
        values=values,
        covariance=covariance,
        loglik=found.loglik,
        n_effective=N * T,
        estimate=estimate,
        workspace=space,
        resid=predicted.eps,
        notes=(*remarks, *notes(spec, space)),
        details={"unit_effects": predicted.mu, "auxiliary": auxiliary, "workspace": given},
    )


def _model(spec: ModelSpec, space: Workspace) -> RandomModel:
    """Split the moments into those within units and those of unit means."""
    F = space.frame(spec)
    T, N, _ = F.shape
    words = space.words(spec)
    regressors, _ = space.regressors(spec)
    means = F.mean(axis=0, keepdims=True)
    parts = [
        accumulate(data, space.operators, "none", words=words)
        for data in (within(F, "entity"), np.sqrt(T) * means)
    ]
    inside, between = (
        Filtered.of(
            part,
            regressors,
            lag="W" if spec.has_lag else None,
            error=space.error_letter if spec.has_error else None,
        )
        for part in parts
    )
    terms = space.terms(spec)
    outside = spec.form == "baltagi" and spec.has_error
    columns = None
    if outside:
        made = {"": means}
        for word in sorted({word for word, _ in space.columns(spec) if word}, key=len):
            made[word] = lag(space.operators[word[0]], made[word[1:]])
        columns = np.stack([made[word][0, :, j] for word, j in space.columns(spec)], axis=1)
    errors = space.error_weights
    return core.random_model(
        inside,
        N=N,
        T=T,
        form=spec.form,
        between=None if outside else between,
        means=columns,
        M=errors.matrices[0].operator if outside and errors is not None else None,
        rho_jacobian=terms.rho,
        lam_jacobian=terms.lam,
    )


def _with_means(
    spec: ModelSpec, space: Workspace
) -> tuple[ModelSpec, Workspace, tuple[str, ...], list[str]]:
    """Add the unit means of the regressors (Mundlak 1978), and of their lags where they have any.

    A regressor that does not vary over time is its own mean and gets none.
    """
    data = space.data
    varies = np.abs(data.X - data.X[:1]).max(axis=(0, 1)) > 0
    moving = [j for j in range(len(data.regressors)) if varies[j]]
    means = np.broadcast_to(data.X[:, :, moving].mean(axis=0), (*data.y.shape, len(moving)))
    added = tuple(f"mean({data.regressors[j]})" for j in moving)
    extended: Variables = replace(
        data,
        regressors=(*data.regressors, *added),
        X=np.concatenate([data.X, means], axis=2),
    )
    if spec.has_durbin:
        lagged = spec.lagged(data)
        durbin = (*lagged, *(f"mean({name})" for name in lagged if f"mean({name})" in added))
        spec = replace(spec, durbin=durbin)
    remarks = [f"unit means of the regressors are included (Mundlak 1978): {', '.join(added)}"]
    fixed = [name for name, moves in zip(data.regressors, varies, strict=True) if not moves]
    if fixed:
        remarks.append(f"without a unit mean, for they do not vary over time: {', '.join(fixed)}")
    return spec, space.with_data(extended), added, remarks
