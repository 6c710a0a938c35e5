from __future__ import annotations

import numpy as np
from scipy import linalg

from isthmus import Run
from isthmus_alignment.shallow.locality import (
    belief,
    class_means,
    label_by_projection,
    projection,
)


def test_the_projection_solves_the_eigenproblem_of_the_graph() -> None:
    """With the n x n graph of the paper, which the code never makes."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.integers(0, 3, 30)
    graph = (y[:, None] == y).astype(float)
    degrees = np.diag(graph.sum(1))
    top, bottom = x.T @ degrees @ x, x.T @ (degrees - graph) @ x + np.eye(5)
    values = linalg.eigvalsh(top, bottom)
    p = projection(x, y, 3)
    np.testing.assert_allclose(p.T @ bottom @ p, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(np.diag(p.T @ top @ p), values[-3:], rtol=1e-10)


def test_a_projection_has_no_more_columns_than_there_are() -> None:
    x, y = np.random.default_rng(2).normal(size=(9, 4)), np.repeat([0, 1, 2], 3)
    assert projection(x, y, 128).shape == (4, 4)


def test_beliefs_are_a_softmax_of_distances() -> None:
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(12, 3)), np.repeat([0, 1], 6)
    means = class_means(z, y)
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1)
    near = np.exp(-np.linalg.norm(z[:, None] - means, axis=2))
    np.testing.assert_allclose(belief(z, means), near / near.sum(1, keepdims=True))


def test_trust_grows_by_the_same_share_of_each_label() -> None:
    """What the projection is made of, iteration by iteration."""
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1, 2], 20)
    x_source, x_target = (3 * np.eye(6)[y] + rng.normal(size=(60, 6)) for _ in range(2))
    seen: list[int] = []

    def believe(z_source, y, z_target):
        assert z_source.shape == z_target.shape == (60, 4)
        seen.append(len(z_source))
        return belief(z_target, class_means(z_source, y))

    found = label_by_projection(
        x_source, y, x_target, believe, dimensions=4, iterations=5, run=Run()
    )
    assert len(seen) == 5
    assert (found.labels == y).mean() > 0.9
    pooled = np.concatenate([x_source, x_target])
    np.testing.assert_allclose(found.mean, pooled.mean(0))
    z = (pooled - found.mean) @ found.matrix
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(np.concatenate([found.z_source, found.z_target]), z)
