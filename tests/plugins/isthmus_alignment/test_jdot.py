from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear, Ridge
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.scaling import scales
from isthmus_alignment.transport.exact import exact
from isthmus_alignment.transport.jdot import JDOT, LEAST, log_losses, losses
from isthmus_baselines.source_only import SourceOnly

CLASSES = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(1,), outputs=("u",))


def blobs(seed: int, n: int, shift: float) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 2)) + 4 * np.array([[0, 0], [1, 0], [0, 1]])[y] + shift
    return Labelled(name="b", schema=CLASSES, x=x.astype(np.float32), y=y)


def line(seed: int, n: int, shift: float) -> Labelled:
    """A curve: the paper's toy. A shift along x moves the whole of it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (n, 1))
    y = np.sin(x) + 0.05 * rng.normal(size=(n, 1))
    return Labelled(name="l", schema=VALUES, x=(x + shift).astype(np.float32), y=y)


def test_losses_are_squared_errors() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    np.testing.assert_allclose(losses(a, b), cdist(a, b, "sqeuclidean"), atol=1e-12)


def test_one_iteration_by_hand() -> None:
    source, target = blobs(0, 40, 0), blobs(1, 30, 1)
    learner = NearestNeighbours()
    first = learner.fit(source.x, source.y, None, CLASSES, Run())
    cost = cdist(source.x.astype(float), target.x.astype(float), "sqeuclidean")
    known = np.eye(3)[source.y]
    joint = 0.7 * cost / cost.max() + cdist(known, first.predict(target.x), "sqeuclidean")
    plan = exact(joint, 10**6).plan
    found = JDOT(alpha=0.7, loss="squared", iterations=1, learner=learner).adapt(
        Task(sources=(source,), target=target)
    )
    (objective,) = found.diagnostics["objective"]
    assert objective == pytest.approx((plan * joint).sum(), rel=1e-5)
    np.testing.assert_array_equal(found.predict(target.x).argmax(1), (plan.T @ known).argmax(1))


def test_log_losses_are_cross_entropies() -> None:
    p = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])
    wanted = -np.log([[0.2, 0.5, 1.0], [0.8, 0.5, LEAST]])
    np.testing.assert_allclose(log_losses(np.eye(2), p), wanted, atol=1e-12)


def test_values_alternate_between_an_assignment_and_ridge_in_closed_form() -> None:
    """Domains of one size: the plan is an assignment, the fit the normal equations."""
    rng = np.random.default_rng(20)
    schema = Schema(kind="table", shape=(3,), outputs=("u",))
    x = [rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 0.7]
    y = [x @ np.array([[1.0], [-2.0], [0.5]]) + 0.1 * rng.normal(size=(40, 1)) for x in x]
    source, target = (
        Labelled(name="v", schema=schema, x=a.astype(np.float32), y=b.astype(np.float32))
        for a, b in zip(x, y, strict=True)
    )
    xs, xt, ys = source.x.astype(float), target.x.astype(float), source.y.astype(float)

    def ridge(x: Any, y: Any) -> Any:
        _, scale = scales(x)
        z = (x - x.mean(0)) / scale
        w = np.linalg.solve(z.T @ z + np.eye(3), z.T @ (y - y.mean(0)))
        return lambda new: (new - x.mean(0)) / scale @ w + y.mean(0)

    far = cdist(xs, xt, "sqeuclidean")
    fitted, wanted = ridge(xs, ys), []
    for _ in range(5):
        cost = 2.0 * far / far.max() + np.square(ys / ys.std() - (fitted(xt) / ys.std()).T)
        i, j = linear_sum_assignment(cost)
        wanted.append(cost[i, j].mean())
        arrived = np.empty_like(ys)
        arrived[j] = ys[i]
        fitted = ridge(xt, arrived)
    strategy = JDOT(alpha=2.0, iterations=5, tolerance=0.0, learner=Ridge())
    found = strategy.adapt(Task(sources=(source,), target=target))
    objective = found.diagnostics["objective"]
    np.testing.assert_allclose(objective, wanted[: len(objective)], rtol=1e-4)
    np.testing.assert_allclose(found.predict(target.x), fitted(xt), atol=1e-3)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_neither_step_raises_the_penalised_objective(kind: str) -> None:
    """The plan lowers transport and losses, the fit losses and the learner's L2 penalty."""
    if kind == "classes":
        source, target, loss, half = blobs(21, 120, 0), blobs(22, 100, 1.8), log_losses, 0.5
        known = np.eye(3)[source.y]
    else:
        source, target, loss, half = line(23, 100, 0), line(24, 90, 1.0), losses, 1.0
        known = source.y.astype(float)
    unit = 1.0 if kind == "classes" else known.std()
    task = Task(sources=(source,), target=target)
    m, (_, scale) = len(target), scales(target.x)
    far = cdist(source.x.astype(float), target.x.astype(float), "sqeuclidean")
    far /= far.max()
    values = []
    for steps in range(7):
        strategy = JDOT(iterations=steps, tolerance=0.0) if steps else SourceOnly()
        found = strategy.adapt(task)
        w = found.part.weight.detach().numpy() * scale / unit
        cost = far + loss(known / unit, found.predict(target.x).astype(float) / unit)
        values.append((exact(cost, 10**6).plan * cost).sum() + half * np.square(w).sum() / m)
    assert np.diff(values).max() < 1e-4
    assert values[0] - values[-1] > 1e-4


