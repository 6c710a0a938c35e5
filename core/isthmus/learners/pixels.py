"""Images on their way into a network: the same arithmetic in training and in the exported graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what "grey" means in JPEG and Pillow


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize float images (n, c, h, w) to ``size`` (bilinear, antialiased, no rounding)."""
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def recolour(x: Tensor, channels: int) -> Tensor:
    """Bring float images (n, c, h, w) to 1 or 3 channels."""
    if x.shape[1] == channels:
        return x
    if channels == 1:
        return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return x.expand(-1, channels, -1, -1)


class Pixels(nn.Module):
    """uint8 (or 0..255 float) images (n, h, w, c) of any size to normalised (n, c, H, W)."""

    def __init__(
        self, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float], accepts: int
    ) -> None:
        super().__init__()
        self.size, self.channels, self.accepts = (shape[0], shape[1]), len(mean), accepts
        self.mean_std = (tuple(mean), tuple(std))
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2).float()
        # A graph must resize whatever comes; here the common case costs nothing.
        if torch.compiler.is_exporting() or x.shape[2:] != self.size:
            x = resize(x, self.size)
        return (recolour(x, self.channels) - self.mean) / self.std

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        image = torch.zeros(2, *self.size, self.accepts, dtype=torch.uint8)
        return {"image": image}, {"image": {0: "n", 1: "height", 2: "width"}}

    def describe(self) -> dict[str, Any]:
        return {
            "input": "uint8 images (n, height, width, channels), any size",
            "channels": self.accepts,
            "resize": {"to": list(self.size), "how": "bilinear, antialiased"},
            "colour": f"{self.accepts} to {self.channels} channels",
            "normalise": {"mean": list(self.mean_std[0]), "std": list(self.mean_std[1])},
        }
