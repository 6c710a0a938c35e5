from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isthmus import Labelled, Run, Task, UnsupportedTask
from isthmus.learners.graphs import GCN
from isthmus.learners.loop import Training
from isthmus.learners.neural import FULL_BATCH, Neural
from isthmus_baselines.source_only import SourceOnly
from isthmus_relational.graph.graph_dann import GraphDANN

Nodes = Callable[..., Labelled]
PLAIN = GCN(width=16, dropout=0.0)
SHORT = Training(steps=40, optimiser="adam", lr=0.01, schedule="constant")


def test_without_weight_it_is_source_only_to_the_bit(nodes: Nodes) -> None:
    """No batch statistics and no dropout here: the domains meet in the domain loss alone."""
    source, target = nodes(60, 0), nodes(90, 1, 0.4)
    task = Task(sources=(source,), target=target)
    dann = GraphDANN(weight=0.0, network=PLAIN, training=SHORT).adapt(task, Run(seed=1))
    alone = SourceOnly(learner=Neural(network=PLAIN, training=SHORT)).adapt(task, Run(seed=1))
    np.testing.assert_array_equal(dann.predict(target.x), alone.predict(target.x))


def test_the_weight_reaches_the_encoder(nodes: Nodes) -> None:
    source, target = nodes(60, 0), nodes(90, 1, 0.4)
    task = Task(sources=(source,), target=target)
    still, moved = (
        GraphDANN(weight=w, network=PLAIN, training=SHORT).adapt(task).predict(target.x)
        for w in (0.0, 0.5)
    )
    assert np.abs(moved - still).max() > 1e-3


def test_a_small_target_counts_as_much_as_a_large_one(nodes: Nodes) -> None:
    """The first domain loss is log 2 whatever the sizes: the critic starts without an opinion."""
    for n_source, n_target in ((200, 20), (20, 200)):
        seen: list[float] = []
        task = Task(sources=(nodes(n_source, 0),), target=nodes(n_target, 1, 3.0))
        run = Run(log=lambda step, v, seen=seen: seen.append(v["domain"]))
        GraphDANN(training=replace(FULL_BATCH, steps=300)).adapt(task, run)
        assert seen[0] == pytest.approx(np.log(2), abs=0.1)
        assert seen[-1] < 0.5 * seen[0]  # a critic of the larger domain alone would stop earlier


def test_predictions_follow_their_nodes(nodes: Nodes) -> None:
    source, target, heldout = nodes(60, 0), nodes(80, 1, 0.3), nodes(70, 2, 0.3)
    strategy = GraphDANN(training=SHORT)
    p = strategy.adapt(Task(sources=(source,), target=target)).predict(heldout.x)
    rng = np.random.default_rng(5)
    a, b, c = (rng.permutation(n) for n in (60, 80, 70))
    moved = strategy.adapt(Task(sources=(source.take(a),), target=target.take(b)))
    np.testing.assert_allclose(moved.predict(heldout.x[c]), p[c], atol=1e-3)


def test_refuses_two_sources(nodes: Nodes) -> None:
    task = Task(sources=(nodes(20, 0), nodes(20, 1)), target=nodes(20, 2))
    with pytest.raises(UnsupportedTask, match="graph-dann takes one source domain, got 2"):
        GraphDANN().adapt(task)
