"""What every trainer of networks is given: LeNet in plain torch, its settings, and a clock.

Runs in the peers' environments: needs torch alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

LR, CLASSES, WIDTH, CRITIC = 0.01, 10, 256, 256
SGD: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}
STEPS = 100_000  # of the schedule; a measurement ends long before


class Enough(BaseException):
    """Ends a training from within; no library catches it."""


class Meter:
    """Called where a step begins: hands over the seconds of every block of steps, then waits.

    ``turn(seconds)`` gets None after the first block, which warms up, and returns whether to go on.
    """

    def __init__(self, block: int, warm: int, turn: Callable[[float | None], bool], cuda: bool):
        self.block, self.left, self.turn, self.cuda = block, warm, turn, cuda
        self.began: float | None = None

    def __call__(self, *unused: Any) -> None:
        if not self.left:
            now = self._now()
            if not self.turn(None if self.began is None else now - self.began):
                raise Enough
            self.left, self.began = self.block, self._now()
        self.left -= 1

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def encoder() -> nn.Sequential:
    """Return the layers of ``isthmus.learners.LeNet`` for 28 x 28 grey pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 50, 5, padding=2),
        nn.Dropout2d(0.5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(50 * 7 * 7, WIDTH),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
    )


def critic(width: int) -> nn.Sequential:
    """Return DANN's critic (n, width) to logits (n, 1), as ours is."""
    return nn.Sequential(
        nn.Linear(width, CRITIC),
        nn.ReLU(),
        nn.Linear(CRITIC, CRITIC),
        nn.ReLU(),
        nn.Linear(CRITIC, 1),
    )


class Joint(nn.Module):
    """CDAN's map: all products of features (n, d) and probabilities (n, c), as (n, d c)."""

    def forward(self, f: Tensor, p: Tensor) -> Tensor:
        return (f[:, :, None] * p[:, None, :]).flatten(1)


class Reverse(torch.autograd.Function):
    """Identity forwards, ``-rate`` times the gradient backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        ctx.rate = rate
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return -ctx.rate * grads[0], None


class Reversal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Reverse.apply(x, 1.0)
        return out


def decay(step: int) -> float:
    """Return the factor of the learning rate (Ganin et al., JMLR 2016, section 5.2.2)."""
    return float((1 + 10 * step / STEPS) ** -0.75)


def ramp(step: int) -> float:
    """Return the rate of the gradient's reversal (the same section)."""
    return 2 / (1 + math.exp(-10 * step / STEPS)) - 1


def floats(x: Any, device: str) -> Tensor:
    """Return uint8 images (n, h, w, 1) as floats (n, 1, h, w) in -1..1."""
    out: Tensor = (torch.from_numpy(x).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    return out.contiguous().to(device)


def batches(n: int, size: int, device: str) -> Iterator[Tensor]:
    """Yield the indices of shuffled batches without end."""
    while True:
        yield from torch.randperm(n, device=device)[: n // size * size].split(size)
