from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.bnm import BNM, nuclear_norm
from tiny import slopes


def draw(b: int, c: int, seed: int = 0) -> Tensor:
    z = 2 * torch.randn(b, c, generator=torch.Generator().manual_seed(seed))
    return z.double().softmax(1)


@pytest.mark.parametrize(("b", "c"), [(7, 3), (3, 7), (4, 4), (1, 5), (5, 1), (64, 10)])
def test_is_the_sum_of_the_singular_values(b: int, c: int) -> None:
    a = draw(b, c)
    assert float(nuclear_norm(a)) == pytest.approx(np.linalg.norm(a.numpy(), "nuc"), rel=1e-10)
    assert float(nuclear_norm(a.float())) == pytest.approx(float(nuclear_norm(a)), rel=1e-6)


@pytest.mark.parametrize(("b", "c"), [(5, 3), (3, 5), (4, 4)])
def test_gradient_by_finite_differences(b: int, c: int) -> None:
    a = draw(b, c).requires_grad_()
    nuclear_norm(a).backward()
    assert a.grad is not None
    for at, slope in slopes(a, lambda: np.linalg.norm(a.detach().numpy(), "nuc")):
        assert float(a.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-7)


def test_equal_singular_values_have_a_gradient_too() -> None:
    """That of a decomposition divides by their difference."""
    a = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])].requires_grad_()
    nuclear_norm(a).backward()
    assert a.grad is not None
    assert torch.allclose(a.grad, a.detach() / math.sqrt(2))


def test_directions_that_the_batch_lacks_get_no_gradient() -> None:
    a = (torch.tensor([[1.0], [2.0], [3.0]]) @ torch.tensor([[0.2, 0.3, 0.5]])).requires_grad_()
    nuclear_norm(a).backward()
    assert a.grad is not None
    assert torch.allclose(a.grad, a.detach() / a.detach().norm(), atol=1e-6)  # u v' alone
    zero = torch.zeros(3, 2, requires_grad=True)
    nuclear_norm(zero).backward()
    assert zero.grad is not None
    assert not zero.grad.any()


def test_is_largest_where_predictions_are_certain_and_balanced() -> None:
    """sqrt(min(b, c) b) there; sqrt(b / c) where all are uniform; sqrt(b) where all agree."""
    balanced = torch.eye(3)[torch.arange(12) % 3]
    assert float(nuclear_norm(balanced)) == pytest.approx(math.sqrt(3 * 12), rel=1e-6)
    assert float(nuclear_norm(torch.full((12, 3), 1 / 3))) == pytest.approx(2, rel=1e-6)
    assert float(nuclear_norm(torch.eye(3)[[0] * 12])) == pytest.approx(math.sqrt(12), rel=1e-6)
    assert all(float(nuclear_norm(draw(12, 3, seed))) < 6 for seed in range(10))


def test_rows_and_classes_may_be_renamed() -> None:
    a = draw(9, 4)
    for other in (a.flip(0), a.flip(1), a.T):
        assert float(nuclear_norm(other)) == pytest.approx(float(nuclear_norm(a)), rel=1e-12)


def test_mixed_precision_keeps_its_digits() -> None:
    a = draw(32, 10).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert float(nuclear_norm(a)) == pytest.approx(float(nuclear_norm(a.double())), rel=1e-6)


def test_training_raises_the_norm_on_the_target() -> None:
    task, _ = table(0)

    def reached(weight: float) -> float:
        p = BNM(weight=weight, training=Training(steps=100)).adapt(task).predict(task.target.x)
        return float(nuclear_norm(torch.from_numpy(p)))

    assert reached(2.0) > 1.01 * reached(0.0)


def test_the_logged_norm_is_weighted_and_negative() -> None:
    seen: list[float] = []
    for weight in (0.5, 1.0):
        run = Run(log=lambda step, values: seen.append(values["nuclear"]))
        BNM(weight=weight, training=Training(steps=1)).adapt(table(0)[0], run)
    assert seen[1] < 0
    assert seen[0] == pytest.approx(0.5 * seen[1], rel=1e-5)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="bnm"):
        BNM().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="weight=-1"):
        BNM(weight=-1)
