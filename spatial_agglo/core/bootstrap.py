"""Bootstrap by entity: resamples, the loop over them, and what is made of the draws.

Units are independent of each other here and anything may happen within one, as in clustering by
entity. Models without a spatial lag may redraw whole units (`resample_indices`). In spatial
models that would tear W apart: there W and the regressors stay, and the innovations of each unit
are multiplied by one random number (`wild_weights`, `wild_outcome`), which keeps their serial
correlation and heteroskedasticity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.threads import one_thread
from spatial_agglo.errors import (
    IdentificationError,
    MissingDependencyError,
    OptionError,
    SpatialAggloError,
    check_option,
)

#: Seconds after which a progress bar is shown.
PATIENCE = 2.0
#: Below this many units the 2^N sign patterns repeat themselves.
FEW_UNITS = 12

Solve = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates on resamples.

    Attributes
    ----------
    draws : ndarray, shape (R, p)
        One row per resample; NaN where the estimation failed.
    failures : dict of str to int
        Message of the error and how often it came.
    notes : tuple of str
        What the reader of the result must know.
    """

    draws: NDArray
    failures: dict[str, int]
    notes: tuple[str, ...]

    @property
    def succeeded(self) -> NDArray:
        """The rows of the draws that hold estimates, shape (R - failures, p)."""
        return self.draws[~np.isnan(self.draws).any(axis=1)]

    def covariance(self) -> NDArray:
        """Return the covariance of the estimates over the resamples, (p, p)."""
        return np.atleast_2d(np.cov(self.succeeded, rowvar=False))

    def interval(self, level: float = 0.95) -> NDArray:
        """Return percentile intervals, shape (p, 2)."""
        if not 0.0 < level < 1.0:
            raise OptionError(f"level={level!r} must lie between 0 and 1.")
        tail = 0.5 * (1.0 - level)
        return np.quantile(self.succeeded, [tail, 1.0 - tail], axis=0).T


def entity_bootstrap(
    estimate: Callable[[NDArray], NDArray],
    resamples: NDArray,
    *,
    n_jobs: int = 1,
    backend: str = "threads",
    progress: bool = True,
) -> Bootstrap:
    """Estimate on every resample.

    The resamples are drawn beforehand, so the draws do not depend on ``n_jobs``.

    Parameters
    ----------
    estimate : callable
        Takes one row of ``resamples`` and returns the parameters, shape (p,).
    resamples : ndarray, shape (R, N)
        Of `wild_weights` or `resample_indices`.
    n_jobs : int
        Tasks at a time, as joblib counts them: -1 is one per processor.
    backend : {"threads", "processes"}
        Processes need an ``estimate`` that can be pickled.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    Bootstrap
        Errors of the package and of linear algebra are failures of a resample: counted, and
        reported in ``failures`` and ``notes``. Any other error is raised.

    Raises
    ------
    IdentificationError
        More than half of the resamples failed.
    MissingDependencyError
        ``n_jobs`` is not 1 and joblib is not installed.

    References
    ----------
    Cameron, Gelbach & Miller (2008), Review of Economics and Statistics 90.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[1.0, 2.0, 6.0], [1.0, 4.0, 4.0]])  # T = 2, N = 3
    >>> rows = resample_indices(3, 500, np.random.default_rng(0))
    >>> found = entity_bootstrap(lambda units: y[:, units].mean(keepdims=True)[0], rows)
    >>> found.draws.shape, found.failures
    ((500, 1), {})
    """
    check_option("backend", backend, ("threads", "processes"))
    check_jobs(n_jobs)
    resamples = np.asarray(resamples)
    if resamples.ndim != 2 or resamples.shape[0] < 2:
        raise OptionError(
            f"Resamples must be an array (R, N) with R of at least 2; got shape {resamples.shape}."
        )
    rows: list[NDArray | None] = []
    failures: Counter[str] = Counter()
    for found in _progress(_run(estimate, resamples, n_jobs, backend), len(resamples), progress):
        if isinstance(found, str):
            failures[found] += 1
        rows.append(None if isinstance(found, str) else found)
    R, failed = len(rows), failures.total()
    if 2 * failed > R or R - failed < 2:
        reason, times = failures.most_common(1)[0]
        raise IdentificationError(
            f"The estimation failed on {failed} of {R} resamples, most often ({times} times) "
            f"with: {reason} The data are too few for a bootstrap, or the model too large."
        )
    p = next(row.size for row in rows if row is not None)
    draws = np.stack([np.full(p, np.nan) if row is None else row for row in rows])
    notes = [f"bootstrap by entity: {R} resamples"]
    if failed:
        notes.append(f"the estimation failed on {failed} of {R} resamples, which are left out")
    return Bootstrap(draws, dict(failures), tuple(notes))


def check_jobs(n_jobs: object) -> None:
    """Raise unless a number of tasks is a whole one, as joblib counts them."""
    whole = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool)
    if not whole or n_jobs == 0:
        raise OptionError(
            f"n_jobs={n_jobs!r} must be a whole number: 1 or more, or negative to count from the "
            "processors (-1: all)."
        )


def resample_indices(N: int, R: int, rng: np.random.Generator) -> NDArray:
    """Draw units with replacement, (R, N): for models in which no unit looks at another.

    A unit that is drawn twice must enter as two units, each with its own effect.

    Examples
    --------
    >>> import numpy as np
    >>> resample_indices(4, 2, np.random.default_rng(0))
    array([[3, 2, 2, 1],
           [1, 0, 0, 0]])
    """
    return rng.integers(0, N, size=(R, N))


