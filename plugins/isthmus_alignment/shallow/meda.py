"""MEDA: manifold embedded distribution alignment.

Wang, Feng, Chen, Yu, Huang & Yu, "Visual domain adaptation with manifold embedded distribution
alignment", ACM MM 2018, arXiv:1807.07258.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.kernel_mapped import Kernel, Step, UnitRows
from isthmus.learners.linear import ABSENT, LinearPart
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.sharpness import sharpness
from isthmus_alignment.limits import a_share_if_given, above_zero, at_least_one, from_zero
from isthmus_alignment.shallow.balance import estimated_balance
from isthmus_alignment.shallow.contrasts import balanced
from isthmus_alignment.shallow.features import landmarks
from isthmus_alignment.shallow.gfk import geodesic_map
from isthmus_alignment.shallow.pair import deploy, learn, read_pair, times, unit_rows

Array = NDArray[np.float64]

BANDWIDTH = 1.0  # of the kernel, in lengths of a row: the authors' choice


@dataclass(frozen=True, kw_only=True)
class MEDA(Strategy):
    """A kernel classifier on geodesic flow features, whose scores agree between the domains.

    Least squares on the source's labels, plus a penalty on differences of mean scores between the
    domains and between their classes (by pseudo-labels, the first ones from 1-NN), plus one on
    scores that differ between neighbours. It is itself the classifier: scores of absent classes are
    left out, the others become probabilities with a temperature fitted to the source's labels.
    Cost O(n³) once and O(n²) per iteration, memory O(n²); above 4,000 rows O(n m²) and O(n m) with
    m = 1,000 landmarks, and O(n²) time for the neighbours. Defaults are the authors'; the balance
    is estimated from A-distances at every iteration. Raw pixels: ``normalise=false``.
    Office-Caltech SURF, mean of 12: 52.6 (published 52.7, 1-NN alone 31.4; see
    benchmarks/office-caltech/subspaces.toml); raw COIL20 87.5 and digits of JDA 79.1.
    """

    name: ClassVar[str] = "meda"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    components: int = 20  # of each domain's subspace; features are twice as many
    alignment: float = 10.0  # the paper's lambda
    smoothness: float = 1.0  # the paper's rho
    ridge: float = 0.1  # the paper's eta
    neighbours: int = 10  # the paper's p
    balance: float | None = None  # the paper's mu, the share of the classes; None: estimated
    iterations: int = 10
    normalise: bool = True  # z-score each domain

    def __post_init__(self) -> None:
        at_least_one(self, "components", "neighbours", "iterations")
        from_zero(self, "alignment", "smoothness")
        above_zero(self, "ridge")
        a_share_if_given(self, "balance")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=self.normalise, unit=False)
        flow = geodesic_map(pair.x_source, pair.x_target, self.components)
        z_source, z_target = unit_rows(pair.x_source @ flow), unit_rows(pair.x_target @ flow)
        manifold = dataclasses.replace(pair, x_source=z_source, x_target=z_target)
        nearest = learn(NearestNeighbours(), pair, z_source, z_target, run)
        pseudo = nearest.predict(z_target.astype(np.float32)).argmax(1)

        z, n_source, width = manifold.pooled, len(z_source), task.schema.width
        kernel = Kernel(landmarks=landmarks(z, run), bandwidth=BANDWIDTH)
        solver = Scores(self, kernel, z, np.eye(width)[pair.y])
        used: list[float] = []
        for done in range(self.iterations):
            share = self.balance
            used.append(estimated_balance(manifold, pseudo) if share is None else share)
            beta = solver.weights(balanced(pair.y, pseudo, width, used[-1]))
            scores = solver.columns @ beta
            scores[:, np.setdiff1d(np.arange(width), pair.y)] = ABSENT
            before, pseudo = pseudo, scores[n_source:].argmax(1)
            run.progress("pseudo-labels", done + 1, self.iterations)
            if (before == pseudo).all():
                break
        bias = np.where(scores[0] == ABSENT, ABSENT, 0.0)
        sharp = sharpness(scores[:n_source], pair.y)
        part = LinearPart.of(beta * sharp, bias, classes=True)
        steps: list[Step] = [times(flow), UnitRows(features=flow.shape[1]), kernel]
        adapted = TorchAdapted(part=part, schema=task.schema)
        return deploy(adapted, pair, target=steps, diagnostics={"balance": used})


class Scores:
    """Weights beta (m, k) such that ``columns @ beta`` (n, k) minimises MEDA's objective.

    With all rows for landmarks, beta solves ((E + lambda M + rho L) K + eta I) beta = E Y; with
    fewer, the same is projected on their span. M = U U' changes with the pseudo-labels and has low
    rank: all else is factorised once, and Woodbury's identity does the rest.
    """

    def __init__(self, recipe: MEDA, kernel: Kernel, z: Array, y: Array) -> None:
        n, n_source = len(z), len(y)
        self.columns = kernel.columns(z)  # (n, m)
        self.exact = len(kernel.landmarks) == n
        known = sparse.diags((np.arange(n) < n_source).astype(np.float64))
        smooth = known + recipe.smoothness * laplacian(z, recipe.neighbours)
        inner = self.project(smooth @ self.columns)
        gram = np.eye(n) if self.exact else kernel.columns(np.asarray(kernel.landmarks))
        self.factors = linalg.lu_factor(inner + recipe.ridge * gram)
        labels = np.concatenate([y, np.zeros((n - n_source, y.shape[1]))])
        self.start: Array = linalg.lu_solve(self.factors, self.project(labels))
        self.alignment = recipe.alignment

    def project(self, rows: Array) -> Array:
        """Return the rows (n, k) as they are, or their products with each landmark (m, k)."""
        return rows if self.exact else self.columns.T @ rows

    def weights(self, contrasts: Array) -> Array:
        """Return beta (m, k) for differences of means (n, q)."""
        u = contrasts * np.sqrt(self.alignment / np.linalg.norm(contrasts.T @ contrasts))
        right = u.T @ self.columns
        left = linalg.lu_solve(self.factors, self.project(u))
        small = np.eye(u.shape[1]) + right @ left
        return np.asarray(self.start - left @ np.linalg.solve(small, right @ self.start))


def laplacian(z: Array, neighbours: int) -> Any:
    """Return I - D^(-1/2) W D^(-1/2), sparse (n, n), with W the cosine of unit rows' neighbours.

    Two rows are neighbours where either is among the nearest of the other.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(z)
    k = min(neighbours, n - 1)
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(z).kneighbors()[1]
    row = np.repeat(np.arange(n), k)
    cosine = np.maximum((z[row] * z[index.ravel()]).sum(1), 0)
    w = sparse.csr_array((cosine, (row, index.ravel())), shape=(n, n))
    w = w.maximum(w.T)
    degree = np.asarray(w.sum(1)).ravel()
    root = sparse.diags(1 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    return sparse.eye(n, format="csr") - root @ w @ root