def test_the_objective_falls() -> None:
    task = Task(sources=(blobs(2, 150, 0),), target=blobs(3, 150, 2))
    logged: list[float] = []
    run = Run(log=lambda step, values: logged.append(values["objective"]))
    found = JDOT().adapt(task, run).diagnostics["objective"]
    assert found == logged
    assert len(found) > 1
    assert found[-1] < found[0]


def test_a_shift_of_classes_is_followed() -> None:
    task = Task(sources=(blobs(4, 200, 0),), target=blobs(5, 200, 2.5))
    heldout = blobs(6, 300, 2.5)
    score = {
        s.name: (s.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(), JDOT())
    }
    assert score["jdot"] > score["source-only"] + 0.1


def test_a_shift_of_values_is_followed() -> None:
    task = Task(sources=(line(7, 200, 0),), target=line(8, 200, 1.5))
    heldout = line(9, 300, 1.5)
    learner = NearestNeighbours(k=5)
    error = {
        s.name: np.square(s.adapt(task).predict(heldout.x) - heldout.y).mean()
        for s in (SourceOnly(learner=learner), JDOT(learner=learner, alpha=10.0))
    }
    assert error["jdot"] < 0.5 * error["source-only"]


def test_the_unit_of_the_values_does_not_matter() -> None:
    def predict(scale: float) -> Any:
        s, t = line(10, 80, 0), line(11, 70, 1)
        domains = [Labelled(name="v", schema=VALUES, x=d.x, y=d.y * scale) for d in (s, t)]
        task = Task(sources=(domains[0],), target=domains[1])
        return JDOT(learner=Ridge()).adapt(task).predict(t.x) / scale

    np.testing.assert_allclose(predict(1024.0), predict(1.0), rtol=1e-3, atol=1e-4)


def test_without_distances_the_source_model_confirms_itself() -> None:
    """alpha = 0: labels go to rows that are predicted to have them, as far as shares allow."""
    source = blobs(12, 90, 0)
    task = Task(sources=(source,), target=source)
    found = JDOT(alpha=0.0, learner=Linear()).adapt(task)
    alone = SourceOnly(learner=Linear()).adapt(task)
    same = found.predict(source.x).argmax(1) == alone.predict(source.x).argmax(1)
    assert same.mean() > 0.95


@pytest.mark.parametrize("setting", [{"alpha": -1.0}, {"iterations": 0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected"):
        JDOT(**setting)
