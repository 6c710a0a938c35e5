"""DIRT-T: decision-boundary iterative refinement training with a teacher.

Shu, Bui, Narui & Ermon, "A DIRT-T approach to unsupervised domain adaptation", ICLR 2018,
arXiv:1802.08735.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import Architecture
from isthmus.learners.average import Average
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, seeded, train
from isthmus.learners.network import Network
from isthmus.learners.start import begin
from isthmus_alignment.deep.predictions import divergence, entropy, full
from isthmus_alignment.deep.vada import VADA, Clustered
from isthmus_alignment.deep.virtual import virtual_divergence
from isthmus_alignment.limits import at_least_one, from_zero
from isthmus_alignment.refreshes import Refreshes
from isthmus_alignment.sourcefree.source import NEEDS

REFINING = Training(optimiser="adam", lr=1e-3, weight_decay=0.0, schedule="constant", ema=0.998)


@dataclass(frozen=True, kw_only=True)
class DIRTT(Strategy):
    """Move a model's decision boundaries out of dense regions of the target, in small safe steps.

    min certainty · (mean H(p) + VAT) + weight · mean KL(p_teacher | p) on the target alone: the
    source would hold boundaries where its own rows need them. The teacher is what the average of
    the weights (``training.ema``, which is deployed) was at the last refresh. It starts from
    ``task.start``, or from a network that VADA trained. Cost: five forward passes of the target,
    three of them backward, and three more copies of the weights. Weights, radius, decay and Adam's
    rate are the paper's, and so are 16 teachers, each for 5,000 of its 80,000 steps; with weights
    this small an optimiser that heeds the size of gradients would stand still. Nothing was tuned.
    Digits, LeNet, 2,000 steps after 2,000 of VADA, seed 0: USPS to MNIST 67.6; source-only 60.7
    (SVHN to MNIST, paper: 99.4 from VADA's 97.9).
    """

    name: ClassVar[str] = "dirt-t"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = NEEDS

    certainty: float = 0.01  # lambda_t: of entropy and VAT on the target, also VADA's
    weight: float = 0.01  # beta: of the divergence from the teacher
    radius: float = 0.063  # of VAT: root mean square over an instance's prepared values
    refreshes: int = 16  # of the teacher, evenly over the training
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # VADA's, where no model is given
    training: Training = REFINING

    def __post_init__(self) -> None:
        from_zero(self, "certainty", "weight", "radius")
        at_least_one(self, "refreshes")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        vada = VADA(certainty=self.certainty, radius=self.radius)
        with seeded(run):
            net, run = begin(
                task, run, self.network, self.pretraining, lambda net: Clustered(net.width, vada)
            )
            objective = Refinement(net, self)
            done = train(net, objective, (), task.target, run, self.training)
        return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


class Refinement(Objective):
    """Certain and smooth predictions of the target that stay near those of a teacher."""

    def __init__(self, net: Network, recipe: DIRTT) -> None:
        super().__init__()
        self.recipe, self.refreshes = recipe, Refreshes(recipe.refreshes)
        self.average = Average(net, recipe.training.ema or 0.0)
        self.teacher = Average(net, 0.0)  # a copy that only refreshes change

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        recipe, x = self.recipe, target.x
        if self.refreshes.due(done):
            self.average.deploy(self.teacher.net)
        with torch.no_grad():
            said = full(self.teacher.net.head(self.teacher.net.encode(x))).log_softmax(dim=1)
        z = full(net.head(net.encode(x)))
        yield Step(
            {
                "entropy": recipe.certainty * entropy(z).mean(),
                "smooth": recipe.certainty * virtual_divergence(net, x, recipe.radius).mean(),
                "teacher": recipe.weight * divergence(said, z.log_softmax(dim=1)).mean(),
            }
        )

    def stepped(self, net: Network) -> None:
        self.average.update(net)