def wild_weights(N: int, R: int, rng: np.random.Generator, *, kind: str = "rademacher") -> NDArray:
    """Draw one multiplier per unit and resample, (R, N), with mean 0 and variance 1.

    ===========  ==========================================================================
    rademacher   -1 or 1, each with probability 1/2
    mammen       ``(1 - sqrt 5)/2`` with probability ``(sqrt 5 + 1)/(2 sqrt 5)``, else
                 ``(1 + sqrt 5)/2``: the third moment is 1, so skewness is kept
    webb         plus or minus ``sqrt(1/2), 1, sqrt(3/2)``, each with probability 1/6: for fewer
                 than about a dozen units
    ===========  ==========================================================================

    Squares of rademacher multipliers are 1, so ``v*^2 = v^2``: the draws of sigma2 hardly vary,
    and its bootstrap standard error means nothing (that of the other parameters does).

    References
    ----------
    Davidson & Flachaire (2008); Mammen (1993); Webb (2023).

    Examples
    --------
    >>> import numpy as np
    >>> wild_weights(4, 2, np.random.default_rng(0))
    array([[ 1.,  1.,  1., -1.],
           [-1., -1., -1., -1.]])
    """
    check_option("kind", kind, ("rademacher", "mammen", "webb"))
    if kind == "rademacher":
        return 2.0 * rng.integers(0, 2, size=(R, N)) - 1.0
    if kind == "mammen":
        root = np.sqrt(5.0)
        low = rng.random((R, N)) < (root + 1.0) / (2.0 * root)
        return np.where(low, 0.5 * (1.0 - root), 0.5 * (1.0 + root))
    support = np.sqrt([0.5, 1.0, 1.5])
    return rng.choice(np.concatenate([-support, support]), size=(R, N))


def wild_outcome(
    mean: NDArray,
    v: NDArray,
    weights: NDArray,
    *,
    outcome: Solve | None = None,
    error: Solve | None = None,
) -> NDArray:
    """Return the outcome of one wild resample, shape (T, N).

    ::

        y*_t = S^-1 (mean_t + B^-1 v*_t)        v*_it = sqrt(N/(N-1)) v_it w_i

    The factor: residuals of N units lack 1/N of the variance of the errors, which period means
    take away, and would lack it twice when ``v*`` is demeaned over units in its turn; without
    time effects it is the G/(G - 1) of clustered covariances. Entity effects need none: a
    residual demeaned over time times one number is still demeaned, and the second within
    transform takes nothing. (With one multiplier per *cell* it would, and T/(T - 1) were due.)

    Parameters
    ----------
    mean : ndarray, shape (T, N)
        ``X gamma`` in levels, plus effects. Those that the estimation removes may be left out.
    v : ndarray, shape (T, N)
        Innovations of the fit; zero in unobserved cells.
    weights : ndarray, shape (N,)
        One row of `wild_weights`.
    outcome, error : callable, optional
        ``S^-1`` and ``B^-1`` on (T, N); the identity for models without rho, without lambda.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> wild_outcome(np.zeros((2, 2)), v, np.array([1.0, -1.0])) ** 2
    array([[ 2.,  8.],
           [18., 32.]])
    """
    N = v.shape[1]
    if weights.shape != (N,) or N < 2:
        raise OptionError(
            f"There must be one multiplier for each of at least two units; got shape "
            f"{weights.shape} for {N} units."
        )
    noise = np.sqrt(N / (N - 1.0)) * v * weights
    total = mean + (noise if error is None else error(noise))
    return total if outcome is None else outcome(total)


def few_units(N: int, kind: str) -> str | None:
    """Return the note for rademacher multipliers on few units, or None.

    Examples
    --------
    >>> few_units(8, "rademacher")
    "only 2^8 = 256 patterns of signs on 8 units: kind='webb' has more"
    """
    if kind != "rademacher" or N >= FEW_UNITS:
        return None
    return f"only 2^{N} = {2**N} patterns of signs on {N} units: kind='webb' has more"


def _attempt(estimate: Callable[[NDArray], NDArray], row: NDArray) -> NDArray | str:
    """Return the parameters, or the message of an error that a resample may bring."""
    try:
        found = np.asarray(estimate(row), dtype=float)
    except (SpatialAggloError, np.linalg.LinAlgError) as problem:
        return f"{type(problem).__name__}: {problem}"
    if not np.isfinite(found).all():
        return "the estimates are not finite."
    return found


def _run(
    estimate: Callable[[NDArray], NDArray], resamples: NDArray, n_jobs: int, backend: str
) -> Iterator[NDArray | str]:
    """Yield the outcome of every resample in order."""
    if n_jobs == 1:
        with one_thread():
            yield from (_attempt(estimate, row) for row in resamples)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as problem:
        raise MissingDependencyError(
            f"n_jobs={n_jobs} needs joblib: pip install joblib, or use n_jobs=1."
        ) from problem
    pool = Parallel(
        n_jobs=n_jobs,
        backend="threading" if backend == "threads" else "loky",
        return_as="generator",
    )
    yield from pool(delayed(_attempt)(estimate, row) for row in resamples)


def _progress(
    found: Iterator[NDArray | str], total: int, progress: bool
) -> Iterator[NDArray | str]:
    from tqdm import tqdm

    yield from tqdm(
        found,
        desc="bootstrap",
        total=total,
        disable=not progress,
        leave=False,
        delay=PATIENCE,
    )
