"""Convex quadratic programs over a box and a range of sums.

By a guess of the bounds that hold, mended step by step: Hintermüller, Ito & Kunisch, "The
primal-dual active set strategy as a semismooth Newton method", SIAM J. Optimization 13 (2002). That
is exact and fast where it settles, as with Gaussian kernels in many columns. Where it does not, by
an interior-point method: Mehrotra, "On the implementation of a primal-dual interior point method",
SIAM J. Optimization 2 (1992). A first-order method was measured beside both: for Gaussian kernels
in few columns 5,000 accelerated projected steps end further from the optimum than 15 of the
latter, at ten times the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

Array = NDArray[np.float64]
Index = NDArray[np.intp]
STEPS = 80
CLOSING = 0.8  # of the last gap, that the next guess of the bounds must do better than
RIDGE = 1e-12  # beside eigenvalues of at most 1; keeps a singular matrix positive
CHUNK = 8192  # rows of a factor scaled at once


class Matrix(Protocol):
    """A symmetric positive semi-definite (n, n) matrix."""

    def times(self, v: Array) -> Array:
        """Return the product with v (n,)."""

    def factor(self, diagonal: Array, kept: Index | None = None) -> Callable[[Array], Array]:
        """Return what solves (matrix + diag(diagonal)) x = r for r (n, k).

        ``kept`` are the rows and columns of the matrix to take; None: all.
        """


@dataclass(frozen=True, eq=False)
class Dense:
    """The matrix itself; a factorisation costs n³ / 3."""

    matrix: Array

    def times(self, v: Array) -> Array:
        return np.asarray(self.matrix @ v)

    def factor(self, diagonal: Array, kept: Index | None = None) -> Callable[[Array], Array]:
        from scipy.linalg import cho_factor, cho_solve

        m = self.matrix.copy() if kept is None else self.matrix[np.ix_(kept, kept)]
        m[np.diag_indices(len(m))] += diagonal
        done = cho_factor(m.T, lower=True, overwrite_a=True, check_finite=False)
        return lambda r: np.asarray(cho_solve(done, r, check_finite=False))


@dataclass(frozen=True, eq=False)
class LowRank:
    """z z' + diag(own), z (n, m): a factorisation costs n m²."""

    z: Array
    own: Array

    def times(self, v: Array) -> Array:
        return np.asarray(self.z @ (v @ self.z) + self.own * v)

    def factor(self, diagonal: Array, kept: Index | None = None) -> Callable[[Array], Array]:
        from scipy.linalg import cho_factor, cho_solve

        at = slice(None) if kept is None else kept
        d = 1 / (self.own[at] + diagonal)
        inner, root = np.eye(self.z.shape[1]), np.sqrt(d)
        for part in rows.chunks(len(d), CHUNK):
            z = self.z[part if kept is None else kept[part]] * root[part, None]
            inner += z.T @ z  # of one array with itself: half the products
        done = cho_factor(inner, lower=True, check_finite=False)

        def solve(r: Array) -> Array:
            scaled, whole = r * d[:, None], np.zeros((len(self.own), r.shape[1]))
            whole[at] = scaled
            return np.asarray(
                scaled - d[:, None] * (self.z @ cho_solve(done, self.z.T @ whole))[at]
            )

        return solve


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution:
    """A feasible point (n,), its objective, and how far that is from the least at most."""

    x: Array
    objective: float
    gap: float


def minimise(
    matrix: Matrix, linear: Array, upper: float, low: float, high: float, tolerance: float
) -> Solution:
    """Minimise x'Mx / 2 - linear'x where 0 <= x <= upper and low <= sum(x) <= high.

    ``tolerance`` is the duality gap at which to stop, as a share of the objective. ``matrix`` and
    ``linear`` (n,) should make x of about 1 and gradients of about 1. The point is feasible.
    Cost: some 5 factorisations of the rows between the bounds, or 10 to 20 of all.
    """
    n = len(linear)
    if (settled := settle(matrix, linear, upper, low, high, tolerance)) is not None:
        return settled
    free = high - low > 1e-9 * n  # else the sum is no variable
    total = (low + high) / 2 if free else low
    x, y = np.full(n, min(1.0, upper / 2)), 0.0
    # Multipliers of x >= 0, x <= upper, sum >= low and sum <= high, as ``distances`` orders them.
    force = np.concatenate([np.ones(n), np.full(n, 1 / upper), np.ones(2 if free else 0)])
    best = feasible(matrix, linear, x, upper, low, high)
    for _ in range(STEPS):
        ends = [total - low, high - total] if free else []
        distance = np.concatenate([x, upper - x, ends])
        mu = float(distance @ force) / len(force)
        if mu * len(force) < 1e3 * tolerance * abs(best.objective):
            found = feasible(matrix, linear, x, upper, low, high)
            best = min(best, found, key=lambda s: s.objective)
            if found.gap <= tolerance * abs(found.objective):
                return found
        slope = matrix.times(x) - linear
        newton = Newton(matrix, distance, force, slope, y, total - float(x.sum()))
        d, f, _ = newton.direction(-distance * force)
        a = min(_reach(distance, d), _reach(force, f), 1.0)
        after = float((distance + a * d) @ (force + a * f)) / len(force)
        centre = mu * (after / mu) ** 3
        d, f, dy = newton.direction(centre - distance * force - d * f)
        a = min(0.995 * min(_reach(distance, d), _reach(force, f)), 1.0)
        x, y, force = x + a * d[:n], y + a * dy, force + a * f
        total += a * float(d[2 * n]) if free else 0.0
    return best


