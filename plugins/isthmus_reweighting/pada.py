"""PADA: partial adversarial domain adaptation.

Cao, Ma, Long & Wang, "Partial adversarial domain adaptation", ECCV 2018, arXiv:1808.04205.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import domain_critic, ramp
from isthmus_alignment.limits import at_least_one, from_zero
from isthmus_reweighting.adversary import predicted, weighted_domain_loss


@dataclass(frozen=True, kw_only=True)
class PADA(Strategy):
    """DANN where source classes that the target seems to lack hardly count.

    A class weighs what the network predicts of it on the target, on average, over the largest such
    value; it multiplies the task loss and the critic's loss of each source row. The mean is taken
    of the whole target, anew after every ``update`` steps: the paper's 500 in proportion to our
    shorter training. Cost and memory are those of DANN and of predicting the target that often.
    MNIST to USPS with the digits 0 to 4 only, LeNet, 600 steps, two seeds: 87.2; DANN 72.7,
    source-only 83.6 (Office-31, partial, ResNet-50: 93.8, DANN 82.4, source-only 90.1, in the
    benchmark of Jiang et al. 2022).
    """

    name: ClassVar[str] = "pada"
    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the domain loss: the ceiling of the reversal's schedule
    update: int = 100  # steps between two looks at the whole target
    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "update")
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        made: list[PartialAdversarial] = []

        def objective(net: Network) -> Objective:
            judge = domain_critic(net.width, self.critic_width)
            steps = self.training.steps
            made.append(PartialAdversarial(judge, self, task.target.x, task.schema.width, steps))
            return made[0]

        adapted = adapt_network(task, run, self.network, self.training, objective)
        found = {"class_weights": made[0].share.tolist()}
        return replace(adapted, diagnostics={**adapted.diagnostics, **found})


class PartialAdversarial(Objective):
    """The task loss and a reversed critic, both weighted by class."""

    share: Tensor  # (classes,) of the target, over the largest

    def __init__(self, judge: torch.nn.Module, recipe: PADA, x: Any, k: int, steps: int) -> None:
        super().__init__()
        self.critic, self.recipe, self.x, self.steps = judge, recipe, x, steps
        self.register_buffer("share", torch.ones(k))

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        step = round(done * self.steps)
        if step and step % self.recipe.update == 0:
            self.share.copy_(class_weights(predicted(net, self.x)))
        f_s, f_t = encode_both(net, source, target)
        w = self.share[source.y]
        rate = self.recipe.weight * ramp(done)
        domain = weighted_domain_loss(self.critic, f_s, f_t, w, rate)
        yield Step({"task": net.loss(net.head(f_s), source.y, w), "domain": domain})


def class_weights(p: Any) -> Tensor:
    """Return the mean of probabilities (n, classes), over its largest value: (classes,)."""
    mean = torch.as_tensor(p, dtype=torch.float64).mean(0)
    return (mean / mean.max()).float()
