"""HoMM: higher-order moment matching.

Chen, Fu, Chen, Jin, Cheng, Jin & Hua, "HoMM: higher-order moment matching for unsupervised domain
adaptation", AAAI 2020, arXiv:1912.11976.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.discrepancy import mmd
from isthmus_alignment.deep.matching import Matching
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class HoMM(Strategy):
    """Give source and target the same moments of third order, those between features too.

    Minimises task + weight · the mean squared difference of the d³ moments of tanh(features), each
    domain centred, as in the authors' code. The paper samples 300,000 moments where there are many;
    here all count, by powers of inner products. Cost per step O(b² d), memory O(b²). Weight, order
    and tanh are the authors'; the clustering loss of their full method is left out.
    """

    name: ClassVar[str] = "homm"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table", "image"}), sources="any")

    weight: float = 1e4  # of the mean squared difference of the moments
    order: int = 3
    network: Architecture | None = None  # None: MLP on tables, LeNet or a backbone on images
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "order")
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        gap = partial(squashed_tensor, order=self.order)
        return adapt_network(
            task, run, self.network, self.training, lambda net: Matching("homm", gap, self.weight)
        )


def squashed_tensor(f_source: Tensor, f_target: Tensor, order: int) -> Tensor:
    """Return the discrepancy of tanh(f), centred in each domain, as the authors take it."""
    a, b = full(f_source).tanh(), full(f_target).tanh()
    return moment_tensor(a - a.mean(0), b - b.mean(0), order)


def moment_tensor(f_source: Tensor, f_target: Tensor, order: int) -> Tensor:
    """Return the mean squared difference of the d^order moments of rows (n, d) and (m, d).

    The inner product of two such tensors is a sum of powers of inner products of rows, so none is
    formed nor sampled. Time O((n + m)² d), memory O((n + m)²).
    """
    with torch.autocast(f_source.device.type, enabled=False):
        f = full(torch.cat([f_source, f_target]))
        return mmd((f @ f.T / f.shape[1]) ** order, len(f_source))
