"""Mean and spread of columns: what distances and penalties are measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

CHUNK = 2**17  # values held in float64 at once: they stay in the cache
ONE_UNIT = 5.0
CONSTANT = 1e-10  # a spread below this share of the column's largest value is rounding


def moments(
    x: Any, weight: Any = None, *, constant: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (d,) of the columns of ``x`` (n, d), ``weight`` (n,).

    A constant column gets the spread ``constant``. Two passes in float64 over chunks: ``x`` may be
    lazy, or CSR, of which only stored values are read.
    """
    mean, spread, _ = _columns(x, weight, constant)
    return mean, spread


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
    mean, spread, floor = spreads(x, weight, named=named)
    return mean, np.maximum(spread, floor)


def spreads(
    x: Any, weight: Any = None, *, named: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean and spread of columns, each (d,), and what ``scales`` divides by at least.

    The latter is 0 for columns in units of their own.
    """
    mean, spread, reach = _columns(x, weight)
    varies = reach > CONSTANT * np.abs(mean)  # the mean of equal numbers may be off by rounding
    # In logarithms, so that the median of two columns is nearer to the smaller one.
    shared = varies.any() and np.log(reach.max() / ONE_UNIT) <= np.median(np.log(reach[varies]))
    return mean, spread, float(np.median(spread[varies])) if shared and not named else 0.0


def _columns(
    x: Any, weight: Any, constant: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean, spread and the largest distance from the mean, each (d,)."""
    n, d = rows.count(x), x.shape[1]
    w = np.full(n, 1 / n) if weight is None else np.asarray(weight, np.float64)
    w = w / w.sum()
    if rows.is_sparse(x):
        mean, square, furthest = _stored(x, w)
    else:
        mean, square, furthest = np.zeros(d), np.zeros(d), np.zeros(d)
        parts = [*rows.blocks(x, CHUNK)]
        for part in parts:
            mean += w[part] @ np.asarray(x[part], np.float64)
        for part in parts:
            chunk = np.array(x[part], np.float64)
            chunk -= mean
            square += w[part] @ np.square(chunk, out=chunk)
            np.maximum(furthest, chunk.max(0, initial=0), out=furthest)
    spread, reach = np.sqrt(square), np.sqrt(furthest)
    still = spread <= CONSTANT * (np.abs(mean) + reach)
    return mean, np.where(still, constant, spread), reach


def _stored(
    x: Any, w: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean, variance and largest squared distance from the mean of a CSR matrix, each (d,).

    Only stored values are looked at: those that are not are zeros, as far from the mean as it.
    """
    n, d = x.shape
    mean = np.asarray(x.T @ w, np.float64)
    square, furthest, held, count = (np.zeros(d) for _ in range(4))
    for part in rows.blocks(x, CHUNK):
        some = x[part].tocoo()
        if not x.has_canonical_format:
            some.sum_duplicates()
        here = w[part][some.row]
        off = np.square(some.data - mean[some.col])
        square += np.bincount(some.col, here * off, d)
        held += np.bincount(some.col, here, d)
        count += np.bincount(some.col, minlength=d)
        np.maximum.at(furthest, some.col, off)
    zeros = np.where(count < n, np.square(mean), 0)
    return mean, square + np.maximum(1 - held, 0) * zeros, np.maximum(furthest, zeros)
