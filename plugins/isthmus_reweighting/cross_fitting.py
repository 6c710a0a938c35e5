"""What a learner predicts of rows that it was not fitted to.

Cross-fitting: Chernozhukov et al., "Double/debiased machine learning for treatment and structural
parameters", The Econometrics Journal 21 (2018), arXiv:1608.00060.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Run, Task, rows
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossFitted:
    """Predictions of models that saw only a part of the source."""

    source: NDArray[Any]  # (n_source, width), each row by the model that did not see it
    target: NDArray[Any]  # (folds n_target, width), every row by every model


def cross_fit(learner: Learner | None, task: Task, run: Run, folds: int) -> CrossFitted:
    """Fit the learner once per fold, without it, and predict it; cost: as many fits."""
    source = task.source
    of = fold_of(source.x, source.y, folds, strata=not task.schema.is_regression)
    p_source = np.empty((len(source), task.schema.width))
    p_target = []
    for k, aside in enumerate(asides(run, folds)):
        part = replace(task, sources=(source.take(np.flatnonzero(of != k)),))
        model = fit_learner(learner, part, aside)
        left = np.flatnonzero(of == k)
        p_source[left] = model.predict(rows.take(source.x, left))
        p_target.append(model.predict(task.target.x))
    return CrossFitted(source=p_source, target=np.concatenate(p_target))


def fold_of(x: Any, y: Any, folds: int, *, strata: bool) -> NDArray[np.int64]:
    """Return the fold of each row (n,) by its content alone, each class spread over all folds."""
    order = rows.canonical_order(x, y)
    fold = np.empty(len(order), np.int64)
    if not strata:
        fold[order] = np.arange(len(order)) % folds
        return fold
    start = 0
    for c in np.unique(y):
        own = order[y[order] == c]
        # Each class begins where the last one ended, so that the folds are of one size.
        fold[own] = (start + np.arange(len(own))) % folds
        start += len(own)
    return fold


def asides(run: Run, count: int) -> Iterator[Run]:
    """Yield runs for trainings on the way to the one that counts: silent, each resumable."""
    for k in range(count):
        yield replace(
            run,
            budget=None if run.budget is None else run.budget / (count + 1),
            checkpoint=run.checkpoint and run.checkpoint / f"aside-{k}",
            log=lambda step, values: None,
        )
