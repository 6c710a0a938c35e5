from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus.learners.neural import Neural, fit_learner
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.adda import ADDA, Inverted, taken_for_source
from tiny import Tiny, batches

SHORT = Training(steps=60)


def adapted(steps: int = 20) -> tuple[TorchAdapted, Any]:
    task, heldout = table(0)
    got = ADDA(pretraining=SHORT, training=Training(steps=steps)).adapt(task)
    assert isinstance(got, TorchAdapted)
    return got, (task, heldout)


def test_the_source_keeps_the_network_that_learnt_it() -> None:
    got, (task, heldout) = adapted()
    alone = fit_learner(Neural(training=SHORT), task, Run())
    np.testing.assert_array_equal(got.for_source().predict(heldout.x), alone.predict(heldout.x))


def test_both_encoders_share_the_head_and_nothing_else_moves() -> None:
    got, _ = adapted()
    second, first = got.part, cast(TorchAdapted, got.for_source()).part
    assert isinstance(second, Network)
    assert isinstance(first, Network)
    for a, b in zip(second.head.parameters(), first.head.parameters(), strict=True):
        assert torch.equal(a, b)
    pairs = zip(second.encoder.parameters(), first.encoder.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_the_critic_learns_the_domains_and_the_encoder_the_opposite() -> None:
    torch.manual_seed(2)
    net, first = Tiny(), Tiny().requires_grad_(False)
    o = Inverted(cast(Any, first), 5).double()
    source, target = batches(6, 5)
    f_s = first.encode(source.x)

    def likely(f: Tensor) -> Tensor:
        return o.critic(f).sigmoid()

    steps = o(cast(Any, net), source, target, 0.5)
    critic = next(steps)
    f_t = net.encode(target.x).detach()
    wanted = -(likely(f_s).log().mean() + (1 - likely(f_t)).log().mean()) / 2
    assert critic.losses["critic"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert {id(p) for p in critic.only or ()} == {id(p) for p in o.critic.parameters()}
    with torch.no_grad():
        for p in o.critic.parameters():
            p.mul_(1.1)  # the encoder's step sees the critic that its own has left
    encoder = next(steps)
    wanted = -likely(net.encode(target.x)).log().mean()
    assert encoder.losses["domain"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert {id(p) for p in encoder.only or ()} == {id(p) for p in net.encoder.parameters()}
    assert next(steps, None) is None


def test_the_first_encoder_reads_the_source_as_deployed() -> None:
    """Its batch statistics and dropout stay put, though the loop trains the whole objective."""
    got, _ = adapted(2)
    first = cast(TorchAdapted, got.for_source()).part
    assert not any(m.training for m in first.modules())


def test_the_encoders_loss_survives_a_sure_critic() -> None:
    z = torch.tensor([[-200.0], [200.0]])
    assert taken_for_source(z).item() == pytest.approx(100.0)
    assert taken_for_source(torch.zeros(3, 1)).item() == pytest.approx(np.log(2), rel=1e-6)


def test_steps_are_logged_one_stage_after_the_other() -> None:
    seen: list[tuple[int, set[str]]] = []
    run = Run(log=lambda i, values: seen.append((i, set(values))))
    ADDA(pretraining=Training(steps=2), training=Training(steps=2)).adapt(table(0)[0], run)
    both = {"critic", "domain"}
    assert seen == [(0, {"task"}), (1, {"task"}), (2, both), (3, both)]


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="adda"):
        ADDA().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="critic_width=0"):
        ADDA(critic_width=0)
