"""uLSIF: unconstrained least-squares importance fitting.

Kanamori, Hido & Sugiyama, "A least-squares approach to direct importance estimation", JMLR 10
(2009), section 3; bandwidth and penalty by the closed-form leave-one-out error of its section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.learners.weighting import Reweighting

BLOCK = 65536  # rows per kernel block
PAIRS = 20000  # leave-one-out pairs at most: beyond, the choice no longer changes
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ULSIF(Reweighting):
    """Fit p_target / p_source as a sum of Gaussians at target rows, by ridge least squares.

    Cost O(b n d + g b² n + g b³) for b centres and g candidate settings, memory O(b · block).
    """

    name: ClassVar[str] = "ulsif"

    centres: int = 100
    bandwidth: float | None = None  # in median distances; None: chosen by leave-one-out
    penalty: float | None = None  # None: chosen by leave-one-out

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[Any]:
        # Pairs and centres are drawn in an order that the caller's does not touch.
        order = rows.canonical_order(x_source)
        x_t = rows.dense(x_target[rows.canonical_order(x_target)]).astype(np.float64)
        x_s = rows.dense(x_source[order]).astype(np.float64)
        scale = x_t.std(0)
        scale[scale <= 1e-12 * np.abs(x_t).max(initial=1.0)] = 1.0
        x_s, x_t = x_s / scale, x_t / scale
        rng.shuffle(shuffled := np.arange(len(x_s)))  # so that pairs are not sorted alike
        x_s, order = x_s[shuffled], order[shuffled]
        centres = x_t[np.sort(rng.permutation(len(x_t))[: self.centres])]
        x_t = x_t[rng.permutation(len(x_t))]
        median = np.sqrt(np.median(_squares(centres, centres))) or 1.0
        sigmas = median * np.array([self.bandwidth] if self.bandwidth else SIGMAS)
        lambdas = np.array([self.penalty] if self.penalty else LAMBDAS)
        best = (np.inf, sigmas[0], lambdas[0])
        if len(sigmas) * len(lambdas) > 1 and min(len(x_s), len(x_t)) > 1:
            for sigma in sigmas:
                for penalty, error in leave_one_out(x_s, x_t, centres, sigma, lambdas):
                    best = min(best, (error, sigma, penalty))
        alpha = solve(x_s, x_t, centres, best[1], best[2])
        out = np.empty(len(x_s))
        out[order] = np.concatenate([k @ alpha for k in _kernels(x_s, centres, best[1])])
        return np.maximum(out, 0)


SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
LAMBDAS = (1e-3, 1e-2, 1e-1, 1e0, 1e1)


def solve(x_s: Array, x_t: Array, centres: Array, sigma: float, penalty: float) -> Array:
    """Return alpha (b,), the minimiser of the ridge objective, cut at zero as in the paper."""
    b = len(centres)
    h = sum((k.sum(0) for k in _kernels(x_t, centres, sigma)), np.zeros(b)) / len(x_t)
    gram = sum((k.T @ k for k in _kernels(x_s, centres, sigma)), np.zeros((b, b))) / len(x_s)
    return np.maximum(np.linalg.solve(gram + penalty * np.eye(b), h), 0)


def leave_one_out(
    x_s: Array, x_t: Array, centres: Array, sigma: float, penalties: Array
) -> Iterator[tuple[float, float]]:
    """Yield (penalty, leave-one-out error) in closed form: pair i of source and target left out."""
    n_s, n_t, b = len(x_s), len(x_t), len(centres)
    n = min(n_s, n_t, PAIRS)
    h = sum((k.sum(0) for k in _kernels(x_t, centres, sigma)), np.zeros(b)) / n_t
    gram = sum((k.T @ k for k in _kernels(x_s, centres, sigma)), np.zeros((b, b))) / n_s
    k_s = np.concatenate(list(_kernels(x_s[:n], centres, sigma))).T  # (b, n)
    k_t = np.concatenate(list(_kernels(x_t[:n], centres, sigma))).T
    for penalty in penalties:
        m = gram + penalty * (n_s - 1) / n_s * np.eye(b)
        solved_s, solved_t, solved_h = (np.linalg.solve(m, v) for v in (k_s, k_t, h))
        left = n_s - (k_s * solved_s).sum(0)
        b0 = solved_h[:, None] + solved_s * (h @ solved_s / left)
        b1 = solved_t + solved_s * ((k_t * solved_s).sum(0) / left)
        alpha = np.maximum(0, (n_s - 1) / (n_s * (n_t - 1)) * (n_t * b0 - b1))
        w_s, w_t = (k_s * alpha).sum(0), (k_t * alpha).sum(0)
        yield float(penalty), float(w_s @ w_s / (2 * n) - w_t.sum() / n)


def _kernels(x: Array, centres: Array, sigma: float) -> Iterator[Array]:
    """Yield Gaussian kernel blocks (rows, b)."""
    for part in rows.chunks(len(x), BLOCK):
        yield np.exp(-_squares(x[part], centres) / (2 * sigma**2))


def _squares(a: Array, b: Array) -> Array:
    d = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.maximum(d, 0)
