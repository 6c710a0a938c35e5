"""Evaluators of regression; with several outputs, the plain mean of the outputs' scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence
from isthmus_evaluators.predictions import checked

VALUES = frozenset({"values"})


class R2(Evaluator):
    """Coefficient of determination: 1 is perfect, 0 is no better than the mean of the labels.

    An output whose labels are all equal (one instance, for example) has no variance to explain:
    it scores 1 where every prediction is exact and 0 otherwise, so the result is finite.
    """

    name = "r2"
    summary = "share of the labels' variance that is explained"
    reads_labels = True
    outputs = VALUES

    def score(self, evidence: Evidence) -> float:
        return r2(*_read(evidence))


class MeanAbsoluteError(Evaluator):
    """Mean absolute error, in the unit of the outputs."""

    name = "mae"
    summary = "mean absolute error, in the unit of the outputs"
    reads_labels = True
    outputs = VALUES
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return mae(*_read(evidence))


class RootMeanSquaredError(Evaluator):
    """Root mean squared error, in the unit of the outputs: the root is taken per output."""

    name = "rmse"
    summary = "root mean squared error, in the unit of the outputs"
    reads_labels = True
    outputs = VALUES
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return rmse(*_read(evidence))


def r2(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the mean R2 over the outputs of labels and predictions (n, outputs)."""
    residual = ((y - predicted) ** 2).sum(0)
    spread = ((y - y.mean(0)) ** 2).sum(0)
    # Equality, not spread == 0: the mean of equal numbers may differ from them by rounding.
    varies = np.ptp(y, axis=0) > 0
    constant = (residual == 0).astype(np.float64)
    unexplained = np.divide(residual, spread, out=1 - constant, where=varies & (spread > 0))
    return float((1 - unexplained).mean())


def mae(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the mean absolute error of predictions (n, outputs)."""
    return float(np.abs(y - predicted).mean())


def rmse(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the mean over the outputs of the root mean squared error of (n, outputs)."""
    return float(np.sqrt(((y - predicted) ** 2).mean(0)).mean())


def _read(evidence: Evidence) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y = evidence.labels  # first: without labels there is nothing to predict for
    p = checked(evidence.predictions, evidence.target)
    # float64: the square of a float32 overflows above 1.8e19.
    return y.astype(np.float64), p.astype(np.float64)
