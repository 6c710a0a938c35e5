"""A projection that draws classes together, which target rows join as they are labelled.

Locality preserving projections: He & Niyogi, NeurIPS 2003. Between rows of one class, and with the
surest pseudo-labels: Wang, Bu & Breckon, IJCNN 2019, arXiv:1903.10601.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import Run
from isthmus_alignment.shallow.confident import surest
from isthmus_alignment.shallow.pair import unit_rows

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Projected:
    """What the last iteration found; rows are ``unit_rows((x - mean) @ matrix)``."""

    mean: Array  # (d,), of both domains
    matrix: Array  # (d, k)
    z_source: Array  # (n_source, k)
    z_target: Array  # (n_target, k)
    labels: Labels  # (n_target,)


def label_by_projection(
    x_source: Array,
    y: Labels,
    x_target: Array,
    believe: Callable[[Array, Labels, Array], Array],
    *,
    dimensions: int,
    iterations: int,
    run: Run,
) -> Projected:
    """Project, label the target, trust a larger share of it, and so on until all of it is.

    ``believe(z_source, y, z_target)`` says how likely each label is, (n_target, classes). The
    trusted share is t / iterations of each label after iteration t.
    """
    mean = np.concatenate([x_source, x_target]).mean(0)
    trusted = np.zeros(len(x_target), bool)
    labels = np.zeros(len(x_target), np.int64)
    for step in range(1, iterations + 1):
        x = np.concatenate([x_source, x_target[trusted]])
        matrix = projection(x, np.concatenate([y, labels[trusted]]), dimensions)
        z_source = unit_rows((x_source - mean) @ matrix)
        z_target = unit_rows((x_target - mean) @ matrix)
        p = believe(z_source, y, z_target)
        labels = np.asarray(p.argmax(1))
        trusted = surest(p, step / iterations)
        run.log(step, {"confidence": float(p.max(1).mean())})
        run.progress("pseudo-labels", step, iterations)
    return Projected(mean=mean, matrix=matrix, z_source=z_source, z_target=z_target, labels=labels)


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


def class_means(z: Array, y: Labels) -> Array:
    """Return the mean of each class of 0, 1, ..., brought to length 1, (classes, k)."""
    return unit_rows(np.stack([z[y == c].mean(0) for c in range(y.max() + 1)]))


def belief(z: Array, centres: Array) -> Array:
    """Return softmax(-distance) to the centres (classes, k), (n, classes)."""
    near = np.exp(-distances(z, centres))
    return np.asarray(near / near.sum(1, keepdims=True))


def distances(a: Array, b: Array) -> Array:
    """Return Euclidean distances (n, m)."""
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
