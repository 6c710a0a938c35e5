"""How long a network trains, how fast, and with which optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from isthmus.errors import require
from isthmus.learners.augment import Augment


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how fast. Shared by composition, not by a base class."""

    steps: int = 2000
    batch_size: int = 64  # of each domain
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9  # Nesterov
    weight_decay: float = 1e-3
    schedule: Literal["constant", "inverse", "cosine", "one-cycle"] = "inverse"
    clip: float | None = None  # largest gradient norm
    accumulate: int = 1  # batches per step: their mean gradient, as of one so many times as large
    balanced: bool = False  # labelled batches hold equally many rows of each class
    smoothing: float = 0.0  # share of a label that goes to all classes alike
    augment: Augment | None = None  # view of every batch, of both domains
    ema: float | None = None  # decay of an average of the weights, which is what is deployed
    validator: str | None = None  # whose best look decides the weights; None: the last ones
    looks: int = 20  # of the validator, at regular steps
    patience: int | None = None  # looks without a better one after which training ends

    def __post_init__(self) -> None:
        wanted = {
            "steps >= 1": self.steps >= 1,
            "batch_size >= 2": self.batch_size >= 2,
            "lr > 0": self.lr > 0,
            "0 <= momentum < 1": 0 <= self.momentum < 1,
            "weight_decay >= 0": self.weight_decay >= 0,
            "clip > 0": self.clip is None or self.clip > 0,
            "accumulate >= 1": self.accumulate >= 1,
            "0 <= smoothing < 1": 0 <= self.smoothing < 1,
            "0 <= ema < 1": self.ema is None or 0 <= self.ema < 1,
            "looks >= 1": self.looks >= 1,
            "patience >= 1": self.patience is None or self.patience >= 1,
            "a validator for patience": self.patience is None or self.validator is not None,
        }
        require(self, "training", wanted)

    def rate(self, done: float) -> float:
        """Return the factor of ``lr`` when a share ``done`` of the steps is done."""
        if self.schedule == "inverse":  # Ganin et al., JMLR 2016, section 5.2.2
            return float((1 + 10 * done) ** -0.75)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "one-cycle":  # Smith & Topin 2018, arXiv:1708.07120
            up = min(done / 0.3, 1.0)
            down = max(done - 0.3, 0.0) / 0.7
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * up)) * (1 - down)
        return 1.0


def optimiser_for(
    groups: list[dict[str, Any]], t: Training, *, fused: bool = True
) -> torch.optim.Optimizer:
    """Return the optimiser of the parameter groups.

    ``fused`` reads and writes each parameter once per step. A scaler of gradients wants it off.
    """
    if t.optimiser != "sgd":
        kind = torch.optim.Adam if t.optimiser == "adam" else torch.optim.AdamW
        return kind(groups, lr=t.lr, weight_decay=t.weight_decay, fused=fused)
    sgd = torch.optim.SGD(
        groups,
        lr=t.lr,
        momentum=t.momentum,
        nesterov=t.momentum > 0,
        weight_decay=t.weight_decay,
        fused=fused,
    )
    if fused and t.momentum:
        sgd.register_step_pre_hook(_from_rest)
    return sgd


def _from_rest(sgd: torch.optim.Optimizer, *unused: Any) -> None:
    """Give parameters that move for the first time a momentum of zero.

    The fused update wants it of all of them or of none, but a step may move some parameters only.
    """
    for p in [p for g in sgd.param_groups for p in g["params"] if p.grad is not None]:
        if sgd.state[p].get("momentum_buffer") is None:
            sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
