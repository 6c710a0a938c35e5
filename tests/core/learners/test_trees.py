"""Trees as tensors split every float32 number as scikit-learn does, also at a threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from isthmus import Schema
from isthmus.artefact import TorchAdapted
from isthmus.deploy.export import export
from isthmus.errors import GateFailed
from isthmus.learners.forest import grown
from isthmus.learners.mapped import Map, mapped
from isthmus.learners.trees import ForestPart, Tree, _not_above

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
X_NEW = RNG.normal(size=(200, 5)).astype(np.float32)
CLASSES = Schema(kind="table", shape=(5,), classes=("a", "b", "c", "d"))
VALUES = Schema(kind="table", shape=(5,), outputs=("u", "v"))


def forest(model, schema):
    part = ForestPart.of([grown(tree, schema) for tree in model.estimators_], 5)
    return TorchAdapted(part=part, schema=schema)


def stump(threshold):
    tree = Tree(
        feature=np.zeros(3, int),
        threshold=np.array([threshold, -2.0, -2.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]]),
    )
    return ForestPart.of([tree], 1)


def test_classes_are_scikit_learns():
    model = RandomForestClassifier(9, random_state=0).fit(X, RNG.integers(0, 3, 120))
    expected = np.pad(model.predict_proba(X_NEW), ((0, 0), (0, 1)))
    np.testing.assert_allclose(forest(model, CLASSES).predict(X_NEW), expected, atol=1e-6)


def test_values_are_scikit_learns():
    model = RandomForestRegressor(9, random_state=0).fit(X, RNG.normal(size=(120, 2)))
    expected = model.predict(X_NEW)
    np.testing.assert_allclose(forest(model, VALUES).predict(X_NEW), expected, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, -0.7, 1.0, 1e-50, 3.4028235677e38, -1e300])
def test_a_value_at_a_threshold_goes_where_scikit_learn_sends_it(threshold):
    with np.errstate(over="ignore"):
        near = np.array([threshold]).astype(np.float32)
        sides = [np.nextafter(near, np.float32(s)) for s in (-np.inf, np.inf)]
    x = np.concatenate([*sides, near])
    x = x[np.isfinite(x)]
    right = x.astype(np.float64) > threshold
    said = stump(threshold)(torch.from_numpy(x[:, None])).numpy()
    np.testing.assert_array_equal(said[:, 1], right)
    assert (_not_above(np.array([threshold])).astype(np.float64) <= threshold).all()


def test_repeated_numbers_leave_many_values_at_thresholds():
    x = (RNG.integers(0, 9, (300, 5)) / 10).astype(np.float32)
    model = RandomForestClassifier(9, random_state=0).fit(x, RNG.integers(0, 4, 300))
    edges = np.concatenate([t.tree_.threshold for t in model.estimators_]).astype(np.float32)
    for new in (x, RNG.choice(edges, (200, 5))):
        found = forest(model, CLASSES).predict(new)
        np.testing.assert_allclose(found, model.predict_proba(new), atol=1e-6)


def test_a_tree_that_is_a_leaf_needs_no_step():
    model = RandomForestRegressor(2, random_state=0).fit(X, np.ones((120, 2)))
    adapted = forest(model, VALUES)
    assert adapted.part.nodes.depth == 0
    np.testing.assert_array_equal(adapted.predict(X_NEW), np.ones((200, 2)))


def test_a_file_may_leap_behind_a_map_and_not_without_one(tmp_path):
    model = RandomForestClassifier(20, max_depth=4, random_state=0).fit(X, RNG.integers(0, 4, 120))
    adapted = forest(model, CLASSES)
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    behind = mapped(adapted, target=Map(shift=np.ones(5), scale=np.ones(5), matrix=turn))
    assert adapted.onnx().leap == 0
    assert 0 < behind.onnx().leap <= 3 / 20
    assert export(adapted.onnx(), tmp_path / "plain.onnx").max_abs_diff < 1e-6
    export(behind.onnx(), tmp_path / "behind.onnx")


@pytest.mark.parametrize(("share", "passes"), [(0.02, True), (0.3, False)])
def test_few_rows_may_leap_and_many_may_not(share, passes, tmp_path, monkeypatch):
    """A file of thresholds that moved stands for one whose map rounds in another way."""
    from isthmus.deploy import parity

    behind = mapped(
        TorchAdapted(part=stump(0.0), schema=CLASSES), target=Map(shift=[0.0], scale=[1.0])
    ).onnx()
    true = parity.run_torch

    def moved(module, inputs, path, n):
        (p,) = true(module, inputs, path, n)
        p = p.copy()
        p[: round(share * n)] = p[: round(share * n), ::-1]
        return [p]

    monkeypatch.setattr(parity, "run_torch", moved)
    if passes:
        export(behind, tmp_path / "m.onnx")
        return
    with pytest.raises(GateFailed, match="differs from torch"):
        export(behind, tmp_path / "m.onnx")
