"""The relational types of the core: relations between instances, and a graph of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.errors import BadInput


@dataclass(frozen=True, eq=False, kw_only=True)
class Relation:
    """Tuples of instances: ``index`` int64 (arity, m), ``weight`` float32 (m,) or None.

    Weights and directions are for plugins: what is built in follows every edge alike, both ways.
    """

    index: NDArray[np.int64]
    name: str = "edge"
    types: tuple[str, ...] = ("node", "node")
    weight: NDArray[np.float32] | None = None
    directed: bool = False

    def __post_init__(self) -> None:
        index = np.asarray(self.index)
        if index.ndim != 2 or len(index) != len(self.types):
            raise BadInput(
                f"relation {self.name!r}: index has shape {index.shape}, "
                f"expected ({len(self.types)}, m)"
            )
        if index.size and not np.issubdtype(index.dtype, np.integer):
            raise BadInput(f"relation {self.name!r}: index must hold integers, got {index.dtype}")
        object.__setattr__(self, "index", index.astype(np.int64, copy=False))
        if self.weight is not None and np.shape(self.weight) != (index.shape[1],):
            raise BadInput(
                f"relation {self.name!r}: {np.shape(self.weight)} weights for "
                f"{index.shape[1]} tuples"
            )


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with features (n, d), dense float32 or CSR, and relations between them."""

    features: Any
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        features = rows.readable(self.features, "node features")
        if not rows.is_sparse(features):
            features = features.astype(np.float32, copy=False)
        object.__setattr__(self, "features", features)
        for r in self.relations:
            if r.index.size and not (r.index.min() >= 0 and r.index.max() < len(self)):
                bad = r.index.min() if r.index.min() < 0 else r.index.max()
                raise BadInput(f"relation {r.name!r} names node {bad}, but there are {len(self)}")

    def __len__(self) -> int:
        return rows.count(self.features)

    def __getitem__(self, index: Any) -> Graph:
        """Return the subgraph induced by the nodes at ``index``, in that order."""
        kept = np.atleast_1d(np.arange(len(self))[index])
        place = np.full(len(self), -1, np.int64)
        place[kept] = np.arange(len(kept))
        return Graph(self.features[kept], tuple(_induced(r, place) for r in self.relations))

    def edges(self) -> NDArray[np.int64]:
        """Return all binary relations as directed edges (2, m): from, to, each pair once.

        Undirected relations appear in both directions; self-loops are left out.
        """
        both = [np.zeros((2, 0), np.int64)]
        for r in self.relations:
            if len(r.index) == 2:
                both += [r.index] if r.directed else [r.index, r.index[::-1]]
        e = np.concatenate(both, axis=1)
        e = e[:, e[0] != e[1]]
        return np.stack(np.divmod(np.unique(e[0] * len(self) + e[1]), max(len(self), 1)))

    def row_keys(self) -> NDArray[np.uint64]:
        """Hash each node's features and those of its neighbours (one Weisfeiler-Lehman step)."""
        own, (a, b) = rows.row_keys(self.features), self.edges()
        around = np.zeros_like(own)
        np.add.at(around, b, rows.mix(own[a]))
        return np.asarray(own + rows.mix(around), np.uint64)


def _induced(relation: Relation, place: NDArray[np.int64]) -> Relation:
    index = place[relation.index]
    inside = (index >= 0).all(0)
    weight = None if relation.weight is None else relation.weight[inside]
    return replace(relation, index=index[:, inside], weight=weight)


def neighbour_graph(x: Any, k: int = 8) -> Graph:
    """Return the graph that joins each row of a table (n, d) with its k nearest (Euclidean).

    An edge is there when either end is among the other's nearest; O(n² d) time at worst, O(n k)
    memory.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= k < rows.count(x):
        raise BadInput(f"a graph of {k} neighbours needs more than {k} rows, got {rows.count(x)}")
    nearest = NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)
    ends = np.stack([np.repeat(np.arange(len(nearest)), k), nearest.ravel()])
    return Graph(x, (Relation(index=ends, name=f"{k}-nearest"),))
