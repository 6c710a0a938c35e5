"""BNM against the singular values, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isthmus_evaluators.validators import nuclear_norm as module
from isthmus_evaluators.validators.nuclear_norm import BatchNuclearNorm, nuclear_norm


@pytest.mark.parametrize(("n", "k"), [(1, 3), (3, 7), (200, 1), (500, 12)])
def test_it_is_the_sum_of_the_singular_values(monkeypatch, n, k):
    p = np.random.default_rng(n + k).dirichlet(np.full(k, 0.2), n).astype(np.float32)
    expected = np.linalg.svd(p.astype(float), compute_uv=False).sum() / n
    assert nuclear_norm(p) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(module, "CHUNK", 2)
    assert nuclear_norm(p) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_uniform_sure_and_constant_predictions(evidence, k):
    n = 10 * k
    y = np.zeros(n, np.int64)

    def score(p):
        return BatchNuclearNorm().score(evidence(y, p))

    assert score(np.full((n, k), 1 / k)) == pytest.approx(1 / math.sqrt(n * k), rel=1e-6)
    assert score(np.eye(k)[np.arange(n) % k]) == pytest.approx(math.sqrt(k / n))
    assert score(np.eye(k)[y]) == pytest.approx(1 / math.sqrt(n))
