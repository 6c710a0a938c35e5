"""When to do anew what is done a few times in a training, such as labelling the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Refreshes(nn.Module):
    """A number of occasions, evenly over a training, the first at its start.

    What was taken is a buffer: a resumed run goes on with those that remain.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.taken: Tensor
        self.known: int | None = None  # what ``taken`` says, without waiting for the device

    def due(self, done: float) -> bool:
        """Say whether the next occasion has come at a share ``done`` of the steps, and take it."""
        self.known = int(self.taken) if self.known is None else self.known
        if done * self.times < self.known:
            return False
        self.known += 1
        self.taken.fill_(self.known)
        return True
