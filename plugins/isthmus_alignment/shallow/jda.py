"""JDA: joint distribution adaptation.

Long, Wang, Ding, Sun & Yu, "Transfer feature learning with joint distribution adaptation",
ICCV 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero, at_least_one
from isthmus_alignment.shallow.features import KernelName, features
from isthmus_alignment.shallow.pair import read_pair
from isthmus_alignment.shallow.pseudo import Joint, alternate


@dataclass(frozen=True, kw_only=True)
class JDA(Strategy):
    """TCA, then again with the means of each class drawn together too, by pseudo-labels.

    The learner's labels of the target give the next iteration's classes; it stops early where they
    no longer change. Cost per iteration O(n d²) for ``primal`` and ``linear``, O(n²) per Lanczos
    step for ``rbf`` (above 4,000 rows O(n m²) with m = 1,000 landmarks), and the learner's; memory
    O(n d), or O(n²) and O(n m). Defaults are the authors' (domains z-scored, rows of length 1),
    with 20 components, as for TCA, where they take 100. Raw pixels are better left as they are,
    with the penalty that the paper has for them: ``normalise=false penalty=0.1``. Office-Caltech
    SURF, mean of 12: 46.9 (published 46.8, 1-NN alone 31.4; see
    benchmarks/office-caltech/subspaces.toml); raw COIL20 95.3 and digits of JDA 65.5, with the
    paper's 100 components 89.4 and 63.5 (published 88.9 and 63.5).
    """

    name: ClassVar[str] = "jda"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    components: int = 20
    kernel: KernelName = "primal"
    penalty: float = 1.0  # the paper's lambda: the larger, the less the domains are drawn together
    iterations: int = 10
    normalise: bool = True  # z-score each domain
    unit: bool = True  # rows of length 1, before and after
    learner: Learner | None = None  # None: 1-NN as in the paper

    def __post_init__(self) -> None:
        at_least_one(self, "components", "iterations")
        above_zero(self, "penalty")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=self.unit)
        joint = Joint(
            pair=pair,
            found=features(pair.pooled, self.kernel, run),
            components=self.components,
            penalty=self.penalty,
            unit=self.unit,
        )
        embedding, fitted, said = alternate(
            lambda pseudo: joint.solve(pseudo, 0.5), self.learner, self.iterations, run
        )
        return embedding.deploy(fitted, **said)
