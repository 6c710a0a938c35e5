from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from isthmus import BadInput
from isthmus_alignment.deep.cmd import CMD, central_moments, squashed_moments


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, d, generator=g, dtype=torch.float64) + shift


@pytest.mark.parametrize("moments", [1, 2, 5])
def test_is_the_definition(moments: int) -> None:
    a, b = draw(9, 4, 0), draw(7, 4, 1, 0.3)
    gaps = [np.linalg.norm(a.numpy().mean(0) - b.numpy().mean(0))]
    for k in range(2, moments + 1):
        gap = stats.moment(a.numpy(), k) - stats.moment(b.numpy(), k)
        gaps.append(np.linalg.norm(gap))
    got = float(central_moments(a, b, moments))
    assert got == pytest.approx(sum(gaps), rel=1e-12)


def test_is_a_metric() -> None:
    a, b, c = draw(9, 4, 2), draw(7, 4, 3, 0.3), draw(8, 4, 4, -0.2)

    def far(x: Tensor, y: Tensor) -> float:
        return float(central_moments(x, y, 5))

    assert far(a, a.flip(0)) == pytest.approx(0.0, abs=1e-14)
    assert far(a, b) == pytest.approx(far(b, a), rel=1e-12)
    assert far(a, c) <= far(a, b) + far(b, c)


def test_a_shift_moves_the_mean_alone() -> None:
    a = draw(9, 4, 5)
    assert float(central_moments(a, a + 0.25, 5)) == pytest.approx(0.5, rel=1e-12)


def test_squashed_features_stay_in_the_interval_however_large() -> None:
    """Behind a ReLU the mean and each moment differ by at most 1 per unit."""
    a, b = 1e6 * draw(20, 9, 6), torch.zeros(20, 9, dtype=torch.float64)
    for moments in (1, 5):
        assert float(squashed_moments(a, b, moments)) <= 3.0 * moments


@pytest.mark.parametrize("measure", [central_moments, squashed_moments])
def test_gradient_is_that_of_finite_differences(measure) -> None:
    a, b = draw(5, 3, 7).requires_grad_(), draw(4, 3, 8, 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: measure(x, y, 5), (a, b))


def test_equal_samples_have_a_finite_gradient() -> None:
    a = draw(5, 3, 9).requires_grad_()
    squashed_moments(a, a.detach(), 5).backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_mixed_precision_keeps_its_digits() -> None:
    a, b = draw(30, 8, 10).float(), draw(30, 8, 11, 0.05).float()
    full = float(squashed_moments(a, b, 5))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(squashed_moments(a, b, 5)) == pytest.approx(full, rel=1e-5)


def test_refuses_no_moment() -> None:
    with pytest.raises(BadInput, match="cmd: moments=0"):
        CMD(moments=0)
