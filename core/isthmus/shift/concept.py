"""Concept shift: does p(y|x) differ? Only labelled target instances can tell.

If p(y|x) is shared, the source model's error on the target is its source error, weighted to where
the target is; where the class shares are what moved, it is the error of each class at those shares.
The few labelled target instances say what the error really is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 1.959963984540054  # standard normal quantile of 97.5 %
FEWEST = 10  # labelled target instances
EFFECTIVE = 30  # source rows that the weights leave


@dataclass(frozen=True)
class Concept:
    """Error rates in [0, 1], or mean absolute errors in regression, of a plain source model.

    ``low`` and ``high`` bound 95 % of ``found - expected``.
    """

    expected: float  # if p(y|x) were shared
    found: float  # on the labelled target instances
    low: float
    high: float
    instances: int
    effective: float  # source rows
    proportion: bool  # False: mean absolute errors
    weighted_by: str  # "importance" | "class shares"
    verdict: str  # "shown" | "none shown" | "unknown"


def concept_shift(
    source: NDArray[Any],
    y: NDArray[Any],
    support: NDArray[Any],
    y_support: NDArray[Any],
    weight: NDArray[Any],
    effective: float,
    weighted_by: str,
) -> Concept:
    """Compare the support's error with the source's, ``weight`` (n_source,) to the target.

    ``effective`` is what the weighted rows are worth.
    ``source`` and ``support`` are what a ``probe.Probe`` says of the labelled rows.
    """
    classes = np.issubdtype(y.dtype, np.integer)
    own = _losses(source, y, classes)
    there = np.mean([_losses(p, y_support, classes) for p in support], axis=0)
    n, m = effective, len(there)
    expected, found = float(np.average(own, weights=weight)), float(there.mean())
    interval = _newcombe if classes else _welch
    low, high = interval(
        found - expected,
        (expected, float(np.average(np.square(own - expected), weights=weight)), n),
        (found, float(there.var(ddof=1)) if m > 1 else math.inf, m),
    )
    verdict = "shown" if low > 0 else "none shown"
    if m < FEWEST or n < EFFECTIVE:
        verdict = "unknown"
    return Concept(
        expected=expected,
        found=found,
        low=low,
        high=high,
        instances=m,
        effective=n,
        proportion=bool(classes),
        weighted_by=weighted_by,
        verdict=verdict,
    )


def wilson(p: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927)."""
    z2 = CONFIDENCE**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = CONFIDENCE / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return centre - half, centre + half


Measured = tuple[float, float, float]  # mean, variance, rows


def _newcombe(gap: float, source: Measured, there: Measured) -> tuple[float, float]:
    """Interval of a difference of proportions (R. Newcombe, Statistics in Medicine 17, 1998)."""
    (e, _, n), (f, _, m) = source, there
    (e_low, e_high), (f_low, f_high) = wilson(e, n), wilson(f, m)
    return (
        gap - math.hypot(f - f_low, e_high - e),
        gap + math.hypot(f_high - f, e - e_low),
    )


def _welch(gap: float, source: Measured, there: Measured) -> tuple[float, float]:
    from scipy.stats import t

    (_, v, n), (_, w, m) = source, there
    error = v / n + w / m
    if not math.isfinite(error):
        return -1e308, 1e308
    if error == 0:
        return gap, gap
    freedom = error**2 / ((v / n) ** 2 / max(n - 1, 1) + (w / m) ** 2 / max(m - 1, 1))
    half = float(t.ppf(0.975, max(freedom, 1.0))) * math.sqrt(error)
    return gap - half, gap + half


def _losses(p: NDArray[Any], y: NDArray[Any], classes: bool) -> NDArray[np.float64]:
    if classes:
        return np.asarray(p.argmax(1) != y, np.float64)
    return np.asarray(np.abs(p - y).mean(1))
