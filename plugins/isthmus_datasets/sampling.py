"""Seeded choices of rows that keep the proportions of the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out(y: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return a mask (n,) that is True for ``fraction`` of each class, chosen by ``seed``.

    A class of two instances or more has at least one on either side; a single one stays in.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(y), np.bool_)
    for c in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == c))
        if len(members) > 1:
            n = min(max(round(fraction * len(members)), 1), len(members) - 1)
            mask[members[:n]] = True
    return mask


def subset(y: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Return at most ``n`` row numbers, ascending, in the proportions of the classes of ``y``.

    Every class gets an instance where ``n`` allows it.
    """
    if n >= len(y):
        return np.arange(len(y))
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(y, return_counts=True)
    share = counts * (n / len(y))
    least = np.full(len(classes), int(n >= len(classes)), np.int64)
    quota = np.maximum(np.floor(share).astype(np.int64), least)
    while quota.sum() < n:
        quota[np.argmax(share - quota)] += 1
    while quota.sum() > n:  # the smallest classes were given more than their share
        quota[np.argmax(np.where(quota > least, quota - share, -np.inf))] -= 1
    parts = [
        rng.permutation(np.flatnonzero(y == c))[:k] for c, k in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(parts))
