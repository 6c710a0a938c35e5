"""Weights from two Gaussians.

Shimodaira, "Improving predictive inference under covariate shift by weighting the log-likelihood
function", J. Statistical Planning and Inference 90 (2000). Covariances are shrunk towards their
pool as in Friedman, "Regularized discriminant analysis", JASA 84 (1989), and the pool towards the
identity: Ledoit & Wolf, J. Multivariate Analysis 88 (2004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus import BadInput, rows
from isthmus.learners.linear import narrow
from isthmus.learners.weighting import Reweighting, Weighted
from isthmus_reweighting.kernels import VALUES, Array, Standardised

SHARES = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
FOLDS = 5
COMPARED = 4000  # rows of each domain that shares are compared on, at most
Ratio = Callable[[Array], Array]
FEW = 2 * FOLDS  # rows of a domain below which nothing is compared: one covariance for both


@dataclass(frozen=True, kw_only=True)
class GaussianRatio(Reweighting):
    """Weight by the ratio of two Gaussians, one fitted to the target and one to the source.

    Raw densities fail in many columns: of 500 rows in 64 columns 2 count. Here the share of the
    pooled covariance is chosen by how well the ratio tells held-out rows of the two domains apart.
    Cost O(n d² + d³), some forty times where the share is chosen; memory O(n d + d²). More than
    twice as many columns as rows are turned into the rows' span first, where no row is lost.
    """

    name: ClassVar[str] = "gaussian-ratio"

    shrinkage: float | None = None  # share of the pooled covariance; None: chosen on held-out rows

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise BadInput(
                f"gaussian-ratio: shrinkage={self.shrinkage}, expected a number from 0 to 1"
            )

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        view = Standardised(x_source, x_target)
        z_s, z_t = view.read(x_source), view.read(x_target)
        columns = x_source.shape[1]
        if columns > len(z_s) + len(z_t):
            z_s, z_t = np.split(narrow(np.concatenate([z_s, z_t]))[0], [len(z_s)])
        share, found = self.shrinkage, {}
        if share is None and min(len(z_s), len(z_t)) < FEW:
            share = 1.0
        if share is None:
            first = [rows.canonical_order(x)[:COMPARED] for x in (x_source, x_target)]
            losses = held_out(z_s[first[0]], z_t[first[1]], columns)
            share = SHARES[int(np.argmin(losses))]
            found["held_out_objective"] = float(losses.min())
        log_ratio = fit(z_s, z_t, (share,), columns)[0](z_s)
        weights = np.exp(log_ratio - log_ratio.max())
        return Weighted(values=weights, found={"shrinkage": share, **found})


def held_out(z_s: Array, z_t: Array, columns: int) -> Array:
    """Return, per share of the pool, the log loss of telling apart rows that were left out."""
    losses = np.zeros(len(SHARES))
    fold_s, fold_t = np.arange(len(z_s)) % FOLDS, np.arange(len(z_t)) % FOLDS
    for k in range(FOLDS):
        ratios = fit(z_s[fold_s != k], z_t[fold_t != k], SHARES, columns)
        left_s, left_t = z_s[fold_s == k], z_t[fold_t == k]
        losses += [
            (np.logaddexp(0, r(left_s)).mean() + np.logaddexp(0, -r(left_t)).mean()) / 2 / FOLDS
            for r in ratios
        ]
    return losses


def fit(z_s: Array, z_t: Array, shares: tuple[float, ...], columns: int) -> list[Ratio]:
    """Return, per share, the function that gives ln p_target / p_source of rows (n, d).

    Of more ``columns`` than d the others are zeros of every row.
    """
    means: tuple[Array, Array] = z_s.mean(0), z_t.mean(0)
    centred = z_s - means[0], z_t - means[1]
    own = [_shrunk(columns, c) for c in centred]
    # Each domain counts one half, however many rows it has.
    scale = [np.sqrt(sum(map(len, centred)) / 2 / len(c)) for c in centred]
    pool, pooled = _shrunk(columns, *(c * s for c, s in zip(centred, scale, strict=True)))

    def ratio(share: float) -> Ratio:
        roots = [np.asarray(np.linalg.cholesky((1 - share) * c + share * pool)) for c, _ in own]
        least = [(1 - share) * v + share * pooled for _, v in own]
        # Where all rows are zero the densities differ by their heights alone.
        other = (columns - z_s.shape[1]) / 2 * float(np.log(least[0] / least[1]))

        def difference(z: Array) -> Array:
            of_s, of_t = (_log_density(z, m, r) for m, r in zip(means, roots, strict=True))
            return of_t - of_s + other

        return difference

    return [ratio(share) for share in shares]


def _shrunk(columns: int, *parts: Array) -> tuple[Array, float]:
    """Return the covariance (d, d) of centred rows, shrunk by Ledoit & Wolf's estimate.

    And the variance in each of the other columns, where rows are zeros.
    """
    n, d = sum(map(len, parts)), parts[0].shape[1]
    s = sum((p.T @ p for p in parts), np.zeros((d, d))) / n
    level = float(np.trace(s)) / columns
    if level <= 0:  # a single row, or rows that are all alike
        return np.eye(d), 1.0
    spread = float(np.square(s).sum()) - columns * level**2
    fourth = sum(float(np.square(np.square(p).sum(1)).sum()) for p in parts) / n
    noise = (fourth - float(np.square(s).sum())) / n
    share = float(np.clip(noise / spread, 0, 1)) if spread > 0 else 1.0
    # A column that is constant in both domains has no variance; this little gives it a density.
    least = share * level + 1e-6 * level
    return (1 - share) * s + least * np.eye(d), least


def _log_density(z: Array, mean: Array, root: Array) -> Array:
    from scipy.linalg import solve_triangular

    found = np.empty(len(z))
    for part in rows.blocks(z, VALUES):
        white = solve_triangular(root, (z[part] - mean).T, lower=True)
        found[part] = -0.5 * np.square(white).sum(0)
    found -= float(np.log(np.diag(root)).sum())
    return found
