"""A random forest: trees of scikit-learn on rows drawn by weight."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from isthmus import BadInput, Run, Schema
from isthmus.learners import Forest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
X_NEW = RNG.normal(size=(300, 4)).astype(np.float32)
CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b"))
VALUES = Schema(kind="table", shape=(4,), outputs=("u",))


def classes(x):
    return (x[:, 0] * x[:, 1] > 0).astype(int)


def test_it_votes_as_scikit_learns_forest_does():
    expected = RandomForestClassifier(300, random_state=1).fit(X, classes(X)).predict_proba(X_NEW)
    found = Forest(trees=300).fit(X, classes(X), None, CLASSES, Run()).predict(X_NEW)
    assert np.abs(found - expected).mean() < 0.03  # two forests of scikit-learn: 0.02


def test_values_are_scikit_learns_forests():
    y = (X[:, :1] ** 2 + X[:, 1:2]).astype(np.float32)
    expected = RandomForestRegressor(200, max_features=1 / 3, random_state=1).fit(X, y[:, 0])
    found = Forest(trees=200).fit(X, y, None, VALUES, Run()).predict(X_NEW)
    assert np.abs(found[:, 0] - expected.predict(X_NEW)).mean() < 0.1 * y.std()


def test_weights_are_as_good_as_repeated_rows():
    w = RNG.integers(0, 4, 200)
    x, y, forest = X.repeat(w, 0), classes(X).repeat(w), Forest(trees=200)
    weighted = forest.fit(X, classes(X), w, CLASSES, Run()).predict(X_NEW)
    repeated, other = (forest.fit(x, y, None, CLASSES, Run(seed=s)).predict(X_NEW) for s in (0, 1))
    by_chance = np.abs(other - repeated).mean()
    assert np.abs(weighted - repeated).mean() < 1.3 * by_chance
    plain = forest.fit(X, classes(X), None, CLASSES, Run()).predict(X_NEW)
    assert np.abs(plain - repeated).mean() > 1.6 * by_chance


def test_a_row_without_weight_is_no_row():
    w = np.where(classes(X) == 1, 1e-9, 1.0)
    p = Forest(trees=30).fit(X, classes(X), w, CLASSES, Run()).predict(X_NEW)
    np.testing.assert_allclose(p[:, 0], 1)


def test_a_sparse_matrix_is_read_as_a_dense_one():
    x = np.where(RNG.random(X.shape) < 0.5, X, np.float32(0))
    found = [
        Forest(trees=5).fit(a, classes(X), None, CLASSES, Run()).predict(X_NEW)
        for a in (x, sparse.csr_matrix(x))
    ]
    np.testing.assert_array_equal(*found)


def test_depth_and_leaves_are_bounded():
    a = Forest(trees=5, depth=3).fit(X, classes(X), None, CLASSES, Run())
    assert a.diagnostics["forest"]["depth"] == 3
    b = Forest(trees=5, leaf=40).fit(X, classes(X), None, CLASSES, Run())
    assert b.diagnostics["forest"]["nodes"] <= 5 * 2 * 200 / 40


@pytest.mark.parametrize("bad", [{"trees": 0}, {"leaf": 0}, {"depth": 0}, {"columns": 1.5}])
def test_settings_are_checked(bad):
    with pytest.raises(BadInput, match=f"a forest needs .*{next(iter(bad))}"):
        Forest(**bad)
