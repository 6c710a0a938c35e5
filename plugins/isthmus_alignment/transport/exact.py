"""Exact couplings: a short list of pairs, and then the pairs that turn out to be missing.

POT's network simplex (Bonneel et al., SIGGRAPH Asia 2011) on some pairs of rows, to which pairs of
negative reduced cost are added until there is none: then the plan is optimal among all pairs.
Gottschlich & Schuhmacher, "The shortlist method for fast computation of the earth mover's
distance", PLoS ONE 9 (2014), arXiv:1405.7903; Schmitzer, "A sparse multiscale algorithm for dense
optimal transport", JMIV 56 (2016), arXiv:1510.05466.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import rows
from isthmus_alignment.transport.coupling import Array, Coupling, softmin, uniform

FEW = 500_000  # pairs that are all given to the simplex at once
SAMPLE, NEAR = 300, 0.02  # rows a side for first potentials; the share of pairs near to tight there
FIRST, MORE = 30, 10  # pairs per row of either side on the list at first; and added at a time
ROUNDS = 30  # after which all pairs are given to it after all
NEGATIVE = -1e-9  # a reduced cost, as a share of the largest cost
WILD = 1e3  # the largest cost in median ones, from which that is too coarse
BLOCK = 1 << 16  # costs read at a time, few enough to stay in the cache
Index = NDArray[np.int64]  # of pairs: places in the flat cost


def exact(cost: Array, iterations: int, start: Array | None = None) -> Coupling:
    """Return an optimal plan between uniform marginals for cost (n_source, n_target).

    It has at most n_source + n_target - 1 entries. ``start``, the potential of a similar problem,
    spares part of the time; ``iterations`` bounds the pivots of each of some five rounds. About n²
    log n time, at worst O(n³); memory some twice the cost's. Costs of very different sizes are all
    given to the simplex at once, which takes longer and more memory.
    """
    if cost.size <= FEW:
        return _coupling(*_simplex(cost, iterations, start))
    every = [max(1, n // SAMPLE) for n in cost.shape]
    near = cost[:: every[0]]
    some = np.ascontiguousarray(near[:, :: every[1]])
    largest = float(max(cost.max(), -cost.min()))
    if not largest < WILD * np.median(np.abs(some)):
        return _coupling(*_simplex(cost, iterations, start))
    cost, bound = np.ascontiguousarray(cost, np.float64), NEGATIVE * largest
    v = _potential(near, some)
    if start is not None:
        v = max(start, v, key=lambda v: _dual(cost, v))
    pairs = _shortlist(cost, v)
    for _ in range(ROUNDS):
        listed = (cost.ravel()[pairs], np.divmod(pairs, cost.shape[1]))
        plan, log = _simplex(sparse.coo_array(listed, shape=cost.shape), iterations)
        missing = _least(cost, log["u"], log["v"], bound, MORE)
        if not len(missing) or log["warning"]:
            return _coupling(plan.toarray(), log)
        pairs = np.concatenate([pairs, missing])
    return _coupling(*_simplex(cost, iterations, log["v"]))


def _simplex(cost: Any, iterations: int, start: Array | None = None) -> tuple[Any, dict[str, Any]]:
    """Return POT's plan and log for a cost whose pairs are all there, or listed as COO."""
    import ot

    a, b = (uniform(n) for n in cost.shape)
    near = None if start is None else ((cost - start).min(1), start)
    with warnings.catch_warnings():  # what it would warn of is in the log
        warnings.simplefilter("ignore")
        plan, log = ot.emd(a, b, cost, numItermax=iterations, log=True, potentials_init=near)
    return plan, log


def _coupling(plan: Array, log: dict[str, Any]) -> Coupling:
    return Coupling(
        plan=np.asarray(plan),
        converged=log["warning"] is None,
        error=float(np.abs(plan.sum(0) - uniform(plan.shape[1])).sum()),
        potential=np.asarray(log["v"]),
    )


def _potential(near: Array, some: Array) -> Array:
    """Return about the target's potential (n_target,), from the plan of a sample.

    ``near`` (k, n_target) are the costs of some source rows, ``some`` (k, l) of them those of some
    target rows.
    """
    _, log = _simplex(some, some.size)
    width = float(np.quantile(some - log["u"][:, None] - log["v"], NEAR))
    return softmin(near.T, log["u"], max(width, 1e-9 * float(np.abs(some).max())) or 1.0)


def _row_minima(cost: Array, v: Array) -> Array:
    return np.concatenate([(cost[b] - v).min(1) for b in rows.blocks(cost, BLOCK)])


def _dual(cost: Array, v: Array) -> float:
    """Return what no plan can cost less than."""
    return float(_row_minima(cost, v).mean() + v.mean())


def _shortlist(cost: Array, v: Array) -> Index:
    """Return pairs that are nearly tight at a potential (n_target,), and some that allow a plan."""
    n, m = cost.shape
    u = _row_minima(cost, v)
    v = np.min([(cost[b] - u[b, None]).min(0) for b in rows.blocks(cost, BLOCK)], axis=0)
    some = slice(None, None, max(1, n // 100))
    share = min(1.0, FIRST * (n + m) / cost.size)
    bound = float(np.quantile(cost[some] - u[some, None] - v, share))
    # A plan that fills both sides in their order, by the north-west corner rule.
    corner = np.sort(np.concatenate([np.arange(n) * m, np.arange(m) * n]))
    tight = _least(cost, u, v, bound, 2 * FIRST)
    return np.concatenate([tight, corner // m * m + corner // n])


def _least(cost: Array, u: Array, v: Array, bound: float, most: int) -> Index:
    """Return pairs of reduced cost up to ``bound``; the least of them, ``most`` per row at most."""
    found, values = [np.zeros(0, np.int64)], [np.zeros(0)]
    for b in rows.blocks(cost, BLOCK):
        reduced = cost[b] - v
        reduced -= u[b, None]
        at = np.flatnonzero(reduced <= bound)
        found.append(at + b.start * len(v))
        values.append(reduced.ravel()[at])
    pairs, k = np.concatenate(found), most * sum(cost.shape)
    return pairs if len(pairs) <= k else pairs[np.argpartition(np.concatenate(values), k)[:k]]
