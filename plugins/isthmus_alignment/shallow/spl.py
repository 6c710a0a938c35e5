"""SPL: selective pseudo-labelling by structured prediction.

Wang & Breckon, "Unsupervised domain adaptation via structured prediction based selective
pseudo-labeling", AAAI 2020, arXiv:1911.07982. Its projection is that of He & Niyogi, "Locality
preserving projections", NeurIPS 2003, between rows of one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task, rows
from isthmus.domain import Labelled, Labels
from isthmus.learners.learner import Learner
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner

RANK = 1e-6  # a singular value below this share of the largest is rounding
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SPL(Strategy):
    """Project classes together, label target rows by class means and clusters, trust the surest.

    Made for deep features, where classes form clusters. The projection draws all trusted rows of a
    class together; labels come from the source's class means or from clusters of the target,
    whichever is surer; settings are the paper's. What is deployed is a learner of the labelled
    target rows. Cost O(n d min(n, d)) once and O(n c² + c³) per iteration for c components, memory
    O(n d): no n x n graph is made. Accuracy, in brackets source-only: Office-Caltech (12 tasks)
    MobileNetV2 95.4 (91.9; published with DeCAF6 93.0), SURF 43.1 (46.7); COIL20 82.8 (79.7). It
    fails on raw digits: USPS and MNIST 27.5 (1-NN: 55.3).
    """

    name: ClassVar[str] = "spl"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    components: int = 512  # of the principal components at first
    dimensions: int = 128  # of the projection
    iterations: int = 10  # in which the trusted share of the target grows from 1 / iterations to 1
    learner: Learner | None = None  # of the labelled target rows; None: 1-NN

    def __post_init__(self) -> None:
        for name in ("components", "dimensions", "iterations"):
            if (value := getattr(self, name)) < 1:
                raise BadInput(f"spl: {name}={value}, expected at least 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        source = task.source
        classes, y = np.unique(source.y, return_inverse=True)
        x_source, x_target = principal(
            _unit(rows.dense(source.x)), _unit(rows.dense(task.target.x)), self.components
        )
        trusted = np.zeros(len(x_target), bool)
        labels = np.zeros(len(x_target), np.int64)
        for step in range(1, self.iterations + 1):
            x = np.concatenate([x_source, x_target[trusted]])
            matrix = projection(x, np.concatenate([y, labels[trusted]]), self.dimensions)
            z_source, z_target = x_source @ matrix, x_target @ matrix
            centre = np.concatenate([z_source, z_target]).mean(0)
            p = probabilities(_unit(z_source - centre), y, _unit(z_target - centre))
            labels = np.asarray(p.argmax(1))
            trusted = surest(p, step / self.iterations)
            run.log(step, {"confidence": float(p.max(1).mean())})
            run.progress("spl", step, self.iterations)
        inner = Labelled(name="target", schema=task.schema, x=task.target.x, y=classes[labels])
        learner = self.learner or NearestNeighbours()
        return fit_learner(learner, Task(sources=(inner,), target=task.target), run)


def principal(a: Array, b: Array, components: int) -> tuple[Array, Array]:
    """Return unit rows of both in the leading principal components of the two together."""
    both = np.concatenate([a, b])
    mean = both.mean(0)
    _, values, vectors = np.linalg.svd(both - mean, full_matrices=False)
    kept = vectors[: min(components, max(1, int((values > RANK * values[0]).sum())))].T
    return _unit((a - mean) @ kept), _unit((b - mean) @ kept)


def projection(x: Array, y: Labels, dimensions: int) -> Array:
    """Return the matrix (d, dimensions) that draws rows of one class together.

    It maximises P' X'DX P over P' (X'LX + I) P for the graph that joins all rows of a class.
    """
    from scipy.linalg import eigh

    size = np.bincount(y)[y].astype(np.float64)
    means = np.stack([x[y == c].mean(0) for c in np.unique(y)])
    _, group = np.unique(y, return_inverse=True)
    apart = (x - means[group]) * np.sqrt(size)[:, None]
    spread = x * np.sqrt(size)[:, None]
    d = x.shape[1]
    top = (max(0, d - dimensions), d - 1)
    _, vectors = eigh(spread.T @ spread, apart.T @ apart + np.eye(d), subset_by_index=top)
    return np.asarray(vectors)


def probabilities(z_source: Array, y: Labels, z_target: Array) -> Array:
    """Return the larger of two beliefs (n_target, classes): by class means and by clusters.

    The clusters are k-means' of the target from the class means, each matched with one class.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    means = _unit(np.stack([z_source[y == c].mean(0) for c in range(y.max() + 1)]))
    found = _belief(z_target, means)
    if len(np.unique(z_target, axis=0)) < len(means):  # fewer rows than clusters
        return found
    clusters = KMeans(len(means), init=means, n_init=1).fit(z_target).cluster_centers_
    clusters = _unit(clusters)
    row, column = linear_sum_assignment(_distances(means, clusters))
    matched = np.empty_like(clusters)
    matched[row] = clusters[column]
    return np.maximum(found, _belief(z_target, matched))


def surest(p: Array, share: float) -> NDArray[np.bool_]:
    """Return which rows are among the surest ``share`` of those with their label, (n,)."""
    sure, label = p.max(1), p.argmax(1)
    order = np.lexsort((-sure, label))
    count = np.bincount(label, minlength=p.shape[1])
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    rank = np.empty(len(p), np.int64)
    rank[order] = np.arange(len(p)) - first[label[order]]
    return np.asarray(rank < np.ceil(share * count[label] - 1e-9))


def _belief(z: Array, centres: Array) -> Array:
    near = np.exp(-_distances(z, centres))
    return np.asarray(near / near.sum(1, keepdims=True))


def _distances(a: Array, b: Array) -> Array:
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _unit(x: Any) -> Array:
    """Return rows of length 1; rows of zeros stay."""
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
