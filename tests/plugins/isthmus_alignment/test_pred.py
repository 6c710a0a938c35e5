from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from isthmus import Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.learners.linear import Linear
from isthmus_alignment.shallow.pred import PRED, with_columns
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly

CLASSES = Schema(kind="table", shape=(6,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(6,), outputs=("u", "v"))
W = np.random.default_rng(0).normal(size=(6, 3))


def draw(seed: int, n: int, turned: int = 0) -> Labelled:
    """Three classes; in the target what was class i is class i + ``turned``."""
    x = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return Labelled(name="d", schema=CLASSES, x=x, y=((x @ W).argmax(1) + turned) % 3)


def classes(m: int = 20, turned: int = 1) -> tuple[Task, Labelled]:
    heldout = draw(3, 800, turned)
    task = Task(sources=(draw(1, 400),), target=heldout, support=draw(2, m, turned))
    return task, heldout


def values(m: int = 12) -> tuple[Task, Labelled]:
    """The target's values are other units of the source's."""

    def one(seed: int, n: int, scale: float, offset: float) -> Labelled:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 6)).astype(np.float32)
        y = scale * (x @ W[:, :2] + 0.1 * rng.normal(size=(n, 2))) + offset
        return Labelled(name="d", schema=VALUES, x=x, y=y.astype(np.float32))

    heldout = one(6, 500, -30.0, 7.0)
    return Task(
        sources=(one(4, 300, 1.0, 0.0),), target=heldout, support=one(5, m, -30.0, 7.0)
    ), heldout


def accuracy(strategy: Any, task: Task, heldout: Labelled) -> float:
    return float((strategy.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean())


def test_it_is_a_model_of_columns_and_of_the_sources_predictions() -> None:
    task, heldout = classes()
    assert task.support is not None
    both = np.concatenate([task.source.x, task.support.x])
    scale = np.maximum(both.std(0), np.median(both.std(0)))
    x, x_s, x_h = ((v - both.mean(0)) / scale for v in (task.support.x, task.source.x, heldout.x))
    first = Linear().fit(np.float32(x_s), task.source.y, None, CLASSES, Run())
    rows = [np.hstack([np.float32(v), first.predict(np.float32(v))]) for v in (x, x_h)]
    wide = replace(CLASSES, shape=(9,))
    second = Linear().fit(rows[0], task.support.y, None, wide, Run())
    found = PRED().adapt(task).predict(heldout.x)
    np.testing.assert_allclose(found, second.predict(rows[1]), atol=2e-4)


def test_a_few_rows_say_what_the_sources_classes_are_called_here() -> None:
    task, heldout = classes()
    learnt = accuracy(PRED(), task, heldout)
    assert accuracy(SourceOnly(), task, heldout) < 0.2
    assert learnt > accuracy(TargetOnly(), task, heldout) + 0.03


def test_the_order_of_class_ids_means_nothing() -> None:
    task, heldout = classes()
    order = np.array([2, 0, 1])

    def renamed(d: Labelled) -> Labelled:
        return replace(d, y=order[d.y])

    assert task.support is not None
    other = Task(sources=(renamed(task.source),), target=heldout, support=renamed(task.support))
    p, q = (PRED().adapt(t).predict(heldout.x) for t in (task, other))
    np.testing.assert_allclose(q[:, order], p, atol=1e-3)


def test_values_in_other_units_are_learnt_from_few_rows() -> None:
    task, heldout = values()

    def error(strategy: Any, task: Task, unit: float = 1.0) -> float:
        p = strategy.adapt(task).predict(heldout.x) / unit
        return float(np.square(p - heldout.y).mean())

    assert error(PRED(), task) < 0.8 * error(TargetOnly(), task)
    thousand = replace(task.source, y=1000 * task.source.y)
    same = error(PRED(), replace(task, sources=(thousand,)))
    assert same == pytest.approx(error(PRED(), task), rel=1e-3)


def test_units_of_columns_do_not_matter() -> None:
    task, heldout = classes()

    def scaled(d: Any) -> Any:
        return replace(d, x=d.x * np.float32(1000))

    assert task.support is not None
    big = Task(
        sources=(scaled(task.source),), target=scaled(task.target), support=scaled(task.support)
    )
    p, q = PRED().adapt(task).predict(heldout.x), PRED().adapt(big).predict(1000 * heldout.x)
    np.testing.assert_allclose(q, p, atol=1e-4)


def test_sparse_rows_stay_sparse() -> None:
    x, more = sparse.random(7, 5, 0.4, format="csr", dtype=np.float32), np.ones((7, 2))
    wide = with_columns(x, more)
    assert sparse.issparse(wide)
    np.testing.assert_array_equal(wide.toarray(), with_columns(x.toarray(), more))
    task, heldout = classes()
    assert task.support is not None

    def csr(d: Any) -> Any:
        return replace(d, x=sparse.csr_matrix(d.x))

    thin = Task(sources=(csr(task.source),), target=csr(task.target), support=csr(task.support))
    found = PRED().adapt(thin).predict(sparse.csr_matrix(heldout.x))
    assert (found.argmax(1) == heldout.y).mean() > 0.6


def test_needs_labelled_target_rows() -> None:
    task, _ = classes()
    with pytest.raises(UnsupportedTask, match="pred needs labelled target"):
        PRED().adapt(replace(task, support=None))
