"""The most likely proportions of a mixture of known densities.

Kim, Carbonetto, Stephens & Anitescu, "A fast algorithm for maximum likelihood estimation of mixture
proportions using sequential quadratic programming", J. Computational and Graphical Statistics 29
(2020), arXiv:1806.01412. KLIEP and the maximum likelihood of label shift are this problem.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = 200
RIDGE = 1e-10  # relative; keeps the Hessian positive where densities are alike
HALVINGS = 60


def proportions(
    density: Array, *, start: Array | None = None, tolerance: float = 1e-8
) -> tuple[Array, float]:
    """Return a (b,) >= 0 of sum 1 that maximises mean(log(density @ a)), and a bound on the rest.

    ``density`` (n, b) holds values >= 0 with one above 0 in each row. The second value says by how
    much the mean logarithm could still grow at most; it is at most ``tolerance``. Newton steps on
    a >= 0, each by non-negative least squares: O(n b² + b³), and some 10 to 20 of them.
    """
    n, b = density.shape
    a = np.full(b, 1 / b) if start is None else start
    a, gap = expectation_maximisation(density, a)
    for _ in range(STEPS):
        if gap <= tolerance:
            break
        mixed = density @ a
        ratio = density / mixed[:, None]
        gradient = 1 - ratio.mean(0)  # of the sum of a minus the mean logarithm
        hessian = ratio.T @ ratio / n
        wanted = _least(hessian, gradient - hessian @ a)
        a = _shorter(mixed, density @ wanted, a, wanted, float(gradient @ (wanted - a)))
        a, gap = expectation_maximisation(density, a)
    return a, gap


def expectation_maximisation(density: Array, a: Array) -> tuple[Array, float]:
    """Return the proportions after one step of EM, and what could be gained before it at most.

    That is the logarithm of the largest mean ratio (Lindsay, Annals of Statistics 11, 1983).
    """
    a = a / a.sum()
    responsible = (density / (density @ a)[:, None]).mean(0)
    return a * responsible, float(np.log(responsible.max()))


def _least(hessian: Array, linear: Array) -> Array:
    """Return z >= 0 that minimises z' hessian z / 2 + linear' z."""
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    ridge = RIDGE * float(np.trace(hessian)) / len(hessian)
    root = cholesky(hessian + ridge * np.eye(len(hessian)))
    z, _ = nnls(root, solve_triangular(root, -linear, trans="T"), maxiter=50 * len(hessian))
    return np.asarray(z)


def _shorter(mixed: Array, moved: Array, a: Array, wanted: Array, slope: float) -> Array:
    """Return the first point on the way to ``wanted`` that is enough of a descent (Armijo)."""
    start = a.sum() - np.log(mixed).mean()
    step = 1.0
    for _ in range(HALVINGS):
        between = (1 - step) * mixed + step * moved
        if between.min() > 0:
            value = (1 - step) * a.sum() + step * wanted.sum() - np.log(between).mean()
            if value <= start + 1e-4 * step * slope:
                return np.asarray((1 - step) * a + step * wanted)
        step /= 2
    return a
