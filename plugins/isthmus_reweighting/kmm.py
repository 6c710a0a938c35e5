"""KMM: kernel mean matching.

Huang, Smola, Gretton, Borgwardt & Schölkopf, "Correcting sample selection bias by unlabeled data",
NeurIPS 2006; landmarks: Williams & Seeger, "Using the Nyström method to speed up kernel machines",
NeurIPS 2000, with each row's own value kept: Snelson & Ghahramani, NeurIPS 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus import BadInput, rows
from isthmus.learners.weighting import Reweighting, Weighted, require_positive
from isthmus_reweighting.kernels import SMALL, VALUES, Array, Standardised, gaussian, squares
from isthmus_reweighting.quadratic import Dense, LowRank, Matrix, minimise

EXACT = 4000  # rows up to which the kernel matrix is formed
SHARE = 3  # landmarks per direction that is kept of them
SAMPLE = 1000  # rows that the median distance is taken of


@dataclass(frozen=True, kw_only=True)
class KMM(Reweighting):
    """Match the weighted mean of the source to the mean of the target, in a kernel's features.

    The quadratic program is solved to a duality gap, inside its box and range of sums. Cost
    O(n² d + n³) up to 4,000 rows of either domain, with memory O(n²); above, the kernel is read
    through m landmark rows: O(n m (d + m)) time and O(n m) memory. In few columns many weights fit
    equally well, and smooth ones are better estimates: RuLSIF or KLIEP may serve better there.
    """

    name: ClassVar[str] = "kmm"

    B: float = 1000.0  # the paper's largest weight, inside the program
    epsilon: float | None = None  # how far the mean weight may be from 1; None: 1 - 1/sqrt(n)
    bandwidth: float = 1.0  # of the Gaussian kernel, in median distances
    landmarks: int = 900  # of the source; a third as many directions of them are kept
    tolerance: float = 1e-6  # duality gap, as a share of the objective

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "bandwidth", "landmarks", "tolerance")
        if not self.B > 1:
            raise BadInput(f"kmm: B={self.B}, expected a number above 1, the mean weight")
        if self.epsilon is not None and not 0 <= self.epsilon <= 1:
            raise BadInput(f"kmm: epsilon={self.epsilon}, expected a number from 0 to 1")

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        # Sorted by content: of solutions that are equally good, rounding must pick the same.
        order = rows.canonical_order(x_source)
        x_s, x_t = x_source[order], x_target[rows.canonical_order(x_target)]
        n, n_target = rows.count(x_s), rows.count(x_t)
        view = Standardised(x_s, x_t)
        sigma = self.bandwidth * view.median(x_s[: SAMPLE // 2], x_t[: SAMPLE // 2])
        said = ""
        matrix: Matrix
        if max(n, n_target) > EXACT:
            m = min(self.landmarks, n)
            matrix, linear = _through_landmarks(view, x_s, x_t, sigma, m, max(m // SHARE, 1))
            said = f"kmm reads the kernel of {n} and {n_target} rows through {m} source rows"
        else:
            matrix, linear = _exact(view, x_s, x_t, sigma)
        epsilon = 1 - 1 / np.sqrt(n) if self.epsilon is None else self.epsilon
        # Divided by n twice, once of them here: the program's matrix is then K / n.
        solution = minimise(
            matrix, linear, self.B, n * (1 - epsilon), n * (1 + epsilon), self.tolerance
        )
        w = np.empty(n)
        w[order] = solution.x
        return Weighted(
            values=w,
            said=said,
            found={
                "objective": solution.objective / n,
                "duality_gap": solution.gap / n,
                "bandwidth": sigma,
                "mean_before_scaling": float(w.mean()),
            },
        )


def _exact(view: Standardised, x_s: Any, x_t: Any, sigma: float) -> tuple[Dense, Array]:
    """Return K / n and kappa / n of the paper."""
    z_s = view.read(x_s)
    linear = [block.mean(1) for block in view.kernels(x_s, view.read(x_t), sigma)]
    kernel = squares(z_s, z_s)
    for part in rows.chunks(len(z_s), max(1, SMALL // len(z_s))):
        kernel[part] = gaussian(kernel[part], sigma)
    kernel /= len(z_s)
    return Dense(kernel), np.concatenate(linear)


def _through_landmarks(
    view: Standardised, x_s: Any, x_t: Any, sigma: float, m: int, rank: int
) -> tuple[LowRank, Array]:
    """Return K / n as a low rank and each row's own remainder, and kappa / n through it.

    Only the largest directions of the landmarks are kept. The last ones are each a single
    landmark: that row alone could match the target there, and would take a weight of its own.
    """
    n, n_t = rows.count(x_s), rows.count(x_t)
    # Rows of the source alone: a target row as a landmark is nearer to itself than any source row.
    at = view.read(x_s[:m])
    values, vectors = np.linalg.eigh(gaussian(squares(at, at), sigma))
    kept = np.flatnonzero(values > 1e-10 * values[-1])[-rank:]
    root = vectors[:, kept] / np.sqrt(values[kept])
    z, mean = np.empty((n, len(kept))), np.zeros(len(at))
    size = max(1, VALUES // max(at.shape))
    for part in rows.chunks(n, size):
        z[part] = gaussian(squares(view.read(x_s[part]), at), sigma) @ root
    for part in rows.chunks(n_t, size):
        mean += gaussian(squares(view.read(x_t[part]), at), sigma).sum(0)
    own = np.maximum(1 - np.einsum("nm,nm->n", z, z), 0)
    linear = z @ (mean @ root / n_t)
    z /= np.sqrt(n)
    return LowRank(z, own / n), linear
