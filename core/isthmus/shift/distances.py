"""How large the shift is: distances between samples, beside those between halves of the source.

A raw distance says little: it depends on the number of rows, columns and the kernel. So each is
measured between samples of one size, from the source and the target, and from two disjoint halves
of the source: the second is what no shift at all looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.shift.two_sample import median_distance

ROWS = 1_000  # of each sample
SPLITS = 20  # of the source into halves
PROJECTIONS = 128
BLOCK = 1_024  # rows of the kernel matrix that are held at once
Array = NDArray[Any]


@dataclass(frozen=True)
class Distance:
    """``value`` from source to target; ``null`` is what 95 % of the source's halves stay below.

    In standard deviations of the pooled rows; the MMD is between 0 and the square root of 2.
    """

    value: float
    null: float

    @property
    def ratio(self) -> float | None:
        return self.value / self.null if self.null > 0 else None


def distances(x: Array, y: Array, rng: np.random.Generator) -> dict[str, Distance]:
    """Return MMD, Fréchet and sliced Wasserstein distance of ``x`` (n, d) and ``y`` (m, d)."""
    size = min(len(x) // 2, len(y), ROWS)
    bandwidth = median_distance(np.concatenate([x, y]), rng)
    directions = rng.normal(size=(x.shape[1], PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    squares: dict[str, Callable[[Array, Array], float]] = {
        "mmd": lambda a, b: mmd2(a, b, bandwidth),
        "frechet": frechet2,
        "sliced_wasserstein": lambda a, b: sliced_wasserstein2(a, b, directions),
    }
    across: dict[str, list[float]] = {name: [] for name in squares}
    within: dict[str, list[float]] = {name: [] for name in squares}
    for _ in range(SPLITS):
        half = rng.permutation(len(x))
        some = y[rng.choice(len(y), size, replace=False)]
        for name, square in squares.items():
            across[name].append(square(x[half[:size]], some))
            within[name].append(square(x[half[:size]], x[half[size : 2 * size]]))
    return {
        name: Distance(
            value=max(float(np.mean(across[name])), 0.0) ** 0.5,
            null=max(float(np.quantile(within[name], 0.95)), 0.0) ** 0.5,
        )
        for name in squares
    }


def mmd2(x: Array, y: Array, bandwidth: float) -> float:
    """Return the unbiased squared maximum mean discrepancy; it may be below zero.

    A. Gretton et al., A kernel two-sample test, JMLR 13, 2012. Gaussian kernel
    exp(-d² / (2 bandwidth²)); O(n m d) time, and ``BLOCK`` rows of the kernel matrix in memory.
    """
    n, m = len(x), len(y)
    same = (_kernel_sum(x, x, bandwidth) - n) / (n * (n - 1))
    same += (_kernel_sum(y, y, bandwidth) - m) / (m * (m - 1))
    return float(same - 2 * _kernel_sum(x, y, bandwidth) / (n * m))


def frechet2(x: Array, y: Array) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to ``x`` and ``y``.

    D. C. Dowson, B. V. Landau, J. Multivariate Analysis 12, 1982:
    |mean_x - mean_y|² + trace(C_x + C_y - 2 (C_x C_y)^½).
    """
    c, d = _covariance(x), _covariance(y)
    values, vectors = np.linalg.eigh(c)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # (C_x C_y)^½ has the trace of (C_x^½ C_y C_x^½)^½, which is symmetric.
    product = root @ d @ root
    shared = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    moved = np.square(x.mean(0) - y.mean(0)).sum()
    return float(max(moved + np.trace(c) + np.trace(d) - 2 * shared, 0.0))


def sliced_wasserstein2(x: Array, y: Array, directions: Array) -> float:
    """Return the squared sliced 2-Wasserstein distance along unit ``directions`` (d, k).

    N. Bonneel et al., J. Mathematical Imaging and Vision 51, 2015. Exact along each direction,
    also for samples of different size: the mean over k of the squared distances of quantiles.
    """
    a, b = np.sort(x @ directions, axis=0), np.sort(y @ directions, axis=0)
    if len(a) == len(b):
        return float(np.square(a - b).mean())
    n, m = len(a), len(b)
    # Levels at which either quantile function jumps, in units of 1 / (n m): exact integers.
    level = np.unique(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n]))
    width = np.diff(level, prepend=0) / (n * m)
    gap = a[(level - 1) // m] - b[(level - 1) // n]
    return float((width @ np.square(gap)).mean())


def _kernel_sum(x: Array, y: Array, bandwidth: float) -> float:
    total, norms = 0.0, np.square(y).sum(1)
    for part in rows.chunks(len(x), BLOCK):
        square = np.square(x[part]).sum(1)[:, None] + norms - 2 * x[part] @ y.T
        total += np.exp(-square.clip(0) / (2 * bandwidth**2)).sum()
    return float(total)


def _covariance(x: Array) -> Array:
    return np.atleast_2d(np.cov(x, rowvar=False, bias=True))
