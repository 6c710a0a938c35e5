"""The classifier two-sample test: right under the null, sees what it should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from isthmus.shift.two_sample import median_distance, two_sample


def draw(rng, n, d=3, shift=0.0, scale=1.0):
    return rng.normal(size=(n, d)) * scale + shift


@pytest.mark.parametrize(("n", "m"), [(30, 30), (90, 14)])
def test_p_values_are_uniform_without_a_shift(n, m):
    rng = np.random.default_rng(1)
    p = [two_sample(draw(rng, n), draw(rng, m), rng, permutations=39).p for _ in range(150)]
    # Ties between relabellings of few rows make p larger, which is the right side to err on.
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert np.abs(np.sort(p) - np.linspace(0, 1, len(p))).max() < 0.2
    assert np.mean(np.array(p) <= 0.05) < 0.11  # 0.05 expected, and four standard errors


def test_the_accuracy_is_balanced_whatever_the_sizes():
    rng = np.random.default_rng(2)
    same = two_sample(draw(rng, 1900), draw(rng, 100), rng)
    assert abs(same.accuracy - 0.5) < 0.08
    moved = two_sample(draw(rng, 1900), draw(rng, 100, shift=1.0), rng)
    bayes = 0.807  # of two Gaussians sqrt(3) apart
    assert moved.accuracy == pytest.approx(bayes, abs=0.05)
    assert moved.p == 1 / 200


def test_a_distance_is_near_0_for_one_distribution_and_2_for_separate_ones():
    rng = np.random.default_rng(3)
    x, y = draw(rng, 400), draw(rng, 400)
    assert two_sample(x, y, rng).a_distance < 0.2
    assert two_sample(x, y + 20, rng).a_distance > 1.97
    # The very same rows: each has its twin on the other side, which only misleads the classifier.
    assert two_sample(x, x, rng).a_distance == 0
    assert two_sample(x, x, rng).p > 0.5


def test_a_change_of_spread_or_of_correlation_is_seen_too():
    rng = np.random.default_rng(4)
    x = draw(rng, 400)
    assert two_sample(x, draw(rng, 400, scale=2.0), rng).p == 1 / 200
    correlated = rng.normal(size=(400, 1)) + 0.5 * draw(rng, 400)
    assert two_sample(x * correlated.std(), correlated, rng).p == 1 / 200


def test_constant_columns_do_no_harm():
    rng = np.random.default_rng(5)
    x, y = (np.hstack([draw(rng, 50), np.ones((50, 2))]) for _ in range(2))
    assert 0 < two_sample(x, y, rng).p <= 1
    assert median_distance(np.ones((20, 2)), rng) == 1.0
