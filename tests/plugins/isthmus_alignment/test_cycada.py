from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import LeNet
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Training
from isthmus.learners.modes import quiet
from isthmus.learners.network import Network
from isthmus.testing.domains import image
from isthmus_alignment.pixels.cycada import CyCADA, Translated, Translation, unlike

SHORT = Training(steps=3, batch_size=8)
QUICK = CyCADA(width=2, pretraining=SHORT, translation=SHORT, training=SHORT)


def lesson() -> tuple[Network, Translation, Batch, Batch]:
    torch.manual_seed(0)
    schema = Schema(kind="image", shape=(8, 8, 1), classes=("a", "b", "c"))
    net = Network(schema, LeNet(bottleneck=4), pretrained=False)
    source, target = (net.prepare(torch.randint(0, 256, (6, 8, 8, 1))) for _ in range(2))
    y = torch.arange(6) % 3
    o = Translation(1, replace(QUICK, cycle=0.7, semantic=0.3))
    for translator in (o.there, o.back):  # in the midst of training
        nn.init.normal_(cast(Any, translator.up)[-1].weight, std=0.1)
    return net, o, Batch(x=source, y=y), Batch(x=target, y=y[:0])


def test_losses_are_the_definition() -> None:
    """LeNet takes images in -1..1 as they are."""
    net, o, source, target = lesson()
    steps = o(net, source, target, 0.0)
    first = next(steps)
    s, t = source.x, target.x
    as_t, as_s = o.there(s), o.back(t)
    with quiet(net):
        z_t, z_s = net.head(net.encode(as_t)), net.head(net.encode(as_s))
        said = net.head(net.encode(t)).argmax(dim=1)
    wanted: dict[str, Tensor] = {
        "look": ((o.of_target(as_t) - 1) ** 2).mean() + ((o.of_source(as_s) - 1) ** 2).mean(),
        "cycle": 0.7 * (F.l1_loss(o.back(as_t), s) + F.l1_loss(o.there(as_s), t)),
        "meaning": 0.3 * (F.cross_entropy(z_t, source.y) + F.cross_entropy(z_s, said)),
    }
    assert list(first.losses) == list(wanted)
    for name, value in wanted.items():
        assert first.losses[name].item() == pytest.approx(value.item(), rel=1e-4)
    told = unlike(o.of_target(t), 1) + unlike(o.of_target(as_t), 0)
    told = told + unlike(o.of_source(s), 1) + unlike(o.of_source(as_s), 0)
    assert next(steps).losses["critics"].item() == pytest.approx(told.item() / 2, rel=1e-4)
    assert next(steps, None) is None


def test_each_step_moves_only_what_it_should() -> None:
    net, o, source, target = lesson()
    parts: dict[str, nn.Module] = {"net": net, **dict(o.named_children())}
    owner = {id(p): name for name, m in parts.items() for p in m.parameters()}
    moved = []
    for step in o(net, source, target, 0.0):
        assert step.only is not None
        total = sum(step.losses.values(), start=torch.zeros(()))
        grads = torch.autograd.grad(total, [*step.only], allow_unused=True)
        pairs = zip(step.only, grads, strict=True)
        moved.append({owner[id(p)] for p, g in pairs if g is not None and g.abs().sum() > 0})
    assert moved == [{"there", "back"}, {"of_target", "of_source"}]


def test_meaning_reaches_the_translators_through_the_classifier() -> None:
    net, o, source, target = lesson()
    meaning = next(o(net, source, target, 0.0)).losses["meaning"]
    for translator in (o.there, o.back):
        weights = [p for p in translator.parameters() if p.dim() > 1]
        assert all(
            g.abs().sum() > 0 for g in torch.autograd.grad(meaning, weights, retain_graph=True)
        )


def test_the_last_network_learns_translated_images_with_their_labels() -> None:
    net, o, source, target = lesson()
    net.eval()
    (step,) = Translated(o.there)(net, source, target, 0.0)
    z = net.head(net.encode(o.there(source.x)))
    assert step.losses["task"].item() == pytest.approx(
        F.cross_entropy(z, source.y).item(), rel=1e-4
    )
    assert not any(p.requires_grad for p in o.there.parameters())


def test_it_has_three_stages_and_keeps_the_sources_network_for_the_source() -> None:
    task, heldout = image(0)
    logged: dict[str, list[int]] = {}

    def log(step: int, values: dict[str, float]) -> None:
        for name in values:
            logged.setdefault(name, []).append(step)

    adapted = cast(TorchAdapted, QUICK.adapt(task, Run(log=log)))
    assert logged["task"] == [0, 1, 2, 6, 7, 8]
    assert logged["look"] == logged["critics"] == [3, 4, 5]
    of_source = adapted.for_source()
    assert (of_source.predict(heldout.x) != adapted.predict(heldout.x)).any()
    assert all(p.requires_grad for p in cast(Any, of_source).part.parameters())


def test_refuses_what_it_cannot_do() -> None:
    for broken in ({"cycle": -1.0}, {"semantic": -1.0}, {"width": 0}):
        with pytest.raises(BadInput, match=next(iter(broken))):
            CyCADA(**broken)  # type: ignore[arg-type]
    task, _ = image(0)
    schema = replace(task.schema, shape=(6, 8, 1))

    def cut(d: Any) -> Any:
        return replace(d, schema=schema, x=d.x[:, :6])

    small = Task(sources=(cast(Labelled, cut(task.source)),), target=cut(task.target))
    with pytest.raises(UnsupportedTask, match="8x8 pixels or more, got 6x8"):
        QUICK.adapt(small)
