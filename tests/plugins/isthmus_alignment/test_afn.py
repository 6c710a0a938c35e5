from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.afn import AFN, hard, norms, stepwise
from isthmus_alignment.deep.regularised import Regularised
from tiny import Tiny, batches, slopes


def features(n: int = 5, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0)).double()


def test_a_step_is_worth_its_square_and_pulls_each_row_outwards() -> None:
    f = features().requires_grad_()
    loss = stepwise(f, 0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.09)
    x = f.detach()
    assert f.grad is not None
    assert torch.allclose(f.grad, -2 * 0.3 / 5 * x / x.norm(dim=1, keepdim=True))


def test_gradients_by_finite_differences() -> None:
    f = features().requires_grad_()
    wanted = f.detach().norm(dim=1) + 0.3
    values: list[tuple[Any, Any]] = [
        (lambda: stepwise(f, 0.3), lambda: (f.detach().norm(dim=1) - wanted).square().mean()),
        (lambda: hard(f, 25.0), lambda: (f.detach().norm(dim=1).mean() - 25) ** 2),
    ]
    for loss, fixed in values:
        assert loss().item() == pytest.approx(float(fixed()))
        (grad,) = torch.autograd.grad(loss(), f)
        for at, slope in slopes(f, fixed):
            assert float(grad.view(-1)[at]) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("penalty", [lambda f: stepwise(f, 1.0), lambda f: hard(f, 25.0)])
def test_a_row_of_zeros_has_a_finite_gradient(penalty: Any) -> None:
    """As a rectified layer may give it."""
    f = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    penalty(f).backward()
    assert f.grad is not None
    assert bool(f.grad.isfinite().all())
    assert not f.grad[0].any()


def test_each_domain_has_a_mean_of_its_own() -> None:
    net, (source, target) = Tiny(), batches(6, 4)
    term = partial(norms, penalty=lambda f: hard(f, 25.0))
    (step,) = Regularised("norm", term, 0.05)(cast(Any, net), source, target, 0.0)
    r_s, r_t = (net.encode(b.x).norm(dim=1).mean().item() for b in (source, target))
    wanted = 0.05 * ((r_s - 25) ** 2 + (r_t - 25) ** 2)
    assert step.losses["norm"].item() == pytest.approx(wanted)


def test_norms_keep_their_digits_in_half_precision() -> None:
    f = features(64, 256)
    with torch.autocast("cpu", torch.bfloat16):
        half = hard(f.bfloat16(), 0.0)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(hard(f, 0.0).item(), rel=1e-3)


def test_norms_grow_or_meet_the_radius() -> None:
    task, _ = table(0)

    def norm(**settings: Any) -> float:
        adapted = AFN(training=Training(steps=100), **settings).adapt(task)
        assert isinstance(adapted, TorchAdapted)
        net = adapted.part
        assert isinstance(net, Network)
        with torch.no_grad():
            x = torch.from_numpy(np.asarray(task.target.x))
            return float(net.encode(net.prepare(x)).norm(dim=1).mean())

    free = norm(weight=0.0)
    assert norm(weight=0.5) > 1.2 * free
    assert 1.3 * free < norm(hard=True, radius=2 * free) < 2.2 * free


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="afn"):
        AFN().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="step=0"):
        AFN(step=0)
