from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from isthmus import BadInput, Domain, Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear
from isthmus_alignment.shallow.coral import recolouring
from isthmus_alignment.shallow.easytl import EasyTL, assign

SCHEMA = Schema(kind="table", shape=(4,), classes=("a", "b", "none", "c"))
MIX = np.array([[1, 0.7, 0, 0], [0.7, 1, 0, 0], [0, 0, 2, -0.6], [0, 0, -0.6, 0.8]])


def draw(seed: int, n: int, shifted: bool) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 4)) + 3 * np.eye(4)[y]
    x = x @ MIX + 2 if shifted else x
    codes = np.array([0, 1, 3])
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=codes[y])


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_is_the_optimum_of_the_linear_programme(seed: int) -> None:
    """Distances from one corner, so that nearest classes alone would leave classes empty."""
    rng = np.random.default_rng(seed)
    n, k = 12, 5
    distance = rng.random((n, k)) + np.array([0, 0.1, 0.5, 2, 3])
    rows, columns = np.repeat(np.eye(n), k, axis=1), np.tile(np.eye(k), n)
    lp = linprog(
        distance.ravel(),
        A_eq=rows,
        b_eq=np.ones(n),
        A_ub=-columns,
        b_ub=-np.ones(k),
        bounds=(0, 1),
    )
    labels = assign(distance)
    assert distance[np.arange(n), labels].sum() == pytest.approx(lp.fun, rel=1e-9)
    assert set(labels) == set(range(k))
    assert len(set(distance.argmin(1))) < k


def test_where_every_class_has_a_row_each_takes_the_nearest() -> None:
    distance = np.random.default_rng(0).random((50, 3))
    np.testing.assert_array_equal(assign(distance), distance.argmin(1))


def test_fewer_rows_than_classes_take_the_nearest_and_the_user_is_told() -> None:
    distance = np.random.default_rng(1).random((2, 3))
    np.testing.assert_array_equal(assign(distance), distance.argmin(1))
    said: list[str] = []
    task = Task(sources=(draw(0, 60, False),), target=draw(1, 2, True))
    EasyTL().adapt(task, Run(say=said.append))
    assert "2 target rows cannot hold all 3 classes" in said[0]


def by_hand(source: Labelled, target: Labelled, align: bool) -> Any:
    a, b = (np.asarray(d.x, np.float64) for d in (source, target))
    a, b = (a - a.mean(0)) / a.std(0), (b - b.mean(0)) / b.std(0)
    if align:
        a = a @ recolouring(a, b, 1.0)
    centres = np.stack([a[source.y == c].mean(0) for c in (0, 1, 3)])
    distance = np.linalg.norm(b[:, None] - centres, axis=2)
    return np.array([0, 1, 3])[assign(distance)]


@pytest.mark.parametrize("align", [True, False])
def test_target_rows_have_the_label_of_the_programme(align: bool) -> None:
    source, target = draw(2, 100, False), draw(3, 80, True)
    adapted = EasyTL(align=align).adapt(Task(sources=(source,), target=target))
    got = adapted.predict(target.x).argmax(1)
    np.testing.assert_array_equal(got, by_hand(source, target, align))


def test_another_learner_learns_those_labels() -> None:
    source, target = draw(2, 100, False), draw(3, 80, True)
    got = EasyTL(learner=Linear()).adapt(Task(sources=(source,), target=target))
    z = ((target.x - target.x.mean(0)) / target.x.std(0)).astype(np.float32)
    inner = Linear().fit(z, by_hand(source, target, True), None, SCHEMA, Run())
    np.testing.assert_allclose(got.predict(target.x), inner.predict(z), atol=1e-3)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="shrinkage=-1"):
        EasyTL(shrinkage=-1.0)


def test_rows_with_the_same_centres_are_labelled_whatever_their_order() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 2, np.arange(2.0)), -1).reshape(-1, 3)
    x, y = np.float32(grid), np.arange(18) % 3
    schema = Schema(kind="table", shape=(3,), classes=("a", "b", "c"))
    found = []
    for seed in range(4):
        s, t = (np.random.default_rng(seed + i).permutation(18) for i in (0, 100))
        source = Labelled(name="s", schema=schema, x=x[s], y=y[s])
        task = Task(sources=(source,), target=Domain(name="t", schema=schema, x=x[t]))
        found.append(EasyTL().adapt(task).predict(x).argmax(1).tolist())
    assert found == found[:1] * 4
