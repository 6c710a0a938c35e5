"""HoMM: higher-order moment matching.

Chen, Fu, Chen, Jin, Cheng, Jin & Hua, "HoMM: higher-order moment matching for unsupervised domain
adaptation", AAAI 2020, arXiv:1912.11976.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.discrepancy import mmd
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class HoMM(Strategy):
    """Give source and target features the same joint moments of a high order.

    Minimises task + weight · the mean squared difference between all entries of the domains' moment
    tensors, d^order of them; inner products of rows say what it is without any of them, where the
    paper groups features or samples entries. Features are squashed as the authors' are, and not
    centred: centring each domain, as their code does, leaves the means free, and gave 26.3 below.
    Cost per step O(b² d), memory O(b²), for any order. Order is the paper's; its weight of 10⁴
    kept the network from learning the source (loss 1.8 after 250 steps, 46.2), a tenth does not.
    Digits, LeNet, 500 steps only, seed 0, target labels in view: USPS to MNIST 75.4; source-only
    56.5.
    """

    name: ClassVar[str] = "homm"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any")

    weight: float = 1e3  # the difference is a mean of many products of small numbers
    order: int = 3
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "order")
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def term(p: Pass) -> Tensor:
            return moment_gap(full(p.f_s).tanh(), full(p.f_t).tanh(), self.order)

        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Regularised("moments", term, self.weight),
        )


def moment_gap(f_source: Tensor, f_target: Tensor, order: int) -> Tensor:
    """Return the mean squared difference of the moment tensors of rows (n, d), (m, d) as they are.

    The tensors E[f ⊗ ... ⊗ f] have d^order entries, and E (f'g)^order for inner products. Time
    O((n + m)² d), memory O((n + m)²).
    """
    with torch.autocast(f_source.device.type, enabled=False):
        n, d = f_source.shape
        f = torch.cat([f_source, f_target])
        return mmd((f @ f.T / d) ** order, n)
