"""Mean teacher: self-ensembling for visual domain adaptation.

French, Mackiewicz & Fisher, "Self-ensembling for visual domain adaptation", ICLR 2018,
arXiv:1706.05208.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.augment import Augment, Strong
from isthmus.learners.average import Average
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import a_share_if_given, from_zero


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(Strategy):
    """Predict a target row as the average of past networks does, which sees another view of it.

    min task + weight (mean |p - p_teacher|² / classes where the teacher is sure + balance BCE(mean
    p, uniform)). Each domain has a pass of its own; the teacher has dropout, gathers statistics
    of the target alone, and is deployed. Cost: forward passes of three views, two of them backward,
    and a second copy of the weights. Weights, threshold, decay and Adam's rate are those of the
    authors' code; their views are mild affine ones, ours fixmatch's without the hole, and they
    train 300 epochs of 256 rows. Nothing was tuned. Digits, LeNet, 2,000 steps, seed 0: USPS to
    MNIST 95.5; source-only 60.7 (paper: 99.5, and MNIST to USPS 98.2).
    """

    name: ClassVar[str] = "mean-teacher"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 3.0  # of the difference from the teacher
    threshold: float = 0.968  # the teacher's confidence from which a row counts
    balance: float = 0.005  # of the classes' balance, relative to that difference
    decay: float = 0.99  # of the average that is the teacher
    view: Augment = Strong(hole=0.0)  # of the source, and twice of the target
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training(
        steps=3000, optimiser="adam", lr=1e-3, weight_decay=0.0, schedule="cosine"
    )

    def __post_init__(self) -> None:
        from_zero(self, "weight", "balance")
        a_share_if_given(self, "threshold")
        a_share_if_given(self, "decay")
        if self.training.ema is not None:
            raise BadInput("mean-teacher deploys its teacher, an average of its own: set decay")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net = network_for(task, self.network)
            student = SelfEnsembling(
                Average(net, self.decay, live=True),
                self.view,
                self.weight,
                self.threshold,
                self.balance,
            )
            done = train(net, student, task.source, task.target, run, self.training)
            student.teacher.deploy(net)
        return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


class SelfEnsembling(Objective):
    """The task loss, plus the teacher's where it is sure. Each domain has a pass of its own, and
    the teacher, which is deployed, normalises by the target alone."""

    def __init__(
        self, teacher: Average, view: Augment, weight: float, threshold: float, balance: float
    ) -> None:
        super().__init__()
        self.teacher, self.view = teacher, view
        self.weight, self.threshold, self.balance = weight, threshold, balance

    def deployed(self, net: Network) -> Network:
        return self.teacher.net

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        with torch.no_grad():
            x_s, x_t = self.view(source.x), self.view(target.x)
            said = self.teacher.net.head(self.teacher.net.encode(self.view(target.x)))
            said = full(said).softmax(dim=1)
            sure = said.amax(dim=1) > self.threshold
        p = full(net.head(net.encode(x_t))).softmax(dim=1)
        differ = ((p - said).square().mean(dim=1) * sure).mean()
        even = self.balance * unbalance(p) * sure.float().mean()
        task = net.loss(net.head(net.encode(x_s)), source.y, source.weight)
        yield Step({"task": task, "teacher": self.weight * (differ + even)})

    def stepped(self, net: Network) -> None:
        self.teacher.update(net)


def unbalance(p: Tensor) -> Tensor:
    """Return the sum over classes of the binary cross-entropy of the mean of p (b, classes) to
    equal shares."""
    share, mean = 1 / p.shape[1], p.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    return -(share * mean.log() + (1 - share) * (1 - mean).log()).sum()
