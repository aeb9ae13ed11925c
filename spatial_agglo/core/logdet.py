"""ln|I - rho W| and its first two derivatives: back ends behind one protocol.

``d/drho ln|I - rho W| = -tr(W S^-1)`` and ``d2 = -tr((W S^-1)^2)``, ``S = I - rho W``,
so a back end also supplies the traces that impacts and information matrices need.
"""

from __future__ import annotations

from typing import Protocol

from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.core.charts import Chart, Disc, Slits
from spatial_agglo.core.factorization import Factorize, factorize, ldl, lu, symmetrize
from spatial_agglo.core.interpolation import Interpolant, power_traces
from spatial_agglo.core.parameter_space import certified, radius
from spatial_agglo.core.spectrum import NO_WAY_BACK, Spectrum
from spatial_agglo.errors import WeightsError, check_option

__all__ = [
    "BACK_ENDS",
    "Interpolant",
    "LogDet",
    "Spectrum",
    "check_back_end",
    "factorize",
    "log_determinant",
    "symmetrize",
]

BACK_ENDS = ("auto", "spectrum", "ldl", "lu")

#: Up to this many units the spectrum is the cheapest back end, whatever the sparsity.
SPECTRUM_UNITS = 150
#: A matrix with a larger share of non-zeros than this is treated as dense.
DENSE_SHARE = 0.1
#: Units above which a dense spectrum is not computed.
SPECTRUM_LIMIT = 12_000
#: Factors with more non-zeros than this share of N^2 make one or two panels of an interpolant
#: as dear as the spectrum (a random graph, unlike a map, has no small separators).
FULL_FILL = 0.2
#: Below this many units nothing takes long, and the fill is not looked at.
FILL_UNITS = 300


class LogDet(Protocol):
    """What the likelihood asks of a back end.

    Attributes
    ----------
    method : str
        Name of the back end, recorded on the result.
    interval : tuple of float
        Open interval of rho around zero on which ``I - rho W`` is non-singular.
    grid : ndarray
        Increasing values inside the interval, closer together towards its ends.
    """

    @property
    def method(self) -> str: ...  # noqa: D102

    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def grid(self) -> NDArray: ...  # noqa: D102

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho."""

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""

    @property
    def sketch(self) -> LogDet:
        """A back end for searches: cheap everywhere, perhaps only close; itself if it is cheap."""


def log_determinant(W: sparse.csr_array, how: str = "auto") -> LogDet:
    """Choose a back end, from the size, sparsity and symmetry of ``W``, or take the one named.

    Parameters
    ----------
    W : csr_array, shape (N, N)
        Non-negative, with an empty diagonal.
    how : {"auto", "spectrum", "ldl", "lu"}
        "spectrum": all eigenvalues. "ldl": sparse LDL' with a re-used symbolic analysis, for W
        similar to a symmetric matrix. "lu": sparse LU. The last two factorise at a few rho and
        interpolate. "auto": the spectrum when W is small or full, or when its factors turn out
        to be; else "ldl" where it can be, and "lu" where not.

    Raises
    ------
    OptionError
        An unknown ``how``.
    WeightsError
        The spectrum of more than ``SPECTRUM_LIMIT`` units; "ldl" for a matrix that is not
        similar to a symmetric one.
    """
    symmetric = check_back_end(W, how)
    N = W.shape[0]
    small_or_full = N <= SPECTRUM_UNITS or W.nnz > DENSE_SHARE * N * N
    if how == "spectrum" or (how == "auto" and small_or_full):
        return Spectrum.of(W, symmetric)
    found, fill = _factorized(W, None if how == "lu" else symmetric)
    filled = fill > FULL_FILL * N * N and FILL_UNITS < N <= SPECTRUM_LIMIT
    return Spectrum.of(W, symmetric) if how == "auto" and filled else found


def check_back_end(W: sparse.csr_array, how: str) -> sparse.csr_array | None:
    """Raise if a back end is unknown or cannot serve ``W``; return the symmetric twin of W."""
    check_option("logdet", how, BACK_ENDS)
    N = W.shape[0]
    full = W.nnz > DENSE_SHARE * N * N
    if (how == "spectrum" or (how == "auto" and full)) and N > SPECTRUM_LIMIT:
        raise WeightsError(
            f"The spectrum of {'a full' if full else 'an'} {N} x {N} matrix needs "
            f"{8 * N * N / 2**30:.0f} GiB and hours; at most {SPECTRUM_LIMIT} units are "
            "supported. "
            + ("Use a sparse W: a distance cut-off or the nearest neighbours." if full else "")
            + ("" if full else "Use logdet='auto', 'ldl' or 'lu'.")
        )
    symmetric = symmetrize(W)
    if how == "ldl" and symmetric is None:
        raise WeightsError(
            "logdet='ldl' needs a W that a diagonal scaling makes symmetric (symmetric weights, "
            "row-standardised or not); this one is not: w_ij and w_ji differ by more than a "
            "factor per unit, or one of them is zero. Use 'auto', 'lu' or 'spectrum'."
        )
    return symmetric


def _factorized(W: sparse.csr_array, symmetric: sparse.csr_array | None) -> tuple[Interpolant, int]:
    """Return the interpolant of a sparse factorisation, and the non-zeros of the factors."""
    N = W.shape[0]
    if symmetric is None and csgraph.connected_components(W, connection="strong")[0] == N:
        raise WeightsError(NO_WAY_BACK)
    largest = radius(W, symmetric)
    chart: Chart
    evaluate: Factorize
    fill = 0
    if symmetric is None:
        evaluate = lu(W)
        interval = -1.0 / largest, 1.0 / largest
        chart = Disc(N, largest)
    else:
        evaluate = ldl(symmetric)
        interval, fill = certified(symmetric, evaluate, largest)
        chart = Slits(N, 1.0 / interval[0], largest)
    fill = fill or evaluate(0.5 / largest)[1]
    name = "LU" if symmetric is None else "LDL'"
    found = Interpolant(
        method=f"sparse {name} with Chebyshev interpolation",
        factorize=evaluate,
        interval=interval,
        chart=chart,
        traces=(
            power_traces(W / largest, fill, symmetric=False)
            if symmetric is None
            else power_traces(symmetric / largest, fill, symmetric=True)
        ),
    )
    return found, fill
