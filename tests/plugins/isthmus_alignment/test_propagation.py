from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus import Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Coupled, Problem
from isthmus_alignment.transport.coupling import entropic
from isthmus_alignment.transport.exact import exact
from isthmus_alignment.transport.propagation import as_values, fit_propagated, propagate

CLASSES = Schema(kind="table", shape=(2,), classes=("a", "b", "none"))
VALUES = Schema(kind="table", shape=(2,), outputs=("u", "v"))


def draw(seed: int, n: int, schema: Schema = CLASSES) -> Labelled:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    y = x + 1 if schema.is_regression else (x[:, 0] > 0).astype(int)
    return Labelled(name="d", schema=schema, x=x, y=y)


def pair(schema: Schema = CLASSES, n: int = 30, m: int = 20) -> Task:
    return Task(sources=(draw(0, n, schema),), target=draw(1, m, schema))


def to_exact(p: Problem) -> Any:
    return exact(p.cost, 10**6)


def to_entropic(p: Problem) -> Any:
    return entropic(p.cost, 0.1)


@pytest.mark.parametrize("schema", [CLASSES, VALUES], ids=["classes", "values"])
def test_a_target_row_gets_the_mean_label_of_its_partners(schema: Schema) -> None:
    coupled = Coupled(pair(schema), Run(), Batches())
    ((_, found),) = coupled.solve(to_entropic)
    wanted = 20 * found.plan.T @ as_values(coupled.source)
    got = propagate(coupled, to_entropic)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    if not schema.is_regression:
        np.testing.assert_allclose(got.sum(1), 1, rtol=1e-9)
        np.testing.assert_array_equal(got[:, 2], 0)


def test_equal_domains_keep_their_labels() -> None:
    source = draw(2, 40)
    task = Task(sources=(source,), target=source.take(np.arange(40)[::-1]))
    coupled = Coupled(task, Run(), Batches())
    labels = propagate(coupled, to_exact)
    right = {tuple(x): y for x, y in zip(source.x, source.y, strict=True)}
    wanted = [right[tuple(x)] for x in coupled.x]
    np.testing.assert_array_equal(labels.argmax(1), wanted)
    np.testing.assert_allclose(labels.max(1), 1, atol=1e-12)


def test_parts_label_every_target_row() -> None:
    coupled = Coupled(pair(n=20, m=60), Run(), Batches(size=15, rounds=2))
    np.testing.assert_allclose(propagate(coupled, to_exact).sum(1), 1, rtol=1e-9)


def test_a_row_counts_once_for_each_of_its_classes() -> None:
    task = pair(m=40)
    x = np.asarray(task.target.x)
    labels = np.column_stack([x[:, 0] < 0, x[:, 0] >= 0, np.zeros(40)]).astype(float)
    mixed = 0.7 * labels + 0.3 * labels[:, [1, 0, 2]]
    got = fit_propagated(Linear(), x, mixed, task, Run()).predict(x)
    twice = np.concatenate([x, x])
    y = np.concatenate([np.zeros(40, int), np.ones(40, int)])
    weight = np.concatenate([mixed[:, 0], mixed[:, 1]])
    wanted = Linear().fit(twice, y, weight, CLASSES, Run()).predict(x)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_nearest_neighbour_has_the_likeliest_class() -> None:
    task = pair(m=30)
    labels = np.tile([0.4, 0.6, 0.0], (30, 1))
    p = fit_propagated(NearestNeighbours(), task.target.x, labels, task, Run()).predict(
        task.target.x
    )
    np.testing.assert_array_equal(p.argmax(1), 1)


def test_values_are_learnt_as_they_are() -> None:
    task = pair(VALUES, m=30)
    labels = np.asarray(task.target.x, np.float64) * 2
    learner = NearestNeighbours()
    got = fit_propagated(learner, task.target.x, labels, task, Run()).predict(task.target.x)
    np.testing.assert_allclose(got, labels, atol=1e-6)
