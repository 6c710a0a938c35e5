from __future__ import annotations

import numpy as np

from isthmus_alignment.shallow.contrasts import balanced, conditional, marginal

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 4))


def test_a_contrast_is_a_difference_of_means() -> None:
    np.testing.assert_allclose(X.T @ marginal(4, 5)[:, 0], X[:4].mean(0) - X[4:].mean(0))


def test_classes_are_compared_each_on_its_own() -> None:
    y, pseudo = np.array([0, 0, 2, 3]), np.array([0, 3, 3, 3, 0])
    found = X.T @ conditional(y, pseudo, 5)
    first = X[:2].mean(0) - X[[4, 8]].mean(0)
    last = X[3] - X[[5, 6, 7]].mean(0)
    # Class 2 has no target row, classes 1 and 4 have none at all.
    np.testing.assert_allclose(found, np.column_stack([first, last]))


def test_no_class_in_common_is_no_contrast() -> None:
    assert conditional(np.array([0, 0]), np.array([1]), 2).shape == (3, 0)


def test_a_class_name_that_no_row_has_changes_nothing() -> None:
    y, pseudo = np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    np.testing.assert_array_equal(balanced(y, pseudo, 2, 0.3), balanced(y, pseudo, 50, 0.3))
