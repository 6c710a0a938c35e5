"""CDAN: conditional adversarial domain adaptation.

Long, Cao, Wang & Jordan, "Conditional adversarial domain adaptation", NeurIPS 2018,
arXiv:1705.10667.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import domain_critic, domain_loss, ramp
from isthmus_alignment.deep.predictions import entropy, full
from isthmus_alignment.limits import at_least_one, from_zero

LARGEST = 4096  # columns of the exact map; more are drawn at random, as in the paper


@dataclass(frozen=True, kw_only=True)
class CDAN(Strategy):
    """Make source and target indistinguishable to a critic that sees features and predictions.

    DANN's critic reads all products of features f and probabilities p, so that it is classes which
    are aligned, not only domains: min task - rate sum_i w_i BCE(critic(f_i p_i')), where rows count
    w = 1 + exp(-entropy) within their domain (CDAN+E; ``entropy=False`` is CDAN). Both p and w are
    constants here; the authors' code holds p, and lets a reversed gradient through w. Cost: DANN's,
    and b d classes products, which the critic's first layer reads, for a batch of b; random
    features stand in for more than 4,096. Schedule and weights are the authors', the critic is
    DANN's; nothing was tuned. Digits, LeNet, last step, three seeds: MNIST to USPS 92.5, back 89.7;
    source-only 76.2, 60.7, dann 88.9, 89.5 (paper: CDAN 93.9, 96.9, CDAN+E 95.6, 98.0; other
    libraries: 79 to 91).
    """

    name: ClassVar[str] = "cdan"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the domain loss: the ceiling of the reversal's schedule
    entropy: bool = True  # rows count by the certainty of their prediction: CDAN+E
    critic_width: int = 256
    random_features: int = 1024  # in place of more than 4,096 products
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        at_least_one(self, "critic_width", "random_features")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            joint = MultilinearMap(net.width, net.schema.width, self.random_features)
            return ConditionalAdversarial(joint, self.critic_width, self.weight, self.entropy)

        return adapt_network(task, run, self.network, self.training, objective)


class ConditionalAdversarial(Objective):
    """The task loss, plus DANN's critic on the joint map of features and predictions."""

    def __init__(
        self, joint: MultilinearMap, critic_width: int, weight: float, by_entropy: bool
    ) -> None:
        super().__init__()
        self.joint, self.critic = joint, domain_critic(joint.width, critic_width)
        self.weight, self.by_entropy = weight, by_entropy

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        yield Step(self.losses(net, f_s, f_t, source, done))

    def losses(
        self, net: Network, f_s: Tensor, f_t: Tensor, source: Batch, done: float
    ) -> dict[str, Tensor]:
        """Return the losses of features (n, width) and (m, width), for others to add theirs."""
        z_s, z_t = net.head(f_s), net.head(f_t)
        # Predictions say where to align; a gradient through them would trade them for alignment.
        z = torch.cat([z_s, z_t]).detach()
        both = self.joint(torch.cat([f_s, f_t]), full(z).softmax(dim=1))
        certainty = 1 + torch.exp(-entropy(z)) if self.by_entropy else None
        rate, n = self.weight * ramp(done), len(f_s)
        domain = domain_loss(self.critic, both[:n], both[n:], rate, certainty)
        return {"task": net.loss(z_s, source.y, source.weight), "domain": domain}


class MultilinearMap(nn.Module):
    """All products of a feature and a probability, or random features of them where many.

    Random features (R_f f) * (R_p p) / sqrt(count) have the products' inner products in the mean.
    """

    def __init__(self, features: int, classes: int, count: int) -> None:
        super().__init__()
        self.exact = features * classes <= LARGEST
        self.width = features * classes if self.exact else count
        if not self.exact:
            self.register_buffer("of_features", torch.randn(features, count) / math.sqrt(count))
            self.register_buffer("of_classes", torch.randn(classes, count))
        self.of_features: Tensor
        self.of_classes: Tensor

    def forward(self, f: Tensor, p: Tensor) -> Tensor:
        """Return (b, width) of features (b, features) and probabilities (b, classes)."""
        if self.exact:
            return (f[:, :, None] * p[:, None, :]).flatten(1)
        return (f @ self.of_features) * (p @ self.of_classes)
