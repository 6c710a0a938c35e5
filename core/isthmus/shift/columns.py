"""Which columns carry the shift: one test per column, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

TOP = 10
MOST = 4_096  # columns that are tested: those that vary most, whatever their domain
VALUES = 2**20  # of the pooled rows, sorted at once
LEVEL = 0.05  # expected share of false discoveries


@dataclass(frozen=True)
class Column:
    """``moved`` is the 1-Wasserstein distance of the two domains in standard deviations.

    ``ks`` is the largest gap between the cumulative distributions, 0 to 1; ``cohens_d`` the
    target's mean less the source's, in standard deviations within the domains.
    """

    name: str
    moved: float
    ks: float
    cohens_d: float
    q: float  # the p-value after Benjamini-Hochberg


@dataclass(frozen=True)
class Columns:
    tested: int
    of: int
    shifted: int  # columns with q below ``LEVEL``
    least_q: float
    top: tuple[Column, ...]  # the furthest moved first


def columns(x: Any, y: Any, names: Sequence[str]) -> Columns:
    """Compare each column of ``x`` (n, d) with that of ``y`` (m, d), dense or CSR.

    A column is tested by its distribution (Kolmogorov-Smirnov) and by its mean (Student): the
    first hardly sees columns of few values, the second sees nothing but the mean. The order is
    that of ``moved``: an atom that moves a hair's breadth has the largest of KS statistics.
    """
    n, m = rows.count(x), rows.count(y)
    chosen = _varied(x, y)
    if rows.is_sparse(x):
        x, y = x.tocsc(), y.tocsc()
    width = max(1, VALUES // (n + m))
    found = np.zeros((3, len(chosen)))
    for part in rows.chunks(len(chosen), width):
        a, b = (rows.dense(v[:, chosen[part]]).astype(np.float64) for v in (x, y))
        found[:2, part] = gaps(a, b)
        found[2, part] = cohens_d(a, b)
    moved, ks, effect = found
    p = 2 * np.minimum(ks_p(ks, n, m), mean_p(effect, n, m))
    q = benjamini_hochberg(p.clip(0, 1))
    first = np.lexsort((chosen, -ks, -moved))[:TOP]
    return Columns(
        tested=len(chosen),
        of=len(names),
        shifted=int((q < LEVEL).sum()),
        least_q=float(q.min(initial=1.0)),
        top=tuple(
            Column(names[chosen[i]], float(moved[i]), float(ks[i]), float(effect[i]), float(q[i]))
            for i in first
        ),
    )


def gaps(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare the cumulative distributions of the columns of (n, k) and (m, k).

    Returns the area between them in standard deviations of both together, which is the
    1-Wasserstein distance, and the largest gap, which is the Kolmogorov-Smirnov statistic.
    """
    both = np.concatenate([a, b])
    order = np.argsort(both, axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, 0)
    step = np.where(order < len(a), 1 / len(a), -1 / len(b))
    gap = np.abs(np.cumsum(step, axis=0))[:-1]
    width = np.diff(ordered, axis=0)  # 0 inside a run of equal values
    spread = both.std(0)
    area = (gap * width).sum(0)
    moved = np.divide(area, spread, out=np.zeros_like(area), where=spread > 0)
    return moved, (gap * (width > 0)).max(0).clip(0, 1)


def ks_p(statistic: NDArray[Any], n: int, m: int) -> NDArray[np.float64]:
    """Return the p-values of two-sample statistics; too large rather than too small with ties."""
    from scipy.stats import kstwo

    return np.asarray(kstwo.sf(statistic, max(1, round(n * m / (n + m)))), np.float64)


def mean_p(effect: NDArray[Any], n: int, m: int) -> NDArray[np.float64]:
    """Return the p-values of Student's test; ``effect`` is Cohen's d."""
    from scipy.stats import t

    return np.asarray(2 * t.sf(np.abs(effect) * np.sqrt(n * m / (n + m)), n + m - 2), np.float64)


def cohens_d(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return (mean of b - mean of a) / pooled standard deviation of each column.

    A column that is constant in both domains is divided by the spread of both together.
    """
    n, m = len(a), len(b)
    pooled = np.sqrt(((n - 1) * a.var(0, ddof=1) + (m - 1) * b.var(0, ddof=1)) / (n + m - 2))
    pooled = np.where(pooled > 0, pooled, np.concatenate([a, b]).std(0))
    gap = b.mean(0) - a.mean(0)
    return np.asarray(np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0))


def benjamini_hochberg(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return adjusted p-values: Y. Benjamini, Y. Hochberg, J. Royal Statistical Society B, 1995."""
    if not len(p):
        return np.zeros(0)
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(0, 1)
    return q


def _varied(x: Any, y: Any) -> NDArray[np.int64]:
    """Return the columns to test, in order; a choice blind to the domains keeps the test right."""
    d = x.shape[1]
    if d <= MOST:
        return np.arange(d)
    both = rows.concatenate([x, y])
    mean = np.asarray(both.mean(0)).ravel()
    square = both.multiply(both) if rows.is_sparse(both) else np.square(both)
    variance = np.asarray(square.mean(0)).ravel() - mean**2
    return np.sort(np.argsort(-variance, kind="stable")[:MOST])
