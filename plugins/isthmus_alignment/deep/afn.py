"""AFN: adaptive feature norms, stepwise (SAFN) or hard (HAFN).

Xu, Li, Yang & Lin, "Larger norm more transferable: an adaptive feature norm approach for
unsupervised domain adaptation", ICCV 2019, arXiv:1811.07456.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import above_zero, from_zero


@dataclass(frozen=True, kw_only=True)
class AFN(Strategy):
    """Let the features of both domains grow in norm, step by step or towards one radius.

    Features of the target have smaller norms, and those that are large transfer: min task +
    weight (mean (|f| - (|f|_now + step))² of each domain), the stepwise form, or with ``hard``
    (mean |f| - radius)². The value of the stepwise loss is constant, step²; its gradient is not 0.
    Cost: one forward pass of both domains. Weight, step and radius are the authors'; nothing was
    tuned. Digits, LeNet, last step: MNIST to USPS 81.8; source-only 76.2, dann 88.9 (the paper has
    none on digits); from USPS to MNIST 50.4 ± 7.5 over three seeds, below source-only's 60.7: norms
    grow with wrong answers as well.
    """

    name: ClassVar[str] = "afn"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 0.05
    step: float = 1.0  # by which each row's norm should grow
    hard: bool = False  # the mean norm of a domain should be ``radius`` instead: HAFN
    radius: float = 25.0
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        above_zero(self, "step", "radius")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def penalty(f: Tensor) -> Tensor:
            return hard(f, self.radius) if self.hard else stepwise(f, self.step)

        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Regularised("norm", partial(norms, penalty=penalty), self.weight),
        )


def norms(here: Pass, penalty: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the penalty of the norms of each domain's features, one by one."""
    return penalty(here.f_s) + penalty(here.f_t)


def stepwise(f: Tensor, step: float) -> Tensor:
    """Return the mean square by which norms of f (n, d) fall short of ``step`` more than they are.

    Its value is always step²; its gradient pulls every row outwards equally hard.
    """
    norm = full(f).norm(dim=1)
    return (norm - (norm.detach() + step)).square().mean()


def hard(f: Tensor, radius: float) -> Tensor:
    """Return the square by which the mean norm of f (n, d) differs from ``radius``."""
    return (full(f).norm(dim=1).mean() - radius).square()
