"""VADA: virtual adversarial domain adaptation.

Shu, Bui, Narui & Ermon, "A DIRT-T approach to unsupervised domain adaptation", ICLR 2018,
arXiv:1802.08735.
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
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import domain_critic, domain_loss
from isthmus_alignment.deep.predictions import entropy
from isthmus_alignment.deep.virtual import virtual_divergence
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class VADA(Strategy):
    """Keep decision boundaries out of dense regions of the target, beside a domain critic.

    Minimises task + weight · domain (reversed) + certainty · mean H(p_t) + smooth · VAT on the
    source + certainty · VAT on the target, where VAT is KL(p(x) | p(x + r)) for the worst r of a
    radius: predictions are certain and do not change nearby, so that boundaries pass where no
    target row is. Cost: DANN's and three more forward passes of both domains, two of them backward.
    Weights are the paper's for digits, and the radius its 3.5 over 3,072 values, as a root mean
    square. Without the paper's moving average of weights, and without DIRT-T. Digits, LeNet, 500
    steps only, seed 0: USPS to MNIST 58.3; source-only 56.5.
    """

    name: ClassVar[str] = "vada"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 0.01  # lambda_d: of the domain loss, for the encoder
    smooth: float = 1.0  # lambda_s: of VAT on the source
    certainty: float = 0.01  # lambda_t: of entropy and VAT on the target
    radius: float = 0.063  # of VAT: root mean square over an instance's prepared values
    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "smooth", "certainty", "radius")
        at_least_one(self, "critic_width")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return adapt_network(
            task, run, self.network, self.training, lambda net: Clustered(net.width, self)
        )


class Clustered(Objective):
    """The task loss, a critic behind a reversal, and the cluster assumption on the target."""

    def __init__(self, width: int, recipe: VADA) -> None:
        super().__init__()
        self.critic, self.recipe = domain_critic(width, recipe.critic_width), recipe

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        recipe, n = self.recipe, len(source.x)
        f_s, f_t = encode_both(net, source, target)
        vat = virtual_divergence(net, torch.cat([source.x, target.x]), recipe.radius)
        smooth: Tensor = recipe.smooth * vat[:n].mean() + recipe.certainty * vat[n:].mean()
        yield Step(
            {
                "task": net.loss(net.head(f_s), source.y, source.weight),
                "domain": domain_loss(self.critic, f_s, f_t, recipe.weight),
                "entropy": recipe.certainty * entropy(net.head(f_t)).mean(),
                "smooth": smooth,
            }
        )
