"""uLSIF: unconstrained least-squares importance fitting.

Kanamori, Hido & Sugiyama, "A least-squares approach to direct importance estimation", JMLR 10
(2009), with bandwidth and penalty by its closed-form leave-one-out error and its 100 centres.
Negative values of the ratio are cut, as in Kanamori, Suzuki & Sugiyama, Machine Learning 86 (2012);
the paper of 2009 cuts negative coefficients, which cannot follow a smooth ratio: on N(0, I) to
N(0.3, I) in 5 dimensions, 3,000 rows each, the error is 0.81 of the ratio's variance, here 0.11.
Columns are divided by the target's deviation, so that units do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import BadInput, rows
from isthmus.learners.weighting import Reweighting

VALUES = 2**23  # in one dense block: 64 MB
PAIRS = 20000  # leave-one-out pairs at most: beyond, the choice no longer changes
SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)  # in median distances
LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1)
ALONE = (1.0, 0.1)  # bandwidth and penalty where one row leaves no pair to compare by
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ULSIF(Reweighting):
    """Fit p_target / p_source as a sum of Gaussians at target rows, by ridge least squares.

    Cost O(g n b (d + b)) for b centres and g = 8 bandwidths, memory O(20,000 b + b d)
    besides the data: rows are read in blocks, and CSR rows stay sparse until their block.
    """

    name: ClassVar[str] = "ulsif"

    centres: int = 100
    bandwidth: float | None = None  # in median distances; None: chosen by leave-one-out
    penalty: float | None = None  # None: chosen by leave-one-out

    def __post_init__(self) -> None:
        for name in ("centres", "bandwidth", "penalty"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise BadInput(f"ulsif: {name}={value}, expected a number above 0")

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[Any]:
        n_source, n_target = rows.count(x_source), rows.count(x_target)
        view = Standardised(x_source, x_target)
        # Centres and pairs are drawn in an order that depends on the content of the rows alone.
        order_t = rows.canonical_order(x_target)[rng.permutation(n_target)]
        order_s = rows.canonical_order(x_source)[rng.permutation(n_source)]
        centres = view.read(x_target[order_t[: self.centres]])
        some = view.read(x_source[order_s[: self.centres]])
        median = _median(centres, centres) or _median(some, centres) or 1.0
        sigmas = median * np.array(SIGMAS if self.bandwidth is None else [self.bandwidth])
        lambdas = np.array(LAMBDAS if self.penalty is None else [self.penalty])
        n = min(n_source, n_target, PAIRS)
        best = (np.inf, float(sigmas[0]), float(lambdas[0]))
        if n < 2:
            best = (np.inf, median * (self.bandwidth or ALONE[0]), self.penalty or ALONE[1])
        elif len(sigmas) * len(lambdas) > 1:
            for sigma in sigmas:
                h, gram = moments(view, x_source, x_target, centres, sigma)
                k_s = np.concatenate([*view.kernels(x_source[order_s[:n]], centres, sigma)])
                k_t = np.concatenate([*view.kernels(x_target[order_t[:n]], centres, sigma)])
                errors = leave_one_out(h, gram, k_s, k_t, n_source, n_target, lambdas)
                chosen = int(np.argmin(errors))
                best = min(best, (float(errors[chosen]), float(sigma), float(lambdas[chosen])))
        _, sigma, penalty = best
        alpha = solve(*moments(view, x_source, x_target, centres, sigma), penalty)
        found = np.concatenate([k @ alpha for k in view.kernels(x_source, centres, sigma)])
        return np.maximum(found, 0)


class Standardised:
    """Blocks of rows, dense float64, centred and divided by the target's deviation."""

    def __init__(self, x_source: Any, x_target: Any) -> None:
        self.shift, deviation = _moments(x_target)
        mean, other = _moments(x_source)
        # A column that is constant in the target is measured by both domains together.
        both = np.sqrt((np.square(other) + np.square(mean - self.shift)) / 2)
        self.scale = np.where(deviation > 0, deviation, np.where(both > 0, both, 1.0))

    def read(self, x: Any) -> Array:
        dense = np.asarray(rows.dense(x), np.float64)
        return np.asarray((dense - self.shift) / self.scale)

    def kernels(self, x: Any, centres: Array, sigma: float) -> Iterator[Array]:
        """Yield Gaussian kernel blocks (rows, b)."""
        for part in rows.chunks(rows.count(x), max(1, VALUES // max(centres.shape))):
            yield np.exp(-_squares(self.read(x[part]), centres) / (2 * sigma**2))


def moments(
    view: Standardised, x_source: Any, x_target: Any, centres: Array, sigma: float
) -> tuple[Array, Array]:
    """Return the paper's h (b,), mean kernel of the target, and H (b, b), of the source."""
    b = len(centres)
    h = sum((k.sum(0) for k in view.kernels(x_target, centres, sigma)), np.zeros(b))
    gram = sum((k.T @ k for k in view.kernels(x_source, centres, sigma)), np.zeros((b, b)))
    return h / rows.count(x_target), gram / rows.count(x_source)


def solve(h: Array, gram: Array, penalty: float) -> Array:
    """Return alpha (b,) that minimises alpha' H alpha / 2 - h' alpha + penalty |alpha|² / 2."""
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(h)), h))


