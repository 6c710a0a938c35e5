"""Gradient boosting is scikit-learn's, over histograms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from isthmus import BadInput, Run, Schema
from isthmus.learners import GradientBoosting

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4)).astype(np.float32)
X_NEW = RNG.normal(size=(100, 4)).astype(np.float32)
W = RNG.uniform(0.2, 3, 240)
CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b", "c", "d"))
VALUES = Schema(kind="table", shape=(4,), outputs=("u", "v"))
SMALL = GradientBoosting(rounds=8, penalty=0.5)
SAME = {"max_iter": 8, "early_stopping": False, "l2_regularization": 0.5}


@pytest.mark.parametrize("weight", [None, W])
@pytest.mark.parametrize("seen", [[0, 3], [0, 2, 3]])
def test_classes_are_scikit_learns_and_absent_ones_have_no_chance(seen, weight):
    y = np.array(seen)[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5) * (len(seen) - 2)]
    model = HistGradientBoostingClassifier(**SAME).fit(X, y, sample_weight=weight)
    expected = np.zeros((100, 4))
    expected[:, seen] = model.predict_proba(X_NEW)
    found = SMALL.fit(X, y, weight, CLASSES, Run()).predict(X_NEW)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("weight", [None, W])
def test_values_are_scikit_learns_one_model_each(weight):
    y = np.stack([X[:, 0] ** 2, 100 * X[:, 1]], 1)
    found = SMALL.fit(X, y, weight, VALUES, Run()).predict(X_NEW)
    for k in range(2):
        model = HistGradientBoostingRegressor(**SAME).fit(X, y[:, k], sample_weight=weight)
        np.testing.assert_allclose(found[:, k], model.predict(X_NEW), rtol=1e-4, atol=1e-4)


def test_weights_equal_repeated_rows_where_leaves_may_have_one():
    x, y = X.round(1), (X[:, 0] * X[:, 1] > 0).astype(int)
    w = RNG.integers(0, 4, 240)
    learner = GradientBoosting(rounds=8, leaf=1)
    weighted = learner.fit(x, y, w, CLASSES, Run()).predict(X_NEW)
    repeated = learner.fit(x.repeat(w, 0), y.repeat(w), None, CLASSES, Run()).predict(X_NEW)
    np.testing.assert_allclose(weighted, repeated, atol=1e-5)


def test_columns_that_no_split_may_use_cost_nothing():
    rare = np.where(RNG.random((240, 6)) < 0.05, 1, 0).astype(np.float32)
    x, y = np.concatenate([rare, X, rare + 5], 1), (X[:, 0] * X[:, 1] > 0).astype(int)
    schema = Schema(kind="table", shape=(16,), classes=("a", "b"))
    adapted = SMALL.fit(x, y, None, schema, Run())
    expected = HistGradientBoostingClassifier(**SAME).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(adapted.predict(x), expected, atol=1e-5)
    assert set(adapted.part.nodes.feature.unique().tolist()) <= {0, 6, 7, 8, 9}


def test_few_rows_are_split_too():
    y = (X[:30, 0] > 0).astype(int)
    p = GradientBoosting().fit(X[:30], y, None, CLASSES, Run()).predict(X[:30])
    np.testing.assert_array_equal(p.argmax(1), y)


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"rate": 0.0}, {"leaves": 1}, {"penalty": -1.0}])
def test_settings_are_checked(bad):
    with pytest.raises(BadInput, match=f"gradient boosting needs {next(iter(bad))}"):
        GradientBoosting(**bad)
