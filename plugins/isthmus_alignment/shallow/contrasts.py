"""Differences of means as columns of weights: the discrepancy (MMD) that components minimise.

With a column e per difference, e_i = 1 / n_source on source rows and -1 / n_target on target rows,
|x' e|² is the squared distance between the means, and e e' the MMD matrix of the papers, which
therefore is never formed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def marginal(n_source: int, n_target: int) -> Array:
    """Return the difference between the domains' means, (n_source + n_target, 1)."""
    return np.repeat([1 / n_source, -1 / n_target], [n_source, n_target])[:, None]


def conditional(y: NDArray[Any], pseudo: NDArray[Any], classes: int) -> Array:
    """Return the difference between the domains' means in each class, (n, classes in both).

    A class without pseudo-labelled target rows has no column: half a difference would pull that
    class towards the origin.
    """
    h_source, h_target = np.eye(classes)[y], np.eye(classes)[pseudo]
    both = (h_source.sum(0) > 0) & (h_target.sum(0) > 0)
    h_source, h_target = h_source[:, both], h_target[:, both]
    return np.concatenate([h_source / h_source.sum(0), -h_target / h_target.sum(0)])


def balanced(y: NDArray[Any], pseudo: NDArray[Any], classes: int, balance: float) -> Array:
    """Return marginal and conditional columns, weighted by 1 - balance and balance.

    The marginal one counts as often as the source has classes, as in the authors' code of JDA.
    """
    each = conditional(y, pseudo, classes)
    domains = np.sqrt(len(np.unique(y))) * marginal(len(y), len(pseudo))
    return np.hstack([np.sqrt(1 - balance) * domains, np.sqrt(balance) * each])
