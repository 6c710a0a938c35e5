"""Support vector machines are scikit-learn's on standardised columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.kernel_approximation import Nystroem
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from isthmus import BadInput, Run, Schema
from isthmus.learners import SVM, svm

RNG = np.random.default_rng(0)
SCALE = np.array([1, 30, 1, 1])  # several units: columns are divided by their spread
X = (RNG.normal(size=(150, 4)) * SCALE).astype(np.float32)
X_NEW = (RNG.normal(size=(80, 4)) * SCALE).astype(np.float32)
Y = ((X[:, 0] + RNG.normal(size=150) > 0) + 2 * (X[:, 1] > 20)).clip(0, 2)
W = RNG.uniform(0.2, 3, 150)
FEATURES = ("p", "q", "r", "s")
CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b", "c", "d"), features=FEATURES)
VALUES = Schema(kind="table", shape=(4,), outputs=("u", "v"), features=FEATURES)


def logits(adapted, x, classes):
    """Return the scores over the temperature, up to a constant in each row."""
    z = np.log(adapted.predict(x)[:, classes].astype(np.float64))
    return (z - z.mean(1, keepdims=True)) * adapted.diagnostics["machine"]["temperature"]


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_scores_are_scikit_learns_one_class_against_the_rest(kernel):
    model = SVC(tol=1e-6) if kernel == "rbf" else LinearSVC(dual=False, tol=1e-6)
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(model)).fit(X, Y)
    scores = model.decision_function(X_NEW)
    adapted = SVM(kernel=kernel).fit(X, Y, None, CLASSES, Run())
    expected = scores - scores.mean(1, keepdims=True)
    np.testing.assert_allclose(logits(adapted, X_NEW, [0, 1, 2]), expected, atol=3e-3)
    assert (adapted.predict(X_NEW)[:, 3] == 0).all()


def test_two_classes_share_a_machine_whose_labels_are_scikit_learns():
    y = np.where(Y > 0, 3, 1)
    model = make_pipeline(StandardScaler(), SVC(tol=1e-6)).fit(X, y)
    adapted = SVM().fit(X, y, None, CLASSES, Run())
    np.testing.assert_array_equal(adapted.predict(X_NEW).argmax(1), model.predict(X_NEW))
    margin = logits(adapted, X_NEW, [1, 3])[:, 1]
    np.testing.assert_allclose(margin, model.decision_function(X_NEW), atol=3e-3)
    support = adapted.diagnostics["machine"]["support_vectors"]
    assert abs(support - len(model[-1].support_)) <= 2


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_values_are_scikit_learns_in_units_of_their_deviation(kernel):
    y = np.stack([X[:, 0] ** 2, 1000 + 50 * X[:, 1]], 1)
    found = SVM(kernel=kernel).fit(X, y, None, VALUES, Run()).predict(X_NEW)
    squared = LinearSVR(epsilon=0.1, loss="squared_epsilon_insensitive", dual=False, tol=1e-6)
    model = SVR(tol=1e-6) if kernel == "rbf" else squared
    for k in range(2):
        t = (y[:, k] - y[:, k].mean()) / y[:, k].std()
        one = make_pipeline(StandardScaler(), model).fit(X, t).predict(X_NEW)
        expected = one * y[:, k].std() + y[:, k].mean()
        np.testing.assert_allclose(found[:, k], expected, atol=5e-3 * y[:, k].std())


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_weights_equal_repeated_rows(kernel):
    w = RNG.integers(0, 4, 150)
    weighted = SVM(kernel=kernel).fit(X, Y, w, CLASSES, Run()).predict(X_NEW)
    repeated = SVM(kernel=kernel).fit(X.repeat(w, 0), Y.repeat(w), None, CLASSES, Run())
    np.testing.assert_allclose(weighted, repeated.predict(X_NEW), atol=2e-3)


def test_weights_multiply_the_loss_of_values_too():
    w = RNG.integers(0, 4, 150)
    y = np.stack([X[:, 0], X[:, 1]], 1)
    weighted = SVM().fit(X, y, w, VALUES, Run()).predict(X_NEW)
    repeated = SVM().fit(X.repeat(w, 0), y.repeat(w, 0), None, VALUES, Run()).predict(X_NEW)
    np.testing.assert_allclose(weighted, repeated, atol=5e-3 * y.std(0).max())


def test_probabilities_are_calibrated():
    """Labels at random leave nothing to be sure of; clear ones leave little doubt."""
    at_random = SVM().fit(X, RNG.integers(0, 2, 150), None, CLASSES, Run()).predict(X_NEW)
    clear = SVM(kernel="linear").fit(X, (X[:, 0] > 0).astype(int), None, CLASSES, Run())
    assert at_random.max(1).mean() < 0.75
    assert clear.predict(X_NEW).max(1).mean() > 0.9


def test_landmarks_stand_for_many_rows(monkeypatch):
    monkeypatch.setattr(svm, "LARGEST", 100)
    monkeypatch.setattr(svm, "LANDMARKS", 60)
    said = []
    adapted = SVM().fit(X, Y, W, CLASSES, Run(say=said.append))
    assert adapted.diagnostics["machine"]["landmarks"] == 60
    assert "60 landmarks stand for the 150 rows" in said[0]
    exact = make_pipeline(StandardScaler(), Nystroem(gamma=0.25, n_components=150), LinearSVC())
    expected = exact.fit(X, Y, linearsvc__sample_weight=W).predict(X_NEW)
    assert (adapted.predict(X_NEW).argmax(1) == expected).mean() > 0.9
    again = SVM().fit(X[::-1], Y[::-1], W[::-1], CLASSES, Run()).predict(X_NEW)
    np.testing.assert_allclose(again, adapted.predict(X_NEW), atol=1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_a_sparse_matrix_is_used_as_it_is(kernel):
    x = sparse.csr_matrix(X * (RNG.random(X.shape) < 0.5) / SCALE * 7)
    model = SVC(tol=1e-6) if kernel == "rbf" else LinearSVC(dual=False, tol=1e-6)
    scores = OneVsRestClassifier(model).fit(x, Y).decision_function(x)
    adapted = SVM(kernel=kernel).fit(x, Y, None, CLASSES, Run())
    expected = scores - scores.mean(1, keepdims=True)
    np.testing.assert_allclose(logits(adapted, x, [0, 1, 2]), expected, atol=3e-3)


def test_a_constant_needs_no_support_vector():
    y = np.full((150, 2), 7.0)
    np.testing.assert_allclose(SVM().fit(X, y, None, VALUES, Run()).predict(X_NEW), 7, atol=1e-4)


def test_a_class_of_one_row_is_held_out_too():
    y = Y.copy()
    y[0] = 3
    assert np.isfinite(SVM().fit(X, y, None, CLASSES, Run()).predict(X_NEW)).all()


def test_settings_are_checked():
    with pytest.raises(BadInput, match="C > 0"):
        SVM(C=0)
