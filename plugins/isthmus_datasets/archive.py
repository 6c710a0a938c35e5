"""Which rows of a NumPy archive a domain is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.errors import BadInput, nearest
from isthmus.graph import Graph
from isthmus_datasets.graphs import degree_features, relation


@dataclass(frozen=True)
class Archive:
    """The arrays of one file, and the options of a URI that choose among them."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]
    options: Mapping[str, str]

    def part(self, split: str) -> tuple[Any, NDArray[Any] | None]:
        """Return instances and labels (None where there are none) of train, test or all rows.

        Instances are an array as stored, a float32 CSR matrix, or a Graph where there are edges.
        """
        x_name, y_name = self.options.get("x", "x"), self.options.get("y", "y")
        if "y" in self.options and y_name not in self.arrays:
            self._missing(y_name)
        if self._has(f"{x_name}_test"):
            names = {"train": [""], "test": ["_test"], "all": ["", "_test"]}[split]
            pieces = [self._chosen(x_name + end, y_name + end, end, None) for end in names]
            return self._joined(pieces, y_name)
        mask = self.arrays.get("train")
        if split == "test" and (mask is None or mask.dtype != np.bool_):
            raise BadInput(
                f"{self.path} has no test split: neither {x_name}_test nor a mask named train",
                hint=f"it holds {', '.join(sorted(self.arrays))}",
            )
        if split == "all" or mask is None or mask.dtype != np.bool_:
            return self._chosen(x_name, y_name, "", None)
        return self._chosen(x_name, y_name, "", mask if split == "train" else ~mask)

    def _has(self, name: str) -> bool:
        return name in self.arrays or f"{name}_indptr" in self.arrays

    def _missing(self, name: str) -> None:
        raise BadInput(f"{self.path} has no array {name!r}", hint=nearest(name, self.arrays))

    def _chosen(
        self, x_name: str, y_name: str, end: str, mask: NDArray[np.bool_] | None
    ) -> tuple[Any, NDArray[Any] | None]:
        y = self.arrays.get(y_name)
        x = self._rows(x_name, y)
        n = rows.count(x)
        for name, column in ((y_name, y), ("train", mask)):
            if column is not None and (column.ndim < 1 or len(column) != n):
                got = len(column) if column.ndim else "one value"
                raise BadInput(f"{self.path}: {x_name} has {n} rows, {name} has {got}")
        if where := self._where(end, n):
            mask = where[0] if mask is None else mask & where[0]
        if mask is None:
            return x, y
        return rows.take(x, np.flatnonzero(mask)), None if y is None else y[mask]

    def _rows(self, name: str, y: NDArray[Any] | None) -> Any:
        x: Any = None
        if f"{name}_indptr" in self.arrays:
            x = self._csr(name)
        elif name in self.arrays:
            x = self.arrays[name]
            if x.ndim == 0:
                raise BadInput(f"{self.path}: {name} is one value, expected rows")
        if "edges" not in self.arrays or self.options.get("as") not in (None, "graph"):
            if x is None:
                self._missing(name)
            return x
        try:
            edges = relation(self.arrays["edges"])
            if x is None:
                n = int(edges.index.max(initial=-1)) + 1 if y is None else len(y)
                return Graph(degree_features(edges, n), (edges,))
            return Graph(x, (edges,))
        except BadInput as error:
            raise BadInput(f"{self.path}: {error}", hint=error.hint) from error

    def _csr(self, name: str) -> Any:
        from scipy import sparse

        pointers = self.arrays[f"{name}_indptr"]
        for needed in (f"{name}_indices", "n_features"):
            if needed not in self.arrays:
                raise BadInput(f"{self.path}: a CSR matrix {name} needs the array {needed!r}")
        columns = self.arrays[f"{name}_indices"]
        values = self.arrays.get(f"{name}_data", np.ones(len(columns), np.float32))
        try:
            # SciPy keeps small index types and then overflows
            triplet = (values.astype(np.float32), columns.astype(np.int64), pointers)
            shape = (len(pointers) - 1, int(self.arrays["n_features"]))
            matrix = sparse.csr_matrix(triplet, shape=shape)
            matrix.check_format(full_check=True)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{self.path}: {name} is not a CSR matrix: {error}") from error
        matrix.sum_duplicates()
        return matrix

    def _where(self, end: str, n: int) -> list[NDArray[np.bool_]]:
        """Return the mask of the option ``where``, or nothing."""
        asked = self.options.get("where")
        if asked is None:
            return []
        name, colon, wanted = asked.partition(":")
        column = self.arrays.get(name + end)
        if not colon or not wanted:
            raise BadInput(f"where={asked}, expected ARRAY:VALUE,VALUE")
        if column is None:
            self._missing(name + end)
        elif column.shape != (n,):
            raise BadInput(f"{self.path}: {name + end} has shape {column.shape}, expected ({n},)")
        found = np.isin(np.asarray(column).astype(str), wanted.split(","))
        if not found.any():
            known = np.unique(np.asarray(column).astype(str))
            raise BadInput(f"{self.path}: no row has {asked}", hint=nearest(wanted, known.tolist()))
        return [found]

    def _joined(
        self, pieces: list[tuple[Any, NDArray[Any] | None]], y_name: str
    ) -> tuple[Any, NDArray[Any] | None]:
        if len(pieces) == 1:
            return pieces[0]
        xs, ys = [x for x, _ in pieces], [y for _, y in pieces if y is not None]
        if any(isinstance(x, Graph) for x in xs):
            raise BadInput(f"{self.path}: split=all cannot join two graphs")
        if len(ys) == 1:
            raise BadInput(f"{self.path} has labels in one split only", hint="ask for that split")
        shapes = [x.shape[1:] for x in xs]
        if shapes[0] != shapes[1]:
            raise BadInput(f"{self.path}: train and test rows have shapes {shapes[0]}, {shapes[1]}")
        return rows.concatenate(xs), np.concatenate(ys) if ys else None
