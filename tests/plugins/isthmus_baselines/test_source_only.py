from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isthmus import Labelled, Run
from isthmus.learners.linear import Linear
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.testing.domains import graph, table, table_values
from isthmus_baselines.source_only import SourceOnly


@pytest.mark.parametrize("make", [table, table_values], ids=["classes", "values"])
def test_is_the_default_learner_on_the_source(make: Any) -> None:
    task, heldout = make(0)
    source = task.sources[0]
    wanted = Linear().fit(source.x, source.y, None, source.schema, Run()).predict(heldout.x)
    np.testing.assert_array_equal(SourceOnly().adapt(task).predict(heldout.x), wanted)


def test_the_target_changes_nothing() -> None:
    task, heldout = table(0)
    p = SourceOnly().adapt(task).predict(heldout.x)
    other = replace(task, target=replace(task.target, x=task.target.x * 3 - 5), support=None)
    np.testing.assert_array_equal(SourceOnly().adapt(other).predict(heldout.x), p)


@pytest.mark.parametrize("learner", [None, NearestNeighbours(k=3)], ids=["linear", "knn"])
def test_pools_its_sources(learner: Any) -> None:
    task, heldout = table(0)
    other = table(1)[0].sources[0]
    first = task.sources[0]
    pooled = Labelled(
        name="pooled",
        schema=first.schema,
        x=np.concatenate([first.x, other.x]),
        y=np.concatenate([first.y, other.y]),
    )
    strategy = SourceOnly(learner=learner)
    two = strategy.adapt(replace(task, sources=(first, other))).predict(heldout.x)
    one = strategy.adapt(replace(task, sources=(pooled,))).predict(heldout.x)
    np.testing.assert_allclose(two, one, atol=1e-6)
    alone = strategy.adapt(task).predict(heldout.x)
    assert np.abs(two - alone).max() > 0.01  # the second source was read


def test_graphs_take_a_graph_network() -> None:
    task, heldout = graph(0)
    p = SourceOnly().adapt(task).predict(heldout.x)
    assert (p.argmax(1) == heldout.y).mean() > 0.8
