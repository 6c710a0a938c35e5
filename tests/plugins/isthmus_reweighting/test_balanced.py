from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus import BadInput, Run, Task
from isthmus.learners import Linear
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly
from isthmus_reweighting.balanced import BalancedWeighting


def made(kind: str) -> tuple[Task, np.ndarray]:
    task, heldout = MAKERS[kind](0)
    return task, heldout.x


@pytest.mark.parametrize("kind", ["table", "table:values"])
def test_the_ends_are_source_only_and_target_only(kind: str) -> None:
    """But for the size of the penalty, which is measured in rows: all of them are counted."""
    task, x = made(kind)
    assert task.support is not None
    n, m = len(task.source), len(task.support)
    penalty = Linear(penalty=1e-3)
    for share, rows, other in ((0.0, n, SourceOnly), (1.0, m, TargetOnly)):
        same = other(learner=Linear(penalty=1e-3 * rows / (n + m)))
        got = BalancedWeighting(share=share, learner=penalty).adapt(task).predict(x)
        np.testing.assert_allclose(got, same.adapt(task).predict(x), atol=2e-2)


def test_rows_count_alike_at_their_own_share() -> None:
    task, x = made("table")
    assert task.support is not None
    n, m = len(task.source), len(task.support)
    pooled = replace(task, sources=(task.source, task.support)).source
    wanted = Linear().fit(pooled.x, pooled.y, None, pooled.schema, Run()).predict(x)
    got = BalancedWeighting(share=m / (n + m)).adapt(task).predict(x)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_repeating_the_target_rows_is_the_same_as_their_weight() -> None:
    task, x = made("table:values")
    assert task.support is not None
    n, m = len(task.source), len(task.support)
    assert n == 5 * m
    repeated = replace(task, sources=(task.source, *[task.support] * 5)).source
    learner = Linear(penalty=2.0)  # the weights below sum to 180, these rows to 300
    wanted = learner.fit(repeated.x, repeated.y, None, repeated.schema, Run()).predict(x)
    weighted = BalancedWeighting(share=0.5, learner=Linear(penalty=2.0 * 180 / 300))
    np.testing.assert_allclose(weighted.adapt(task).predict(x), wanted, atol=1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(BadInput, match="share"):
        BalancedWeighting(share=share)
