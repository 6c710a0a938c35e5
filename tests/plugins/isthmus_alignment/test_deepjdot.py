from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.deepjdot import DeepJDOT, surprise, transported
from isthmus_alignment.deep.discrepancy import squared_distances
from tiny import slopes


def draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def test_the_best_plan_of_equal_samples_is_an_assignment() -> None:
    cost = draw(6, 6).square()
    wanted = cost.numpy()[linear_sum_assignment(cost.numpy())].mean()
    assert float(transported(cost)) == pytest.approx(wanted, rel=1e-12)
    least = min(sum(cost[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(6)))
    assert wanted == pytest.approx(float(least) / 6, rel=1e-12)


def test_samples_of_different_size_share_their_mass() -> None:
    """Two rows to one: each brings one half."""
    cost = torch.tensor([[1.0], [4.0]])
    assert float(transported(cost)) == pytest.approx(2.5)


def test_costs_are_the_definitions() -> None:
    a, b, z, y = draw(4, 3), draw(5, 3, 1), draw(5, 3, 2), torch.tensor([0, 2, 1, 2])
    assert torch.allclose(squared_distances(a, b), torch.cdist(a, b).square())
    assert torch.allclose(surprise(y, z), -z.softmax(1).log()[:, y].T)


def test_gradient_of_the_optimal_cost_by_finite_differences() -> None:
    """The plan is held: it is optimal, and so its own change counts for nothing."""
    f_s, f_t, z = draw(5, 3), draw(5, 3, 1), draw(5, 4, 2)
    y = torch.tensor([0, 1, 2, 3, 0])

    def value() -> Tensor:
        return transported(0.3 * squared_distances(f_s, f_t) + 0.7 * surprise(y, z))

    for leaf in (f_s, f_t, z):
        leaf.requires_grad_()
    value().backward()
    for leaf in (f_s, f_t, z):
        assert leaf.grad is not None
        for at, slope in slopes(leaf, value):
            assert float(leaf.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_the_loss_is_the_joint_cost_of_the_batch() -> None:
    """The batch is the whole of both domains, so its features can be found again."""
    task, _ = table(0)
    y, seen = torch.from_numpy(task.source.y), []

    def watch(net: Any, step: Any) -> None:
        x = [net.prepare(torch.from_numpy(d.x)) for d in (task.source, task.target)]
        with torch.no_grad():
            f_s, f_t = net.encode(torch.cat(x)).split(len(y))
            cost = 0.1 * torch.cdist(f_s, f_t).square() + 0.2 * surprise(y, net.head(f_t))
        at = linear_sum_assignment(cost.numpy())
        seen.append((float(step.losses["transport"].detach()), float(cost.numpy()[at].mean())))

    training = Training(steps=2, batch_size=len(y))
    DeepJDOT(feature_weight=0.1, label_weight=0.2, training=training).adapt(task, Run(watch=watch))
    assert len(seen) == 2
    np.testing.assert_allclose([s[0] for s in seen], [s[1] for s in seen], rtol=1e-4)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="deepjdot"):
        DeepJDOT().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="label_weight=-1"):
        DeepJDOT(label_weight=-1)
