from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from isthmus import Run, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.discrepancy import multi_kernel_mmd
from isthmus_alignment.deep.jan import JAN, joint_mmd


def draw(n: int, d: int, shift: float, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + shift


def pair(n: int, shift: float, seed: int) -> tuple[Tensor, Tensor]:
    return draw(n, 4, shift, seed), 2 * draw(n, 3, 0.0, seed + 100)


def square(u: Any, v: Any) -> float:
    return sum((p - q) ** 2 for p, q in zip(u, v, strict=True))


def reference(source: Any, target: Any, kernels: int) -> float:
    """The definition, pair by pair: one kernel on features times one on class probabilities."""
    f = torch.cat([source[0], target[0]]).tolist()
    p = torch.cat([source[1], target[1]]).softmax(1).tolist()
    total, n = len(f), len(source[0])
    mean = sum(square(u, v) for u in f for v in f) / (total * total - total)

    def kernel(i: int, j: int) -> float:
        apart = square(f[i], f[j])
        on_features = sum(math.exp(-apart / (mean / 4 * 2**k)) for k in range(kernels))
        return on_features * math.exp(-square(p[i], p[j]) / (2 * 0.92**2))

    def average(rows: range, columns: range) -> float:
        return sum(kernel(i, j) for i in rows for j in columns) / (len(rows) * len(columns))

    s, t = range(n), range(n, total)
    return average(s, s) + average(t, t) - 2 * average(s, t)


@pytest.mark.parametrize("kernels", [1, 5])
def test_is_the_definition(kernels: int) -> None:
    source, target = pair(6, 0.0, 0), pair(4, 0.8, 1)
    got = joint_mmd(source, target, kernels)
    assert float(got) == pytest.approx(reference(source, target, kernels), abs=1e-12)


def test_equal_samples_have_none_in_any_order() -> None:
    f, z = pair(15, 0.0, 2)
    assert float(joint_mmd((f, z), (f.flip(0), z.flip(0)))) == pytest.approx(0.0, abs=1e-12)


def test_sees_labels_that_moved_where_the_margins_agree() -> None:
    """The same features and the same predictions, paired differently."""
    f, z = draw(40, 4, 0.0, 3), 5 * draw(40, 3, 0.0, 4)
    assert float(multi_kernel_mmd(f, f)) == pytest.approx(0.0, abs=1e-12)
    assert float(joint_mmd((f, z), (f, z.roll(1, 0)))) > 0.01


def test_equal_predictions_leave_the_mmd_of_features() -> None:
    f_s, f_t, z = draw(8, 4, 0.0, 5), draw(6, 4, 0.5, 6), torch.ones(1, 3, dtype=torch.float64)
    got = joint_mmd((f_s, z.expand(8, 3)), (f_t, z.expand(6, 3)))
    assert float(got) == pytest.approx(float(multi_kernel_mmd(f_s, f_t)), abs=1e-12)


def test_a_constant_added_to_the_logits_of_a_row_changes_nothing() -> None:
    (f, z), other = pair(9, 0.0, 7), pair(7, 0.5, 8)
    moved = z + torch.arange(9.0)[:, None]
    got, wanted = joint_mmd((f, moved), other), joint_mmd((f, z), other)
    assert float(got) == pytest.approx(float(wanted), abs=1e-12)


def test_gradient_reaches_features_and_logits_with_the_bandwidth_held() -> None:
    source, target = pair(5, 0.0, 9), pair(4, 0.6, 10)
    union = torch.cat([source[0], target[0]])
    bandwidth = float(torch.cdist(union, union).square().sum() / (81 - 9) / 4)

    def fixed(f: Tensor, z: Tensor) -> float:
        def mean(a: Any, b: Any) -> Tensor:
            d = (a[0][:, None] - b[0][None]).square().sum(2)
            e = (a[1].softmax(1)[:, None] - b[1].softmax(1)[None]).square().sum(2)
            k = torch.stack([torch.exp(-d / (bandwidth * 2**i)) for i in range(5)]).sum(0)
            return (k * torch.exp(-e / (2 * 0.92**2))).mean()

        s = (f, z)
        return float(mean(s, s) + mean(target, target) - 2 * mean(s, target))

    leaves = [x.clone().requires_grad_() for x in source]
    joint_mmd((leaves[0], leaves[1]), target).backward()
    for which, leaf in enumerate(leaves):
        assert leaf.grad is not None
        for at in range(leaf.numel()):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [x.clone() for x in source]
                moved[which].view(-1)[at] += step
                sides.append(fixed(*moved))
            slope = (sides[0] - sides[1]) / 2e-6
            assert float(leaf.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def test_mixed_precision_keeps_its_digits() -> None:
    source, target = pair(30, 4.0, 11), pair(30, 4.3, 12)
    single = [(f.float(), z.float()) for f, z in (source, target)]
    full = float(joint_mmd(*single))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(joint_mmd(*single)) == pytest.approx(full, rel=1e-5)


def test_the_weight_of_the_loss_grows_as_in_the_paper() -> None:
    """The batch is the whole of both domains, so its features can be found again."""
    task, _ = table(0)
    seen: list[tuple[float, float]] = []

    def watch(net: Any, step: Any) -> None:
        x = [net.prepare(torch.from_numpy(d.x)) for d in (task.source, task.target)]
        with torch.no_grad():
            f = net.encode(torch.cat(x)).split(len(x[0]))
            gap = joint_mmd(*((part, net.head(part)) for part in f))
        seen.append((float(step.losses["jmmd"].detach()), float(gap)))

    training = Training(steps=4, batch_size=len(task.source))
    JAN(weight=0.7, training=training).adapt(task, Run(watch=watch))
    for i, (loss, gap) in enumerate(seen):
        rate = 2 / (1 + math.exp(-10 * i / 4)) - 1
        assert loss == pytest.approx(0.7 * rate * gap, rel=1e-3, abs=1e-7)


def test_refuses_regression() -> None:
    with pytest.raises(UnsupportedTask, match="jan"):
        JAN().adapt(table_values(0)[0])
