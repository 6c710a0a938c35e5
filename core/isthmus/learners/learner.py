"""The model that shallow strategies end with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from isthmus import rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import BadInput, UnsupportedTask
from isthmus.strategy import Run


class Learner(ABC):
    """A frozen recipe for a classifier or regressor that accepts weights and exports."""

    kinds: ClassVar[frozenset[str]] = frozenset({"table"})
    outputs: ClassVar[frozenset[str]] = frozenset({"classes", "values"})

    @abstractmethod
    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        """Learn. Called only with what ``kinds`` and ``outputs`` allow."""

    def fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        """Learn from rows ``x`` (n, ...), labels ``y`` and weights (n,) >= 0 or None."""
        name = type(self).__name__
        if schema.kind not in self.kinds:
            raise UnsupportedTask(f"{name} reads {sorted(self.kinds)} domains, got {schema.kind!r}")
        if ("values" if schema.is_regression else "classes") not in self.outputs:
            wanted = "regression outputs" if schema.is_regression else "classes"
            raise UnsupportedTask(f"{name} does not predict {wanted}")
        return self._fit(x, y, weight, schema, run)

    @classmethod
    def shorthands(cls) -> dict[str, Callable[[], Learner]]:
        """Name a network as a learner: ``lenet`` stands for ``Neural(network=LeNet())``."""
        from isthmus.learners.neural import by_network

        return {**by_network()}


def weighted_rows(x: Any, y: Labels, weight: Any) -> tuple[Any, Labels, Any]:
    """Return the rows that count: a weight of zero is as good as no row.

    Weights are float64, or None where each is 1.
    """
    if weight is None:
        return x, y, None
    w = np.asarray(weight, np.float64)
    if w.shape != (len(y),) or not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise BadInput(
            f"weights must be {len(y)} numbers >= 0 and not all zero, got shape {w.shape}"
        )
    if (w == 1).all():
        return x, y, None
    kept = np.flatnonzero(w)
    return (x, y, w) if len(kept) == len(w) else (x[kept], y[kept], w[kept])


def canonical_rows(x: Any, y: Labels, weight: Any) -> tuple[Any, Labels, Any]:
    """Return ``weighted_rows`` in an order that their content, labels and weights decide."""
    x, y, weight = weighted_rows(x, y, weight)
    # A stable sort by content leaves equal rows as they came: by weight.
    by_weight = np.arange(len(y)) if weight is None else np.argsort(weight, kind="stable")
    order = by_weight[rows.canonical_order(x[by_weight], y[by_weight])]
    return x[order], y[order], None if weight is None else weight[order]
