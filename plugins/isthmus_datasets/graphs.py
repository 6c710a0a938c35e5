"""From a list of edges to a graph that a strategy can read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import BadInput
from isthmus.graph import Graph, Relation

WIDTH = 16  # the same for every graph, so that any two can be source and target


def relation(edges: NDArray[Any]) -> Relation:
    """Return the undirected relation of ``edges``, integers (2, m), each naming two nodes."""
    if edges.ndim == 2 and edges.shape[0] != 2 and edges.shape[1] == 2:
        raise BadInput(f"edges has shape {edges.shape}, expected (2, m)", hint="transpose it")
    if edges.size and np.issubdtype(edges.dtype, np.integer) and edges.min() < 0:
        raise BadInput(f"edges names node {edges.min()}; nodes are numbered from 0")
    return Relation(index=edges)


def degree_features(edges: Relation, n: int) -> NDArray[np.float32]:
    """Return what is known of nodes without features: their degree, one-hot, (n, 16) float32.

    Column k is 1 for nodes of degree 2^k - 1 to 2^(k+1) - 2; the last column takes all above.
    Repeated edges and self-loops do not count.
    """
    degree = np.bincount(Graph(np.zeros((n, 0)), (edges,)).edges()[0], minlength=n)
    place = np.minimum(np.floor(np.log2(degree + 1)).astype(np.int64), WIDTH - 1)
    return np.eye(WIDTH, dtype=np.float32)[place]
