"""Fine-tuning: continue training a model on the labelled target instances.

Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014,
arXiv:1411.1792.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Supervised, Training
from isthmus.learners.network import Network
from isthmus_finetuning.tuning import FEW_ROWS, NEEDS, tune


@dataclass(frozen=True, kw_only=True)
class FineTune(Strategy):
    """Train a given model, or one trained on the sources, further on the labelled target rows.

    Cost and memory are those of training; with ``layers="head"`` no gradient enters the encoder.
    The short, slow default (300 steps at 0.003, cosine) is for tens of labelled rows.
    """

    name: ClassVar[str] = "fine-tune"
    family: ClassVar[str] = "finetuning"
    needs: ClassVar[Needs] = NEEDS

    layers: Literal["all", "head"] = "all"  # head: the encoder stays as it is
    network: Architecture | None = None  # of the model trained on the sources
    pretraining: Training = Training()
    training: Training = FEW_ROWS

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            return Supervised() if self.layers == "all" else HeadOnly()

        return tune(task, run, self.network, self.pretraining, self.training, objective)


class HeadOnly(Objective):
    """The loss of the labelled rows as a function of the head alone.

    The encoder runs as it will be deployed, without dropout or batch statistics. Left in training
    mode it would drift all the same: batch normalisation follows whatever passes through it.
    """

    uses_target: ClassVar[bool] = False

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        net.encoder.eval()
        with torch.no_grad():
            features = net.encode(source.x)
        task = net.loss(net.head(features), source.y, source.weight)
        yield Step({"task": task}, only=[*net.head.parameters()])
