from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear, Ridge
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.transport.coupling import exact
from isthmus_alignment.transport.jdot import JDOT, losses
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
    found = JDOT(alpha=0.7, iterations=1, learner=learner).adapt(
        Task(sources=(source,), target=target)
    )
    (objective,) = found.diagnostics["objective"]
    assert objective == pytest.approx((plan * joint).sum(), rel=1e-5)
    np.testing.assert_array_equal(found.predict(target.x).argmax(1), (plan.T @ known).argmax(1))


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
