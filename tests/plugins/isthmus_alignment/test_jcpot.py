from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest
from scipy import sparse

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupling import uniform
from isthmus_alignment.transport.entropic import OTSinkhorn
from isthmus_alignment.transport.jcpot import JCPOT, target_shift
from isthmus_alignment.transport.label_propagation import OTLabelPropagation

SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))
CENTRES = 3.0 * np.array([[0, 0], [1, 0], [0, 1]])
Shares = tuple[float, float, float]


def draw(seed: int, n: int, shares: Shares, shift: float = 0.0) -> Labelled:
    """Three classes with shares that are met exactly."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), np.round(np.array(shares) * n).astype(int))
    x = rng.normal(size=(len(y), 2)) * 0.7 + CENTRES[y] + shift
    return Labelled(name=f"d{seed}", schema=SCHEMA, x=x.astype(np.float32), y=y)


def costs(sources: list[Labelled], target: Labelled) -> tuple[Any, Any, Any]:
    cost = np.concatenate([ot.dist(s.x.astype(float), target.x.astype(float)) for s in sources])
    y = np.concatenate([s.y for s in sources])
    return cost, y, np.repeat(np.arange(len(sources)), [len(s) for s in sources])


def test_plans_and_shares_are_pots() -> None:
    sources = [draw(0, 30, (0.5, 0.3, 0.2)), draw(1, 40, (0.2, 0.5, 0.3))]
    target = draw(2, 50, (0.1, 0.3, 0.6), 0.4)
    cost, y, origin = costs(sources, target)
    shares, log = ot.bregman.jcpot_barycenter(
        [s.x.astype(float) for s in sources],
        [s.y for s in sources],
        target.x.astype(float),
        reg=2.0,
        numItermax=5000,
        stopThr=1e-14,
        log=True,
    )
    found = target_shift(cost, y, origin, 2.0, 5000, 1e-12)
    assert found.converged
    np.testing.assert_allclose(2 * found.plan, np.concatenate(log["gamma"]), atol=1e-8)
    np.testing.assert_allclose(np.bincount(y, found.plan.sum(1)), shares, atol=1e-8)


def test_each_source_meets_its_constraints() -> None:
    sources = [draw(3, 30, (0.5, 0.3, 0.2)), draw(4, 20, (0.2, 0.5, 0.3))]
    target = draw(5, 25, (0.1, 0.3, 0.6))
    cost, y, origin = costs(sources, target)
    found = target_shift(cost, y, origin, 0.5, 5000, 1e-9)
    for k in (0, 1):
        part, of = 2 * found.plan[origin == k], y[origin == k]
        np.testing.assert_allclose(part.sum(0), uniform(25), rtol=1e-9)
        for c in range(3):
            np.testing.assert_allclose(np.ptp(part[of == c].sum(1)), 0, atol=1e-9)
    mass = [np.bincount(y[origin == k], found.plan[origin == k].sum(1)) for k in (0, 1)]
    np.testing.assert_allclose(*mass, atol=1e-9)


def test_no_other_shares_are_cheaper() -> None:
    """The mean entropic cost at given shares, by POT's Sinkhorn, is least at ours."""
    sources = [draw(6, 20, (0.5, 0.3, 0.2)), draw(7, 20, (0.2, 0.5, 0.3))]
    target = draw(8, 20, (0.1, 0.3, 0.6))
    cost, y, origin = costs(sources, target)
    found = target_shift(cost, y, origin, 1.0, 5000, 1e-10)
    best = np.bincount(y, found.plan.sum(1))

    def price(h: Any) -> float:
        total = 0.0
        for k in (0, 1):
            at = origin == k
            a = (h / np.bincount(y[at]))[y[at]]
            plan = ot.sinkhorn(a, uniform(20), cost[at], 1.0, numItermax=5000, stopThr=1e-12)
            total += float((plan * cost[at] + plan * (np.log(plan) - 1)).sum())
        return total

    least = price(best)
    rng = np.random.default_rng(0)
    for _ in range(5):
        step = 0.02 * rng.normal(size=3)
        h = np.abs(best + step - step.mean())
        assert price(h / h.sum()) > least


