"""Couplings of source and target rows: the exact one, and the entropic one.

The exact plan is POT's network simplex (Bonneel et al., SIGGRAPH Asia 2011). Entropic plans are
Sinkhorn's iterations (Cuturi, NeurIPS 2013, arXiv:1306.0895) on a kernel that absorbs the
potentials (Schmitzer, SISC 2019, arXiv:1610.06519), so that a small ``reg`` neither under- nor
overflows; with relaxed marginals those of Chizat et al., Mathematics of Computation 87 (2018),
arXiv:1607.05816. All entropies are relative to the product of the marginals.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABSORB = 50.0  # exp(±50) is far from the limits of float64
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Coupling:
    """A plan (n_source, n_target) >= 0 of mass 1 (less where marginals are relaxed)."""

    plan: Array
    converged: bool
    error: float  # what the column sums are off by, in total
    potential: Array | None = None  # of the target, (n_target,): where a later solve may start


def uniform(n: int) -> Array:
    return np.full(n, 1 / n)


def exact(cost: Array, iterations: int) -> Coupling:
    """Return an optimal plan between uniform marginals for cost (n_source, n_target).

    It has at most n_source + n_target - 1 entries. About O(n³) time at worst, often n² log n;
    memory some 40 bytes per entry of the cost.
    """
    import ot

    a, b = (uniform(n) for n in cost.shape)
    with warnings.catch_warnings():  # what it would warn of is in the log
        warnings.simplefilter("ignore")
        plan, log = ot.emd(a, b, cost, numItermax=iterations, log=True)
    error = float(np.abs(plan.sum(0) - b).sum())
    return Coupling(plan=np.asarray(plan), converged=log["warning"] is None, error=error)


def entropic(
    cost: Array,
    reg: float,
    *,
    relax: float | None = None,
    start: Array | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Coupling:
    """Return the plan that minimises <cost, P> + reg KL(P | a b'), a and b uniform.

    ``relax`` times KL(P 1 | a) + KL(P' 1 | b) takes the place of the marginals; ``start`` is the
    potential of a similar problem. Without ``relax`` row sums are exact. The plan has converged
    when the next iteration would move no more than ``tolerance`` of its mass between columns.
    O(n²) per iteration, memory three matrices of the cost's size.
    """
    n, m = cost.shape
    power = 1.0 if relax is None else relax / (relax + reg)
    drag = 0.0 if relax is None else 1 / (relax + reg)
    # Soft c-transforms: from them on no row or column of the kernel underflows as a whole.
    f = _softmin(cost, np.zeros(m) if start is None else start, reg)
    g = _softmin(cost.T, f, reg)
    u, v, error = np.zeros(n), np.zeros(m), np.inf  # logarithms of the scaling factors
    kernel = _kernel(cost, f, g, reg)
    for step in range(iterations + 1):
        after = -power * np.log(np.exp(u) @ kernel / n) - drag * g
        if step:
            error = float(np.abs(np.expm1(v - after)).mean())
            if error <= tolerance or step == iterations:
                break
        v = after
        u = -power * np.log(kernel @ np.exp(v) / m) - drag * f
        # A row that loses its mass when marginals are relaxed stays out of the kernel: it would
        # become a row of zeros.
        least = -ABSORB if relax is not None else -np.inf
        if max(u.max(), v.max()) > ABSORB or (relax is None and min(u.min(), v.min()) < -ABSORB):
            f, g = f + reg * np.where(u > least, u, 0), g + reg * np.where(v > least, v, 0)
            u, v = np.where(u > least, 0, u), np.where(v > least, 0, v)
            kernel = _kernel(cost, f, g, reg)
    kernel *= (np.exp(u) / n)[:, None]
    kernel *= np.exp(v) / m
    potential = g + reg * v
    return Coupling(plan=kernel, converged=error <= tolerance, error=error, potential=potential)


def _softmin(cost: Array, potential: Array, reg: float) -> Array:
    """Return -reg log mean_j exp((potential_j - cost_ij) / reg) for each row i."""
    least = np.asarray((cost - potential).min(1))
    kernel = _kernel(cost, least, potential, reg)
    return np.asarray(least - reg * np.log(kernel.mean(1)))


def _kernel(cost: Array, f: Array, g: Array, reg: float) -> Array:
    out = f[:, None] - cost
    out += g
    out /= reg
    return np.asarray(np.exp(out, out=out))
