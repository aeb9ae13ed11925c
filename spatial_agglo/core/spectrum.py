"""ln|I - rho W| from all eigenvalues of W."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.parameter_space import edges
from spatial_agglo.errors import WeightsError

NO_WAY_BACK = (
    "No chain of links leads back to where it started, so all eigenvalues of W are zero and the "
    "parameter space has no ends. Such a W needs no determinant: put the spatial lag into the "
    "formula as a regressor."
)


@dataclass(frozen=True)
class Spectrum:
    """Exact values from the eigenvalues: ``sum ln|1 - rho omega|`` over complex omega."""

    omega: NDArray
    interval: tuple[float, float]
    grid: NDArray
    method: str = "spectrum"

    @classmethod
    def of(cls, W: sparse.csr_array, symmetric: sparse.csr_array | None) -> Spectrum:
        """Compute the spectrum of ``W`` (of its symmetric twin where there is one)."""
        omega: NDArray
        if symmetric is not None:
            omega = linalg.eigvalsh(symmetric.toarray(), check_finite=False)
        else:
            omega = linalg.eigvals(W.toarray(), check_finite=False)
            if np.all(omega.imag == 0):
                omega = omega.real
        radius = float(np.abs(omega).max())
        if radius <= 1e-12 * float(np.abs(W.data).max(initial=0.0)):
            raise WeightsError(NO_WAY_BACK)
        # what rounding leaves of a zero eigenvalue would put an end of the space far away
        real = omega.real[np.abs(omega.imag) <= 1e-10 * radius]
        real = real[np.abs(real) > 1e-6 * radius]
        low = real.min(initial=-1e-6 * radius)
        low = low if low < -1e-6 * radius else -radius
        high = real.max(initial=1e-6 * radius)
        high = high if high > 1e-6 * radius else radius
        one = np.allclose(W.sum(axis=1), 1.0, rtol=1e-12, atol=0)
        interval = (1.0 / low, 1.0 if one else 1.0 / high)
        return cls(omega=omega, interval=interval, grid=edges(interval, refine=4))

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho."""
        rho = np.asarray(rho, dtype=float)
        return np.log(np.abs(1.0 - rho[..., None] * self.omega)).sum(axis=-1)

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""
        rho = np.asarray(rho, dtype=float)
        ratio = self.omega / (1.0 - rho[..., None] * self.omega)
        return -ratio.real.sum(axis=-1), -(ratio**2).real.sum(axis=-1)

    @property
    def sketch(self) -> Spectrum:
        """Itself: its values cost next to nothing."""
        return self
