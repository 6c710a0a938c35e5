"""Does the source cover the target: rows of the target that lie beyond it, and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
LANDMARKS = 2_000  # rows of each domain
QUANTILE = 0.99
FOLDS = 5
C = 0.1  # the discriminator's inverse penalty: separable domains still get finite odds


@dataclass(frozen=True)
class Coverage:
    """``outside`` is the share of target rows beyond the source's own 99 % neighbour distance."""

    outside: float
    expected: float  # of ``outside`` when there is no shift
    effective: float  # sample size of the weighted source, (sum w)² / sum w², in rows
    share: float  # the same as a share of the source's rows


def coverage(
    x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], rng: np.random.Generator
) -> Coverage:
    """Judge how ``x`` (n, d), with importance ``weight`` (n,), covers ``y`` (m, d)."""
    effective = effective_size(weight)
    return Coverage(
        outside=share_outside(x, y, rng),
        expected=1 - QUANTILE,
        effective=effective,
        share=effective / len(x),
    )


def share_outside(x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator) -> float:
    """Return the share of ``y`` that is farther from ``x`` than all but 1 % of ``x`` itself.

    The distance is that to the 5th nearest of 2,000 landmarks of ``x``, leaving itself out.
    """
    from sklearn.neighbors import NearestNeighbors

    landmarks, some = (v if len(v) <= LANDMARKS else _some(v, rng) for v in (x, y))
    k = min(NEIGHBOURS, len(landmarks) - 1)
    index = NearestNeighbors(n_neighbors=k).fit(landmarks)
    own = index.kneighbors()[0][:, -1]  # without an argument a row is not its own neighbour
    reach = np.quantile(own, QUANTILE, method="higher")
    return float((index.kneighbors(some)[0][:, -1] > reach).mean())


def importance_weights(
    x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return p_target / p_source at the rows of ``x`` (n,), mean 1, from a domain classifier.

    S. Bickel et al., ICML 2007. A row's score comes from a logistic model that has not seen the
    row, and scores become odds by a second one (J. Platt, 1999): where the first tells nothing
    about new rows, all weights are 1.
    """
    from isthmus.shift.probe import fit_logistic

    n, m = len(x), len(y)
    z, domain = np.concatenate([x, y]), np.repeat([0, 1], [n, m])
    score = np.zeros((n + m, 1))
    fold = np.concatenate([rng.permutation(np.arange(k) % FOLDS) for k in (n, m)])
    for f in range(FOLDS):
        model = fit_logistic(z[fold != f], domain[fold != f], C=C)
        score[fold == f, 0] = model.decision_function(z[fold == f])
    score /= score.std() or 1.0
    slope = max(float(fit_logistic(score, domain).coef_[0, 0]), 0.0)
    log_odds = slope * score[:n, 0]
    odds = np.exp(log_odds - log_odds.max())  # the largest is 1: the sum cannot underflow
    return np.asarray(odds / odds.mean())


def effective_size(weight: NDArray[Any]) -> float:
    """Return (sum w)² / sum w² (L. Kish, Survey Sampling, 1965), in rows."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def _some(x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(x[rng.choice(len(x), LANDMARKS, replace=False)])
