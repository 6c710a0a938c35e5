"""GFK: the geodesic flow kernel.

Gong, Shi, Sha & Grauman, "Geodesic flow kernel for unsupervised domain adaptation", CVPR 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.shallow.components import principal_axes
from isthmus_alignment.shallow.pair import deploy, learn, read_pair, times

Array = NDArray[np.float64]

STRAIGHT = 1e-6  # an angle (radians) below which two axes are one


@dataclass(frozen=True, kw_only=True)
class GFK(Strategy):
    """Compare instances in all subspaces on the way from the source's to the target's.

    The inner products in the subspaces along the geodesic are integrated in closed form; rows are
    mapped to where their product is that kernel, G = F F', and a learner is fitted on the source's.
    Each domain is z-scored, its subspace is spanned by its principal axes, as in the paper's
    GFK(PCA, PCA) with 1-NN. Cost O(n d min(n, d)), memory O(n d); the map has 2 k columns. The
    paper chooses k by the disagreement of the subspaces; 20 is what later comparisons use on SURF.
    Raw pixels are better left as they are: ``normalise=false``. Office-Caltech SURF, mean of 12:
    44.7 (published 43.1, 1-NN alone 31.4; see benchmarks/office-caltech/subspaces.toml); raw COIL20
    86.9 and digits of JDA 54.4.
    """

    name: ClassVar[str] = "gfk"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    components: int = 20  # of each subspace
    normalise: bool = True  # z-score each domain
    learner: Learner | None = None  # None: 1-NN as in the paper, ridge regression for values

    def __post_init__(self) -> None:
        at_least_one(self, "components")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=False)
        flow = geodesic_map(pair.x_source, pair.x_target, self.components)
        adapted = learn(self.learner, pair, pair.x_source @ flow, pair.x_target @ flow, run)
        return deploy(adapted, pair, target=[times(flow)])


def geodesic_map(x_source: Array, x_target: Array, k: int) -> Array:
    """Return F (d, r) with r <= 2 k: F F' is the flow kernel of the domains' principal subspaces.

    Subspaces have equally many axes: as many as both domains have, at most k.
    """
    axes = [principal_axes(x, k)[1] for x in (x_source, x_target)]
    k = min(a.shape[1] for a in axes)
    return flow_factor(axes[0][:, :k], axes[1][:, :k])


def flow_factor(axes_source: Array, axes_target: Array) -> Array:
    """Return F (d, r) such that F F' = integral over t in [0, 1] of P(t) P(t)'.

    P(t) are the axes on the geodesic from ``axes_source`` to ``axes_target``, orthonormal (d, k).
    In the plane of the i-th principal angle it goes from a_i to cos(angle) a_i + sin(angle) b_i,
    and there the integral is a matrix of size 2. O(d k²).
    """
    left, cosine, right = np.linalg.svd(axes_source.T @ axes_target)
    a = axes_source @ left
    residual = axes_target @ right.T - a * cosine
    sine = np.linalg.norm(residual, axis=0)
    angle = np.arctan2(sine, cosine)
    apart = angle > STRAIGHT
    b = residual[:, apart] / sine[apart]
    angle = angle[apart]
    double = np.sin(2 * angle) / (2 * angle)
    cross = np.square(np.sin(angle)) / (2 * angle)
    block = np.array([[(1 + double) / 2, cross], [cross, (1 - double) / 2]])  # (2, 2, r)
    values, vectors = np.linalg.eigh(block.transpose(2, 0, 1))
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None]  # (r, 2, 2): root root' = block
    first, second = (a[:, apart] * root[:, 0, j] + b * root[:, 1, j] for j in (0, 1))
    return np.asarray(np.column_stack([a[:, ~apart], first, second]))
