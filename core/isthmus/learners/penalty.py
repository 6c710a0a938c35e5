"""A learner's penalty, chosen on the rows that it is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Labels, Schema
from isthmus.learners.learner import Learner, weighted_rows
from isthmus.strategy import Run

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
FOLDS = 5


def choose_penalty(
    learner: Callable[[float], Learner], x: Any, y: Labels, weight: Any, schema: Schema, run: Run
) -> float:
    """Return the penalty with the best accuracy, or squared error, by 5-fold cross-validation.

    Folds are stratified, drawn by seed and content. Among equals the largest penalty wins.
    """
    x, y, weight = weighted_rows(x, y, weight)
    order = rows.shuffled(x, run.rng(), y)
    if not schema.is_regression:
        order = order[np.argsort(np.asarray(y)[order], kind="stable")]
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    if len(order) < 2 * FOLDS:
        return 1.0
    w = np.ones(len(order)) if weight is None else weight
    scores = np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        train, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        for i, penalty in enumerate(PENALTIES):
            model = learner(penalty).fit(x[train], y[train], w[train], schema, run)
            scores[i] += w[held] @ _right(model.predict(x[held]), y[held], schema)
    return max(zip(scores.round(9), PENALTIES, strict=True))[1]


def _right(p: NDArray[np.float32], y: Labels, schema: Schema) -> NDArray[np.float64]:
    """Return how right each prediction is (n,): 1 or 0 for classes, -squared error for values."""
    if schema.is_regression:
        return np.asarray(-np.square(p - np.asarray(y), dtype=np.float64).sum(1))
    return np.asarray(p.argmax(1) == y, np.float64)
