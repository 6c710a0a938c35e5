"""Log loss, Brier score and calibration error, against scikit-learn and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from isthmus import BadInput, Evidence, PluginError
from isthmus_evaluators.probabilistic import Brier, ExpectedCalibrationError, LogLoss

ALL = [LogLoss, Brier, ExpectedCalibrationError]


def ece_by_definition(y, p, bins=15):
    """Return the ECE with one mask per bin, as in equation 3 of Guo et al."""
    confidence, total = p.max(1).astype(float), 0.0
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            right = (p.argmax(1) == y)[inside].mean()
            total += inside.mean() * abs(right - confidence[inside].mean())
    return total


@pytest.mark.parametrize(("k", "labels"), [(2, 2), (5, 5), (5, 3)])
@pytest.mark.parametrize("n", [1, 200])
def test_scores_are_those_of_independent_implementations(evidence, k, labels, n):
    rng = np.random.default_rng(k + labels + n)
    y, p = rng.integers(0, labels, n), rng.dirichlet(np.ones(k), n).astype(np.float32)
    e = evidence(y, p)
    one_hot = np.eye(k)[y]
    assert LogLoss().score(e) == pytest.approx(metrics.log_loss(y, p, labels=range(k)), rel=1e-5)
    assert Brier().score(e) == pytest.approx(((p - one_hot) ** 2).sum(1).mean(), rel=1e-6)
    assert ExpectedCalibrationError().score(e) == pytest.approx(ece_by_definition(y, p), abs=1e-9)


def test_brier_is_twice_the_binary_score_of_scikit_learn(evidence):
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, 100), rng.dirichlet(np.ones(2), 100)
    binary = metrics.brier_score_loss(y, p[:, 1])
    assert Brier().score(evidence(y, p)) == pytest.approx(2 * binary, rel=1e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_perfect_and_uniform_predictions(evidence, k):
    y = np.arange(20) % k
    perfect, uniform = evidence(y, np.eye(k)[y]), evidence(y, np.full((20, k), 1 / k))
    assert [cls().score(perfect) for cls in ALL] == [0, 0, 0]
    assert LogLoss().score(uniform) == pytest.approx(math.log(k), rel=1e-6)
    assert Brier().score(uniform) == pytest.approx(1 - 1 / k, rel=1e-6)
    # The first class wins every tie and is right once in k, which is its confidence.
    assert ExpectedCalibrationError().score(uniform) == pytest.approx(0, abs=1e-7)


def test_sure_and_always_wrong_is_the_worst(evidence):
    y = np.array([0, 1, 2])
    e = evidence(y, np.eye(3)[(y + 1) % 3])
    assert LogLoss().score(e) == pytest.approx(-math.log(np.finfo(np.float32).eps))
    assert Brier().score(e) == 2
    assert ExpectedCalibrationError().score(e) == 1


def test_constant_confidence_is_off_by_its_distance_to_the_accuracy(evidence):
    p = np.tile([0.9, 0.1], (10, 1))
    e = evidence([0] * 6 + [1] * 4, p)
    assert ExpectedCalibrationError().score(e) == pytest.approx(0.9 - 0.6, abs=1e-6)


def test_over_and_under_confidence_in_different_bins_do_not_cancel(evidence):
    # Half at confidence 0.6 and always right, half at 0.8 and right in 2 of 5: gaps of 0.4.
    p = np.repeat([[0.6, 0.4], [0.8, 0.2]], 5, axis=0)
    e = evidence([0] * 5 + [0, 0, 1, 1, 1], p)
    assert ExpectedCalibrationError().score(e) == pytest.approx(0.4, abs=1e-6)


def test_a_calibrated_model_has_a_small_error(evidence):
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(3), 20_000)
    y = (rng.random((20_000, 1)) > p.cumsum(1)).sum(1).clip(max=2)
    honest = ExpectedCalibrationError().score(evidence(y, p))
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    assert honest < 0.015
    assert ExpectedCalibrationError().score(evidence(y, sharp)) > 0.1


@pytest.mark.parametrize("cls", ALL)
def test_order_of_rows_and_names_of_classes_do_not_matter(evidence, cls):
    rng = np.random.default_rng(5)
    y, p, new = rng.integers(0, 4, 60), rng.dirichlet(np.ones(4), 60), rng.permutation(4)
    e = evidence(y, p)
    shuffled = Evidence(adapted=e.adapted, target=e.target.take(rng.permutation(60)))
    renamed = evidence(new[y], p[:, np.argsort(new)])
    assert cls().score(shuffled) == pytest.approx(cls().score(e), rel=1e-9)
    assert cls().score(renamed) == pytest.approx(cls().score(e), rel=1e-6)


@pytest.mark.parametrize("cls", ALL)
def test_lower_is_better_and_labels_are_read(evidence, cls):
    assert cls.reads_labels
    assert not cls.higher_is_better
    with pytest.raises(BadInput, match="has no labels"):
        cls().score(evidence([0, 1], np.eye(2)).blind())


@pytest.mark.parametrize("p", [[[4.0, -3.0]], [[2.0, 2.0]], [[0.0, 0.0]]])
@pytest.mark.parametrize("cls", ALL)
def test_logits_are_not_taken_for_probabilities(evidence, cls, p):
    with pytest.raises(PluginError, match="not probabilities: row 0"):
        cls().score(evidence([0], p))


def test_half_precision_probabilities_pass(evidence):
    p = np.random.default_rng(6).dirichlet(np.ones(10), 50).astype(np.float16)
    assert np.isfinite(LogLoss().score(evidence(np.arange(50) % 10, p)))
