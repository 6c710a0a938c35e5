"""SymNets: domain-symmetric networks.

Zhang, Tang, Jia & Tan, "Domain-symmetric networks for adversarial domain adaptation", CVPR 2019,
arXiv:1904.04663.
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
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import domain_entropy, ramp
from isthmus_alignment.deep.predictions import entropy, full
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class SymNets(Strategy):
    """Give each domain a head, and make features of which the two, side by side, cannot say whose.

    A softmax over both heads' outputs is a classifier of 2K classes: K of the source, K of the
    target. The heads learn the source's labels, each alone, and to which domain a row belongs by
    the sums of their halves; the encoder learns to give a source row both of its class's outputs
    alike (category confusion) and, with a weight that grows, a target row both halves alike, and
    one class: min H(p_k + p_{K+k}). Heads and encoder take turns on the same features. The
    target's head is deployed. Cost: one forward pass of both domains. The weights and their
    schedule are the paper's; nothing was tuned. Digits, LeNet, last step, seed 0: MNIST to USPS
    86.8, back 68.0; source-only 76.2, 60.7, dann 88.9, 89.5 (Office-31, ResNet-50, paper: 88.4 from
    76.1).
    """

    name: ClassVar[str] = "symnets"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of confusion and entropy on the target: the ceiling of the schedule
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Symmetric(net.width, net.schema.width, self.weight),
        )


class Symmetric(Objective):
    """The heads tell classes and domains, then the encoder confuses them."""

    def __init__(self, width: int, classes: int, weight: float) -> None:
        super().__init__()
        self.source = nn.Linear(width, classes)  # the head of the target is the network's own
        self.classes, self.weight = classes, weight

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        k, y, w = self.classes, source.y, source.weight
        f_s, f_t = encode_both(net, source, target)
        z_s, z_t = self.logits(net, f_s.detach()), self.logits(net, f_t.detach())
        heads = [*net.head.parameters(), *self.source.parameters()]
        task = net.loss(z_s[:, :k], y, w) + net.loss(z_s[:, k:], y, w)
        told = 2 * domain_entropy(evidence(torch.cat([z_s, z_t])), len(z_s))
        yield Step({"task": task, "domains": told}, only=heads)
        z_s, z_t = self.logits(net, f_s), self.logits(net, f_t)
        rate = self.weight * ramp(done)
        yield Step(
            {
                "category": (net.loss(z_s, y, w) + net.loss(z_s, y + k, w)) / 2,
                "confusion": rate * confusion(evidence(z_t)),
                "entropy": rate * entropy(torch.logaddexp(*z_t.chunk(2, dim=1))).mean(),
            },
            only=[p for p in net.encoder.parameters() if p.requires_grad],
        )

    def logits(self, net: Network, f: Tensor) -> Tensor:
        """Return what the two heads say of features (n, width) side by side, (n, 2 classes)."""
        return full(torch.cat([self.source(f), net.head(f)], dim=1))


def evidence(z: Tensor) -> Tensor:
    """Return the logit (n,) of "source": of the sum of the first half of softmax(z (n, 2k))."""
    source, target = z.chunk(2, dim=1)
    return source.logsumexp(dim=1) - target.logsumexp(dim=1)


def confusion(guess: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n,) to even odds, which is the least at 0."""
    return (F.softplus(guess) + F.softplus(-guess)).mean() / 2
