"""TCA: transfer component analysis.

Pan, Tsang, Kwok & Yang, "Domain adaptation via transfer component analysis", IEEE Transactions on
Neural Networks 22 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero, at_least_one
from isthmus_alignment.shallow.components import penalised_components
from isthmus_alignment.shallow.contrasts import marginal
from isthmus_alignment.shallow.embedding import embed
from isthmus_alignment.shallow.features import KernelName, features
from isthmus_alignment.shallow.pair import read_pair


@dataclass(frozen=True, kw_only=True)
class TCA(Strategy):
    """Find components in which the domains' means agree and the variance is large.

    A learner is fitted on the source's components. The discrepancy has rank one, so the paper's
    generalised eigenproblem is solved exactly as a symmetric one. Cost O(n d²) for ``primal`` and
    ``linear``; for ``rbf`` O(n²) per Lanczos step and memory O(n²), above 4,000 rows O(n m²) and
    O(n m) with m = 1,000 landmarks. Defaults are those of Long et al. (ICCV 2013), whose figures
    are the published ones: domains z-scored, rows of length 1, the penalty on directions, 1-NN.
    Raw pixels are better left as they are: ``normalise=false``. Office-Caltech SURF, mean of 12:
    46.1 (published 46.2, 1-NN alone 31.4; see benchmarks/office-caltech/subspaces.toml); raw COIL20
    85.6 and digits of JDA 55.5 (published 87.2 and 53.7).
    """

    name: ClassVar[str] = "tca"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    components: int = 20
    kernel: KernelName = "primal"
    penalty: float = 1.0  # the paper's mu: the larger, the less the domains are drawn together
    normalise: bool = True  # z-score each domain
    unit: bool | None = None  # rows of length 1, before and after; None: for classes
    learner: Learner | None = None  # None: 1-NN, ridge regression for values

    def __post_init__(self) -> None:
        at_least_one(self, "components")
        above_zero(self, "penalty")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        unit = not task.schema.is_regression if self.unit is None else self.unit
        pair = read_pair(task, normalise=self.normalise, unit=unit)
        found = features(pair.pooled, self.kernel, run)
        contrast = marginal(len(pair.x_source), len(pair.x_target))
        penalty = self.penalty * found.share
        weights, _ = penalised_components(found.rows, contrast, penalty, self.components)
        embedding = embed(pair, found, weights, unit=unit)
        return embedding.deploy(embedding.learn(self.learner, run))
