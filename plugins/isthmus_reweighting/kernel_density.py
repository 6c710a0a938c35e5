"""Weights from two kernel density estimates.

Sugiyama & Müller, "Input-dependent estimation of generalization error under covariate shift",
Statistics & Decisions 23 (2005). The bandwidth is the one whose ratio tells rows of the two domains
apart best, each row left out of its own density: Habbema, Hermans & van den Broek, "A stepwise
discriminant analysis program using density estimation", COMPSTAT 1974. That of the likeliest
densities is too narrow for a ratio: in 50 columns a few rows then have all the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus import rows
from isthmus.learners.weighting import Reweighting, Weighted, require_positive
from isthmus_reweighting.kernels import SIGMAS, Array, Standardised, squares

COMPARED = 1000  # rows of each domain that bandwidths are compared on, at most


@dataclass(frozen=True, kw_only=True)
class KernelDensityRatio(Reweighting):
    """Weight by the ratio of two sums of Gaussians, one at target rows and one at source rows.

    Both have one bandwidth, so that most of their bias cancels. A row counts in its own density,
    which keeps weights below ``centres`` + 1 where nothing else is near. Densities suffer from
    many columns more than ratios that are fitted as such. Cost O(n b d) for b centres of either
    domain, memory O(b d) and a block of rows.
    """

    name: ClassVar[str] = "kernel-density-ratio"

    centres: int = 2000  # of each domain; all rows where there are fewer
    bandwidth: float | None = None  # in median distances; None: tells the domains apart best

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "centres", "bandwidth")

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        view = Standardised(x_source, x_target)
        at_s, at_t = (
            view.read(x[rows.canonical_order(x)[: self.centres]]) for x in (x_source, x_target)
        )
        n = COMPARED // 2
        median = view.median(*(x[rows.canonical_order(x)[:n]] for x in (x_source, x_target)))
        bandwidth, found = self.bandwidth, {}
        if bandwidth is None:
            losses = left_out(at_s[:COMPARED], at_t[:COMPARED], median)
            bandwidth = SIGMAS[int(np.argmin(losses))]
            found["held_out_objective"] = float(losses.min())
        sigma = bandwidth * median
        log_target = np.concatenate([_log_sum(d, sigma) for d in view.squares(x_source, at_t)])
        log_source = np.concatenate([_log_sum(d, sigma) for d in view.squares(x_source, at_s)])
        # Rows that are no centre are added to their own density; the others are in it.
        if len(at_s) < rows.count(x_source):
            outside = np.ones(len(log_source), bool)
            outside[rows.canonical_order(x_source)[: self.centres]] = False
            log_source = np.where(outside, np.logaddexp(log_source, 0.0), log_source)
        log_ratio = log_target - log_source
        weights = np.exp(log_ratio - log_ratio.max())
        return Weighted(values=weights, found={"bandwidth": bandwidth, **found})


def left_out(z_s: Array, z_t: Array, median: float) -> Array:
    """Return, per bandwidth, the log loss of the ratio at rows (n, d) left out of their density."""
    if min(len(z_s), len(z_t)) < 2:
        return np.arange(len(SIGMAS), 0.0, -1)  # nothing to compare by: the widest
    own_s, own_t, across = squares(z_s, z_s), squares(z_t, z_t), squares(z_s, z_t)
    np.fill_diagonal(own_s, np.inf)
    np.fill_diagonal(own_t, np.inf)
    log_s, log_t = np.log(len(z_s)), np.log(len(z_t))
    losses = []
    for sigma in median * np.array(SIGMAS):
        at_s = _log_sum(across, sigma) - log_t - _log_sum(own_s, sigma) + np.log(len(z_s) - 1)
        at_t = _log_sum(own_t, sigma) - np.log(len(z_t) - 1) - _log_sum(across.T, sigma) + log_s
        losses.append((np.logaddexp(0, at_s).mean() + np.logaddexp(0, -at_t).mean()) / 2)
    return np.array(losses)


def _log_sum(distances: Array, sigma: float) -> Array:
    """Return the logarithm of the sum (n,) of the kernels, which may all underflow."""
    e = distances / (-2 * sigma**2)
    top = e.max(1)
    return np.asarray(top + np.log(np.exp(e - top[:, None]).sum(1)))
