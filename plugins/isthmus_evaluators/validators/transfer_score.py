"""Proxy transfer score: evenly spread classes, clustered features, sure and varied predictions.

J. Yang, H. Qian, Y. Xu, K. Wang, L. Xie, Can we evaluate domain adaptation models without
target-domain labels?, ICLR 2024, arXiv:2305.18712. Their transfer score is -U + H + M / ln K: U is
how unequal the angles between the K weight vectors of the last layer are, H the Hopkins statistic
of the target features (A. Banerjee, R. N. Dave, FUZZ-IEEE 2004), M the mutual information of
instances and predictions. An artefact need not have weight vectors, so U is measured on the class
means of the target features about their centre, which align with them in a well-trained network
(V. Papyan, X. Y. Han, D. L. Donoho, PNAS 117, 2020). Hence "proxy".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence, rows
from isthmus.domain import Predictions
from isthmus.errors import BadInput
from isthmus_evaluators.predictions import at_least, probabilities, usable_features
from isthmus_evaluators.validators.information_maximisation import mutual_information
from isthmus_evaluators.validators.sampling import sample

ROWS = 1_000  # of the Hopkins statistic at most, and a tenth of the target, but at least 100
CHUNK = 4_096  # rows whose features are held in float64 at a time


class ProxyTransferScore(Evaluator):
    """-U + H + M / ln K, in [-pi², 2]: U >= 0 in squared radians, the others in [0, 1].

    In many dimensions d the published H is 0 or 1 for most models, as distances enter to the
    power d. Time O(n d K) and O(m² d) for the m <= 1,000 instances (chosen by content) of the
    Hopkins statistic, memory O(m² + K d).
    """

    name = "proxy-transfer-score"
    summary = "evenly spread class means, clustered features, sure and varied predictions"
    reads_labels = False
    reads_features = True

    def score(self, evidence: Evidence) -> float:
        at_least(2, evidence.target, self.name)
        features = usable_features(evidence.features, evidence.target)
        p = probabilities(evidence.predictions, evidence.target)
        if (k := p.shape[1]) < 2:
            raise BadInput(f"{self.name} needs two classes, {evidence.target.name} has {k}")
        index = sample(evidence.target, min(ROWS, max(100, len(p) // 10)))
        return (
            -unevenness(class_directions(features, p))
            + hopkins(features[index], np.random.default_rng(0))
            + mutual_information(p) / math.log(k)
        )


def class_directions(features: NDArray[np.float32], p: Predictions) -> NDArray[np.float64]:
    """Return the mean features of each class, weighted by ``p``, less the mean of these, (K, d).

    A class with no probability anywhere has no direction: its row is 0.
    """
    sums = np.zeros((p.shape[1], features.shape[1]))
    for part in rows.chunks(len(p), CHUNK):
        sums += p[part].T.astype(np.float64) @ features[part].astype(np.float64)
    mass = p.sum(0, dtype=np.float64)
    seen = mass > 0
    sums[seen] /= mass[seen, None]
    sums[seen] -= sums[seen].mean(0)
    return sums


def unevenness(w: NDArray[np.float64]) -> float:
    """Return U: the mean over pairs of (angle - ideal angle)² of the rows of ``w`` (K, d), K >= 2.

    The ideal, arccos(-1 / (K - 1)), can be reached where d >= K - 1. Rows of length 0 are at
    right angles to all.
    """
    k = len(w)
    unit = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-30)
    angle = np.arccos((unit @ unit.T).clip(-1, 1))[~np.eye(k, dtype=bool)]
    return float(np.mean((angle - math.acos(-1 / (k - 1))) ** 2))


def hopkins(x: NDArray[np.float32], rng: np.random.Generator) -> float:
    """Return the Hopkins statistic of ``x`` (m, d), m >= 2: about 0.5 if uniform, 1 if clustered.

    sum u^d / (sum u^d + sum w^d): w are the distances of rows to their nearest other row, u those
    of m points, uniform in the bounding box, to their nearest row.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import expit, logsumexp

    x = x.astype(np.float64)
    low, high = x.min(0), x.max(0)
    if (low == high).all():
        return 0.5  # one point: neither spread nor clustered
    own = cdist(x, x)
    np.fill_diagonal(own, np.inf)
    other = cdist(rng.uniform(low, high, x.shape), x)
    with np.errstate(divide="ignore"):  # ln 0 of a duplicate row is -inf, and its term 0
        u, w = (x.shape[1] * np.log(d.min(1)) for d in (other, own))
    return float(expit(logsumexp(u) - logsumexp(w)))
