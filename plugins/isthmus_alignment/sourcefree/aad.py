"""AaD: attracting and dispersing.

Yang, Wang, Wang, Jui & van de Weijer, "Attracting and dispersing: a simple approach for
source-free domain adaptation", NeurIPS 2022, arXiv:2205.04183.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

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
from isthmus_alignment.sourcefree.source import NEEDS, SMOOTHED, source_model


@dataclass(frozen=True, kw_only=True)
class AaD(Strategy):
    """Make neighbours in the target predict alike, and other rows of a batch unlike.

    min -sum_k p_i . q_k + rate sum_j p_i . p_j, over the nearest rows k in a bank of features and
    predictions q of the whole target, and over the batch's other rows j, with a rate of
    (1 + 10 done)^-decay. It starts from ``task.start``, or from a network trained on the sources as
    in SHOT, which are not read afterwards. Cost: one forward pass of the target, and b n d to
    search the bank of n (d + classes) floats. Neighbours and decay are the authors' for VisDA; they
    choose others for other data by a label-free score. Nothing was tuned. Digits, LeNet, 2,000
    steps after 2,000 on the source, seed 0: MNIST to USPS 87.1; source-only 76.2 (VisDA,
    ResNet-101, paper: 88.0).
    """

    name: ClassVar[str] = "aad"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = NEEDS

    neighbours: int = 5
    decay: float = 5.0  # beta: how fast the dispersing term fades
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = SMOOTHED  # on the sources, where no model is given
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "neighbours")
        from_zero(self, "decay")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net, run = source_model(task, run, self.network, self.pretraining)
            seen = as_deployed(net.to(run.device), task.target.x)
            objective = AttractDisperse(*seen, self.neighbours, self.decay)
            done = train(net, objective, (), task.target, run, self.training)
        return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


class AttractDisperse(Objective):
    """Agreement with the neighbours in a bank of the whole target, and none within the batch."""

    def __init__(
        self, features: Tensor, probabilities: Tensor, neighbours: int, decay: float
    ) -> None:
        super().__init__()
        self.bank = Bank(features, probabilities)
        self.neighbours, self.decay = neighbours, decay

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        assert target.row is not None
        f = net.encode(target.x)
        p = full(net.head(f)).softmax(dim=1)
        self.bank.store(full(f).detach(), p.detach(), target.row)
        near = self.bank.probabilities[self.bank.nearest(target.row, self.neighbours)]
        rate = (1 + 10 * done) ** -self.decay
        yield Step({"attract": -attraction(p, near), "disperse": rate * dispersion(p, target.row)})


def attraction(p: Tensor, near: Tensor) -> Tensor:
    """Return the mean over rows of the sum of p (b, c) . near (b, k, c) over the k neighbours."""
    return (p * near.sum(dim=1)).sum(dim=1).mean()


def dispersion(p: Tensor, row: Tensor) -> Tensor:
    """Return the mean over rows of the sum of p_i . p_j (b, c) over the batch's other rows."""
    other = row[:, None] != row[None, :]  # few rows are repeated until they fill a batch
    return ((p @ p.T) * other).sum(dim=1).mean()
