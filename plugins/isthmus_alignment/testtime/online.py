"""Streams: a model that learns from the batches which it predicts, and may be kept at any time."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, final

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus import Adapted, Domain, Needs, Run, Strategy, Task, UnsupportedTask, rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Predictions
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Training, seeded
from isthmus.learners.network import Network
from isthmus.learners.start import begin
from isthmus_alignment.deep.normalisation import prepared


class Rule(ABC):
    """What a method does with a batch. ``net`` is what would be deployed, and is in eval mode."""

    net: Network

    @abstractmethod
    def step(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from prepared instances (b, ...); return probabilities (b, classes) and losses."""

    def diagnostics(self) -> dict[str, Any]:
        """Return JSON values: what a user of the snapshot should know."""
        return {}


class Method(Protocol):
    """What a live model adapts by."""

    name: ClassVar[str]

    def rule(self, net: Network, sources: Sequence[Domain]) -> Rule:
        """Return what adapts the network, which it owns; sources may be none. Called seeded."""


@dataclass(frozen=True, kw_only=True)
class Online(Strategy):
    """A method for streams. A subclass says what a batch changes, in ``rule``.

    As a strategy it reads the target once, in batches of a random order, and returns the model as
    it is after the last of them.
    """

    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=BATCHED,
        sources="optional",
        start="or-sources",
        outputs=frozenset({"classes"}),
    )

    batch_size: int = 64
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # on the sources, where no model is given

    @abstractmethod
    def rule(self, net: Network, sources: Sequence[Domain]) -> Rule:
        """See ``Method``."""

    @final
    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net, run = begin(task, run, self.network, self.pretraining)
        model = TorchAdapted(part=net, schema=task.schema)
        live = Live(model, self, run=run, sources=task.sources)
        order = rows.shuffled(task.target.x, run.rng())
        parts = np.array_split(order, -(-len(order) // max(self.batch_size, 2)))
        stop = run.ends(time.monotonic())
        for i, part in enumerate(parts):
            live.predict(rows.take(task.target.x, part)[:])
            run.progress("stream", i + 1, len(parts))
            if time.monotonic() > stop:
                run.say(f"the time budget ended the stream after {i + 1} of {len(parts)} batches")
                break
        return live.snapshot()


class Live:
    """A model in a stream: each batch is predicted, and learnt from.

    The model given is copied. ``sources`` are for methods that look at source instances before the
    stream begins. Batches arrive in the caller's order, which matters; the seed of ``run`` decides
    what is random.
    """

    def __init__(
        self,
        model: Adapted,
        method: Method,
        *,
        run: Run = Run(),
        sources: Sequence[Domain] = (),
    ) -> None:
        if not isinstance(model, TorchAdapted) or not isinstance(model.part, Network):
            raise UnsupportedTask(
                f"{method.name} adapts a neural network, got "
                f"{type(getattr(model, 'part', model)).__name__}"
            )
        self.run, self.batches = run, 0
        net = copy.deepcopy(model.part).to(run.device).requires_grad_(False).eval()
        for m in net.modules():
            if isinstance(m, _BatchNorm) and m.num_batches_tracked is not None:
                m.num_batches_tracked.zero_()  # the first batch replaces the source's statistics
        with seeded(run):
            self.rule = method.rule(net, sources)

    def predict(self, x: Any) -> Predictions:
        """Return float32 (b, classes) of raw rows (b, ...), which change the model.

        A single row has no statistics to learn from: it is predicted only.
        """
        if rows.count(x) < 2:
            return TorchAdapted(part=self.rule.net, schema=self.rule.net.schema).predict(x)
        with seeded(replace(self.run, seed=self.run.seed + self.batches)):
            p, losses = self.rule.step(prepared(self.rule.net, x))
        if losses:
            self.run.log(self.batches, {k: float(v) for k, v in losses.items()})
        self.batches += 1
        return np.asarray(p.detach().float().cpu().numpy())

    def snapshot(self) -> TorchAdapted:
        """Return the model as it is now, to be saved or exported; the stream may go on."""
        part = copy.deepcopy(self.rule.net).requires_grad_(True)
        diagnostics = {"batches": self.batches, **self.rule.diagnostics()}
        return TorchAdapted(part=part, schema=part.schema, diagnostics=diagnostics)


def stream(
    model: Adapted, batches: Iterable[Any], method: Method, run: Run = Run()
) -> Iterator[Predictions]:
    """Yield the predictions of each batch of raw rows as it comes. See ``Live``."""
    live = Live(model, method, run=run)
    for x in batches:
        yield live.predict(x)


def affine(net: Network) -> list[nn.Parameter]:
    """Return the scales and shifts of the encoder's normalisation, now to be learnt."""
    layers = [
        m
        for kind in (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
        for m in net.encoder.modules()
        if isinstance(m, kind)
    ]
    found = [p for m in layers for p in m.parameters(recurse=False)]
    if not found:
        raise UnsupportedTask(
            f"{type(net.architecture).__name__} has no normalisation layers with weights to adapt"
        )
    for p in found:
        p.requires_grad_(True)
    return found


@contextmanager
def batch_statistics(net: Network, *, counted: bool = True) -> Iterator[None]:
    """Normalise by the statistics of the batch within; keep their mean over the stream's batches.

    Dropout stays off. Nothing is kept of a pass that is not ``counted``.
    """
    layers = [m for m in net.encoder.modules() if isinstance(m, _BatchNorm)]
    before = [m.momentum for m in layers]
    for m in layers:
        m.train()
        m.momentum, m.track_running_stats = None, counted  # None: the mean of all batches so far
    try:
        yield
    finally:
        for m, momentum in zip(layers, before, strict=True):
            m.eval()
            m.momentum, m.track_running_stats = momentum, True
