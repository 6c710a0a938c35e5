"""IRM: invariant risk minimisation, the practical version IRMv1.

Arjovsky, Bottou, Gulrajani & Lopez-Paz, "Invariant risk minimization", 2019, arXiv:1907.02893.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.generalisation.risks import late, risks
from isthmus_alignment.limits import a_share_if_given, from_zero


@dataclass(frozen=True, kw_only=True)
class IRM(Strategy):
    """Learn features on which one head is the best for every source at once.

    Minimises the mean over sources of risk + weight · (d risk(w z) / dw at w = 1)²: where the slope
    in a factor of the logits is 0 for all, no source would have the head otherwise. The square is
    estimated without bias by two halves of a batch, as in the paper's appendix. Cost: one pass of a
    batch of each source and the slopes, O(rows classes). A weight of 1 is the default of the WILDS
    benchmark; larger ones begin after a tenth of the training, as in DomainBed (100): they keep off
    what misleads (0.65 where source-only has 0.10, in the tests) and cost accuracy where nothing
    does. PACS, MobileNetV2 features, 500 steps, mean of 4 targets: 61.3, source-only 61.6
    (DomainBed, ResNet-50 fine-tuned: 83.5 and 85.5).
    """

    name: ClassVar[str] = "irm"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="several", target="unused")

    weight: float = 1.0  # of the penalty
    start: float = 0.1  # share of the training in which the penalty has a weight of 1 at most
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()  # batches of training.batch_size rows of each source

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        a_share_if_given(self, "start")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            return Invariant(len(task.sources), self.weight, self.start)

        return adapt_network(task, run, self.network, self.training, objective, apart=True)


class Invariant(Objective):
    """The mean risk, plus how far a factor of 1 is from the best for each source."""

    uses_target: ClassVar[bool] = False

    def __init__(self, sources: int, weight: float, start: float) -> None:
        super().__init__()
        self.sources, self.weight, self.start = sources, weight, start

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        z, weight = net.head(net.encode(source.x)), late(self.weight, self.start, done)
        pairs = zip(z.chunk(self.sources), source.y.chunk(self.sources), strict=True)
        penalty = torch.stack([squared_slope(net, *pair) for pair in pairs]).mean()
        task = risks(net, z, source, self.sources).mean()
        yield Step({"task": task, "invariance": weight * penalty})


def squared_slope(net: Network, z: Tensor, y: Tensor) -> Tensor:
    """Return an unbiased estimate of the square of d risk(w z) / dw at w = 1, of one source.

    It is the product of the slopes in every other row and in the rest, and so can be negative.
    """
    w = torch.ones((), device=z.device, dtype=full(z).dtype, requires_grad=True)
    slopes = [
        torch.autograd.grad(net.loss(full(z)[half::2] * w, y[half::2]), w, create_graph=True)[0]
        for half in (0, 1)
    ]
    return slopes[0] * slopes[1]
