"""The critical values of Stock & Yogo (2005) for weak instruments in two-stage least squares."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from spatial_agglo.errors import OptionError

#: What is tolerated: rejections of a nominal 5% Wald test; bias over that of OLS.
SIZES = ("size 10%", "size 15%", "size 20%", "size 25%")
BIASES = ("bias 5%", "bias 10%", "bias 20%", "bias 30%")
#: Most instruments in the tables.
MOST = 30


def critical_values(endogenous: int, instruments: int) -> pd.Series:
    """Look up the critical values for the first-stage F, at 5% significance.

    Instruments are called weak when a Wald test of nominal size 5% may reject a true hypothesis
    in more than 10% (15%, 20%, 25%) of samples, or when the bias of two-stage least squares may
    be more than 5% (10%, 20%, 30%) of that of least squares. An F above the critical value
    rejects that they are weak.

    The F is that of Cragg & Donald, with one endogenous regressor the first-stage F. The
    tables suppose errors of one variance that are independent; with other errors the F of
    Kleibergen & Paap is customarily held against the same numbers, which has no proof.

    Parameters
    ----------
    endogenous : int
        Number of endogenous regressors.
    instruments : int
        Number of instruments outside the equation.

    Returns
    -------
    Series
        "size 10%", ..., "bias 30%"; NaN where there is none, and why in ``.attrs["reasons"]``.

    Raises
    ------
    OptionError
        Numbers that are not whole, or fewer instruments than endogenous regressors.

    References
    ----------
    Stock & Yogo (2005), Testing for weak instruments in linear IV regression, tables 5.1 and
    5.2, in Andrews & Stock (eds.), Identification and Inference for Econometric Models.

    Examples
    --------
    >>> critical_values(1, 1).dropna().to_dict()
    {'size 10%': 16.38, 'size 15%': 8.96, 'size 20%': 6.66, 'size 25%': 5.53}
    >>> critical_values(1, 1).attrs["reasons"]["bias"]
    'relative bias is tabulated from 3 instruments for 1 endogenous regressor(s); there is 1'
    """
    m, k = endogenous, instruments
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in (m, k)):
        raise OptionError(f"Counts must be whole numbers; got {endogenous!r}, {instruments!r}.")
    if not 1 <= m <= k:
        raise OptionError(
            f"At least one endogenous regressor and as many instruments are needed; got {m} and "
            f"{k}."
        )
    values, reasons = np.full(8, np.nan), {}
    for at, (name, text, first, most) in enumerate(
        (("size", "size", 0, 2), ("relative bias", "bias", 2, 3))
    ):
        count = f"there {'is' if k == 1 else 'are'} {k}"
        if m > most:
            reasons[text] = (
                f"{name} is tabulated for at most {most} endogenous regressors; there are {m}"
            )
        elif k > MOST:
            reasons[text] = f"{name} is tabulated for at most {MOST} instruments; {count}"
        elif k < m + first:
            reasons[text] = (
                f"{name} is tabulated from {m + first} instruments for {m} endogenous "
                f"regressor(s); {count}"
            )
        else:
            values[4 * at : 4 * at + 4] = _table(text)[m, k]
    out = pd.Series(values, index=[*SIZES, *BIASES], name="critical value")
    out.attrs["reasons"] = reasons
    return out


@cache
def _table(name: str) -> dict[tuple[int, int], tuple[float, ...]]:
    """Return the four numbers by endogenous regressors and instruments."""
    out: dict[tuple[int, int], tuple[float, ...]] = {}
    for line in (_SIZE if name == "size" else _BIAS).split():
        k, *numbers = line.split(",")
        for m in range(len(numbers) // 4):
            out[m + 1, int(k)] = tuple(float(v) for v in numbers[4 * m : 4 * m + 4])
    return out


#: Table 5.2: instruments; then 10, 15, 20, 25% for one endogenous regressor, and for two.
_SIZE = """
1,16.38,8.96,6.66,5.53
2,19.93,11.59,8.75,7.25,7.03,4.58,3.95,3.63
3,22.3,12.83,9.54,7.8,13.43,8.18,6.4,5.45
4,24.58,13.96,10.26,8.31,16.87,9.93,7.54,6.28
5,26.87,15.09,10.98,8.84,19.45,11.22,8.38,6.89
6,29.18,16.23,11.72,9.38,21.68,12.33,9.1,7.42
7,31.5,17.38,12.48,9.93,23.72,13.34,9.77,7.91
8,33.84,18.54,13.24,10.5,25.64,14.31,10.41,8.39
9,36.19,19.71,14.01,11.07,27.51,15.24,11.03,8.85
10,38.54,20.88,14.78,11.65,29.32,16.16,11.65,9.31
11,40.9,22.06,15.56,12.23,31.11,17.06,12.25,9.77
12,43.27,23.24,16.35,12.82,32.88,17.95,12.86,10.22
13,45.64,24.42,17.14,13.41,34.62,18.84,13.45,10.68
14,48.01,25.61,17.93,14,36.36,19.72,14.05,11.13
15,50.39,26.8,18.72,14.6,38.08,20.6,14.65,11.58
16,52.77,27.99,19.51,15.19,39.8,21.48,15.24,12.03
17,55.15,29.19,20.31,15.79,41.51,22.35,15.83,12.49
18,57.53,30.38,21.1,16.39,43.22,23.22,16.42,12.94
19,59.92,31.58,21.9,16.99,44.92,24.09,17.02,13.39
20,62.3,32.77,22.7,17.6,46.62,24.96,17.61,13.84
21,64.69,33.97,23.5,18.2,48.31,25.82,18.2,14.29
22,67.07,35.17,24.3,18.8,50.01,26.69,18.79,14.74
23,69.46,36.37,25.1,19.41,51.7,27.56,19.38,15.19
24,71.85,37.57,25.9,20.01,53.39,28.42,19.97,15.64
25,74.24,38.77,26.71,20.61,55.07,29.29,20.56,16.1
26,76.62,39.97,27.51,21.22,56.76,30.15,21.15,16.55
27,79.01,41.17,28.31,21.83,58.45,31.02,21.74,17
28,81.4,42.37,29.12,22.43,60.13,31.88,22.33,17.45
29,83.79,43.57,29.92,23.04,61.82,32.74,22.92,17.9
30,86.17,44.78,30.72,23.65,63.51,33.61,23.51,18.35
"""
#: Table 5.1: instruments; then 5, 10, 20, 30% for one, two and three endogenous regressors.
_BIAS = """
3,13.91,9.08,6.46,5.39
4,16.85,10.27,6.71,5.34,11.04,7.56,5.57,4.73
5,18.37,10.83,6.77,5.25,13.97,8.78,5.91,4.79,9.53,6.61,4.99,4.3
6,19.28,11.12,6.76,5.15,15.72,9.48,6.08,4.78,12.2,7.77,5.35,4.4
7,19.86,11.29,6.73,5.07,16.88,9.92,6.16,4.76,13.95,8.5,5.56,4.44
8,20.25,11.39,6.69,4.99,17.7,10.22,6.2,4.73,15.18,9.01,5.69,4.46
9,20.53,11.46,6.65,4.92,18.3,10.43,6.22,4.69,16.1,9.37,5.78,4.46
10,20.74,11.49,6.61,4.86,18.76,10.58,6.23,4.66,16.8,9.64,5.83,4.45
11,20.9,11.51,6.56,4.8,19.12,10.69,6.23,4.62,17.35,9.85,5.87,4.44
12,21.01,11.52,6.53,4.75,19.4,10.78,6.22,4.59,17.8,10.01,5.9,4.42
13,21.1,11.52,6.49,4.71,19.64,10.84,6.21,4.56,18.17,10.14,5.92,4.41
14,21.18,11.52,6.45,4.67,19.83,10.89,6.2,4.53,18.47,10.25,5.93,4.39
15,21.23,11.51,6.42,4.63,19.98,10.93,6.19,4.5,18.73,10.33,5.94,4.37
16,21.28,11.5,6.39,4.59,20.12,10.96,6.17,4.48,18.94,10.41,5.94,4.36
17,21.31,11.49,6.36,4.56,20.23,10.99,6.16,4.45,19.13,10.47,5.94,4.34
18,21.34,11.48,6.33,4.53,20.33,11,6.14,4.43,19.29,10.52,5.94,4.32
19,21.36,11.46,6.31,4.51,20.41,11.02,6.13,4.41,19.44,10.56,5.94,4.31
20,21.38,11.45,6.28,4.48,20.48,11.03,6.11,4.39,19.56,10.6,5.93,4.29
21,21.39,11.44,6.26,4.46,20.54,11.04,6.1,4.37,19.67,10.63,5.93,4.28
22,21.4,11.42,6.24,4.43,20.6,11.05,6.08,4.35,19.77,10.65,5.92,4.27
23,21.41,11.41,6.22,4.41,20.65,11.05,6.07,4.33,19.86,10.68,5.92,4.25
24,21.41,11.4,6.2,4.39,20.69,11.05,6.06,4.32,19.94,10.7,5.91,4.24
25,21.42,11.38,6.18,4.37,20.73,11.06,6.05,4.3,20.01,10.71,5.9,4.23
26,21.42,11.37,6.16,4.35,20.76,11.06,6.03,4.29,20.07,10.73,5.9,4.21
27,21.42,11.36,6.14,4.34,20.79,11.06,6.02,4.27,20.13,10.74,5.89,4.2
28,21.42,11.34,6.13,4.32,20.82,11.05,6.01,4.26,20.18,10.75,5.88,4.19
29,21.42,11.33,6.11,4.31,20.84,11.05,6,4.24,20.23,10.76,5.88,4.18
30,21.42,11.32,6.09,4.29,20.86,11.05,5.99,4.23,20.27,10.77,5.87,4.17
"""
