from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import Graph, Labelled, Relation, Schema


@pytest.fixture
def nodes() -> Callable[..., Labelled]:
    """Return what draws three communities whose features differ a little."""

    def draw(n: int, seed: int, offset: float = 0.0) -> Labelled:
        rng = np.random.default_rng(seed)
        y = rng.permutation(np.arange(n) % 3)
        x = np.eye(5)[y] * 2 + offset + rng.normal(size=(n, 5))
        p = np.triu(np.where(y[:, None] == y[None, :], 10 / n, 1 / n), k=1)
        edges = np.argwhere(rng.random((n, n)) < p).T
        schema = Schema(kind="graph", shape=(5,), classes=("a", "b", "c"))
        graph = Graph(x.astype(np.float32), (Relation(index=edges),))
        return Labelled(name=f"graph {seed}", schema=schema, x=graph, y=y)

    return draw


@pytest.fixture
def renumbered() -> Callable[[Labelled, Any], Labelled]:
    """Return what numbers the nodes anew: the node at place i is the old ``order[i]``."""
    return lambda domain, order: domain.take(order)
