"""ATDOC: auxiliary target domain-oriented classifier, by neighbourhood aggregation.

Liang, Hu & Feng, "Domain adaptation with auxiliary target domain-oriented classifier", CVPR 2021,
arXiv:2007.04171.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.modes import quiet
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class ATDOC(Strategy):
    """Label a target row by its nearest neighbours in a memory of the target, not by the head.

    The head is biased to the source. The memory holds the last features and sharpened predictions
    of each row; those of the neighbours by angle, averaged, give label and weight: min task +
    weight done sum_i q_i CE_i / sum_i q_i. Cost: two forward passes of the target; per step b m
    width for neighbours among m target rows, and m (width + classes) of memory. Weight and 5
    neighbours are the authors'; without their smoothed labels. Nothing was tuned. Digits, LeNet,
    last step, seed 0: MNIST to USPS 93.5, back 87.6; source-only 76.2, 60.7. The paper has no
    digits.
    """

    name: ClassVar[str] = "atdoc"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 0.2  # of the pseudo-labels at the end; it grows linearly from 0
    neighbours: int = 5
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        at_least_one(self, "neighbours")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            memory = Memory(len(task.target), net.width, net.schema.width)
            return Aggregation(memory, self.neighbours, self.weight)

        return adapt_network(task, run, self.network, self.training, objective)


class Memory(torch.nn.Module):
    """What the network last made of each target row; a row not seen yet supports no class."""

    def __init__(self, n: int, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(n, width))  # of norm 1 once they are seen
        self.register_buffer("predictions", torch.zeros(n, classes))
        self.features: Tensor
        self.predictions: Tensor

    def store(self, row: Tensor, f: Tensor, logits: Tensor) -> None:
        """Take in features (b, width) and logits (b, classes) of rows (b,).

        Predictions are squared and divided by their sums over the batch: sharper, and balanced
        between classes.
        """
        p = full(logits).softmax(dim=1).square()
        self.features[row] = F.normalize(full(f), dim=1)
        self.predictions[row] = p / p.sum(dim=0).clamp_min(1e-12)

    def recall(self, row: Tensor, f: Tensor, neighbours: int) -> Tensor:
        """Return the mean prediction (b, classes) of the rows whose features are nearest by angle
        to f (b, width), without the row itself."""
        unseen = self.predictions.sum(dim=1) == 0
        with torch.autocast(f.device.type, enabled=False):  # or near ones are mixed up
            alike = (full(f) @ self.features.T).masked_fill(unseen, -torch.inf)
        alike.scatter_(1, row[:, None], -torch.inf)
        near = alike.topk(min(neighbours, alike.shape[1]), dim=1)
        return (self.predictions[near.indices] * near.values.isfinite()[:, :, None]).mean(dim=1)


class Aggregation(Objective):
    """The task loss, plus that of the target's rows with the labels of their neighbours."""

    def __init__(self, memory: Memory, neighbours: int, weight: float) -> None:
        super().__init__()
        self.memory, self.neighbours, self.weight = memory, neighbours, weight

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        assert target.row is not None
        f_s, f_t = encode_both(net, source, target)
        q = self.memory.recall(target.row, f_t.detach(), self.neighbours)
        task = net.loss(net.head(f_s), source.y, source.weight)
        yield Step({"task": task, "neighbours": self.weight * done * agree(net.head(f_t), q)})
        with torch.no_grad(), quiet(net):
            f = net.encode(target.x)
            self.memory.store(target.row, f, net.head(f))


def agree(logits: Tensor, q: Tensor) -> Tensor:
    """Return the cross-entropy of logits (b, classes) to the class that q (b, classes) favours.

    Rows count by how much it does, relative to each other; 0 where none has a neighbour.
    """
    weight, label = q.max(dim=1)
    each = F.cross_entropy(full(logits), label, reduction="none")
    return (weight * each).sum() / weight.sum().clamp_min(1e-12)
