from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus import BadInput, Run, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.m3sda import M3SDA, HeadsOfSources, moment_distance
from isthmus_alignment.deep.mcd import disagreement
from tiny import Tiny, batches, slopes


def draw(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=g, dtype=torch.float64) + seed / 4


def reference(sources: list[Tensor], target: Tensor, moments: int) -> float:
    """Equation 1 of the paper, pair by pair."""
    total = 0.0
    for k in range(1, moments + 1):
        of = [(f.numpy() ** k).mean(0) for f in (*sources, target)]
        n = len(sources)
        total += sum(float(np.linalg.norm(m - of[-1])) for m in of[:-1]) / n
        pairs = [(i, j) for i in range(n) for j in range(i)]
        total += sum(float(np.linalg.norm(of[i] - of[j])) for i, j in pairs) / max(len(pairs), 1)
    return total


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("moments", [1, 2, 4])
def test_is_the_papers_formula(count: int, moments: int) -> None:
    sources, target = [draw(5 + i, i) for i in range(count)], draw(7, 9)
    got = moment_distance(sources, target, moments)
    assert got.item() == pytest.approx(reference(sources, target, moments), rel=1e-12)


def test_equal_domains_are_at_no_distance_and_have_a_finite_gradient() -> None:
    f = draw(6, 0).requires_grad_()
    value = moment_distance([f, f.flip(0)], f, 2)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert f.grad is not None
    assert f.grad.isfinite().all()


def test_gradient_is_that_of_finite_differences() -> None:
    parts = [draw(4, i).requires_grad_() for i in range(3)]
    assert torch.autograd.gradcheck(lambda a, b, t: moment_distance([a, b], t, 3), parts)


def objective(sources: int, **given: Any) -> HeadsOfSources:
    torch.manual_seed(2)
    return HeadsOfSources(4, 3, sources, M3SDA(**given)).double()


def test_heads_learn_from_their_own_source_alone() -> None:
    net, o = Tiny(3), objective(2, weight=0.3)
    source, target = batches(8, 5, classes=3)
    step = next(iter(o(cast(Any, net), source, target, 0.0)))
    torch.stack([*step.losses.values()]).sum().backward()

    def value() -> float:
        with torch.no_grad():
            f, f_t = net.encode(source.x), net.encode(target.x)
            parts = [(f[:4], source.y[:4]), (f[4:], source.y[4:])]
            task = sum(
                net.loss(head(part), y)
                for pair, (part, y) in zip(o.pairs, parts, strict=True)
                for head in pair
            )
            return float(task / 2 + 0.3 * moment_distance([f[:4], f[4:]], f_t, 2))

    for p in [*net.encoder.parameters(), *o.heads.parameters()]:
        assert p.grad is not None
        for at, slope in slopes(p, value):
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, abs=1e-7)


def test_heads_part_and_the_encoder_brings_them_back() -> None:
    net, o = Tiny(3), objective(2, encoder_steps=2)
    source, target = batches(8, 6, classes=3)

    def gap() -> float:
        with torch.no_grad():
            f = net.encode(target.x)
            pairs = o.pairs
            return float(sum(disagreement(a(f), b(f)) for a, b in pairs) / len(pairs))

    changes, moved = [], []
    for step in o(cast(Any, net), source, target, 0.5):
        parts: dict[str, nn.Module] = {"encoder": net.encoder, "heads": o.heads, "head": net.head}
        params = [p for m in parts.values() for p in m.parameters()]
        allowed = params if step.only is None else [*step.only]
        (name,) = step.losses.keys() & {"moments", "apart", "discrepancy"}
        before, old = gap(), [p.detach().clone() for p in params]
        loss = sum(step.losses.values(), start=torch.zeros(()))
        loss = loss if name == "moments" else step.losses[name]
        grads = torch.autograd.grad(loss, allowed, allow_unused=True)
        for p, g in zip(allowed, grads, strict=True):
            with torch.no_grad():
                p -= 0.0 if g is None else 0.05 * g
        changed = {id(p) for p, o_ in zip(params, old, strict=True) if not torch.equal(p, o_)}
        moved.append({k for k, m in parts.items() if changed & {id(p) for p in m.parameters()}})
        changes.append((name, gap() - before))
    assert moved == [{"encoder", "heads"}, {"heads"}, {"encoder"}, {"encoder"}]
    assert [name for name, _ in changes] == ["moments", "apart", "discrepancy", "discrepancy"]
    assert changes[1][1] > 0
    assert all(change < 0 for _, change in changes[2:])


def test_the_deployed_head_has_the_mean_of_all_logits() -> None:
    net, o = Tiny(3), objective(3)
    f = draw(5, 1) @ torch.ones(3, 4).double()
    o.answer_together(net.head)
    every = [head(f) for pair in o.pairs for head in pair]
    torch.testing.assert_close(net.head(f), torch.stack(every).mean(0))


def test_an_interrupted_training_deploys_the_same(tmp_path: Any) -> None:
    from dataclasses import replace

    task, heldout = table(0)
    recipe = M3SDA(training=Training(steps=12), encoder_steps=1)
    whole = recipe.adapt(task, Run())
    run = Run(checkpoint=tmp_path, checkpoint_every=0.0)
    recipe.adapt(task, replace(run, budget=0.0))
    again = recipe.adapt(task, run)
    np.testing.assert_array_equal(again.predict(heldout.x), whole.predict(heldout.x))


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="m3sda"):
        M3SDA().adapt(table_values(0)[0])
    with pytest.raises(BadInput, match="moments=0"):
        M3SDA(moments=0)


def test_averaged_weights_are_deployed_with_averaged_heads() -> None:
    task, _ = table(0)
    nets = [
        M3SDA(training=Training(steps=12, ema=ema), encoder_steps=1).adapt(task).part
        for ema in (None, 0.9)
    ]
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert not torch.equal(one, other)
