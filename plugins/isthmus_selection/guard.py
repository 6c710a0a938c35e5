"""Is adapting better than not adapting? An interval for the gain, without target labels.

The judge is a mean of all candidates' predictions on the target, each calibrated on held-out
source data by temperature scaling (C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of
modern neural networks, ICML 2017), in the spirit of D. Hu, M. Luo, J. Liang, C.-S. Foo, Towards
reliable model selection for unsupervised domain adaptation, arXiv:2407.12366: their average is a
better witness than each of them. Where two models agree there is nothing to gain; where they
differ, the judge's probabilities say who is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from isthmus.domain import Predictions
from isthmus.learners.sharpness import sharpness

LEAST = 1e-6  # a probability is at least this before its logarithm
TWINS = 8  # how fast candidates that answer alike come to share one voice
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """``low`` and ``high`` bound the estimated gain in target accuracy over source-only.

    ``expected`` is the accuracy of the judge on the target by its own account.
    """

    adapt: bool
    estimate: float
    low: float
    high: float
    expected: float
    reason: str


def decide(
    judge: Floats,
    adapted: NDArray[np.int64],
    floor: NDArray[np.int64],
    right: NDArray[np.bool_],
    floor_right: NDArray[np.bool_],
    confidence: float,
    margin: float,
) -> Verdict:
    """Compare a model with source-only; both domains have to speak for it, or source-only stays.

    ``judge`` (n, classes) and the predicted classes ``adapted`` and ``floor`` (n,) are of the
    target; ``right`` and ``floor_right`` (m,) say which held-out source instances each gets right.
    """
    rows = np.arange(len(judge))
    gain = interval(judge[rows, adapted] - judge[rows, floor], confidence)
    lost, _, most = interval(right.astype(float) - floor_right, confidence)
    span = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain)
    adapt, reason = True, f"the estimated gain is {span}"
    if gain[1] <= margin:
        differ = float(np.mean(adapted != floor))
        reason = (
            f"the estimated gain {span} is not above {margin:g} ({differ:.0%} of answers differ)"
        )
        adapt = False
    elif most < 0:
        adapt, reason = False, f"it loses {-lost:.3f} in accuracy on held-out source data"
    return Verdict(adapt, *gain, float(judge.max(1).mean()), reason)


def decide_at_shares(
    right: NDArray[np.bool_],
    floor_right: NDArray[np.bool_],
    weight: Floats,
    confidence: float,
    margin: float,
) -> Verdict:
    """Compare a model with source-only where only class shares differ between the domains.

    ``right`` and ``floor_right`` (m,) say which held-out source instances each gets right, and
    ``weight`` (m,) is the target's share of their class over the source's. The weighted mean is
    then unbiased for the target; the interval takes the weights as known.
    """
    weight = weight / weight.mean()
    gain = interval(weight * (right.astype(float) - floor_right), confidence)
    expected = float((weight * right).mean())
    span = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain)
    if gain[1] > margin:
        return Verdict(True, *gain, expected, f"class shares differ: the estimated gain is {span}")
    return Verdict(False, *gain, expected, f"the estimated gain {span} is not above {margin:g}")


def interval(differences: Floats, confidence: float) -> tuple[float, float, float]:
    """Return the mean of independent values (n,) and its confidence interval (central limit)."""
    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return mean, -math.inf, math.inf
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return mean, mean - half, mean + half


def judge_of(
    target: Sequence[Predictions], source: Sequence[Predictions], y: NDArray[np.int64]
) -> Floats:
    """Return the mean over candidates of calibrated predictions on the target, (n, classes).

    ``source`` are their predictions on held-out source instances with labels ``y``. Each
    candidate counts as its voice does.
    """
    calibrated = [tempered(p, temperature(q, y)) for p, q in zip(target, source, strict=True)]
    return np.asarray(np.tensordot(voices(target), calibrated, 1))


def voices(target: Sequence[Predictions]) -> Floats:
    """Return how much each candidate counts, (candidates,) with sum 1.

    1 / sum over all candidates of (share of instances that both answer alike) ** TWINS: strategies
    that hardly differ have one voice together, however many of them are installed.
    """
    labels = np.stack([p.argmax(1) for p in target])
    alike = np.stack([(labels == own).mean(1) for own in labels])
    voice = 1 / (alike**TWINS).sum(1)
    return np.asarray(voice / voice.sum())


def temperature(p: Predictions, y: NDArray[np.int64]) -> float:
    """Return the T > 0 that minimises the log loss of softmax(ln p / T) for labels ``y``."""
    return 1 / sharpness(_logs(p), y, least=math.exp(-4), most=math.exp(2))


def tempered(p: Predictions, t: float) -> Floats:
    """Return softmax(ln p / t) of probabilities (n, classes)."""
    from scipy.special import softmax

    return np.asarray(softmax(_logs(p) / t, axis=1))


def _logs(p: Predictions) -> Floats:
    return np.log(np.asarray(p, np.float64).clip(LEAST))
