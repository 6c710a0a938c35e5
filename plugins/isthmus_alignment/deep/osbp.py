"""OSBP: open set domain adaptation by backpropagation.

Saito, Yamamoto, Ushiku & Harada, "Open set domain adaptation by backpropagation", ECCV 2018,
arXiv:1804.10427.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.domain import UNKNOWN
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import Reverse, ramp
from isthmus_alignment.deep.mdd import unlike
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class OSBP(Strategy):
    """Tell target rows of unknown classes from those of the source's classes by a boundary.

    The head has one class more, "unknown". It learns to give it probability ``boundary`` on the
    target, and the encoder, behind a gradient reversal, to move each target row away from there:
    to the known classes or to the unknown. Minimises CE(source) + boundary · mean -log p(unknown) +
    (1 - boundary) · mean -log(1 - p(unknown)) on the target. Cost: one forward pass of both
    domains. The boundary is the paper's; the reversal grows as DANN's. Judge it by
    balanced-accuracy, where "unknown" counts as one class (OS in the paper). MNIST to USPS with the
    digits 5 to 9 unknown, LeNet, seed 0: OS 80.8 and accuracy 73.2 after 1,000 steps (72.6 and 64.8
    after 400, source-only then 75.6 and 53.8): half of the unknown are found, 86.2 of the known
    kept (Office-31, open set, ResNet-50, the library of Jiang et al.: OS 87.8, source-only 75.9).
    """

    name: ClassVar[str] = "osbp"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=BATCHED,
        sources="any",
        outputs=frozenset({"classes"}),
        unknown=True,
    )

    weight: float = 1.0  # of what the encoder works against: the ceiling of the schedule
    boundary: float = 0.5  # t: the probability of "unknown" on either side of which rows fall
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        if not 0 < self.boundary < 1:
            raise BadInput(f"osbp: boundary={self.boundary}, expected a number between 0 and 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        unknown = task.schema.classes.index(UNKNOWN)
        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: OpenSet(unknown, self.weight, self.boundary),
        )


class OpenSet(Objective):
    """The task loss, plus a boundary that the head draws and the encoder leaves."""

    def __init__(self, unknown: int, weight: float, boundary: float) -> None:
        super().__init__()
        self.unknown, self.weight, self.boundary = unknown, weight, boundary

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        z = net.head(Reverse.apply(f_t, self.weight * ramp(done)))
        unknown = torch.full((len(f_t),), self.unknown, device=f_t.device)
        t = self.boundary
        adversary = t * F.cross_entropy(full(z), unknown) + (1 - t) * unlike(z, unknown)
        task = net.loss(net.head(f_s), source.y, source.weight)
        yield Step({"task": task, "unknown": adversary})
