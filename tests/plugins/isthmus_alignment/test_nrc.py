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
from isthmus_alignment.sourcefree.nrc import NRC, Reciprocal, agreement
from tiny import Tiny, batches, slopes


def made(n: int = 9, neighbours: int = 3, expanded: int = 2, affinity: float = 0.3) -> Reciprocal:
    g = torch.Generator().manual_seed(1)
    f = torch.randn(n, 4, generator=g).double()
    return Reciprocal(f, f[:, :3].softmax(dim=1), neighbours, expanded, affinity)


def nearest(o: Reciprocal, i: int, count: int) -> list[int]:
    f = o.bank.features
    others = [j for j in range(len(f)) if j != i]
    return sorted(others, key=lambda j: -float(f[i] @ f[j]))[:count]


def test_the_sums_are_those_of_the_definition() -> None:
    o, q = made(), made().bank.probabilities
    near, further = o.around(torch.arange(9))
    mutual = 0
    for i in range(9):
        wanted_near, wanted_further = torch.zeros(3).double(), torch.zeros(3).double()
        for k in nearest(o, i, 3):
            theirs = nearest(o, k, 2)
            mutual += i in theirs
            wanted_near += (1.0 if i in theirs else 0.3) * q[k]
            wanted_further += sum((0.3 * q[m] for m in theirs if m != i), 0 * q[0])
        assert torch.allclose(near[i], wanted_near)
        assert torch.allclose(further[i], wanted_further)
    assert 0 < mutual < 27  # both affinities were seen


def test_agreement_is_the_mean_dot_product() -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert agreement(p, p).item() == pytest.approx((1 + 0.5) / 2)


def test_the_batch_is_stored_before_neighbours_are_sought() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    target = replace(target, row=torch.tensor([8, 1, 4, 0, 7, 3]))
    o = made()
    next(o(cast(Any, net), source, target, 0.0))
    f = net.encode(target.x).detach()
    assert torch.allclose(o.bank.features[target.row], f / f.norm(dim=1, keepdim=True))
    assert torch.allclose(o.bank.probabilities[target.row], net.head(f).softmax(dim=1))


def test_gradients_are_those_of_finite_differences_with_the_bank_held() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    row = torch.arange(6)
    o = made()
    (step,) = o(cast(Any, net), source, replace(target, row=row), 0.2)
    assert set(step.losses) == {"neighbours", "expanded", "self", "diversity"}
    loss = sum(step.losses.values(), start=torch.zeros(()))
    grads = torch.autograd.grad(loss, [net.encoder.weight, net.head.weight])
    near, further = o.around(row)
    held = near + further + o.bank.probabilities[row]

    def total() -> Tensor:
        p = net.head(net.encode(target.x)).softmax(dim=1)
        mean = p.mean(dim=0)
        return -(p * held).sum(dim=1).mean() + (mean * mean.log()).sum()

    for weight, grad in zip((net.encoder.weight, net.head.weight), grads, strict=True):
        for at, slope in slopes(weight, total):
            assert grad.flatten()[at].item() == pytest.approx(slope, abs=1e-7)


def test_a_single_row_agrees_with_itself_alone() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    one = replace(target, x=target.x[:1], row=torch.zeros(1, dtype=torch.int64))
    (step,) = made(n=1)(cast(Any, net), source, one, 0.0)
    assert step.losses["neighbours"].item() == step.losses["expanded"].item() == 0
    assert step.losses["self"].item() < 0


def test_starts_from_the_model_and_leaves_it() -> None:
    task, _ = table(0)
    start = Neural(network=MLP(widths=(8,)), training=Training(steps=30)).fit_task(
        task, None, Run()
    )
    before = {k: v.clone() for k, v in start.part.state_dict().items()}
    adapted = NRC(training=Training(steps=10)).adapt(replace(task, sources=(), start=start))
    assert all(torch.equal(v, before[k]) for k, v in start.part.state_dict().items())
    moved = cast(TorchAdapted, adapted).part.state_dict()
    assert not torch.equal(moved["head.weight"], before["head.weight"])


def test_refuses_what_it_cannot_do() -> None:
    for broken in ({"neighbours": 0}, {"expanded": 0}, {"affinity": -1.0}):
        with pytest.raises(BadInput, match=next(iter(broken))):
            NRC(**broken)  # type: ignore[arg-type]
