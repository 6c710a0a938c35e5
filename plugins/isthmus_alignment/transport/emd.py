"""Exact optimal transport of the source onto the target.

Courty, Flamary, Tuia & Rakotomamonjy, "Optimal transport for domain adaptation", TPAMI 39 (2017),
arXiv:1507.00504: OT-exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.transport.barycentric import transport
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Problem
from isthmus_alignment.transport.coupling import Coupling
from isthmus_alignment.transport.exact import exact


@dataclass(frozen=True, kw_only=True)
class OTEMD(Strategy):
    """Couple the rows of both domains at the least cost; move each source row to its partners.

    Cost between O(n²) and O(n³), memory about 27 n² bytes up to 4,000 rows of a domain, and
    mini-batches of 1,000 rows above. On one core, 1,000 / 4,000 / 8,000 / 100,000 rows a side of 50
    columns: 0.1 / 2.2 / 3.1 / 54 s and 35 / 427 / 62 / 191 MB of extra memory. The plan is sparse,
    so CSR rows stay CSR. Several sources are pooled. Every row must find partners: with other
    shares of the classes in the target some are moved to the wrong class. Accuracy, in brackets
    source-only with 1-NN: Office-Caltech SURF (12 tasks) 33.7 (31.4), COIL20 84.9 (84.0), USPS and
    MNIST of 256 unit-norm columns 45.4 (55.3).
    """

    name: ClassVar[str] = "ot-emd"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    iterations: int = 2_000_000  # pivots of the network simplex
    batches: Batches = Batches()
    learner: Learner | None = None  # None: 1-NN for classes, Linear for values

    def __post_init__(self) -> None:
        at_least_one(self, "iterations")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return transport(task, run, self.solve, self.learner, self.batches, spreads=False)

    def solve(self, p: Problem) -> Coupling:
        return exact(p.cost, self.iterations)
