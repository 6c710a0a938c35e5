"""Information maximisation: are the target predictions confident, and different from each other?

A. Krause, P. Perona, R. Gomes, Discriminative clustering by regularized information
maximization, NeurIPS 2010; as an objective of adaptation in J. Liang, D. Hu, J. Feng, Do we
really need to access the source data? (SHOT), ICML 2020, arXiv:2002.08546.
"""

from __future__ import annotations

import numpy as np

from isthmus import Evaluator, Evidence
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities
from isthmus_evaluators.validators.prediction_entropy import entropy, mean_entropy


class InformationMaximisation(Evaluator):
    """Mutual information between instance and predicted class, in nats, in [0, ln(classes)].

    It assumes that the target holds all classes in similar numbers: a model that predicts a truly
    rare class rarely is marked down, and one that is confident, balanced and wrong is not.
    Time O(n classes), bounded memory.
    """

    name = "information-maximisation"
    summary = "mutual information of target instances and predicted classes, in nats"
    reads_labels = False

    def score(self, evidence: Evidence) -> float:
        return mutual_information(probabilities(evidence.predictions, evidence.target))


def mutual_information(p: Predictions) -> float:
    """Return H(mean of the rows) - mean of H(row) of probabilities (n, classes), in nats."""
    between = float(entropy(p.mean(0, dtype=np.float64)[None])[0])
    return max(0.0, between - mean_entropy(p))  # never negative (Jensen), but for rounding
