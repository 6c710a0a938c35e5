"""Subspace alignment.

Fernando, Habrard, Sebban & Tuytelaars, "Unsupervised visual domain adaptation using subspace
alignment", ICCV 2013; extended in arXiv:1409.5241.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus.learners.mapped import Map
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.shallow.components import principal_axes
from isthmus_alignment.shallow.pair import Array, deploy, learn, read_pair


@dataclass(frozen=True, kw_only=True)
class SubspaceAlignment(Strategy):
    """Rotate the source's principal axes onto the target's, then fit a learner in the target's.

    Source rows become x P_s P_s' P_t, target rows x P_t, where P are the leading principal axes of
    each z-scored domain. Cost O(n d min(n, d)), memory O(n d). The paper chooses the number of axes
    by cross-validation on the source; 20 is what later comparisons use on SURF. Raw pixels, whose
    border hardly varies, are better left as they are: ``normalise=false``. Office-Caltech SURF,
    mean of 12: 43.8 (1-NN alone 31.4); COIL20 and the digits of JDA, raw: 87.7 and 54.4 (83.2 and
    55.3); see benchmarks/office-caltech/subspaces.toml.
    """

    name: ClassVar[str] = "subspace-alignment"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    components: int = 20
    normalise: bool = True  # z-score each domain
    learner: Learner | None = None  # None: 1-NN as in the paper, ridge regression for values

    def __post_init__(self) -> None:
        at_least_one(self, "components")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=False)
        mean_source, axes_source = principal_axes(pair.x_source, self.components)
        mean_target, axes_target = principal_axes(pair.x_target, self.components)
        align = alignment(axes_source, axes_target)
        z_source = (pair.x_source - mean_source) @ align
        z_target = (pair.x_target - mean_target) @ axes_target
        adapted = learn(self.learner, pair, z_source, z_target, run)
        ones = np.ones(len(align))
        return deploy(
            adapted,
            pair,
            target=[Map(shift=mean_target, scale=ones, matrix=axes_target)],
            source=[Map(shift=mean_source, scale=ones, matrix=align)],
        )


def alignment(axes_source: Array, axes_target: Array) -> Array:
    """Return P_s P_s' P_t (d, k_target) for axes (d, k): the map of the source.

    P_s' P_t is the matrix M that minimises |P_s M - P_t| in the Frobenius norm.
    """
    return np.asarray(axes_source @ (axes_source.T @ axes_target))
