"""One strategy on one kind of task: what the checks look at, computed once."""

from __future__ import annotations

import copy
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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
    strategy_moved: bool


@dataclass(frozen=True, eq=False)
class Case:
    """One strategy on one kind. However many checks read it, it adapts once per question."""

    strategy: Strategy
    kind: str
    make: Maker
    brief: Strategy | None = None  # trains for less: enough to see a crash, or a difference

    @property
    def made(self) -> tuple[Task, Labelled]:
        """Return a task with what the strategy needs, and labelled held-out target data.

        A new one each time: what one adaptation does to its task must not reach the next.
        """
        task, heldout = self.make(0)
        needs = self.strategy.needs
        if not needs.support:
            task = replace(task, support=None)
        if needs.start == "required" and task.start is None:
            task = replace(task, start=copy.deepcopy(_start(self.make)))
        if needs.sources == "none":
            task = replace(task, sources=())
        if needs.sources == "several":
            task = replace(task, sources=_halves(task))
        return task, heldout

    @property
    def other(self) -> Task:
        """Return a task of the same form with other data."""
        needs, task, (another, _) = self.strategy.needs, self.made[0], self.make(1)
        support = None if task.support is None else another.support
        sources = another.sources if task.sources else ()
        if needs.sources == "several":
            sources = _halves(another)
        return replace(task, sources=sources, target=another.target, support=support)

    def forms(self) -> Iterator[tuple[str, Task]]:
        """Yield the other forms of task that ``needs`` promises to take, each with a name."""
        needs, (task, _) = self.strategy.needs, self.made
        if needs.sources in ("any", "optional") and len(task.sources) == 1:
            yield "two sources", replace(task, sources=_halves(task))
        if needs.start == "or-sources":
            start = copy.deepcopy(_start(self.make))
            yield "a model to start from and no source", replace(task, sources=(), start=start)
        elif needs.sources == "optional":
            yield "no source", replace(task, sources=())

    def adapt(self, task: Task) -> Adapted:
        return self.strategy.adapt(task, Run())

    def adapt_briefly(self, task: Task, run: Run = Run()) -> Adapted:
        return (self.brief or self.strategy).adapt(task, run)

    def trace(self, device: str = "cpu", strategy: Strategy | None = None) -> Trace:
        strategy = strategy or self.strategy
        task, heldout = self.made
        logged: list[tuple[int, dict[str, float]]] = []
        gradients: dict[str, float] = {}
        inputs, settings = _inputs(task, heldout), _settings(strategy)
        randomness = _randomness()
        run = Run(
            device=device,
            log=lambda step, values: logged.append((step, dict(values))),
            watch=_watcher(gradients),
        )
        adapted = strategy.adapt(task, run)
        p = adapted.predict(heldout.x)
        randomness_moved = _randomness() != randomness
        return Trace(
            adapted=adapted,
            task=task,
            heldout=heldout,
            predictions=p,
            logged=logged,
            gradients=gradients,
            inputs_moved=_inputs(task, heldout) != inputs,
            randomness_moved=randomness_moved,
            strategy_moved=_settings(strategy) != settings,
        )

    @cached_property
    def first(self) -> Trace:
        return self.trace()

    @cached_property
    def short(self) -> Trace:
        """The first again, by the brief strategy if there is one."""
        return self.trace(strategy=self.brief) if self.brief else self.first

    @cached_property
    def second(self) -> Trace:
        """The short one again, after the caller's own random state has moved on."""
        _ = self.short
        with _later_randomness():
            return self.trace(strategy=self.brief)

    @cached_property
    def score(self) -> float:
        return quality(self.first.predictions, self.first.heldout)

    @cached_property
    def source_only(self) -> float:
        """How well the sources alone do: accuracy, or R2."""
        return _source_only(self.make)


def _halves(task: Task) -> tuple[Labelled, ...]:
    """Return the sources, pooled and split at random into two."""
    parts = np.array_split(np.random.default_rng(2).permutation(len(task.source)), 2)
    return tuple(
        replace(task.source.take(np.sort(p)), name=f"half {i}") for i, p in enumerate(parts)
    )


def quality(predictions: Predictions, heldout: Labelled) -> float:
    """Return the accuracy, or the R2 averaged over outputs."""
    predictions = np.asarray(predictions)
    if heldout.schema.is_regression:
        residual = np.square(heldout.y - predictions).sum(0)
        return float((1 - residual / np.square(heldout.y - heldout.y.mean(0)).sum(0)).mean())
    return float((predictions.argmax(1) == heldout.y).mean())


@cache
def _source_only(make: Maker) -> float:
    """Return the floor of a task, the same for every strategy."""
    from isthmus.learners.neural import fit_learner

    task, heldout = make(0)
    if task.schema.kind != "table":
        return quality(_start(make).predict(heldout.x), heldout)
    return quality(fit_learner(None, task, Run()).predict(heldout.x), heldout)


@cache
def _start(make: Maker) -> Adapted:
    """Train a small network on the sources alone; the same for every strategy on this task."""
    from isthmus.learners.loop import Training
    from isthmus.learners.neural import FULL_BATCH, Neural, fit_learner

    task, _ = make(0)
    training = FULL_BATCH if task.schema.kind == "graph" else Training(steps=150)
    return fit_learner(Neural(training=training), task, Run())


def _watcher(gradients: dict[str, float]) -> Any:
    seen: Counter[tuple[str, ...]] = Counter()  # by kind of step: they may alternate

    def watch(net: Any, step: Any) -> None:
        weights = [p for p in net.encoder.parameters() if p.requires_grad]
        if step.only is not None:  # a step of the critic alone need not reach the encoder
            movable = {id(p) for p in step.only}
            weights = [p for p in weights if id(p) in movable]
            if not weights:
                return
        seen[kind := tuple(step.losses)] += 1
        if seen[kind] % WATCH_EVERY != 1:
            return
        for name, loss in step.losses.items():
            size = 0.0
            if loss.requires_grad and weights:
                grads = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
                size = sum(float(g.abs().sum()) for g in grads if g is not None)
            gradients[name] = max(gradients.get(name, 0.0), size)

    return watch


def _inputs(task: Task, heldout: Labelled) -> bytes:
    # A model to start from may hold anything; what it predicts is what a caller would notice.
    start = None if task.start is None else task.start.predict(heldout.x)
    return pickle.dumps((task.sources, task.target, task.support, heldout, start))


def _settings(strategy: Strategy) -> str:
    # Not repr(strategy): that leaves out what was set behind the dataclass's back.
    return repr(sorted(vars(strategy).items()))


def _randomness() -> tuple[object, ...]:
    return (
        random.getstate(),
        pickle.dumps(np.random.get_state()),
        torch.get_rng_state().numpy().tobytes(),
    )


@contextmanager
def _later_randomness() -> Iterator[None]:
    """Move the global random state on, and put it back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.random(), np.random.random(), torch.rand(1)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
