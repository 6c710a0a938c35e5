"""MMD location-scale: gradients, optima and the paper's form with a kernel of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy.spatial.distance import cdist

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.shallow import mmd_location_scale
from isthmus_alignment.shallow.mmd_location_scale import (
    Matching,
    MMDLocationScale,
    nearest_mixture,
    some,
)
from isthmus_baselines.source_only import SourceOnly

SEED = np.random.default_rng


def matching(**setting: Any) -> Matching:
    y = np.arange(30) % 3
    z_source = SEED(0).normal(size=(30, 4)) + 2 * np.eye(3, 4)[y]
    z_target = 1.3 * SEED(1).normal(size=(25, 4)) + 2 * np.eye(3, 4)[np.arange(25) % 2] + 0.4
    return Matching(MMDLocationScale(**setting), z_source, y, z_target, np.bincount(y) / 30)


def near(m: Matching) -> Any:
    return (m.identity + 0.2 * SEED(2).normal(size=m.identity.shape)).ravel()


@pytest.mark.parametrize("shares", ["estimated", "source"])
def test_gradient_is_that_of_finite_differences(shares: str) -> None:
    """Also through the shares, which are the best ones at every point."""
    m = matching(shares=shares, penalty=0.3)
    at = near(m)
    found = m.objective(at)[1]
    wanted = optimize.approx_fprime(at, lambda v: m.objective(v)[0], 1e-6)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_value_is_the_papers_with_a_kernel_of_labels() -> None:
    """Its operator L (L + lambda m I)^-1 projects on classes as lambda goes to zero."""
    m = matching(shares="source")
    maps = near(m).reshape(m.identity.shape)
    z = m.z_source * maps[0, m.group] + maps[1, m.group]
    label = (m.group[:, None] == m.group).astype(float)
    omega = label @ np.linalg.inv(label + 1e-9 * np.eye(30))
    ones, e = np.ones(30), np.ones(25) / 25
    k, across = (np.exp(-cdist(z, b, "sqeuclidean") / (2 * m.sigma**2)) for b in (z, m.z_target))
    inside = np.exp(-cdist(m.z_target, m.z_target, "sqeuclidean") / (2 * m.sigma**2))
    a = omega.T @ ones / 30
    wanted = a @ k @ a - 2 * a @ across @ e + e @ inside @ e
    np.testing.assert_allclose(m.unit * m.distance(maps).value, wanted, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_the_nearest_mixture(seed: int) -> None:
    r = SEED(seed).normal(size=(3, 4)) + 0.7
    q = r.T @ r
    found = nearest_mixture(q)
    wanted = optimize.minimize(
        lambda s: s @ q @ s,
        np.full(4, 0.25),
        jac=lambda s: 2 * q @ s,
        bounds=[(0, 1)] * 4,
        constraints=[{"type": "eq", "fun": lambda s: s.sum() - 1}],
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(found.sum(), 1)
    assert (found >= 0).all()
    np.testing.assert_allclose(found @ q @ found, wanted.fun, atol=1e-8)


def test_maps_are_a_minimum_that_another_solver_cannot_improve() -> None:
    m = matching(penalty=0.1)
    maps, done = m.solve(1000)
    value, slope = m.objective(maps.ravel())
    assert done
    assert np.abs(slope).max() < 1e-4
    other = optimize.minimize(m.objective, maps.ravel(), jac=True, method="trust-constr")
    assert other.fun > value - 1e-6
    assert value < 0.8 * m.objective(m.identity.ravel())[0]


def test_a_large_penalty_leaves_the_classes_where_they_are() -> None:
    m = matching(penalty=1e6)
    np.testing.assert_allclose(m.solve(100)[0], m.identity, atol=1e-4)


def moved(n: int = 240) -> tuple[Task, Labelled]:
    """Return a target whose classes have shares, scales and offsets of their own."""
    rng = SEED(3)
    schema = Schema(kind="table", shape=(2,), classes=("a", "b", "c"), features=("u", "v"))
    centres = np.array([[0.0, 0], [6, 0], [0, 6]])
    scale, offset = rng.uniform(0.6, 1.4, (3, 2)), rng.uniform(-1.5, 1.5, (3, 2))

    def draw(name: str, shares: Any, shift: bool) -> Labelled:
        y = np.repeat(np.arange(3), (np.array(shares) * n).astype(int))
        x = centres[y] + rng.normal(size=(len(y), 2))
        x = scale[y] * x + offset[y] if shift else x
        return Labelled(name=name, schema=schema, x=x.astype(np.float32), y=y)

    target = draw("target", (0.5, 0.2, 0.3), True)
    return Task(sources=(draw("source", (0.2, 0.4, 0.4), False),), target=target), target


def test_finds_shares_and_moves_classes_onto_the_targets() -> None:
    task, target = moved()
    adapted = MMDLocationScale(penalty=1e-3).adapt(task)
    found = adapted.diagnostics["location_scale"]
    np.testing.assert_allclose(list(found["shares"].values()), [0.5, 0.2, 0.3], atol=0.05)
    assert found["mmd2"][1] < 0.05 * found["mmd2"][0]
    best = (adapted.predict(target.x).argmax(1) == target.y).mean()
    assert best >= (SourceOnly().adapt(task).predict(target.x).argmax(1) == target.y).mean()


def test_samples_of_one_distribution_are_left_alone() -> None:
    y = np.arange(40) % 2
    kept = 0
    for seed in range(10):
        z_source, z_target = SEED(seed).normal(size=(2, 40, 3)) + 2 * y[:, None]
        m = Matching(MMDLocationScale(), z_source, y, z_target, np.array([0.5, 0.5]))
        kept += bool((m.solve(100)[0] == m.identity).all())
    assert kept >= 8


def test_units_of_columns_do_not_matter() -> None:
    task, target = moved()
    unit = np.float32([1e-3, 1e3])
    source = Labelled(name="s", schema=task.schema, x=task.source.x * unit, y=task.source.y)
    scaled = Labelled(name="t", schema=task.schema, x=target.x * unit, y=target.y)
    a, b = (
        MMDLocationScale().adapt(t).diagnostics["location_scale"]["mmd2"]
        for t in (task, Task(sources=(source,), target=scaled))
    )
    np.testing.assert_allclose(a[0], b[0], rtol=1e-3)


def test_many_rows_are_sampled_evenly_from_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmd_location_scale, "ROWS", 60)
    group = np.repeat([0, 1, 2], [500, 5, 200])
    said: list[str] = []
    index = some(group, Run(say=said.append))
    np.testing.assert_array_equal(np.bincount(group[index]), [28, 5, 27])
    assert "60 of 705" in said[0]
    task, target = moved()
    adapted = MMDLocationScale().adapt(task)
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.9


@pytest.mark.parametrize("field", ["penalty", "bandwidth", "iterations"])
def test_refuses_what_has_no_solution(field: str) -> None:
    with pytest.raises(BadInput, match=field):
        MMDLocationScale(**{field: 0})  # type: ignore[arg-type]
