"""A network scales what it reads and what it predicts, and takes images of any size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse

from isthmus import Domain, Labelled, Schema, Task, UnsupportedTask
from isthmus.images import Resized
from isthmus.learners import GCN, MLP, Backbone, LeNet
from isthmus.learners.backbones import Pretrained
from isthmus.learners.network import Network, default_architecture, network_for
from isthmus.testing.domains import MAKERS

RNG = np.random.default_rng(0)
TASK, _ = MAKERS["table"](0)
VALUES, _ = MAKERS["table:values"](0)


def build(task, architecture=None):
    torch.manual_seed(0)
    return network_for(task, architecture).eval()


def test_tables_are_standardised_by_the_sources():
    units = np.array([1, 1e3, 1e-3, 1, 1e6, 1e-6], np.float32)
    source = replace(TASK.source, x=TASK.source.x * units)
    net = build(Task(sources=(source,), target=TASK.target))
    z = net.prepare(torch.from_numpy(source.x))
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0, correction=0), 1, atol=1e-5)


def test_sparse_tables_are_not():
    x = sparse.random(20, 6, 0.5, "csr", np.float32, random_state=0)
    source = Labelled(name="s", schema=TASK.schema, x=x, y=np.arange(20) % 3)
    net = build(Task(sources=(source,), target=source))
    assert torch.equal(net.mean, torch.zeros(6))


def test_values_are_learnt_standardised_and_predicted_in_their_units():
    net, y = build(VALUES), torch.from_numpy(VALUES.source.y)
    z = torch.randn(len(y), 2)
    scaled = (y - y.mean(0)) / y.std(0, correction=0)
    torch.testing.assert_close(net.loss(z, y), F.mse_loss(z, scaled))
    torch.testing.assert_close(net.predict(scaled), y, atol=1e-3, rtol=1e-4)


def test_the_loss_is_the_weighted_cross_entropy():
    net, z, y = build(TASK), torch.randn(9, 3), torch.arange(9) % 3
    each = F.cross_entropy(z, y, reduction="none")
    w = torch.rand(9)
    torch.testing.assert_close(net.loss(z, y), each.mean())
    torch.testing.assert_close(net.loss(z, y, w), (w * each).mean())


def test_a_prediction_is_a_distribution():
    p = build(TASK)(torch.from_numpy(TASK.target.x))
    torch.testing.assert_close(p.sum(1), torch.ones(len(p)))


def test_images_of_another_size_go_through_the_same_pixels():
    task, _ = MAKERS["image"](0)
    net, x = build(task, LeNet()), task.target.x
    larger = x.repeat(2, 1).repeat(2, 2)  # each pixel four times
    p, q = net(torch.from_numpy(x)), net(torch.from_numpy(larger))
    expected = Resized(larger, (8, 8, 1))[:]
    torch.testing.assert_close(q, net(torch.from_numpy(expected)), atol=1e-5, rtol=1e-4)
    assert p.shape == q.shape


def test_the_network_takes_the_channels_the_target_has():
    schema = Schema(kind="image", shape=(8, 8, 3), classes=("a", "b"))
    colour = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
    grey = Resized(RNG.integers(0, 256, (6, 16, 16, 1), np.uint8), (8, 8, 3))
    source = Labelled(name="s", schema=schema, x=colour, y=np.arange(6) % 2)
    net = build(Task(sources=(source,), target=Domain(name="t", schema=schema, x=grey)))
    assert net.example()[0]["image"].shape == (2, 8, 8, 1)
    np.testing.assert_allclose(
        net(torch.from_numpy(grey.raw)).detach(), net(torch.from_numpy(grey[:])).detach(), atol=1e-5
    )


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (Schema(kind="table", shape=(3,)), MLP),
        (Schema(kind="image", shape=(64, 64, 1)), LeNet),
        (Schema(kind="image", shape=(65, 64, 1)), Backbone),
        (Schema(kind="graph", shape=(3,)), GCN),
    ],
)
def test_every_kind_has_a_default(schema, kind):
    assert type(default_architecture(schema)) is kind


def test_an_architecture_for_another_kind_is_refused():
    with pytest.raises(UnsupportedTask, match=r"LeNet reads \['image'\] domains, got 'table'"):
        build(TASK, LeNet())


@pytest.mark.parametrize("kind", ["table", "table:values", "image", "graph"])
def test_settings_rebuild_the_shape_of_the_network(kind):
    task, _ = MAKERS[kind](0)
    net = build(task)
    again = Network.build(json.loads(json.dumps(net.settings())))
    shapes = {k: v.shape for k, v in net.state_dict().items()}
    assert {k: v.shape for k, v in again.state_dict().items()} == shapes
    assert again.schema == net.schema
    assert again.architecture == net.architecture


def test_a_backbone_learns_at_its_own_rate():
    schema = Schema(kind="image", shape=(32, 32, 3), classes=("a", "b"))
    backbone = Backbone(weights="none", bottleneck=8, rate=0.1)
    net = Network(schema, backbone, pretrained=True)
    fast, slow = net.groups()
    (body,) = (m for m in net.modules() if isinstance(m, Pretrained))
    assert (fast["rate"], slow["rate"]) == (1.0, 0.1)
    assert {*slow["params"]} == {*body.parameters()}
    assert {*fast["params"]} | {*slow["params"]} == {*net.parameters()}
    assert len(fast["params"]) == 2 + 4  # the head, and the bottleneck with its normalisation


def test_a_network_without_a_backbone_has_one_rate():
    (group,) = build(TASK).groups()
    assert group["rate"] == 1.0
    assert len(group["params"]) == len([*build(TASK).parameters()])


def test_recorded_weights_name_no_folder():
    schema = Schema(kind="image", shape=(32, 32, 3), classes=("a", "b"))
    net = Network(schema, Backbone(weights="none"), pretrained=True)
    net.architecture = replace(net.architecture, weights="/home/me/secret/w.pth")
    assert net.settings()["architecture"]["weights"] == "w.pth"


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_read_channels_side_by_side_whatever_was_done_to_the_pixels(channels):
    schema = Schema(kind="image", shape=(12, 12, channels), classes=("no", "yes"))
    torch.manual_seed(0)
    net = Network(schema, LeNet(), pretrained=True).eval()
    seen = []
    net.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = net.prepare(torch.randint(0, 256, (4, 12, 12, channels), dtype=torch.uint8))
    apart = x.clone(memory_format=torch.contiguous_format)
    torch.testing.assert_close(net.encode(apart), net.encoder(apart))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
