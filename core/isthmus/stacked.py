"""Several sources as one: containers of rows one after the other, graphs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.errors import BadInput
from isthmus.graph import Graph, Relation


class Stacked:
    """The rows of several containers, one after the other; reads only what is asked for.

    ``x[index]`` returns an array of the type to which the parts that were read promote.
    ``x.take(index)`` returns a view and reads nothing.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        """``parts`` hold instances of one shape: arrays, ImageFiles, Resized, Stacked."""
        shapes = sorted({tuple(p.shape[1:]) for p in parts})
        if len(shapes) != 1:
            raise BadInput(f"cannot stack instances of different shapes: {shapes}")
        self.parts = list(parts)
        self.ends = np.cumsum([rows.count(p) for p in parts])
        self.chosen: NDArray[np.int64] = np.arange(self.ends[-1], dtype=np.int64)
        self._shape = shapes[0]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        at = self.chosen[index]
        if at.ndim == 0:
            return np.asarray(self[[index]][0])
        found = [(where, np.asarray(self.parts[i][local])) for i, where, local in self._split(at)]
        if not found:
            return np.asarray(self.parts[0][at])
        out = np.empty((len(at), *self._shape), np.result_type(*(part for _, part in found)))
        for where, part in found:
            out[where] = part
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"Stacked({len(self)} rows of {self._shape} from {len(self.parts)} parts)"

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of ``x[:]``; may read the header of every file."""
        return np.result_type(*(p.dtype for p in self.parts))

    def take(self, index: Any) -> Stacked:
        """Return the rows at ``index`` (integers, a mask or a slice), in that order."""
        view = Stacked(self.parts)
        view.chosen = self.chosen[index]
        return view

    def row_keys(self) -> NDArray[np.uint64]:
        """Return one hash of the content of each row, uint64 (n,): what its part says."""
        keys = np.empty(len(self), np.uint64)
        for i, where, local in self._split(self.chosen):
            keys[where] = rows.row_keys(rows.take(self.parts[i], local))
        return keys

    def _split(self, at: NDArray[np.int64]) -> list[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Return for each part: its number, the places in ``at`` it fills, its own rows there."""
        of = np.searchsorted(self.ends, at, side="right")
        starts = np.concatenate([[0], self.ends])
        places = [(int(i), np.flatnonzero(of == i)) for i in np.unique(of)]
        return [(i, where, at[where] - starts[i]) for i, where in places]


def disjoint_union(graphs: Sequence[Graph]) -> Graph:
    """Return all nodes and relations, with no edge between the graphs.

    Relations of one name, one signature and one direction become one; where only some of them
    have weights, the others' tuples weigh 1.
    """
    starts = np.cumsum([0, *map(len, graphs)])
    found: dict[tuple[Any, ...], list[tuple[Relation, int]]] = {}
    for graph, start in zip(graphs, starts, strict=False):
        for r in graph.relations:
            found.setdefault((r.name, r.types, r.directed), []).append((r, int(start)))
    relations = tuple(
        Relation(
            index=np.concatenate([r.index + start for r, start in same], axis=1),
            name=name,
            types=types,
            weight=_weights([r for r, _ in same]),
            directed=directed,
        )
        for (name, types, directed), same in found.items()
    )
    return Graph(rows.concatenate([g.features for g in graphs]), relations)


def _weights(relations: Sequence[Relation]) -> NDArray[np.float32] | None:
    if all(r.weight is None for r in relations):
        return None
    ones = [np.ones(r.index.shape[1], np.float32) for r in relations]
    return np.concatenate(
        [one if r.weight is None else r.weight for r, one in zip(relations, ones, strict=True)]
    )
