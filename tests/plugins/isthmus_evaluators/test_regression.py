"""R2, MAE and RMSE, against scikit-learn and at their limits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from isthmus import BadInput, Evidence, PluginError
from isthmus_evaluators.regression import R2, MeanAbsoluteError, RootMeanSquaredError

ALL = [R2, MeanAbsoluteError, RootMeanSquaredError]


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("n", [2, 100])
def test_scores_are_those_of_scikit_learn(evidence, outputs, n):
    rng = np.random.default_rng(outputs + n)
    y = (rng.normal(size=(n, outputs)) * [1, 10, 100][:outputs]).astype(np.float32)
    p = (y + rng.normal(size=y.shape)).astype(np.float32)
    e = evidence(y, p)
    y, p = y.astype(float), p.astype(float)
    assert R2().score(e) == pytest.approx(metrics.r2_score(y, p), rel=1e-9)
    assert MeanAbsoluteError().score(e) == pytest.approx(metrics.mean_absolute_error(y, p))
    root = metrics.root_mean_squared_error(y, p)
    assert RootMeanSquaredError().score(e) == pytest.approx(root)


def test_perfect_and_mean_predictions(evidence):
    y = np.array([[1.0, -2], [3, 0], [5, 8]], np.float32)
    perfect, mean = evidence(y, y), evidence(y, np.tile(y.mean(0), (3, 1)))
    assert [cls().score(perfect) for cls in ALL] == [1, 0, 0]
    assert R2().score(mean) == pytest.approx(0, abs=1e-6)
    assert RootMeanSquaredError().score(mean) == pytest.approx(y.std(0).mean(), rel=1e-6)


@pytest.mark.parametrize("n", [1, 7])
def test_constant_labels_score_one_or_zero(evidence, n):
    y = np.full((n, 1), 0.1, np.float32)
    assert R2().score(evidence(y, y)) == 1
    assert R2().score(evidence(y, y + 0.5)) == 0
    if n > 1:  # scikit-learn has no answer for one instance, and -1e15 for these in float32
        assert metrics.r2_score(y.astype(float), y + 0.5) == 0


def test_a_constant_output_does_not_spoil_the_others(evidence):
    y = np.stack([np.full(9, 5.0), np.arange(9.0)], 1)
    assert R2().score(evidence(y, y + [1, 0])) == pytest.approx((0 + 1) / 2)


def test_scores_scale_as_they_should(evidence):
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    one, ten = evidence(y, p), evidence(10 * y + 3, 10 * p + 3)
    assert R2().score(ten) == pytest.approx(R2().score(one), rel=1e-5)
    for cls in (MeanAbsoluteError, RootMeanSquaredError):
        assert cls().score(ten) == pytest.approx(10 * cls().score(one), rel=1e-5)


def test_squares_do_not_overflow(evidence):
    y = np.array([[0], [1e30]], np.float32)
    assert RootMeanSquaredError().score(evidence(y, -y)) == pytest.approx(2e30 / np.sqrt(2))
    assert R2().score(evidence(y, y)) == 1


@pytest.mark.parametrize("cls", ALL)
def test_the_order_of_rows_does_not_matter(evidence, cls):
    rng = np.random.default_rng(1)
    e = evidence(rng.normal(size=(40, 2)), rng.normal(size=(40, 2)))
    shuffled = Evidence(adapted=e.adapted, target=e.target.take(rng.permutation(40)))
    assert cls().score(shuffled) == pytest.approx(cls().score(e), rel=1e-12)


@pytest.mark.parametrize("cls", ALL)
def test_they_apply_to_values_alone_and_ask_for_labels(evidence, cls):
    values, classes = evidence([[0.5], [1.5]], [[1], [1]]), evidence([0, 1], np.eye(2))
    assert cls().applies(values.schema)
    assert not cls().applies(classes.schema)
    assert cls.higher_is_better == (cls is R2)
    with pytest.raises(BadInput, match="has no labels"):
        cls().score(values.blind())


@pytest.mark.parametrize("cls", ALL)
def test_predictions_of_another_shape_are_not_broadcast(evidence, cls):
    e = evidence([[0.5], [1.5]], [[1], [1]])
    flat = Evidence(adapted=type(e.adapted)(lambda x: x[:, 0]), target=e.target)
    with pytest.raises(PluginError, match=r"shape \(2,\), expected \(2, 1\)"):
        cls().score(flat)
