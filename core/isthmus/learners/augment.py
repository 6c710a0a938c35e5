"""Views: instances changed at random, each in its own way, on the device that holds the batch.

A library that draws one change for a whole batch, or loops over images, gives too little variety
or takes too long; here all rows share one affine resampling and a few products.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.errors import BadInput, UnsupportedTask
from isthmus.learners.pixels import LUMA


class Augment(ABC):
    """A recipe for views of rows (n, d), series (n, c, t) or images (n, c, h, w) as a network's
    ``prepare`` leaves them: about mean 0 and deviation 1. Random numbers come from torch's
    generator. The values of a series are changed as those of a row."""

    def __call__(self, x: Any) -> Any:
        """Return a view of each instance, of the shape of ``x``; graphs have none."""
        if isinstance(x, Tensor) and x.dim() in (2, 3, 4):
            return self.images(x) if x.dim() == 4 else self.rows(x)
        raise UnsupportedTask(f"{type(self).__name__} changes tables, series and images only")

    @abstractmethod
    def rows(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def images(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Weak(Augment):
    """Images moved by whole pixels, and flipped on demand; tables with a little noise."""

    shift: float = 0.125  # of the side, at most
    flip: bool = False  # left and right, every second image: not where that changes the class
    noise: float = 0.1  # standard deviation added to standardised columns

    def __post_init__(self) -> None:
        _check(self, self.noise >= 0 and 0 <= self.shift < 1, "noise >= 0 and 0 <= shift < 1")

    def rows(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.randn_like(x)

    def images(self, x: Tensor) -> Tensor:
        sides = x.new_tensor([x.shape[3], x.shape[2]])
        most = (self.shift * sides).floor()
        moved = ((2 * _uniform(x, 2) - 1) * (most + 0.5)).round().clamp(-most, most)
        theta = torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1)
        theta[:, :, 2] = 2 * moved / sides
        return warp(x, _flipped(theta, x) if self.flip else theta)


@dataclass(frozen=True, kw_only=True)
class Strong(Augment):
    """Images under random operations, then a hole; tables with noise and columns left out.

    After RandAugment (Cubuk et al., NeurIPS 2020, arXiv:1909.13719): each image gets ``operations``
    of ten (rotation, shear, shift, zoom; brightness, contrast, saturation, sharpness), each of
    random size, and Cutout (DeVries & Taylor 2017, arXiv:1708.04552). What needs 8-bit pixels
    (posterise, solarise, equalise) is not among them; zoom is new, as domains differ in scale, and
    so is ``invert`` of single channels.
    """

    operations: int = 2  # per image, of ten
    strength: float = 1.0  # 1: 30 degrees, 0.3 of shear and of the side, a zoom of 1.4, ...
    hole: float = 0.5  # of the side, at most
    flip: bool = False  # left and right, every second image: not where that changes the class
    invert: bool = False  # light and dark, every second channel: where a class has no polarity
    noise: float = 0.3  # standard deviation added to standardised columns
    dropout: float = 0.2  # share of columns that become their mean

    def __post_init__(self) -> None:
        shares = 0 <= self.hole <= 1 and 0 <= self.dropout < 1
        sizes = 0 <= self.operations <= 10 and self.strength >= 0 and self.noise >= 0
        rule = "operations in 0..10, strength and noise >= 0, hole in [0, 1], dropout in [0, 1)"
        _check(self, shares and sizes, rule)

    def rows(self, x: Tensor) -> Tensor:
        kept = torch.rand_like(x) >= self.dropout
        return torch.where(kept, x, 0) + self.noise * torch.randn_like(x)

    def images(self, x: Tensor) -> Tensor:
        chosen = _uniform(x, 10).argsort(dim=1) < self.operations
        size = torch.where(chosen, self.strength * (2 * _uniform(x, 10) - 1), 0)
        theta = affine(size[:, :6] * size.new_tensor([math.pi / 6, 0.3, 0.3, 0.6, 0.6, 0.35]))
        if self.flip:
            theta = _flipped(theta, x)
        x = warp(x, theta)
        if self.invert:
            x = _inverted(x)
        x = _coloured(x, *size[:, 6:, None, None, None].unbind(1))
        return _holed(x, self.hole) if self.hole else x


def affine(size: Tensor) -> Tensor:
    """Return where pixels come from (n, 2, 3), in units of half a side, for sizes (n, 6): angle,
    shear along x and along y, shift along x and along y, and the logarithm of the zoom."""
    angle, shear_x, shear_y, shift_x, shift_y, zoom = size.unbind(1)
    one, cos, sin = torch.ones_like(angle), angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    shear = torch.stack([one, shear_x, shear_y, one], 1).view(-1, 2, 2)
    linear = (turn @ shear) * torch.exp(-zoom)[:, None, None]
    return torch.cat([linear, torch.stack([shift_x, shift_y], 1)[:, :, None]], 2)


def warp(x: Tensor, theta: Tensor) -> Tensor:
    """Resample images (n, c, h, w) at the places ``theta`` (n, 2, 3) names, bilinearly.

    What comes in from outside has the colour of the image's own edge, its median.
    """
    edge = _edge(x)
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x - edge, grid, padding_mode="zeros", align_corners=False) + edge


def _edge(x: Tensor) -> Tensor:
    sides = [x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]]
    return torch.cat(sides, dim=2).median(dim=2).values[:, :, None, None]


def _flipped(theta: Tensor, x: Tensor) -> Tensor:
    """Mirror every second image: the places' first column changes its sign."""
    sign = torch.where(_uniform(x, 1) < 0.5, -1.0, 1.0)
    return torch.cat([theta[:, :, :1] * sign[:, :, None], theta[:, :, 1:]], 2)


def _inverted(x: Tensor) -> Tensor:
    """Exchange light and dark in every second channel, within the range that it has."""
    ends = x.amin((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)
    turned = _uniform(x, x.shape[1])[:, :, None, None] < 0.5
    return torch.where(turned, ends - x, x)


def _coloured(
    x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, sharpness: Tensor
) -> Tensor:
    """Change images by sizes (n, 1, 1, 1) in -1..1, 0 being no change."""
    if x.shape[1] == 3:
        grey = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        x = grey + (1 + 0.9 * saturation) * (x - grey)
    soft = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    x = soft + (1 + 0.9 * sharpness) * (x - soft)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (1 + 0.9 * contrast) * (x - mean) + brightness


def _holed(x: Tensor, largest: float) -> Tensor:
    """Cover a square of up to ``largest`` of the side, somewhere, with the edge's colour."""
    height, width = x.shape[2:]
    half = _uniform(x, 1) * largest * min(height, width) / 2
    centre = _uniform(x, 2) * x.new_tensor([height, width])
    rows = (torch.arange(height, device=x.device) + 0.5 - centre[:, :1]).abs() < half
    columns = (torch.arange(width, device=x.device) + 0.5 - centre[:, 1:]).abs() < half
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], _edge(x), x)


def _uniform(x: Tensor, count: int) -> Tensor:
    return torch.rand(len(x), count, device=x.device)


def _check(augment: Augment, holds: bool, rule: str) -> None:
    if not holds:
        raise BadInput(f"{type(augment).__name__} needs {rule}, got {augment}")