def settle(
    matrix: Matrix, linear: Array, upper: float, low: float, high: float, tolerance: float
) -> Solution | None:
    """Return the optimum as ``minimise`` does, by which of the bounds hold; None if unsettled.

    Of a good guess the next one is better. A gap that hardly falls is not going to close: the
    matrix is nearly singular, or the range of sums has a say, which is not tried here.
    """
    n = len(linear)
    inside, full, last = np.ones(n, bool), np.zeros(n, bool), np.inf
    while inside.any():
        kept = None if inside.all() else np.flatnonzero(inside)
        x = np.where(full, upper, 0.0)
        lack = linear - matrix.times(x) if full.any() else linear
        try:
            solve = matrix.factor(np.full(int(inside.sum()), RIDGE), kept)
        except np.linalg.LinAlgError:
            return None
        x[inside] = solve(lack[inside, None])[:, 0]
        found = feasible(matrix, linear, x, upper, low, high)
        if found.gap <= tolerance * abs(found.objective):
            return found
        if not found.gap < CLOSING * last:
            return None
        last, slope = found.gap, matrix.times(x) - linear
        above = np.where(inside, x >= upper, full & (slope <= 0))
        inside = np.where(inside, (x > 0) & (x < upper), np.where(full, slope > 0, slope < 0))
        full = above
    return None


class Newton:
    """The optimality conditions around one point, factored once."""

    def __init__(
        self, matrix: Matrix, distance: Array, force: Array, slope: Array, y: float, primal: float
    ) -> None:
        """``primal`` is what the sum lacks, ``y`` the multiplier of the sum."""
        n = len(slope)
        self.distance, self.force, self.primal = distance, force, primal
        stiff = force / distance
        self.solve = matrix.factor(stiff[:n] + stiff[n : 2 * n] + RIDGE)
        self.ones = self.solve(np.ones((n, 1)))[:, 0]
        self.dual = force[:n] - force[n : 2 * n] - slope + y
        self.ends = len(force) > 2 * n
        self.stiff = float(stiff[2 * n :].sum()) if self.ends else np.inf
        self.dual_sum = float(force[2 * n] - force[2 * n + 1] - y) if self.ends else 0.0

    def direction(self, target: Array) -> tuple[Array, Array, float]:
        """Return changes of distances, forces and y; ``target`` is what their products lack."""
        n, ratio = len(self.dual), target / self.distance
        moved = self.solve((self.dual + ratio[:n] - ratio[n : 2 * n])[:, None])[:, 0]
        push = self.dual_sum + float(ratio[2 * n] - ratio[2 * n + 1]) if self.ends else 0.0
        lack = self.primal - float(moved.sum()) + push / self.stiff
        dy = lack / (float(self.ones.sum()) + 1 / self.stiff)
        dx, dt = moved + self.ones * dy, (push - dy) / self.stiff
        d = np.concatenate([dx, -dx, [dt, -dt] if self.ends else []])
        return d, (target - self.force * d) / self.distance, dy


def project(v: Array, upper: float, low: float, high: float) -> Array:
    """Return the nearest point to v (n,) in the box whose sum is within the range."""
    x = np.clip(v, 0, upper)
    wanted = float(np.clip(x.sum(), low, high))
    if wanted == x.sum():
        return x
    # The sum falls as the level subtracted from v rises, linearly between these knots.
    knots = np.sort(np.concatenate([v, v - upper]))
    first, last = 0, len(knots) - 1
    while last - first > 1:
        middle = (first + last) // 2
        above = np.clip(v - knots[middle], 0, upper).sum() > wanted
        first, last = (middle, last) if above else (first, middle)
    left, right = (float(np.clip(v - knots[i], 0, upper).sum()) for i in (first, last))
    share = (left - wanted) / (left - right) if left > right else 0.0
    level = knots[first] + share * (knots[last] - knots[first])
    return np.clip(v - level, 0, upper)


def feasible(
    matrix: Matrix, linear: Array, x: Array, upper: float, low: float, high: float
) -> Solution:
    """Return the nearest feasible point to x, with its objective and gap."""
    x = project(x, upper, low, high)
    product = matrix.times(x)
    gradient = product - linear
    # The gap: by how much the linearised objective could still fall within the constraints.
    order = np.sort(gradient)
    wanted = float(np.clip(upper * (order < 0).sum(), low, high))
    full = min(int(wanted // upper), len(order))
    least = upper * order[:full].sum()
    least += (wanted - full * upper) * order[full] if full < len(order) else 0.0
    return Solution(
        x=x, objective=float(x @ (product / 2 - linear)), gap=float(gradient @ x - least)
    )


def _reach(v: Array, change: Array) -> float:
    """Return the largest step that keeps v + step * change at or above 0."""
    falls = change < 0
    return float((-v[falls] / change[falls]).min(initial=np.inf))
