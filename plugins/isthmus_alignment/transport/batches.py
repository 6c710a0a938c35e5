"""Transport in mini-batches: small problems between parts of the domains.

Fatras, Zine, Flamary, Gribonval & Courty, "Learning with minibatch Wasserstein: asymptotic and
gradient properties", AISTATS 2020, arXiv:1910.04091.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import BadInput

WHOLE = 4000  # rows of a domain up to which one problem holds all of them
SIZE = 1000
Index = NDArray[np.int64]
Pair = tuple[Index, Index]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How rows are shared out over transport problems.

    A round parts both domains at random, each row in one part (a smaller domain's rows in several
    problems), and couples part with part; the plan is the mean over rounds. It spreads more than
    the plan of all rows, and more so the smaller the parts. Every part of the source has its share
    of each class of each source, and one row at least.
    """

    size: int | None = None  # rows of a domain in one problem; None: all up to 4,000, else 1,000
    rounds: int = 4

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 2:
            raise BadInput(f"batches.size={self.size}, expected at least 2 rows")
        if self.rounds < 1:
            raise BadInput(f"batches.rounds={self.rounds}, expected at least 1")

    def count(self, n_source: int, n_target: int) -> int:
        """Return the number of problems."""
        size, largest = self._size(n_source, n_target), max(n_source, n_target)
        return 1 if largest <= size else self.rounds * math.ceil(largest / size)

    def pairs(
        self, n_source: int, n_target: int, rng: np.random.Generator, stratum: Any = None
    ) -> Iterator[Pair]:
        """Yield the source rows and target rows of each problem.

        ``stratum`` (n_source,) holds integers; each value occurs in every part of the source.
        """
        if self.count(n_source, n_target) == 1:
            yield np.arange(n_source), np.arange(n_target)
            return
        strata = np.zeros(n_source, np.int64) if stratum is None else np.asarray(stratum)
        size = self._size(n_source, n_target)
        for _ in range(self.rounds):
            parts = [
                _parts(labels, math.ceil(len(labels) / size), rng)
                for labels in (strata, np.zeros(n_target, np.int64))
            ]
            for i in range(max(map(len, parts))):
                yield parts[0][i % len(parts[0])], parts[1][i % len(parts[1])]

    def _size(self, n_source: int, n_target: int) -> int:
        if self.size is not None:
            return self.size
        return WHOLE if max(n_source, n_target) <= WHOLE else SIZE


def _parts(stratum: Index, count: int, rng: np.random.Generator) -> list[Index]:
    """Deal rows out at random; a stratum with fewer rows than parts is dealt again and again."""
    order = rng.permutation(len(stratum))
    order = order[np.argsort(stratum[order], kind="stable")]
    _, sizes = np.unique(stratum, return_counts=True)
    dealt = [np.resize(o, max(len(o), count)) for o in np.split(order, np.cumsum(sizes)[:-1])]
    deck = np.concatenate(dealt)
    return [deck[i::count] for i in range(count)]
