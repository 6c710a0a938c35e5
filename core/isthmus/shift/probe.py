"""A plain source model, cross-fitted: what it says of source rows that it has not seen, and of the
target. Everything about labels is read off it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class Probe:
    """Class probabilities (rows, classes), or values (rows, outputs).

    ``source`` comes from the model that has not seen the row; ``target`` and ``support`` hold the
    answers of all models (folds, rows, ...); ``fold`` (n_source,) says which model is whose.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    support: NDArray[np.float64] | None
    fold: NDArray[np.int64]

    def target_once(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the answer of one model for each target row, drawn evenly.

        Without a shift these have the distribution of ``source``, which an average has not.
        """
        m = self.target.shape[1]
        model = rng.permutation(np.arange(m) % len(self.target))
        return np.asarray(self.target[model, np.arange(m)])


def probe(
    x: NDArray[Any],
    y: NDArray[Any],
    target: NDArray[Any],
    support: NDArray[Any] | None,
    n_classes: int,
    rng: np.random.Generator,
) -> Probe:
    """Fit logistic regression, or ridge where ``n_classes`` is 0, to each of five folds' rest."""
    fold = _folds(y if n_classes else np.zeros(len(y), np.int64), rng)
    width = n_classes or y.shape[1]
    own = np.zeros((len(x), width))
    others: list[list[Any]] = [[], []]
    for f in range(FOLDS):
        predict = _fitted(x[fold != f], y[fold != f], n_classes)
        if (fold == f).any():
            own[fold == f] = predict(x[fold == f])
        others[0].append(predict(target))
        if support is not None:
            others[1].append(predict(support))
    return Probe(
        source=own,
        target=np.stack(others[0]),
        support=np.stack(others[1]) if support is not None else None,
        fold=fold,
    )


def fit_logistic(x: NDArray[Any], y: NDArray[Any]) -> Any:
    """Return a scikit-learn logistic regression; one that has not converged will do here."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=ITERATIONS).fit(x, y)


def _fitted(x: NDArray[Any], y: NDArray[Any], n_classes: int) -> Any:
    if not n_classes:
        from sklearn.linear_model import Ridge

        ridge = Ridge().fit(x, np.asarray(y, np.float64))
        return lambda new: ridge.predict(new).reshape(len(new), -1)
    seen = np.unique(y)
    model = fit_logistic(x, y) if len(seen) > 1 else None

    def predict(new: NDArray[Any]) -> NDArray[np.float64]:
        out = np.zeros((len(new), n_classes))
        out[:, seen] = 1.0 if model is None else model.predict_proba(new)
        return out

    return predict


def _folds(groups: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the rows of each group to the folds in turn, int64 (n,)."""
    fold, dealt = np.empty(len(groups), np.int64), 0
    for g in np.unique(groups):
        own = np.flatnonzero(groups == g)
        fold[own] = rng.permutation((np.arange(len(own)) + dealt) % FOLDS)
        dealt += len(own)
    return fold
