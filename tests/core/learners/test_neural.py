"""Networks are learners like any other, and each kind of domain has its default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus import Labelled, Run, Task, UnsupportedTask
from isthmus.graph import Graph
from isthmus.learners import GCN, MLP, LeNet, Linear, Logistic, Neural, Training
from isthmus.learners.linear import LinearPart
from isthmus.learners.network import Network
from isthmus.learners.neural import FULL_BATCH, fit_learner, usual
from isthmus.testing.domains import MAKERS

SHORT = Training(steps=80)


def accuracy(adapted, heldout):
    return (adapted.predict(heldout.x).argmax(1) == heldout.y).mean()


@pytest.mark.parametrize(
    ("kind", "learner"),
    [
        ("table", Neural(network=MLP(widths=(16,)), training=SHORT)),
        ("image", Neural(network=LeNet(), training=SHORT)),
        ("image", Neural(network=MLP(widths=(16,)), training=SHORT)),
        ("graph", Neural(network=GCN(width=16), training=replace(FULL_BATCH, steps=60))),
    ],
)
def test_a_network_learns(kind, learner):
    task, heldout = MAKERS[kind](0)
    assert accuracy(fit_learner(learner, task, Run()), heldout) > 0.8


def test_fitting_rows_is_fitting_the_task():
    task, heldout = MAKERS["table"](0)
    learner = Neural(network=MLP(widths=(8,)), training=SHORT)
    a = learner.fit(task.source.x, task.source.y, None, task.schema, Run(seed=1))
    b = fit_learner(learner, task, Run(seed=1))
    np.testing.assert_array_equal(a.predict(heldout.x), b.predict(heldout.x))


def test_weights_reach_the_loss():
    task, heldout = MAKERS["table"](0)
    learner = Neural(network=MLP(widths=(8,)), training=SHORT)
    only = (task.source.y != 2).astype(float)  # class 2 does not count
    p = fit_learner(learner, task, Run(), only).predict(heldout.x)
    assert (p.argmax(1) != 2).mean() > 0.95


def test_every_kind_has_a_default():
    task, _ = MAKERS["table"](0)
    assert isinstance(fit_learner(None, task, Run()).part, LinearPart)
    assert (usual("graph"), usual("image")) == (FULL_BATCH, Training())
    task, _ = MAKERS["graph"](0)
    part = fit_learner(None, task, Run()).part
    assert isinstance(part, Network)
    assert part.architecture == GCN()


def test_several_graphs_are_learnt_from_at_once():
    (one, heldout), (two, _) = MAKERS["graph"](0), MAKERS["graph"](0)
    sources = (one.source, replace(two.source, name="second"))
    task = Task(sources=sources, target=one.target)
    assert isinstance(task.source.x, Graph)
    learner = Neural(network=GCN(width=16), training=replace(FULL_BATCH, steps=60))
    assert accuracy(fit_learner(learner, task, Run()), heldout) > 0.8


def test_a_learner_of_another_kind_is_refused():
    task, _ = MAKERS["image"](0)
    for learner in (Linear(), Logistic(), Neural(network=GCN())):
        with pytest.raises(UnsupportedTask, match="reads"):
            fit_learner(learner, task, Run())


def test_the_labels_of_the_caller_stay():
    task, _ = MAKERS["table"](0)
    source = task.source
    before = source.x.copy(), source.y.copy()
    fit_learner(Neural(network=MLP(widths=(4,)), training=Training(steps=5)), task, Run())
    assert isinstance(source, Labelled)
    np.testing.assert_array_equal(source.x, before[0])
    np.testing.assert_array_equal(source.y, before[1])
