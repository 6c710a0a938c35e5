"""Endless shuffled batches that can start anywhere, whatever holds the rows.

Batch i depends on (seed, i) and on the content of the rows, not on their order nor on history: a
killed run continues where it stopped, and sorting a file differently changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus import rows
from isthmus.domain import Domain, Labelled
from isthmus.errors import BadInput
from isthmus.graph import Graph
from isthmus.learners.augment import Augment
from isthmus.tensors import as_tensor

AHEAD = 3  # batches read in advance from files
RESIDENT = 2**31  # bytes: a larger array is copied to the device batch by batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """``x`` is raw until the network prepares it; ``y`` and ``weight`` are empty if not given."""

    x: Any  # a tensor, or (features, edges) of a graph
    y: Tensor
    weight: Tensor | None = None
    row: Tensor | None = None  # int64 (b,): where the instances are in the domain


class Feed:
    """Batches of one domain on one device: ``size`` rows, or the whole of a graph.

    The rows of batch i are the places i size .. (i + 1) size in an endless chain of shuffles, so
    each row is seen once per epoch, and few rows are repeated until they fill a batch.
    """

    def __init__(
        self,
        domain: Domain,
        size: int,
        seed: tuple[int, ...],
        device: torch.device,
        weight: Any = None,
        balanced: bool = False,
    ) -> None:
        """``weight`` is (n,), of any positive mean; ``balanced`` takes turns between classes."""
        self.x, self.size, self.seed, self.device = domain.x, size, seed, device
        self.table = domain.schema.kind == "table"
        y = domain.y if isinstance(domain, Labelled) else None
        if not len(domain):
            raise BadInput(f"{domain.name} is empty: there is nothing to train on")
        self.order = rows.canonical_order(domain.x, y)
        self.y = None if y is None else as_tensor(y).to(device)
        self.weight: Tensor | None = None
        if weight is not None:  # of mean 1, so that the loss of a batch is an unbiased estimate
            w = np.asarray(weight, np.float64)
            self.weight = torch.tensor(w / w.mean(), dtype=torch.float32, device=device)
        self.chains = [Chain(self.order, seed)]
        if balanced:
            self.chains = _by_class(domain, self.order, seed)
        self.resident: Tensor | None = None
        if isinstance(domain.x, np.ndarray) and domain.x.nbytes <= RESIDENT:
            self.resident = self._tensor(domain.x).to(device)

    def batches(self, start: int, step: int = 1) -> Generator[Batch]:
        """Yield batch ``start``, ``start + step``, ... without end."""
        i = start
        if isinstance(self.x, Graph):
            whole = self._graph(self.x)
            while True:
                yield whole
        while self.resident is not None:
            yield self._batch(i)
            i += step
        with ThreadPoolExecutor(1, "feed") as reader:
            waiting: deque[Future[Batch]] = deque()
            try:
                while True:
                    while len(waiting) < AHEAD:
                        waiting.append(reader.submit(self._batch, i))
                        i += step
                    yield waiting.popleft().result()
            finally:
                reader.shutdown(wait=False, cancel_futures=True)

    def _batch(self, i: int) -> Batch:
        return self.take(self._index(i))

    def take(self, index: NDArray[np.int64]) -> Batch:
        """Return the rows of these places in the domain; not of a graph."""
        at = self._send(torch.from_numpy(index))
        if self.resident is not None:
            x = self.resident.index_select(0, at)
        else:
            x = self._send(self._tensor(self.x[index]))
        return self._labelled(x, at)

    def _labelled(self, x: Any, at: Tensor) -> Batch:
        y = at[:0] if self.y is None else self.y.index_select(0, at)
        weight = None if self.weight is None else self.weight.index_select(0, at)
        return Batch(x=x, y=y, weight=weight, row=at)

    def _index(self, i: int) -> NDArray[np.int64]:
        """Return what is at the batch's places, which the chains take in turns."""
        turns, places = len(self.chains), np.arange(i * self.size, (i + 1) * self.size)
        index = np.empty(self.size, np.int64)
        for turn, chain in enumerate(self.chains):
            mine = places % turns == turn
            index[mine] = chain.rows(places[mine] // turns)
        return index

    def _tensor(self, x: Any) -> Tensor:
        """Take rows as they are, but tables and double precision as float32."""
        floats = self.table or rows.is_sparse(x) or x.dtype == np.float64
        return as_tensor(rows.dense(x) if floats else x)

    def _send(self, x: Tensor) -> Tensor:
        """Copy to the device without waiting for it, which takes pinned memory."""
        if self.device.type == "cpu":
            return x
        return x.pin_memory().to(self.device, non_blocking=True)

    def _graph(self, graph: Graph) -> Batch:
        """Bring the nodes into canonical order: dropout masks must not follow the caller's."""
        graph = graph[self.order]
        x = as_tensor(graph.features).to(self.device)
        edges = torch.from_numpy(graph.edges()).to(self.device)
        return self._labelled((x, edges), torch.from_numpy(self.order).to(self.device))


class Chain:
    """An endless chain of shuffles of some rows."""

    def __init__(self, order: NDArray[np.int64], seed: tuple[int, ...]) -> None:
        self.order, self.seed = order, seed
        self.shuffles: dict[int, NDArray[np.int64]] = {}

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows at consecutive places of the chain."""
        epochs, n = places // len(self.order), len(self.order)
        found = [self._shuffle(e)[places[epochs == e] - e * n] for e in np.unique(epochs).tolist()]
        for old in [e for e in self.shuffles if e < epochs.max(initial=0)]:
            del self.shuffles[old]
        return np.concatenate([places[:0], *found])

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self.shuffles:
            rng = np.random.default_rng((*self.seed, epoch))
            self.shuffles[epoch] = self.order[rng.permutation(len(self.order))]
        return self.shuffles[epoch]


def _by_class(domain: Domain, order: NDArray[np.int64], seed: tuple[int, ...]) -> list[Chain]:
    """Return a chain of the rows of each class that there is."""
    if not isinstance(domain, Labelled) or domain.schema.is_regression:
        raise BadInput(f"{domain.name} has no classes between which to balance batches")
    if isinstance(domain.x, Graph):
        raise BadInput(f"{domain.name} is a graph, which is one batch: it cannot be balanced")
    y = domain.y[order]
    return [Chain(order[y == c], (*seed, c)) for c in np.unique(y).tolist()]


def prepared(
    prepare: Callable[[Any], Any],
    feeds: Sequence[Feed],
    sources: int,
    place: slice,
    augment: Augment | None,
) -> Generator[tuple[Batch, Batch]]:
    """Yield what the network takes, of the first ``sources`` feeds joined, and of the target.

    Readers stop with the generator.
    """
    streams = [feed.batches(place.start, place.step) for feed in feeds]
    nothing = Batch(x=None, y=torch.empty(0))
    try:
        while True:
            with torch.no_grad():
                ready = [replace(b, x=prepare(b.x)) for b in map(next, streams)]
                if augment is not None:
                    ready = [replace(b, x=augment(b.x)) for b in ready]
            labelled = _joined(ready[:sources]) if sources else nothing
            yield labelled, ready[sources] if len(ready) > sources else nothing
    finally:
        for stream in streams:
            stream.close()


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return Batch(x=torch.cat([b.x for b in batches]), y=torch.cat([b.y for b in batches]))
