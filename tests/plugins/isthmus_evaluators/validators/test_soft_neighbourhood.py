"""SND against the n x n matrix that it never holds, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from isthmus import BadInput
from isthmus_evaluators.validators import soft_neighbourhood
from isthmus_evaluators.validators.soft_neighbourhood import (
    SoftNeighbourhoodDensity,
    soft_neighbourhood_density,
)


def whole_matrix(p, tau):
    """Return the score as the paper has it: a softmax over all n - 1 others, then its entropy."""
    u = p.astype(float) / np.linalg.norm(p.astype(float), axis=1, keepdims=True)
    s = u @ u.T / tau
    np.fill_diagonal(s, -np.inf)
    return entropy(softmax(s, axis=1), axis=1).mean()


@pytest.mark.parametrize("tau", [0.025, 0.05, 1.0])
@pytest.mark.parametrize(("n", "k"), [(2, 2), (3, 1), (50, 10), (300, 4)])
def test_blocks_give_the_score_of_the_whole_matrix(monkeypatch, n, k, tau):
    p = np.random.default_rng(n).dirichlet(np.full(k, 0.3), n).astype(np.float32)
    whole = whole_matrix(p, tau)
    for block in (7, 64, 512):
        monkeypatch.setattr(soft_neighbourhood, "BLOCK", block)
        assert soft_neighbourhood_density(p, tau) == pytest.approx(whole, rel=2e-5, abs=1e-6)


def test_features_of_any_sign_do_not_underflow():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    x[20:] = -x[:20]
    for tau in (0.025, 0.05):
        assert soft_neighbourhood_density(x, tau) == pytest.approx(whole_matrix(x, tau), rel=1e-4)
    two = np.array([[1.0], [-1.0]], np.float32)
    assert soft_neighbourhood_density(two, 0.025) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("k", [2, 5])
def test_equal_predictions_have_the_densest_neighbourhood(evidence, k):
    n = 30
    uniform = evidence(np.zeros(n, np.int64), np.full((n, k), 1 / k))
    assert SoftNeighbourhoodDensity().score(uniform) == pytest.approx(math.log(n - 1), abs=1e-5)
    sure = evidence(np.zeros(n, np.int64), np.eye(k)[np.zeros(n, int)])
    assert SoftNeighbourhoodDensity().score(sure) == pytest.approx(math.log(n - 1), abs=1e-5)


def test_sure_predictions_see_their_own_class_alone(evidence):
    k, each = 4, 25
    p = np.eye(k)[np.arange(k * each) % k]
    got = SoftNeighbourhoodDensity().score(evidence(np.zeros(len(p), np.int64), p))
    assert got == pytest.approx(math.log(each - 1), abs=1e-5)


def test_above_the_limit_a_sample_by_content_is_read(evidence, monkeypatch):
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), 800)
    e = evidence(np.zeros(800, np.int64), p)
    whole = SoftNeighbourhoodDensity().score(e)
    monkeypatch.setattr(soft_neighbourhood, "ROWS", 400)
    part = SoftNeighbourhoodDensity().score(e)
    # Half the instances, half the neighbours.
    assert part == pytest.approx(whole - math.log(2), abs=0.1)


def test_what_it_cannot_read_is_refused(evidence):
    with pytest.raises(BadInput, match="snd needs at least 2 instances, target has 1"):
        SoftNeighbourhoodDensity().score(evidence([0], [[0.5, 0.5]]))
    with pytest.raises(BadInput, match=r"temperature of at least 0.025, got 0.01"):
        SoftNeighbourhoodDensity(temperature=0.01)
