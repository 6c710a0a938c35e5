"""The loop finds the optimum, waits for no device, and stops for a reason that it tells."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from isthmus import BadInput, Domain, Labelled, Run, RunFailed, Schema
from isthmus.errors import ProviderUnavailable
from isthmus.learners import MLP, LeNet, Training, loop
from isthmus.learners.augment import Strong, Weak
from isthmus.learners.loop import Objective, Step, Supervised, encode_both, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus.testing.domains import MAKERS
from isthmus_alignment.deep.dann import DomainAdversarial

TASK, HELDOUT = MAKERS["table"](0)
RNG = np.random.default_rng(0)
QUICK = Training(steps=60, batch_size=16)
PLAIN = MLP(widths=())


def network(task=TASK, architecture=MLP(widths=(8,)), seed=0):
    with seeded(Run(seed=seed)):
        return network_for(task, architecture)


def trained(objective=None, training=QUICK, run=Run(), net=None, task=TASK, **given):
    net = net or network(task)
    objective = objective or Supervised()
    with seeded(run):
        done = train(net, objective, task.source, task.target, run, training, **given)
    return net, done


def weights(net):
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


class Fixed(Objective):
    """Losses from a function of (net, source, target, step)."""

    uses_target = False

    def __init__(self, function):
        super().__init__()
        self.function, self.step = function, 0

    def forward(self, net, source, target, done):
        yield from self.function(net, source, target, self.step)
        self.step += 1


# ---------------------------------------------------------------------- what it finds


def noisy(outputs=False):
    x = RNG.normal(size=(150, 4)).astype(np.float32) * [1, 20, 0.1, 3] + 5
    x = x.astype(np.float32)
    score = (x - x.mean(0)) / x.std(0) @ RNG.normal(size=(4, 3)) + 2 * RNG.normal(size=(150, 3))
    if outputs:
        schema = Schema(kind="table", shape=(4,), outputs=("u", "v"))
        y = (40 + 9 * score[:, :2]).astype(np.float32)
    else:
        schema, y = Schema(kind="table", shape=(4,), classes=("a", "b", "c")), score.argmax(1)
    return Labelled(name="noisy", schema=schema, x=x, y=y)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_the_loop_reaches_scikit_learns_optimum(weighted, optimiser):
    d = noisy()
    w = RNG.uniform(0.2, 4, 150) if weighted else None
    lr = 0.3 if optimiser == "sgd" else 0.03
    training = Training(
        steps=800, batch_size=150, lr=lr, weight_decay=0, schedule="cosine", optimiser=optimiser
    )
    net = Network(d.schema, MLP(widths=()), pretrained=True)
    net.mean, net.scale = torch.tensor(d.x.mean(0)), torch.tensor(d.x.std(0))
    train(net, Supervised(), d, d, Run(), training, weight=w)
    z = (d.x - d.x.mean(0)) / d.x.std(0)
    model = LogisticRegression(C=1e9, tol=1e-9, max_iter=9999).fit(z, d.y, sample_weight=w)
    np.testing.assert_allclose(
        net(torch.from_numpy(d.x)).detach(), model.predict_proba(z), atol=2e-3
    )


def test_the_loop_reaches_least_squares_in_the_units_of_the_labels():
    from isthmus import Task

    d = noisy(outputs=True)
    net = network(Task(sources=(d,), target=d), MLP(widths=()))
    training = Training(steps=500, batch_size=150, lr=0.1, weight_decay=0, schedule="cosine")
    train(net, Supervised(), d, d, Run(), training)
    expected = Ridge(alpha=1e-9).fit(d.x.astype(float), d.y).predict(d.x)
    np.testing.assert_allclose(net(torch.from_numpy(d.x)).detach(), expected, atol=0.05)


@pytest.mark.parametrize("schedule", ["constant", "inverse", "cosine", "one-cycle"])
def test_schedules_are_the_published_ones(schedule):
    expected = {
        "constant": [1, 1, 1],
        "inverse": [1, 6**-0.75, 11**-0.75],
        "cosine": [1, 0.5, 0],
        "one-cycle": [0.04, 0.04 + 0.96 * (1 - 0.2 / 0.7), 0.04],
    }[schedule]
    t = Training(schedule=schedule)
    np.testing.assert_allclose([t.rate(d) for d in (0, 0.5, 1)], expected, atol=1e-12)
    assert max(t.rate(d / 100) for d in range(101)) <= 1


def test_the_learning_rate_follows_the_schedule_and_the_groups():
    moved = []

    def slope(net, source, target, step):
        before = net.head.bias.detach().clone()
        yield Step({"task": net.head.bias.sum()})
        moved.append(float((before - net.head.bias.detach())[0]))

    training = Training(steps=4, lr=0.5, momentum=0, weight_decay=0, schedule="inverse")
    trained(Fixed(slope), training)
    np.testing.assert_allclose(
        moved, [0.5 * (1 + 10 * i / 4) ** -0.75 for i in range(4)], rtol=1e-5
    )


@pytest.mark.parametrize("clip", [0.1, 3.0])
def test_gradients_are_clipped_to_a_norm(clip):
    net = network()
    before = weights(net)
    training = Training(steps=1, lr=1.0, momentum=0, weight_decay=0, schedule="constant", clip=clip)
    trained(
        Fixed(lambda n, s, t, i: iter([Step({"task": 1e3 * n.head.weight.sum()})])),
        training,
        net=net,
    )
    gap = weights(net)["head.weight"] - before["head.weight"]
    assert float(gap.norm()) == pytest.approx(clip, rel=1e-4)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_two_small_batches_are_one_of_both(optimiser):
    """Without batch normalisation the mean gradient of two batches is that of their union."""
    common = {"lr": 0.05, "optimiser": optimiser, "schedule": "constant", "steps": 7}
    large = trained(training=Training(batch_size=20, **common), net=network(architecture=PLAIN))[0]
    seen = []
    small = trained(
        training=Training(batch_size=10, accumulate=2, **common),
        net=network(architecture=PLAIN),
        run=Run(watch=lambda net, step: seen.append(step)),
    )[0]
    assert len(seen) == 14
    for a, b in zip(small.state_dict().values(), large.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_each_kind_of_step_gathers_its_own_gradient():
    """Batches take their first steps together, then their second ones."""
    seen = []

    def two(net, source, target, step):
        before = net.head.bias.detach().clone()
        yield Step({"first": 3 * net.head.bias.sum()})
        after = net.head.bias.detach().clone()
        yield Step({"second": -net.head.bias.sum()})
        seen.append((before, after, net.head.bias.detach().clone()))

    training = Training(steps=1, lr=1, momentum=0, weight_decay=0, accumulate=3)
    trained(Fixed(two), training)
    assert len(seen) == 3
    for before, after, end in seen:
        torch.testing.assert_close(after, before - 3)
        torch.testing.assert_close(end, after + 1)


def test_the_average_of_the_weights_is_deployed():
    weights_seen = []

    def look(net, source, target, step):
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})
        weights_seen.append(net.head.weight.detach().clone())

    net, _ = trained(Fixed(look), Training(steps=5, ema=0.999))
    torch.testing.assert_close(net.head.weight.detach(), torch.stack(weights_seen).mean(0))
    assert not net.training
    assert all(p.requires_grad for p in net.parameters())


def test_smoothed_labels_are_a_mixture():
    losses = {}
    for share in (0.0, 0.3):
        run = Run(log=lambda step, values, share=share: losses.setdefault(share, values["task"]))
        net, _ = trained(training=Training(steps=1, batch_size=150, smoothing=share), run=run)
    net = network()
    net.train()
    z = net.head(net.encode(net.prepare(torch.from_numpy(TASK.source.x))))
    uniform = -z.log_softmax(1).mean().detach()
    assert losses[0.3] == pytest.approx(0.7 * losses[0.0] + 0.3 * float(uniform), rel=1e-4)


def test_views_are_of_both_domains_and_the_network_reads_plain_rows():
    seen = []

    class Look(Objective):
        def forward(self, net, source, target, done):
            seen.append((source.x, target.x))
            yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})

    def first(augment):
        seen.clear()
        net, _ = trained(Look(), Training(steps=1, batch_size=16, augment=augment))
        return seen[0], net(torch.from_numpy(TASK.source.x))

    plain, _ = first(None)
    views, _ = first(Weak(noise=0.1))
    for a, b in zip(plain, views, strict=True):
        assert 0.05 < float((a - b).std()) < 0.2
    first(Strong())
    assert all((x == 0).float().mean() < 0.01 for x in seen[0])  # left out, but not without noise


def test_balanced_batches_reach_the_objective():
    rare = np.flatnonzero((TASK.source.y != 0) | (np.arange(150) < 20))
    source = TASK.source.take(rare)
    seen = []

    def look(net, source, target, step):
        seen.append(source.y.bincount())
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})

    training = Training(steps=5, batch_size=9, balanced=True)
    train(network(), Fixed(look), source, TASK.target, Run(), training)
    assert all(counts.tolist() == [3, 3, 3] for counts in seen)


# ---------------------------------------------------------------------- objectives


def test_only_the_named_parameters_move():
    net = network()
    before = weights(net)

    def head_alone(net, source, target, step):
        loss = net.loss(net.head(net.encode(source.x)), source.y)
        yield Step({"task": loss}, only=[*net.head.parameters()])

    trained(Fixed(head_alone), net=net)
    moved = {k for k, v in weights(net).items() if not torch.equal(v, before[k])}
    assert moved - {k for k in moved if "running" in k or "num_batches" in k} == {
        "head.weight",
        "head.bias",
    }


def test_each_yield_is_a_step_and_the_code_after_it_sees_the_new_weights():
    seen = []

    def two(net, source, target, step):
        seen.append(net.head.bias.detach().clone())
        yield Step({"first": net.head.bias.sum()})
        seen.append(net.head.bias.detach().clone())
        yield Step({"second": -net.head.bias.sum()})
        seen.append(net.head.bias.detach().clone())

    logged = []
    run = Run(log=lambda step, values: logged.append((step, dict(values))))
    training = Training(steps=1, lr=1, momentum=0, weight_decay=0, schedule="constant")
    trained(Fixed(two), training, run)
    torch.testing.assert_close(seen[1], seen[0] - 1)
    torch.testing.assert_close(seen[2], seen[0])
    assert [(i, [*v]) for i, v in logged] == [(0, ["first", "second"])]


def test_what_is_told_of_a_step_is_the_mean_over_all_that_it_did():
    values, logged = iter([1.0, 3.0, 5.0, 7.0]), []

    def alike(net, source, target, step):
        yield Step({"critic": 0 * net.head.bias.sum() + next(values)})
        yield Step({"critic": 0 * net.head.bias.sum() + next(values), "task": net.head.bias.sum()})

    run = Run(log=lambda step, told: logged.append((step, dict(told))))
    trained(Fixed(alike), Training(steps=1, accumulate=2, batch_size=4), run)
    assert [(i, [*v], v["critic"]) for i, v in logged] == [(0, ["critic", "task"], 4.0)]


def test_an_objective_follows_the_weights_once_per_step():
    seen = []

    class Follower(Fixed):
        def stepped(self, net):
            seen.append(net.head.bias.detach().clone())

    def one(net, source, target, step):
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})

    net, _ = trained(Follower(one), Training(steps=3, accumulate=2, batch_size=4))
    assert len(seen) == 3
    torch.testing.assert_close(seen[-1], net.head.bias.detach())


def test_critics_are_trained_too():
    critic = DomainAdversarial(8, 8, 1.0)
    before = weights(critic)
    net, _ = trained(critic)
    assert all(not torch.equal(v, before[k]) for k, v in weights(critic).items())
    assert not net.training
    assert not critic.training


def test_the_target_is_not_read_by_who_does_not_need_it():
    class Untouchable:
        shape = (9, 6)

        def refuse(self, *args):
            raise AssertionError("read")

        __len__ = __getitem__ = row_keys = refuse

    target = Domain(name="t", schema=TASK.schema, x=Untouchable())
    train(network(), Supervised(), TASK.source, target, Run(), QUICK)


def test_several_labelled_domains_share_each_batch_equally():
    seen = []

    def look(net, source, target, step):
        seen.append(source)
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})

    halves = [TASK.source.take(np.arange(50)), TASK.source.take(np.arange(50, 60))]
    net = network()
    train(net, Fixed(look), halves, TASK.target, Run(), Training(steps=3, batch_size=8))
    for source in seen:
        assert source.x.shape[0] == len(source.y) == 16
        for part, given in zip(source.x.split(8), halves, strict=True):
            rows = net.prepare(torch.from_numpy(given.x))
            assert all((row == rows).all(1).any() for row in part)


def test_without_labelled_domains_the_target_alone_is_read():
    seen = []

    def spread(net, source, target, step):
        seen.append((len(source.y), len(target.x), len(target.row)))
        yield Step({"spread": net.encode(target.x).square().mean()})

    objective = Fixed(spread)
    objective.uses_target = True
    net = network()
    before = weights(net)
    train(net, objective, (), TASK.target, Run(), QUICK)
    assert seen == [(0, 16, 16)] * 60
    assert not torch.equal(net.state_dict()["encoder.1.weight"], before["encoder.1.weight"])


def test_one_pass_encodes_both_domains():
    net = network().eval()
    a, b = torch.randn(3, 6), torch.randn(5, 6)
    from isthmus.learners.feed import Batch

    f, g = encode_both(net, *(Batch(x=x, y=torch.empty(0)) for x in (a, b)))
    torch.testing.assert_close(f, net.encode(a))
    torch.testing.assert_close(g, net.encode(b))


def test_frozen_batch_normalisation_keeps_its_statistics():
    net = network()
    net.encoder.requires_grad_(False)
    before = weights(net.encoder)
    trained(net=net)
    assert all(torch.equal(v, before[k]) for k, v in weights(net.encoder).items())


# ---------------------------------------------------------------------- devices and precision


def test_bf16_is_close_to_fp32_on_a_cpu():
    full, half = (trained(run=Run(precision=p))[0] for p in ("fp32", "bf16"))
    x = torch.from_numpy(HELDOUT.x)
    assert not torch.equal(full.head.weight, half.head.weight)
    assert half.head.weight.dtype == torch.float32
    np.testing.assert_allclose(half(x).detach(), full(x).detach(), atol=0.05)


def test_bf16_trains_the_critics_of_dann():
    logged = []
    run = Run(precision="bf16", log=lambda step, values: logged.append(values))
    trained(DomainAdversarial(8, 8, 1.0), run=run)
    assert {*logged[0]} == {"task", "domain"}
    assert len(logged) == 60


def test_what_this_machine_cannot_do_is_told():
    with pytest.raises(BadInput, match="fp16 trains on a GPU only"):
        trained(run=Run(precision="fp16"))
    with pytest.raises(BadInput, match="device 'tpu': expected cpu, cuda or cuda:N"):
        trained(run=Run(device="tpu"))
    with pytest.raises(ProviderUnavailable, match="torch sees"):
        trained(run=Run(device=f"cuda:{torch.cuda.device_count()}"))


READS = ["item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"]


@pytest.mark.parametrize("make", [Supervised, lambda: DomainAdversarial(8, 8, 1.0)])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_no_step_waits_for_the_device(monkeypatch, make, clip):
    calls, steps = [], []
    for name in READS:
        original = getattr(torch.Tensor, name)

        def counted(tensor, *args, original=original, name=name, **given):
            calls.append((name, len(steps)))
            return original(tensor, *args, **given)

        monkeypatch.setattr(torch.Tensor, name, counted)
    monkeypatch.setattr(loop, "PATIENCE", 1e9)
    run = Run(watch=lambda net, step: steps.append(step))
    trained(make(), Training(steps=120, batch_size=16, clip=clip), run)
    during = [c for c in calls if 0 < c[1] < 120]
    assert during == [("tolist", 50), ("tolist", 100)]
    assert ("tolist", 120) in calls


def test_slow_steps_are_told_about_sooner(monkeypatch):
    told = []
    monkeypatch.setattr(loop, "PATIENCE", 0.0)
    run = Run(progress=lambda stage, done, total: told.append((stage, done, total)))
    trained(training=Training(steps=3), run=run, stage="tune")
    assert told == [("tune", 1, 3), ("tune", 2, 3), ("tune", 3, 3), ("tune", 3, 3)]


# ---------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("at", [0, 7, 59])
def test_a_loss_that_is_not_finite_ends_the_run(at):
    def broken(net, source, target, step):
        loss = net.loss(net.head(net.encode(source.x)), source.y)
        scale = float("nan") if step == at else 1.0
        yield Step({"task": loss, "extra": loss * scale})

    with pytest.raises(RunFailed, match=f"the 'extra' loss became nan at step {at}") as caught:
        trained(Fixed(broken))
    assert "training.lr" in caught.value.hint


def test_weights_that_are_not_finite_end_the_run():
    def last(net, source, target, step):
        # A finite loss whose gradient is not.
        yield Step({"task": (net.head.weight * 0).square().sum().sqrt()})

    with pytest.raises(RunFailed, match="weights are not finite after step 0"):
        trained(Fixed(last), Training(steps=1))


@pytest.mark.parametrize("budget", [0.0, 0.2])
def test_the_budget_ends_training_and_is_told(budget):
    said, told = [], []
    run = Run(budget=budget, say=said.append, progress=lambda *a: told.append(a))

    def slow(net, source, target, step):
        time.sleep(0.01)
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y)})

    began = time.monotonic()
    net, done = trained(Fixed(slow), Training(steps=100_000), run)
    assert time.monotonic() - began < 20
    assert 1 <= done["steps"] < 100_000
    assert done["of"] == 100_000
    assert said == [f"the time budget ended training after {done['steps']} of 100000 steps"]
    assert told[-1] == ("train", done["steps"], 100_000)
    assert not net.training


def test_progress_and_losses_are_reported():
    told, logged = [], []
    run = Run(
        progress=lambda stage, done, total: told.append((stage, done, total)),
        log=lambda step, values: logged.append((step, values["task"])),
    )
    trained(training=Training(steps=120), run=run)
    assert told[-1] == ("train", 120, 120)
    assert {50, 100} <= {done for _, done, _ in told}
    assert [i for i, _ in logged] == list(range(120))
    assert np.mean([v for _, v in logged[-20:]]) < np.mean([v for _, v in logged[:20]])


def test_seeded_leaves_global_randomness_alone():
    state = torch.get_rng_state()
    numbers = []
    for seed in (1, 1, 2):
        with contextlib.suppress(KeyError), seeded(Run(seed=seed)):
            numbers.append(float(torch.rand(1)))
            raise KeyError
    assert torch.equal(torch.get_rng_state(), state)
    assert numbers[0] == numbers[1] != numbers[2]


def test_the_seed_decides_the_result_and_the_row_order_does_not():
    drop = MLP(widths=(8,), dropout=0.2)
    one, same, other = (
        trained(net=network(architecture=drop), run=Run(seed=s))[0] for s in (1, 1, 2)
    )
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    from dataclasses import replace

    order = RNG.permutation(len(TASK.source))
    shuffled = replace(TASK, sources=(TASK.source.take(order),))
    again = trained(net=network(architecture=drop), run=Run(seed=1), task=shuffled)[0]
    torch.testing.assert_close(again.head.weight, one.head.weight)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"batch_size": 1}, "batch_size >= 2"),
        ({"lr": 0.0}, "lr > 0"),
        ({"momentum": 1.0}, "0 <= momentum < 1"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
        ({"clip": 0.0}, "clip > 0"),
        ({"accumulate": 0}, "accumulate >= 1"),
        ({"smoothing": 1.0}, "0 <= smoothing < 1"),
        ({"ema": 1.0}, "0 <= ema < 1"),
    ],
)
def test_training_has_rules(given, rule):
    (name, value), *_ = given.items()
    with pytest.raises(BadInput, match=f"training needs {rule}, got {name}={value}$"):
        Training(**given)


def test_images_are_trained_on_as_bytes():
    task, heldout = MAKERS["image"](0)
    net, _ = trained(training=Training(steps=80), task=task, net=network(task, LeNet()))
    p = net(torch.from_numpy(heldout.x)).detach().numpy()
    assert (p.argmax(1) == heldout.y).mean() > 0.8
