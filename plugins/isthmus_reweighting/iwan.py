"""IWAN: importance weighted adversarial nets.

Zhang, Ding, Li & Ogunbona, "Importance weighted adversarial nets for partial domain adaptation",
CVPR 2018, arXiv:1803.09210; with one encoder, trained in one stage, as in the benchmark of Jiang,
Shu, Wang & Long, "Transferability in deep learning: a survey", 2022, arXiv:2201.05867.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import domain_critic, domain_loss, ramp
from isthmus_alignment.deep.predictions import entropy
from isthmus_alignment.limits import from_zero
from isthmus_reweighting.adversary import weighted_domain_loss

MEMORY = 0.99  # of the mean weight of each class, per step; it is only reported
PACE = 4.5  # of the first critic: what its loss is multiplied by in the benchmark


@dataclass(frozen=True, kw_only=True)
class IWAN(Strategy):
    """Hide from a critic what tells the target from source rows that look as if it had them.

    A first critic learns to tell the domains apart and deceives nobody: 1 minus its probability of
    "source", over the batch's mean, is the weight of a source row for the second one, which the
    encoder works against; predictions on the target are made certain. The paper moves a copy of a
    finished encoder that no label holds any more, which lost accuracy on digits (17 to 83). Cost:
    DANN and one more critic; ``entropy`` and the pace of the first critic are the benchmark's.
    MNIST to USPS with the digits 0 to 4 only, LeNet, 600 steps, two seeds: 94.9 (one without
    entropy: 82.3); DANN 72.7, source-only 83.6 (Office-31, partial, ResNet-50: 94.8, DANN 82.4,
    source-only 90.1, in the benchmark).
    """

    name: ClassVar[str] = "iwan"
    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the domain loss: the ceiling of the reversal's schedule
    entropy: float = 0.1  # weight of the entropy of predictions on the target
    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "entropy")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        made: list[ImportanceWeighted] = []

        def objective(net: Network) -> Objective:
            made.append(ImportanceWeighted(net.width, task.schema.width, self))
            return made[0]

        adapted = adapt_network(task, run, self.network, self.training, objective)
        found = {"class_weights": made[0].class_weights()}
        return replace(adapted, diagnostics={**adapted.diagnostics, **found})


class ImportanceWeighted(Objective):
    """Two critics: one says how much a source row counts, the other is deceived."""

    total: Tensor  # (classes,) of weights, and of rows: running sums
    count: Tensor

    def __init__(self, width: int, classes: int, recipe: IWAN) -> None:
        super().__init__()
        self.weigher = domain_critic(width, recipe.critic_width)
        self.critic = domain_critic(width, recipe.critic_width)
        self.recipe = recipe
        self.register_buffer("total", torch.zeros(classes))
        self.register_buffer("count", torch.zeros(classes))

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        told = domain_loss(self.weigher, f_s.detach(), f_t.detach(), 1.0)
        yield Step({"weigher": PACE * told}, only=[*self.weigher.parameters()])
        with torch.no_grad():
            w = row_weights(self.weigher(f_s).squeeze(1))
            self._remember(w, source.y)
        rate = self.recipe.weight * ramp(done)
        yield Step(
            {
                "task": net.loss(net.head(f_s), source.y, source.weight),
                "domain": weighted_domain_loss(self.critic, f_s, f_t, w, rate),
                "entropy": self.recipe.entropy * entropy(net.head(f_t)).mean(),
            }
        )

    def class_weights(self) -> list[float]:
        """Return the mean weight of the source rows of each class, where the mean of all is 1."""
        mean = self.total / self.count.clamp_min(1e-12)
        return [float(w) for w in mean]

    def _remember(self, w: Tensor, y: Tensor) -> None:
        hot = F.one_hot(y, len(self.total)).float()
        self.total.mul_(MEMORY).add_(w @ hot)
        self.count.mul_(MEMORY).add_(hot.sum(0))


def row_weights(logits: Tensor) -> Tensor:
    """Return 1 - sigmoid(logits) (n,), over its mean."""
    w = torch.sigmoid(-logits.float())
    return w / w.mean().clamp_min(1e-12)
