"""Corr-C: the cosine of two matrices, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from isthmus_evaluators.validators.class_correlation import ClassCorrelation, class_correlation


@pytest.mark.parametrize(("n", "k"), [(1, 3), (200, 2), (500, 12)])
def test_it_is_the_cosine_of_correlations_and_identity(n, k):
    p = np.random.default_rng(n + k).dirichlet(np.full(k, 0.2), n).astype(np.float32)
    mean_outer = np.mean([np.outer(row, row) for row in p.astype(float)], axis=0)
    expected = 1 - cosine(mean_outer.ravel(), np.eye(k).ravel())
    assert class_correlation(p) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_sure_and_balanced_is_the_best_uniform_and_constant_the_worst(evidence, k):
    y = np.zeros(10 * k, np.int64)

    def score(p):
        return ClassCorrelation().score(evidence(y, p))

    assert score(np.eye(k)[np.arange(10 * k) % k]) == pytest.approx(1)
    assert score(np.full((10 * k, k), 1 / k)) == pytest.approx(1 / math.sqrt(k))
    assert score(np.eye(k)[y]) == pytest.approx(1 / math.sqrt(k))
