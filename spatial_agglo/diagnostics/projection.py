"""What tests that are made for some models only ask of a model."""

from __future__ import annotations

from spatial_agglo.errors import OptionError
from spatial_agglo.models.specification import ModelSpec


def require_fixed(spec: ModelSpec, what: str) -> None:
    """Raise unless a specification is of a static model with fixed effects or none, by likelihood.

    Raises
    ------
    OptionError
        Random effects, a dynamic model, two-stage least squares.
    """
    if spec.effects == "random":
        raise OptionError(
            f"{what} is for fixed effects or none, not for effects='random', whose errors are "
            "correlated over time. Use effects='entity' or 'two-way'; or estimate the larger "
            "models: the z statistics of rho and lambda (sar, sem, sac), lr_tests and wald_tests "
            "(sdm) hold with random effects."
        )
    if spec.likelihood == "2sls":
        raise OptionError(
            f"{what} is for maximum likelihood; this model was fitted by two-stage least squares. "
            "residual_moran(fit) tests its residuals, and wald_tests(fit) the lags of the "
            "regressors of an sdm."
        )
    if spec.dynamic is not None:
        raise OptionError(
            f"{what} is for static models; this one has lags of the outcome in time. "
            "residual_moran(fit) tests its residuals, and wald_tests(fit) the lags of the "
            "regressors of an sdm."
        )
