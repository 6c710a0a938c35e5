"""Joint PCA: the principal components of both domains together, the plainest shared subspace.

Jolliffe, "Principal component analysis", 2nd edition, Springer 2002; as the baseline of Long, Wang,
Ding, Sun & Yu, "Transfer feature learning with joint distribution adaptation", ICCV 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.shallow.components import principal_axes
from isthmus_alignment.shallow.embedding import embed
from isthmus_alignment.shallow.features import features
from isthmus_alignment.shallow.pair import read_pair


@dataclass(frozen=True, kw_only=True)
class JointPCA(Strategy):
    """Keep the directions in which both domains together vary most, then fit a learner there.

    What a subspace is worth that does not know of the domains: the row to compare TCA, GFK and
    subspace alignment with. Cost O(n d min(n, d)), memory O(n d). Defaults are those of TCA here
    (20 components, domains z-scored, rows of length 1, 1-NN); the z-scores already bring the means
    together. Raw pixels: ``normalise=false``. Office-Caltech SURF, mean of 12: 46.3, and 44.1 with
    ``unit=false`` (published 43.6, 1-NN alone 31.4; see benchmarks/office-caltech/subspaces.toml);
    raw COIL20 84.6 and digits of JDA 55.8.
    """

    name: ClassVar[str] = "joint-pca"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    components: int = 20
    normalise: bool = True  # z-score each domain
    unit: bool | None = None  # rows of length 1, before and after; None: for classes
    learner: Learner | None = None  # None: 1-NN, ridge regression for values

    def __post_init__(self) -> None:
        at_least_one(self, "components")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        unit = not task.schema.is_regression if self.unit is None else self.unit
        pair = read_pair(task, normalise=self.normalise, unit=unit)
        found = features(pair.pooled, "primal", run)
        _, axes = principal_axes(found.rows, self.components)
        embedding = embed(pair, found, axes, unit=unit)
        return embedding.deploy(embedding.learn(self.learner, run))
