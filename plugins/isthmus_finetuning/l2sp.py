"""L2-SP: fine-tuning that is pulled towards its starting point.

Li, Grandvalet & Davoine, "Explicit inductive bias for transfer learning with convolutional
networks", ICML 2018, arXiv:1802.01483.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training
from isthmus.learners.network import Network
from isthmus_finetuning.tuning import FEW_ROWS, NEEDS, tune


@dataclass(frozen=True, kw_only=True)
class L2SP(Strategy):
    """Fine-tune with the penalty pull/2 · |w - w_start|² on the encoder, head/2 · |w|² on the head.

    The paper's alpha and beta. Its head is new; here source and target share their classes, so the
    head starts from the model too unless ``new_head`` asks for a fresh one. Cost: fine-tuning, plus
    a copy of the encoder's weights and a pass over them per step.
    """

    name: ClassVar[str] = "l2-sp"
    family: ClassVar[str] = "finetuning"
    needs: ClassVar[Needs] = NEEDS

    pull: float = 0.1
    head: float = 0.01
    new_head: bool = False
    network: Architecture | None = None  # of the model trained on the sources
    pretraining: Training = Training()
    training: Training = FEW_ROWS

    def __post_init__(self) -> None:
        t = self.training
        if min(self.pull, self.head) < 0:
            raise BadInput(f"l2-sp: pull={self.pull} and head={self.head} must not be negative")
        if t.optimiser == "sgd" and t.lr * max(self.pull, self.head) >= 1:
            raise BadInput(
                f"l2-sp: training.lr={t.lr} times pull={self.pull} or head={self.head} reaches 1, "
                "where gradient steps leave the starting point instead of returning to it",
                hint=f"--set training.lr={0.1 / max(self.pull, self.head):.1g}",
            )

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            if self.new_head:
                net.head.reset_parameters()
            return StartingPoint(net, self.pull, self.head)

        return tune(task, run, self.network, self.pretraining, self.training, objective)


class StartingPoint(Objective):
    """The task loss, plus the squared distance to the starting weights."""

    uses_target: ClassVar[bool] = False

    def __init__(self, net: Network, pull: float, head: float) -> None:
        super().__init__()
        self.pull, self.head_pull = pull, head
        # Buffers: a resumed run must find the same starting point in its checkpoint.
        for i, p in enumerate(net.encoder.parameters()):
            self.register_buffer(f"start_{i}", p.detach().clone())

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        pairs = zip(net.encoder.parameters(), self.buffers(), strict=True)
        drift = torch.stack([(p - start).square().sum() for p, start in pairs]).sum()
        size = torch.stack([p.square().sum() for p in net.head.parameters()]).sum()
        task = net.loss(net.head(net.encode(source.x)), source.y, source.weight)
        yield Step({"task": task + self.head_pull / 2 * size, "drift": self.pull / 2 * drift})
