"""Which rows to trust first: those with the highest score of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def surest(p: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return which rows are among the surest ``share`` of those with their label, (n,).

    ``p`` (n, classes) says how sure each label is; a label that some row has keeps one at least.
    """
    label = p.argmax(1)
    size = np.bincount(label, minlength=p.shape[1])
    return highest(p.max(1), label, np.ceil(share * size - 1e-9))


def highest(
    score: NDArray[Any], group: NDArray[np.int64], count: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which rows have one of the ``count[g]`` highest scores of their group g, (n,)."""
    order = np.lexsort((-score, group))
    size = np.bincount(group, minlength=len(count))
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    rank = np.empty(len(score), np.int64)
    rank[order] = np.arange(len(score)) - first[group[order]]
    return np.asarray(rank < count[group])
