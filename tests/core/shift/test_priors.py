"""Class shares: recovered under label shift, not claimed under other shifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from isthmus.shift.priors import at_shares, bbse, counts_p, estimate_priors
from isthmus.shift.probe import probe

CENTRES = np.array([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])


def draw(rng, n, shares):
    y = rng.choice(3, n, p=shares)
    return CENTRES[y] + rng.normal(size=(n, 3)), y


def estimated(x, y, target, seed=0):
    rng = np.random.default_rng(seed)
    return estimate_priors(probe(x, y, target, None, 3, rng), y, x, target, rng)


def test_known_shares_are_recovered_and_lie_in_the_interval():
    rng = np.random.default_rng(0)
    x, y = draw(rng, 1500, [0.5, 0.3, 0.2])
    target, _ = draw(rng, 1500, [0.1, 0.2, 0.7])
    found = estimated(x, y, target)
    assert found.verdict == "label shift"
    np.testing.assert_allclose(found.target, [0.1, 0.2, 0.7], atol=0.05)
    np.testing.assert_allclose(found.source, np.bincount(y) / len(y))
    assert all(a <= b <= c for a, b, c in zip(found.low, found.target, found.high))
    assert all(a <= b <= c for a, b, c in zip(found.low, [0.1, 0.2, 0.7], found.high))
    assert found.p == 1 / 1000
    assert found.left < found.before / 3
    assert sum(found.target) == pytest.approx(1)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng, held = np.random.default_rng(1), []
    for seed in range(25):
        x, y = draw(rng, 300, [0.4, 0.3, 0.3])
        target, drawn = draw(rng, 300, [0.2, 0.3, 0.5])
        found = estimated(x, y, target, seed)
        truth = np.array([0.2, 0.3, 0.5])
        held.append((np.array(found.low) <= truth) & (truth <= np.array(found.high)))
        assert len(drawn)
    assert 0.85 <= np.mean(held) <= 1


def test_a_shift_of_a_column_that_says_nothing_of_the_class_is_no_label_shift():
    rng = np.random.default_rng(2)
    x, y = draw(rng, 800, [0.4, 0.3, 0.3])
    target, _ = draw(rng, 800, [0.4, 0.3, 0.3])
    x, target = (np.hstack([v, rng.normal(size=(800, 1))]) for v in (x, target))
    target[:, 3] += 2
    found = estimated(x, y, target)
    assert found.verdict == "none shown"
    assert found.p > 0.05


def test_where_the_features_moved_the_shares_are_not_relied_on():
    rng = np.random.default_rng(3)
    x, y = draw(rng, 800, [1 / 3] * 3)
    target, _ = draw(rng, 800, [1 / 3] * 3)
    found = estimated(x, y, target + [1.5, 0, 0])
    assert found.verdict == "not label shift alone"
    assert found.rows_left is not None
    assert found.rows_left.p < 0.01


def test_a_model_that_knows_nothing_says_so():
    rng = np.random.default_rng(4)
    x, target = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
    assert estimated(x, rng.integers(3, size=300), target).verdict == "unknown"


def test_the_solution_solves_the_confusion_equations():
    rng = np.random.default_rng(5)
    y = rng.integers(3, size=600)
    p = rng.dirichlet([1, 1, 1], 600)
    p[np.arange(600), y] += 1.5
    p /= p.sum(1, keepdims=True)
    wanted = np.array([0.6, 0.3, 0.1])
    means = np.stack([p[y == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(bbse(p, y, (wanted @ means)[None]), wanted, atol=1e-8)
    np.testing.assert_allclose(bbse(p, y, p), np.bincount(y) / 600, atol=1e-8)
    few = y < 2  # a class without source rows cannot be found
    assert bbse(p[few], y[few], p)[2] == 0


def test_p_values_of_counts_are_right():
    rng = np.random.default_rng(6)
    found = [
        counts_p(
            rng.multinomial(400, [0.2, 0.3, 0.5, 0]), rng.multinomial(90, [0.2, 0.3, 0.5, 0]), rng
        )
        for _ in range(150)
    ]
    assert kstest(found, "uniform").pvalue > 0.01
    assert counts_p(np.array([50, 50]), np.array([90, 10]), rng) == 1 / 1000


def test_rows_drawn_at_other_shares_have_them():
    y = np.repeat([0, 1, 2], [500, 300, 200])
    kept = at_shares(
        y, np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.8]), np.random.default_rng(0)
    )
    assert len(set(kept)) == len(kept)
    np.testing.assert_allclose(np.bincount(y[kept]) / len(kept), [0.1, 0.1, 0.8], atol=0.01)
