"""What a training tells of itself: losses, read from the device now and then."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from isthmus.errors import RunFailed
from isthmus.strategy import Run

SLOWER = "try a smaller learning rate: --set training.lr=... or --set training.clip=1"


def tell(pending: list[tuple[int, dict[str, Tensor]]], run: Run) -> None:
    """Read the gathered losses in one transfer; a loss that is not finite ends the run.

    What is told of a step is the mean of each loss over all that it did: several steps of an
    objective, batches that are accumulated.
    """
    if not pending:
        return
    values = iter(torch.stack([v.float() for _, d in pending for v in d.values()]).tolist())
    read: dict[int, dict[str, list[float]]] = {}
    for i, losses in pending:
        for name in losses:
            value = next(values)
            if not math.isfinite(value):
                raise RunFailed(f"the {name!r} loss became {value} at step {i}", hint=SLOWER)
            read.setdefault(i, {}).setdefault(name, []).append(value)
    for i, found in read.items():
        run.log(i, {name: statistics.fmean(every) for name, every in found.items()})
    pending.clear()
