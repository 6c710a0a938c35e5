"""Optimal transport that need not move every row.

Chizat, Peyré, Schmitzer & Vialard, "Scaling algorithms for unbalanced optimal transport problems",
Mathematics of Computation 87 (2018), arXiv:1607.05816.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero
from isthmus_alignment.transport.barycentric import transport
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Problem
from isthmus_alignment.transport.coupling import Coupling, entropic


@dataclass(frozen=True, kw_only=True)
class OTUnbalanced(Strategy):
    """Move the source as ot-sinkhorn does, but let rows without near partners lose their mass.

    For domains that overlap in part: an outlying cluster, or a class that the target has fewer of,
    is not forced onto other rows. Where all rows are near some, it does as ot-sinkhorn. Cost and
    memory are ot-sinkhorn's, and so are the default entropy and the move of rows with values; a
    ``relax`` of 1 lets rows go that are some median distances away. Several sources are pooled. On
    one core, 1,000 / 4,000 / 8,000 / 100,000 rows a side of 50 columns: 0.2 / 2.4 / 2.7 / 29 s and
    25 / 375 / 51 / 192 MB of extra memory. Accuracy, in brackets source-only with 1-NN:
    Office-Caltech SURF (12 tasks) 43.4 (31.4), COIL20 86.7 (84.0), USPS and MNIST of 256 unit-norm
    columns 61.1 (55.3).
    """

    name: ClassVar[str] = "ot-unbalanced"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    reg: float = 0.1  # weight of the entropy, in median costs
    relax: float = 1.0  # weight of the marginals, in median costs; large ones must be met
    weigh: bool = True  # a source row counts by the mass that it kept
    iterations: int = 1000
    tolerance: float = 1e-5
    batches: Batches = Batches()
    learner: Learner | None = None  # None: 1-NN

    def __post_init__(self) -> None:
        above_zero(self, "reg", "relax", "iterations", "tolerance")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return transport(task, run, self.solve, self.learner, self.batches, weigh=self.weigh)

    def solve(self, p: Problem) -> Coupling:
        return entropic(
            p.cost,
            self.reg,
            relax=self.relax,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
