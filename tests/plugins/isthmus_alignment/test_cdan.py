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
from isthmus_alignment.deep.cdan import CDAN, ConditionalAdversarial, MultilinearMap
from isthmus_alignment.deep.dann import DANN, ramp
from isthmus_alignment.deep.predictions import entropy
from tiny import Tiny, batches, slopes


def draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def objective(by_entropy: bool, weight: float = 0.7) -> ConditionalAdversarial:
    torch.manual_seed(2)
    return ConditionalAdversarial(MultilinearMap(4, 3, 8), 5, weight, by_entropy).double()


def test_all_products_carry_the_product_of_inner_products() -> None:
    f, p = draw(6, 5), draw(6, 3, 1).softmax(1)
    both = MultilinearMap(5, 3, 8)(f, p)
    assert torch.equal(both[2].view(5, 3), torch.outer(f[2], p[2]))
    assert torch.allclose(both @ both.T, (f @ f.T) * (p @ p.T))


def test_random_features_carry_it_in_the_mean() -> None:
    """Their error falls as 1 / sqrt(count)."""
    f, p = draw(6, 500), 3 * draw(6, 10, 1).softmax(1)
    torch.manual_seed(0)
    joint = MultilinearMap(500, 10, 40_000).double()
    both = joint(f, p)
    wanted = (f @ f.T) * (p @ p.T)
    assert both.shape == (6, 40_000)
    assert float((both @ both.T - wanted).norm() / wanted.norm()) < 0.05


@pytest.mark.parametrize(("features", "classes", "width"), [(409, 10, 4090), (410, 10, 1024)])
def test_more_than_4096_products_are_drawn_at_random_and_kept(
    features: int, classes: int, width: int
) -> None:
    joint = MultilinearMap(features, classes, 1024)
    assert joint.width == width
    assert set(joint.state_dict()) == ({"of_features", "of_classes"} if width == 1024 else set())
    assert not list(joint.parameters())
    assert joint(torch.zeros(2, features), torch.zeros(2, classes)).shape == (2, width)


@pytest.mark.parametrize("by_entropy", [False, True])
def test_gradients_are_those_of_the_minimax_surrogate(by_entropy: bool) -> None:
    """Predictions and their certainty held constant, the encoder descends task - rate * domain."""
    net, o, done = Tiny(3), objective(by_entropy), 0.3
    source, target = batches(6, 5, classes=3)
    (step,) = o(cast(Any, net), source, target, done)
    (step.losses["task"] + step.losses["domain"]).backward()
    p_s, p_t = (net.head(net.encode(b.x)).softmax(1).detach() for b in (source, target))
    w_s, w_t = (1 + torch.exp((p * p.log()).sum(1)) for p in (p_s, p_t))
    if not by_entropy:
        w_s, w_t = torch.ones(6).double(), torch.ones(5).double()

    def domain() -> Tensor:
        f_s, f_t = encode_both(cast(Any, net), source, target)
        z_s = o.critic(torch.einsum("bi,bj->bij", f_s, p_s).flatten(1)).squeeze(1)
        z_t = o.critic(torch.einsum("bi,bj->bij", f_t, p_t).flatten(1)).squeeze(1)
        of_source = -(w_s * z_s.sigmoid().log()).sum() / w_s.sum()
        return (of_source - (w_t * (1 - z_t.sigmoid()).log()).sum() / w_t.sum()) / 2

    def task() -> Tensor:
        return net.loss(net.head(net.encode(source.x)), source.y, None)

    assert step.losses["domain"].item() == pytest.approx(domain().item(), rel=1e-12)
    rate = 0.7 * ramp(done)
    for module, value in (
        (net.encoder, lambda: task() - rate * domain()),
        (net.head, task),
        (o.critic, domain),
    ):
        for p in module.parameters():
            assert p.grad is not None
            for at, slope in slopes(p, value, every=3):
                assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_mixed_precision_weighs_with_all_digits() -> None:
    z = 3 * draw(8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(entropy(z.float()).double(), entropy(z), atol=1e-6)
    net, o, (source, target) = Tiny(3), objective(True), batches(6, 6, classes=3)
    (full,) = o(cast(Any, net), source, target, 0.5)
    net, o = net.float(), o.float()
    source, target = (type(b)(x=b.x.float(), y=b.y) for b in (source, target))
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = o(cast(Any, net), source, target, 0.5)
    assert half.losses["domain"].dtype == torch.float32
    assert half.losses["domain"].item() == pytest.approx(full.losses["domain"].item(), rel=2e-2)


@pytest.mark.parametrize("by_entropy", [False, True])
def test_without_weight_it_is_dann_without_weight_to_the_bit(by_entropy: bool) -> None:
    (task, heldout), training = table(0), Training(steps=40)
    cdan = CDAN(weight=0.0, entropy=by_entropy, training=training).adapt(task)
    dann = DANN(weight=0.0, training=training).adapt(task)
    np.testing.assert_array_equal(cdan.predict(heldout.x), dann.predict(heldout.x))


def test_the_critic_is_no_part_of_the_artefact() -> None:
    adapted = CDAN(training=Training(steps=2)).adapt(table(0)[0])
    assert isinstance(adapted, TorchAdapted)
    assert not [k for k in adapted.part.state_dict() if "critic" in k or "joint" in k]


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="cdan"):
        CDAN().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="random_features=0"):
        CDAN(random_features=0)
