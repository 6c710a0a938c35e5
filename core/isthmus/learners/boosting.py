"""Gradient boosting of trees over binned columns.

J. H. Friedman, Greedy function approximation: a gradient boosting machine, Annals of Statistics
29(5), 2001; trees of second order over histograms: G. Ke et al., LightGBM: a highly efficient
gradient boosting decision tree, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.artefact import Part, TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import require
from isthmus.learners.learner import Learner, canonical_rows
from isthmus.learners.linear import ABSENT, LinearPart
from isthmus.learners.trees import BoostedPart, Tree
from isthmus.strategy import Run


@dataclass(frozen=True, kw_only=True)
class GradientBoosting(Learner):
    """Small trees, each fitted to what those before it leave wrong: log loss or squared error.

    They are scikit-learn's over histograms, whose cost grows with n and not with n log n. Weights
    multiply the loss, and with it every split, leaf and bin; ``leaf`` counts rows. For classes a
    round grows a tree each (one for two classes). Defaults are scikit-learn's, except that a leaf
    needs no more than a tenth of the rows, and that every round counts: nothing is held back to
    stop early. Cost: rounds · classes · n d; memory 9 n d bytes. A CSR matrix is made dense.
    """

    rounds: int = 100
    rate: float = 0.1  # what a tree's step is multiplied by
    leaves: int = 31  # of a tree, at most
    leaf: int = 20  # fewest rows of a leaf
    penalty: float = 0.0  # L2, on the values of leaves

    def __post_init__(self) -> None:
        wanted = {
            "rounds >= 1": self.rounds >= 1,
            "rate > 0": self.rate > 0,
            "leaves >= 2": self.leaves >= 2,
            "leaf >= 1": self.leaf >= 1,
            "penalty >= 0": self.penalty >= 0,
        }
        require(self, "gradient boosting", wanted)

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        x, y, weight = canonical_rows(rows.dense(x), y, weight)
        classes = not schema.is_regression
        bias = np.full(schema.width, ABSENT if classes else 0.0)
        # For two classes there is one score: the other's is 0. So is that of a class alone.
        seen = np.unique(y) if classes else np.arange(schema.width)
        bias[seen] = 0.0
        scores = seen[1:] if classes and len(seen) < 3 else seen
        leaf = min(self.leaf, max(1, len(x) // 10))
        kept = _splittable(x, leaf)
        trees: list[Tree] = []
        adds_to: list[int] = []  # the score that each tree is part of
        for model, columns in self._fitted(x[:, kept], y, weight, leaf, scores, schema, run):
            bias[columns] = model._baseline_prediction.ravel()
            for grown in model._predictors:
                trees += [_tree(predictor.nodes, kept) for predictor in grown]
                adds_to += list(columns)
        if not trees:
            part: Part = LinearPart.of(np.zeros((x.shape[1], schema.width)), bias, classes)
        else:
            head = LinearPart.of(np.eye(schema.width)[adds_to], bias, classes)
            part = BoostedPart.of(trees, head, x.shape[1])
        return TorchAdapted(part=part, schema=schema, diagnostics={"trees": len(trees)})

    def _fitted(
        self,
        x: Any,
        y: Labels,
        weight: Any,
        leaf: int,
        scores: NDArray[Any],
        schema: Schema,
        run: Run,
    ) -> Iterator[tuple[Any, NDArray[Any]]]:
        """Yield scikit-learn's models and the scores (columns of a prediction) that each gives."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        settings = {
            "max_iter": self.rounds,
            "learning_rate": self.rate,
            "max_leaf_nodes": self.leaves,
            "min_samples_leaf": leaf,
            "l2_regularization": self.penalty,
            "early_stopping": False,
            "random_state": int(run.rng().integers(2**31)),  # of more rows than bins are made from
        }
        if schema.is_regression:
            for k in scores:
                model = HistGradientBoostingRegressor(**settings)
                yield model.fit(x, y[:, k], sample_weight=weight), scores[k : k + 1]
        elif len(scores):
            model = HistGradientBoostingClassifier(**settings)
            yield model.fit(x, y, sample_weight=weight), scores


def _splittable(x: NDArray[Any], leaf: int) -> NDArray[np.int64]:
    """Return the columns that a split may use: of the others nearly all rows have one value.

    Leaving those out changes nothing but the cost: half of a bag of words is too rare to split.
    """
    kept = np.flatnonzero((x != np.median(x, axis=0)).sum(0) >= leaf)
    return kept if len(kept) else np.zeros(1, np.int64)


def _tree(nodes: NDArray[Any], columns: NDArray[np.int64]) -> Tree:
    """Return what scikit-learn keeps of a tree over ``columns``, a record of each node."""
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=columns[nodes["feature_idx"]],
        threshold=nodes["num_threshold"],
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"][:, None],
    )
