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
    """``ks`` is the largest gap between the two cumulative distributions, 0 to 1.

    ``cohens_d`` is the target's mean less the source's, in pooled standard deviations.
    """

    name: str
    ks: float
    cohens_d: float
    q: float  # the p-value after Benjamini-Hochberg


@dataclass(frozen=True)
class Columns:
    tested: int
    of: int
    shifted: int  # columns with q below ``LEVEL``
    least_q: float
    top: tuple[Column, ...]  # by ks, the largest first


def columns(x: Any, y: Any, names: Sequence[str]) -> Columns:
    """Compare each column of ``x`` (n, d) with that of ``y`` (m, d), dense or CSR."""
    chosen = _varied(x, y)
    ks, effect = compare_columns(x, y, chosen)
    q = benjamini_hochberg(ks_p(ks, rows.count(x), rows.count(y)))
    first = np.lexsort((chosen, -np.abs(effect), -ks))[:TOP]
    return Columns(
        tested=len(chosen),
        of=len(names),
        shifted=int((q < LEVEL).sum()),
        least_q=float(q.min(initial=1.0)),
        top=tuple(
            Column(names[chosen[i]], float(ks[i]), float(effect[i]), float(q[i])) for i in first
        ),
    )


def compare_columns(
    x: Any, y: Any, chosen: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Kolmogorov-Smirnov statistic and Cohen's d of the chosen columns, each (k,)."""
    if rows.is_sparse(x):
        x, y = x.tocsc(), y.tocsc()
    width = max(1, VALUES // (rows.count(x) + rows.count(y)))
    ks, effect = np.zeros(len(chosen)), np.zeros(len(chosen))
    for part in rows.chunks(len(chosen), width):
        if len(chosen[part]):
            a, b = (rows.dense(v[:, chosen[part]]).astype(np.float64) for v in (x, y))
            ks[part], effect[part] = ks_statistic(a, b), cohens_d(a, b)
    return ks, effect


def ks_statistic(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return the two-sample Kolmogorov-Smirnov statistic of each column of (n, k) and (m, k)."""
    both = np.concatenate([a, b])
    order = np.argsort(both, axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, 0)
    step = np.where(order < len(a), 1 / len(a), -1 / len(b))
    gap = np.abs(np.cumsum(step, axis=0))
    last = np.ones_like(gap, bool)  # of a run of equal values
    last[:-1] = ordered[1:] != ordered[:-1]
    return np.asarray((gap * last).max(0).clip(0, 1))


def ks_p(statistic: NDArray[Any], n: int, m: int) -> NDArray[np.float64]:
    """Return the p-values of two-sample statistics; too large rather than too small with ties."""
    from scipy.stats import kstwo

    return np.asarray(kstwo.sf(statistic, max(1, round(n * m / (n + m)))), np.float64)


def cohens_d(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return (mean of b - mean of a) / pooled standard deviation of each column.

    A column without spread in either domain gets 0.
    """
    n, m = len(a), len(b)
    pooled = np.sqrt(((n - 1) * a.var(0, ddof=1) + (m - 1) * b.var(0, ddof=1)) / (n + m - 2))
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
