"""Linear learners equal scikit-learn's, and units, repeats and absent classes are no surprise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from isthmus import BadInput, Run, Schema, UnsupportedTask
from isthmus.learners import Linear, Logistic, Ridge

RNG = np.random.default_rng(0)
N, D = 120, 5
X = (RNG.normal(size=(N, D)) * [1, 10, 0.1, 1000, 3] + [0, 5, 0.2, -400, 9]).astype(np.float32)
SCORE = StandardScaler().fit_transform(X) @ RNG.normal(size=(D, 4)) + RNG.normal(size=(N, 4))
X_NEW = X[:40] + np.float32(0.1)


def classes(k):
    return Schema(kind="table", shape=(D,), classes=tuple("abcdef"[:k]))


VALUES = Schema(kind="table", shape=(D,), outputs=("u", "v"))


def predict(learner, x, y, schema, x_new, weight=None):
    return learner.fit(x, y, weight, schema, Run()).predict(x_new)


def reference(y, weight=None, C=1.0):
    mean = np.average(X.astype(float), axis=0, weights=weight)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    model = LogisticRegression(C=C, tol=1e-8, max_iter=9999)
    model.fit((X - mean) / scale, y, sample_weight=weight)
    return model.predict_proba((X_NEW - mean) / scale)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_is_scikit_learns_on_standardised_columns(k, weighted):
    y = SCORE[:, :k].argmax(1)
    weight = RNG.uniform(0.2, 3, N) if weighted else None
    p = predict(Logistic(C=0.3), X, y, classes(k), X_NEW, weight)
    np.testing.assert_allclose(p, reference(y, weight, 0.3), atol=2e-4)


@pytest.mark.parametrize("present", [[1], [0, 2], [0, 1, 3]])
def test_an_absent_class_has_no_probability(present):
    y = np.array(present)[SCORE[:, : len(present)].argmax(1)]
    p = predict(Logistic(), X, y, classes(4), X_NEW * 50)
    absent = sorted({0, 1, 2, 3} - set(present))
    assert (p[:, absent] == 0).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    if len(present) > 1:
        np.testing.assert_allclose(
            predict(Logistic(), X, y, classes(4), X_NEW)[:, present], reference(y), atol=2e-4
        )


def targets(learner):
    return (SCORE[:, :3].argmax(1), classes(3)) if learner == Logistic() else (SCORE[:, :2], VALUES)


@pytest.mark.parametrize("learner", [Logistic(), Ridge()])
def test_a_row_of_weight_two_is_a_row_given_twice(learner):
    y, schema = targets(learner)
    count = RNG.integers(0, 3, N)
    repeated = np.repeat(np.arange(N), count)
    twice = predict(learner, X[repeated], y[repeated], schema, X_NEW)
    weighted = predict(learner, X, y, schema, X_NEW, count.astype(np.float32))
    np.testing.assert_allclose(weighted, twice, atol=1e-4)


@pytest.mark.parametrize("learner", [Logistic(), Ridge()])
def test_units_do_not_matter(learner):
    y, schema = targets(learner)
    unit = np.array([1e-12, 1e6, 1, 1e-3, 1e9], np.float32)
    here = predict(learner, X, y, schema, X_NEW)
    there = predict(learner, X * unit, y, schema, X_NEW * unit)
    np.testing.assert_allclose(there, here, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.3, 1e8])
@pytest.mark.parametrize("learner", [Logistic(), Ridge()])
def test_a_constant_column_carries_nothing(learner, value):
    y, schema = targets(learner)
    wider = np.insert(X, 2, np.float32(value), axis=1)
    new = np.insert(X_NEW, 2, np.float32(value), axis=1)
    p = predict(learner, wider, y, Schema(**{**vars(schema), "shape": (D + 1,)}), new)
    np.testing.assert_allclose(p, predict(learner, X, y, schema, X_NEW), atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_has_its_closed_form(weighted):
    y = SCORE[:, :2].astype(np.float32)
    w = RNG.uniform(0.2, 3, N) if weighted else np.ones(N)
    mean = np.average(X.astype(float), axis=0, weights=w)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
    z, y_mean = (X - mean) / scale, np.average(y, axis=0, weights=w)
    slope = np.linalg.solve(
        z.T @ (w[:, None] * z) + 2.5 * np.eye(D), z.T @ (w[:, None] * (y - y_mean))
    )
    expected = (X_NEW - mean) / scale @ slope + y_mean
    found = predict(Ridge(alpha=2.5), X, y, VALUES, X_NEW, w if weighted else None)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_output_is_a_column():
    schema = Schema(kind="table", shape=(D,), outputs=("u",))
    assert predict(Ridge(), X, SCORE[:, :1], schema, X_NEW).shape == (40, 1)


def test_sparse_rows_are_used_as_they_are():
    x = sparse.random(N, 30, 0.2, "csr", np.float32, random_state=0)
    y = SCORE[:, :3].argmax(1)
    schema = Schema(kind="table", shape=(30,), classes=("a", "b", "c"))
    model = LogisticRegression(tol=1e-8, max_iter=9999).fit(x, y)
    np.testing.assert_allclose(
        predict(Logistic(), x, y, schema, x[:9]), model.predict_proba(x[:9]), atol=2e-4
    )
    schema = Schema(kind="table", shape=(30,), outputs=("u", "v"))
    ridge = SklearnRidge(solver="cholesky").fit(x.toarray(), SCORE[:, :2])
    np.testing.assert_allclose(
        predict(Ridge(), x, SCORE[:, :2], schema, x[:9]), ridge.predict(x.toarray()[:9]), atol=1e-4
    )
    weight = RNG.integers(0, 2, N)
    kept = np.flatnonzero(weight)
    np.testing.assert_allclose(
        predict(Ridge(), x, SCORE[:, :2], schema, x[:9], weight),
        predict(Ridge(), x[kept], SCORE[kept, :2], schema, x[:9]),
        atol=1e-5,
    )


def test_linear_takes_the_model_that_the_labels_ask_for():
    y, schema = targets(Logistic())
    a, b = (predict(m, X, y, schema, X_NEW) for m in (Linear(penalty=4.0), Logistic(C=0.25)))
    np.testing.assert_array_equal(a, b)
    y, schema = targets(Ridge())
    a, b = (predict(m, X, y, schema, X_NEW) for m in (Linear(penalty=4.0), Ridge(alpha=4.0)))
    np.testing.assert_array_equal(a, b)


def test_inputs_stay_as_they_were():
    x, y, w = X.copy(), SCORE[:, :2].astype(np.float32), np.ones(N)
    before = x.copy(), y.copy(), w.copy()
    Ridge().fit(x, y, w, VALUES, Run())
    for was, now in zip(before, (x, y, w), strict=True):
        np.testing.assert_array_equal(now, was)


def test_an_unfinished_fit_is_told(monkeypatch):
    said = []
    monkeypatch.setattr("isthmus.learners.linear.ITERATIONS", 2)
    y, schema = targets(Logistic())
    Logistic().fit(X, y, None, schema, Run(say=said.append))
    assert said == ["logistic regression stopped after 2 iterations"]


@pytest.mark.parametrize(
    "make", [lambda: Logistic(C=0), lambda: Ridge(alpha=-1), lambda: Linear(penalty=0)]
)
def test_a_penalty_is_positive(make):
    with pytest.raises(BadInput, match="> 0"):
        make()


def test_what_a_learner_cannot_predict_is_refused():
    with pytest.raises(UnsupportedTask, match="Ridge does not predict classes"):
        Ridge().fit(X, SCORE.argmax(1), None, classes(4), Run())
    with pytest.raises(UnsupportedTask, match="reads .'table'. domains, got 'image'"):
        Logistic().fit(X, SCORE.argmax(1), None, Schema(kind="image", classes=("a",)), Run())


@pytest.mark.parametrize("weight", [np.zeros(N), np.ones(N - 1), -np.ones(N), np.full(N, np.nan)])
def test_weights_that_cannot_be_used_are_refused(weight):
    y, schema = targets(Logistic())
    with pytest.raises(BadInput, match="weights must be 120 numbers >= 0"):
        Logistic().fit(X, y, weight, schema, Run())


@pytest.mark.parametrize("k", [2, 3])
def test_more_columns_than_rows_is_the_same_problem(k):
    """Each row once, or twice with half the weight: only the first is solved in fewer columns."""
    x = RNG.normal(size=(30, 70)).astype(np.float32)
    x[:, 7] = 3  # a constant column, and one that repeats another
    x[:, 8] = x[:, 9]
    y = (x @ RNG.normal(size=(70, k))).argmax(1)
    weight = RNG.uniform(0.5, 2, 30)
    schema = Schema(kind="table", shape=(70,), classes=tuple("abc"[:k]))
    x_new = RNG.normal(size=(20, 70)).astype(np.float32)
    wide = predict(Logistic(), np.r_[x, x], np.r_[y, y], schema, x_new, np.r_[weight, weight] / 2)
    narrow = predict(Logistic(), x, y, schema, x_new, weight)
    np.testing.assert_allclose(narrow, wide, atol=1e-4)


def test_rows_that_are_all_equal_are_no_trouble():
    x = np.ones((4, 50), np.float32)
    schema = Schema(kind="table", shape=(50,), classes=("a", "b"))
    p = predict(Logistic(), x, np.array([0, 0, 0, 1]), schema, x)
    np.testing.assert_allclose(p[0], [0.75, 0.25], atol=1e-3)
