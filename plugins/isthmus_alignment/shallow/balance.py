"""How far apart the domains are, and their classes: which of the two an alignment is to mind more.

Wang, Feng, Chen, Yu, Huang & Yu, "Visual domain adaptation with manifold embedded distribution
alignment", ACM MM 2018, arXiv:1807.07258, section 3.3; the A-distance is that of Ben-David et al.,
"Analysis of representations for domain adaptation", NIPS 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_alignment.shallow.pair import Pair

Array = NDArray[np.float64]

UNDECIDED = 0.5  # where neither domains nor classes can be told apart


def estimated_balance(pair: Pair, pseudo: NDArray[Any]) -> float:
    """Return the share of the classes in the distance between the domains, from 0 to 1.

    It is C / (C + M) with M the A-distance between all rows of both domains and C its mean over the
    classes that both have, by pseudo-labels (n_target,). O(n d min(n, d)).
    """
    both = np.intersect1d(pair.y, pseudo)
    all_rows = a_distance(pair.x_source, pair.x_target)
    each = [a_distance(pair.x_source[pair.y == c], pair.x_target[pseudo == c]) for c in both]
    classes = float(np.mean(each)) if each else 0.0
    total = all_rows + classes
    return classes / total if total > 0 else UNDECIDED


def a_distance(a: Array, b: Array) -> float:
    """Return 2 (1 - 2 error) of a linear classifier between rows (n, d), from 0 to 2.

    Ridge regression with the mean squared length of a centred row for penalty, whose leave-one-out
    predictions are known in closed form; each side counts one half.
    """
    x = np.concatenate([a, b])
    n = len(x)
    side = np.repeat([1 / len(a), -1 / len(b)], [len(a), len(b)])
    x = x - x.mean(0)
    penalty = float(np.square(x).sum() / n)
    if not penalty > 0 or min(len(a), len(b)) < 2:
        return 0.0
    if n > x.shape[1]:
        half = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T)
        fitted, own = x @ (half @ side), (x * half.T).sum(1)
    else:
        gram = x @ x.T
        hat = np.linalg.solve(gram + penalty * np.eye(n), gram)
        fitted, own = hat @ side, np.diag(hat)
    own = own + 1 / n  # the mean is fitted too
    left_out = side - (side - fitted) / (1 - own)
    wrong = np.where(left_out == 0, 0.5, left_out * side < 0)
    error = (wrong[: len(a)].mean() + wrong[len(a) :].mean()) / 2
    return float(np.clip(2 * (1 - 2 * error), 0, 2))
