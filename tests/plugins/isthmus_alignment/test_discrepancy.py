from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from isthmus_alignment.deep.discrepancy import multi_kernel_mmd


def draw(n: int, d: int, shift: float, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g) + shift


def reference(a: Tensor, b: Tensor, kernels: int) -> float:
    """The definition, pair by pair: bandwidths 2^i / 4 of the mean squared distance."""
    union = [row.tolist() for row in (*a.double(), *b.double())]

    def square(u: Any, v: Any) -> float:
        return sum((p - q) ** 2 for p, q in zip(u, v, strict=True))

    total = len(union)
    mean = sum(square(u, v) for u in union for v in union) / (total * total - total)

    def kernel(u: Any, v: Any) -> float:
        return sum(math.exp(-square(u, v) / (mean / 4 * 2**i)) for i in range(kernels))

    s, t = union[: len(a)], union[len(a) :]
    within = sum(kernel(u, v) for u in s for v in s) / len(s) ** 2
    within += sum(kernel(u, v) for u in t for v in t) / len(t) ** 2
    return within - 2 * sum(kernel(u, v) for u in s for v in t) / (len(s) * len(t))


@pytest.mark.parametrize("kernels", [1, 3, 5])
def test_is_the_definition(kernels: int) -> None:
    a, b = draw(6, 3, 0.0, 0), draw(4, 3, 0.8, 1)
    got = multi_kernel_mmd(a, b, kernels)
    assert float(got) == pytest.approx(reference(a, b, kernels), abs=2e-6)


def test_equal_samples_have_none_in_any_order() -> None:
    a = draw(20, 4, 0.0, 2)
    assert float(multi_kernel_mmd(a, a.flip(0))) == pytest.approx(0.0, abs=1e-6)


def test_points_that_all_coincide_have_none() -> None:
    assert float(multi_kernel_mmd(torch.ones(3, 2), torch.ones(5, 2))) == 0.0


def test_grows_with_the_shift_and_is_symmetric() -> None:
    a = draw(40, 4, 0.0, 3)
    sizes = [float(multi_kernel_mmd(a, a + shift)) for shift in (0.1, 0.5, 2.0)]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    b = draw(25, 4, 1.0, 4)
    assert float(multi_kernel_mmd(a, b)) == pytest.approx(float(multi_kernel_mmd(b, a)), rel=1e-4)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_rotation_shift_and_scale_of_both_change_nothing(offset: float) -> None:
    """The offset is one that float32 products would not survive."""
    a, b = draw(30, 5, 0.0, 5), draw(20, 5, 0.7, 6)
    rotation = torch.linalg.qr(draw(5, 5, 0.0, 7))[0]
    moved = multi_kernel_mmd(3 * a @ rotation + offset, 3 * b @ rotation + offset)
    assert float(moved) == pytest.approx(float(multi_kernel_mmd(a, b)), rel=1e-3)


def test_gradient_holds_the_bandwidth_constant() -> None:
    """Finite differences of the definition with the bandwidth of the starting point."""
    a, b = draw(5, 2, 0.0, 8).double(), draw(4, 2, 0.6, 9).double()
    union = torch.cat([a, b])
    bandwidth = float(torch.cdist(union, union).square().sum() / (81 - 9) / 4)

    def fixed(a: Tensor) -> Tensor:
        def mean(x: Tensor, y: Tensor) -> Tensor:
            d = (x[:, None] - y[None]).square().sum(2)
            return torch.stack([torch.exp(-d / (bandwidth * 2**i)) for i in range(5)]).sum(0).mean()

        return mean(a, a) + mean(b, b) - 2 * mean(a, b)

    f = a.float().requires_grad_()
    multi_kernel_mmd(f, b.float()).backward()
    assert f.grad is not None
    for i in range(5):
        for j in range(2):
            step = torch.zeros_like(a)
            step[i, j] = 1e-5
            wanted = float(fixed(a + step) - fixed(a - step)) / 2e-5
            assert float(f.grad[i, j]) == pytest.approx(wanted, abs=1e-5)


def test_mixed_precision_keeps_its_digits() -> None:
    a, b = draw(30, 8, 4.0, 10), draw(30, 8, 4.3, 11)
    full = float(multi_kernel_mmd(a, b))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(multi_kernel_mmd(a, b)) == pytest.approx(full, rel=1e-5)
