"""Joint PCA against scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA

from isthmus import BadInput, Labelled, Schema, Task
from isthmus_alignment.shallow.joint_pca import JointPCA

Draw = Callable[..., tuple[Task, Labelled]]


@pytest.mark.parametrize("d", [8, 200])
def test_components_are_those_of_both_domains_pooled(d: int, shifted: Draw) -> None:
    task, target = shifted(d=d)
    new = shifted(d=d, seed=3)[1].x
    strategy = JointPCA(components=4, normalise=False, unit=False)
    found, _ = strategy.adapt(task).observe(new)
    model = PCA(4, svd_solver="full").fit(np.concatenate([task.source.x, target.x]))
    wanted = new @ model.components_.T
    signs = np.sign((found * wanted).sum(0))
    np.testing.assert_allclose(found * signs, wanted, rtol=1e-3, atol=1e-3)


def test_z_scored_domains_in_all_their_directions_keep_their_angles(shifted: Draw) -> None:
    task, target = shifted()
    z, _ = JointPCA(components=8).adapt(task).observe(target.x)
    x = (target.x - target.x.mean(0)) / target.x.std(0)
    x /= linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(z @ z.T, x @ x.T, atol=1e-4)


def test_predicts_values_with_ridge() -> None:
    rng = np.random.default_rng(1)
    schema = Schema(kind="table", shape=(4,), outputs=("u",))
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x @ np.array([1.0, -2, 0.5, 3]))[:, None].astype(np.float32)
    source = Labelled(name="s", schema=schema, x=x, y=y)
    adapted = JointPCA().adapt(Task(sources=(source,), target=source))
    assert np.abs(adapted.predict(x) - y).max() < 0.2


def test_refuses_no_components() -> None:
    with pytest.raises(BadInput, match="components"):
        JointPCA(components=0)
