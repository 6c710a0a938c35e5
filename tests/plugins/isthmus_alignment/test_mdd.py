from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import BadInput, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.dann import DANN, ramp
from isthmus_alignment.deep.mdd import MDD, MarginDisparity, unlike
from tiny import Tiny, batches, slopes


def objective(weight: float = 0.7, margin: float = 4.0) -> MarginDisparity:
    torch.manual_seed(2)
    return MarginDisparity(4, 3, weight, margin).double()


def test_unlike_is_the_definition_and_keeps_what_a_difference_would_lose() -> None:
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    p = z.softmax(1)[torch.arange(6), y]
    assert unlike(z, y).item() == pytest.approx(-(1 - p).log().mean().item(), rel=1e-10)
    sure = torch.tensor([[90.0, 0.0]], requires_grad=True)  # 1 - p is 0 in single precision
    loss = unlike(sure, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(90.0)
    assert sure.grad is not None
    assert sure.grad.tolist() == [[1.0, -1.0]]


def test_each_part_moves_only_as_the_paper_says() -> None:
    """Encoder: task - rate * disparity; head: the task alone; auxiliary head: the disparity."""
    net, o, done = Tiny(3), objective(), 0.3
    source, target = batches(6, 5, classes=3)
    (step,) = o(cast(Any, net), source, target, done)
    (step.losses["task"] + step.losses["disparity"]).backward()
    y_s, y_t = (net.head(net.encode(b.x)).argmax(1) for b in (source, target))

    def disparity() -> Tensor:
        agree = F.cross_entropy(o.auxiliary(net.encode(source.x)), y_s)
        p = o.auxiliary(net.encode(target.x)).softmax(1)[torch.arange(5), y_t]
        return 4 * agree - (1 - p).log().mean()

    def task() -> Tensor:
        return net.loss(net.head(net.encode(source.x)), source.y, None)

    assert step.losses["disparity"].item() == pytest.approx(disparity().item(), rel=1e-12)
    rate = 0.7 * ramp(done)
    for module, value in (
        (net.encoder, lambda: task() - rate * disparity()),
        (net.head, task),
        (o.auxiliary, disparity),
    ):
        for p in module.parameters():
            assert p.grad is not None
            for at, slope in slopes(p, lambda: value().item()):
                assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_the_best_auxiliary_head_is_confident_up_to_the_margin() -> None:
    """Where domains coincide, its probability of the head's class tends to margin/(1 + margin)."""
    p = torch.linspace(0.01, 0.99, 981, dtype=torch.float64)
    z = torch.stack([p.log(), (1 - p).log()], dim=1)
    for margin in (1.0, 4.0):
        values = margin * -p.log() + torch.stack(
            [unlike(row[None], torch.tensor([0])) for row in z]
        )
        assert float(p[values.argmin()]) == pytest.approx(margin / (1 + margin), abs=1e-3)


def test_mixed_precision_takes_logarithms_with_all_digits() -> None:
    net, o = Tiny(3).float(), objective().float()
    source, target = (type(b)(x=b.x.float(), y=b.y) for b in batches(6, 6, classes=3))
    (full,) = o(cast(Any, net), source, target, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = o(cast(Any, net), source, target, 0.5)
    assert half.losses["disparity"].dtype == torch.float32
    wanted = full.losses["disparity"].item()
    assert half.losses["disparity"].item() == pytest.approx(wanted, rel=2e-2)
    assert math.isfinite(wanted)


def test_without_weight_it_is_dann_without_weight_to_the_bit() -> None:
    (task, heldout), training = table(0), Training(steps=40)
    mdd = MDD(weight=0.0, training=training).adapt(task)
    dann = DANN(weight=0.0, training=training).adapt(task)
    np.testing.assert_array_equal(mdd.predict(heldout.x), dann.predict(heldout.x))


def test_the_auxiliary_head_is_no_part_of_the_artefact() -> None:
    adapted = MDD(training=Training(steps=2)).adapt(table(0)[0])
    assert isinstance(adapted, TorchAdapted)
    assert not [k for k in adapted.part.state_dict() if "auxiliary" in k]


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="mdd"):
        MDD().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="margin=0"):
        MDD(margin=0)
