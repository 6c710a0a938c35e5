"""Weights by counting neighbours.

Cells: Loog, "Nearest neighbor-based importance weighting", MLSP 2012. Balls: Lima, Cunha, Oyaizu,
Frieman, Lin & Sheldon, "Estimating the redshift distribution of photometric galaxy samples", MNRAS
390 (2008), arXiv:0801.3822.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import BadInput, rows
from isthmus.learners.weighting import Reweighting, Weighted, require_positive
from isthmus_reweighting.kernels import SMALL, VALUES, Array, Standardised, squares

CLOSE = 1 + 1e-9  # rounding of a squared distance


@dataclass(frozen=True, kw_only=True)
class NearestNeighbourWeights(Reweighting):
    """Weight a source row by how many target rows are nearest to it, plus one (Loog).

    With ``neighbours`` k: by how many target rows lie in the ball that reaches its k-th source
    neighbour (Lima). Cost O(n b d) for b landmark rows of each domain, memory O(b d) and a block
    of rows; source rows beyond b share the weight of the landmark's cell that they lie in.
    """

    name: ClassVar[str] = "nearest-neighbour-weights"

    neighbours: int | None = None  # None: cells
    smoothing: float = 1.0  # added to each count of target rows
    landmarks: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "neighbours", "landmarks")
        if self.smoothing < 0:
            raise BadInput(
                f"{self.name}: smoothing={self.smoothing}, expected a number of 0 or above"
            )

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        view = Standardised(x_source, x_target)
        order = rows.canonical_order(x_source)
        n_source = rows.count(x_source)
        at = view.read(x_source[order[: self.landmarks]])
        said = ""
        if n_source > len(at):
            said = f"{self.name} counts by {len(at)} landmarks of {n_source} source rows"
        if self.neighbours is None:
            # Rows that are alike, which follow each other here, share a cell: that of the first.
            keys = rows.row_keys(x_source)[order[: len(at)]]
            first = np.searchsorted(keys, keys)
            cell = np.empty(n_source, np.int64)
            cell[order] = np.concatenate([first, _nearest(view, x_source[order[len(at) :]], at)])
            cell, votes = first[cell], first[_nearest(view, x_target, at)]
            of_source = np.bincount(cell, minlength=len(at))
            of_target = np.bincount(votes, minlength=len(at))
            # A row's weight is its share of the counts of the cell.
            shared = (of_target + self.smoothing * of_source) / np.maximum(of_source, 1)
            return Weighted(values=shared[cell], said=said)
        at_t = view.read(x_target[rows.canonical_order(x_target)[: self.landmarks]])
        landmark = np.zeros(n_source, np.int64)
        landmark[order[: len(at)]] = 1
        k = np.minimum(self.neighbours + landmark, len(at)) - 1  # a landmark is its own nearest
        counts = []
        for part in rows.chunks(n_source, max(1, VALUES // max(*at.shape, *at_t.shape))):
            z = view.read(x_source[part])
            to_source = squares(z, at)
            to_source.partition(np.unique(k[part]), axis=1)
            radius = np.take_along_axis(to_source, k[part, None], 1)
            counts.append((squares(z, at_t) <= radius * CLOSE).sum(1))
        return Weighted(values=np.concatenate(counts) + self.smoothing, said=said)


def _nearest(view: Standardised, x: Any, at: Array) -> NDArray[np.int64]:
    """Return which of the landmarks (b, d) is nearest to each row, (n,)."""
    found = [np.empty(0, np.int64)]
    if rows.count(x):
        # A row's own length is the same to all landmarks; theirs come with the product.
        turned = np.vstack([-2 * at.T, np.square(at).sum(1)])
        for part in rows.chunks(rows.count(x), max(1, SMALL // max(at.shape))):
            z = view.read(x[part])
            found.append((np.column_stack([z, np.ones(len(z))]) @ turned).argmin(1))
    return np.concatenate(found)
