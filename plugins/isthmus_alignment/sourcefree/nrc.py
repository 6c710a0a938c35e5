"""NRC: neighbourhood reciprocity clustering.

Yang, Wang, van de Weijer, Herranz & Jui, "Exploiting the intrinsic neighborhood structure for
source-free domain adaptation", NeurIPS 2021, arXiv:2110.04202.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, seeded, train
from isthmus.learners.modes import as_deployed
from isthmus.learners.network import Network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero
from isthmus_alignment.sourcefree.bank import Bank
from isthmus_alignment.sourcefree.shot import mean_entropy
from isthmus_alignment.sourcefree.source import NEEDS, SMOOTHED, source_model


@dataclass(frozen=True, kw_only=True)
class NRC(Strategy):
    """Make neighbours in the target predict alike, most of all those that are so mutually.

    min -sum_k a_k p_i . q_k - affinity sum_m p_i . q_m - p_i . q_i - H(mean p), over the nearest
    rows k in a bank of features and predictions q of the whole target and over their own nearest m;
    a_k is 1 where i is among the nearest of k, else ``affinity``. It starts from ``task.start``, or
    from a network trained on the sources as in SHOT, which are not read afterwards. Cost: one
    forward pass of the target, and (1 + neighbours) b n d to search the bank of n (d + classes)
    floats. Neighbours and affinity are the authors' for VisDA (fewer on their small sets), the rate
    is that of all deep methods here. Nothing was tuned. Digits, LeNet, 2,000 steps after 2,000 on
    the source, seed 0: MNIST to USPS 87.2; source-only 76.2 (VisDA, ResNet-101, paper: 85.9).
    """

    name: ClassVar[str] = "nrc"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = NEEDS

    neighbours: int = 5  # K, of a row
    expanded: int = 5  # M, of each of these
    affinity: float = 0.1  # r: of neighbours that are not mutual, and of neighbours' neighbours
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = SMOOTHED  # on the sources, where no model is given
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "neighbours", "expanded")
        from_zero(self, "affinity")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net, run = source_model(task, run, self.network, self.pretraining)
            seen = as_deployed(net.to(run.device), task.target.x)
            objective = Reciprocal(*seen, self.neighbours, self.expanded, self.affinity)
            done = train(net, objective, (), task.target, run, self.training)
        return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


class Reciprocal(Objective):
    """Agreement with neighbours, with theirs and with oneself, and predictions that are diverse."""

    def __init__(
        self,
        features: Tensor,
        probabilities: Tensor,
        neighbours: int,
        expanded: int,
        affinity: float,
    ) -> None:
        super().__init__()
        self.bank = Bank(features, probabilities)
        self.neighbours, self.expanded, self.affinity = neighbours, expanded, affinity

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        assert target.row is not None
        f = net.encode(target.x)
        z = net.head(f)
        p = full(z).softmax(dim=1)
        self.bank.store(full(f).detach(), p.detach(), target.row)
        near, further = self.around(target.row)
        yield Step(
            {
                "neighbours": -agreement(p, near),
                "expanded": -agreement(p, further),
                "self": -agreement(p, self.bank.probabilities[target.row]),
                "diversity": -mean_entropy(z),
            }
        )

    def around(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums (b, classes) of the predictions of neighbours, and of theirs, of ``row``.

        Each counts by its affinity; a neighbour's neighbour counts as often as it occurs, but not
        where it is the row itself, which has a term of its own.
        """
        q = self.bank.probabilities
        near = self.bank.nearest(row, self.neighbours)  # (b, K)
        further = self.bank.nearest(near.flatten(), self.expanded).unflatten(0, near.shape)
        back = further == row[:, None, None]
        mutual = torch.where(back.any(dim=2), 1.0, self.affinity).to(q.dtype)
        others = self.affinity * (~back).to(q.dtype)
        return (
            torch.einsum("bk,bkc->bc", mutual, q[near]),
            torch.einsum("bkm,bkmc->bc", others, q[further]),
        )


def agreement(p: Tensor, q: Tensor) -> Tensor:
    """Return the mean over rows of p (b, classes) . q (b, classes)."""
    return (p * q).sum(dim=1).mean()
