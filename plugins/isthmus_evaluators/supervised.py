"""Evaluators that compare the most probable class with the label.

All of them are functions of the confusion matrix, int64 (classes, classes): row = label, column =
prediction. A tie goes to the lower class id. Precision, recall and F1 are macro averages over
the classes present in the labels or in the predictions, as in scikit-learn: a class that a model
invents costs it, a class that neither names is no evidence. A ratio over nothing counts as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence
from isthmus_evaluators.predictions import checked


class Accuracy(Evaluator):
    """Share of the instances whose most probable class is the label, in [0, 1]."""

    name = "accuracy"
    summary = "share of the instances whose most probable class is right"
    reads_labels = True

    def score(self, evidence: Evidence) -> float:
        return accuracy(_matrix(evidence))


class BalancedAccuracy(Evaluator):
    """Mean recall over the classes present in the labels, in [0, 1]."""

    name = "balanced-accuracy"
    summary = "recall averaged over the classes present in the labels"
    reads_labels = True

    def score(self, evidence: Evidence) -> float:
        return balanced_accuracy(_matrix(evidence))


class Precision(Evaluator):
    """Macro precision, in [0, 1]: of what is called a class, how much is."""

    name = "precision"
    summary = "precision averaged over the classes present in labels or predictions"
    reads_labels = True

    def score(self, evidence: Evidence) -> float:
        return _macro(precision, _matrix(evidence))


class Recall(Evaluator):
    """Macro recall, in [0, 1]: of what is a class, how much is found."""

    name = "recall"
    summary = "recall averaged over the classes present in labels or predictions"
    reads_labels = True

    def score(self, evidence: Evidence) -> float:
        return _macro(recall, _matrix(evidence))


class F1(Evaluator):
    """Macro F1, in [0, 1]: the mean over classes of the harmonic mean of precision and recall."""

    name = "f1"
    summary = "F1 averaged over the classes present in labels or predictions"
    reads_labels = True

    def score(self, evidence: Evidence) -> float:
        return _macro(f1, _matrix(evidence))


class F1PerClass(Evaluator):
    """F1 by name of the classes in labels or predictions; their mean is the score of ``f1``."""

    name = "f1-per-class"
    summary = "F1 of each class present in labels or predictions"
    reads_labels = True
    scalar = False

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        matrix = _matrix(evidence)
        names, values, seen = evidence.schema.classes, f1(matrix), present(matrix)
        return {names[i]: float(values[i]) for i in np.flatnonzero(seen)}


class ConfusionMatrix(Evaluator):
    """Number of instances by true class, then by predicted class; every class is listed."""

    name = "confusion-matrix"
    summary = "how often each class is taken for each other: counts by true, then predicted class"
    reads_labels = True
    scalar = False

    def score(self, evidence: Evidence) -> Mapping[str, Mapping[str, int]]:
        names, counts = evidence.schema.classes, _matrix(evidence).tolist()
        return {names[i]: dict(zip(names, row, strict=True)) for i, row in enumerate(counts)}


def confusion(y: NDArray[np.int64], predicted: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Count labels ``y`` against ``predicted``, class ids int64 (n,) of ``k`` classes: (k, k)."""
    return np.bincount(y * k + predicted, minlength=k * k).reshape(k, k)


def accuracy(matrix: NDArray[np.int64]) -> float:
    return float(np.trace(matrix) / matrix.sum())


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    return float(recall(matrix)[matrix.sum(1) > 0].mean())


def precision(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the precision of each class (classes,); 0 where it is never predicted."""
    return _ratio(np.diagonal(matrix), matrix.sum(0))


def recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the recall of each class (classes,); 0 where it has no instance."""
    return _ratio(np.diagonal(matrix), matrix.sum(1))


def f1(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the F1 of each class (classes,): 2 TP / (2 TP + FP + FN); 0 where absent."""
    return _ratio(2 * np.diagonal(matrix), matrix.sum(0) + matrix.sum(1))


def present(matrix: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which classes the labels or the predictions name, bool (classes,)."""
    return np.asarray(matrix.sum(0) + matrix.sum(1) > 0)


def _matrix(evidence: Evidence) -> NDArray[np.int64]:
    y = evidence.labels  # first: without labels there is nothing to predict for
    p = checked(evidence.predictions, evidence.target)
    return confusion(y, p.argmax(1), len(evidence.schema.classes))


def _macro(
    per_class: Callable[[NDArray[np.int64]], NDArray[np.float64]], matrix: NDArray[np.int64]
) -> float:
    return float(per_class(matrix)[present(matrix)].mean())


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
