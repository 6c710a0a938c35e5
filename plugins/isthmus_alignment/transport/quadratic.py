"""Transport with a convex quadratic term beside the cost.

Fully corrective conditional gradients: each exact plan that the gradient asks for is kept, and
the weights of all are chosen anew. Ferradans et al., SIAM Journal on Imaging Sciences 7 (2014),
arXiv:1307.5551, take a step towards the last one only; Lacoste-Julien & Jaggi, "On the global
linear convergence of Frank-Wolfe optimization variants", NeurIPS 2015, arXiv:1511.05932.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from isthmus_alignment.transport.coupling import Array, Coupling
from isthmus_alignment.transport.exact import exact

PIVOTS = 2_000_000  # of each exact plan
STEPS = 5000  # of mass from one kept plan to another, after each new one
Operator = Callable[[Any], Array]  # a plan as a CSR matrix (n, m) to an array (n, m)


def quadratic(cost: Array, operator: Operator, iterations: int, tolerance: float) -> Coupling:
    """Minimise <cost, P> + <P, Q P> over plans between uniform marginals.

    ``operator`` is Q, linear, self-adjoint and positive semi-definite. Has converged when the
    duality gap, which bounds what is left, is at most ``tolerance``. An iteration is an exact plan
    and two products with Q; memory two matrices of the cost's size beside that plan's.
    """
    found = exact(cost, PIVOTS)
    plan = sparse.csr_matrix(found.plan)
    atoms, weight = [plan], np.ones(1)
    linear = np.array([_inner(plan, cost)])
    square = np.array([[_inner(plan, operator(plan))]])
    error, settled = found.error, found.converged
    gap = np.inf
    for _ in range(iterations):
        slope = operator(plan)
        slope *= 2
        slope += cost
        found = exact(slope, PIVOTS, found.potential)
        settled &= found.converged
        best = sparse.csr_matrix(found.plan)
        gap = _inner(plan, slope) - _inner(best, slope)
        if gap <= tolerance:
            break
        image = operator(best)
        column = np.array([_inner(atom, image) for atom in atoms])
        atoms.append(best)
        square = np.block([[square, column[:, None]], [column, np.array([_inner(best, image)])]])
        linear = np.append(linear, _inner(best, cost))
        weight = _weights(linear, square, np.append(weight, 0.0), 0.1 * gap)
        kept = np.flatnonzero(weight > 0)
        atoms, weight, linear = [atoms[i] for i in kept], weight[kept], linear[kept]
        square = square[np.ix_(kept, kept)]
        plan = sum(w * atom for w, atom in zip(weight, atoms, strict=True))
        error = max(error, found.error)
    return Coupling(plan=plan.toarray(), converged=settled and gap <= tolerance, error=error)


def _inner(plan: Any, matrix: Array) -> float:
    """Return the sum of the products of entries of a CSR plan and an array of its shape."""
    at = plan.tocoo()
    return float(at.data @ matrix[at.row, at.col])


def _weights(linear: Array, square: Array, start: Array, tolerance: float) -> Array:
    """Lower linear w + w' square w over w >= 0 of sum 1, (k,), by pairs as in SMO."""
    w = start.copy()
    slope = linear + 2 * square @ w
    for _ in range(STEPS):
        to, at = int(slope.argmin()), int(np.where(w > 0, slope, -np.inf).argmax())
        fall = slope[at] - slope[to]
        if fall <= tolerance:
            break
        curve = 2 * (square[to, to] + square[at, at] - 2 * square[to, at])
        step = min(w[at], fall / curve) if curve > 0 else w[at]
        w[to], w[at] = w[to] + step, w[at] - step
        slope += 2 * step * (square[:, to] - square[:, at])
    return w
