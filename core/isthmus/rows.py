"""Reading rows, whatever holds them: arrays, CSR matrices, image files, graphs.

Everything that reads instances goes through these functions, so that a strategy need not know
whether a domain is in memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import BadInput

_MIX = np.uint64(0xFF51AFD7ED558CCD)
_IN_CACHE = 2**17  # bytes of rows hashed at once


@runtime_checkable
class Rows(Protocol):
    """What a container of instances offers when it is neither an array nor a CSR matrix."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def row_keys(self) -> NDArray[np.uint64]:
        """Return one hash of the content of each instance, uint64 (n,)."""


def count(x: Any) -> int:
    """Return the number of instances; SciPy's sparse matrices refuse ``len``."""
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def take(x: Any, index: Any) -> Any:
    """Return the rows at ``index``; a lazy container answers with a view and reads nothing."""
    if not isinstance(x, np.ndarray) and callable(view := getattr(x, "take", None)):
        return view(index)
    return x[index]


def readable(x: Any, name: str) -> Any:
    """Return instances as everything here reads them: numbers in an array or CSR matrix, or Rows.

    Other sparse matrices become CSR, masked values and None NaN, data frames, tensors and lists
    arrays. Raises BadInput, which ``name`` begins, for what holds no numbers.
    """
    if hasattr(x, "tocsr"):
        return x if getattr(x, "format", "csr") == "csr" else x.tocsr()
    if isinstance(x, Rows):
        return x
    try:
        array = x if isinstance(x, np.ndarray) else np.asarray(x)
        if array.dtype == object or isinstance(array, np.ma.MaskedArray):
            array = np.ma.filled(array.astype(np.float32), np.nan)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{name}: instances must be numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{name}: instances must be numbers, got {array.dtype}")
    return array


def is_sparse(x: Any) -> bool:
    return hasattr(x, "indptr")


def dense(x: Any) -> NDArray[np.float32]:
    """Return float32 rows; a CSR matrix becomes an array."""
    return np.asarray(x.toarray() if is_sparse(x) else x, np.float32)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Yield slices that cover ``range(n)``; one empty slice when n is 0."""
    for start in range(0, max(n, 1), size):
        yield slice(start, min(start + size, n))


def blocks(x: Any, values: int) -> Iterator[slice]:
    """Yield slices of about so many values of ``x`` each, stored ones of a CSR matrix; or a row."""
    n, held = count(x), x.nnz if is_sparse(x) else math.prod(x.shape)
    return chunks(n, max(1, n * values // max(held, 1)))


def concatenate(parts: list[Any]) -> Any:
    """Pool the instances of several domains, in order: arrays are copied, files stay unread.

    Graphs become their disjoint union.
    """
    from isthmus.graph import Graph
    from isthmus.stacked import Stacked, disjoint_union

    if len(parts) == 1:
        return parts[0]
    if any(isinstance(p, Graph) for p in parts):
        return disjoint_union(parts)
    if any(is_sparse(p) for p in parts):
        from scipy import sparse

        return sparse.vstack([sparse.csr_matrix(p) for p in parts], format="csr")
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)
    return Stacked(parts)


def row_keys(x: Any) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row's content, uint64 (n,); O(n d) time, bounded memory."""
    if is_sparse(x):
        return _sparse_keys(x)
    if not isinstance(x, np.ndarray):
        return np.asarray(x.row_keys(), np.uint64)
    keys = np.zeros(len(x), np.uint64)
    width = math.prod(x.shape[1:])
    for part in chunks(len(x), max(1, _IN_CACHE // max(width * x.itemsize, 1))):
        rows = np.ascontiguousarray(x[part])
        raw = rows.reshape(len(rows), width).view(np.uint8)
        if raw.shape[1] % 8:
            raw = np.pad(raw, ((0, 0), (0, 8 - raw.shape[1] % 8)))
        words = raw.view(np.uint64)
        keys[part] = mix(words + _salt(words.shape[1])).sum(1, dtype=np.uint64)
    return keys


def canonical_order(x: Any, y: Any = None) -> NDArray[np.int64]:
    """Return an order of the rows that depends on their content alone, int64 (n,).

    A random choice made in this order is the same however the caller sorted the rows.
    """
    keys = row_keys(x)
    if y is not None:
        keys = keys + np.uint64(3) * row_keys(
            np.asarray(y).reshape(len(keys), -1 if len(keys) else 1)
        )
    return np.argsort(keys, kind="stable").astype(np.int64)


def shuffled(x: Any, rng: np.random.Generator, y: Any = None) -> NDArray[np.int64]:
    """Return a random order of the rows that depends on ``rng`` and their content, int64 (n,)."""
    return rng.permutation(canonical_order(x, y))


def fingerprint(x: Any, y: Any = None) -> str:
    """Return a SHA-256 of rows and labels, in the order given."""
    h = hashlib.sha256(row_keys(x).tobytes())
    if y is not None:
        h.update(np.ascontiguousarray(y).tobytes())
    return h.hexdigest()


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread each bit over the word (the finaliser of MurmurHash3)."""
    mixed = words >> np.uint64(33)
    mixed ^= words
    mixed *= _MIX
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _salt(n: int) -> NDArray[np.uint64]:
    return mix(np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _sparse_keys(x: Any) -> NDArray[np.uint64]:
    if not x.has_sorted_indices:
        x = x.sorted_indices()
    data = np.asarray(x.data, np.float64).view(np.uint64)
    salt = mix(np.asarray(x.indices, np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    words = np.where(x.data == 0, np.uint64(0), mix(data + salt))  # a stored zero is no content
    total = np.concatenate([[np.uint64(0)], np.cumsum(words, dtype=np.uint64)])
    return np.asarray(total[x.indptr[1:]] - total[x.indptr[:-1]], np.uint64)
