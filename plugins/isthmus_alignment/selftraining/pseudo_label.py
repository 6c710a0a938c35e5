"""Pseudo-label.

Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural
networks", ICML 2013 workshop on challenges in representation learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class PseudoLabel(Strategy):
    """Learn the target's rows with the class that the network gives them now as their label.

    min task + weight ramp CE(target, argmax of itself), which is entropy minimisation by steps; it
    makes wrong predictions certain too. Cost: one forward pass of both domains. The weight 3 and a
    ramp from 100 to 600 are the paper's, which does not say of how many: here, of 1,000. Nothing
    was tuned. Digits, LeNet, last step, seed 0: MNIST to USPS 86.3, but no 9 is left; back 15.9,
    where nearly all is called a 4; source-only 76.2, 60.7. The paper is of one domain.
    """

    name: ClassVar[str] = "pseudo-label"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 3.0  # of the pseudo-labels, at the end of the ramp
    begin: float = 0.1  # share of the training after which they count at all,
    full: float = 0.6  # and after which they count in full; between the two, linearly
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        if not 0 <= self.begin <= self.full <= 1:
            wanted = "0 <= begin <= full <= 1"
            raise BadInput(f"{self.name}: expected {wanted}, got {self.begin} and {self.full}")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def term(here: Pass) -> Tensor:
            return ramp(here.done, self.begin, self.full) * own_labels(here.z_t)

        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Regularised("pseudo", term, self.weight),
        )


def own_labels(logits: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (b, classes) to the classes they favour."""
    return F.cross_entropy(full(logits), logits.argmax(dim=1))


def ramp(done: float, begin: float, end: float) -> float:
    """Return 0 up to ``begin``, 1 from ``end``, and what lies on the line between."""
    return (
        float(done >= end) if begin == end else min(max((done - begin) / (end - begin), 0.0), 1.0)
    )
