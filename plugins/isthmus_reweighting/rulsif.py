"""RuLSIF: relative unconstrained least-squares importance fitting.

Yamada, Suzuki, Kanamori, Hachiya & Sugiyama, "Relative density-ratio estimation for robust
distribution comparison", NeurIPS 2011 (Neural Computation 25, 2013), arXiv:1106.4729; bandwidth and
penalty by the leave-one-out error in closed form (rank two, by Woodbury's identity), as uLSIF's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus import BadInput
from isthmus.learners.weighting import Reweighting, Weighted, require_positive
from isthmus_reweighting.ulsif import fit_ratio


@dataclass(frozen=True, kw_only=True)
class RuLSIF(Reweighting):
    """Fit p_target / (alpha p_target + (1 - alpha) p_source) as a sum of Gaussians.

    The relative ratio is at most 1 / alpha, however little the domains overlap, and is estimated
    faster than the plain one, which is alpha = 0 (uLSIF); towards alpha = 1 it is flat. Cost and
    memory as uLSIF's: O(g n b (d + b)) for b centres and g = 8 bandwidths, O(20,000 b + b d).
    """

    name: ClassVar[str] = "rulsif"

    alpha: float = 0.1  # share of the target in the denominator
    centres: int = 100
    bandwidth: float | None = None  # in median distances; None: chosen by leave-one-out
    penalty: float | None = None  # None: chosen by leave-one-out

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "centres", "bandwidth", "penalty")
        if not 0 <= self.alpha < 1:
            raise BadInput(f"rulsif: alpha={self.alpha}, expected a number from 0 to below 1")
        if self.relative:
            raise BadInput("rulsif fits the relative ratio itself: set alpha, not relative")

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        return fit_ratio(
            x_source, x_target, rng, self.alpha, self.centres, self.bandwidth, self.penalty
        )[1]
