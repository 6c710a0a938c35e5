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
from isthmus_alignment.sourcefree.aad import AaD, AttractDisperse, attraction, dispersion
from tiny import Tiny, batches, slopes

G = torch.Generator().manual_seed(0)
P = torch.rand(6, 3, generator=G).double().softmax(dim=1)


def bank(n: int = 9, neighbours: int = 2, decay: float = 5.0) -> AttractDisperse:
    g = torch.Generator().manual_seed(1)
    f = torch.randn(n, 4, generator=g).double()
    return AttractDisperse(f, f[:, :3].softmax(dim=1), neighbours, decay)


def test_the_terms_are_those_of_the_definition() -> None:
    near = P[torch.tensor([[1, 2], [0, 3], [4, 5], [0, 1], [2, 3], [1, 4]])]
    wanted = sum(float(P[i] @ near[i, k]) for i in range(6) for k in range(2)) / 6
    assert attraction(P, near).item() == pytest.approx(wanted)
    wanted = sum(float(P[i] @ P[j]) for i in range(6) for j in range(6) if i != j) / 6
    assert dispersion(P, torch.arange(6)).item() == pytest.approx(wanted)


def test_a_row_seen_twice_in_a_batch_is_not_driven_from_itself() -> None:
    same = torch.zeros(6, dtype=torch.int64)
    assert dispersion(P, same).item() == 0


def test_the_batch_is_stored_before_neighbours_are_sought() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    row = torch.tensor([8, 1, 4, 0, 7, 3])
    o = bank()
    (step,) = o(cast(Any, net), source, replace(target, row=row), 0.0)
    f = net.encode(target.x).detach()
    p = net.head(f).softmax(dim=1)
    assert torch.allclose(o.bank.features[row], f / f.norm(dim=1, keepdim=True))
    assert torch.allclose(o.bank.probabilities[row], p)
    near = o.bank.probabilities[o.bank.nearest(row, 2)]
    assert step.losses["attract"].item() == pytest.approx(-attraction(p, near).item())


def test_gradients_are_those_of_finite_differences_with_neighbours_held() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    target = replace(target, row=torch.arange(6))
    o = bank(neighbours=3)
    (step,) = o(cast(Any, net), source, target, 0.2)
    assert set(step.losses) == {"attract", "disperse"}
    loss = sum(step.losses.values(), start=torch.zeros(()))
    grad = torch.autograd.grad(loss, net.encoder.weight)[0].flatten()
    held = o.bank.probabilities[o.bank.nearest(torch.arange(6), 3)]

    def total() -> Tensor:
        p = net.head(net.encode(target.x)).softmax(dim=1)
        return -attraction(p, held) + 3.0**-5 * dispersion(p, target.row)

    for at, slope in slopes(net.encoder.weight, total):
        assert grad[at].item() == pytest.approx(slope, abs=1e-7)


def test_the_dispersing_term_fades_and_a_single_row_has_neither() -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    target = replace(target, row=torch.arange(6))

    def at(done: float) -> float:
        (step,) = bank()(cast(Any, net), source, target, done)
        return float(step.losses["disperse"].detach())

    assert at(1.0) == pytest.approx(at(0.0) * 11.0**-5)
    one = replace(target, x=target.x[:1], row=torch.zeros(1, dtype=torch.int64))
    (step,) = bank(n=1)(cast(Any, net), source, one, 0.0)
    assert [float(v.detach()) for v in step.losses.values()] == [0, 0]


def test_starts_from_the_model_and_leaves_it() -> None:
    task, _ = table(0)
    start = Neural(network=MLP(widths=(8,)), training=Training(steps=30)).fit_task(
        task, None, Run()
    )
    before = {k: v.clone() for k, v in start.part.state_dict().items()}
    adapted = AaD(training=Training(steps=10)).adapt(replace(task, sources=(), start=start))
    assert all(torch.equal(v, before[k]) for k, v in start.part.state_dict().items())
    moved = cast(TorchAdapted, adapted).part.state_dict()
    assert not torch.equal(moved["head.weight"], before["head.weight"])


def test_refuses_what_it_cannot_do() -> None:
    for broken in ({"neighbours": 0}, {"decay": -1.0}):
        with pytest.raises(BadInput, match=next(iter(broken))):
            AaD(**broken)  # type: ignore[arg-type]
