"""Views: each row in its own way, by known bounds, and settings that leave all as it was."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import BadInput, UnsupportedTask
from isthmus.learners.augment import Augment, Strong, Weak, affine, warp

STILL = {
    "weak": Weak(shift=0, noise=0),
    "strong": Strong(operations=0, hole=0, noise=0, dropout=0),
    "strength 0": Strong(strength=0, hole=0, noise=0, dropout=0),
}


def images(n: int = 6, c: int = 3, h: int = 12, w: int = 8) -> Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("how", STILL.values(), ids=STILL)
@pytest.mark.parametrize(
    "x", [images(), images(c=1), torch.randn(5, 3)], ids=["rgb", "grey", "table"]
)
def test_settings_of_no_change_change_nothing(how: Augment, x: Tensor) -> None:
    before = x.clone()
    torch.testing.assert_close(how(x), x, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("how", [Weak(), Strong(), Strong(flip=True, invert=True)], ids=str)
@pytest.mark.parametrize("x", [images(), torch.randn(9, 4)], ids=["image", "table"])
def test_rows_are_changed_each_in_its_own_way_and_the_batch_stays(how: Augment, x: Tensor) -> None:
    alike = x[:1].repeat(20, *[1] * (x.dim() - 1))
    before = alike.clone()
    one, two = how(alike), how(alike)
    assert torch.equal(alike, before)
    assert one.shape == alike.shape
    assert one.dtype == alike.dtype
    assert one.isfinite().all()
    assert not torch.equal(one, two)
    assert len(torch.unique(one.flatten(1), dim=0)) > 6


def test_weak_views_are_shifts_by_whole_pixels_within_bounds() -> None:
    x = torch.zeros(400, 1, 16, 8)
    x[:, 0, 8, 4] = 1.0
    at = Weak(shift=0.25)(x).flatten(1).round(decimals=4)
    assert torch.equal(at.sum(1), torch.ones(400))
    place = at.argmax(1)
    down, right = place // 8 - 8, place % 8 - 4
    assert sorted(set(down.tolist())) == list(range(-4, 5))
    assert sorted(set(right.tolist())) == list(range(-2, 3))
    assert int((down == 4).sum()) > 20  # the ends are as likely as the rest


def test_flips_mirror_half_of_the_images() -> None:
    x = images(n=200)
    view = Weak(shift=0, flip=True)(x)
    same = torch.isclose(view, x, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(view, x.flip(3), atol=1e-5).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < int(same.sum()) < 130


def test_inversion_exchanges_light_and_dark_in_half_of_the_channels() -> None:
    x = images(n=200)
    view = Strong(operations=0, hole=0, invert=True)(x)
    ends = x.amin((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)
    same = torch.isclose(view, x, atol=1e-4).flatten(2).all(2)
    turned = torch.isclose(view, ends - x, atol=1e-4).flatten(2).all(2)
    assert (same ^ turned).all()
    assert 240 < int(same.sum()) < 360  # of 600 channels
    assert (same.sum(1) == 1).any()  # each on its own


def test_affine_places_are_those_of_each_operation() -> None:
    n = 4  # degrees, a quarter turn, are exact on a square
    size = torch.zeros(n, 6)
    size[0, 0], size[1, 5] = math.pi / 2, math.log(2)
    size[2, 3], size[3, 1] = 2 / 8 * 2, 0.5
    x = images(n=n, c=1, h=8, w=8)
    view = warp(x, affine(size))
    torch.testing.assert_close(view[0], torch.rot90(x[0], 1, (1, 2)), atol=1e-5, rtol=1e-5)
    big = F.interpolate(x[1:2], scale_factor=2, mode="bilinear")[0, :, 4:12, 4:12]
    torch.testing.assert_close(view[1], big, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(view[2][:, :, :6], x[2][:, :, 2:], atol=1e-5, rtol=1e-5)
    assert affine(size)[3].tolist() == [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]]


def test_what_comes_in_has_the_colour_of_the_edge() -> None:
    x = torch.full((1, 2, 8, 8), -3.0)
    x[:, 1] = 5.0
    x[:, :, 2:6, 2:6] = 0.0
    far = warp(x, affine(torch.tensor([[0, 0, 0, 9.0, 0, 0]])))
    assert torch.equal(far[0, 0], torch.full((8, 8), -3.0))
    assert torch.equal(far[0, 1], torch.full((8, 8), 5.0))


def test_holes_are_squares_of_at_most_the_size() -> None:
    x = torch.ones(300, 1, 12, 12)
    x[:, :, 3:9, 3:9] = torch.randn(300, 1, 6, 6)
    gone = (Strong(operations=0, hole=0.5)(x) != x)[:, 0]
    assert int(gone.any(2).sum(1).max()) <= 6
    assert int(gone.any(1).sum(1).max()) <= 6
    assert int(gone.flatten(1).any(1).sum()) > 100


def test_columns_are_left_out_at_the_share() -> None:
    x = torch.ones(500, 10)
    out = Strong(noise=0, dropout=0.3)(x)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert float((out == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(Weak(noise=0.5)(x).std()) == pytest.approx(0.5, rel=0.05)


def test_graphs_and_senseless_settings_are_refused() -> None:
    with pytest.raises(UnsupportedTask, match="Weak changes tables, series and images only"):
        Weak()((torch.zeros(2, 2), torch.zeros(2, 0)))
    for make in (lambda: Weak(shift=1), lambda: Strong(hole=2), lambda: Strong(operations=11)):
        with pytest.raises(BadInput, match="needs"):
            make()
