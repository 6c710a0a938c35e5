"""Nearest neighbours equal scikit-learn's, also with weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from isthmus import BadInput, Run, Schema
from isthmus.learners import NearestNeighbours

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32) + 50
Y = RNG.integers(0, 3, 90)
X_NEW = RNG.normal(size=(30, 4)).astype(np.float32) + 50
CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(4,), outputs=("u", "v"))


def predict(k, y, schema, weight=None, x=X, x_new=X_NEW):
    return NearestNeighbours(k=k).fit(x, y, weight, schema, Run()).predict(x_new)


@pytest.mark.parametrize("k", [1, 5])
def test_votes_are_scikit_learns(k):
    model = KNeighborsClassifier(k).fit(X, Y)
    np.testing.assert_allclose(predict(k, Y, CLASSES), model.predict_proba(X_NEW), atol=1e-6)


@pytest.mark.parametrize("k", [1, 5])
def test_means_are_scikit_learns(k):
    values = RNG.normal(size=(90, 2)).astype(np.float32)
    model = KNeighborsRegressor(k).fit(X, values)
    np.testing.assert_allclose(predict(k, values, VALUES), model.predict(X_NEW), atol=1e-5)


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_vote_by_weight(k):
    w = RNG.uniform(0.1, 4, 90)
    nearest = KNeighborsClassifier(k).fit(X, Y).kneighbors(X_NEW, return_distance=False)
    votes = np.zeros((30, 3))
    for row, index in enumerate(nearest):
        np.add.at(votes[row], Y[index], w[index])
    expected = votes / votes.sum(1, keepdims=True)
    np.testing.assert_allclose(predict(k, Y, CLASSES, w), expected, atol=1e-6)


def test_a_row_of_weight_zero_is_no_neighbour():
    w = (np.arange(90) % 2).astype(float)
    np.testing.assert_array_equal(
        predict(5, Y, CLASSES, w), predict(5, Y[1::2], CLASSES, x=X[1::2])
    )


def test_rows_equally_near_do_not_depend_on_their_order():
    x, y = np.zeros((6, 4), np.float32), np.array([0, 1, 2, 0, 1, 2])
    new = np.zeros((1, 4), np.float32)
    found = [
        predict(1, y[o], CLASSES, x=x[o], x_new=new) for o in (np.arange(6), np.arange(6)[::-1])
    ]
    np.testing.assert_array_equal(*found)


def test_more_neighbours_than_rows_are_all_rows():
    p = predict(500, Y, CLASSES)
    np.testing.assert_allclose(p, np.tile(np.bincount(Y) / 90, (30, 1)), atol=1e-6)


def test_there_is_at_least_one_neighbour():
    with pytest.raises(BadInput, match="k >= 1"):
        NearestNeighbours(k=0)
