from __future__ import annotations

import math

import pytest
import torch

from isthmus_alignment.deep.predictions import divergence, entropy, full
from tiny import slopes


def test_only_half_precision_changes_its_type() -> None:
    kinds = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    wanted = [torch.float32, torch.float32, torch.float32, torch.float64]
    assert [full(torch.ones(1, dtype=kind)).dtype for kind in kinds] == wanted


def test_entropy_is_the_definition_also_at_the_ends() -> None:
    z = torch.tensor([[0.0, 0, 0, 0], [1e4, 0, 0, 0], [0, math.log(3), -1e9, -1e9]])
    wanted = [math.log(4), 0.0, -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))]
    assert entropy(z).tolist() == pytest.approx(wanted, abs=1e-6)


def test_gradient_of_the_entropy() -> None:
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    entropy(z).sum().backward()
    assert z.grad is not None
    for at, slope in slopes(z, lambda: entropy(z).sum()):
        assert float(z.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_certain_predictions_have_a_finite_gradient() -> None:
    z = torch.tensor([[1e4, 0.0, -1e9]], requires_grad=True)
    entropy(z).sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def test_divergence_is_the_definition_and_none_between_equals() -> None:
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert divergence(p, p).item() == 0
    assert divergence(p, q).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
