"""How much rows that were neighbours differ once a plan has moved them, as a quadratic of the plan.

Ferradans, Papadakis, Peyré & Aujol, "Regularized discrete optimal transport", SIAM Journal on
Imaging Sciences 7 (2014), arXiv:1307.5551, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from isthmus import rows
from isthmus.domain import Labels
from isthmus_alignment.transport.cost import measured
from isthmus_alignment.transport.coupling import Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbourhood:
    """tr(Z' L Z), where Z = n P ends - start (n, r): for starts of 0, where P (n, m) moves rows."""

    laplacian: Any  # CSR (n, n)
    start: Array  # (n, r)
    ends: Array  # (m, r)

    def value(self, plan: Any) -> float:
        z = len(self.start) * (plan @ self.ends) - self.start
        return float(np.vdot(z, self.laplacian @ z))

    def square(self, plan: Any) -> Array:
        """Return Q P (n, m): <P, Q P> is the part of the value that is quadratic in P."""
        n = len(self.start)
        return np.asarray((n * n * (self.laplacian @ (plan @ self.ends))) @ self.ends.T)

    def linear(self) -> Array:
        """Return A (n, m): <A, P> is the part that is linear in P."""
        return np.asarray((-2 * len(self.start) * (self.laplacian @ self.start)) @ self.ends.T)


def laplacian(x: Array, y: Labels | None, neighbours: int) -> Any:
    """Return L, CSR (n, n), with tr(Z' L Z) the mean of |z_i - z_j|² over neighbours i and j.

    Each row of x (n, d) is joined with its nearest, those of its class y (n,) if given.
    """
    from sklearn.neighbors import kneighbors_graph

    groups = np.zeros(len(x), np.int64) if y is None else y
    ends = []
    for group in np.unique(groups):
        at = np.flatnonzero(groups == group)
        if k := min(neighbours, len(at) - 1):
            edges = kneighbors_graph(x[at], k).tocoo()
            ends.append((at[edges.row], at[edges.col]))
    i, j = np.concatenate([np.empty((2, 0), np.int64), *ends], axis=1)
    joined = sparse.csr_matrix((np.ones(len(i)), (i, j)), (len(x), len(x)))
    joined = (joined + joined.T) / max(len(i), 1)
    return sparse.csr_matrix(sparse.diags_array(joined.sum(0).A1) - joined)


def coordinates(x_source: Any, x_target: Any, unit: Array) -> tuple[Array, Array]:
    """Return rows (n, r) and (m, r) with the distances that they have in ``unit``, r <= n + m."""
    x = measured(rows.concatenate([x_source, x_target]), unit)
    n, total = rows.count(x_source), rows.count(x)
    if x.shape[1] > total:
        products = x @ x.T
        products = products.toarray() if rows.is_sparse(products) else products
        values, vectors = np.linalg.eigh(products)
        x = vectors * np.sqrt(np.maximum(values, 0))
    x = x.toarray() if rows.is_sparse(x) else x
    x = x - x[n:].mean(0)
    return x[:n], x[n:]
