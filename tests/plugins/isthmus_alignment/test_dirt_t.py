from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from isthmus import BadInput, Run
from isthmus.artefact import TorchAdapted
from isthmus.learners import MLP, Neural, Training
from isthmus.testing.domains import table
from isthmus_alignment.deep.dirt_t import DIRTT, Refinement
from isthmus_alignment.deep.virtual import virtual_divergence
from tiny import Tiny, batches, slopes

RECIPE = DIRTT(certainty=0.4, weight=0.7, radius=0.5, refreshes=2, training=Training(ema=0.5))


def lesson() -> tuple[Tiny, Refinement, Any, Any]:
    """Return a student and a teacher who differ, and a batch of each domain."""
    net = Tiny(3)
    o = Refinement(cast(Any, net), RECIPE)
    for average in (o.average, o.teacher):
        for p in average.net.parameters():
            p.data.mul_(1.7)
    return net, o, *batches(6, 6, classes=3)


def moved(net: Tiny, step: Any) -> None:
    """Take a step of gradient descent."""
    total = sum(step.losses.values(), start=torch.zeros(()))
    params = [*net.parameters()]
    for p, g in zip(params, torch.autograd.grad(total, params), strict=True):
        p.data.sub_(0.5 * g)


def test_losses_and_gradients_are_the_definition() -> None:
    net, o, source, target = lesson()
    said = o.teacher.net.head(o.teacher.net.encode(target.x)).softmax(dim=1).detach()
    torch.manual_seed(3)
    step = next(o(cast(Any, net), source, target, 0.0))
    torch.manual_seed(3)
    vat = virtual_divergence(cast(Any, net), target.x, 0.5).mean()
    p = net.head(net.encode(target.x)).softmax(dim=1)
    wanted = {
        "entropy": -0.4 * (p * p.log()).sum(dim=1).mean(),
        "smooth": 0.4 * vat,
        "teacher": 0.7 * (said * (said / p).log()).sum(dim=1).mean(),
    }
    assert list(step.losses) == list(wanted)
    for name, value in wanted.items():
        assert step.losses[name].item() == pytest.approx(value.item(), rel=1e-9)
    loss = step.losses["entropy"] + step.losses["teacher"]
    (grad,) = torch.autograd.grad(loss, net.encoder.weight)

    def total() -> Tensor:
        p = net.head(net.encode(target.x)).softmax(dim=1)
        near = (said * (said / p).log()).sum(dim=1).mean()
        return -0.4 * (p * p.log()).sum(dim=1).mean() + 0.7 * near

    for at, slope in slopes(net.encoder.weight, total):
        assert grad.flatten()[at].item() == pytest.approx(slope, abs=1e-7)


def test_the_source_and_its_labels_are_not_read() -> None:
    net, o, source, target = lesson()
    torch.manual_seed(3)
    one = next(o(cast(Any, net), source, target, 0.0)).losses
    empty = replace(source, x=source.x[:0], y=source.y[:0])
    torch.manual_seed(3)
    other = next(o(cast(Any, net), empty, target, 0.0)).losses
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in other.items()}


def test_the_teacher_stands_between_refreshes_and_then_is_the_average() -> None:
    net, o, source, target = lesson()
    taught = []
    for i in range(4):
        steps = o(cast(Any, net), source, target, i / 4)
        average = o.average.net.head.weight.clone()
        step = next(steps)
        taught.append(o.teacher.net.head.weight.clone())
        if i in (0, 2):
            assert torch.equal(taught[-1], average)
        moved(net, step)
        assert next(steps, None) is None
        o.stepped(cast(Any, net))
        assert not torch.equal(o.average.net.head.weight, average)
    assert torch.equal(taught[0], taught[1])
    assert torch.equal(taught[2], taught[3])
    assert not torch.equal(taught[1], taught[2])
    assert not any(p.requires_grad for p in o.parameters())


def started() -> tuple[Any, TorchAdapted]:
    task, _ = table(0)
    network = MLP(widths=(8,))
    start = Neural(network=network, training=Training(steps=30)).fit_task(task, None, Run())
    return replace(task, sources=(), start=start), start


def test_starts_from_the_model_and_leaves_it() -> None:
    task, start = started()
    before = {k: v.clone() for k, v in start.part.state_dict().items()}
    adapted = cast(TorchAdapted, DIRTT(training=Training(steps=5)).adapt(task))
    assert all(torch.equal(v, before[k]) for k, v in start.part.state_dict().items())
    assert not torch.equal(adapted.part.state_dict()["head.weight"], before["head.weight"])


def test_the_average_of_the_weights_is_deployed() -> None:
    """With few steps it is their mean; the teacher, who hears of it, weighs nothing here."""
    task, _ = started()
    seen: list[Tensor] = []
    run = Run(watch=lambda net, step: seen.append(net.head.weight.detach().clone()))
    mean, last = (
        cast(
            TorchAdapted,
            DIRTT(weight=0.0, training=Training(steps=5, ema=ema)).adapt(task, run),
        ).part.state_dict()["head.weight"]
        for ema in (0.9, None)
    )
    assert torch.equal(seen[4], seen[9])  # the same steps
    torch.testing.assert_close(5 * mean, sum(seen[1:5], start=last))


def test_predictions_of_the_target_become_certain() -> None:
    task, start = started()
    recipe = DIRTT(training=replace(DIRTT().training, steps=60, lr=0.01))
    adapted = recipe.adapt(task)
    p, q = (a.predict(task.target.x) for a in (start, adapted))
    assert q.max(axis=1).mean() > p.max(axis=1).mean()


def test_refuses_what_it_cannot_do() -> None:
    for broken in ({"weight": -1.0}, {"refreshes": 0}):
        with pytest.raises(BadInput, match=next(iter(broken))):
            DIRTT(**broken)  # type: ignore[arg-type]
