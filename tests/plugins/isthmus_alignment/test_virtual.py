from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from isthmus_alignment.deep.virtual import _sized, virtual_divergence
from tiny import Tiny, batches, slopes


def divergence(net: Tiny, x: Tensor, radius: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return virtual_divergence(cast(Any, net), x, radius)


def test_finds_the_direction_that_changes_predictions_most() -> None:
    """Against all directions of a fine grid on the sphere: close to the worst, above the mean."""
    net, x, radius = Tiny(3), batches(5, 5)[0].x, 0.05
    g = torch.Generator().manual_seed(3)
    r = nn.functional.normalize(torch.randn(4000, 3, generator=g).double(), dim=1)
    with torch.no_grad():
        log_p = net.head(net.encode(x)).log_softmax(1)
        moved = x[:, None] + radius * 3**0.5 * r
        log_q = net.head(net.encode(moved)).log_softmax(2)
        kl = (log_p.exp()[:, None] * (log_p[:, None] - log_q)).sum(2)
    found = torch.stack([divergence(net, x, radius, seed).detach() for seed in range(5)])
    assert (found.max(0).values > 0.9 * kl.max(1).values).all()
    assert (found <= kl.max(1).values * 1.02).all()


def test_grows_with_the_square_of_a_small_radius_and_ends_at_none() -> None:
    net, x = Tiny(3), batches(5, 5)[0].x
    small, double = (divergence(net, x, r).sum().item() for r in (1e-3, 2e-3))
    assert double / small == pytest.approx(4, rel=0.02)
    assert divergence(net, x, 0.0).abs().max().item() == pytest.approx(0.0, abs=1e-12)


def test_gradient_holds_the_clean_prediction_and_the_perturbation() -> None:
    net, x = Tiny(3), batches(4, 4)[0].x
    kept: dict[str, Tensor] = {}
    encode = net.encode

    def spy(at: Tensor) -> Tensor:
        kept["last"] = at.detach()
        return encode(at)

    net.encode = spy  # type: ignore[method-assign]
    divergence(net, x, 0.3).sum().backward()
    net.encode = encode  # type: ignore[method-assign]
    worst = kept["last"]
    assert (worst - x).square().mean(1).sqrt().tolist() == pytest.approx([0.3] * 4)
    with torch.no_grad():
        log_p = net.head(net.encode(x)).log_softmax(1)

    def value() -> Tensor:
        log_q = net.head(net.encode(worst)).log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum()

    for p in net.parameters():
        assert p.grad is not None
        for at, slope in slopes(p, value, every=2):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_dropout_and_running_statistics_stay_as_they_are() -> None:
    net = Tiny(3)
    net.encoder = nn.Sequential(  # type: ignore[assignment]
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
    ).double()
    x = batches(6, 6)[0].x
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    one, other = (divergence(net, x, 1e-6, seed) for seed in (0, 1))
    assert one.max().item() < 1e-9  # two masks would differ by far more
    assert other.max().item() < 1e-9
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert all(m.training for m in net.modules())
    assert net.encoder[1].momentum == 0.1  # type: ignore[index]


def test_an_instance_whose_squares_underflow_does_not_become_huge() -> None:
    x = torch.tensor([[1e-25, -1e-25], [3.0, 4.0], [0.0, 0.0]])
    found = _sized(x, 2.0)
    assert float(found[0].abs().max()) < 2.0
    torch.testing.assert_close(found[1:], torch.tensor([[1.2, 1.6], [0.0, 0.0]]) * 2**0.5)
