"""Information maximisation: closed forms, and the divergence that it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isthmus import PluginError
from isthmus_evaluators.validators.information_maximisation import InformationMaximisation


@pytest.mark.parametrize("k", [2, 3, 10])
def test_information_of_confident_balanced_and_of_constant_predictions(evidence, k):
    y = np.zeros(30 * k, np.int64)
    sure, flat = np.eye(k)[np.arange(30 * k) % k], np.full((30 * k, k), 1 / k)
    biased = np.tile(np.arange(1, k + 1) / np.arange(1, k + 1).sum(), (30 * k, 1))
    score = InformationMaximisation().score
    assert score(evidence(y, sure)) == pytest.approx(math.log(k), rel=1e-9)
    assert score(evidence(y, flat)) == pytest.approx(0, abs=1e-6)
    assert score(evidence(y, biased)) == pytest.approx(0, abs=1e-6)
    assert score(evidence(y, np.eye(k)[y])) == 0  # confident, and always the same class


def test_information_is_a_divergence_from_the_mean(evidence):
    """I = mean KL(p_i || mean p), another formula for the same number; chunks do not show."""
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.ones(4), 70_000).astype(np.float32)
    mean = p.mean(0, dtype=np.float64)
    divergence = (p * np.log(np.maximum(p, 1e-30) / mean)).sum(1).mean()
    y = np.zeros(len(p), np.int64)
    got = InformationMaximisation().score(evidence(y, p))
    assert got == pytest.approx(divergence, rel=1e-4)
    assert got < math.log(4)
    order = rng.permutation(len(p))
    assert InformationMaximisation().score(evidence(y, p[order])) == pytest.approx(got, rel=1e-9)


def test_information_refuses_what_is_not_probabilities(evidence):
    with pytest.raises(PluginError, match="not probabilities: row 1"):
        InformationMaximisation().score(evidence([0, 0], [[1, 0], [3, 4]]))
