"""Leading eigenvectors: of one domain's scatter, and of scatter against discrepancy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]

DENSE = 1500  # a matrix of more columns, of which few eigenvectors are wanted, is left to Lanczos
FLAT = 1e-10  # an eigenvalue below this share of the largest is rounding
CONVERGED = 1e-7  # a residual below this share of the largest eigenvalue, whose error is its square
EXTRA, DEEP = 12, 6  # columns of a block besides those wanted; blocks before a restart


def principal_axes(x: Array, k: int) -> tuple[Array, Array]:
    """Return the mean (d,) and the k' leading orthonormal axes (d, k') of rows ``x`` (n, d).

    k' < k where the rows span fewer dimensions; rows that are all equal have one arbitrary axis.
    Cost O(n d min(n, d)), memory O(min(n, d)²).
    """
    mean = x.mean(0)
    centred = x - mean
    n, d = x.shape
    if not max(centred.max(), -centred.min()) > FLAT * max(x.max(), -x.min()):
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
    the columns of ``contrasts`` (n, q) sum to zero. See ``ratio_directions`` for the cost.
    """
    mean = rows.mean(0)
    u = rows.T @ contrasts - np.outer(mean, contrasts.sum(0))
    u /= np.sqrt(np.linalg.norm(contrasts.T @ contrasts))
    return ratio_directions(rows, u, penalty, k, mean)


def ratio_directions(
    rows: Array, u: Array, penalty: float, k: int, mean: Array | None = None
) -> tuple[Array, Array]:
    """Return W (p, k') with the largest |(rows - mean) W|² where W' (U U' + penalty I) W = I.

    U (p, q) has few columns, so the inverse square root that makes this a symmetric eigenproblem
    is known in closed form. For r ``rows`` (r, p) the cost is O(r p min(r, p)), or O(r p) per step
    where both exceed 1,500; memory O(r p).
    """
    left, s, _ = linalg.svd(u, full_matrices=False)
    shrink = 1 - np.sqrt(penalty / (penalty + np.square(s)))
    mean = np.zeros(rows.shape[1]) if mean is None else mean

    def root(w: Array) -> Array:
        """(U U' + penalty I)^(-1/2) w."""
        return np.asarray((w - left @ (shrink[:, None] * (left.T @ w))) / np.sqrt(penalty))

    def product(w: Array) -> Array:
        w = root(w)
        z = times_few(rows, w) - mean @ w
        return root(times_few(rows.T, z) - np.outer(mean, z.sum(0)))

    r, p = rows.shape
    if min(r, p) > DENSE:
        values, vectors = block_lanczos(product, p, k)
        return signed(root(vectors)), values
    m = rows - mean
    if p <= r:
        values, vectors = leading(root(root(m.T @ m).T), k)
    else:
        m = root(m.T).T
        values, vectors = leading(m @ m.T, k)
        vectors = m.T @ (vectors / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny)))
    return signed(root(vectors)), values


def times_few(matrix: Array, w: Array) -> Array:
    """Return matrix (n, m) @ w (m, k) for few columns: BLAS wants those to be the rows."""
    return (np.ascontiguousarray(w.T) @ matrix.T).T


def leading(matrix: Array, k: int) -> tuple[Array, Array]:
    """Return the k' largest eigenvalues, decreasing, and eigenvectors of a symmetric PSD matrix.

    k' < k where the others are zero up to rounding.
    """
    m = len(matrix)
    k = min(k, m)
    if m > DENSE and 10 * k < m:
        return block_lanczos(lambda w: times_few(matrix, w), m, k)
    values, vectors = linalg.eigh((matrix + matrix.T) / 2, subset_by_index=[m - k, m - 1])
    return _nonzero(values[::-1], vectors[:, ::-1])


def block_lanczos(apply: Callable[[Array], Array], m: int, k: int) -> tuple[Array, Array]:
    """Return the same as ``leading`` for a matrix (m, m) of which only products are known.

    A block Krylov space with thick restarts: products with many columns at once read the matrix
    as often as there are blocks, of which smooth kernels need about six.
    """
    b = min(m, k + EXTRA)
    start = np.random.default_rng(0).normal(size=(m, b))  # any that misses no eigenvector
    q = linalg.qr(start, mode="economic")[0]
    image = apply(q)
    while True:
        values, y = linalg.eigh(q.T @ image)
        values, y = values[::-1], y[:, ::-1]
        residual = (image @ y - (q @ y) * values)[:, :b]
        size = np.linalg.norm(residual, axis=0)
        moving = size > CONVERGED * values[0]
        if not moving[:k].any() or q.shape[1] == m:
            return _nonzero(values[:k], (q @ y)[:, :k])
        if q.shape[1] > DEEP * b:
            q, image = q @ y[:, : 2 * b], image @ y[:, : 2 * b]
        fresh = residual[:, moving][:, : m - q.shape[1]]
        for _ in range(2):
            fresh = linalg.qr(fresh - q @ (q.T @ fresh), mode="economic")[0]
        q, image = np.hstack([q, fresh]), np.hstack([image, apply(fresh)])


def _nonzero(values: Array, vectors: Array) -> tuple[Array, Array]:
    kept = max(1, int((values > FLAT * values[0]).sum()))
    return values[:kept], vectors[:, :kept]


def signed(vectors: Array) -> Array:
    """Return the columns with signs such that the largest entry of each is positive."""
    largest = np.abs(vectors).argmax(0)
    return np.asarray(vectors * np.where(np.take_along_axis(vectors, largest[None], 0) < 0, -1, 1))
