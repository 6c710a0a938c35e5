"""Networks that turn images of one domain into images of another, and that judge them.

Zhu, Park, Isola & Efros, "Unpaired image-to-image translation using cycle-consistent adversarial
networks", ICCV 2017, arXiv:1703.10593; smaller ones of the same kind.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

INSIDE = 0.98  # of -1..1: what tanh can reach


class Translator(nn.Module):
    """Images (n, c, h, w) in -1..1 to images of the same shape and range; at first, to themselves.

    One level down, residual blocks, one level up by resizing, which leaves no checkerboard (Odena,
    Dumoulin & Olah 2016), and a way around all of it: what an image shows is there from the start,
    and need not be found again. Instances are normalised each by itself.
    """

    def __init__(self, channels: int, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.down = nn.Sequential(
            *_layer(channels, width, 7, padding=3),
            *_layer(width, 2 * width, 3, padding=1, stride=2),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *_layer(2 * width, 2 * width, 3, padding=1),
                _convolution(2 * width, 2 * width, 3, padding=1),
                nn.InstanceNorm2d(2 * width),
            )
            for _ in range(blocks)
        )
        last = _convolution(width, channels, 7, padding=3)
        for p in last.parameters():
            nn.init.zeros_(p)
        self.up = nn.Sequential(*_layer(2 * width, width, 3, padding=1), last)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.down(x)
        for block in self.blocks:
            h = h + block(h)
        change: Tensor = self.up(F.interpolate(h, size=x.shape[2:]))
        return (x.clamp(-INSIDE, INSIDE).atanh() + change).tanh()


class PatchCritic(nn.Sequential):
    """Images (n, c, h, w) to scores (n, 1, h / 4, w / 4) of overlapping patches of 18 pixels.

    The score of a patch of the domain itself should be 1, that of a translated one 0.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )


def _convolution(
    given: int, wanted: int, kernel: int, *, padding: int, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        given, wanted, kernel, stride=stride, padding=padding, padding_mode="replicate"
    )


def _layer(
    given: int, wanted: int, kernel: int, *, padding: int, stride: int = 1
) -> tuple[nn.Module, ...]:
    convolution = _convolution(given, wanted, kernel, padding=padding, stride=stride)
    return convolution, nn.InstanceNorm2d(wanted), nn.ReLU()
