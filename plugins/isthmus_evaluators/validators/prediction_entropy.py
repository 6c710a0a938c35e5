"""Mean entropy of the target predictions: how unsure is the model?

P. Morerio, J. Cavazza, V. Murino, Minimal-entropy correlation alignment for unsupervised deep
domain adaptation, ICLR 2018, arXiv:1711.10288, choose hyper-parameters by it. skada's
PredictionEntropyScorer is this number divided by the number of classes, with the sign changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence, rows
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities

CHUNK = 65_536  # rows whose entropy is held in float64 at a time


class Entropy(Evaluator):
    """Mean Shannon entropy of the predictions, in nats, in [0, ln(classes)]; lower is better.

    It cannot see a model that is sure and wrong: one that always predicts one class scores 0, the
    best there is. Time O(n classes), bounded memory.
    """

    name = "entropy"
    summary = "how unsure the target predictions are, in nats"
    reads_labels = False
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return mean_entropy(probabilities(evidence.predictions, evidence.target))


def mean_entropy(p: Predictions) -> float:
    """Return the mean Shannon entropy of the rows of (n, classes), in nats."""
    return sum(float(entropy(p[part]).sum()) for part in rows.chunks(len(p), CHUNK)) / len(p)


def entropy(p: Predictions) -> NDArray[np.float64]:
    """Return the Shannon entropy of each row of (n, classes), in nats (n,); 0 ln 0 is 0."""
    from scipy.special import entr

    return np.asarray(entr(p.astype(np.float64)).sum(1))
