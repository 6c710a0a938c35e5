from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, linalg

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.gfk import GFK, STRAIGHT, flow_factor, geodesic_map

SEED = np.random.default_rng


def axes(seed: int, d: int, k: int) -> Any:
    return np.linalg.qr(SEED(seed).normal(size=(d, k)))[0]


def integral(p_s: Any, p_t: Any) -> Any:
    """Integrate P(t) P(t)' numerically; P(t) follows from the matrix exponential of the geodesic.

    With Q = [P_s, its complement], the direction is the X in Q' P_t ~ [cos, sin]: independent of
    the principal vectors that the closed form is built from.
    """
    d, k = p_s.shape
    q = np.column_stack([p_s, linalg.null_space(p_s.T)])
    top, bottom = (q.T @ p_t)[:k], (q.T @ p_t)[k:]
    u, s, vt = np.linalg.svd(bottom @ np.linalg.inv(top), full_matrices=False)
    x = u @ np.diag(np.arctan(s)) @ vt  # tangent: P(t) = Q exp(t [[0, -X'], [X, 0]]) [I; 0]
    flow = np.block([[np.zeros((k, k)), -x.T], [x, np.zeros((d - k, d - k))]])

    def outer(t: float) -> Any:
        p = q @ linalg.expm(t * flow)[:, :k]
        return p @ p.T

    end = outer(1.0)
    np.testing.assert_allclose(end, p_t @ p_t.T, atol=1e-8)  # the geodesic ends in the target
    return integrate.quad_vec(outer, 0, 1, epsabs=1e-11)[0]


@pytest.mark.parametrize(("d", "k"), [(9, 3), (9, 1), (6, 4), (5, 5)])
def test_the_closed_form_is_the_integral(d: int, k: int) -> None:
    """Also where 2 k > d, so that some angles are zero."""
    p_s, p_t = axes(0, d, k), axes(1, d, k)
    f = flow_factor(p_s, p_t)
    assert f.shape == (d, k + min(k, d - k))
    np.testing.assert_allclose(f @ f.T, integral(p_s, p_t), atol=1e-8)


@pytest.mark.parametrize("angle", [1e-9, 1e-7, 1e-5, 1e-2, np.pi / 2])
def test_small_and_right_angles_are_exact(angle: float) -> None:
    a, b = axes(2, 6, 2).T
    turned = np.cos(angle) * a + np.sin(angle) * b
    f = flow_factor(a[:, None], turned[:, None])
    t = np.linspace(0, 1, 2001)[:, None]
    p = np.cos(t * angle) * a + np.sin(t * angle) * b
    wanted = integrate.simpson(p[:, :, None] * p[:, None, :], x=t[:, 0], axis=0)
    np.testing.assert_allclose(f @ f.T, wanted, atol=1e-10 if angle > STRAIGHT else STRAIGHT)


def test_the_kernel_does_not_depend_on_the_bases() -> None:
    p_s, p_t = axes(3, 8, 3), axes(4, 8, 3)
    f = flow_factor(p_s, p_t)
    g = flow_factor(p_s @ axes(5, 3, 3), p_t @ axes(6, 3, 3))
    np.testing.assert_allclose(g @ g.T, f @ f.T, atol=1e-10)


def test_the_way_back_is_as_long() -> None:
    p_s, p_t = axes(3, 8, 3), axes(4, 8, 3)
    there, back = flow_factor(p_s, p_t), flow_factor(p_t, p_s)
    np.testing.assert_allclose(there @ there.T, back @ back.T, atol=1e-10)


def test_one_subspace_is_only_projected_on() -> None:
    p = axes(7, 8, 3)
    f = flow_factor(p, p @ axes(8, 3, 3))
    np.testing.assert_allclose(f @ f.T, p @ p.T, atol=1e-10)


def test_a_domain_of_fewer_dimensions_shortens_the_other() -> None:
    x_s = SEED(9).normal(size=(40, 2)) @ SEED(10).normal(size=(2, 7))
    assert geodesic_map(x_s, SEED(11).normal(size=(40, 7)), 5).shape == (7, 4)


def test_predicts_as_1_nn_on_mapped_rows(shifted: Callable[..., tuple[Task, Labelled]]) -> None:
    task, target = shifted(d=9)
    x_s, x_t = (
        (np.asarray(d.x, np.float64) - d.x.mean(0, dtype=np.float64)) / d.x.std(0, dtype=np.float64)
        for d in (task.source, target)
    )
    f = geodesic_map(x_s, x_t, 3)
    schema = Schema(kind="table", shape=(f.shape[1],), classes=task.schema.classes)
    inner = NearestNeighbours().fit(
        (x_s @ f).astype(np.float32), task.source.y, None, schema, Run()
    )
    adapted = GFK(components=3).adapt(task)
    np.testing.assert_allclose(
        adapted.predict(target.x), inner.predict((x_t @ f).astype(np.float32)), atol=1e-5
    )
    source, _ = adapted.for_source().observe(task.source.x)
    np.testing.assert_allclose(source @ source.T, x_s @ f @ f.T @ x_s.T, atol=1e-3)


def test_refuses_no_components() -> None:
    with pytest.raises(BadInput, match="components=0"):
        GFK(components=0)
