"""Evaluators that read the probabilities themselves: log loss, Brier score, calibration error."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities

EPSILON = float(np.finfo(np.float32).eps)  # the least probability a label is charged for
BINS = 15  # as in Guo et al.


class LogLoss(Evaluator):
    """Mean negative log-likelihood of the labels, in nats: 0 is perfect, ln(classes) is a guess.

    A label is charged for a probability of at least 1.2e-7 (the epsilon of float32), so one
    instance costs at most 15.9 nats.
    """

    name = "log-loss"
    summary = "negative log-likelihood of the labels, in nats"
    reads_labels = True
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return float(log_losses(*_read(evidence)).mean())


class Brier(Evaluator):
    """Squared distance between probabilities and one-hot label, in [0, 2].

    The multi-class form: summed over the classes, averaged over the instances (G. W. Brier,
    Verification of forecasts expressed in terms of probability, Monthly Weather Review, 1950).
    """

    name = "brier"
    summary = "squared error of the probabilities, summed over the classes"
    reads_labels = True
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return brier(*_read(evidence))


class ExpectedCalibrationError(Evaluator):
    """Mean gap between confidence and accuracy over 15 bins of confidence, in [0, 1].

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks,
    ICML 2017, arXiv:1706.04599. Bins have equal width and own their upper edge; confidence is
    the probability of the most probable class.
    """

    name = "expected-calibration-error"
    summary = "gap between confidence and accuracy, averaged over 15 bins of confidence"
    reads_labels = True
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        return expected_calibration_error(*_read(evidence))


def log_losses(p: Predictions, y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -ln p[i, y[i]] for probabilities (n, classes) and class ids (n,): (n,), in nats."""
    own = p[np.arange(len(y)), y].astype(np.float64)
    return np.asarray(0.0 - np.log(own.clip(EPSILON, 1)))  # not -log: a perfect loss is not -0


def losses(
    p: Predictions, y: NDArray[np.int64], kind: Literal["log", "zero-one"]
) -> NDArray[np.float64]:
    """Return what each instance costs, (n,): its log loss in nats, or 1 where it is misjudged."""
    return log_losses(p, y) if kind == "log" else (p.argmax(1) != y).astype(np.float64)


def brier(p: Predictions, y: NDArray[np.int64]) -> float:
    """Return the Brier score of probabilities (n, classes) for class ids (n,)."""
    # |p - e_y|^2 = |p|^2 - 2 p_y + 1 without an (n, classes) array of differences.
    square = np.einsum("nk,nk->n", p, p, dtype=np.float64)
    own = p[np.arange(len(y)), y].astype(np.float64)
    return float((square - 2 * own + 1).clip(0).mean())


def expected_calibration_error(p: Predictions, y: NDArray[np.int64], bins: int = BINS) -> float:
    """Return the ECE of probabilities (n, classes) for class ids (n,)."""
    confidence, right = p.max(1).astype(np.float64), p.argmax(1) == y
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, right - confidence, minlength=bins)  # |bin| (accuracy - confidence)
    return float(np.abs(gap).sum() / len(y))


def _read(evidence: Evidence) -> tuple[Predictions, NDArray[np.int64]]:
    y = evidence.labels  # first: without labels there is nothing to predict for
    return probabilities(evidence.predictions, evidence.target), y
