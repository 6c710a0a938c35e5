from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import BadInput, Run
from isthmus.artefact import TorchAdapted
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus_finetuning.fine_tune import FineTune
from isthmus_finetuning.l2sp import L2SP, StartingPoint

Started = Callable[..., tuple[Any, Any]]
Weights = Callable[..., dict[str, Any]]


def distance(a: dict[str, Any], b: dict[str, Any], names: list[str]) -> float:
    return float(sum((a[k] - b[k]).square().sum() for k in names)) ** 0.5


def trainable(task: Any) -> list[str]:
    return [k for k, _ in task.start.part.named_parameters() if k.startswith("encoder.")]


def moved(task: Any) -> tuple[Network, StartingPoint, Batch]:
    """Return a network away from its starting point, and a batch of the labelled rows."""
    net = task.start.part
    objective = StartingPoint(net, 0.3, 0.2)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    x = net.prepare(torch.from_numpy(task.support.x))
    return net, objective, Batch(x=x, y=torch.from_numpy(task.support.y))


def test_penalty_is_the_papers(started: Started, weights: Weights) -> None:
    task, _ = started()
    before = weights(task.start)
    net, objective, batch = moved(task)
    (step,) = objective(net, batch, batch, 0.0)
    plain = net.loss(net.head(net.encode(batch.x)), batch.y)
    head = sum(p.square().sum() for p in net.head.parameters())
    drift = distance(weights(task.start), before, trainable(task)) ** 2
    assert step.losses["drift"].item() == pytest.approx(0.3 / 2 * drift, rel=1e-5)
    assert step.losses["task"].item() == pytest.approx((plain + 0.2 / 2 * head).item(), rel=1e-5)


def test_gradient_of_the_penalty_is_pull_times_the_way_back(started: Started) -> None:
    task, _ = started()
    start = {k: p.detach().clone() for k, p in task.start.part.named_parameters()}
    net, objective, batch = moved(task)
    (step,) = objective(net, batch, batch, 0.0)
    net.zero_grad()
    step.losses["drift"].backward()
    for name, p in net.named_parameters():
        if name.startswith("encoder."):
            torch.testing.assert_close(p.grad, 0.3 * (p.detach() - start[name]))
        else:
            assert p.grad is None


def test_without_penalty_it_is_fine_tuning_to_the_bit(started: Started, weights: Weights) -> None:
    task, heldout = started(dropout=0.2)
    plain = weights(FineTune().adapt(task, Run(seed=2)))
    got = weights(L2SP(pull=0.0, head=0.0).adapt(task, Run(seed=2)))
    assert got.keys() == plain.keys()
    assert all(torch.equal(got[k], plain[k]) for k in got)


def constant(steps: int, lr: float) -> Training:
    """All 30 labelled rows in every batch: gradient descent without noise."""
    return Training(steps=steps, batch_size=30, lr=lr, weight_decay=0.0, schedule="constant")


def test_a_large_pull_keeps_the_starting_weights(started: Started, weights: Weights) -> None:
    task, _ = started()
    start, names = weights(task.start), trainable(task)

    def way(pull: float) -> float:
        training = constant(300, min(0.01, 0.5 / max(pull, 1e-9)))
        return distance(weights(L2SP(pull=pull, training=training).adapt(task)), start, names)

    free, held, fixed = way(0.0), way(100.0), way(10_000.0)
    assert held < 0.2 * free
    assert fixed < 0.03 * held


def test_ends_where_the_pull_balances_the_loss(started: Started, weights: Weights) -> None:
    """The gradient of the whole objective vanishes: pull (w - w_start) = -gradient of the loss."""
    task, _ = started()
    start, names = weights(task.start), trainable(task)
    adapted = L2SP(pull=10.0, head=1.0, training=constant(800, 0.03)).adapt(task)
    assert isinstance(adapted, TorchAdapted)
    net = adapted.part
    assert isinstance(net, Network)
    net.train().zero_grad()
    x = net.prepare(torch.from_numpy(task.support.x))
    net.loss(net.head(net.encode(x)), torch.from_numpy(task.support.y)).backward()
    found = dict(net.named_parameters())
    slope = torch.cat([found[k].grad.flatten() for k in names])  # type: ignore[union-attr]
    way = torch.cat([(found[k].detach() - start[k]).flatten() for k in names])
    assert (10 * way + slope).norm() < 0.01 * slope.norm()
    for p in net.head.parameters():
        torch.testing.assert_close(1.0 * p.detach(), -p.grad, rtol=0.01, atol=1e-3)  # type: ignore[operator]


def test_the_head_decays_to_zero_and_takes_the_predictions_along(started: Started) -> None:
    """A head of weight zero says what it knows of no row: every class is as likely."""
    task, heldout = started()
    training = Training(steps=600, lr=0.009, weight_decay=0.0, schedule="constant")
    p = L2SP(head=100.0, training=training).adapt(task).predict(heldout.x)
    np.testing.assert_allclose(p, 1 / 3, atol=0.05)


def test_a_new_head_forgets_the_old_one(started: Started) -> None:
    task, heldout = started()
    still = Training(steps=1, lr=1e-9, weight_decay=0.0)
    kept = L2SP(training=still).adapt(task).predict(heldout.x)
    fresh = L2SP(training=still, new_head=True).adapt(task).predict(heldout.x)
    assert (kept.argmax(1) == heldout.y).mean() > 0.8
    assert np.abs(fresh - kept).max() > 0.1


def test_the_start_is_left_unchanged(started: Started, weights: Weights) -> None:
    task, _ = started()
    before = weights(task.start)
    L2SP(new_head=True).adapt(task)
    after = weights(task.start)
    assert all(torch.equal(after[k], before[k]) for k in before)


def test_a_resumed_run_is_pulled_to_the_same_point(
    started: Started, weights: Weights, tmp_path: Any
) -> None:
    task, _ = started()
    whole = L2SP(training=Training(steps=100)).adapt(task)
    folder = tmp_path / "checkpoint"
    cut = Run(checkpoint=folder, checkpoint_every=0.0, budget=1e-9)
    strategy = L2SP(training=Training(steps=100))
    strategy.adapt(task, cut)
    again = strategy.adapt(task, replace(cut, budget=None))
    a, b = weights(whole), weights(again)
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("settings", [{"pull": 1000.0}, {"head": 400.0}, {"pull": -1.0}])
def test_refuses_a_pull_that_would_explode(settings: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="pull"):
        L2SP(**settings)  # type: ignore[arg-type]
    if min(settings.values()) > 0:  # Adam's steps are bounded
        L2SP(**settings, training=Training(optimiser="adam"))  # type: ignore[arg-type]
