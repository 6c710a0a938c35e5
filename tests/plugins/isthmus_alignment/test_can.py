from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.can import CAN, Contrastive, contrastive_discrepancy
from isthmus_alignment.deep.discrepancy import multi_kernel_mmd
from tiny import slopes


def draw(n: int, d: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + shift


Y_S, Y_T = torch.tensor([0, 2, 3, 2, 0, 3]), torch.tensor([3, 0, 2, 2])


def reference(layers: Any, y_s: Any, y_t: Any, means: list[float] | None = None) -> float:
    """The definition, class pair by class pair and row pair by row pair."""
    tables = [torch.cat(pair).tolist() for pair in layers]
    y, n = [*y_s.tolist(), *y_t.tolist()], len(y_s)

    def square(u: Any, v: Any) -> float:
        return sum((a - b) ** 2 for a, b in zip(u, v, strict=True))

    if means is None:
        size = len(y) ** 2 - len(y)
        means = [sum(square(u, v) for u in f for v in f) / size for f in tables]

    def kernel(i: int, j: int) -> float:
        apart = [square(f[i], f[j]) for f in tables]
        return sum(
            math.exp(-d / (m / 4 * 2**k))
            for d, m in zip(apart, means, strict=True)
            for k in range(5)
        )

    def mean(rows: list[int], columns: list[int]) -> float:
        return sum(kernel(i, j) for i in rows for j in columns) / (len(rows) * len(columns))

    classes, same, other = sorted(set(y)), 0.0, 0.0
    for a in classes:
        for b in classes:
            s = [i for i in range(n) if y[i] == a]
            t = [j for j in range(n, len(y)) if y[j] == b]
            value = mean(s, s) + mean(t, t) - 2 * mean(s, t)
            same, other = (same + value, other) if a == b else (same, other + value)
    k = len(classes)
    return same / k - other / (k * (k - 1))


def test_is_the_definition() -> None:
    f = draw(6, 3), draw(4, 3, 0.5, 1)
    p = draw(6, 4, 0.0, 2).softmax(1), draw(4, 4, 0.0, 3).softmax(1)
    got = float(contrastive_discrepancy([f, p], Y_S, Y_T))
    assert got == pytest.approx(reference([f, p], Y_S, Y_T), abs=1e-12)


def test_domains_that_agree_are_only_held_apart() -> None:
    """Minus the mean MMD between classes; and so the less, the farther these are apart."""
    f, y = draw(12, 3), torch.arange(12) // 6
    f = f + 3 * y[:, None]
    got = float(contrastive_discrepancy([(f, f)], y, y))
    union = multi_kernel_mmd(f[:6], f[6:])  # its bandwidth sees each row once, not twice
    assert got == pytest.approx(-float(union), rel=0.1)
    assert got < 0 < float(contrastive_discrepancy([(f, f)], y, 1 - y))


def test_gradient_by_finite_differences() -> None:
    f_s, f_t = draw(6, 3), draw(4, 3, 0.5, 1)
    union = torch.cat([f_s, f_t])
    mean = float(torch.cdist(union, union).square().sum() / 90)
    for leaf in (f_s.requires_grad_(), f_t.requires_grad_()):
        contrastive_discrepancy([(f_s, f_t)], Y_S, Y_T).backward()
        assert leaf.grad is not None
        wanted = leaf.grad.clone()
        f_s.grad = f_t.grad = None
        value = lambda: reference([(f_s.detach(), f_t.detach())], Y_S, Y_T, [mean])  # noqa: E731
        for at, slope in slopes(leaf, value, every=2):
            assert float(wanted.view(-1)[at]) == pytest.approx(slope, abs=1e-8)


def objective(**changes: Any) -> tuple[Contrastive, Any]:
    task, heldout = table(0)
    recipe = CAN(training=Training(steps=10, batch_size=12), **changes)
    made = Contrastive(task.target, torch.device("cpu"), recipe)
    made.given([task.source])
    return made, (task, heldout)


def test_batches_hold_as_many_rows_of_each_class_in_both_domains() -> None:
    o, (task, heldout) = objective()
    labels = torch.from_numpy(heldout.y[: len(task.target)])  # any
    o.rows.copy_(torch.arange(len(labels)))
    o.cluster.copy_(torch.where(torch.arange(len(labels)) < 90, labels, -1))
    torch.manual_seed(0)
    y, s, t = o._draw(o._members())
    assert y.bincount().tolist() == [4, 4, 4]
    np.testing.assert_array_equal(task.source.y[s], y)
    np.testing.assert_array_equal(labels[t], y)
    assert len({*s.tolist()}) == 12  # no row twice while there are others
    assert t.max() < 90


def test_classes_that_few_target_rows_have_wait() -> None:
    o, _ = objective()
    o.cluster[:9] = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, -1])
    assert [*o._members()] == [0, 2]


def test_the_first_interval_learns_the_source_and_clusters_follow() -> None:
    task, heldout = table(0)
    seen: list[tuple[int, set[str]]] = []
    run = Run(log=lambda i, values: seen.append((i, set(values))))
    training = Training(steps=60, batch_size=32)
    adapted = CAN(rounds=3, radius=0.2, training=training).adapt(task, run)
    assert all(names == {"task"} for i, names in seen if i < 15)
    assert all(names == {"task", "contrast"} for i, names in seen if i >= 15)
    assert adapted.diagnostics["clusters"]["classes"] == 3
    assert 0.5 < adapted.diagnostics["clusters"]["labelled"] <= 1
    assert isinstance(adapted, TorchAdapted)
    assert not any(m.training for m in adapted.part.modules())


@pytest.mark.parametrize("rounds", [1, 3, 7])
def test_the_target_is_clustered_as_often_as_asked(rounds: int, monkeypatch: Any) -> None:
    calls, relabel = [], Contrastive._relabel

    def counted(self: Contrastive, net: Any) -> None:
        calls.append(1)
        relabel(self, net)

    monkeypatch.setattr(Contrastive, "_relabel", counted)
    training = Training(steps=20, batch_size=8, accumulate=2)
    CAN(rounds=rounds, training=training).adapt(table(0)[0])
    assert len(calls) == rounds


def test_rows_held_out_for_a_validator_are_not_drawn(monkeypatch: Any) -> None:
    seen = []
    monkeypatch.setattr(Contrastive, "found", lambda self: seen.append(len(self.y)) or {})
    task, _ = table(0)
    CAN(training=Training(steps=12, validator="source-risk")).adapt(task)
    assert seen == [len(task.source) - round(0.1 * len(task.source))]


def test_a_radius_of_nothing_labels_nothing() -> None:
    adapted = CAN(radius=0.0, training=Training(steps=12)).adapt(table(0)[0])
    assert adapted.diagnostics["clusters"] == {"classes": 0, "labelled": 0.0}


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="can"):
        CAN().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="rounds=0"):
        CAN(rounds=0)
