"""BSP: batch spectral penalization.

Chen, Wang, Long & Wang, "Transferability vs. discriminability: batch spectral penalization for
adversarial domain adaptation", ICML 2019 (PMLR 97:1081-1090).
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
from isthmus_alignment.deep.cdan import ConditionalAdversarial, MultilinearMap
from isthmus_alignment.deep.dann import DomainAdversarial
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class BSP(Strategy):
    """Keep adversarial training from drawing features into the few directions that transfer best.

    Adds weight · the ``directions`` largest squared singular values of each domain's features
    (b, d) to CDAN's objective, or to DANN's (``conditional=False``): the directions that dominate
    carry the domain, the others the classes. Cost per step: theirs and O(b² min(b, d) + b² d), as
    eigenvectors of the batch's Gram matrix say what a singular value decomposition would. Penalty
    and directions are the authors'; nothing was tuned. Digits, LeNet, 500 steps only, seed 0: USPS
    to MNIST 66.0; source-only 56.5.
    """

    name: ClassVar[str] = "bsp"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the domain loss: the ceiling of the reversal's schedule
    penalty: float = 1e-4  # beta: weight of the squared singular values
    directions: int = 1  # k: how many of them
    conditional: bool = True  # the critic sees predictions too: CDAN, else DANN
    critic_width: int = 256
    random_features: int = 1024  # in place of more than 4,096 products, where conditional
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "penalty")
        at_least_one(self, "directions", "critic_width", "random_features")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            inner: DomainAdversarial | ConditionalAdversarial
            if self.conditional:
                joint = MultilinearMap(net.width, net.schema.width, self.random_features)
                inner = ConditionalAdversarial(joint, self.critic_width, self.weight, False)
            else:
                inner = DomainAdversarial(net.width, self.critic_width, self.weight)
            return Penalised(inner, self.penalty, self.directions)

        return adapt_network(task, run, self.network, self.training, objective)


class Penalised(Objective):
    """An adversary's losses, plus the largest squared singular values of each domain's features."""

    def __init__(
        self,
        inner: DomainAdversarial | ConditionalAdversarial,
        penalty: float,
        directions: int,
    ) -> None:
        super().__init__()
        self.inner, self.penalty, self.directions = inner, penalty, directions

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        spectral = largest_squares(f_s, self.directions) + largest_squares(f_t, self.directions)
        losses = self.inner.losses(net, f_s, f_t, source, done)
        yield Step({**losses, "spectral": self.penalty * spectral})


def largest_squares(f: Tensor, k: int) -> Tensor:
    """Return the sum of the k largest squared singular values of f (n, d).

    That is |U'f|² for the k leading left singular vectors U, which may be held constant: the sum is
    stationary in them. They are eigenvectors of the smaller Gram matrix.
    """
    with torch.autocast(f.device.type, enabled=False):
        f = full(f)
        f = f if f.shape[0] <= f.shape[1] else f.T
        with torch.no_grad():
            leading = torch.linalg.eigh(f @ f.T).eigenvectors[:, -k:]
        return (leading.T @ f).square().sum()
