from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.transport.emd import OTEMD
from isthmus_baselines.source_only import SourceOnly

SCHEMA = Schema(kind="table", shape=(2,), classes=("inner", "outer"))


def moons(seed: int, n: int, angle: float) -> Labelled:
    """Two interleaved half circles, turned by ``angle`` degrees."""
    from sklearn.datasets import make_moons

    x, y = make_moons(n, noise=0.05, random_state=seed)
    a = np.deg2rad(angle)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    x = (x - [0.5, 0.25]) @ turn
    return Labelled(name="m", schema=SCHEMA, x=x.astype(np.float32), y=y)


def accuracy(strategy: Any, task: Task, heldout: Labelled) -> float:
    return float((strategy.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean())


def test_turned_moons_are_recognised_where_source_only_fails() -> None:
    """The toy of the paper, turned by 50 degrees."""
    task = Task(sources=(moons(0, 300, 0),), target=moons(1, 300, 50))
    heldout = moons(2, 500, 50)
    alone = accuracy(SourceOnly(learner=NearestNeighbours()), task, heldout)
    assert accuracy(OTEMD(), task, heldout) > alone + 0.1


def test_predicts_as_pots_transport_and_1nn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    source, target = moons(0, 80, 0), moons(1, 70, 30)
    got = OTEMD().adapt(Task(sources=(source,), target=target)).predict(target.x)
    x_s, x_t = source.x.astype(float), target.x.astype(float)
    moved = ot.da.EMDTransport().fit(Xs=x_s, Xt=x_t).transform(x_s)
    wanted = KNeighborsClassifier(1).fit(moved, source.y).predict(x_t)
    np.testing.assert_array_equal(got.argmax(1), wanted)


def test_held_out_source_rows_move_as_pots() -> None:
    source, target, new = moons(0, 80, 0), moons(1, 70, 30), moons(2, 40, 0)
    adapted = OTEMD().adapt(Task(sources=(source,), target=target))
    x_s, x_t = source.x.astype(float), target.x.astype(float)
    wanted = ot.da.EMDTransport().fit(Xs=x_s, Xt=x_t).transform(Xs=new.x.astype(float))
    got = adapted.for_source().observe(new.x)[0]
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_says_when_the_solver_ran_out_of_pivots() -> None:
    said: list[str] = []
    task = Task(sources=(moons(0, 60, 0),), target=moons(1, 60, 20))
    adapted = OTEMD(iterations=10).adapt(task, Run(say=said.append))
    assert "stopped at its iteration limit" in said[0]
    assert adapted.diagnostics["transport"]["stopped_early"] == 1
    quiet: list[str] = []
    adapted = OTEMD().adapt(task, Run(say=quiet.append))
    assert not quiet
    assert adapted.diagnostics["transport"]["stopped_early"] == 0


def test_several_rows_of_equal_cost_leave_nothing_to_the_callers_order() -> None:
    """On a grid many plans are optimal; which one is found must not hang on the row order."""
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2)
    source = Labelled(
        name="g", schema=SCHEMA, x=grid.astype(np.float32), y=(grid[:, 0] > 2).astype(int)
    )
    target = Labelled(name="g", schema=SCHEMA, x=source.x + 3, y=source.y)
    one = OTEMD().adapt(Task(sources=(source,), target=target)).predict(target.x)
    rng = np.random.default_rng(0)
    for _ in range(5):
        task = Task(
            sources=(source.take(rng.permutation(36)),), target=target.take(rng.permutation(36))
        )
        np.testing.assert_array_equal(OTEMD().adapt(task).predict(target.x), one)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="iterations=0"):
        OTEMD(iterations=0)
