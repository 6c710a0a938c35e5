"""The guard lets a model pass that both domains speak for, and no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from isthmus_selection.guard import (
    decide,
    decide_at_shares,
    interval,
    judge_of,
    temperature,
    tempered,
    voices,
)

RNG = np.random.default_rng(0)


def probabilities(y, k=3, sharp=4.0, rng=RNG):
    z = rng.normal(size=(len(y), k)) + sharp * np.eye(k)[y]
    return (np.exp(z) / np.exp(z).sum(1, keepdims=True)).astype(np.float32)


def test_the_interval_is_that_of_students_normal_limit():
    d = RNG.normal(0.3, 1, 500)
    mean, low, high = interval(d, 0.9)
    wanted = stats.norm.interval(0.9, d.mean(), stats.sem(d))
    assert (mean, low, high) == pytest.approx((d.mean(), *wanted))
    assert interval(np.array([0.2]), 0.95)[1:] == (-math.inf, math.inf)


def test_tempering_keeps_the_order_and_one_changes_nothing():
    p = probabilities(RNG.integers(0, 3, 50))
    np.testing.assert_allclose(tempered(p, 1.0), p, atol=1e-6)
    np.testing.assert_array_equal(tempered(p, 7.0).argsort(1), p.argsort(1))
    np.testing.assert_allclose(tempered(p, 1e9), 1 / 3, atol=1e-6)


def test_the_temperature_minimises_the_log_loss():
    y = RNG.integers(0, 3, 400)
    p = probabilities(y)
    found = temperature(p, y)

    def loss(log_t):
        return -np.log(tempered(p, math.exp(log_t[0]))[np.arange(len(y)), y]).mean()

    wanted = optimize.minimize(loss, [0.0], method="Nelder-Mead").x[0]
    assert math.log(found) == pytest.approx(wanted, abs=1e-2)
    sharper = tempered(p, 0.5)  # needs twice the temperature
    assert temperature(sharper, y) == pytest.approx(2 * found, rel=1e-2)


def test_a_confident_and_wrong_candidate_counts_for_little():
    y, y_source = RNG.integers(0, 3, 300), RNG.integers(0, 3, 300)
    good, good_source = probabilities(y), probabilities(y_source)
    bad, bad_source = (tempered(probabilities(RNG.integers(0, 3, 300)), 0.1) for _ in range(2))
    together = judge_of([good, bad], [good_source, bad_source], y_source)
    assert (together.argmax(1) == y).mean() > (good.argmax(1) == y).mean() - 0.02
    assert ((good + bad).argmax(1) == y).mean() < (together.argmax(1) == y).mean() - 0.1


def case(n=400, right=0.9, floor=0.6):
    y = RNG.integers(0, 3, n)

    def answers(share):
        return np.where(RNG.random(n) < share, y, (y + 1) % 3)

    return probabilities(y), answers(right), answers(floor)


def test_a_better_model_passes_with_an_interval_that_holds_its_gain():
    judge, adapted, floor = case()
    even = np.ones(100, bool)
    verdict = decide(judge, adapted, floor, even, even, 0.95, 0.0)
    assert verdict.adapt
    assert 0.1 < verdict.low < verdict.estimate < verdict.high < 0.4


def test_a_worse_model_and_one_that_says_the_same_do_not_pass():
    judge, adapted, floor = case(right=0.6, floor=0.9)
    even = np.ones(100, bool)
    worse = decide(judge, adapted, floor, even, even, 0.95, 0.0)
    assert not worse.adapt
    assert "not above 0" in worse.reason
    same = decide(judge, floor, floor, even, even, 0.95, 0.0)
    assert (same.adapt, same.estimate, same.low, same.high) == (False, 0, 0, 0)


def test_a_model_that_loses_on_the_source_does_not_pass():
    judge, adapted, floor = case()
    lost = np.arange(100) < 80
    verdict = decide(judge, adapted, floor, lost, np.ones(100, bool), 0.95, 0.0)
    assert not verdict.adapt
    assert "0.200" in verdict.reason
    assert "source" in verdict.reason


def test_a_gain_below_the_margin_is_not_worth_it():
    judge, adapted, floor = case()
    even = np.ones(100, bool)
    gain = decide(judge, adapted, floor, even, even, 0.95, 0.0)
    assert not decide(judge, adapted, floor, even, even, 0.95, gain.low + 1e-6).adapt
    assert decide(judge, adapted, floor, even, even, 0.95, gain.low - 1e-6).adapt
    assert gain.expected == pytest.approx(judge.max(1).mean())


def test_twins_have_one_voice_together():
    a, b = (np.eye(3)[RNG.permutation(np.repeat([0, 1, 2], 100))] for _ in range(2))
    np.testing.assert_allclose(voices([a]), [1])
    np.testing.assert_allclose(voices([a, b]), [0.5, 0.5])
    shares = voices([a, a, a, b])
    np.testing.assert_allclose(shares[:3].sum(), shares[3], rtol=1e-2)
    assert shares.sum() == pytest.approx(1)


def test_at_the_targets_shares_held_out_source_is_the_target():
    """One model is better on a class that is rare in the source and common in the target."""
    y = RNG.choice(2, 4000, p=[0.9, 0.1])
    weight = np.array([0.2 / 0.9, 0.8 / 0.1])[y]
    floor = RNG.random(4000) < np.where(y == 0, 0.9, 0.5)
    better = RNG.random(4000) < np.where(y == 0, 0.7, 0.8)
    verdict = decide_at_shares(better, floor, weight, 0.95, 0.005)
    assert verdict.adapt
    assert verdict.low < 0.2 * -0.2 + 0.8 * 0.3 < verdict.high
    assert verdict.expected == pytest.approx(0.2 * 0.7 + 0.8 * 0.8, abs=0.05)
    assert better.mean() < floor.mean()  # as any judge of the source alone would say
    back = decide_at_shares(floor, better, weight, 0.95, 0.005)
    assert not back.adapt
    assert "not above" in back.reason
