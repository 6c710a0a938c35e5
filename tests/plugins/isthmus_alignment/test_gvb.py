from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training, encode_both
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.dann import ramp
from isthmus_alignment.deep.gvb import GVB, Bridged
from tiny import Tiny, batches, slopes


def objective() -> Bridged:
    torch.manual_seed(2)
    recipe = GVB(weight=0.7, bridge_weight=0.3, critic_bridge=0.4, critic_width=5)
    return Bridged(4, 3, recipe).double()


def test_gradients_are_those_of_the_definition() -> None:
    """The network descends task + bridges - rate (domain + critic's bridge), the critic the sum."""
    net, o, done = Tiny(3), objective(), 0.3
    source, target = batches(6, 5, classes=3)
    (step,) = o(cast(Any, net), source, target, done)
    sum(step.losses.values(), start=torch.zeros(())).backward()

    def logits() -> Tensor:
        f = torch.cat(encode_both(cast(Any, net), source, target))
        return net.head(f) - o.bridge(f)

    p = logits().softmax(1).detach()
    w = torch.exp((p * p.log()).sum(1))

    def game() -> tuple[Tensor, Tensor]:
        out = o.critic(logits().softmax(1))
        z = out[:, 0] - out[:, 1]
        of_source = -(w * z.sigmoid().log())[:6].sum() / w[:6].sum()
        of_target = -(w * (1 - z.sigmoid()).log())[6:].sum() / w[6:].sum()
        return (of_source + of_target) / 2, 0.4 * out[:, 1].abs().mean()

    def own() -> Tensor:
        f = torch.cat(encode_both(cast(Any, net), source, target))
        return net.loss(logits()[:6], source.y) + 0.3 * o.bridge(f).abs().mean()

    assert step.losses["domain"].item() == pytest.approx(game()[0].item(), rel=1e-12)
    assert step.losses["critic_bridge"].item() == pytest.approx(game()[1].item(), rel=1e-12)
    rate = 0.7 * ramp(done)
    for module, value in (
        (net.encoder, lambda: own() - rate * sum(game())),
        (net.head, lambda: own() - rate * sum(game())),
        (o.bridge, lambda: own() - rate * sum(game())),
        (o.critic, lambda: sum(game())),
    ):
        for q in module.parameters():
            assert q.grad is not None
            for at, slope in slopes(q, value, every=3):
                assert float(q.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_head_and_bridge_become_one_layer() -> None:
    net, o, f = Tiny(3), objective(), torch.randn(4, 4).double()
    wanted = net.head(f) - o.bridge(f)
    o.fold(net.head)
    assert torch.allclose(net.head(f), wanted)


def test_what_is_deployed_has_the_bridge_within() -> None:
    task, heldout = table(0)
    adapted = GVB(training=Training(steps=60)).adapt(task)
    assert isinstance(adapted, TorchAdapted)
    assert not [k for k in adapted.part.state_dict() if "bridge" in k or "critic" in k]
    assert float((adapted.predict(heldout.x).argmax(1) == heldout.y).mean()) > 0.9
    assert np.isfinite(adapted.predict(heldout.x)).all()


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="gvb"):
        GVB().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="bridge_weight=-1"):
        GVB(bridge_weight=-1)


def test_what_is_judged_on_the_way_is_what_would_be_deployed() -> None:
    o, net = objective(), Tiny(3)
    before = net.head.weight.detach().clone()
    f = torch.randn(5, 4, dtype=torch.float64)
    wanted = net.head(f) - o.bridge(f)
    torch.testing.assert_close(o.deployed(cast(Any, net)).head(f), wanted)
    assert torch.equal(net.head.weight, before)


def test_an_average_of_weights_is_refused() -> None:
    with pytest.raises(BadInput, match="gvb.*ema"):
        GVB(training=Training(ema=0.9))
