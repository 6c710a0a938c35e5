"""A linear model's penalty, chosen on the rows that it is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Labels
from isthmus.strategy import Run

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0)
FOLDS = 5


def draw_folds(x: Any, y: Labels, classes: bool, run: Run) -> NDArray[np.int64]:
    """Return a fold for each row, int64 (n,): stratified by class, by seed and content."""
    order = rows.shuffled(x, run.rng(), y)
    if classes:
        order = order[np.argsort(np.asarray(y)[order], kind="stable")]
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    return fold


def choose_penalty(
    model: Callable[[float], Any], x: Any, y: Labels, weight: Any, fold: NDArray[np.int64]
) -> float:
    """Return the penalty whose scikit-learn model scores best on the folds held back.

    The score is accuracy or R². Among equals the largest penalty wins; too few rows take 1.
    """
    if len(fold) < 2 * FOLDS:
        return 1.0
    w = np.ones(len(fold)) if weight is None else weight
    scores = np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        train, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if len(np.unique(y[train])) < 2:
            continue
        for i, penalty in enumerate(PENALTIES):
            fitted = model(penalty).fit(x[train], y[train], sample_weight=w[train])
            scores[i] += w[held].sum() * fitted.score(x[held], y[held], sample_weight=w[held])
    return max(zip(scores.round(9), PENALTIES, strict=True))[1]
