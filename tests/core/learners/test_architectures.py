"""Encoders by name give the features they promise."""

from __future__ import annotations

import pytest
import torch

from isthmus import BadInput, Schema, UnsupportedTask
from isthmus.learners import MLP, LeNet, RawPixels


def image(side, channels=1):
    return Schema(kind="image", shape=(side, side, channels), classes=("a", "b"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [4, 8, 28, 33, 64])
def test_lenet_reads_small_images(side, channels):
    encoder, width = LeNet(bottleneck=32).encoder(image(side, channels), pretrained=True)
    x = torch.rand(3, channels, side, side)
    f = encoder(x)
    assert f.shape == (3, width) == (3, 32)
    f.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_lenet_reads_images_that_are_not_square():
    schema = Schema(kind="image", shape=(8, 30, 1), classes=("a", "b"))
    encoder, width = LeNet().encoder(schema, pretrained=True)
    assert encoder.eval()(torch.rand(2, 1, 8, 30)).shape == (2, width)


def test_lenet_refuses_what_pooling_would_empty():
    with pytest.raises(UnsupportedTask, match="4x4 pixels or more, got 3x3"):
        LeNet().encoder(image(3), pretrained=True)


@pytest.mark.parametrize("widths", [(), (5,), (7, 3)])
def test_mlp_has_the_widths_it_is_given(widths):
    schema = Schema(kind="table", shape=(6,), classes=("a", "b"))
    encoder, width = MLP(widths=widths, dropout=0.1).encoder(schema, pretrained=True)
    assert width == (widths[-1] if widths else 6)
    assert encoder(torch.rand(4, 6)).shape == (4, width)


def test_mlp_reads_images_too():
    encoder, width = MLP().encoder(image(8), pretrained=True)
    assert encoder(torch.rand(4, 1, 8, 8)).shape == (4, width)


def test_raw_pixels_are_the_pixels():
    encoder, width = RawPixels().encoder(image(8), pretrained=True)
    x = torch.rand(4, 1, 8, 8)
    assert width == 64
    assert torch.equal(encoder(x), x.flatten(1))


@pytest.mark.parametrize(
    "make",
    [lambda: MLP(dropout=1.0), lambda: MLP(widths=(4, 0)), lambda: LeNet(bottleneck=0)],
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(BadInput, match="0 <= dropout < 1 and layers of 1 unit"):
        make()
