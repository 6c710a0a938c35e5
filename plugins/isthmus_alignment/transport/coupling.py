"""Couplings of source and target rows, and the entropic ones.

Entropic plans are Sinkhorn's iterations (Cuturi, NeurIPS 2013, arXiv:1306.0895) on a kernel that
absorbs the potentials (Schmitzer, SISC 2019, arXiv:1610.06519), so that a small ``reg`` neither
under- nor overflows; with relaxed marginals those of Chizat et al., Mathematics of Computation 87
(2018), arXiv:1607.05816. All entropies are relative to the product of the marginals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import RunFailed

ABSORB = 50.0  # exp(±50) is far from the limits of float64
LEAST = 1e-100  # of a column of a kernel, which may underflow, and of an error
LARGEST = 0.9999  # of the factors by which errors of plain iterations shrink
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Coupling:
    """A plan (n_source, n_target) >= 0 of mass 1 (less where marginals are relaxed)."""

    plan: Array
    converged: bool
    error: float  # what the column sums are off by, in total
    potential: Array | None = None  # of the target, (n_target,): where a later plan may start
    divergence: float = 0.0  # KL(P | a b') of an entropic plan


def uniform(n: int) -> Array:
    return np.full(n, 1 / n)


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what comes of it is refused
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
    g = np.zeros(m) if start is None else start
    # From soft c-transforms, so that no row or column of the kernel underflows as a whole.
    f, kernel = _rows_fitted(cost, g, reg)
    if not kernel.sum(0).min() > LEAST:
        g = softmin(cost.T, f, reg)
        kernel = _kernel(cost, f, g, reg)
    u, v, error = np.zeros(n), np.zeros(m), np.inf  # logarithms of the scaling factors
    stride, omega = Stride(), 1.0
    for step in range(iterations + 1):
        after = -power * np.log(np.exp(u) @ kernel / n) - drag * g
        if step:
            error = float(np.abs(np.expm1(v - after)).mean())
            if omega == 1 and (error <= tolerance or step == iterations):
                break
            # The last steps are plain ones, which make the row sums exact.
            plain = relax is not None or error <= tolerance / 4 or step >= iterations - 1
            omega = 1.0 if plain else stride.after(error)
        v = after + (omega - 1) * (after - v)
        fit = -power * np.log(kernel @ np.exp(v) / m) - drag * f
        u = fit + (omega - 1) * (fit - u)
        # A row that loses its mass when marginals are relaxed stays out of the kernel: it would
        # become a row of zeros.
        least = -ABSORB if relax is not None else -np.inf
        if max(u.max(), v.max()) > ABSORB or (relax is None and min(u.min(), v.min()) < -ABSORB):
            f, g = f + reg * np.where(u > least, u, 0), g + reg * np.where(v > least, v, 0)
            u, v = np.where(u > least, 0, u), np.where(v > least, 0, v)
            kernel = _kernel(cost, f, g, reg)
    kernel *= (np.exp(u) / n)[:, None]
    kernel *= np.exp(v) / m
    if not np.isfinite(kernel).all():
        raise RunFailed(f"the plan of entropy {reg:.1e} overflowed", hint="a larger reg")
    f, g = f + reg * u, g + reg * v
    kl = float(kernel.sum(1) @ f + kernel.sum(0) @ g - np.vdot(kernel, cost)) / reg
    return Coupling(
        plan=kernel, converged=error <= tolerance, error=error, potential=g, divergence=kl
    )


class Stride:
    """How far over-relaxed iterations go: omega times as far as plain ones.

    Near the solution plain errors shrink by a factor λ, over-relaxed ones by as little as omega - 1
    at omega = 2 / (1 + (1 - λ)^½): a tenth of the steps where λ is 0.96. λ is found from the errors
    themselves, by Young's relation (μ + omega - 1)² = μ omega² λ with their rate μ; where they
    grow, the next steps are plain. Thibault, Chizat, Dossal & Papadakis, Algorithms 14 (2021),
    arXiv:1711.01851; Hageman & Young, Applied Iterative Methods, 1981.
    """

    EVERY = 6  # steps in which a change of omega settles, and again as many that show the rate

    def __init__(self) -> None:
        self.omega, self.steps, self.error = 1.0, 0, np.inf

    def after(self, error: float) -> float:
        """Return omega for the next step; ``error`` is that of the last one."""
        self.steps += 1
        if self.steps == self.EVERY:  # what a change of omega stirred up has passed
            self.error = error
        elif self.steps == 2 * self.EVERY:
            rate, self.steps = (error / max(self.error, LEAST)) ** (1 / self.EVERY), 0
            if rate >= 1:
                self.omega = 1.0
            elif rate > self.omega - 1:
                squared = (rate + self.omega - 1) ** 2 / (rate * self.omega**2)
                self.omega = 2 / (1 + np.sqrt(1 - min(squared, LARGEST)))
        return self.omega


class Scaled:
    """A kernel exp(-cost / reg) with factors of its rows and columns, for Bregman projections.

    ``share`` (n,) below is what each row is to have, times n. The plan's entries are
    share_i exp(u_i + v_j) K_ij / (n m), where the kernel K absorbs what u and v grow to.
    """

    u: Array
    v: Array
    kernel: Array

    def __init__(self, cost: Array, reg: float) -> None:
        self.cost, self.reg = cost, reg
        self.g = softmin(cost.T, np.zeros(len(cost)), reg)
        self.f = softmin(cost, self.g, reg)
        self.unscaled = -self.f / reg - np.log(len(cost))  # log row sums before rows had factors
        self._absorb(0.0, 0.0)

    def fit_columns(self, share: Array) -> float:
        """Make column sums uniform; return what they were off by, in total."""
        v = -np.log((share * np.exp(self.u)) @ self.kernel / len(share))
        error = float(np.abs(np.expm1(self.v - v)).mean())
        self.v = v
        return error

    def fit_rows(self) -> None:
        """Make row sums share / n."""
        self.u = -np.log(self.kernel @ np.exp(self.v) / len(self.v))
        if max(np.abs(self.u).max(), np.abs(self.v).max()) > ABSORB:
            self._absorb(self.u, self.v)

    def row_sums(self, share: Array) -> Array:
        rest = self.kernel @ np.exp(self.v) / len(self.v)
        return np.asarray(share * np.exp(self.u) * rest / len(share))

    def plan(self, share: Array) -> Array:
        out = self.kernel * (share * np.exp(self.u) / len(share))[:, None]
        out *= np.exp(self.v) / len(self.v)
        return np.asarray(out)

    def _absorb(self, u: Array | float, v: Array | float) -> None:
        self.f, self.g = self.f + self.reg * u, self.g + self.reg * v
        self.u, self.v = np.zeros(len(self.f)), np.zeros(len(self.g))
        self.kernel = _kernel(self.cost, self.f, self.g, self.reg)


def softmin(cost: Array, potential: Array, reg: float) -> Array:
    """Return -reg log mean_j exp((potential_j - cost_ij) / reg) for each row i."""
    return _rows_fitted(cost, potential, reg)[0]


def _rows_fitted(cost: Array, potential: Array, reg: float) -> tuple[Array, Array]:
    """Return softmin's f (n,), and the kernel with f and the potential, whose row means are 1."""
    least = np.asarray((cost - potential).min(1))
    kernel = _kernel(cost, least, potential, reg)
    mean = kernel.mean(1)
    kernel /= mean[:, None]
    return np.asarray(least - reg * np.log(mean)), kernel


def _kernel(cost: Array, f: Array, g: Array, reg: float) -> Array:
    out = f[:, None] - cost
    out += g
    out /= reg
    return np.asarray(np.exp(out, out=out))
