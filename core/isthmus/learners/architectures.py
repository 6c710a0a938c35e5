"""Encoders by name: what turns an instance into features. A head is put on by ``network``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from isthmus.domain import Schema
from isthmus.errors import BadInput, UnsupportedTask

# Kinds whose instances come in batches: what trains a network need not know which it is.
BATCHED: frozenset[str] = frozenset({"table", "image", "series"})


class Architecture(ABC):
    """A frozen recipe for an encoder."""

    kinds: ClassVar[frozenset[str]]
    mean: ClassVar[tuple[float, ...]] = (0.5,)  # image normalisation; one value: every channel
    std: ClassVar[tuple[float, ...]] = (0.5,)
    rate: float = 1.0  # the encoder's learning rate, as a factor of the head's

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of pixels in [0, 1], by channel."""
        return self.mean, self.std

    @abstractmethod
    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        """Return a module from prepared inputs to features (n, width), and the width.

        ``pretrained`` is False when the weights are about to be loaded from an artefact.
        """


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    """Fully connected layers with batch normalisation."""

    kinds: ClassVar[frozenset[str]] = frozenset({"table", "image"})

    widths: tuple[int, ...] = (128, 64)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_sizes(self.dropout, *self.widths)

    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        layers: list[nn.Module] = [nn.Flatten()]
        d = math.prod(schema.shape)
        for width in self.widths:
            layers += [nn.Linear(d, width), nn.BatchNorm1d(width), nn.ReLU()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
            d = width
        return nn.Sequential(*layers), d


@dataclass(frozen=True, kw_only=True)
class LeNet(Architecture):
    """LeNet (LeCun et al., Proc. IEEE 1998) with dropout and a batch-normalised bottleneck."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})

    bottleneck: int = 256
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_sizes(self.dropout, self.bottleneck)

    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        height, width, channels = schema.shape
        if min(height, width) < 4:
            raise UnsupportedTask(f"LeNet needs images of 4x4 pixels or more, got {height}x{width}")
        body = nn.Sequential(
            nn.Conv2d(channels, 20, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(20, 50, 5, padding=2),
            nn.Dropout2d(self.dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(50 * (height // 4) * (width // 4), self.bottleneck),
            nn.BatchNorm1d(self.bottleneck),
            nn.ReLU(),
        )
        return body, self.bottleneck


@dataclass(frozen=True, kw_only=True)
class RawPixels(Architecture):
    """No network at all: the pixel values, for shallow strategies on small images."""

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})

    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        return nn.Flatten(), math.prod(schema.shape)


def check_sizes(dropout: float, *widths: int) -> None:
    """Refuse a share of dropped units outside [0, 1), and a layer without units."""
    if not 0 <= dropout < 1 or min(widths, default=1) < 1:
        raise BadInput(
            f"a network needs 0 <= dropout < 1 and layers of 1 unit or more, "
            f"got dropout={dropout} and widths {widths}"
        )
