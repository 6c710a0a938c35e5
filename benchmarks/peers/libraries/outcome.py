"""What every library's method returns, and what is done with it alike for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.neighbors import KNeighborsClassifier

PENALTIES = [0.001, 0.01, 0.1, 1.0, 10.0]  # C of logistic regression, chosen on training rows


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Mapped training rows and how to map others, for a head to be put behind; or a model."""

    source: Any = None  # (n_source, k) rows that a head is fitted on
    y: Any = None  # their labels, where these are not the source's
    target: Callable[[Any], Any] = lambda x: x
    predict: Callable[[Any], Any] | None = None  # class ids: this is a model, and has its own head
    new: Callable[[Any], Any] | None = None  # maps source rows that were not there in training
    notes: Callable[[], dict[str, Any]] = dict  # JSON values, computed when the clock has stopped


def nearest(found: Outcome, y_source: Any) -> Callable[[Any], Any]:
    """Fit 1-NN on the mapped rows and return what labels target rows."""
    head = KNeighborsClassifier(1).fit(found.source, y_source if found.y is None else found.y)
    return lambda x: head.predict(found.target(x))


def heads(found: Outcome, y_source: Any, x: Any, y: Any) -> dict[str, float]:
    """Return the accuracy on rows ``x`` of each head: the model's own, or 1-NN and logistic."""
    if found.predict is not None:
        return {"own": float((found.predict(x) == y).mean())}
    given = y_source if found.y is None else found.y
    z, rows = np.asarray(found.source, np.float64), np.asarray(found.target(x), np.float64)
    if not (np.isfinite(z).all() and np.isfinite(rows).all()):
        raise ValueError("mapped rows are not finite")
    out = {"1nn": float((KNeighborsClassifier(1).fit(z, given).predict(rows) == y).mean())}
    # One factor for all columns, so that the grid of penalties suits any length of rows.
    z, centre, size = z - z.mean(0), z.mean(0), np.sqrt(z.var(0).mean()) or 1.0
    folds = max(2, min(3, int(np.bincount(given)[np.unique(given)].min())))
    logistic = LogisticRegressionCV(
        Cs=PENALTIES,
        cv=folds,
        max_iter=200,
        tol=1e-3,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    ).fit(z / size, given)
    out["lr"] = float((logistic.predict((rows - centre) / size) == y).mean())
    return out


def transport_notes(plan: Any, cost: Any) -> dict[str, Any]:
    """Return the cost of a plan (n, m) and what its column sums are off by, in total."""
    off = np.abs(plan.sum(0) - 1 / plan.shape[1]).sum()
    return {"cost": float((plan * cost).sum()), "marginal_error": float(off)}


def trace_criterion(
    x_source: Any, x_target: Any, rows: Any, gamma: float, weights: Any, penalty: float
) -> float:
    """Return TCA's objective: variance over discrepancy plus penalty, for any length of directions.

    It is tr((W' A W)^-1 W' K H K W) with K the Gaussian kernel between all rows and ``rows``, H the
    centring matrix, A = K L K / |L| + penalty I, and L the MMD matrix (Pan et al., 2011).
    ``weights`` W (len(rows), k).
    """
    x = np.concatenate([x_source, x_target]).astype(np.float64)
    n, m = len(x_source), len(x_target)
    contrast = np.repeat([1 / n, -1 / m], [n, m])
    scaled, w = np.zeros((n + m, weights.shape[1])), np.asarray(weights, np.float64)
    for start in range(0, n + m, 1000):  # K is never whole
        some = x[start : start + 1000]
        square = np.square(some).sum(1)[:, None] + np.square(rows).sum(1) - 2 * some @ rows.T
        scaled[start : start + 1000] = np.exp(-gamma * np.maximum(square, 0)) @ w
    gap = contrast @ scaled / np.sqrt(contrast @ contrast)
    below = np.outer(gap, gap) + penalty * (w.T @ w)
    above = scaled - scaled.mean(0)
    return float(np.trace(np.linalg.solve(below, above.T @ above)))
