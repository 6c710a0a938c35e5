"""Fine-tuning: continue training a model on the labelled target instances.

Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014,
arXiv:1411.1792.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Objective, Supervised, Training
from isthmus.learners.network import Network
from isthmus_finetuning.tuning import FEW_ROWS, NEEDS, tune


@dataclass(frozen=True, kw_only=True)
class FineTune(Strategy):
    """Train a given model, or one trained on the sources, further on the labelled target rows."""

    name: ClassVar[str] = "fine-tune"
    family: ClassVar[str] = "finetuning"
    needs: ClassVar[Needs] = NEEDS

    layers: Literal["all", "head"] = "all"  # head: the encoder stays as it is
    network: Architecture | None = None  # of the model trained on the sources
    pretraining: Training = Training()
    training: Training = FEW_ROWS

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            net.encoder.requires_grad_(self.layers == "all")
            return Supervised()

        return tune(task, run, self.network, self.pretraining, self.training, objective)
