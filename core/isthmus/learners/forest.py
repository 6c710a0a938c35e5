"""Random forest.

L. Breiman, Random forests, Machine Learning 45, 2001.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import require
from isthmus.learners.learner import Learner, canonical_rows
from isthmus.learners.trees import ForestPart, Tree
from isthmus.strategy import Run

DRAWN = 20_000  # rows of a tree at most: it is what bounds the size of the model


@dataclass(frozen=True, kw_only=True)
class Forest(Learner):
    """Trees grown on rows drawn anew for each, every split among columns drawn anew; their mean.

    A row is drawn in proportion to its weight, with replacement: as many as there are rows, or as
    the weights sum to where that is more, and 20,000 at most. So weights are as good as repeated
    rows, and enter nowhere else. Defaults: 100 trees, and Breiman's columns per split, √d for
    classes and d/3 for values. Trees grow until leaves are pure, but to 24 levels at most, as
    every row goes down as many levels as the deepest leaf has. Cost: trees · columns · n log² n.
    The model has up to 2 n nodes of 20 bytes, and 4 per class, in each tree. A CSR matrix is made
    dense.
    """

    trees: int = 100
    leaf: int = 1  # fewest distinct rows of a leaf
    depth: int = 24  # at most
    columns: float | None = None  # share of the columns that each split chooses from

    def __post_init__(self) -> None:
        wanted = {
            "trees >= 1": self.trees >= 1,
            "leaf >= 1": self.leaf >= 1,
            "depth >= 1": self.depth >= 1,
            "0 < columns <= 1": self.columns is None or 0 < self.columns <= 1,
        }
        require(self, "a forest", wanted)

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        x, y, weight = canonical_rows(rows.dense(x), y, weight)
        grown = list(self._grow(x, y, weight, schema, run.rng()))
        part = ForestPart.of(grown, x.shape[1])
        found = {"nodes": sum(len(t.left) for t in grown), "depth": part.nodes.depth}
        return TorchAdapted(part=part, schema=schema, diagnostics={"forest": found})

    def _grow(
        self, x: Any, y: Labels, weight: Any, schema: Schema, rng: np.random.Generator
    ) -> Iterator[Tree]:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        n, d = x.shape
        share = None if weight is None else weight / weight.sum()
        # Integer weights are repeated rows; weights that sum to little still draw enough.
        many = min(max(n, 0 if weight is None else round(weight.sum())), DRAWN)
        usual = d / 3 if schema.is_regression else math.sqrt(d)
        kind = DecisionTreeRegressor if schema.is_regression else DecisionTreeClassifier
        for _ in range(self.trees):
            times = np.bincount(rng.choice(n, many, p=share), minlength=n)
            drawn = np.flatnonzero(times)
            model = kind(
                max_features=max(1, int(usual if self.columns is None else self.columns * d)),
                min_samples_leaf=self.leaf,
                max_depth=self.depth,
                random_state=int(rng.integers(2**31)),
            )
            model.fit(x[drawn], y[drawn], sample_weight=times[drawn].astype(np.float64))
            yield grown(model, schema)


def grown(model: Any, schema: Schema) -> Tree:
    """Return a fitted tree of scikit-learn, its values (nodes, classes) or (nodes, outputs)."""
    tree = model.tree_
    value: NDArray[Any] = tree.value[:, :, 0] if schema.is_regression else tree.value[:, 0]
    if not schema.is_regression:
        shares = np.zeros((len(value), schema.width))
        shares[:, np.asarray(model.classes_, np.int64)] = value / value.sum(1, keepdims=True)
        value = shares
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        value=value,
    )
