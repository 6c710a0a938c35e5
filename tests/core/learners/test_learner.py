"""What every learner on tables does."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest

from isthmus import Run, settings
from isthmus.artefact import load
from isthmus.deploy.export import export
from isthmus.learners import (
    SVM,
    Forest,
    GradientBoosting,
    Learner,
    Linear,
    NearestNeighbours,
)
from isthmus.learners.learner import canonical_rows
from isthmus.testing.domains import MAKERS
from isthmus_alignment.shallow.coral import CORAL
from isthmus_reweighting.ulsif import ULSIF

LEARNERS = [
    Linear(),
    NearestNeighbours(k=3),
    Forest(trees=10, depth=5),
    GradientBoosting(rounds=10),
    SVM(),
    SVM(kernel="linear"),
]
KINDS = ["table", "table:binary", "table:values"]
MADE = {kind: MAKERS[kind](0) for kind in KINDS}
each = pytest.mark.parametrize("learner", LEARNERS, ids=lambda x: type(x).__name__)
of_each_kind = pytest.mark.parametrize("kind", KINDS)


def right(p, held):
    if held.schema.is_regression:
        return 1 - np.square(p - held.y).sum() / np.square(held.y - held.y.mean(0)).sum()
    return (p.argmax(1) == held.y).mean()


@each
@of_each_kind
def test_it_learns_whatever_the_order_and_leaves_what_it_was_given(learner, kind):
    (task, held), run = MADE[kind], Run(seed=3)
    source = task.source
    w = np.random.default_rng(0).uniform(0.1, 2, len(source))
    x, y, given = source.x.copy(), source.y.copy(), w.copy()
    first = learner.fit(source.x, source.y, w, source.schema, run).predict(held.x)
    for a, b in ((source.x, x), (source.y, y), (w, given)):
        np.testing.assert_array_equal(a, b)
    order = np.random.default_rng(1).permutation(len(y))
    other = learner.fit(x[order], y[order], w[order], source.schema, run).predict(held.x)
    assert first.dtype == np.float32
    np.testing.assert_allclose(other, first, atol=2e-4 * max(1.0, np.abs(first).max()))
    assert right(first, held) > (0.45 if kind == "table:values" else 0.9)
    if not source.schema.is_regression:
        np.testing.assert_allclose(first.sum(1), 1, atol=1e-5)


@each
def test_a_class_without_rows_has_no_chance(learner):
    task, held = MADE["table"]
    kept = task.source.take(np.flatnonzero(task.source.y != 1))
    p = learner.fit(kept.x, kept.y, None, kept.schema, Run()).predict(held.x)
    assert p.shape[1] == 3
    assert (p[:, 1] == 0).all()
    w = (kept.y == 2).astype(float)
    alone = learner.fit(kept.x, kept.y, w, kept.schema, Run()).predict(held.x)
    np.testing.assert_allclose(alone, np.tile([0, 0, 1], (len(held), 1)), atol=1e-6)


@pytest.mark.parametrize("learner", LEARNERS[2:], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("kind", ["table", "table:values"])
def test_it_is_deployed_behind_a_map_with_weights(learner, kind, tmp_path):
    """ulsif's weights, CORAL's map of the target: saved, loaded and exported, it stays itself."""
    task, held = MADE[kind]
    weighted = ULSIF(learner=learner).adapt(task).predict(held.x)
    assert right(weighted, held) > (0.4 if kind == "table:values" else 0.85)
    adapted = CORAL(learner=learner).adapt(task)
    adapted.save(tmp_path / "adapted")
    again, _ = load(tmp_path / "adapted")
    np.testing.assert_array_equal(again.predict(held.x), adapted.predict(held.x))
    path = tmp_path / "model.onnx"
    export(adapted.onnx(), path, sample={"x": held.x}, batches=(0, 1, 40))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = adapted.predict(held.x)
    gap = np.abs(session.run(None, {"x": held.x})[0] - expected).max(1)
    assert np.quantile(gap, 0.95) < 1e-5 * max(1, np.abs(expected).max())


@each
def test_settings_come_back_from_json(learner):
    assert settings.restore(settings.describe(learner), Learner) == learner
    assert type(learner).__name__.lower() in settings.choices(Learner)


def test_equal_rows_are_sorted_by_weight():
    x, y = np.zeros((4, 2), np.float32), np.zeros(4, int)
    w = np.array([3.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(canonical_rows(x, y, w)[2], [1, 2, 3])
    assert canonical_rows(x, y, None)[2] is None


def test_recipes_are_frozen():
    for learner in LEARNERS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            learner.C = 3
