from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.augment import Strong, Weak
from isthmus.learners.average import Average
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.selftraining.mean_teacher import MeanTeacher, SelfEnsembling, unbalance
from tiny import Tiny, batches, slopes

STILL = Weak(noise=0.0, shift=0.0)


def lesson(threshold: float) -> tuple[Tiny, SelfEnsembling, Any, Any]:
    """Return a student and a teacher who differ, and a batch of each domain."""
    net = Tiny(3)
    o = SelfEnsembling(Average(cast(Any, net), 0.9, live=True), STILL, 3.0, threshold, 0.05)
    with torch.no_grad():
        for p in o.teacher.net.parameters():
            p.mul_(1.7)
    return net, o, *batches(6, 7, classes=3)


def test_losses_and_gradients_are_the_definition() -> None:
    net, o, source, target = lesson(0.5)
    said = o.teacher.net.head(o.teacher.net.encode(target.x)).softmax(1).detach()
    sure = said.amax(1) > 0.5
    assert 0 < int(sure.sum()) < 7

    def value() -> Any:
        task = net.loss(net.head(net.encode(source.x)), source.y, None)
        p = net.head(net.encode(target.x)).softmax(1)
        mean = p.mean(0)
        even = -(mean.log() / 3 + 2 / 3 * (1 - mean).log()).sum()
        differ = ((p - said) ** 2)[sure].sum() / (7 * 3)
        return (task + 3 * (differ + 0.05 * even * sure.double().mean())).item()

    step = next(o(cast(Any, net), source, target, 0.5))
    total = step.losses["task"] + step.losses["teacher"]
    total.backward()
    assert total.item() == pytest.approx(value(), rel=1e-6)
    assert all(p.grad is None for p in o.teacher.parameters())
    for p in net.parameters():
        assert p.grad is not None
        for at, slope in slopes(p, value):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-7)


def test_the_teacher_follows_after_the_step() -> None:
    net, o, source, target = lesson(0.5)
    before = o.teacher.net.head.weight.detach().clone()
    steps = o(cast(Any, net), source, target, 0.5)
    next(steps)
    assert torch.equal(o.teacher.net.head.weight, before)
    assert next(steps, None) is None
    o.stepped(cast(Any, net))
    torch.testing.assert_close(o.teacher.net.head.weight, net.head.weight)  # the first average
    assert int(o.teacher.steps) == 1


def test_balance_is_smallest_where_classes_are_equally_likely() -> None:
    even = torch.full((4, 5), 0.2)
    assert float(unbalance(even)) == pytest.approx(
        5 * -(0.2 * math.log(0.2) + 0.8 * math.log(0.8)), rel=1e-5
    )
    balanced = torch.eye(5)  # certain, and balanced all the same
    assert float(unbalance(balanced)) == pytest.approx(float(unbalance(even)), rel=1e-5)
    assert float(unbalance(torch.eye(5)[[0] * 4])) > float(unbalance(even)) + 1


def test_the_teacher_is_deployed_with_its_own_statistics(tmp_path: Any) -> None:
    task, heldout = table(0)
    strategy = MeanTeacher(training=Training(steps=30))
    seen: list[Any] = []
    run = Run(checkpoint=tmp_path, watch=lambda net, step: seen.append(net))
    adapted = strategy.adapt(task, run)
    assert isinstance(adapted, TorchAdapted)
    state = load_file(tmp_path / "train.safetensors")
    for k, v in adapted.part.state_dict().items():
        assert torch.equal(v, state[f"module.objective.teacher.net.{k}"])
    steps = len(seen)
    again = strategy.adapt(task, run)  # finished: nothing is left to do
    assert len(seen) == steps
    np.testing.assert_array_equal(again.predict(heldout.x), adapted.predict(heldout.x))


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="mean-teacher"):
        MeanTeacher(training=Training(steps=1)).adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="decay=2"):
        MeanTeacher(decay=2)
    with pytest.raises(BadInput, match="weight=-1"):
        MeanTeacher(weight=-1, view=Strong())


def test_an_average_of_weights_beside_the_teacher_is_refused() -> None:
    with pytest.raises(BadInput, match="mean-teacher.*decay"):
        MeanTeacher(training=Training(ema=0.9))
