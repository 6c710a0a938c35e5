"""Label propagation by optimal transport.

Solomon, Rustamov, Guibas & Butscher, "Wasserstein propagation for semi-supervised learning", ICML
2014; Redko, Courty, Flamary & Tuia, "Optimal transport for multi-source domain adaptation under
target shift", AISTATS 2019, arXiv:1803.04899, section 4 (labels rather than rows are moved).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Problem
from isthmus_alignment.transport.coupling import Coupling, entropic
from isthmus_alignment.transport.exact import exact
from isthmus_alignment.transport.propagation import fit_coupled

ITERATIONS = {"emd": 2_000_000, "sinkhorn": 1000}


@dataclass(frozen=True, kw_only=True)
class OTLabelPropagation(Strategy):
    """Give each target row the labels of the source rows it is coupled with; learn from these.

    Rows stay where they are, so that nothing is mapped when deployed; a target row that is coupled
    with several classes counts for each by its share (shares below 1% are left out). Cost between
    O(n²) and O(n³), memory about 20 n² bytes up to 4,000 rows of a domain, and mini-batches of
    1,000 rows above. On one core, 1,000 / 4,000 / 8,000 / 100,000 rows a side of 50 columns: 0.1 /
    2.0 / 3.2 / 54 s and 35 / 281 / 54 / 181 MB of extra memory. Several sources are pooled. Shares
    of the classes in the target are taken to be the source's. Accuracy with the default learner, in
    brackets source-only: Office-Caltech SURF (12 tasks) 38.1 (46.7), COIL20 84.9 (79.7); with
    sinkhorn 42.0 and 87.9, at several times the time.
    """

    name: ClassVar[str] = "ot-label-propagation"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    plan: Literal["emd", "sinkhorn"] = "emd"
    reg: float = 0.1  # weight of sinkhorn's entropy, in median costs
    batches: Batches = Batches()
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        above_zero(self, "reg")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return fit_coupled(task, run, self.solve, self.learner, self.batches)

    def solve(self, p: Problem) -> Coupling:
        if self.plan == "emd":
            return exact(p.cost, ITERATIONS["emd"])
        return entropic(p.cost, self.reg, iterations=ITERATIONS["sinkhorn"], tolerance=1e-5)
