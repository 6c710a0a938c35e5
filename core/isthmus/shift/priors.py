"""Label shift: the target's class shares, seen through a classifier trained on the source.

BBSE: Z. Lipton, Y.-X. Wang, A. Smola, Detecting and correcting for label shift with black box
predictors, ICML 2018. The test on predictions: S. Rabanser, S. Günnemann, Z. Lipton, Failing
loudly, NeurIPS 2019. Both rest on p(x|y) being shared. Whether it is, is judged by what is left:
once the source has the estimated shares, its predictions and its rows should look like the
target's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.shift.columns import gaps, ks_p
from isthmus.shift.probe import Probe
from isthmus.shift.two_sample import TwoSample, two_sample

LEVEL = 0.05 / 3  # one of three tests that may see a shift, of 5 % together
MOSTLY = 0.7  # balanced accuracy up to which shares may be most of what differs
RESOLVED = 0.01  # p-values of what is left once the shares are matched
RESAMPLES = 200
PERMUTATIONS = 999
LEAST = 0.1  # smallest singular value over the largest: below it shares cannot be told apart
FEWEST = 40  # source rows left at the estimated shares
# Predictions do not differ; shares explain all that differs; they explain the predictions, and most
# of the columns; they do not; the classifier cannot tell classes apart.
VERDICTS = ("none shown", "label shift", "perhaps label shift", "not label shift alone", "unknown")


@dataclass(frozen=True)
class Priors:
    """Class shares, one entry per class of the schema; ``low`` and ``high`` bound 95 %."""

    source: tuple[float, ...]
    predicted: tuple[float, ...]  # share of target rows that the source model calls so
    target: tuple[float, ...]  # estimated
    low: tuple[float, ...]
    high: tuple[float, ...]
    accuracy: float  # of the source model on held-out source rows
    p: float  # that predictions differ between the domains by chance
    left: float  # largest Kolmogorov-Smirnov gap of the predictions at the estimated shares
    before: float  # the same gap at the source's own shares
    p_left: float
    rows_left: TwoSample | None  # source rows at the estimated shares against the target's
    verdict: str  # one of VERDICTS


def estimate_priors(
    probe: Probe,
    y: NDArray[np.int64],
    z_source: NDArray[Any],
    z_target: NDArray[Any],
    rng: np.random.Generator,
) -> Priors:
    """Estimate the target's class shares and say whether label shift explains the predictions.

    ``y`` (n_source,) and ``z_source`` (n_source, d) belong to the rows of ``probe.source``.
    """
    k = probe.source.shape[1]
    share = np.bincount(y, minlength=k) / len(y)
    average = probe.target.mean(0)
    found = bbse(probe.source, y, average)
    resampled = np.stack([_resampled(probe.source, y, average, rng) for _ in range(RESAMPLES)])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    once = probe.target_once(rng)
    p = counts_p(_counts(probe.source, k), _counts(once, k), rng)
    before = gaps(probe.source, once)[1].max()
    kept = at_shares(y, share, found, rng)
    left, p_left, rows_left = float(before), 0.0, None
    if len(kept) >= FEWEST:
        ks = gaps(probe.source[kept], once)[1]
        left = float(ks.max())
        p_left = float(min(1.0, (1 if k == 2 else k) * ks_p(ks, len(kept), len(once)).min()))
        rows_left = two_sample(z_source[kept], z_target, rng)
    if not _identified(probe.source, y):
        verdict = "unknown"
    elif p >= LEVEL:
        verdict = "none shown"
    elif rows_left is None or p_left < RESOLVED or rows_left.accuracy > MOSTLY:
        verdict = "not label shift alone"
    else:
        verdict = "label shift" if rows_left.p >= RESOLVED else "perhaps label shift"
    return Priors(
        source=_plain(share),
        predicted=_plain(_counts(average, k) / len(average)),
        target=_plain(found),
        low=_plain(np.minimum(low, found)),
        high=_plain(np.maximum(high, found)),
        accuracy=float((probe.source.argmax(1) == y).mean()),
        p=p,
        left=left,
        before=float(before),
        p_left=p_left,
        rows_left=rows_left,
        verdict=verdict,
    )


def bbse(
    p_source: NDArray[Any], y: NDArray[Any], p_target: NDArray[Any], weight: Any = None
) -> NDArray[np.float64]:
    """Return the target's class shares (classes,), at least 0 and summing to 1.

    Solves C w = q with w >= 0: C[i, j] is the mean of p_i over held-out source rows of class j,
    times the share of that class; q the mean over target rows. ``weight`` (n_source,) counts rows.
    """
    from scipy.optimize import nnls

    joint = _joint(p_source, y, weight)
    ratio, _ = nnls(joint, p_target.mean(0))
    shares = ratio * joint.sum(0)
    return np.asarray(shares / shares.sum() if shares.sum() > 0 else joint.sum(0))


def counts_p(a: NDArray[Any], b: NDArray[Any], rng: np.random.Generator) -> float:
    """Return the p-value of Pearson's statistic on two rows of counts (k,), by permutation."""
    both = a + b
    some = both > 0
    both, b = both[some], b[some]
    expected = both * (b.sum() / both.sum())
    drawn = rng.multivariate_hypergeometric(both, int(b.sum()), size=PERMUTATIONS)
    # The other row's differences are the same with the opposite sign: one row ranks as both do.
    null = (np.square(drawn - expected) / expected).sum(1)
    found = (np.square(b - expected) / expected).sum()
    return float((1 + (null >= found - 1e-9).sum()) / (PERMUTATIONS + 1))


def at_shares(
    y: NDArray[Any], share: NDArray[Any], wanted: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return source rows drawn without replacement, as many as can be had in ``wanted`` shares."""
    ratio = np.divide(wanted, share, out=np.zeros_like(wanted), where=share > 0)
    ratio /= max(ratio.max(), 1e-12)
    kept = [
        rng.permutation(own)[: round(len(own) * ratio[c])]
        for c in range(len(share))
        if len(own := np.flatnonzero(y == c))
    ]
    return np.sort(np.concatenate(kept))


def _resampled(
    p_source: NDArray[Any], y: NDArray[Any], p_target: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.float64]:
    n, m = len(p_source), len(p_target)
    counts = rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64)
    return bbse(p_source, y, p_target[rng.integers(m, size=m)], counts)


def _identified(p_source: NDArray[Any], y: NDArray[Any]) -> bool:
    """Say whether the mean predictions of the classes differ enough to be told apart."""
    joint = _joint(p_source, y)
    present = joint.sum(0) > 0
    given = (joint[:, present] / joint[:, present].sum(0))[present]
    values = np.linalg.svd(given, compute_uv=False)
    return bool(values[-1] > LEAST * values[0])


def _joint(p_source: NDArray[Any], y: NDArray[Any], weight: Any = None) -> NDArray[np.float64]:
    hot = np.zeros_like(p_source)
    hot[np.arange(len(y)), y] = 1.0 if weight is None else weight
    return np.asarray(p_source.T @ hot / hot.sum())


def _counts(p: NDArray[Any], k: int) -> NDArray[np.int64]:
    return np.bincount(p.argmax(1), minlength=k)


def _plain(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
