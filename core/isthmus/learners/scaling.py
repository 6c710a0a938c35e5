"""Mean and spread of columns: what distances and penalties are measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

CHUNK = 65536  # rows held in float64 at once
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


def tempered(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what to divide columns by, (d,): their spread, but at least the median spread.

    Full standardisation magnifies a column that hardly varies in the source, and with it every
    shift of that column: on the digits' border pixels it costs 45 points of target accuracy.
    """
    return np.asarray(np.maximum(spread, np.median(spread)), np.float64)
