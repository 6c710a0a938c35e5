from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

import isthmus_reweighting.target_shift as module
from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_baselines.source_only import SourceOnly
from isthmus_reweighting.kernels import Standardised, gaussian, squares
from isthmus_reweighting.target_shift import MMDTargetShift, apart, fourier, mixture_shares

SEED = np.random.default_rng
SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))
CENTRES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
EVEN, SKEWED = np.full(3, 1 / 3), np.array([0.7, 0.25, 0.05])


def draw(seed: int, n: int, shares: Any) -> Labelled:
    rng = SEED(seed)
    y = rng.choice(3, n, p=shares)
    x = (CENTRES[y] + rng.normal(size=(n, 2))).astype(np.float32)
    return Labelled(name="d", schema=SCHEMA, x=x, y=y)


def task_of(n: int, source: Any = EVEN, target: Any = SKEWED, seed: int = 0) -> Task:
    return Task(sources=(draw(seed, n, source),), target=draw(seed + 100, n, target))


def shares(adapted: Any) -> Any:
    return np.asarray(adapted.diagnostics["shares"]["target"])


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_the_optimum_on_the_simplex(seed: int) -> None:
    rng = SEED(seed)
    k = 3 + seed
    means, target = rng.normal(size=(k, 4)), 0.5 * rng.normal(size=4)

    def objective(p: Any) -> Any:
        return np.square(p @ means - target).sum()

    found = mixture_shares(means @ means.T, means @ target, float(target @ target))
    wanted = optimize.minimize(
        objective,
        np.full(k, 1 / k),
        method="SLSQP",
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    assert objective(found) <= wanted.fun + 1e-9


def test_a_target_inside_the_hull_is_mixed_exactly() -> None:
    means, truth = SEED(0).normal(size=(4, 6)), np.array([0.1, 0.2, 0.3, 0.4])
    target = truth @ means
    found = mixture_shares(means @ means.T, means @ target, float(target @ target))
    np.testing.assert_allclose(found, truth, atol=1e-7)


def test_the_objective_is_the_weighted_mmd() -> None:
    """What is reported is |sum_i w_i k(x_i, .) / n - mean k(x_t, .)|, of the row weights."""
    task = task_of(150)
    source, target = task.source, task.target
    found = MMDTargetShift().adapt(task).diagnostics
    view, sigma = Standardised(source.x, target.x), found["bandwidth"]
    z_s, z_t = view.read(source.x), view.read(target.x)
    ratio = shares(MMDTargetShift().adapt(task)) / (np.bincount(source.y) / len(source))
    for w, name in ((np.ones(150), "mmd_before"), (ratio[source.y], "mmd_after")):
        a = np.concatenate([w / 150, np.full(150, -1 / 150)])
        z = np.concatenate([z_s, z_t])
        wanted = np.sqrt(a @ gaussian(squares(z, z), sigma) @ a)
        assert found[name] == pytest.approx(wanted, abs=1e-6)
    assert found["mmd_after"] < found["mmd_before"]


def test_shares_approach_the_truth() -> None:
    errors = [
        np.mean(
            [
                np.abs(shares(MMDTargetShift().adapt(task_of(n, seed=s))) - SKEWED).max()
                for s in range(3)
            ]
        )
        for n in (200, 3000)
    ]
    assert errors[1] < errors[0]
    assert errors[1] < 0.03


@pytest.mark.parametrize("correct", ["weights", "output"])
def test_beats_source_only(correct: Any) -> None:
    task, heldout = task_of(2000), draw(7, 5000, SKEWED)

    def accuracy(strategy: Any) -> float:
        return float((strategy.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean())

    assert accuracy(MMDTargetShift(correct=correct)) > accuracy(SourceOnly()) + 0.04


def test_random_features_approach_the_kernel() -> None:
    x = SEED(0).normal(size=(30, 5))
    w = fourier(5, 1.5, 40_000, SEED(1))
    z = np.concatenate([np.cos(x @ w), np.sin(x @ w)], 1) / np.sqrt(w.shape[1])
    np.testing.assert_allclose(z @ z.T, gaussian(squares(x, x), 1.5), atol=0.03)


def test_many_rows_are_read_through_features(monkeypatch: Any) -> None:
    task, said = task_of(1500), list[str]()
    exact = shares(MMDTargetShift().adapt(task))
    monkeypatch.setattr(module, "EXACT", 1000)
    rough = shares(MMDTargetShift().adapt(task, Run(say=said.append)))
    np.testing.assert_allclose(rough, exact, atol=0.02)
    assert any("random features" in s for s in said)


def test_a_class_that_either_domain_lacks() -> None:
    found = shares(MMDTargetShift().adapt(task_of(2000, EVEN, [0.6, 0.4, 0.0])))
    assert found[2] < 0.02
    adapted = MMDTargetShift().adapt(task_of(400, [0.5, 0.5, 0.0]))
    assert shares(adapted)[2] == 0
    assert shares(adapted).sum() == pytest.approx(1)


def test_classes_that_look_alike_are_said() -> None:
    rng, said = SEED(0), list[str]()
    x = rng.normal(size=(300, 2)).astype(np.float32)
    d = Labelled(name="d", schema=SCHEMA, x=x, y=rng.integers(0, 3, 300))
    MMDTargetShift().adapt(Task(sources=(d,), target=d), Run(say=said.append))
    assert any("no better than chance" in s for s in said)
    said.clear()
    MMDTargetShift().adapt(task_of(300), Run(say=said.append))
    assert said == []
    assert apart(np.ones((3, 3))) == pytest.approx(0, abs=1e-12)


def test_refuses_settings() -> None:
    with pytest.raises(BadInput, match="bandwidth=0"):
        MMDTargetShift(bandwidth=0.0)
    with pytest.raises(BadInput, match="folds=1"):
        MMDTargetShift(folds=1)
