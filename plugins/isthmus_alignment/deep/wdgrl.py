"""WDGRL: Wasserstein distance guided representation learning.

Shen, Qu, Zhang & Yu, "Wasserstein distance guided representation learning for domain adaptation",
AAAI 2018, arXiv:1707.01217.
"""

from __future__ import annotations

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
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class WDGRL(Strategy):
    """Bring source and target features together in the Wasserstein distance that a critic finds.

    Per batch: the critic takes ``critic_steps`` steps towards the largest gap mean c(source) - mean
    c(target) among functions of slope 1 (a penalty on gradients at both domains' rows and between
    them); the network then minimises task + weight · gap. Cost per step: ``critic_steps`` small
    networks with second derivatives, one encoder pass; memory that of the batch. Critic, its
    steps and penalty are the authors', who weigh 1 on text, 0.1 on objects and 0.01 on digits; with
    1 the network did not learn the source (40.3 below), and 0.1 stands for all. Digits, LeNet, 500
    steps only, seed 0, target labels in view: USPS to MNIST 82.8; source-only 56.5.
    """

    name: ClassVar[str] = "wdgrl"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 0.1  # of the Wasserstein distance
    penalty: float = 10.0  # gamma: on slopes of the critic other than 1
    critic_steps: int = 5  # per batch
    critic_width: int = 100
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "penalty")
        at_least_one(self, "critic_steps", "critic_width")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: WassersteinGuided(net.width, self),
        )


class WassersteinGuided(Objective):
    """A critic near its optimum, then the network against it."""

    def __init__(self, width: int, recipe: WDGRL) -> None:
        super().__init__()
        hidden = recipe.critic_width
        self.critic = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.recipe = recipe

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        recipe, critic = self.recipe, [*self.critic.parameters()]
        f_s, f_t = encode_both(net, source, target)
        for _ in range(recipe.critic_steps):
            with torch.autocast(f_s.device.type, enabled=False):
                found, rough = gap_and_slope(self.critic, full(f_s.detach()), full(f_t.detach()))
            yield Step({"found": -found, "slope": recipe.penalty * rough}, only=critic)
        task = net.loss(net.head(f_s), source.y, source.weight)
        distance = gap(self.critic(torch.cat([f_s, f_t])), len(f_s))
        moves = [p for p in net.parameters() if p.requires_grad]
        yield Step({"task": task, "wasserstein": recipe.weight * distance}, only=moves)


def gap(heights: Tensor, n: int) -> Tensor:
    """Return the mean of the first n of a critic's values (n + m, 1) minus that of the others."""
    heights = full(heights)
    return heights[:n].mean() - heights[n:].mean()


def gap_and_slope(critic: nn.Module, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gap between rows (n, d), (m, d), and the mean of (|gradient| - 1)².

    Gradients are taken at all rows, and at one point on the segment of each pair, drawn uniformly
    (Gulrajani et al., NeurIPS 2017, arXiv:1704.00028). Pairs are rows of like number.
    """
    n, pairs = len(source), min(len(source), len(target))
    share = torch.rand(pairs, 1, dtype=source.dtype, device=source.device)
    rows = torch.cat([source, target, source[:pairs].lerp(target[:pairs], share)])
    heights = critic(rows.requires_grad_())
    (slope,) = torch.autograd.grad(heights.sum(), rows, create_graph=True)
    rough = (torch.linalg.vector_norm(slope, dim=1) - 1).square().mean()
    return gap(heights[: n + len(target)], n), rough
