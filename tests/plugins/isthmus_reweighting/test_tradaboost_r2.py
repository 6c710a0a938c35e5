from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.learners import Ridge
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly
from isthmus_reweighting.tradaboost_r2 import TrAdaBoostR2, boost, shifted

SCHEMA = Schema(kind="table", shape=(3,), outputs=("length",))
SHORT = TrAdaBoostR2(steps=5, rounds=4, folds=3)


def draw(seed: int, n: int, other: float, noise: float = 0.3) -> Labelled:
    """A linear value; a part of the rows follows another line."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = x @ [1.0, -2.0, 0.5] + noise * rng.normal(size=n)
    y = np.where(rng.random(n) < other, x @ [-1.0, 2.0, 0.5] + 3, y)
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y[:, None])


def task_of(n: int = 200, m: int = 12, other: float = 0.7) -> Task:
    target = draw(1, m, 0.0)
    return Task(sources=(draw(0, n, other),), target=target, support=target)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_a_shift_of_weights_gives_the_target_its_share(share: float) -> None:
    rng = np.random.default_rng(0)
    w, error = rng.random(30), rng.random(20)
    error[3] = 0.0
    w[20:] *= 0.05
    got = shifted(w / w.sum(), error, 20, share)
    assert got[20:].sum() == pytest.approx(share, abs=1e-9)
    assert got.sum() == pytest.approx(1)
    np.testing.assert_allclose(got[20:] / got[20], w[20:] / w[20])
    if share < 0.9:  # one beta explains every source row
        beta = (got[:20] / w[:20] / (got[3] / w[3])) ** (1 / np.where(error > 0, error, 1))
        np.testing.assert_allclose(beta[error > 0], beta[0], rtol=1e-6)


def test_boosting_is_adaboost_r2_with_a_frozen_source() -> None:
    """The second stage, loop by loop, against what the committee holds."""
    task = task_of()
    assert task.support is not None
    n, m = len(task.source), len(task.support)
    pooled = replace(
        task.source,
        x=np.concatenate([task.source.x, task.support.x]),
        y=np.concatenate([task.source.y, task.support.y]),
    )
    both, learner = Task(sources=(pooled,), target=task.target), Ridge(alpha=0.1)
    w0 = np.full(n + m, 1 / (n + m))
    found: Any = boost(learner, both, Run(), w0, n, 4, np.ones(1))
    w, says = w0.copy(), []
    for _ in range(4):
        h = learner.fit(pooled.x, pooled.y, w * (n + m), SCHEMA, Run())
        gap = np.abs(h.predict(pooled.x) - pooled.y)[n:, 0]
        e = gap / gap.max()
        mean = (w[n:] * e).sum() / w[n:].sum()
        if mean >= 0.5:
            break
        beta = mean / (1 - mean)
        says.append(np.log(1 / beta))
        z = w[n:] * beta ** (1 - e)
        w[n:] = z / z.sum() * m / (n + m)
    assert len(says) >= 2
    np.testing.assert_allclose(found.part.weight, np.array(says) / sum(says), rtol=1e-4)


def test_beats_the_source_and_the_few_target_rows() -> None:
    heldout, score = draw(9, 2000, 0.0, 0.0), {}
    for name, strategy in (
        ("source", SourceOnly()),
        ("target", TargetOnly()),
        ("boost", TrAdaBoostR2()),
    ):
        errors = []
        for seed in range(3):
            target = draw(20 + seed, 15, 0.0, 0.8)
            task = Task(sources=(draw(seed, 300, 0.3),), target=target, support=target)
            errors.append(np.square(strategy.adapt(task).predict(heldout.x) - heldout.y).mean())
        score[name] = np.mean(errors)
    assert score["boost"] < 0.1 * score["source"]
    assert score["boost"] < 0.7 * score["target"]


def test_the_source_keeps_its_weight_where_it_agrees() -> None:
    agrees = TrAdaBoostR2(steps=6, rounds=4).adapt(task_of(other=0.0)).diagnostics
    differs = TrAdaBoostR2(steps=6, rounds=4).adapt(task_of(other=1.0)).diagnostics
    assert agrees["source_share"] > differs["source_share"]
    assert differs["source_share"] < 0.3
    assert len(agrees["held_out"]) == 6


def test_several_outputs_are_boosted_together() -> None:
    task, heldout = MAKERS["table:values"](0)
    p = SHORT.adapt(task).predict(heldout.x)
    residual = np.square(heldout.y - p).sum(0) / np.square(heldout.y - heldout.y.mean(0)).sum(0)
    assert residual.max() < 0.1


@pytest.mark.parametrize("m", [1, 2])
def test_one_or_two_support_rows_are_survived(m: int) -> None:
    task = task_of(m=m)
    assert np.isfinite(SHORT.adapt(task).predict(task.target.x)).all()


def test_equal_values_are_survived() -> None:
    d = draw(0, 30, 0.0)
    flat = replace(d, y=np.full((30, 1), 2.0))
    p = SHORT.adapt(Task(sources=(flat,), target=flat, support=flat)).predict(d.x)
    np.testing.assert_allclose(p, 2.0, atol=1e-5)


def test_refuses_classes_and_empty_settings() -> None:
    with pytest.raises(UnsupportedTask, match="tradaboost-r2"):
        TrAdaBoostR2().adapt(MAKERS["table"](0)[0])
    for setting in ({"steps": 0}, {"rounds": 0}, {"folds": 1}):
        with pytest.raises(BadInput, match=next(iter(setting))):
            TrAdaBoostR2(**setting)
