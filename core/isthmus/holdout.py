"""Keeping labelled rows from training, so that validators have something to ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Labelled


def hold_out(domain: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return (kept, held out), the rows that ``split`` says."""
    kept, held = split(domain, share, seed)
    return domain.take(kept), domain.take(held)


def split(domain: Labelled, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which rows to keep and to hold out: at least one of either, where there are two.

    Rows are chosen by content, so their order does not matter.
    """
    order = rows.shuffled(domain.x, np.random.default_rng(seed), domain.y)
    cut = min(max(1, round(share * len(order))), max(len(order) - 1, 0))
    return order[cut:], order[:cut]
