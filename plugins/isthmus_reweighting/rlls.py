"""RLLS: regularised learning under label shifts.

Azizzadenesheli, Liu, Yang & Anandkumar, "Regularized learning for domain adaptation under label
shifts", ICLR 2019, arXiv:1903.09734.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import BadInput
from isthmus_reweighting.label_shift import Array, BlackBoxShift, Evidence

CONFIDENCE = 0.05
STEPS = 200
SMALL = 1e-10  # a change of theta that ends the search


@dataclass(frozen=True, kw_only=True)
class RLLS(BlackBoxShift):
    """Estimate class weights as 1 + theta, with a penalty on the length of theta.

    theta minimises |C theta - (q - C 1)| + penalty |theta| where weights are at least 0, for C and
    q as in BBSE: with few rows, or classes that look alike, weights stay near 1 instead of
    following noise. Cost: folds + 1 fits, and some dozen non-negative least squares O(k³).
    """

    name: ClassVar[str] = "rlls"

    penalty: float = 0.01  # in units of the paper's bound on the error of C
    trust: float = 1.0  # what theta is multiplied by in the end
    soft: bool = True  # mean probabilities; False: shares of predicted classes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty < 0 or not 0 <= self.trust <= 1:
            raise BadInput(
                f"rlls: penalty={self.penalty}, trust={self.trust}, "
                "expected penalty >= 0 and trust from 0 to 1"
            )

    def ratios(self, evidence: Evidence) -> NDArray[Any]:
        source, target = evidence.source, evidence.target
        if not self.soft:
            source, target = (np.eye(p.shape[1])[p.argmax(1)] for p in (source, target))
        joint = evidence.joint(source)
        b = target.mean(0) - joint.sum(1)
        n, k = source.shape
        spread = np.log(2 * k / CONFIDENCE) / n
        theta = solve(joint, b, self.penalty * 3 * (2 * spread / 3 + np.sqrt(2 * spread)))
        return 1 + self.trust * theta


def solve(joint: Array, b: Array, penalty: float) -> Array:
    """Return theta (k,) >= -1 that minimises |joint theta - b| + penalty |theta|.

    Each length is bounded by its parabola at the last theta, which leaves a ridge regression; the
    objective falls with every step, and it is convex.
    """
    from scipy.optimize import nnls

    k = len(b)
    theta, best = np.zeros(k), float(np.linalg.norm(b))
    ridge = penalty**2 if penalty > 0 else 0.0
    for _ in range(STEPS):
        # In u = theta + 1 >= 0.
        matrix = np.concatenate([joint, np.sqrt(ridge) * np.eye(k)])
        u, _ = nnls(matrix, np.concatenate([b + joint.sum(1), np.full(k, np.sqrt(ridge))]))
        residual, length = (float(np.linalg.norm(v)) for v in (joint @ (u - 1) - b, u - 1))
        value, moved = residual + penalty * length, float(np.abs(u - 1 - theta).max())
        if value < best:
            theta, best = u - 1, value
        if moved < SMALL or length < SMALL or penalty == 0:
            break
        ridge = penalty * max(residual, SMALL) / length
    return theta
