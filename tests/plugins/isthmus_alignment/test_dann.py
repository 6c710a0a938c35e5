from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus import Labelled, Run, Schema, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import MLP
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.dann import DANN, DomainAdversarial, Reverse
from tiny import Tiny, batches, slopes


def objective(weight: float) -> DomainAdversarial:
    torch.manual_seed(2)
    return DomainAdversarial(4, 5, weight).double()


def losses(net: Tiny, o: DomainAdversarial, source: Batch, target: Batch, done: float) -> Any:
    (step,) = o(cast(Any, net), source, target, done)
    return step.losses


def test_reversal_is_the_identity_forwards_and_minus_rate_backwards() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    upstream = torch.randn(4, 3)
    y = Reverse.apply(x, 0.3)
    assert torch.equal(y, x)
    y.backward(upstream)
    assert x.grad is not None
    assert torch.equal(x.grad, -0.3 * upstream)


@pytest.mark.parametrize(("n_source", "n_target", "graph"), [(6, 6, False), (9, 3, True)])
def test_each_domain_counts_one_half_of_the_binary_cross_entropy(
    n_source: int, n_target: int, graph: bool
) -> None:
    net, o = Tiny(), objective(1.0)
    source, target = batches(n_source, n_target, graph=graph)
    f_s, f_t = encode_both(cast(Any, net), source, target)
    z_s, z_t = o.critic(f_s).squeeze(1), o.critic(f_t).squeeze(1)
    wanted = -(z_s.sigmoid().log().mean() + (1 - z_t.sigmoid()).log().mean()) / 2
    got = losses(net, o, source, target, 0.5)["domain"]
    assert got.item() == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize(("n_source", "n_target", "graph"), [(6, 6, False), (9, 3, True)])
def test_gradients_are_those_of_the_minimax_surrogate(
    n_source: int, n_target: int, graph: bool
) -> None:
    """The encoder descends task - rate * domain, the critic domain, by finite differences."""
    net, o, done = Tiny(), objective(0.7), 0.2
    source, target = batches(n_source, n_target, graph=graph)
    rate = 0.7 * (2 / (1 + math.exp(-2)) - 1)
    values = losses(net, o, source, target, done)
    (values["task"] + values["domain"]).backward()

    def check(p: nn.Parameter, of_task: float, of_domain: float) -> None:
        assert p.grad is not None

        def value() -> float:
            v = losses(net, o, source, target, done)
            return (of_task * v["task"] + of_domain * v["domain"]).item()

        for at, slope in slopes(p, value, every=3):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)

    for p in net.encoder.parameters():
        check(p, 1.0, -rate)
    for p in net.head.parameters():
        check(p, 1.0, 0.0)
    for p in o.critic.parameters():
        check(p, 0.0, 1.0)


@pytest.mark.parametrize(("done", "rate"), [(0.0, 0.0), (0.5, 0.9866142982), (1.0, 0.9999092043)])
def test_the_reversal_grows_as_in_the_paper(done: float, rate: float) -> None:
    """2 / (1 + exp(-10 p)) - 1, read off the encoder's gradient of the domain loss."""
    source, target = batches(6, 6)

    def gradient(weight: float) -> Tensor:
        net, o = Tiny(), objective(weight)
        losses(net, o, source, target, done)["domain"].backward()
        assert net.encoder.weight.grad is not None
        return net.encoder.weight.grad

    net, o = Tiny(), objective(1.0)
    f = torch.cat(encode_both(cast(Any, net), source, target))
    truth = torch.cat([torch.ones(6), torch.zeros(6)]).double()
    F.binary_cross_entropy_with_logits(o.critic(f).squeeze(1), truth).backward()
    plain = net.encoder.weight.grad
    assert plain is not None
    assert torch.allclose(gradient(1.0), -rate * plain, atol=1e-9)
    assert torch.allclose(gradient(0.25), -rate * plain / 4, atol=1e-9)


class Joint(Objective):
    """Source-only training that sees the batch statistics of both domains, as DANN does."""

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, _ = encode_both(net, source, target)
        yield Step({"task": net.loss(net.head(f_s), source.y, source.weight)})


@pytest.mark.parametrize("make", [table, table_values], ids=["classes", "values"])
def test_without_weight_it_is_source_only_to_the_bit(make: Any) -> None:
    (task, heldout), training = make(0), Training(steps=60)
    dann = DANN(weight=0.0, training=training).adapt(task)
    alone = adapt_network(task, Run(), MLP(), training, lambda net: Joint())
    np.testing.assert_array_equal(dann.predict(heldout.x), alone.predict(heldout.x))


def test_training_hides_the_domain() -> None:
    """A column that tells the domains apart, and nothing else, disappears from the features."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    schema = Schema(kind="table", shape=(4,), classes=("a", "b"))
    y = np.arange(300) % 2
    domains = []
    for mark in (-2.0, 2.0):
        x = rng.normal(size=(300, 4))
        x[:, 0] += 4 * y
        x[:, 3] += mark
        domains.append(Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y))
    x, side = np.concatenate([d.x for d in domains]), np.repeat([0, 1], 300)
    task = Task(sources=(domains[0],), target=domains[1])

    def told_apart(weight: float) -> float:
        training = Training(steps=2000, lr=0.05)
        adapted = DANN(weight=weight, network=MLP(widths=(16,)), training=training).adapt(task)
        assert isinstance(adapted, TorchAdapted)
        net = adapted.part
        assert isinstance(net, Network)
        with torch.no_grad():
            features = net.encode(net.prepare(torch.from_numpy(x))).numpy()
        features /= features.std()
        return float(LogisticRegression(max_iter=5000).fit(features, side).score(features, side))

    assert told_apart(0.0) > 0.9
    assert told_apart(1.0) < 0.75


def test_the_critic_is_no_part_of_the_artefact() -> None:
    task, _ = table(0)
    adapted = DANN(training=Training(steps=2)).adapt(task)
    assert isinstance(adapted, TorchAdapted)
    assert not [k for k in adapted.part.state_dict() if "critic" in k]
