"""Do the columns of the source mean the same in the target?

Columns on which the source's classes differ vary together in a target that has the same classes,
whatever else has moved. Where columns do not correspond, the target varies along the source's class
directions no more than along the same directions with their columns shuffled. That is the test of
N. Mantel (The detection of disease clustering and a generalized regression approach, Cancer
Research 27, 1967) between the source's covariance of class means and the target's covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.learners.scaling import moments
from isthmus.shift.axes import FURTHEST

LEVEL = 0.01  # domains that correspond are far beyond it
PERMUTATIONS = 299
VALUES = 2**21  # of the rows of one domain that are read: 16 MiB in float64
COLUMNS = 2**12  # the most varied ones
FEWEST = 20  # columns: of fewer, one order is much like another


@dataclass(frozen=True)
class Correspondence:
    """How the target varies along the source's class directions, over shuffled columns.

    ``ratio`` is 1 where columns do not correspond, ``p`` the chance of one as large. ``own`` and
    ``own_p`` are the same for one half of the source beside no more rows of the other than the
    target has: what a target like the source would show.
    """

    ratio: float
    p: float
    own: float
    own_p: float
    columns: int
    verdict: str  # "shown" | "none shown" | "unknown": the source itself shows none


def correspondence(
    source: Any, y: NDArray[Any], target: Any, rng: np.random.Generator
) -> Correspondence | None:
    """Test rows (n, d), dense or CSR, by labels (n,) or values (n, outputs) of the source.

    None where there are too few columns. Each domain is standardised by itself, so that no column
    is told from another by its place or size. O(permutations n d) for one class.
    """
    kept = _varied(source, target)
    if len(kept) < FEWEST:
        return None
    most = max(1, VALUES // len(kept))
    some = np.sort(rng.permutation(rows.count(source))[:most])
    x, y = _standard(source[some], kept), y[some]
    z = _standard(target[np.sort(rng.permutation(rows.count(target))[:most])], kept)
    first, other = np.array_split(rng.permutation(len(x)), 2)
    ratio, p = _tested(_directions(x, y), z, rng)
    own, own_p = _tested(_directions(x[first], y[first]), x[other[: len(z)]], rng)
    verdict = "shown" if p < LEVEL else "none shown" if own_p < LEVEL else "unknown"
    return Correspondence(ratio, p, own, own_p, len(kept), verdict)


def unrelated(found: Correspondence | None) -> bool:
    """Say whether the evidence is against columns that mean the same."""
    return found is not None and found.verdict == "none shown"


def _tested(
    directions: NDArray[Any], x: NDArray[Any], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the variance along the directions over that of shuffled ones, and its p-value."""
    orders = [np.arange(x.shape[1])]
    orders += [rng.permutation(x.shape[1]) for _ in range(PERMUTATIONS)]
    found = np.array([np.square(x @ directions[:, order].T).sum() for order in orders])
    if not found[0] > 0:  # one class, or one row
        return 1.0, 1.0
    p = float((found >= found[0] * (1 - 1e-9)).mean())  # its own order is one of them
    return float(found[0] / found[1:].mean()), p


def _directions(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return class means by the root of their shares (k, d), or the outputs' covariances."""
    if y.ndim == 1:
        classes, at, count = np.unique(y, return_inverse=True, return_counts=True)
        member = (at == np.arange(len(classes))[:, None]) / np.sqrt(count * len(x))[:, None]
    else:
        spread = y.std(0)
        member = ((y - y.mean(0)) / np.where(spread > 0, spread, 1)).T / len(x)
    return np.asarray(member @ (x - x.mean(0)))


def _varied(source: Any, target: Any) -> NDArray[np.int64]:
    """Return the columns that vary in both domains, at most ``COLUMNS`` of them."""
    each = np.stack([moments(x, constant=0.0)[1] for x in (source, target)])
    kept = np.flatnonzero(each.all(0))
    if len(kept) > COLUMNS:
        order = np.argsort(-np.square(each[:, kept]).sum(0), kind="stable")
        kept = np.sort(kept[order[:COLUMNS]])
    return kept


def _standard(x: Any, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    x = np.asarray(rows.dense(x[:, columns]), np.float64)
    mean, spread = moments(x, constant=np.inf)
    return np.asarray(np.clip((x - mean) / spread, -FURTHEST, FURTHEST))
