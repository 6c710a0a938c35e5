"""Is there a shift: can a classifier tell the domains apart on rows that it has not seen?

D. Lopez-Paz, M. Oquab, Revisiting classifier two-sample tests, ICLR 2017. The p-value comes from
permuting the domains of the rows within each fold and fitting anew, which is exact at any size and
any imbalance; the accuracy of a cross-fitted classifier is not binomial, as the folds share rows.
Least squares makes that cheap: all permutations of a fold are solved with one factorisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
PERMUTATIONS = 199
FREQUENCIES = 192  # random Fourier features: twice as many columns
PENALTIES = (1e-3, 1e-1)  # ridge penalties, as shares of the mean eigenvalue


@dataclass(frozen=True)
class TwoSample:
    """``accuracy`` is balanced: the mean of the two domains' recalls, 0.5 by chance."""

    accuracy: float
    chance: float  # 95 % of the accuracies without a shift lie below
    p: float
    permutations: int

    @property
    def a_distance(self) -> float:
        """Return 2 (1 - 2 error) in [0, 2]; S. Ben-David et al., NeurIPS 2006."""
        return float(np.clip(2 * (2 * self.accuracy - 1), 0, 2))

    @property
    def a_chance(self) -> float:
        return float(np.clip(2 * (2 * self.chance - 1), 0, 2))


def two_sample(
    x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> TwoSample:
    """Test whether the rows ``x`` (n, d) and ``y`` (m, d) come from one distribution.

    See ``tell_apart``.
    """
    return tell_apart(x, y, rng, permutations)[0]


def tell_apart(
    x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> tuple[TwoSample, NDArray[np.float64]]:
    """Return the test, and how much like the target each row looks to a model without it (n + m,).

    The best of linear and Gaussian-kernel least squares at two penalties; each permutation takes
    its best as well, so the choice costs nothing. p is at least 1 / (permutations + 1).
    O((n + m) k (k + permutations)) time, k the number of columns or of random features.
    """
    n = len(x)
    z = np.concatenate([x, y]).astype(np.float64)
    fold = np.empty(len(z), np.int64)
    for part in (slice(0, n), slice(n, len(z))):
        size = part.stop - part.start
        fold[part] = rng.permutation(np.arange(size) % min(FOLDS, n, len(y)))
    domain = np.repeat([False, True], [n, len(y)])
    labels = np.repeat(domain[:, None], permutations + 1, axis=1)
    for f in np.unique(fold):
        inside = np.flatnonzero(fold == f)
        for b in range(1, permutations + 1):
            labels[inside, b] = domain[rng.permutation(inside)]
    forms = [z, _random_features(z, rng)]
    found = [pair for form in forms for pair in _judged(form, labels, fold)]
    best = np.max([accuracy for accuracy, _ in found], axis=0)
    without = best[1:] if permutations else np.array([0.5])
    test = TwoSample(
        accuracy=float(best[0]),
        chance=float(np.quantile(without, 0.95)),
        p=float((1 + (without >= best[0] - 1e-12).sum()) / (permutations + 1)),
        permutations=permutations,
    )
    return test, max(found, key=lambda pair: float(pair[0][0]))[1]


def median_distance(z: NDArray[Any], rng: np.random.Generator, most: int = 1000) -> float:
    """Return the median Euclidean distance between rows of ``z``, of ``most`` rows at most."""
    from scipy.spatial.distance import pdist

    some = z if len(z) <= most else z[rng.choice(len(z), most, replace=False)]
    distance = pdist(some)
    positive = distance[distance > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _random_features(z: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return random Fourier features of a Gaussian kernel (Rahimi & Recht, NeurIPS 2007)."""
    w = rng.normal(size=(z.shape[1], FREQUENCIES)) / median_distance(z, rng)
    return np.hstack([np.cos(z @ w), np.sin(z @ w)])


def _judged(
    z: NDArray[Any], labels: NDArray[np.bool_], fold: NDArray[Any]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return for each penalty the balanced accuracies on ``labels`` (n, b), as (b,).

    And the scores of the rows, (n,), of the models of the first column.
    """
    from scipy.linalg import cho_factor, cho_solve

    hits = np.zeros((len(PENALTIES), 2, labels.shape[1]))
    scores = np.zeros((len(PENALTIES), len(z)))
    for f in np.unique(fold):
        seen, held = z[fold != f], z[fold == f]
        centre = seen.mean(0)
        seen, held = seen - centre, held - centre
        is_target = labels[fold != f].astype(np.float64)
        share = is_target[:, :1].mean()  # the same in every column: permuted within folds
        gram, cross = seen.T @ seen, seen.T @ is_target
        # The rows sum to zero, and so do the sums of the two domains.
        middle = (cross / share - cross / (1 - share)) / (2 * len(seen))
        level = max(np.trace(gram) / len(gram), 1e-12)
        for i, penalty in enumerate(PENALTIES):
            ridge = gram + penalty * level * np.eye(len(gram))
            w = cho_solve(cho_factor(ridge), cross)
            score = held @ w - (middle * w).sum(0)
            scores[i, fold == f] = score[:, 0]
            says_target = score > 0
            truth = labels[fold == f]
            hits[i, 1] += (says_target & truth).sum(0)
            hits[i, 0] += (~says_target & ~truth).sum(0)
    n_target = labels[:, 0].sum()
    return [
        ((h[0] / (len(z) - n_target) + h[1] / n_target) / 2, s)
        for h, s in zip(hits, scores, strict=True)
    ]
