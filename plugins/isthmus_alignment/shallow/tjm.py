"""TJM: transfer joint matching.

Long, Wang, Ding, Sun & Yu, "Transfer joint matching for unsupervised domain adaptation", CVPR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import above_zero, at_least_one
from isthmus_alignment.shallow.components import penalised_components
from isthmus_alignment.shallow.contrasts import marginal
from isthmus_alignment.shallow.embedding import embed
from isthmus_alignment.shallow.features import Features, features, landmark_index
from isthmus_alignment.shallow.pair import Pair, read_pair

Array = NDArray[np.float64]

RANK = 1e-12  # an eigenvalue below this share of the largest is rounding
IGNORED = 1e-3  # a row of coefficients shorter than this share of the longest has no say


@dataclass(frozen=True, kw_only=True)
class TJM(Strategy):
    """TCA that may leave source rows out: those unlike the target need not span its components.

    The coefficients of the source's kernel columns pay their L2,1 norm, those of the target's the
    squared one, iteratively reweighted. Cost per iteration O(n d² + d³) for a ``linear`` kernel,
    memory O(n d) and no n x n matrix unless n < d; for ``rbf`` O(n²) per Lanczos step and memory
    O(n²), above 4,000 rows O(n m²) and O(n m) with m = 1,000 landmarks. Defaults are the paper's
    (linear kernel, 20 components, 1-NN), domains z-scored, rows of length 1. Components are small
    numbers, of which the L2,1 norm is by far the larger part: on SURF every source row is left
    out in the end, and the components are the target's (``source_share_used``). Their length is
    the family's, settled with target labels in view; that of the paper's constraint gives 43.4.
    Office-Caltech SURF, mean of 12: 46.3 (1-NN alone 31.4, ``joint-pca`` 46.3; see
    benchmarks/office-caltech/subspaces.toml); with ``normalise=false`` raw COIL20 88.3 and digits
    of JDA 55.1.
    """

    name: ClassVar[str] = "tjm"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    components: int = 20
    kernel: Literal["linear", "rbf"] = "linear"
    penalty: float = 1.0  # the paper's lambda: the larger, the less the domains are drawn together
    iterations: int = 10
    normalise: bool = True  # z-score each domain
    unit: bool | None = None  # rows of length 1, before and after; None: for classes
    learner: Learner | None = None  # None: 1-NN, ridge regression for values

    def __post_init__(self) -> None:
        at_least_one(self, "components", "iterations")
        above_zero(self, "penalty")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        unit = not task.schema.is_regression if self.unit is None else self.unit
        pair = read_pair(task, normalise=self.normalise, unit=unit)
        matching = Matching(self, pair, run)
        weights, said = matching.alternate(self.iterations)
        embedding = embed(pair, matching.found, weights, unit=unit)
        return embedding.deploy(embedding.learn(self.learner, run), **said)


class Matching:
    """Coefficients A (m, k) of m kernel columns K (n, m) that minimise

        tr(A' K' M K A) + penalty (sum over source rows |a_i| + sum over target rows |a_i|²)

    where A' K' H K A = I: M is the MMD matrix of Frobenius norm 1, H centres, and m = n unless
    there are landmarks. |a_i| is majorised by a square, |a_i|² / r_i up to a constant with
    r_i = 2 |a_i| of the last solution: rows that have lost their say need no division by zero.
    """

    def __init__(self, recipe: TJM, pair: Pair, run: Run) -> None:
        x, n_source = pair.pooled, len(pair.x_source)
        self.penalty, self.k = recipe.penalty, recipe.components
        self.contrast = marginal(n_source, len(pair.x_target))
        of_source = np.arange(len(x)) < n_source
        if recipe.kernel == "rbf":
            self.found = features(x, "rbf", run)
            of_source = of_source[landmark_index(len(x), Run(seed=run.seed))]
        elif len(x) <= x.shape[1]:
            self.found = Features(rows=x @ x.T, basis=x.T)
        else:
            self.found = Features(rows=x)
        self.of_source = of_source
        self.primal = recipe.kernel == "linear" and self.found.basis is None

    def alternate(self, iterations: int) -> tuple[Array, dict[str, Any]]:
        """Return weights (p, k) of ``found.rows``, and what a user may want to know."""
        path: list[float] = []
        even = 1 / self.found.share
        r = np.full(len(self.of_source), even)
        for _ in range(iterations):
            weights, coefficients, ratios = self.solve(r)
            length = np.linalg.norm(coefficients, axis=1)
            r = np.where(self.of_source, 2 * length, even)
            path.append(self.objective(weights, length))
        used = float((length > IGNORED * length.max())[self.of_source].mean())
        # A scatter of I is the paper's constraint, but would give all components one say in
        # distances: they leave with the lengths of TCA's.
        return weights * np.sqrt(ratios), {"objective": path, "source_share_used": used}

    def solve(self, r: Array) -> tuple[Array, Array, Array]:
        """Return weights (p, k), coefficients (m, k) and ratios (k,) of scatter to penalties.

        The penalty is that of all |a_i|² / r_i: a problem of ``penalised_components`` in
        A / root(r). With a linear kernel A is r X C^(-1/2) V for directions C^(1/2) V, where
        C = X' diag(r) X is no larger than d x d.
        """
        x, root = self.found.rows, np.sqrt(r)
        if self.primal:
            values, q = linalg.eigh((x.T * r) @ x)
            first = min(np.searchsorted(values, RANK * values[-1], side="right"), len(q) - 1)
            q, s = q[:, first:], np.sqrt(np.maximum(values[first:], np.finfo(np.float64).tiny))
            v, ratios = self.components(x @ (q * s))
            return (q * s) @ v, r[:, None] * (x @ ((q / s) @ v)), ratios
        v, ratios = self.components(x * root)
        return root[:, None] * v, root[:, None] * v, ratios

    def components(self, rows: Array) -> tuple[Array, Array]:
        """Return V (p, k) such that ``rows`` V have the scatter I, and the ratios (k,)."""
        v, ratios = penalised_components(rows, self.contrast, self.penalty, self.k)
        ratios = np.where(ratios > np.finfo(np.float64).tiny, ratios, 1.0)  # rows all equal
        return v / np.sqrt(ratios), ratios

    def objective(self, weights: Array, length: Array) -> float:
        """Return what is minimised, for weights (p, k) and lengths (m,) of the coefficients."""
        gap = np.square(self.contrast.T @ (self.found.rows @ weights)).sum()
        gap /= np.square(self.contrast).sum()
        of_target = self.found.share * np.square(length[~self.of_source]).sum()
        return float(gap + self.penalty * (length[self.of_source].sum() + of_target))
