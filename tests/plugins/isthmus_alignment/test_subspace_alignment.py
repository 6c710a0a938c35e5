from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.subspace_alignment import SubspaceAlignment, alignment

SEED = np.random.default_rng


def zscore(x: Any) -> Any:
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)) / x.std(0)


def axes(seed: int, d: int, k: int) -> Any:
    return np.linalg.qr(SEED(seed).normal(size=(d, k)))[0]


def test_alignment_is_the_least_squares_one() -> None:
    p_s, p_t = axes(0, 9, 4), axes(1, 9, 4)
    m, *_ = np.linalg.lstsq(p_s, p_t, rcond=None)  # what minimises |P_s M - P_t|
    np.testing.assert_allclose(alignment(p_s, p_t), p_s @ m, atol=1e-12)


def test_equal_subspaces_are_only_projected() -> None:
    """Whatever the bases: signs and rotations of one domain's axes are undone."""
    p_t = axes(2, 9, 4)
    np.testing.assert_allclose(alignment(p_t @ axes(3, 4, 4), p_t), p_t, atol=1e-12)


@pytest.mark.parametrize("learner", [None, Linear()])
def test_predicts_as_the_paper_says(
    learner: Any, shifted: Callable[..., tuple[Task, Labelled]]
) -> None:
    task, _ = shifted()
    x_s, x_t = zscore(task.source.x), zscore(task.target.x)
    p_s, p_t = (PCA(3, svd_solver="full").fit(x).components_.T for x in (x_s, x_t))
    schema = Schema(kind="table", shape=(3,), classes=task.schema.classes)
    inner = (learner or NearestNeighbours()).fit(
        (x_s @ p_s @ p_s.T @ p_t).astype(np.float32), task.source.y, None, schema, Run()
    )
    adapted = SubspaceAlignment(components=3, learner=learner).adapt(task)
    wanted = inner.predict((x_t @ p_t).astype(np.float32))
    np.testing.assert_allclose(adapted.predict(task.target.x), wanted, atol=1e-4)
    # Held-out source instances are read as the learner's were.
    z, _ = adapted.for_source().observe(task.source.x)
    signs = np.sign((z * (x_s @ p_s @ p_s.T @ p_t)).sum(0))
    np.testing.assert_allclose(z * signs, x_s @ p_s @ p_s.T @ p_t, atol=1e-4)


def test_undoes_a_rotation_of_the_subspace() -> None:
    """Two informative directions, which lie elsewhere in the target."""
    rng = SEED(4)
    y = np.arange(300) % 3
    centres = np.array([[4.0, 0], [-2, 3], [-2, -3]])

    def domain(basis: Any) -> Labelled:
        z = centres[y] * [2, 1] + rng.normal(size=(300, 2))
        x = z @ basis.T + 0.1 * rng.normal(size=(300, 30))
        schema = Schema(kind="table", shape=(30,), classes=("a", "b", "c"))
        return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)

    basis = axes(5, 30, 2)
    turned = np.linalg.qr(basis + 0.6 * axes(6, 30, 2))[0]
    source, target = domain(basis), domain(turned * np.sign((turned * basis).sum(0)))
    task = Task(sources=(source,), target=target)
    adapted = SubspaceAlignment(components=2, normalise=False).adapt(task)
    assert (adapted.predict(target.x).argmax(1) == y).mean() > 0.95


def test_refuses_no_components() -> None:
    with pytest.raises(BadInput, match="components=0"):
        SubspaceAlignment(components=0)
