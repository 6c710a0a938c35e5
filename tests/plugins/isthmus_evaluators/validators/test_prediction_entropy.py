"""Mean entropy: closed forms, and SciPy's entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy

from isthmus_evaluators.validators.prediction_entropy import Entropy, mean_entropy


@pytest.mark.parametrize("k", [1, 2, 7])
def test_uniform_and_sure_predictions(evidence, k):
    y = np.zeros(12, np.int64)
    assert Entropy().score(evidence(y, np.full((12, k), 1 / k))) == pytest.approx(math.log(k))
    assert Entropy().score(evidence(y, np.eye(k)[np.arange(12) % k])) == 0
    assert not Entropy.higher_is_better


def test_it_is_the_entropy_of_scipy_and_chunks_do_not_show():
    p = np.random.default_rng(0).dirichlet(np.ones(3), 70_000).astype(np.float32)
    assert mean_entropy(p) == pytest.approx(entropy(p.astype(float), axis=1).mean(), rel=1e-6)
