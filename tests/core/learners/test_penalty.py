"""A penalty of none is the one that does best on rows held back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import Run, Schema
from isthmus.learners import Linear
from isthmus.learners.penalty import PENALTIES

CLASSES = Schema(kind="table", shape=(30,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(30,), outputs=("u", "v"))


def data(noise, n=90, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 30)).astype(np.float32)
    z = x @ np.random.default_rng(9).normal(size=(30, 3)) + noise * rng.normal(size=(n, 3))
    return x, z.argmax(1), z[:, :2].astype(np.float32)


def fitted(x, y, schema, weight=None, penalty=None, seed=0):
    return Linear(penalty=penalty).fit(x, y, weight, schema, Run(seed=seed))


@pytest.mark.parametrize("schema", [CLASSES, VALUES])
def test_noise_asks_for_a_larger_one(schema):
    def typical(noise):
        chosen = []
        for seed in range(6):
            x, classes, values = data(noise, seed=seed)
            y = values if schema is VALUES else classes
            chosen.append(fitted(x, y, schema).diagnostics["penalty"])
        return np.median(chosen)

    assert typical(0.0) <= 1
    assert typical(40.0) >= 100


@pytest.mark.parametrize("schema", [CLASSES, VALUES])
def test_the_model_is_the_one_of_that_penalty(schema):
    x, classes, values = data(3.0)
    y = values if schema is VALUES else classes
    found = fitted(x, y, schema)
    same = fitted(x, y, schema, penalty=found.diagnostics["penalty"])
    np.testing.assert_array_equal(found.predict(x), same.predict(x))


def test_the_order_of_rows_changes_nothing():
    x, y, _ = data(5.0)
    weight = np.random.default_rng(1).uniform(0, 2, len(y))
    p = np.random.default_rng(2).permutation(len(y))
    a = fitted(x, y, CLASSES, weight).diagnostics
    assert a == fitted(x[p], y[p], CLASSES, weight[p]).diagnostics


def test_rows_without_weight_have_no_say():
    x, y, _ = data(0.0)
    x_wrong, _, _ = data(0.0, n=300, seed=5)
    wrong = np.random.default_rng(3).integers(0, 3, 300)
    weight = np.r_[np.ones(90), np.zeros(300)]
    found = fitted(np.r_[x, x_wrong], np.r_[y, wrong], CLASSES, weight)
    assert found.diagnostics == fitted(x, y, CLASSES, np.ones(90)).diagnostics


def test_sparse_rows_and_few_rows():
    x, y, _ = data(1.0)
    assert fitted(sparse.csr_matrix(x), y, CLASSES).diagnostics["penalty"] in PENALTIES
    assert fitted(x[:5], y[:5], CLASSES).diagnostics["penalty"] == 1.0
