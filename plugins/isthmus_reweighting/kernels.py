"""Gaussian kernels between rows and centres, in units that the data choose.

The median distance as a measure of bandwidth: B. Schölkopf & A. Smola, Learning with kernels, MIT
Press 2002.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.learners.scaling import moments

VALUES = 2**23  # in one dense block: 64 MB
SMALL = 2**18  # in one that stays near the processor: 2 MB
LEAST = 64  # rows in such a block, however wide
SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)  # bandwidths to choose from, in median distances
Array = NDArray[np.float64]


class Standardised:
    """Blocks of rows, dense, centred and divided by the target's deviation."""

    def __init__(self, x_source: Any, x_target: Any) -> None:
        self.shift, deviation = moments(x_target, constant=0.0)
        mean, other = moments(x_source, constant=0.0)
        # A column that is constant in the target is measured by both domains together.
        both = np.sqrt((np.square(other) + np.square(mean - self.shift)) / 2)
        self.scale = np.where(deviation > 0, deviation, np.where(both > 0, both, 1.0))

    def read(self, x: Any, dtype: Any = np.float64) -> Array:
        z: Array = np.subtract(rows.dense(x), self.shift.astype(dtype), dtype=dtype)
        z /= self.scale.astype(dtype)
        return z

    def squares(self, x: Any, centres: Array) -> Iterator[Array]:
        """Yield blocks (rows, b) of squared distances to the centres (b, d), in their dtype."""
        widest = max(centres.shape)
        size = max(SMALL // widest, min(LEAST, VALUES // widest), 1)
        length = np.einsum("nd,nd->n", centres, centres)
        for part in rows.chunks(rows.count(x), size):
            yield squares(self.read(x[part], centres.dtype), centres, length)

    def kernels(self, x: Any, centres: Array, sigma: float) -> Iterator[Array]:
        """Yield Gaussian kernel blocks (rows, b)."""
        for block in self.squares(x, centres):
            yield gaussian(block, sigma, out=block)

    def median(self, *groups: Any) -> float:
        """Return the median distance between the rows (n, d) of all groups, 1 if there is none."""
        return median_distance(np.concatenate([self.read(x) for x in groups])) or 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelSum:
    """A weighted sum of Gaussians, cut at 0: a ratio that can be read at any rows."""

    view: Standardised
    at: Array  # (b, d) centres
    sigma: float
    coefficients: Array  # (b,)
    logarithms: Array | float = 0.0  # (b,) of what each Gaussian is divided by, which may underflow

    def read(self, x: Any) -> Array:
        """Return the values (n,) at rows (n, d)."""
        return np.concatenate([self.of(block) for block in self.view.squares(x, self.at)])

    def of(self, distances: Array) -> Array:
        """Return the values (n,) at rows of these squared distances (n, b) from the centres."""
        e = distances * (-0.5 / self.sigma**2)
        e -= self.logarithms
        np.exp(np.minimum(e, 600.0, out=e), out=e)
        return np.maximum(e @ self.coefficients, 0)


def squares(a: Array, b: Array, length: Array | None = None) -> Array:
    """Return squared distances (len(a), len(b)) of rows; ``length`` is that of b's, squared."""
    d = a @ b.T
    d *= -2
    d += np.einsum("nd,nd->n", a, a)[:, None]
    d += np.einsum("nd,nd->n", b, b) if length is None else length
    return np.maximum(d, 0, out=d)


def gaussian(distances: Array, sigma: float, out: Array | None = None) -> Array:
    """Return exp(-distances / (2 sigma²)) of squared distances, in their dtype."""
    k = np.multiply(distances, distances.dtype.type(-0.5 / sigma**2), out=out)
    return np.exp(k, out=k)


def median_distance(a: Array, b: Array | None = None) -> float:
    """Return the median distance between rows of a and b, or of a and a row's others; 0 if none."""
    d = squares(a, a if b is None else b)
    values = d[~np.eye(len(d), dtype=bool)] if b is None else d
    return float(np.sqrt(np.median(values))) if values.size else 0.0
