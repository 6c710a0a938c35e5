from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy import linalg, sparse

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.learners.linear import Linear
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.transport.linear_monge import LinearMonge, monge, shrunk
from isthmus_baselines.source_only import SourceOnly

CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b", "c"))
SPD = np.array([[1.5, 0.6, 0, 0], [0.6, 0.7, 0, 0], [0, 0, 2, -0.8], [0, 0, -0.8, 0.5]])


def draw(seed: int, n: int, shifted: bool) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 4)) + 2.5 * np.eye(4)[y]
    x = x @ SPD + 4 if shifted else x
    return Labelled(name="d", schema=CLASSES, x=x.astype(np.float32), y=y)


def covariance(seed: int, d: int = 5) -> Any:
    m = np.random.default_rng(seed).normal(size=(2 * d, d))
    return m.T @ m / (2 * d)


def test_the_map_is_symmetric_and_takes_one_covariance_to_the_other() -> None:
    c_s, c_t = covariance(0), covariance(1)
    a = monge(c_s, c_t)
    np.testing.assert_array_equal(a, a.T)
    assert np.linalg.eigvalsh(a)[0] > 0
    np.testing.assert_allclose(a @ c_s @ a, c_t, atol=1e-12)
    root = linalg.sqrtm(c_s)
    inverse = linalg.inv(root)
    wanted = inverse @ linalg.sqrtm(root @ c_t @ root) @ inverse
    np.testing.assert_allclose(a, wanted, atol=1e-10)


def test_axes_that_agree_are_only_stretched() -> None:
    a = monge(np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 1.0, 9.0]))
    np.testing.assert_allclose(a, np.diag([2.0, 0.5, 1.0]), atol=1e-12)


def test_agrees_with_pot() -> None:
    rng = np.random.default_rng(2)
    x_s, x_t = rng.normal(size=(60, 4)) @ SPD, 3 + rng.normal(size=(80, 4))
    (m_s, c_s, _), (m_t, c_t, _) = shrunk(x_s, 0.0), shrunk(x_t, 0.0)
    a, b = ot.gaussian.empirical_bures_wasserstein_mapping(x_s, x_t, reg=0.0)
    np.testing.assert_allclose((x_s - m_s) @ monge(c_s, c_t) + m_t, x_s @ a + b, atol=1e-9)


def test_the_source_gets_mean_and_covariance_of_the_target() -> None:
    source, target = draw(0, 90, False), draw(1, 70, True)
    adapted = LinearMonge(shrinkage=0.0).adapt(Task(sources=(source,), target=target))
    maps = adapted.source_part.map, adapted.part.map
    z_s, z_t = (f(torch.tensor(d.x)).numpy() for f, d in zip(maps, (source, target)))
    np.testing.assert_allclose(z_s.mean(0), z_t.mean(0), atol=1e-5)
    np.testing.assert_allclose(np.cov(z_s.T, ddof=0), np.cov(z_t.T, ddof=0), atol=1e-4)


def test_shrinkage_is_ledoit_and_wolfs() -> None:
    from sklearn.covariance import LedoitWolf

    x = np.random.default_rng(3).normal(size=(12, 30)) * np.linspace(0.1, 2, 30)
    mean, cov, share = shrunk(x, None)
    model = LedoitWolf().fit(x)
    assert share == pytest.approx(model.shrinkage_)
    assert 0.1 < share < 1
    np.testing.assert_allclose(cov, model.covariance_, atol=1e-12)
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-12)


def test_full_shrinkage_only_moves_and_stretches() -> None:
    x_s, x_t = draw(0, 50, False).x, draw(1, 50, True).x
    a = monge(shrunk(x_s, 1.0)[1], shrunk(x_t, 1.0)[1])
    ratio = np.sqrt(x_t.var(0).sum() / x_s.var(0).sum())
    np.testing.assert_allclose(a, ratio * np.eye(4), atol=1e-6)


def test_fewer_rows_than_columns_stay_bounded() -> None:
    rng = np.random.default_rng(4)
    x_s, x_t = rng.normal(size=(6, 40)), 2 * rng.normal(size=(7, 40))
    a = monge(shrunk(x_s, None)[1], shrunk(x_t, None)[1])
    assert np.isfinite(a).all()
    assert np.linalg.eigvalsh(a)[-1] < 10


def test_directions_without_variance_go_to_zero_not_to_infinity() -> None:
    a = monge(np.diag([1.0, 0.0]), np.array([[1.0, 0.2], [0.2, 3.0]]))
    np.testing.assert_allclose(a, [[1, 0], [0, 0]], atol=1e-12)


@pytest.mark.parametrize("learner", [Linear(), NearestNeighbours()], ids=["linear", "1nn"])
def test_predicts_as_the_learner_on_moved_rows(learner: Any) -> None:
    source, target = draw(0, 100, False), draw(1, 90, True)
    adapted = LinearMonge(learner=learner).adapt(Task(sources=(source,), target=target))
    m_s, c_s, share_s = shrunk(source.x.astype(float), None)
    m_t, c_t, _ = shrunk(target.x.astype(float), None)
    moved = ((source.x - m_s) @ monge(c_s, c_t) + m_t).astype(np.float32)
    inner = learner.fit(moved, source.y, None, CLASSES, Run())
    np.testing.assert_allclose(adapted.predict(target.x), inner.predict(target.x), atol=1e-3)
    np.testing.assert_allclose(
        adapted.for_source().predict(source.x), inner.predict(moved), atol=1e-3
    )
    assert adapted.diagnostics["source_shrinkage"] == pytest.approx(share_s, abs=1e-6)


def test_undoes_a_symmetric_shift_that_source_only_does_not() -> None:
    task = Task(sources=(draw(0, 600, False),), target=draw(1, 600, True))
    heldout = draw(2, 600, True)
    score = {
        s.name: (s.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(), LinearMonge())
    }
    assert score["linear-monge"] > score["source-only"] + 0.1


def test_columns_in_units_of_their_own_are_measured_in_deviations() -> None:
    source, target = draw(0, 150, False), draw(1, 150, True)
    unit = np.array([1000, 1, 0.01, 1], np.float32)

    def predict(unit: Any, features: tuple[str, ...]) -> Any:
        schema = Schema(kind="table", shape=(4,), classes=CLASSES.classes, features=features)
        s, t = (Labelled(name="m", schema=schema, x=d.x * unit, y=d.y) for d in (source, target))
        return LinearMonge().adapt(Task(sources=(s,), target=t)).predict(t.x)

    names = ("height", "age", "dose", "rate")
    np.testing.assert_allclose(predict(unit, names), predict(1, names), atol=2e-3)
    np.testing.assert_allclose(predict(unit, ()), predict(1, names), atol=2e-3)


def test_csr_rows_do_as_dense_ones() -> None:
    source, target = draw(0, 100, False), draw(1, 90, True)
    dense = LinearMonge().adapt(Task(sources=(source,), target=target)).predict(target.x)
    s, t = (
        Labelled(name="c", schema=CLASSES, x=sparse.csr_matrix(d.x), y=d.y)
        for d in (source, target)
    )
    got = LinearMonge().adapt(Task(sources=(s,), target=t)).predict(t.x)
    np.testing.assert_allclose(got, dense, atol=1e-5)


def test_rows_that_are_all_alike_are_refused() -> None:
    source, target = draw(0, 30, False), draw(1, 30, True)
    with pytest.raises(UnsupportedTask, match="linear-monge needs two different rows"):
        LinearMonge().adapt(Task(sources=(source,), target=target.take([0, 0, 0])))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(BadInput, match="expected 0 to 1"):
        LinearMonge(shrinkage=share)
