"""CMD: central moment discrepancy.

Zellinger, Grubinger, Lughofer, Natschläger & Saminger-Platz, "Central moment discrepancy (CMD) for
domain-invariant representation learning", ICLR 2017, arXiv:1702.08811.
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
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class CMD(Strategy):
    """Give source and target features the same mean and the same central moments.

    Minimises task + weight · sum over k of |c_k(source) - c_k(target)|, with the moments of each
    unit alone. The theory asks for values in an interval: the discrepancy reads tanh(features), in
    [0, 1) behind a ReLU; the head reads the features as they are, where the paper's network
    squashes them for both. Cost per step O(b d), memory O(b d). Weight and moments are the paper's,
    the same for all its data. Digits, LeNet, last step, seed 0: MNIST to USPS 76.9, back 72.2;
    source-only 76.2, 60.7. Batches of 64 leave it little to follow: after 300 steps it is 1.2
    between the domains, and 0.9 between two batches of one.
    """

    name: ClassVar[str] = "cmd"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any")

    weight: float = 1.0
    moments: int = 5  # the mean, and the central moments of order 2 to this
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "moments")
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def term(p: Pass) -> Tensor:
            return squashed_moments(p.f_s, p.f_t, self.moments)

        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Regularised("cmd", term, self.weight),
        )


def squashed_moments(f_source: Tensor, f_target: Tensor, moments: int) -> Tensor:
    """Return the discrepancy of tanh(f), which is bounded as the theory asks."""
    return central_moments(full(f_source).tanh(), full(f_target).tanh(), moments)


def central_moments(f_source: Tensor, f_target: Tensor, moments: int) -> Tensor:
    """Return the CMD of rows (n, d) and (m, d) whose values lie in an interval of length 1.

    The sum, over the orders k = 1..moments, of the Euclidean distance between the moments (d,) of
    order k; the first is the mean, the others are central. Time and memory O((n + m) d).
    """
    a, b = full(f_source), full(f_target)
    gaps = [torch.linalg.vector_norm(a.mean(0) - b.mean(0))]
    a, b = a - a.mean(0), b - b.mean(0)
    u, v = a, b
    for _ in range(moments - 1):
        u, v = u * a, v * b
        gaps.append(torch.linalg.vector_norm(u.mean(0) - v.mean(0)))
    return torch.stack(gaps).sum()
