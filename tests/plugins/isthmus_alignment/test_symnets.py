from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from isthmus import BadInput, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.dann import ramp
from isthmus_alignment.deep.symnets import Symmetric, SymNets, confusion, evidence
from tiny import Tiny, batches, slopes


def lesson() -> tuple[Tiny, Symmetric, Any, Any]:
    torch.manual_seed(2)
    o = Symmetric(4, 3, 0.6).double()
    return Tiny(3), o, *batches(6, 5, classes=3)


def both(net: Tiny, o: Symmetric, x: Tensor) -> Tensor:
    f = net.encode(x)
    return torch.cat([o.source(f), net.head(f)], dim=1).softmax(dim=1)


def test_evidence_is_the_logit_of_the_first_half() -> None:
    z = 3 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    share = z.softmax(dim=1)[:, :3].sum(dim=1)
    torch.testing.assert_close(evidence(z).sigmoid(), share)
    torch.testing.assert_close(evidence(z.roll(3, dims=1)), -evidence(z))
    assert confusion(torch.zeros(4)).item() == pytest.approx(math.log(2))
    assert confusion(evidence(z)).item() == pytest.approx(
        -(share.log() + (1 - share).log()).mean().item() / 2
    )


def test_each_step_moves_only_what_it_should_and_sees_what_was_moved() -> None:
    net, o, source, target = lesson()
    parts = {"encoder": net.encoder, "head": net.head, "source": o.source}
    seen = []
    for step in o(cast(Any, net), source, target, 0.5):
        if "category" in step.losses:
            p = both(net, o, source.x)
            now = -(p[range(6), source.y].log() + p[range(6), source.y + 3].log()).mean() / 2
            assert step.losses["category"].item() == pytest.approx(now.item())
        before = {k: m.weight.detach().clone() for k, m in parts.items()}
        assert step.only is not None
        total = sum(step.losses.values(), start=torch.zeros(()))
        for q, g in zip(step.only, torch.autograd.grad(total, [*step.only]), strict=True):
            q.data.sub_(0.1 * g)
        moved = {k for k, m in parts.items() if not torch.equal(m.weight, before[k])}
        seen.append((set(step.losses), moved))
    assert seen == [
        ({"task", "domains"}, {"head", "source"}),
        ({"category", "confusion", "entropy"}, {"encoder"}),
    ]


def test_gradients_are_those_of_finite_differences_of_the_definition() -> None:
    net, o, source, target = lesson()
    rate, y = 0.6 * ramp(0.3), source.y

    def told() -> Tensor:
        """What the heads minimise: equations 3 to 5 of the paper."""
        f = net.encode(source.x)
        p_s, p_t = both(net, o, source.x), both(net, o, target.x)
        alone = [h(f).softmax(dim=1)[range(6), y].log().mean() for h in (o.source, net.head)]
        return (
            -alone[0] - alone[1] - p_s[:, :3].sum(1).log().mean() - p_t[:, 3:].sum(1).log().mean()
        )

    def confused() -> Tensor:
        """What the encoder minimises: equations 6 to 8."""
        p_s, p_t = both(net, o, source.x), both(net, o, target.x)
        category = -(p_s[range(6), y].log() + p_s[range(6), y + 3].log()).mean() / 2
        halves = -(p_t[:, :3].sum(1).log() + p_t[:, 3:].sum(1).log()).mean() / 2
        q = p_t[:, :3] + p_t[:, 3:]
        return category + rate * (halves - (q * q.log()).sum(dim=1).mean())

    steps = o(cast(Any, net), source, target, 0.3)
    for wanted, weights in (
        (told, (net.head.weight, o.source.weight)),
        (confused, [net.encoder.weight]),
    ):
        step = next(steps)
        loss = sum(step.losses.values(), start=torch.zeros(()))
        assert loss.item() == pytest.approx(wanted().item())
        for weight in weights:
            (grad,) = torch.autograd.grad(loss, weight, retain_graph=True)
            for at, slope in slopes(weight, wanted):
                assert grad.flatten()[at].item() == pytest.approx(slope, abs=1e-7)


def test_the_heads_learn_nothing_into_the_encoder() -> None:
    net, o, source, target = lesson()
    step = next(o(cast(Any, net), source, target, 0.3))
    loss = step.losses["task"] + step.losses["domains"]
    assert torch.autograd.grad(loss, net.encoder.weight, allow_unused=True) == (None,)


def test_the_head_of_the_target_alone_is_deployed() -> None:
    task, heldout = table(0)
    adapted = SymNets(training=Training(steps=60)).adapt(task)
    assert isinstance(adapted, TorchAdapted)
    assert not [k for k in adapted.part.state_dict() if "source" in k]
    assert (adapted.predict(heldout.x).argmax(axis=1) == heldout.y).mean() > 0.8


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="symnets"):
        SymNets().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="weight=-1"):
        SymNets(weight=-1)
