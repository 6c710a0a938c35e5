"""Resizing and recolouring do nothing where nothing is to do, and what Pillow does elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.learners.pixels import Pixels, recolour, resize

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (2, 12, 10, 3), np.uint8)
FLOATS = torch.from_numpy(BYTES).permute(0, 3, 1, 2).float()


def test_the_same_size_is_the_identity():
    torch.testing.assert_close(resize(FLOATS, (12, 10)), FLOATS, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(6, 5), (5, 7), (24, 30)])
def test_resizing_is_pillows_without_its_rounding(size):
    expected = [
        np.asarray(
            Image.fromarray(c.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
        )
        for c in BYTES[0].transpose(2, 0, 1)
    ]
    np.testing.assert_allclose(resize(FLOATS, size)[0], np.stack(expected), atol=0.01)


def test_a_flat_image_stays_flat():
    flat = torch.full((1, 3, 9, 9), 77.0)
    torch.testing.assert_close(resize(flat, (4, 13)), torch.full((1, 3, 4, 13), 77.0))


def test_grey_is_pillows_grey():
    expected = np.asarray(Image.fromarray(BYTES[0]).convert("L"), float)
    assert np.abs(recolour(FLOATS, 1)[0, 0].numpy() - expected).max() <= 0.51


def test_grey_to_colour_and_back_is_the_identity():
    grey = FLOATS[:, :1]
    torch.testing.assert_close(recolour(recolour(grey, 3), 1), grey)
    assert recolour(grey, 1) is grey
    assert recolour(FLOATS, 3) is FLOATS


def test_bytes_become_normalised_channels():
    pixels = Pixels((12, 10, 3), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), accepts=3)
    expected = (BYTES / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]
    found = pixels(torch.from_numpy(BYTES))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), atol=1e-5)
    np.testing.assert_array_equal(pixels(torch.from_numpy(BYTES.astype(np.float32))), found)


def test_any_size_comes_out_at_one_size():
    pixels = Pixels((8, 8, 1), (0.5,), (0.5,), accepts=3)
    for shape in [(8, 8), (31, 17), (1, 1), (4, 40)]:
        image = torch.from_numpy(RNG.integers(0, 256, (2, *shape, 3), np.uint8))
        assert pixels(image).shape == (2, 1, 8, 8)
    assert pixels(torch.zeros(0, 9, 9, 3, dtype=torch.uint8)).shape == (0, 1, 8, 8)


def test_nothing_of_it_is_saved():
    assert not Pixels((8, 8, 1), (0.5,), (0.5,), accepts=1).state_dict()
