"""ADDA: adversarial discriminative domain adaptation.

Tzeng, Hoffman, Saenko & Darrell, "Adversarial discriminative domain adaptation", CVPR 2017,
arXiv:1702.05464.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Supervised, Training, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus.learners.start import later
from isthmus_alignment.deep.dann import domain_critic, domain_loss
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one

MOVING = Training(optimiser="adam", lr=2e-4, weight_decay=0.0, schedule="constant")


@dataclass(frozen=True, kw_only=True)
class ADDA(Strategy):
    """Give the target an encoder of its own, whose features a critic takes for the source's.

    First a network learns the source. Then a copy of its encoder reads the target: per batch the
    critic learns to tell the copy's features from those that the first encoder, now fixed, gives
    the source, and the copy minimises the cross-entropy of the opposite answer. The head stays, and
    is deployed behind the copy; the source keeps the first. Cost: a second training, of two encoder
    passes (one without gradients) and a critic of 3 layers; memory two networks. Nothing holds
    classes in place in the second training, which is why its rate is low: Adam, 2e-4, as the
    authors'. Digits, LeNet, 500 + 500 steps only, seed 0: USPS to MNIST 73.7; source-only with 500
    56.5 (paper: 90.1 from 57.1, on fewer rows).
    """

    name: ClassVar[str] = "adda"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # on the source
    training: Training = MOVING  # of the critic and the target's encoder

    def __post_init__(self) -> None:
        at_least_one(self, "critic_width")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net = network_for(task, self.network)
            before = self.pretraining
            train(net, Supervised(), task.source, task.target, run, before, stage="pretrain")
            first = copy.deepcopy(net).requires_grad_(False)
            objective = Inverted(first, self.critic_width)
            after = later(run, before.steps)
            done = train(net, objective, task.source, task.target, after, self.training)
        return TorchAdapted(
            part=net,
            schema=task.schema,
            diagnostics={"training": done},
            source_part=first,
        )


class Inverted(Objective):
    """A critic of two encoders, then the target's encoder with the labels of domains inverted."""

    def __init__(self, first: Network, critic_width: int) -> None:
        super().__init__()
        self.first, self.critic = first, domain_critic(first.width, critic_width)

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        self.first.eval()  # the loop sets the whole objective to training
        with torch.no_grad():
            f_s = self.first.encode(source.x)
        f_t = net.encode(target.x)
        critic = domain_loss(self.critic, f_s, f_t.detach(), 1.0)
        yield Step({"critic": critic}, only=[*self.critic.parameters()])
        encoder = [p for p in net.encoder.parameters() if p.requires_grad]
        yield Step({"domain": taken_for_source(self.critic(f_t))}, only=encoder)


def taken_for_source(logits: Tensor) -> Tensor:
    """Return the mean of -log p(source) of a critic's logits (n, 1)."""
    return F.softplus(-full(logits)).mean()
