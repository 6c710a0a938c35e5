"""Which rows a validator reads when reading all of them would cost too much."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import Domain, rows
from isthmus.domain import Labels


def sample(domain: Domain, limit: int, y: Labels | None = None) -> NDArray[np.int64]:
    """Return at most ``limit`` row numbers, int64 (m,), chosen and ordered by content alone.

    The order in which the caller sorted the rows cannot show. Labels ``y`` (n,) put equal rows in
    order; they are an argument because those of a target must not be read even where it has some.
    Hashing the instances costs O(n d).
    """
    order = rows.canonical_order(domain.x, y)
    if len(order) <= limit:
        return order
    return order[np.sort(np.random.default_rng(0).choice(len(order), limit, replace=False))]
