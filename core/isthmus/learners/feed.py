"""Endless shuffled batches that can start anywhere, whatever holds the rows.

Batch i depends on (seed, i) and on the content of the rows, not on their order nor on history: a
killed run continues where it stopped, and sorting a file differently changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus import rows
from isthmus.domain import Domain, Labelled
from isthmus.graph import Graph

AHEAD = 3  # batches read in advance from files
RESIDENT = 2**31  # bytes: a larger array is copied to the device batch by batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """``x`` is raw until the network prepares it; ``y`` and ``weight`` are empty if not given."""

    x: Any  # a tensor, or (features, edges) of a graph
    y: Tensor
    weight: Tensor | None = None


class Feed:
    """Batches of one domain on one device."""

    def __init__(
        self, domain: Domain, size: int, seed: tuple[int, ...], device: str, weight: Any = None
    ) -> None:
        self.x, self.size, self.seed, self.device = domain.x, size, seed, device
        y = domain.y if isinstance(domain, Labelled) else None
        self.order = rows.canonical_order(domain.x, y)
        self.y = None if y is None else torch.from_numpy(y).to(device)
        self.weight: Tensor | None = None
        if weight is not None:  # of mean 1, so that the loss of a batch is an unbiased estimate
            w = np.asarray(weight, np.float64)
            self.weight = torch.tensor(w / w.mean(), dtype=torch.float32, device=device)
        self.resident: Any = None
        if isinstance(domain.x, Graph):
            self.resident = self._graph(domain.x)
        elif isinstance(domain.x, np.ndarray) and domain.x.nbytes <= RESIDENT:
            self.resident = torch.from_numpy(np.ascontiguousarray(domain.x)).to(device)
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, self.order)

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield batch ``start``, ``start + 1``, ... without end."""
        if self.resident is not None:
            i = start
            while True:
                yield self._resident(i)
                i += 1
        with ThreadPoolExecutor(1) as reader:
            waiting: deque[Future[Batch]] = deque()
            i = start
            try:
                while True:
                    while len(waiting) < AHEAD:
                        waiting.append(reader.submit(self._read, i))
                        i += 1
                    yield waiting.popleft().result()
            finally:
                reader.shutdown(wait=False, cancel_futures=True)

    def _index(self, i: int) -> NDArray[np.int64]:
        """Return the rows of batch i: consecutive places in an endless chain of shuffles."""
        n, size = len(self.order), self.size
        per_epoch = max(n // size, 1)  # the rest of an epoch is dropped: batches keep one size
        epoch, place = divmod(i, per_epoch)
        if self._epoch[0] != epoch:
            shuffle = np.random.default_rng((*self.seed, epoch)).permutation(n)
            self._epoch = (epoch, self.order[shuffle])
        rows_ = self._epoch[1][place * size : (place + 1) * size]
        return rows_ if len(rows_) == size else np.resize(rows_, size)  # few rows are repeated

    def _resident(self, i: int) -> Batch:
        if isinstance(self.x, Graph):
            x, y, weight = self.resident
            return Batch(x=x, y=y, weight=weight)
        return self._batch(i, self.resident)

    def _read(self, i: int) -> Batch:
        return self._batch(i, None)

    def _batch(self, i: int, resident: Tensor | None) -> Batch:
        index = self._index(i)
        at = torch.from_numpy(index).to(self.device)
        if resident is not None:
            x = resident[at]
        else:
            raw = self.x[index]
            raw = rows.dense(raw) if rows.is_sparse(raw) else np.ascontiguousarray(raw)
            x = torch.from_numpy(raw).to(self.device, non_blocking=True)
        y = at[:0] if self.y is None else self.y[at]
        return Batch(x=x, y=y, weight=None if self.weight is None else self.weight[at])

    def _graph(self, graph: Graph) -> tuple[Any, Tensor, Tensor | None]:
        """Bring the nodes into canonical order: dropout masks must not follow the caller's."""
        graph = graph[self.order]
        f = graph.features
        if rows.is_sparse(f):
            x = torch.sparse_csr_tensor(
                torch.from_numpy(f.indptr.astype(np.int64)),
                torch.from_numpy(f.indices.astype(np.int64)),
                torch.from_numpy(f.data.astype(np.float32)),
                size=f.shape,
            )
        else:
            x = torch.from_numpy(np.ascontiguousarray(f, np.float32))
        edges = torch.from_numpy(graph.edges())
        at = torch.from_numpy(self.order).to(self.device)
        y = at[:0] if self.y is None else self.y[at]
        weight = None if self.weight is None else self.weight[at]
        return (x.to(self.device), edges.to(self.device)), y, weight
