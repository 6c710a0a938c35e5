"""Batch nuclear norm (BNM): are the target predictions sure, and of many classes?

S. Cui, S. Wang, J. Zhuo, L. Li, Q. Huang, Q. Tian, Towards discriminability and diversity: batch
nuclear-norm maximization under label insufficient situations, CVPR 2020, arXiv:2003.12237; as a
validator in K. Musgrave, S. Belongie, S.-N. Lim, arXiv:2208.07360, 2022. The value is theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence, rows
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities

CHUNK = 65_536  # rows held in float64 at a time


class BatchNuclearNorm(Evaluator):
    """Sum of the singular values of the predictions (n, classes), divided by n.

    It lies in [1 / sqrt(n classes), sqrt(min(n, classes) / n)]: all predictions uniform, and all
    sure with the classes in equal numbers. Only scores on one target compare. Time
    O(n classes² + classes³), memory O(classes²).
    """

    name = "bnm"
    summary = "nuclear norm of the target predictions, over their number"
    reads_labels = False

    def score(self, evidence: Evidence) -> float:
        return nuclear_norm(probabilities(evidence.predictions, evidence.target))


def nuclear_norm(p: Predictions) -> float:
    """Return the nuclear norm of ``p`` (n, classes) divided by n.

    A singular value below 1e-8 of the largest is lost in the rounding of the Gram matrix.
    """
    values = np.linalg.eigvalsh(class_gram(p))
    return float(np.sqrt(values.clip(min=0)).sum() / len(p))


def class_gram(p: Predictions) -> NDArray[np.float64]:
    """Return p' p, float64 (classes, classes)."""
    gram = np.zeros((p.shape[1], p.shape[1]))
    for part in rows.chunks(len(p), CHUNK):
        own = p[part].astype(np.float64)
        gram += own.T @ own
    return gram
