"""How much more frequent an instance is in the target than in the source, by a discriminator.

S. Bickel, M. Brückner, T. Scheffer, Discriminative learning for differing training and test
distributions, ICML 2007: w(x) = n_source / n_target * p(target|x) / p(source|x), with p from
logistic regression on z-scored columns (a CSR matrix is scaled, not centred).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

DIRECT = 384  # columns up to which the Hessian is formed; above, it is only multiplied with
CHUNK = 4_096  # rows weighted at a time, so that no second copy of x is held
STEPS = 50
SMALL = 1e-8  # of the loss: a Newton step that promises less is the last one


def log_density_ratio(x_source: Any, x_target: Any) -> NDArray[np.float64]:
    """Return ln p_target(x) / p_source(x) at the source rows, (n_source,).

    ``x_source`` (n_source, d) and ``x_target`` (n_target, d) are float arrays or CSR matrices.
    About ten Newton steps: O(n d²) each up to 384 columns, O(n d) times some tens above. Memory
    is one float64 copy of both.
    """
    n_source, n_target = rows.count(x_source), rows.count(x_target)
    both = standardised(rows.concatenate([x_source, x_target]))
    w, b = fit_logistic(both, np.repeat([0.0, 1.0], [n_source, n_target]))
    return np.asarray(both[:n_source] @ w + b + math.log(n_source / n_target))


def importance_weights(x_source: Any, x_target: Any, *, cap: float) -> NDArray[np.float64]:
    """Return p_target(x) / p_source(x) at the source rows (n_source,), at most ``cap``, mean 1.

    The mean is 1 after the cap, so a weight may exceed the cap when most ratios are small.
    """
    log_ratio = np.minimum(log_density_ratio(x_source, x_target), math.log(cap))
    weight = np.exp(log_ratio - log_ratio.max())  # the largest is 1: the sum cannot underflow
    return np.asarray(weight / weight.mean())


def standardised(x: Any) -> Any:
    """Return float64 columns of mean 0 and variance 1; constant columns become 0."""
    if rows.is_sparse(x):
        from scipy import sparse

        x = sparse.csr_matrix(x, dtype=np.float64)
        mean, square = (np.asarray(m.mean(0)).ravel() for m in (x, x.multiply(x)))
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        return x @ sparse.diags_array(1 / np.where(scale > 0, scale, np.inf), format="csr")
    x = np.array(x, np.float64)
    largest = np.maximum(x.max(0), -x.min(0))
    x -= x.mean(0)
    scale = np.sqrt(np.einsum("nd,nd->d", x, x) / len(x))
    # A spread of rounding size is none: dividing by it would blow it up into a signal.
    x /= np.where(scale > 1e-7 * largest, scale, np.inf)
    return x


def fit_logistic(
    x: Any, y: NDArray[np.float64], penalty: float = 1.0
) -> tuple[NDArray[np.float64], float]:
    """Return weights (d,) and intercept that minimise log loss + penalty / 2 |weights|².

    ``x`` (n, d) is a float64 array or CSR, ``y`` (n,) holds 0 and 1. Newton's method with
    backtracking: deterministic, and to 1e-4 the optimum of scikit-learn's LogisticRegression with
    C = 1 / penalty.
    """
    w, b = np.zeros(x.shape[1]), math.log(y.mean() / (1 - y.mean()))
    z = x @ w + b
    loss = _loss(z, y, w, penalty)
    for _ in range(STEPS):
        p = _sigmoid(z)
        gradient = np.append(x.T @ (p - y) + penalty * w, (p - y).sum())
        step = _newton_step(x, p * (1 - p), penalty, gradient)
        promise, size = float(gradient @ step), 1.0
        if promise <= SMALL * loss:
            return w - step[:-1], float(b - step[-1])
        while True:
            new_w, new_b = w - size * step[:-1], b - size * step[-1]
            z = x @ new_w + new_b
            new_loss = _loss(z, y, new_w, penalty)
            if new_loss <= loss - 1e-4 * size * promise:
                break
            if (size := size / 2) < 1e-6:  # rounding hides what is left to gain
                return w, float(b)
        w, b, loss = new_w, new_b, new_loss
    return w, float(b)


def _newton_step(x: Any, r: Any, penalty: float, gradient: Any) -> NDArray[np.float64]:
    """Solve the Hessian, [[x'Rx + penalty I, x'r], [r'x, sum r]], for the gradient, roughly."""
    d = x.shape[1]
    ridge = np.append(np.full(d, penalty), 1e-10 * len(r))  # r may underflow where all is sure
    if d <= DIRECT and not rows.is_sparse(x):
        hessian = np.diag(ridge)
        root = np.sqrt(r)[:, None]
        for part in rows.chunks(len(r), CHUNK):
            # float32 is fast, and enough: the gradient says where the optimum is.
            a = np.multiply(x[part], root[part], dtype=np.float32, casting="same_kind")
            hessian[:d, :d] += a.T @ a
        hessian[:d, d] = hessian[d, :d] = x.T @ r
        hessian[d, d] += r.sum()
        return np.asarray(np.linalg.solve(hessian, gradient))
    from scipy.sparse.linalg import LinearOperator, cg

    def times(v: Any) -> Any:
        u = r * (x @ v[:d] + v[d])
        return np.append(x.T @ u, u.sum()) + ridge * v

    squares = x.multiply(x) if rows.is_sparse(x) else None
    diagonal = np.append(
        squares.T @ r if squares is not None else np.einsum("nd,nd,n->d", x, x, r), r.sum()
    )
    diagonal += ridge
    step, _ = cg(
        LinearOperator((d + 1, d + 1), times),
        gradient,
        rtol=0.02,
        maxiter=100,
        M=LinearOperator((d + 1, d + 1), lambda v: v / diagonal),
    )
    return np.asarray(step)


def _loss(z: Any, y: Any, w: Any, penalty: float) -> float:
    return float(np.logaddexp(0, z).sum() - z @ y + penalty / 2 * (w @ w))


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(z))
