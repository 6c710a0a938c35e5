from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.emd import OTEMD
from isthmus_alignment.transport.entropic import OTSinkhorn

SCHEMA = Schema(kind="table", shape=(3,), classes=("a", "b"))


def draw(seed: int, n: int, shift: float = 0.0) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 3)) + 2.5 * y[:, None] + shift
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y)


def moved(adapted: Any, source: Labelled) -> Any:
    return adapted.for_source().observe(source.x)[0]


def test_the_source_moves_as_pots() -> None:
    source, target = draw(0, 60), draw(1, 70, 1.5)
    adapted = OTSinkhorn(tolerance=1e-10).adapt(Task(sources=(source,), target=target))
    x_s, x_t = source.x.astype(float), target.x.astype(float)
    cost = ot.dist(x_s, x_t)
    a, b = np.full(60, 1 / 60), np.full(70, 1 / 70)
    plan = ot.sinkhorn(a, b, cost / np.median(cost), 0.1, numItermax=10**5, stopThr=1e-12)
    np.testing.assert_allclose(moved(adapted, source), 60 * plan @ x_t, atol=1e-4)


def test_the_unit_of_the_columns_does_not_matter() -> None:
    """The entropy is weighed in median costs: an absolute weight would underflow here."""
    source, target = draw(2, 60), draw(3, 50, 1.5)
    task = Task(sources=(source,), target=target)
    big = [Labelled(name="b", schema=SCHEMA, x=d.x * 1024, y=d.y) for d in (source, target)]
    adapted = OTSinkhorn().adapt(Task(sources=(big[0],), target=big[1]))
    np.testing.assert_allclose(
        moved(adapted, big[0]) / 1024, moved(OTSinkhorn().adapt(task), source), atol=1e-4
    )


def test_a_strong_entropy_moves_every_row_to_the_mean() -> None:
    source, target = draw(4, 40), draw(5, 50, 1.5)
    adapted = OTSinkhorn(reg=1e5).adapt(Task(sources=(source,), target=target))
    wanted = np.tile(target.x.mean(0), (40, 1))
    np.testing.assert_allclose(moved(adapted, source), wanted, atol=1e-3)


def test_a_weak_entropy_does_as_ot_emd() -> None:
    source, target = draw(6, 25), draw(7, 25, 1.5)
    task = Task(sources=(source,), target=target)
    weak = OTSinkhorn(reg=1e-3, iterations=10**5).adapt(task)
    np.testing.assert_allclose(moved(weak, source), moved(OTEMD().adapt(task), source), atol=0.02)


def test_says_when_it_did_not_converge() -> None:
    said: list[str] = []
    task = Task(sources=(draw(8, 50),), target=draw(9, 50, 1.0))
    found = OTSinkhorn(reg=0.001, iterations=3).adapt(task, Run(say=said.append)).diagnostics
    assert "stopped at its iteration limit" in said[0]
    assert found["transport"]["marginal_error"] > 1e-3


def test_large_domains_are_coupled_in_parts() -> None:
    """Above 4,000 rows no matrix of all pairs is made."""
    said: list[str] = []
    source, target = draw(10, 4500), draw(11, 4200, 1.5)
    strategy = OTSinkhorn(batches=Batches(rounds=1), tolerance=1e-3)
    adapted = strategy.adapt(Task(sources=(source,), target=target), Run(say=said.append))
    assert "smaller ones" in said[0]
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.9


@pytest.mark.parametrize("setting", [{"reg": 0.0}, {"iterations": 0}, {"tolerance": -1.0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected a number above 0"):
        OTSinkhorn(**setting)
