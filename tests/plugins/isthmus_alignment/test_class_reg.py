from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.transport import class_reg
from isthmus_alignment.transport.class_reg import OTClassReg, l1_l2, lp_l1
from isthmus_alignment.transport.coupling import entropic, uniform
from isthmus_alignment.transport.entropic import OTSinkhorn

SCHEMA = Schema(kind="table", shape=(3,), classes=("a", "b", "c"))


def problem(seed: int, n: int = 24, m: int = 30) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    near = y[:, None] == rng.integers(0, 3, m)
    return rng.random((n, m)) + np.where(near, 0.0, 0.3), y


def groups(plan: Any, y: Any) -> Any:
    """The mass (3, n_target) that each target row receives from each class."""
    return np.eye(3)[y].T @ plan


def objective(plan: Any, cost: Any, y: Any, reg: float, eta: float) -> float:
    entropy = (plan * np.log(plan * plan.size)).sum()
    norms = np.sqrt(np.eye(3)[y].T @ plan**2)
    return float((plan * cost).sum() + reg * entropy + eta * norms.sum())


@pytest.mark.parametrize("eta", [0.01, 0.1, 1.0])
def test_l1_l2_is_no_higher_than_pots_and_close_to_it(eta: float) -> None:
    cost, y = problem(0)
    found = l1_l2(cost, y, 0.1, eta, 300, 1e-6)
    theirs = ot.da.sinkhorn_l1l2_gl(
        uniform(24), y, uniform(30), cost, 0.1, eta, numItermax=300, numInnerItermax=2000
    )
    ours, pots = (objective(p, cost, y, 0.1, eta) for p in (found.plan, theirs))
    assert found.converged
    assert ours <= pots + 1e-6
    assert ours == pytest.approx(pots, rel=0.05)


def test_l1_l2_is_a_minimum_among_plans() -> None:
    """A step towards any other plan, exact or entropic, raises the convex objective."""
    cost, y = problem(1)
    plan = l1_l2(cost, y, 0.1, 0.3, 500, 1e-8).plan
    least = objective(plan, cost, y, 0.1, 0.3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = entropic(cost + rng.normal(size=cost.shape), 0.2).plan
        for step in (0.5, 0.1, 0.01):
            assert objective(plan + step * (other - plan), cost, y, 0.1, 0.3) > least - 1e-7


@pytest.mark.parametrize("eta", [0.01, 0.1])
def test_lp_l1_is_pots_in_our_units(eta: float, monkeypatch: Any) -> None:
    """POT takes the root of masses of order 1 / n_target, we of shares: the floor follows."""
    cost, y = problem(2)
    monkeypatch.setattr(class_reg, "FLOOR", 1e-3 * 30)
    found = lp_l1(cost, y, 0.1, eta, 200, 1e-12)
    theirs = ot.da.sinkhorn_lpl1_mm(
        uniform(24), y, uniform(30), cost, 0.1, eta / np.sqrt(30), 200, 2000
    )
    np.testing.assert_allclose(found.plan * 24, theirs * 24, atol=1e-3)


def test_lp_l1_never_rises() -> None:
    cost, y = problem(3)

    def value(plan: Any) -> float:
        share = groups(plan, y) * 30 + class_reg.FLOOR
        entropy = (plan * np.log(plan * plan.size)).sum()
        return float((plan * cost).sum() + 0.05 * entropy + 0.3 * np.sqrt(share).sum() / 30)

    values = [value(lp_l1(cost, y, 0.05, 0.3, k, -np.inf).plan) for k in range(0, 8)]
    assert np.diff(values).max() < 1e-5
    assert values[0] - values[-1] > 1e-2


@pytest.mark.parametrize("solver", [lp_l1, l1_l2])
def test_without_a_group_norm_the_plan_is_entropic(solver: Any) -> None:
    cost, y = problem(4)
    np.testing.assert_allclose(
        solver(cost, y, 0.1, 0.0, 10, 1e-6).plan, entropic(cost, 0.1).plan, atol=1e-6
    )


@pytest.mark.parametrize("solver", [lp_l1, l1_l2])
def test_marginals_are_met(solver: Any) -> None:
    cost, y = problem(5)
    plan = solver(cost, y, 0.1, 0.5, 20, 1e-4).plan
    np.testing.assert_allclose(plan.sum(1), uniform(24), rtol=1e-9)
    assert np.abs(plan.sum(0) - uniform(30)).sum() < 2e-5


def test_target_rows_receive_from_fewer_classes() -> None:
    cost, y = problem(6)

    def purity(plan: Any) -> float:
        return float((groups(plan, y).max(0) * 30).mean())

    plain = purity(entropic(cost, 0.1).plan)
    assert purity(lp_l1(cost, y, 0.1, 0.3, 30, 1e-6).plan) > plain + 0.1
    assert purity(l1_l2(cost, y, 0.1, 3.0, 100, 1e-5).plan) > plain + 0.005


@pytest.mark.parametrize("solver", [lp_l1, l1_l2])
def test_the_number_of_rows_does_not_change_what_eta_means(solver: Any) -> None:
    cost, y = problem(7)
    once = solver(cost, y, 0.1, 0.2, 50, 1e-7).plan
    twice = solver(np.tile(cost, (1, 2)), y, 0.1, 0.2, 50, 1e-7).plan
    np.testing.assert_allclose(twice[:, :30] + twice[:, 30:], once, atol=1e-3 / 24)


def draw(seed: int, n: int, shift: float) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 3)) + 2 * np.eye(3)[y] + shift
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y)


@pytest.mark.parametrize("norm", ["lpl1", "l1l2"])
def test_a_class_that_never_occurs_changes_nothing(norm: Any) -> None:
    source, target = draw(0, 60, 0), draw(1, 60, 0.5)
    wide = Schema(kind="table", shape=(3,), classes=("a", "none", "b", "c"))
    codes = np.array([0, 2, 3])
    other = [Labelled(name="w", schema=wide, x=d.x, y=codes[d.y]) for d in (source, target)]
    p = OTClassReg(norm=norm).adapt(Task(sources=(source,), target=target)).predict(target.x)
    q = OTClassReg(norm=norm).adapt(Task(sources=(other[0],), target=other[1])).predict(target.x)
    np.testing.assert_array_equal(codes[p.argmax(1)], q.argmax(1))


def test_classes_help() -> None:
    score = {}
    for strategy in (OTSinkhorn(), OTClassReg()):
        right = []
        for seed in range(5):
            source, target = draw(2 * seed, 150, 0), draw(2 * seed + 1, 150, 0.7)
            adapted = strategy.adapt(Task(sources=(source,), target=target))
            right.append((adapted.predict(target.x).argmax(1) == target.y).mean())
        score[strategy.name] = np.mean(right)
    assert score["ot-class-reg"] > score["ot-sinkhorn"]


def test_says_when_it_did_not_converge() -> None:
    said: list[str] = []
    task = Task(sources=(draw(0, 60, 0),), target=draw(1, 60, 0.5))
    OTClassReg(iterations=1).adapt(task, Run(say=said.append))
    assert "stopped at its iteration limit" in said[0]


@pytest.mark.parametrize("setting", [{"reg": 0.0}, {"eta": -1.0}, {"iterations": 0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected a number"):
        OTClassReg(**setting)
