"""GVB: gradually vanishing bridge.

Cui, Wang, Zhuo, Su, Huang & Tian, "Gradually vanishing bridge for adversarial domain adaptation",
CVPR 2020, arXiv:2003.13183.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import nn

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, encode_both
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.dann import Reverse, domain_critic, domain_entropy, ramp
from isthmus_alignment.deep.predictions import entropy, full
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class GVB(Strategy):
    """Let a bridge carry what the domains do not share, and make it vanish as training goes on.

    A critic reads predictions softmax(head(f) - bridge(f)), rows counting 1 by exp(-entropy) as in
    CDAN; another bridge is part of the critic's own logit. Minimises task + domain, reversed for
    the network, + bridge_weight mean |bridge| + critic_bridge mean |critic's bridge|, GVB-GD of the
    paper. Head and bridge are linear, and are deployed as one layer. Weights by certainty are
    constants here; the authors' code lets a reversed gradient through. Cost: DANN's, and one more
    head. Weights and schedule are the authors'; nothing was tuned. Digits, LeNet, 500 steps only,
    seed 0: USPS to MNIST 67.8; source-only 56.5 (the paper has none on digits).
    """

    name: ClassVar[str] = "gvb"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the domain loss: the ceiling of the reversal's schedule
    bridge_weight: float = 1.0  # lambda: of the mean size of the network's bridge
    critic_bridge: float = 1.0  # mu: of the critic's
    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "bridge_weight", "critic_bridge")
        at_least_one(self, "critic_width")
        if self.training.ema is not None:
            raise BadInput("gvb deploys head and bridge as one layer, without an average: no ema")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        made: list[Bridged] = []

        def objective(net: Network) -> Objective:
            made.append(Bridged(net.width, net.schema.width, self))
            return made[0]

        adapted = adapt_network(task, run, self.network, self.training, objective)
        made[0].fold(cast(Network, adapted.part).head)
        return adapted


class Bridged(Objective):
    """DANN's game over predictions, with a bridge on either side of it."""

    def __init__(self, width: int, classes: int, recipe: GVB) -> None:
        super().__init__()
        self.bridge = nn.Linear(width, classes)
        self.critic = domain_critic(classes, recipe.critic_width)
        self.critic[-1] = nn.Linear(recipe.critic_width, 2)  # the logit, and its bridge
        self.recipe = recipe

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f, n, recipe = torch.cat(encode_both(net, source, target)), len(source.y), self.recipe
        bridge = full(self.bridge(f))
        z = full(net.head(f)) - bridge
        rate = recipe.weight * ramp(done)
        logit, part = full(self.critic(Reverse.apply(z.softmax(dim=1), rate))).T
        certainty = torch.exp(-entropy(z.detach()))
        yield Step(
            {
                "task": net.loss(z[:n], source.y, source.weight),
                "domain": domain_entropy(logit - part, n, certainty),
                "bridge": recipe.bridge_weight * bridge.abs().mean(),
                "critic_bridge": recipe.critic_bridge * part.abs().mean(),
            }
        )

    def deployed(self, net: Network) -> Network:
        whole = copy.deepcopy(net)
        self.fold(whole.head)
        return whole

    def fold(self, head: nn.Linear) -> None:
        """Make of a trained head and its bridge one layer that gives their difference."""
        with torch.no_grad():
            head.weight.sub_(self.bridge.weight)
            head.bias.sub_(self.bridge.bias)
