"""How sure scores may be of themselves: temperature scaling.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sharpness(
    scores: NDArray[Any],
    y: NDArray[Any],
    weight: NDArray[Any] | None = None,
    *,
    least: float = 1.0,
    most: float = 100.0,
    prior: float = 0.0,
) -> float:
    """Return the factor, 1 / temperature, at which softmax(factor · scores) best foretells ``y``.

    ``scores`` (n, k) are those of labels 0 to k - 1, ``weight`` (n,) counts rows. It lies between
    ``least`` and ``most``: rows that are all right would have it infinite. With ``prior`` > 0, 1 is
    as likely beforehand as prior · log(factor)² / 2 of log loss says.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    own = scores[np.arange(len(y)), y]
    w = np.ones(len(y)) if weight is None else weight

    def loss(log: float) -> float:
        factor = np.exp(log)
        said = w @ (logsumexp(factor * scores, axis=1) - factor * own)
        return float(said + prior * log**2 / 2)

    limits = (np.log(least), np.log(most))
    return float(np.exp(minimize_scalar(loss, bounds=limits, method="bounded").x))
