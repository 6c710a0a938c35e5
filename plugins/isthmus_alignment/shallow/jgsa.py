"""JGSA: joint geometrical and statistical alignment.

Zhang, Li & Ogunbona, "Joint geometrical and statistical alignment for visual domain adaptation",
CVPR 2017, arXiv:1705.05498.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero, at_least_one, from_zero
from isthmus_alignment.shallow.components import ratio_directions
from isthmus_alignment.shallow.contrasts import balanced
from isthmus_alignment.shallow.embedding import Embedding
from isthmus_alignment.shallow.pair import learn, read_pair, spanned, times
from isthmus_alignment.shallow.pseudo import Labels, alternate

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class JGSA(Strategy):
    """Find one map for each domain: near each other, and what they map to alike by class.

    The maps keep the target's variance and separate the source's classes, while the discrepancy of
    JDA (by pseudo-labels, the first ones from the learner alone) and the difference of the maps
    stay small. Cost O(m³ + n m²) once and O(n m min(n, m)) per iteration, with m the smaller of n
    and d, and the learner's; memory O(n d + m²). Defaults are the paper's (domains z-scored, rows
    of length 1 before the maps, 1-NN), with 20 components, as for JDA, where it takes 30. Raw
    pixels: ``normalise=false``. Office-Caltech SURF, mean of 12: 49.7 (published 50.0, 1-NN alone
    31.4; see benchmarks/office-caltech/subspaces.toml); raw COIL20 90.0 and digits of JDA 69.2.
    """

    name: ClassVar[str] = "jgsa"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    components: int = 20
    closeness: float = 1.0  # the paper's lambda, on the difference of the maps
    variance: float = 1.0  # the paper's mu, on the target's variance and on its map
    separation: float = 0.1  # the paper's beta, on the source's classes
    iterations: int = 10
    normalise: bool = True  # z-score each domain
    unit: bool = True  # rows of length 1, before the maps
    learner: Learner | None = None  # None: 1-NN as in the paper

    def __post_init__(self) -> None:
        at_least_one(self, "components", "iterations")
        above_zero(self, "closeness", "variance")
        from_zero(self, "separation")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=self.unit)
        x_source, x_target, basis = spanned(pair)
        maps = Maps(self, x_source, x_target, pair.y)
        alone = learn(self.learner, pair, pair.x_source, pair.x_target, run)
        first = alone.predict(pair.x_target.astype(np.float32)).argmax(1)

        def solve(pseudo: Labels | None) -> Embedding:
            labels = first if pseudo is None else pseudo
            to_source, to_target = maps.solve(balanced(pair.y, labels, task.schema.width, 0.5))
            return Embedding(
                pair=pair,
                z_source=x_source @ to_source,
                z_target=x_target @ to_target,
                steps=(times(basis @ to_target),),
                source_steps=(times(basis @ to_source),),
            )

        embedding, fitted, said = alternate(solve, self.learner, self.iterations, run, first)
        return embedding.deploy(fitted, **said)


class Maps:
    """The maps A of the source and B of the target, (d, k) each, stacked to W (2 d, k).

    W maximises the ratio of P = diag(beta S_between, mu S_target) to Q + U U', where
    Q = [[beta S_within + lambda I, -lambda I], [-lambda I, (lambda + mu) I]] and U U' is the
    discrepancy. All but U is the same in every iteration: with Q = L L' the rest is a problem of
    ``ratio_directions`` in L' W.
    """

    def __init__(
        self, recipe: JGSA, x_source: Array, x_target: Array, y: NDArray[np.int64]
    ) -> None:
        self.x_source, self.x_target = x_source, x_target
        d = x_source.shape[1]
        self.k = min(recipe.components, d)  # the others map each domain to a place of its own
        h = np.eye(int(y.max()) + 1)[y]
        h = h[:, h.sum(0) > 0]
        size = h.sum(0)
        means = h.T @ x_source / size[:, None]
        within = x_source - h @ means
        between = np.sqrt(size)[:, None] * (means - x_source.mean(0))
        near, keep, beta = recipe.closeness, recipe.variance, recipe.separation
        eye = np.eye(d)
        top = np.hstack([beta * within.T @ within + near * eye, -near * eye])
        self.lower = linalg.cholesky(
            np.vstack([top, np.hstack([-near * eye, (near + keep) * eye])]), lower=True
        )
        # P = rows' rows: one row per class, and one per target row.
        target = np.sqrt(keep) * (x_target - x_target.mean(0))
        rows = linalg.block_diag(np.sqrt(beta) * between, target)
        self.rows: Array = linalg.solve_triangular(self.lower, rows.T, lower=True).T

    def solve(self, contrasts: Array) -> tuple[Array, Array]:
        """Return A and B for differences of means (n, q); columns of W have length 1.

        That scale is a choice, a ratio has none; it is what makes distances those of the paper.
        """
        n = len(self.x_source)
        scaled = contrasts / np.sqrt(np.linalg.norm(contrasts.T @ contrasts))
        u = np.vstack([self.x_source.T @ scaled[:n], self.x_target.T @ scaled[n:]])
        u = linalg.solve_triangular(self.lower, u, lower=True)
        w, _ = ratio_directions(self.rows, u, 1.0, self.k)
        w = linalg.solve_triangular(self.lower, w, lower=True, trans=1)
        length = np.linalg.norm(w, axis=0)
        w /= np.where(length > 0, length, 1.0)  # domains of equal rows have no direction
        d = len(w) // 2
        return w[:d], w[d:]
