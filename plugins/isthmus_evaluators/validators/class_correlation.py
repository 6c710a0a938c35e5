"""Softmax correlation (Corr-C): do the predictions of different classes exclude each other?

W. Tu, W. Deng, L. Zheng, T. Gedeon, What does softmax probability tell us about classifiers
ranking across diverse test conditions?, TMLR 2024, arXiv:2406.09908 (as "Assessing model
out-of-distribution generalization with softmax prediction probability baselines and a correlation
method" an ICLR 2023 submission). The score is the cosine between the class correlation matrix
C = P'P / n of the target predictions and a reference, here the identity: classes in equal numbers,
as where nothing is known of them. MixVal's code prints the same number up to a factor as "min is
best"; by its definition it is a similarity.
"""

from __future__ import annotations

import math

import numpy as np

from isthmus import Evaluator, Evidence
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities
from isthmus_evaluators.validators.nuclear_norm import class_gram


class ClassCorrelation(Evaluator):
    """Cosine of class correlation matrix and identity, in [1 / sqrt(classes), 1].

    1: all predictions sure, and the classes in equal numbers; the least: all uniform, or all of
    one class. Time O(n classes²), memory O(classes²).
    """

    name = "corr-c"
    summary = "how near the class correlations of the target predictions are to the identity"
    reads_labels = False

    def score(self, evidence: Evidence) -> float:
        return class_correlation(probabilities(evidence.predictions, evidence.target))


def class_correlation(p: Predictions) -> float:
    """Return trace(C) / (|C| sqrt(classes)) with C = p'p, of probabilities (n, classes)."""
    c = class_gram(p)
    return float(np.trace(c) / (np.linalg.norm(c) * math.sqrt(len(c))))
