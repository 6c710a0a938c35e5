from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.learners import Logistic
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly
from isthmus_reweighting.tradaboost import LEAST_ERROR, TrAdaBoost

SCHEMA = Schema(kind="table", shape=(2,), classes=("no", "yes"))


def draw(seed: int, n: int, turned: float, schema: Schema = SCHEMA) -> Labelled:
    """The class is the side of a line; in part of the rows it is a line turned by 90 degrees."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    odd = rng.random(n) < turned
    y = np.where(odd, x[:, 1] > 0, x[:, 0] + 0.3 * x[:, 1] > 0).astype(np.int64)
    return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)


def task_of(n: int = 300, m: int = 25, turned: float = 0.7) -> Task:
    target = draw(1, 400, 0.0)
    return Task(sources=(draw(0, n, turned),), target=target, support=target.take(np.arange(m)))


def reference(task: Task, rounds: int, x: Any) -> Any:
    """The paper's algorithm for two classes, loop by loop: the decision and the weights."""
    assert task.support is not None
    s, t = task.source, task.support
    xs, ys = np.concatenate([s.x, t.x]), np.concatenate([s.y, t.y])
    n, m = len(s), len(t)
    both = replace(s, x=xs, y=ys)
    w = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    beta = 1 / (1 + np.sqrt(2 * np.log(n) / rounds))
    betas, hs = [], []
    for _ in range(rounds):
        p = w / w.sum()
        model = Logistic().fit(both.x, both.y, p * (n + m), s.schema, Run())
        wrong = (model.predict(both.x).argmax(1) != both.y).astype(float)
        epsilon = (w[n:] * wrong[n:]).sum() / w[n:].sum()
        epsilon = min(max(epsilon, LEAST_ERROR), 0.495)
        beta_t = epsilon / (1 - epsilon)
        w = np.concatenate([w[:n] * beta ** wrong[:n], w[n:] * beta_t ** -wrong[n:]])
        betas.append(beta_t)
        hs.append(model.predict(x).argmax(1))
    half = int(np.ceil(rounds / 2)) - 1  # from round ceil(N / 2), counted from 1
    left = sum(-h * np.log(b) for h, b in zip(hs[half:], betas[half:], strict=True))
    right = sum(-0.5 * np.log(b) for b in betas[half:])
    return (left >= right).astype(int), w[:n]


@pytest.mark.parametrize("rounds", [1, 5, 8])
def test_it_is_the_papers_algorithm_for_two_classes(rounds: int) -> None:
    task = task_of()
    wanted, w = reference(task, rounds, task.target.x)
    adapted: Any = TrAdaBoost(rounds=rounds, learner=Logistic()).adapt(task)
    np.testing.assert_array_equal(adapted.predict(task.target.x).argmax(1), wanted)
    found = adapted.diagnostics["weights"]
    assert found["effective_sample_size"] == pytest.approx(
        w.sum() ** 2 / np.square(w).sum(), rel=1e-3
    )
    assert len(adapted.part.heads) == {1: 1, 5: 3, 8: 5}[rounds]  # ceil(N / 2) to N


def test_learns_from_source_rows_that_agree_with_the_target() -> None:
    """Most of the source says otherwise; a few target rows alone are not enough."""
    heldout, score = draw(9, 4000, 0.0), {}
    for name, strategy in (
        ("source", SourceOnly()),
        ("target", TargetOnly()),
        ("boost", TrAdaBoost()),
    ):
        found = []
        for seed in range(5):
            target = draw(10 + seed, 20, 0.0)
            task = Task(sources=(draw(seed, 400, 0.6),), target=target, support=target)
            p = strategy.adapt(task).predict(heldout.x)
            found.append((p.argmax(1) == heldout.y).mean())
        score[name] = np.mean(found)
    assert score["boost"] > score["source"] + 0.05
    assert score["boost"] > score["target"] - 0.01


def test_rows_that_contradict_the_target_lose_their_weight() -> None:
    task = task_of(turned=0.5)
    found = TrAdaBoost(rounds=10).adapt(task).diagnostics["weights"]
    assert found["effective_sample_size"] < 0.9 * len(task.source)
    clean = TrAdaBoost(rounds=10).adapt(task_of(turned=0.0)).diagnostics["weights"]
    assert clean["effective_sample_size"] > 0.9 * len(task.source)


def test_three_classes_are_boosted() -> None:
    task, heldout = MAKERS["table"](0)
    p = TrAdaBoost(rounds=6).adapt(task).predict(heldout.x)
    assert (p.argmax(1) == heldout.y).mean() > 0.9
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)


def test_one_support_row_is_enough_toRun() -> None:
    task = task_of(m=1)
    assert np.isfinite(TrAdaBoost(rounds=3).adapt(task).predict(task.target.x)).all()


def test_refuses_what_it_cannot_boost() -> None:
    with pytest.raises(BadInput, match="rounds=0"):
        TrAdaBoost(rounds=0)
    with pytest.raises(UnsupportedTask, match="tradaboost"):
        TrAdaBoost().adapt(replace(task_of(), support=None))
    with pytest.raises(UnsupportedTask, match="tradaboost"):
        TrAdaBoost().adapt(MAKERS["table:values"](0)[0])
