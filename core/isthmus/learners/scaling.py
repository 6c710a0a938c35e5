"""Mean and spread of columns: what distances and penalties are measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

CHUNK = 65536  # rows held in float64 at once
ONE_UNIT = 5.0
CONSTANT = 1e-10  # a spread below this share of the column's largest value is rounding


def moments(x: Any, weight: Any = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (d,) of the columns of ``x`` (n, d), ``weight`` (n,).

    A constant column gets the spread 1. Two passes in float64 over chunks: ``x`` may be lazy.
    """
    n = rows.count(x)
    w = np.full(n, 1 / n) if weight is None else np.asarray(weight, np.float64)
    w = w / w.sum()
    mean, largest, square = (np.zeros(x.shape[1]) for _ in range(3))
    for part in rows.chunks(n, CHUNK):
        chunk = np.asarray(x[part], np.float64)
        mean += w[part] @ chunk
        largest = np.maximum(largest, np.abs(chunk).max(0))
    for part in rows.chunks(n, CHUNK):
        square += w[part] @ np.square(np.asarray(x[part], np.float64) - mean)
    scale = np.sqrt(square)
    return mean, np.where(scale > CONSTANT * largest, scale, 1.0)


def scales(
    x: Any, weight: Any = None, *, named: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what to subtract from and divide the columns of ``x`` (n, d) by, each (d,).

    Columns in units of their own (``named`` ones, or where a range exceeds ``ONE_UNIT`` times the
    median range) are divided by their spread. Columns in one unit, as pixels and embedded features
    are, are divided by no less than the median spread: full standardisation would magnify those
    that hardly vary in the source, and with them every shift; on the digits' border pixels that
    costs 45 points of target accuracy.
    """
    mean, spread = moments(x, weight)
    if named:
        return mean, spread
    reach = np.zeros(x.shape[1])
    for part in rows.chunks(rows.count(x), CHUNK):
        reach = np.maximum(reach, np.abs(np.asarray(x[part], np.float64) - mean).max(0))
    varies = reach > CONSTANT * np.abs(mean)  # the mean of equal numbers may be off by rounding
    # In logarithms, so that the median of two columns is nearer to the smaller one.
    if varies.any() and np.log(reach.max() / ONE_UNIT) <= np.median(np.log(reach[varies])):
        spread = np.maximum(spread, np.median(spread[varies]))
    return mean, spread
