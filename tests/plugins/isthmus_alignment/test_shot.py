from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from isthmus import BadInput, Run, Task, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners import MLP, Forest, Neural, Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.sourcefree.shot import SHOT, Hypothesis, centroid_labels, mean_entropy
from tiny import Tiny, batches, slopes

SMALL, SHORT = MLP(widths=(8,)), Training(steps=30, batch_size=32)
QUICK = SHOT(network=SMALL, pretraining=SHORT, training=SHORT)


def cloud(n: int = 40, d: int = 5, classes: int = 4) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    f = torch.randn(n, d, generator=g)
    return f, (f @ torch.randn(d, classes, generator=g)).softmax(dim=1)


def published(f: NDArray[Any], p: NDArray[Any]) -> NDArray[np.int64]:
    """The labels by the paper's equations, one class at a time."""
    f = np.column_stack([f, np.ones(len(f))])
    labels = p.argmax(1)
    alive = [c for c in range(p.shape[1]) if (labels == c).any()]
    share = p
    for _ in range(2):
        centres = [(share[:, [c]] * f / np.linalg.norm(f, axis=1)[:, None]).sum(0) for c in alive]
        labels = np.array(alive)[cdist(f, np.array(centres), "cosine").argmin(1)]
        share = np.eye(p.shape[1])[labels]
        alive = [c for c in alive if (labels == c).any()]
    return labels


def test_labels_are_those_of_the_equations() -> None:
    f, p = cloud()
    wanted = published(f.double().numpy(), p.double().numpy())
    assert len(set(wanted)) > 2 and (wanted != p.argmax(1).numpy()).any()
    np.testing.assert_array_equal(centroid_labels(f, p), wanted)


def test_labels_follow_their_rows() -> None:
    f, p = cloud()
    order = torch.randperm(len(f), generator=torch.Generator().manual_seed(1))
    assert torch.equal(centroid_labels(f[order], p[order]), centroid_labels(f, p)[order])


def test_a_class_that_nobody_prefers_is_nobodys_label() -> None:
    f, p = cloud(classes=3)
    wide = torch.cat([p * 0.9, torch.full((len(p), 1), 0.1)], dim=1)
    assert (p.max(dim=1).values > 1 / 3).all()
    assert 3 not in centroid_labels(f, wide).tolist()


def test_certain_and_diverse_predictions_are_the_least() -> None:
    z = 100 * torch.eye(4).double()
    assert mean_entropy(z).item() == pytest.approx(math.log(4))
    assert mean_entropy(z[:1]).item() == pytest.approx(0, abs=1e-12)
    net = Tiny(4)
    o = Hypothesis(4, lambda: (z, z), 0.0, 1)
    net.head = cast(Any, torch.nn.Identity())
    net.encode = cast(Any, lambda x: x)
    for logits, wanted in ((z, -math.log(4)), (0 * z, 0.0)):
        target = replace(batches(4, 4)[1], x=logits)
        (step,) = o(cast(Any, net), target, target, 0.0)
        assert step.losses["information"].item() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("pseudo", [0.0, 0.7])
def test_gradients_are_those_of_finite_differences(pseudo: float) -> None:
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    target = replace(target, row=torch.tensor([5, 4, 3, 2, 1, 0]))
    f, p = cloud(6, classes=3)
    o = Hypothesis(6, lambda: (f, p), pseudo, 1)

    def total() -> Tensor:
        (step,) = o(cast(Any, net), source, target, 0.5)
        assert set(step.losses) == ({"information", "pseudo"} if pseudo else {"information"})
        return sum(step.losses.values(), start=torch.zeros(()))

    for weight in (net.encoder.weight, net.encoder.bias):
        grad = torch.autograd.grad(total(), weight)[0].flatten()
        for at, slope in slopes(weight, total):
            assert grad[at].item() == pytest.approx(slope, abs=1e-7)


def test_labels_are_taken_anew_as_often_as_asked() -> None:
    f, p = cloud(6, classes=3)
    looks: list[float] = []
    net, (source, target) = Tiny(3), batches(6, 6, classes=3)
    target = replace(target, row=torch.arange(6))

    def run(o: Hypothesis, steps: range) -> None:
        for i in steps:
            before = len(looks)
            o.look = lambda: (looks.append(1.0), (f, p))[1]  # type: ignore[func-returns-value]
            next(o(cast(Any, net), source, target, i / 12))
            looks[before:] = [float(i)] * (len(looks) - before)

    o = Hypothesis(6, lambda: (f, p), 0.3, 3)
    run(o, range(12))
    assert looks == [0, 4, 8]
    assert torch.equal(o.labels, centroid_labels(f, p))
    half, again = Hypothesis(6, lambda: (f, p), 0.3, 3), Hypothesis(6, lambda: (f, p), 0.3, 3)
    looks.clear()
    run(half, range(6))
    again.load_state_dict(half.state_dict())  # as a resumed run does
    run(again, range(6, 12))
    assert looks == [0, 4, 8]


def started() -> tuple[Task, TorchAdapted]:
    task, _ = table(0)
    start = Neural(network=SMALL, training=SHORT).fit_task(task, None, Run())
    return replace(task, support=None, start=start), start


def test_the_head_stays_and_the_encoder_moves() -> None:
    task, start = started()
    before = {k: v.clone() for k, v in start.part.state_dict().items()}
    adapted = cast(TorchAdapted, QUICK.adapt(task))
    after = adapted.part.state_dict()
    for k, v in before.items():
        if k.startswith("head."):
            assert torch.equal(after[k], v)
        assert torch.equal(start.part.state_dict()[k], v)
    assert not torch.equal(after["encoder.1.weight"], before["encoder.1.weight"])
    assert all(p.requires_grad for p in adapted.part.parameters())


def test_given_a_model_the_sources_are_not_touched() -> None:
    task, _ = started()
    x = task.target.x
    free = QUICK.adapt(replace(task, sources=()))
    np.testing.assert_array_equal(free.predict(x), QUICK.adapt(task).predict(x))


def test_it_trains_a_source_model_with_smoothed_labels_and_a_normalised_head() -> None:
    """Smoothing bounds what the head says of the source; the weights end up as plain ones."""
    task, _ = table(0)
    long = Training(steps=300)
    still = Training(steps=1, lr=1e-12, weight_decay=0.0)
    sure = [
        SHOT(network=SMALL, pretraining=replace(long, smoothing=s), training=still)
        .adapt(task)
        .predict(task.source.x)
        .max(1)
        .mean()
        for s in (0.0, 0.5)
    ]
    assert sure[0] > 0.95 and sure[1] == pytest.approx(0.5 + 0.5 / 3, abs=0.06)
    adapted = cast(TorchAdapted, QUICK.adapt(task))
    assert "head.weight" in adapted.part.state_dict()


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedTask, match="shot"):
        SHOT().adapt(table_values(0)[0])
    task, _ = table(0)
    forest = Forest().fit(task.source.x, task.source.y, None, task.schema, Run())
    with pytest.raises(UnsupportedTask, match="neural network"):
        SHOT().adapt(replace(task, start=forest))
    for broken in ({"pseudo": -1.0}, {"refreshes": 0}):
        with pytest.raises(BadInput, match=next(iter(broken))):
            SHOT(**broken)  # type: ignore[arg-type]


def test_a_class_that_nobody_predicts_has_a_finite_gradient() -> None:
    z = torch.tensor([[200.0, 0.0], [150.0, 0.0]], requires_grad=True)
    mean_entropy(z).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
