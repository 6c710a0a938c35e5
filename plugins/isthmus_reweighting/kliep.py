"""KLIEP: Kullback-Leibler importance estimation procedure.

Sugiyama, Nakajima, Kashima, von Bünau & Kawanabe, "Direct importance estimation with model
selection and its application to covariate shift adaptation", NeurIPS 2007; Annals of the Institute
of Statistical Mathematics 60 (2008), with its 100 centres and its likelihood cross-validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus import BadInput, rows
from isthmus.learners.weighting import Reweighting, Weighted, require_positive
from isthmus_reweighting.kernels import SIGMAS, Array, KernelSum, Standardised
from isthmus_reweighting.mixture import proportions

COMPARED = 2000  # target rows that bandwidths are compared on, at most
ROUGH = 1e-4  # optimality in nats of the fits that are only compared
TINY = np.finfo(np.float64).tiny
ALONE = 1.0  # bandwidth where one target row leaves none to compare by


@dataclass(frozen=True, kw_only=True)
class KLIEP(Reweighting):
    """Fit p_target / p_source as a sum of Gaussians at target rows, by maximum likelihood.

    Coefficients are at least 0 and the mean weight of the source is 1, both exactly; with each
    Gaussian divided by its mean over the source it is the likelihood of a mixture, a concave
    problem, solved to 1e-8 nats. Cost O((n_s + n_t) b d + 20 n_t b²) for b centres, and as much
    again on 2,000 rows for each of 8 bandwidths and 5 folds; memory O(n_t b).
    """

    name: ClassVar[str] = "kliep"

    centres: int = 100
    bandwidth: float | None = None  # in median distances; None: chosen by cross-validation
    folds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "centres", "bandwidth")
        if self.folds < 2:
            raise BadInput(f"kliep: folds={self.folds}, expected at least 2")

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        ratio, found = self.ratio(x_source, x_target, rng)
        return Weighted(values=ratio.read(x_source), found=found)

    def ratio(
        self, x_source: Any, x_target: Any, rng: np.random.Generator
    ) -> tuple[KernelSum, dict[str, float]]:
        """Return the fitted ratio, and what was found on the way to it."""
        view = Standardised(x_source, x_target)
        order = rows.shuffled(x_target, rng)
        x_t = x_target[order]
        at = view.read(x_t[: self.centres])
        near = x_source[rows.canonical_order(x_source)[: self.centres]]
        median = view.median(x_t[: self.centres]) if len(at) > 1 else view.median(x_t[:1], near)
        bandwidths = SIGMAS if self.bandwidth is None else (self.bandwidth,)
        if len(order) < 2 and self.bandwidth is None:
            bandwidths = (ALONE,)
        facts = {}
        bandwidth = bandwidths[0]
        if len(bandwidths) > 1:
            some = [*view.squares(x_t[:COMPARED], at)]
            scores = [
                held_out(
                    _logarithms(np.concatenate(some), s * median)
                    - _log_means(view, x_source, at, s * median),
                    self.folds,
                )
                for s in bandwidths
            ]
            bandwidth = bandwidths[int(np.argmax(scores))]
            facts["held_out_objective"] = -float(np.max(scores))
        sigma = bandwidth * median
        means = _log_means(view, x_source, at, sigma)
        target = [_logarithms(d, sigma) - means for d in view.squares(x_t, at)]
        a, gap = proportions(scaled(np.concatenate(target))[0])
        ratio = KernelSum(view=view, at=at, sigma=sigma, coefficients=a, logarithms=means)
        return ratio, {"bandwidth": bandwidth, "gap": gap, **facts}


def held_out(log_density: Array, folds: int) -> float:
    """Return the mean logarithm of the ratio at rows (n, b) left out of the fit, fold by fold.

    The first b rows are the centres. One that is left out is no centre of that fit: it would be
    the nearest to itself, and the narrowest bandwidth would always look best.
    """
    n, b = log_density.shape
    fold = np.arange(n) % min(folds, n)
    total = 0.0
    for k in range(min(folds, n)):
        kept = fold != k
        columns = np.flatnonzero(kept[:b]) if kept[:b].any() else np.arange(b)
        density, _ = scaled(log_density[kept][:, columns])
        a, _ = proportions(density, tolerance=ROUGH)
        left, largest = scaled(log_density[~kept][:, columns])
        # A row that no chosen Gaussian reaches: as little as a float can say, not minus infinity.
        total += float((np.log(np.maximum(left @ a, TINY)) + largest).sum())
    return total / n


def scaled(log_density: Array) -> tuple[Array, Array]:
    """Return the densities (n, b) with a largest value of 1 per row, and its logarithm (n,).

    What a row is multiplied by moves the likelihood by a constant, and so not the optimum.
    """
    largest = log_density.max(1)
    return np.exp(log_density - largest[:, None]), largest


def _logarithms(distances: Array, sigma: float) -> Array:
    return np.asarray(distances / (-2 * sigma**2))


def _log_means(view: Standardised, x: Any, centres: Array, sigma: float) -> Array:
    """Return the logarithm of the mean kernel (b,) over the rows, which may underflow itself."""
    found: Array | None = None
    for block in _blocks(view, x, centres, sigma):
        top = block.max(0)
        part = top + np.log(np.exp(block - top).sum(0))
        found = part if found is None else np.logaddexp(found, part)
    assert found is not None
    return np.asarray(found - np.log(rows.count(x)))


def _blocks(view: Standardised, x: Any, centres: Array, sigma: float) -> Iterator[Array]:
    for distances in view.squares(x, centres):
        yield _logarithms(distances, sigma)
