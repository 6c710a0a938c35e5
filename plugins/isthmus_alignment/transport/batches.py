"""Transport in mini-batches: small problems between parts of the domains.

Fatras, Zine, Flamary, Gribonval & Courty, "Learning with minibatch Wasserstein: asymptotic and
gradient properties", AISTATS 2020, arXiv:1910.04091.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import BadInput

WHOLE = 4000  # rows of a domain up to which one problem holds all of them
SIZE = 1000
Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How rows are shared out over transport problems.

    A round parts both domains at random, each row in one part (a smaller domain's rows in several
    problems), and couples part with part; the plan is the mean over rounds. It spreads more than
    the plan of all rows, and more so the smaller the parts.
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

    def pairs(self, n_source: int, n_target: int, rng: np.random.Generator) -> Iterator[Pair]:
        """Yield the source rows and target rows of each problem."""
        if self.count(n_source, n_target) == 1:
            yield np.arange(n_source), np.arange(n_target)
            return
        size = self._size(n_source, n_target)
        for _ in range(self.rounds):
            parts = [
                np.array_split(rng.permutation(n), math.ceil(n / size))
                for n in (n_source, n_target)
            ]
            for i in range(max(map(len, parts))):
                yield parts[0][i % len(parts[0])], parts[1][i % len(parts[1])]

    def _size(self, n_source: int, n_target: int) -> int:
        if self.size is not None:
            return self.size
        return WHOLE if max(n_source, n_target) <= WHOLE else SIZE
