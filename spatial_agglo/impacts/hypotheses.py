"""Wald tests on effects, from their covariance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc

from spatial_agglo.errors import IdentificationError, OptionError

#: Smallest eigenvalue of the correlations of what is tested, below which it is dependent.
SINGULAR = 1e-10


def wald(
    estimate: NDArray, covariance: NDArray, tests: Mapping[str, NDArray], clusters: int | None
) -> pd.DataFrame:
    """Test ``R v = 0`` for every matrix R, (m, p): a row each, chi-squared with m df.

    Raises
    ------
    OptionError
        What is tested does not vary: the model fixes it.
    IdentificationError
        Restrictions that are not independent, or too many for the clusters of the covariance.
    """
    rows = {name: _wald(name, estimate, covariance, R, clusters) for name, R in tests.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p_value"])
    frame.index.name = "test"
    return frame.astype({"statistic": float, "df": "Int64", "p_value": float})


def _wald(
    name: str, estimate: NDArray, covariance: NDArray, R: NDArray, clusters: int | None
) -> tuple[float, int, float]:
    m = len(R)
    if clusters is not None and m > 1 and clusters <= m:
        raise IdentificationError(
            f"{m} restrictions cannot be tested jointly with a covariance made of {clusters} "
            "clusters (or periods): there must be fewer restrictions. Use another cov."
        )
    used = (R != 0.0).any(axis=0)
    middle = R[:, used] @ covariance[np.ix_(used, used)] @ R[:, used].T
    if np.isnan(middle).any():
        return np.nan, m, np.nan
    scale = np.sqrt(np.clip(np.diag(middle), 0.0, None))
    size = np.sqrt(np.abs(R[:, used]) @ np.clip(np.diag(covariance)[used], 0.0, None))
    if not np.all(scale > 1e-12 * size):
        raise OptionError(
            f"There is nothing to test in {name!r}: the model fixes it. Without rho, only the "
            "regressors whose spatial lag is in the model have indirect effects."
        )
    middle = middle / np.outer(scale, scale)
    if np.linalg.eigvalsh(middle)[0] < SINGULAR:
        raise IdentificationError(
            f"The {m} restrictions of {name!r} are not independent of each other: leave out those "
            "that follow from the others."
        )
    v = (R @ estimate) / scale
    statistic = float(v @ np.linalg.solve(middle, v))
    return statistic, m, float(chdtrc(m, statistic))
