"""One strategy on one kind of task: what the checks look at, computed once."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from isthmus.domain import Labelled, Predictions, Task
from isthmus.strategy import Adapted, Run, Strategy
from isthmus.testing.domains import Maker

WATCH_EVERY = 10  # training steps between two looks at the gradients


@dataclass(frozen=True, eq=False)
class Trace:
    """One adaptation, and what changed around it."""

    adapted: Adapted
    task: Task
    heldout: Labelled
    predictions: Predictions
    logged: list[tuple[int, dict[str, float]]]
    gradients: dict[str, float]  # of each loss with respect to the encoder, the largest seen
    inputs_moved: bool
    randomness_moved: bool


@dataclass(frozen=True, eq=False)
class Case:
    """One strategy on one kind. However many checks read it, it adapts once per question."""

    strategy: Strategy
    kind: str
    make: Maker

    @cached_property
    def made(self) -> tuple[Task, Labelled]:
        """Return a fresh task with what the strategy needs, and labelled held-out target data."""
        task, heldout = self.make(0)
        needs = self.strategy.needs
        if not needs.support:
            task = replace(task, support=None)
        if needs.start == "required":
            task = replace(task, start=_start(self.make))
        if needs.sources == "none":
            task = replace(task, sources=())
        return task, heldout

    def adapt(self, task: Task) -> Adapted:
        return self.strategy.adapt(task, Run())

    def trace(self, device: str = "cpu") -> Trace:
        task, heldout = self.made
        logged: list[tuple[int, dict[str, float]]] = []
        gradients: dict[str, float] = {}
        inputs, randomness = _inputs(task, heldout), _randomness()
        run = Run(
            device=device,
            log=lambda step, values: logged.append((step, dict(values))),
            watch=_watcher(gradients),
        )
        adapted = self.strategy.adapt(task, run)
        p = adapted.predict(heldout.x)
        moved = _inputs(task, heldout) != inputs, _randomness() != randomness
        return Trace(adapted, task, heldout, p, logged, gradients, *moved)

    @cached_property
    def first(self) -> Trace:
        return self.trace()

    @cached_property
    def second(self) -> Trace:
        """The same again, after the caller's own random state has moved on."""
        _ = self.first
        random.random(), np.random.random(), torch.rand(1)
        return self.trace()

    @cached_property
    def source_only(self) -> float:
        """How well the sources alone do: accuracy, or R2."""
        return quality(_start(self.make).predict(self.made[1].x), self.made[1])


def quality(predictions: Predictions, heldout: Labelled) -> float:
    """Return the accuracy, or the R2 averaged over outputs."""
    if heldout.schema.is_regression:
        residual = np.square(heldout.y - predictions).sum(0)
        return float((1 - residual / np.square(heldout.y - heldout.y.mean(0)).sum(0)).mean())
    return float((predictions.argmax(1) == heldout.y).mean())


@cache
def _start(make: Maker) -> Any:
    """A model trained on the sources alone; the same for every strategy on this task."""
    from isthmus.learners.loop import Training
    from isthmus.learners.neural import Neural, fit_learner

    task, _ = make(0)
    small = task.schema.kind == "image"
    return fit_learner(Neural(training=Training(steps=150)) if small else None, task, Run())


def _watcher(gradients: dict[str, float]) -> Any:
    seen = 0

    def watch(net: Any, step: Any) -> None:
        nonlocal seen
        seen += 1
        if seen % WATCH_EVERY:
            return
        weights = [p for p in net.encoder.parameters() if p.requires_grad]
        for name, loss in step.losses.items():
            size = 0.0
            if loss.requires_grad and weights:
                grads = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
                size = sum(float(g.abs().sum()) for g in grads if g is not None)
            gradients[name] = max(gradients.get(name, 0.0), size)

    return watch


def _inputs(task: Task, heldout: Labelled) -> bytes:
    return pickle.dumps((task.sources, task.target, task.support, heldout))


def _randomness() -> tuple[object, ...]:
    return (
        random.getstate(),
        pickle.dumps(np.random.get_state()),
        torch.get_rng_state().numpy().tobytes(),
    )
