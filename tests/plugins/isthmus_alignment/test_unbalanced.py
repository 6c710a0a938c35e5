from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.transport.coupling import entropic
from isthmus_alignment.transport.entropic import OTSinkhorn
from isthmus_alignment.transport.unbalanced import OTUnbalanced

SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b"))


def clusters(seed: int, places: Any, n: int = 60) -> Labelled:
    rng = np.random.default_rng(seed)
    which = rng.integers(0, len(places), n)
    x = np.array([p[:2] for p in places])[which] + 0.3 * rng.normal(size=(n, 2))
    y = np.array([p[2] for p in places])[which]
    return Labelled(name="c", schema=SCHEMA, x=x.astype(np.float32), y=y)


A, B, FAR = (0, 0, 0), (3, 0, 1), (30, 30, 0)


def test_large_weights_of_the_marginals_make_it_ot_sinkhorn() -> None:
    source, target = clusters(0, [A, B]), clusters(1, [A, B])
    task = Task(sources=(source,), target=target)
    relaxed = OTUnbalanced(relax=1e7, tolerance=1e-9).adapt(task).for_source().observe(source.x)[0]
    met = OTSinkhorn(tolerance=1e-9).adapt(task).for_source().observe(source.x)[0]
    np.testing.assert_allclose(relaxed, met, atol=1e-3)


def test_an_outlying_cluster_of_the_source_is_left_out() -> None:
    """It has no counterpart: balanced transport would force it, label and all, onto the target."""
    source, target = clusters(0, [A, B, FAR], 150), clusters(1, [A, B], 100)
    task = Task(sources=(source,), target=target)
    solved = OTUnbalanced(relax=0.1)
    found: dict[str, float] = {}
    for strategy in (OTSinkhorn(), solved):
        p = strategy.adapt(task).predict(target.x).argmax(1)
        found[strategy.name] = float((p == target.y).mean())
    assert found["ot-unbalanced"] > 0.98
    assert found["ot-sinkhorn"] < 0.95


def test_the_mass_of_near_rows_exceeds_that_of_far_ones() -> None:
    cost = np.square(np.array([[0.0], [0.1], [3.0]]) - np.array([0.0, 0.2]))
    mass = entropic(cost, 0.1, relax=0.5).plan.sum(1)
    assert mass[2] < 0.01 * mass[0]


def test_says_when_it_did_not_converge() -> None:
    said: list[str] = []
    task = Task(sources=(clusters(0, [A, B]),), target=clusters(1, [A, B]))
    OTUnbalanced(iterations=1).adapt(task, Run(say=said.append))
    assert "stopped at its iteration limit" in said[0]


@pytest.mark.parametrize("setting", [{"reg": 0.0}, {"relax": 0.0}, {"iterations": 0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected a number above 0"):
        OTUnbalanced(**setting)
