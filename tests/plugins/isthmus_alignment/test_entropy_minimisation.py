from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from isthmus import BadInput, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.entropy_minimisation import EntropyMinimisation, mean_entropy
from isthmus_alignment.deep.regularised import Regularised
from tiny import Tiny, batches, slopes


def test_losses_and_gradients_are_the_definition() -> None:
    net, (source, target) = Tiny(3), batches(6, 5, classes=3)

    def value() -> Any:
        task = net.loss(net.head(net.encode(source.x)), source.y, None)
        p = net.head(net.encode(target.x)).softmax(1)
        return (task - 0.3 * (p * p.log()).sum(1).mean()).item()

    objective = Regularised("entropy", mean_entropy, 0.3)
    (step,) = objective(cast(Any, net), source, target, 0.0)
    total = step.losses["task"] + step.losses["entropy"]
    total.backward()
    assert total.item() == pytest.approx(value())
    for p in net.parameters():
        assert p.grad is not None
        for at, slope in slopes(p, value):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_training_makes_the_target_certain() -> None:
    task, _ = table(0)

    def left(weight: float) -> float:
        strategy = EntropyMinimisation(weight=weight, training=Training(steps=100))
        p = torch.from_numpy(strategy.adapt(task).predict(task.target.x)).clamp_min(1e-12)
        return float(-(p * p.log()).sum(1).mean())

    assert left(1.0) < 0.7 * left(0.0)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="entropy-minimisation"):
        EntropyMinimisation().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="weight=-1"):
        EntropyMinimisation(weight=-1)
