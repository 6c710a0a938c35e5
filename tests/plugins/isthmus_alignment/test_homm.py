from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput
from isthmus_alignment.deep.homm import HoMM, moment_tensor, squashed_tensor


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + shift


SUBSCRIPTS = {1: "ni->i", 2: "ni,nj->ij", 3: "ni,nj,nk->ijk", 4: "ni,nj,nk,nl->ijkl"}


def tensor(x: Tensor, order: int) -> np.ndarray:
    return np.einsum(SUBSCRIPTS[order], *[x.numpy()] * order) / len(x)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_is_the_mean_square_over_the_whole_tensor(order: int) -> None:
    a, b = draw(9, 5, 0), draw(7, 5, 1, 0.4)
    wanted = np.square(tensor(a, order) - tensor(b, order)).mean()
    assert float(moment_tensor(a, b, order)) == pytest.approx(wanted, rel=1e-10)


def test_is_what_the_papers_random_sampling_estimates() -> None:
    a, b = draw(9, 6, 2), draw(7, 6, 3, 0.4)
    index = np.random.default_rng(0).integers(6, size=(20_000, 3))
    moments = [x.numpy()[:, index].prod(2).mean(0) for x in (a, b)]
    sampled = np.square(moments[0] - moments[1]).mean()
    assert float(moment_tensor(a, b, 3)) == pytest.approx(sampled, rel=0.05)


def test_squashed_features_are_centred_as_the_authors_take_them() -> None:
    a, b = draw(9, 5, 4), draw(7, 5, 5, 0.4)
    u, v = (x.tanh() - x.tanh().mean(0) for x in (a, b))
    wanted = np.square(tensor(u, 3) - tensor(v, 3)).mean()
    assert float(squashed_tensor(a, b, 3)) == pytest.approx(wanted, rel=1e-10)


def test_equal_samples_have_none_and_rows_and_units_may_move() -> None:
    a, b = draw(9, 5, 6), draw(7, 5, 7, 0.4)
    assert float(squashed_tensor(a, a.flip(0), 3)) == pytest.approx(0.0, abs=1e-15)
    wanted = float(squashed_tensor(a, b, 3))
    assert float(squashed_tensor(b, a, 3)) == pytest.approx(wanted, rel=1e-10)
    moved = squashed_tensor(a.flip(0, 1), b.flip(0, 1), 3)
    assert float(moved) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("measure", [moment_tensor, squashed_tensor])
def test_gradient_is_that_of_finite_differences(measure) -> None:
    a, b = draw(5, 3, 8).requires_grad_(), draw(4, 3, 9, 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: measure(x, y, 3), (a, b))


def test_mixed_precision_keeps_its_digits() -> None:
    a, b = draw(30, 8, 10).float(), draw(30, 8, 11, 0.5).float()
    full = float(squashed_tensor(a, b, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(squashed_tensor(a, b, 3)) == pytest.approx(full, rel=1e-4)


def test_refuses_no_order() -> None:
    with pytest.raises(BadInput, match="homm: order=0"):
        HoMM(order=0)
