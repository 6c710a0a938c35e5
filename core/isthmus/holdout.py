"""Keeping labelled rows from training, so that validators have something to ask."""

from __future__ import annotations

import numpy as np

from isthmus import rows
from isthmus.domain import Labelled


def hold_out(domain: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return (kept, held out): at least one row of either, where there are two.

    Rows are chosen by content, so their order does not matter.
    """
    order = rows.shuffled(domain.x, np.random.default_rng(seed), domain.y)
    cut = min(max(1, round(share * len(order))), max(len(order) - 1, 0))
    return domain.take(order[cut:]), domain.take(order[:cut])
