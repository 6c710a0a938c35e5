"""The objective of methods that make a statistic of the features agree across domains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, encode_both
from isthmus.learners.network import Network


class Matching(Objective):
    """The task loss, plus ``weight`` times a discrepancy between the domains' features."""

    def __init__(
        self, name: str, discrepancy: Callable[[Tensor, Tensor], Tensor], weight: float
    ) -> None:
        """``discrepancy`` takes (n, width) and (m, width); the loss is logged under ``name``."""
        super().__init__()
        self.name, self.discrepancy, self.weight = name, discrepancy, weight

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        task = net.loss(net.head(f_s), source.y, source.weight)
        yield Step({"task": task, self.name: self.weight * self.discrepancy(f_s, f_t)})
