from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest
from scipy import sparse
from sklearn.neighbors import kneighbors_graph

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.transport.coupling import entropic, uniform
from isthmus_alignment.transport.emd import OTEMD
from isthmus_alignment.transport.entropic import OTSinkhorn
from isthmus_alignment.transport.exact import exact
from isthmus_alignment.transport.laplace import OTLaplace, regularised
from isthmus_alignment.transport.neighbourhood import Neighbourhood, coordinates, laplacian

SCHEMA = Schema(kind="table", shape=(3,), classes=("a", "b"))


def draw(seed: int, n: int, shift: float = 0.0) -> Labelled:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 3)) + 2.5 * y[:, None] + shift
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y)


def problem(seed: int, n: int = 40, m: int = 50) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) + 0.3
    cost = ot.dist(x, z)
    scale = np.median(cost)
    return x / np.sqrt(scale), z / np.sqrt(scale), cost / scale


@pytest.mark.parametrize("keeps", ["pos", "disp"])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_objective_is_no_higher_than_pots(keeps: str, share: float) -> None:
    """POT weighs tr(Z' (D - S) Z) of masses, we the mean over edges: eta follows."""
    x, z, cost = problem(0)
    eta = 50.0
    still = float(keeps == "disp")
    near = [
        np.asarray((s + s.T).todense()) / 2 for s in map(lambda r: kneighbors_graph(r, 3), (x, z))
    ]
    lap_x, lap_z = (np.diag(s.sum(0)) - s for s in near)
    sides = [
        (
            Neighbourhood(
                laplacian=sparse.csr_matrix(eta * share * lap_x / 40**2), start=still * x, ends=z
            ),
            False,
        ),
        (
            Neighbourhood(
                laplacian=sparse.csr_matrix(eta * (1 - share) * lap_z / 50**2),
                start=still * z,
                ends=x,
            ),
            True,
        ),
    ]

    def objective(plan: Any) -> float:
        return float((plan * cost).sum() + sum(s.value(plan.T if t else plan) for s, t in sides))

    theirs = ot.da.emd_laplace(
        uniform(40), uniform(50), x, z, cost, reg=keeps, eta=eta, alpha=share, numItermax=200
    )
    ours = regularised(cost, 0.0, sides, 60, 1e-6).plan
    np.testing.assert_allclose(ours.sum(1), uniform(40), atol=1e-12)
    np.testing.assert_allclose(ours.sum(0), uniform(50), atol=1e-12)
    assert objective(ours) <= objective(theirs) + 1e-9
    assert objective(ours) == pytest.approx(objective(theirs), rel=0.02)


@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_it_is_a_minimum_among_plans(reg: float) -> None:
    x, z, cost = problem(1, 12, 15)
    side = Neighbourhood(laplacian=laplacian(x, None, 3), start=0 * x, ends=z)
    found = regularised(cost, reg, [(side, False)], 500, 1e-7)
    assert found.converged

    def objective(plan: Any) -> float:
        entropy = (plan * np.log(np.maximum(plan, 1e-300) * plan.size)).sum()
        return float((plan * cost).sum() + reg * entropy + side.value(plan))

    least = objective(found.plan)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = cost + rng.normal(size=cost.shape)
        for other in (entropic(moved, 0.2).plan, exact(moved, 10**5).plan):
            for step in (0.5, 0.1, 0.01):
                assert objective(found.plan + step * (other - found.plan)) > least - 1e-6


def test_square_and_linear_are_the_parts_of_the_value() -> None:
    rng = np.random.default_rng(2)
    x, z, _ = problem(2, 9, 11)
    side = Neighbourhood(laplacian=laplacian(x, None, 2), start=x, ends=z)
    plan = rng.random((9, 11)) / 99
    rest = side.value(np.zeros((9, 11)))
    parts = (plan * side.square(plan)).sum() + (plan * side.linear()).sum() + rest
    assert side.value(plan) == pytest.approx(parts, rel=1e-9)
    assert side.value(sparse.csr_matrix(plan)) == pytest.approx(parts, rel=1e-9)


@pytest.mark.parametrize("y", [None, np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 2])])
def test_the_laplacian_takes_the_mean_over_neighbours(y: Any) -> None:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(10, 2)), rng.normal(size=(10, 3))
    far = ot.dist(x, x) + 1e9 * np.eye(10)
    if y is not None:
        far[y[:, None] != y] = 1e9
    apart = [
        ((z[i] - z[j]) ** 2).sum()
        for i in range(10)
        for j in far[i].argsort()[:2]
        if far[i, j] < 1e8
    ]
    lap = laplacian(x, y, 2)
    assert np.trace(z.T @ (lap @ z)) == pytest.approx(np.mean(apart))
    np.testing.assert_allclose(lap.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose((lap - lap.T).toarray(), 0, atol=1e-15)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("d", [4, 60])
def test_coordinates_keep_distances(form: Any, d: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(10, d)), rng.normal(size=(12, d))
    x, z = coordinates(form(a), form(b), np.full(d, 2.0))
    assert x.shape[1] == min(d, 22)
    np.testing.assert_allclose(ot.dist(x, z), ot.dist(a, b) / 4, rtol=1e-6)


@pytest.mark.parametrize(("reg", "plain"), [(0.0, OTEMD()), (0.1, OTSinkhorn())])
def test_without_a_weight_it_is_plain_transport(reg: float, plain: Any) -> None:
    source, target = draw(5, 40), draw(6, 50, 1.0)
    task = Task(sources=(source,), target=target)
    got = OTLaplace(reg=reg, eta=0.0).adapt(task).for_source().observe(source.x)[0]
    wanted = plain.adapt(task).for_source().observe(source.x)[0]
    np.testing.assert_allclose(got, wanted, atol=5e-3)


@pytest.mark.parametrize("reg", [0.0, 0.1])
@pytest.mark.parametrize("keeps", ["positions", "displacements"])
def test_neighbours_move_more_alike(reg: float, keeps: Any) -> None:
    source, target = draw(7, 60), draw(8, 50, 1.0)
    task = Task(sources=(source,), target=target)
    lap = laplacian(np.asarray(source.x, float), source.y, 3)

    def differ(eta: float) -> float:
        strategy = OTLaplace(reg=reg, eta=eta, keeps=keeps, iterations=30)
        z = strategy.adapt(task).for_source().observe(source.x)[0].astype(float)
        z = z - source.x if keeps == "displacements" else z
        return float(np.trace(z.T @ (lap @ z)))

    assert differ(3.0) < 0.8 * differ(0.0)


def test_large_domains_are_coupled_in_parts_and_the_user_is_told() -> None:
    from isthmus_alignment.transport.batches import Batches

    said: list[str] = []
    source, target = draw(9, 90), draw(10, 80, 1.5)
    strategy = OTLaplace(batches=Batches(size=40, rounds=2))
    adapted = strategy.adapt(Task(sources=(source,), target=target), Run(say=said.append))
    assert "smaller ones" in said[0]
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.85


def test_says_when_it_did_not_converge() -> None:
    said: list[str] = []
    task = Task(sources=(draw(11, 50),), target=draw(12, 50, 1.0))
    found = OTLaplace(eta=5.0, iterations=1).adapt(task, Run(say=said.append)).diagnostics
    assert "stopped at its iteration limit" in said[0]
    assert found["transport"]["stopped_early"] == 1


@pytest.mark.parametrize(
    "setting", [{"eta": -1.0}, {"reg": -0.1}, {"neighbours": 0}, {"source_share": 2.0}]
)
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected"):
        OTLaplace(**setting)
