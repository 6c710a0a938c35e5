"""Entropic transport with a further convex term, by generalised conditional gradients.

Rakotomamonjy, Flamary & Courty, "Generalized conditional gradient: analysis of convergence and
applications", 2015, arXiv:1510.06567: the term is replaced by its tangent, the entropy is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isthmus_alignment.transport.coupling import Array, Coupling, entropic

HALVINGS = 30  # of a step, until it descends
INNER = 200  # iterations of the inner solver, which starts where it last was


def conditional(
    cost: Array,
    reg: float,
    value: Callable[[Array], float],
    slope: Callable[[Array], Array],
    iterations: int,
    tolerance: float,
) -> Coupling:
    """Minimise <cost, P> + reg KL(P | a b') + value(P) over plans (n_source, n_target).

    ``slope`` is the gradient of ``value``. Has converged when the duality gap, which bounds what is
    left, is at most ``tolerance``. O(n²) per iteration of the inner Sinkhorn problems.
    """
    found = inner(cost, reg, None, tolerance)
    plan, gap = found.plan, np.inf
    now, rest = _solved(found, cost, reg), value(found.plan)
    for _ in range(iterations):
        tangent = slope(plan)
        found = inner(cost + tangent, reg, found.potential, tolerance)
        step, whole = found.plan - plan, _solved(found, cost, reg)
        gap = now - whole - float(np.vdot(tangent, step))
        if gap <= tolerance:
            break
        length = 1.0
        for _ in range(HALVINGS):
            ahead = plan + length * step
            then = whole if length == 1 else _entropic_cost(ahead, cost, reg)
            extra = value(ahead)
            if then + extra <= now + rest - 0.1 * length * gap:
                plan, now, rest = ahead, then, extra
                break
            length /= 2
        else:
            break
    return Coupling(plan=plan, converged=gap <= tolerance, error=found.error)


def inner(cost: Array, reg: float, start: Array | None, tolerance: float) -> Coupling:
    """Solve to a tenth of what the whole is to be solved to."""
    return entropic(cost, reg, start=start, iterations=INNER, tolerance=tolerance / 10)


def _solved(found: Coupling, cost: Array, reg: float) -> float:
    """Return <cost, P> + reg KL(P | a b') of an entropic plan."""
    return float(np.vdot(found.plan, cost)) + reg * found.divergence


def _entropic_cost(plan: Array, cost: Array, reg: float) -> float:
    """Return the same of any plan between uniform marginals."""
    logs = np.log(np.maximum(plan, np.finfo(float).tiny))
    divergence = float(np.vdot(plan, logs)) + float(np.log(plan.size) * plan.sum())
    return float(np.vdot(plan, cost)) + reg * divergence