@pytest.mark.parametrize("count", [1, 2, 3])
def test_known_shares_are_found(count: int) -> None:
    shares: list[Shares] = [(0.4, 0.4, 0.2), (0.2, 0.3, 0.5), (0.6, 0.2, 0.2)]
    sources = tuple(draw(10 + i, 100, shares[i]) for i in range(count))
    target = draw(20, 200, (0.1, 0.2, 0.7), 0.3)
    adapted = JCPOT().adapt(Task(sources=sources, target=target))
    found = list(adapted.diagnostics["target_class_shares"].values())
    np.testing.assert_allclose(found, (0.1, 0.2, 0.7), atol=0.04)


@pytest.mark.parametrize("moves", ["labels", "rows"])
def test_a_shift_of_class_shares_does_not_mislead_it_as_it_does_plain_transport(moves: Any) -> None:
    sources = (draw(30, 150, (0.6, 0.3, 0.1)), draw(31, 150, (0.3, 0.6, 0.1)))
    target = draw(32, 200, (0.1, 0.1, 0.8), 1.0)
    task = Task(sources=sources, target=target)
    score = {
        s.name: (s.adapt(task).predict(target.x).argmax(1) == target.y).mean()
        for s in (OTSinkhorn(), OTLabelPropagation(), JCPOT(moves=moves))
    }
    assert score["jcpot"] > max(score["ot-sinkhorn"], score["ot-label-propagation"]) + 0.3


def test_a_class_that_the_target_lacks_is_found_to_be_gone() -> None:
    task = Task(sources=(draw(40, 90, (0.4, 0.3, 0.3)),), target=draw(41, 80, (0.5, 0.5, 0.0)))
    shares = JCPOT(reg=0.02).adapt(task).diagnostics["target_class_shares"]
    assert shares["c"] < 0.02


def test_the_order_of_the_sources_does_not_matter() -> None:
    sources = (draw(50, 60, (0.5, 0.3, 0.2)), draw(51, 40, (0.2, 0.5, 0.3)))
    target = draw(52, 50, (0.2, 0.2, 0.6))
    one, other = (
        JCPOT().adapt(Task(sources=s, target=target)).predict(target.x)
        for s in (sources, sources[::-1])
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_parts_have_every_class_of_every_source() -> None:
    """A class of five rows, in eight parts."""
    rare = draw(60, 100, (0.65, 0.3, 0.05))
    sources = (rare, draw(61, 100, (0.2, 0.4, 0.4)))
    target = draw(62, 160, (0.2, 0.2, 0.6))
    dense = Task(sources=sources, target=target)
    said: list[str] = []
    strategy = JCPOT(batches=Batches(size=25, rounds=2))
    adapted = strategy.adapt(dense, Run(say=said.append))
    assert "16 smaller ones" in said[0]
    found = list(adapted.diagnostics["target_class_shares"].values())
    np.testing.assert_allclose(found, (0.2, 0.2, 0.6), atol=0.05)


def test_csr_rows_do_as_dense_ones() -> None:
    sources = [draw(70, 60, (0.5, 0.3, 0.2)), draw(71, 40, (0.2, 0.5, 0.3))]
    target = draw(72, 50, (0.2, 0.2, 0.6))
    thin = [
        Labelled(name="s", schema=SCHEMA, x=sparse.csr_matrix(d.x), y=d.y)
        for d in (*sources, target)
    ]
    p = JCPOT().adapt(Task(sources=tuple(sources), target=target)).diagnostics
    q = JCPOT().adapt(Task(sources=tuple(thin[:2]), target=thin[2])).diagnostics
    assert p["target_class_shares"] == pytest.approx(q["target_class_shares"], abs=1e-4)


def test_a_source_that_lacks_a_class_is_refused_by_name() -> None:
    sources = (draw(80, 30, (0.4, 0.3, 0.3)), draw(81, 30, (0.5, 0.5, 0.0)))
    with pytest.raises(UnsupportedTask, match="d81 has no 'c'"):
        JCPOT().adapt(Task(sources=sources, target=draw(82, 30, (0.4, 0.3, 0.3))))


@pytest.mark.parametrize("setting", [{"reg": 0.0}, {"iterations": 0}, {"tolerance": 0.0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected"):
        JCPOT(**setting)
