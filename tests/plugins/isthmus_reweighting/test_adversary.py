"""The weighted critic, and the two partial methods that use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from isthmus import BadInput, Labelled, Schema, Task
from isthmus.learners import Training
from isthmus.learners.architectures import MLP, LeNet
from isthmus.learners.feed import Batch
from isthmus.learners.network import Network
from isthmus.testing.domains import MAKERS
from isthmus_alignment.deep.dann import DomainAdversarial, domain_critic
from isthmus_reweighting.adversary import predicted, weighted_domain_loss
from isthmus_reweighting.iwan import IWAN, ImportanceWeighted, row_weights
from isthmus_reweighting.pada import PADA, PartialAdversarial, class_weights


def features(n: int, seed: int) -> Any:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def test_the_critics_loss_is_the_weighted_cross_entropy_and_its_gradient_is_reversed() -> None:
    torch.manual_seed(0)
    judge, f_s, f_t, w = domain_critic(4, 5), features(6, 1), features(3, 2), torch.rand(6)
    loss = weighted_domain_loss(judge, f_s, f_t, w, 0.3)
    z_s, z_t = judge(f_s).squeeze(1), judge(f_t).squeeze(1)
    wanted = -((w * z_s.sigmoid().log()).mean() + (1 - z_t.sigmoid()).log().mean()) / 2
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    got = torch.autograd.grad(loss, [f_s, f_t, *judge.parameters()])
    plain = torch.autograd.grad(wanted, [f_s, f_t, *judge.parameters()])
    for i, (a, b) in enumerate(zip(got, plain, strict=True)):
        torch.testing.assert_close(a, -0.3 * b if i < 2 else b)


def test_predicting_leaves_every_module_in_its_mode() -> None:
    schema = Schema(kind="image", shape=(8, 8, 1), classes=("a", "b"))
    net = Network(schema, LeNet(), pretrained=False).train()
    net.head.eval()
    before = [m.training for m in net.modules()]
    x = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 1)).astype(np.uint8)
    p = predicted(net, x)
    assert [m.training for m in net.modules()] == before
    net.eval()
    np.testing.assert_allclose(p, net(torch.from_numpy(x)).detach(), atol=1e-6)


def test_class_weights_are_the_mean_prediction_over_its_largest() -> None:
    p = np.array([[0.5, 0.5, 0.0], [0.1, 0.7, 0.2]])
    np.testing.assert_allclose(class_weights(p), np.array([0.3, 0.6, 0.1]) / 0.6, rtol=1e-6)


def test_row_weights_are_the_odds_of_the_target_and_average_to_one() -> None:
    z = torch.tensor([-2.0, 0.0, 3.0])
    wanted = 1 - z.sigmoid()
    torch.testing.assert_close(row_weights(z), wanted / wanted.mean())


def test_pada_with_equal_class_weights_is_dann() -> None:
    (task, _), torch_seed = MAKERS["table"](0), 3
    x = torch.from_numpy(np.asarray(task.source.x[:16]))
    source = Batch(x=x, y=torch.from_numpy(task.source.y[:16]))
    target = Batch(x=torch.from_numpy(np.asarray(task.target.x[:16])), y=torch.empty(0))
    net = Network(task.schema, MLP(widths=(4,)), pretrained=False)
    torch.manual_seed(torch_seed)
    dann = DomainAdversarial(4, 5, 1.0)
    torch.manual_seed(torch_seed)
    pada = PartialAdversarial(
        domain_critic(4, 5), PADA(update=7), task.target.x, task.schema.width, 10
    )
    (a,), (b,) = dann(net, source, target, 0.5), pada(net, source, target, 0.5)
    for name in ("task", "domain"):
        torch.testing.assert_close(a.losses[name], b.losses[name])


def test_pada_looks_at_the_target_after_every_update_steps() -> None:
    task, _ = MAKERS["table"](0)
    net = Network(task.schema, MLP(widths=(4,)), pretrained=False)
    o = PartialAdversarial(
        domain_critic(4, 5), PADA(update=5), task.target.x, task.schema.width, 20
    )
    source = Batch(x=torch.zeros(4, *task.schema.shape), y=torch.zeros(4, dtype=torch.int64))
    changed = []
    for step in range(20):
        o.share.fill_(-1.0)
        list(o(net, source, source, step / 20))
        changed += [step] if o.share.max() == 1 else []
    assert changed == [5, 10, 15]


def partial(shift: float = 1.0) -> tuple[Task, Labelled]:
    """Return six classes on a ring, moved; the target holds the first three only."""
    rng = np.random.default_rng(0)
    schema = Schema(kind="table", shape=(4,), classes=tuple("abcdef"))
    angle = 2 * np.pi * np.arange(6) / 6
    centres = np.zeros((6, 4))
    centres[:, 0], centres[:, 1] = 5 * np.cos(angle), 5 * np.sin(angle)

    def draw(y: Any, moved: float) -> Labelled:
        x = centres[y] + 0.7 * rng.normal(size=(len(y), 4)) + moved * np.array([0.5, 0, 1, 1])
        return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)

    source, target = draw(np.arange(600) % 6, 0.0), draw(np.arange(300) % 3, shift)
    return Task(sources=(source,), target=target), target


@pytest.mark.parametrize(
    "strategy",
    [
        PADA(network=MLP(widths=(16,)), training=Training(steps=300), update=50),
        IWAN(network=MLP(widths=(16,)), training=Training(steps=400, lr=0.05)),
    ],
    ids=["pada", "iwan"],
)
def test_classes_that_the_target_lacks_hardly_count(strategy: Any) -> None:
    task, target = partial()
    adapted = strategy.adapt(task)
    w = np.array(adapted.diagnostics["class_weights"])
    assert w[3:].max() < 0.4 * w[:3].min()
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.95


def test_iwans_two_steps() -> None:
    """The first critic learns in a step of its own; the encoder never reads its gradient."""
    task, _ = partial()
    net = Network(task.schema, MLP(widths=(4,)), pretrained=False).eval()
    o = ImportanceWeighted(4, 6, IWAN(entropy=0.5))
    source = Batch(x=torch.randn(8, 4), y=torch.arange(8) % 6)
    target = Batch(x=torch.randn(8, 4) + 1, y=torch.empty(0))
    first, second = o(net, source, target, 0.5)
    assert {id(p) for p in first.only or ()} == {id(p) for p in o.weigher.parameters()}
    f_s, f_t = net.encode(source.x), net.encode(target.x)
    p = net.head(f_t).softmax(1)
    w = row_weights(o.weigher(f_s).squeeze(1))
    z = o.critic(torch.cat([f_s, f_t])).squeeze(1)
    wanted = {
        "task": F.cross_entropy(net.head(f_s), source.y),
        "domain": (w * F.softplus(-z[:8])).mean() / 2 + F.softplus(z[8:]).mean() / 2,
        "entropy": -0.5 * (p * p.log()).sum(1).mean(),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(second.losses[name], value)
    total = torch.stack([*second.losses.values()]).sum()
    assert torch.autograd.grad(total, [*o.weigher.parameters()], allow_unused=True)[0] is None
    hot = F.one_hot(source.y, 6).float()
    np.testing.assert_allclose(o.class_weights(), (w @ hot / hot.sum(0)).detach(), rtol=1e-5)


def test_refuses_settings() -> None:
    with pytest.raises(BadInput, match="update=0"):
        PADA(update=0)
    with pytest.raises(BadInput, match="weight=-1"):
        IWAN(weight=-1.0)
