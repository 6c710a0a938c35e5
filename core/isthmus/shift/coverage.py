"""Does the source cover the target: rows of the target that lie beyond it, and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
LANDMARKS = 2_000  # rows of each domain
QUANTILE = 0.99
WIDEST = 10.0  # times the source's spread that the pooled one may be


@dataclass(frozen=True)
class Coverage:
    """``outside`` is the share of target rows beyond the source's own 99 % neighbour distance."""

    outside: float
    expected: float  # of ``outside`` when there is no shift
    effective: float  # rows that importance weights leave of the source
    share: float  # the same as a share of the source's rows


@dataclass(frozen=True, eq=False)
class Ratio:
    """p_target / p_source at the rows of the source (n,) and of the target (m,)."""

    source: NDArray[np.float64]
    target: NDArray[np.float64]

    @property
    def effective(self) -> float:
        """Return how many rows the weighted source is worth.

        (sum w)² / sum w² over the source is, in expectation, n / (mean of w over the target). The
        first is blind where no source row resembles the target: all weights are then alike, and
        alike worthless. So the smaller one counts.
        """
        reach = max(float(self.target.mean()), 1.0)
        return min(effective_size(self.source), len(self.source) / reach)


def coverage(x: NDArray[Any], y: NDArray[Any], ratio: Ratio, rng: np.random.Generator) -> Coverage:
    """Judge how ``x`` (n, d) covers ``y`` (m, d)."""
    # Distances are counted in the source's spread: a far target widens that of the pooled rows.
    both, own = np.concatenate([x, y]).std(0), x.std(0)
    scale = np.divide(both, own, out=np.ones_like(both), where=own > 0).clip(1, WIDEST)
    return Coverage(
        outside=share_outside(x * scale, y * scale, rng),
        expected=1 - QUANTILE,
        effective=ratio.effective,
        share=ratio.effective / len(x),
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


def density_ratio(score: NDArray[Any], n: int) -> Ratio:
    """Estimate p_target / p_source at ``n`` source rows and the target rows behind them.

    The odds of a domain classifier: S. Bickel et al., ICML 2007. ``score`` (n + m,) is each row's
    score by a model that has not seen it, and becomes odds by logistic regression (J. Platt,
    1999): where scores tell nothing of new rows, the ratio is 1 everywhere.
    """
    from isthmus.shift.probe import fit_logistic

    m = len(score) - n
    score = ((score - score.mean()) / (score.std() or 1.0))[:, None]
    odds = fit_logistic(score, np.repeat([0, 1], [n, m]))
    log_ratio = np.zeros(n + m)
    if odds.coef_[0, 0] > 0:
        log_ratio = odds.decision_function(score) + np.log(n / m)
    # Where n rows of one domain show nothing, its density is below one in n: no more is known.
    ratio = np.exp(log_ratio.clip(-np.log(m), np.log(n)))
    return Ratio(source=ratio[:n], target=ratio[n:])


def effective_size(weight: NDArray[Any]) -> float:
    """Return (sum w)² / sum w² (L. Kish, Survey Sampling, 1965), in rows."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def _some(x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(x[rng.choice(len(x), LANDMARKS, replace=False)])
