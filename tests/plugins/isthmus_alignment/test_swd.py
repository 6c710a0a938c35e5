from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance
from torch import Tensor

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.swd import SWD, sliced_wasserstein
from tiny import slopes


def draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def lines(d: int, k: int) -> Tensor:
    return F.normalize(draw(d, k, 9), dim=0)


def test_is_the_cost_of_the_best_assignment_on_each_line() -> None:
    from scipy.optimize import linear_sum_assignment

    a, b, u = draw(7, 3), draw(7, 3, 1), lines(3, 5)
    wanted = 0.0
    for k in range(5):
        cost = ((a @ u[:, k])[:, None] - (b @ u[:, k])[None]).square().numpy() / 7
        wanted += cost[linear_sum_assignment(cost)].sum() / 5
    assert float(sliced_wasserstein(a, b, u)) == pytest.approx(wanted, rel=1e-12)


def test_points_on_a_line_agree_with_scipy() -> None:
    """Samples that are ordered alike: every pair is as far apart as the distance says."""
    a = draw(9, 1)
    got = float(sliced_wasserstein(a, a + 0.7, torch.ones(1, 1).double()))
    assert got == pytest.approx(wasserstein_distance(a[:, 0], a[:, 0] + 0.7) ** 2, rel=1e-9)


def test_the_same_sample_in_another_order_has_none() -> None:
    p = draw(8, 4).softmax(1)
    assert float(sliced_wasserstein(p, p.flip(0), lines(4, 6))) == 0
    assert float(sliced_wasserstein(p, p.roll(1, 1), lines(4, 6))) > 1e-4


def test_a_shift_costs_its_square_over_the_dimension() -> None:
    """The mean of cos² between a vector and the lines of all directions is 1 / d."""
    p, shift = draw(8, 3), torch.tensor([0.3, -0.2, 0.6]).double()
    got = float(sliced_wasserstein(p, p + shift, lines(3, 20_000)))
    assert got == pytest.approx(float(shift.square().sum()) / 3, rel=0.05)


def test_gradient_by_finite_differences() -> None:
    a, b, u = draw(6, 3).requires_grad_(), draw(6, 3, 1), lines(3, 4)
    sliced_wasserstein(a, b, u).backward()
    assert a.grad is not None
    for at, slope in slopes(a, lambda: sliced_wasserstein(a.detach(), b, u)):
        assert float(a.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_mixed_precision_compares_with_all_digits() -> None:
    a, b, u = draw(20, 5).softmax(1), draw(20, 5, 1).softmax(1), lines(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        got = sliced_wasserstein(a.float(), b.float(), u.float())
    assert float(got) == pytest.approx(float(sliced_wasserstein(a, b, u)), rel=1e-5)


def test_heads_part_and_the_encoder_mends_it() -> None:
    task, _ = table(0)
    seen: list[dict[str, Any]] = []
    log = Run(log=lambda i, values: seen.append(dict(values)))
    SWD(encoder_steps=2, training=Training(steps=3)).adapt(task, log)
    assert [set(v) for v in seen] == 3 * [{"task", "apart", "discrepancy"}]
    assert all(v["apart"] < 0 < v["discrepancy"] for v in seen)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="swd"):
        SWD().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="projections=0"):
        SWD(projections=0)
