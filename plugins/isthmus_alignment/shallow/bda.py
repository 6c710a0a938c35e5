"""BDA: balanced distribution adaptation.

Wang, Chen, Hao, Feng & Shen, "Balanced distribution adaptation for transfer learning", ICDM 2017,
arXiv:1807.00516. Its variant for classes of unequal sizes, W-BDA, is not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import a_share_if_given, above_zero, at_least_one
from isthmus_alignment.shallow.balance import UNDECIDED, estimated_balance
from isthmus_alignment.shallow.embedding import Embedding
from isthmus_alignment.shallow.features import KernelName, features
from isthmus_alignment.shallow.pair import read_pair
from isthmus_alignment.shallow.pseudo import Joint, Labels, alternate


@dataclass(frozen=True, kw_only=True)
class BDA(Strategy):
    """JDA with a say in what counts more: the domains as wholes, or their classes.

    ``balance`` 0 is TCA, 0.5 is JDA, 1 minds the classes alone. The paper tries eleven values on
    target labels; left out, it is estimated from A-distances at every iteration, as its authors do
    in MEDA. Cost, memory and the other defaults are those of JDA, and O(n d min(n, d)) per
    iteration for the estimate. Domains that are z-scored each can hardly be told apart as wholes,
    and the estimate is near 1. Office-Caltech SURF, mean of 12: 46.8 (JDA 46.9, 1-NN alone 31.4;
    see benchmarks/office-caltech/subspaces.toml); raw COIL20 95.3 and digits of JDA 65.7 with
    ``normalise=false penalty=0.1``.
    """

    name: ClassVar[str] = "bda"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    components: int = 20
    kernel: KernelName = "primal"
    penalty: float = 1.0  # the paper's lambda: the larger, the less the domains are drawn together
    balance: float | None = None  # the paper's mu; None: estimated
    iterations: int = 10
    normalise: bool = True  # z-score each domain
    unit: bool = True  # rows of length 1, before and after
    learner: Learner | None = None  # None: 1-NN as in the paper

    def __post_init__(self) -> None:
        at_least_one(self, "components", "iterations")
        above_zero(self, "penalty")
        a_share_if_given(self, "balance")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=self.unit)
        joint = Joint(
            pair=pair,
            found=features(pair.pooled, self.kernel, run),
            components=self.components,
            penalty=self.penalty,
            unit=self.unit,
        )
        used: list[float] = []

        def solve(pseudo: Labels | None) -> Embedding:
            balance = UNDECIDED if self.balance is None else self.balance
            if pseudo is not None:
                if self.balance is None:
                    balance = estimated_balance(pair, pseudo)
                used.append(balance)
            return joint.solve(pseudo, balance)

        embedding, fitted, said = alternate(solve, self.learner, self.iterations, run)
        return embedding.deploy(fitted, **said, balance=used)
