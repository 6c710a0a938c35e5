from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from isthmus import BadInput, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table_values
from isthmus_alignment.selftraining.atdoc import ATDOC, Aggregation, Memory, agree
from tiny import Tiny, batches, slopes

G = torch.Generator().manual_seed(0)


def filled(n: int = 12, width: int = 4, classes: int = 3) -> Memory:
    memory = Memory(n, width, classes).double()
    f, z = (torch.randn(n, k, generator=G, dtype=torch.float64) for k in (width, classes))
    memory.store(torch.arange(n), f, z)
    return memory


def test_predictions_are_stored_sharper_and_balanced() -> None:
    memory = Memory(5, 4, 3).double()
    z = torch.randn(4, 3, generator=G, dtype=torch.float64)
    memory.store(torch.tensor([4, 0, 1, 3]), 7 * torch.ones(4, 4, dtype=torch.float64), z)
    p = z.softmax(1)
    torch.testing.assert_close(memory.predictions[[4, 0, 1, 3]], p**2 / (p**2).sum(0))
    torch.testing.assert_close(memory.features[0], torch.full((4,), 0.5, dtype=torch.float64))
    assert not memory.predictions[2].any()


def test_neighbours_are_those_of_sorted_angles_without_the_row_itself() -> None:
    memory = filled()
    row, f = torch.tensor([3, 7]), torch.randn(2, 4, generator=G, dtype=torch.float64)
    q = memory.recall(row, f, 3)
    for i in range(2):
        alike = F.cosine_similarity(f[i : i + 1], memory.features).numpy()
        order = [j for j in np.argsort(-alike) if j != int(row[i])][:3]
        torch.testing.assert_close(q[i], memory.predictions[order].mean(0))


def test_rows_not_seen_yet_support_no_class() -> None:
    memory = Memory(9, 4, 3).double()
    f = torch.ones(2, 4, dtype=torch.float64)
    assert not memory.recall(torch.tensor([0, 1]), f, 5).any()
    memory.store(torch.tensor([0]), f[:1], torch.zeros(1, 3, dtype=torch.float64))
    q = memory.recall(torch.tensor([0, 1]), f, 5)
    assert not q[0].any()
    torch.testing.assert_close(q[1], memory.predictions[0] / 5)
    z = torch.zeros(2, 3, dtype=torch.float64)
    assert agree(z, torch.zeros(2, 3)).item() == 0


def test_losses_and_gradients_are_the_definition() -> None:
    net, (source, target) = Tiny(3), batches(6, 5, classes=3)
    target = replace(target, row=torch.tensor([2, 0, 9, 5, 11]))
    memory = filled()
    with torch.no_grad():
        f = net.encode(target.x)
        q = memory.recall(target.row, f, 4)

    def value() -> Any:
        z = net.head(net.encode(target.x))
        task = net.loss(net.head(net.encode(source.x)), source.y, None)
        w, y = q.max(1)
        own = -(w * z.log_softmax(1)[torch.arange(5), y]).sum() / w.sum()
        return (task + 0.3 * 0.5 * own).item()

    steps = Aggregation(memory, 4, 0.3)(cast(Any, net), source, target, 0.5)
    step = next(steps)
    total = step.losses["task"] + step.losses["neighbours"]
    total.backward()
    assert total.item() == pytest.approx(value())
    for p in net.parameters():
        assert p.grad is not None
        for at, slope in slopes(p, value):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-8)
    before = memory.features.clone()
    assert next(steps, None) is None
    moved = (memory.features != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(target.row.tolist())
    assert net.training


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="atdoc"):
        ATDOC(training=Training(steps=1)).adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="neighbours=0"):
        ATDOC(neighbours=0)


def test_neighbours_are_found_in_full_precision() -> None:
    torch.manual_seed(0)
    memory, f = Memory(400, 16, 4), torch.randn(400, 16) / 20 + 1
    memory.store(torch.arange(400), f, torch.randn(400, 4))
    row, query = torch.arange(50), f[:50]
    wanted = memory.recall(row, query, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(memory.recall(row, query, 5), wanted)
