"""Tests and intervals for a few paired differences, none of which assumes a normal law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.compare.grid import ROUNDING, Floats

EXACT = 16  # differences up to which all 2**n flips are counted
DRAWS = 10_000
BLOCK = 1_000  # draws at a time, which bounds the memory
LEVEL = 0.05


def sign_flip_p(differences: Floats, seed: int = 0) -> float:
    """Return the two-sided p that the differences (n,) are symmetric around zero.

    It is the share of sign patterns whose sum is at least as far from zero as the observed one:
    of all 2**n patterns, or of random ones and the observed one (then p > 0 as well).
    """
    d = np.sort(differences)  # so that the order of the tasks does not decide what is drawn
    observed = abs(d.sum()) - ROUNDING * np.abs(d).sum()
    if len(d) <= EXACT:
        sums = np.zeros(1)
        for x in d:
            sums = np.concatenate([sums + x, sums - x])
        return float(np.mean(np.abs(sums) >= observed))
    rng = np.random.default_rng(seed)
    extreme = 1
    for _ in range(DRAWS // BLOCK):
        signs = rng.integers(0, 2, (BLOCK, len(d)), dtype=np.int8) * 2.0 - 1
        extreme += int(np.count_nonzero(np.abs(signs @ d) >= observed))
    return extreme / (DRAWS + 1)


def wilcoxon_p(differences: Floats, seed: int = 0) -> float:
    """Return the two-sided p of the signed-rank test; zeros are dropped, ties share their rank.

    Wilcoxon, Biometrics Bulletin 1945. It is the sign-flip test on ranks, hence exact with ties.
    """
    from scipy.stats import rankdata

    d = differences[differences != 0]
    if not len(d):
        return 1.0
    size = np.abs(d)
    return sign_flip_p(np.sign(d) * rankdata(np.round(size / size.max() / ROUNDING)), seed)


def bootstrap_interval(differences: Floats, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of the differences (n,); None for n < 2.

    Percentiles of resampled means, moved outwards so that normal data are covered as by Student's
    t: plain percentiles are too narrow for few tasks (Hesterberg, The American Statistician 2015,
    arXiv 1411.5279). With less than six tasks it is too narrow nevertheless.
    """
    from scipy.special import ndtr, stdtrit

    n = len(differences)
    if n < 2:
        return None
    d, rng = np.sort(differences), np.random.default_rng(seed)
    means = np.concatenate(
        [d[rng.integers(0, n, (BLOCK, n))].mean(1) for _ in range(DRAWS // BLOCK)]
    )
    tail = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, LEVEL / 2))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return the p of a family of tests, adjusted (Holm, Scandinavian J. of Statistics 1979)."""
    adjusted, least = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda name: (p[name], name))):
        least = max(least, min(1.0, (len(p) - i) * p[name]))
        adjusted[name] = least
    return adjusted
