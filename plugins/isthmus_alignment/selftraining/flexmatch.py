"""FlexMatch: curriculum pseudo-labelling.

Zhang et al., "FlexMatch: boosting semi-supervised learning with curriculum pseudo labeling",
NeurIPS 2021, arXiv:2110.08263.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.augment import Augment, Strong, Weak
from isthmus.learners.loop import Objective, Training
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus_alignment.limits import a_share_if_given, from_zero
from isthmus_alignment.selftraining.fixmatch import FROM_SCRATCH, WeakToStrong


@dataclass(frozen=True, kw_only=True)
class FlexMatch(Strategy):
    """FixMatch whose threshold is lower for classes of which little has been learnt.

    A class is learnt as well as it is frequent among the last confident predictions of all target
    rows, relative to the most frequent one: the threshold becomes threshold b / (2 - b), b from 0
    to 1, so that at first all rows count. Cost: FixMatch's, and a number per target row that is
    counted at each step. Threshold, mapping and warm-up are the paper's, the rest is fixmatch's;
    nothing was tuned. Digits, LeNet, 2,000 steps, seed 0: USPS to MNIST 97.0; source-only 60.7. The
    paper is of one domain.
    """

    name: ClassVar[str] = "flexmatch"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the target's rows
    threshold: float = 0.95  # tau: of a class that has been learnt as well as any
    weak: Augment = Weak()  # view of the target whose prediction is the label
    strong: Augment = Strong()  # view of the target that learns it, and of the source
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = FROM_SCRATCH

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        a_share_if_given(self, "threshold")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def objective(net: Network) -> Objective:
            accept = Curriculum(len(task.target), net.schema.width, self.threshold)
            return WeakToStrong(self.weak, self.strong, self.weight, accept)

        return adapt_network(task, run, self.network, self.training, objective)


class Curriculum(nn.Module):
    """Accept predictions above a threshold of their class.

    A class is learnt as well as it is frequent among the last confident predictions of all rows;
    the number of rows without any bounds that from above, so that thresholds start at 0.
    """

    def __init__(self, n: int, classes: int, threshold: float) -> None:
        super().__init__()
        self.register_buffer("latest", torch.full((n,), classes))  # ``classes``: none so far
        self.latest: Tensor
        self.classes, self.threshold = classes, threshold

    def forward(self, p: Tensor, row: Tensor) -> Tensor:
        """Return which predictions p (b, classes) of these rows (b,) count, and keep them."""
        confidence, label = p.max(dim=1)
        accepted = confidence >= self.thresholds()[label]
        sure = confidence >= self.threshold
        self.latest[row] = torch.where(sure, label, self.latest[row])
        return accepted

    def thresholds(self) -> Tensor:
        """Return the threshold of each class, (classes,)."""
        counts = torch.zeros(self.classes + 1, device=self.latest.device)
        counts.scatter_add_(0, self.latest, torch.ones_like(self.latest, dtype=counts.dtype))
        learnt = counts[:-1] / counts.max()
        return self.threshold * learnt / (2 - learnt)
