"""Leading eigenvectors: of one domain's scatter, and of scatter against discrepancy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator

Array = NDArray[np.float64]

DENSE = 600  # a matrix of more columns, of which few eigenvectors are wanted, is left to Lanczos
FLAT = 1e-10  # an eigenvalue below this share of the largest is rounding


def principal_axes(x: Array, k: int) -> tuple[Array, Array]:
    """Return the mean (d,) and the k' leading orthonormal axes (d, k') of rows ``x`` (n, d).

    k' < k where the rows span fewer dimensions; rows that are all equal have one arbitrary axis.
    Cost O(n d min(n, d)), memory O(min(n, d)²).
    """
    mean = x.mean(0)
    centred = x - mean
    n, d = x.shape
    if not np.abs(centred).max() > FLAT * np.abs(x).max():
        return mean, np.eye(d, 1)
    if n >= d:
        _, axes = leading(centred.T @ centred, k)
        return mean, signed(axes)
    values, left = leading(centred @ centred.T, k)
    axes, _ = linalg.qr(centred.T @ (left / np.sqrt(values)), mode="economic")
    return mean, signed(axes)


def penalised_components(
    rows: Array, contrasts: Array, penalty: float, k: int
) -> tuple[Array, Array]:
    """Return k' directions (p, k') of much variance and little discrepancy, and their ratios (k',).

    They maximise tr(W' S W) subject to W' (U U' + penalty I) W = I, where S is the scatter of
    ``rows`` (n, p) about their mean, and U = rows' contrasts / |contrasts contrasts'| (p, q);
    the columns of ``contrasts`` (n, q) sum to zero.
    The discrepancy has rank q, so the inverse square root that makes this a symmetric eigenproblem
    is known in closed form. Cost O(n p²), or O(n p) per Lanczos step where p > n / 2.
    """
    centred = rows - rows.mean(0)
    u = centred.T @ contrasts / np.sqrt(np.linalg.norm(contrasts.T @ contrasts))
    left, s, _ = linalg.svd(u, full_matrices=False)
    shrink = 1 - np.sqrt(penalty / (penalty + np.square(s)))

    def root(w: Array) -> Array:
        """(U U' + penalty I)^(-1/2) w."""
        moved = left @ (shrink * (left.T @ w).T).T
        return np.asarray((w - moved) / np.sqrt(penalty))

    n, p = rows.shape
    k = max(1, min(k, n - 1))  # the rank of the scatter
    if p > max(DENSE, n // 2):

        def multiply(w: Array) -> Array:
            return root(centred.T @ (centred @ root(w.ravel())))

        values, vectors = leading(LinearOperator((p, p), matvec=multiply, dtype=np.float64), k)
    else:
        values, vectors = leading(root(root(centred.T @ centred).T), k)
    return signed(root(vectors)), values


def leading(matrix: Any, k: int) -> tuple[Array, Array]:
    """Return the k' largest eigenvalues, decreasing, and eigenvectors of a symmetric PSD matrix.

    k' < k where the others are zero up to rounding. Takes an array, or an operator of many columns.
    """
    m = matrix.shape[0]
    k = min(k, m)
    if not isinstance(matrix, np.ndarray) or (m > DENSE and 4 * k < m):
        start = np.random.default_rng(0).normal(size=m)  # any that misses no eigenvector
        values, vectors = sparse.linalg.eigsh(matrix, min(k, m - 1), v0=start)
    else:
        values, vectors = linalg.eigh((matrix + matrix.T) / 2, subset_by_index=[m - k, m - 1])
    order = np.argsort(values)[::-1]
    values, vectors = values[order], vectors[:, order]
    kept = max(1, int((values > FLAT * values[0]).sum()))
    return values[:kept], vectors[:, :kept]


def signed(vectors: Array) -> Array:
    """Return the columns with signs such that the largest entry of each is positive."""
    largest = np.abs(vectors).argmax(0)
    return np.asarray(vectors * np.where(np.take_along_axis(vectors, largest[None], 0) < 0, -1, 1))