def leave_one_out(
    h: Array, gram: Array, k_s: Array, k_t: Array, n_s: int, n_t: int, penalties: Array
) -> Array:
    """Return, per penalty, the mean error over the pairs (k_s[i], k_t[i]), each left out in turn.

    ``k_s`` and ``k_t`` are kernel rows (n, b) of n distinct rows of each domain. Leaving a pair
    out changes H and h by one term each, so Sherman-Morrison gives every fit from one.
    """
    values, vectors = np.linalg.eigh(gram)
    s, t, g = k_s @ vectors, k_t @ vectors, h @ vectors
    errors = []
    for penalty in penalties:
        inverse = 1 / (np.maximum(values, 0) + penalty * (n_s - 1) / n_s)
        ss, st, tt = (s * s) @ inverse, (s * t) @ inverse, (t * t) @ inverse
        sh, th = s @ (inverse * g), t @ (inverse * g)
        left = n_s - ss  # above 0: ss is at most n_s values / (values + penalty)
        factor = (n_s - 1) / (n_s * (n_t - 1))
        w_s = factor * (n_t * sh - st) * (1 + ss / left)
        w_t = factor * (n_t * (th + st * sh / left) - (tt + st * st / left))
        w_s, w_t = np.maximum(w_s, 0), np.maximum(w_t, 0)
        errors.append(np.square(w_s).mean() / 2 - w_t.mean())
    return np.array(errors)


def _moments(x: Any) -> tuple[Array, Array]:
    """Return mean and deviation of each column; the deviation of a constant column is 0."""
    n, d = x.shape
    total, largest = np.zeros(d), np.zeros(d)
    parts = [*rows.chunks(n, max(1, VALUES // max(d, 1)))]
    for part in parts:
        block = np.asarray(rows.dense(x[part]), np.float64)
        total += block.sum(0)
        largest = np.maximum(largest, np.abs(block).max(0, initial=0.0))
    mean, square = total / n, np.zeros(d)
    for part in parts:
        square += np.square(np.asarray(rows.dense(x[part]), np.float64) - mean).sum(0)
    deviation = np.sqrt(square / n)
    return mean, np.where(deviation > 1e-12 * largest, deviation, 0.0)


def _squares(a: Array, b: Array) -> Array:
    d = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.maximum(d, 0)


def _median(a: Array, b: Array) -> float:
    """Return the median distance between rows, leaving out a row's distance to itself."""
    d = np.sqrt(_squares(a, b))
    if a is b:
        d = d[~np.eye(len(d), dtype=bool)]
    return float(np.median(d)) if d.size else 0.0
