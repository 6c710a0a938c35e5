"""Steps in front of a head are the head on the rows that these steps make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from isthmus import Run, Schema
from isthmus.artefact import load
from isthmus.learners import Linear, NearestNeighbours
from isthmus.learners.kernel_mapped import Kernel, UnitRows, UnitRowsPart, chained
from isthmus.learners.linear import LinearPart
from isthmus.learners.mapped import Map

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)).astype(np.float32), RNG.integers(0, 3, 60)
LANDMARKS = RNG.normal(size=(7, 4))


def head(columns, learner=None):
    schema = Schema(kind="table", shape=(columns,), classes=("a", "b", "c"))
    rows = RNG.normal(size=(60, columns)).astype(np.float32)
    return (learner or Linear()).fit(rows, Y, None, schema, Run())


def test_unit_rows_have_length_one_and_zeros_stay():
    inner = head(4)
    x = np.concatenate([X, np.zeros((1, 4), np.float32)])
    length = np.linalg.norm(x, axis=1, keepdims=True)
    found = chained(inner, target=[UnitRows(features=4)])
    z, p = found.observe(x)
    np.testing.assert_allclose(z, x / np.where(length > 0, length, 1), atol=1e-6)
    np.testing.assert_allclose(p, inner.predict(z), atol=1e-6)
    np.testing.assert_allclose(found.predict(x), p, atol=1e-7)


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_kernel_columns_are_gaussians_at_the_landmarks(offset):
    """Also far from the origin, where squares of float32 have few digits left."""
    kernel = Kernel(landmarks=LANDMARKS + offset, bandwidth=1.3)
    x = X + np.float32(offset)
    wanted = np.exp(-cdist(x, LANDMARKS + offset, "sqeuclidean") / (2 * 1.3**2))
    np.testing.assert_allclose(kernel.columns(np.asarray(x, np.float64)), wanted, atol=1e-10)
    z, _ = chained(head(7), target=[kernel]).observe(x)
    np.testing.assert_allclose(z, wanted, atol=1e-3 if offset else 1e-6)


def test_steps_are_taken_in_order():
    matrix = RNG.normal(size=(7, 2))
    steps = [
        Map(shift=np.ones(4), scale=np.full(4, 2.0)),
        UnitRows(features=4),
        Kernel(landmarks=LANDMARKS, bandwidth=0.7),
        Map(shift=np.zeros(7), scale=np.ones(7), matrix=matrix),
    ]
    found = chained(head(2, NearestNeighbours()), target=steps)
    z = (X - 1.0) * 2
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    z = np.exp(-cdist(z, LANDMARKS, "sqeuclidean") / (2 * 0.7**2)) @ matrix
    np.testing.assert_allclose(found.observe(X)[0], z, atol=1e-5)


def test_the_source_may_take_other_steps():
    inner = head(4)
    found = chained(inner, target=[UnitRows(features=4)], source=[])
    np.testing.assert_array_equal(found.for_source().predict(X), inner.predict(X))
    assert np.abs(found.predict(X) - inner.predict(X)).max() > 0.01


def test_what_is_loaded_predicts_the_same(tmp_path):
    steps = [UnitRows(features=4), Kernel(landmarks=LANDMARKS, bandwidth=0.7)]
    found = chained(head(7), target=steps)
    found.save(tmp_path / "model")
    again, _ = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), found.predict(X))


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_rows_of_any_size_become_as_long_as_one(size: float) -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, -1.0], [0.0, 0.0]]) * size
    wanted = torch.tensor([[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]])
    torch.testing.assert_close(UnitRowsPart(LinearPart(2, 2, True), 2).map(x), wanted)
