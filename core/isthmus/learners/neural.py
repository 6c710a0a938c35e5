"""Networks as learners, and the four lines that every deep strategy shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from isthmus import settings
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labelled, Labels, Schema, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.learner import Learner
from isthmus.learners.linear import Linear
from isthmus.learners.loop import Objective, Supervised, Training, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus.strategy import Run

# Kipf & Welling's optimiser with the settings that graph adaptation papers share (A2GNN, UDAGCN).
FULL_BATCH = Training(steps=200, optimiser="adam", lr=5e-3, weight_decay=5e-3, schedule="constant")


@dataclass(frozen=True, kw_only=True)
class Neural(Learner):
    """Any network by stochastic gradients; ``network=None`` takes the kind's default:
    MLP on tables, LeNet on small images (a pretrained backbone on larger ones), a CNN on series,
    GCN on graphs."""

    kinds: ClassVar[frozenset[str]] = frozenset({"table", "image", "series", "graph"})

    network: Architecture | None = None
    training: Training = Training()

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        source = Labelled(name="source", schema=schema, x=x, y=y)
        return self.fit_task(Task(target=source, sources=(source,)), weight, run)

    def fit_task(self, task: Task, weight: Any, run: Run) -> TorchAdapted:
        """Learn from the sources; the target only says what images look like when deployed."""
        return adapt_network(
            task, run, self.network, self.training, lambda net: Supervised(), weight=weight
        )


def by_network() -> dict[str, Callable[[], Neural]]:
    """Return a learner for each architecture by slug, with the usual training of its kind."""
    found = settings.choices(Architecture)  # type: ignore[type-abstract]
    return {slug: partial(_neural, make) for slug, make in found.items()}


def _neural(make: Callable[[], Architecture]) -> Neural:
    network = make()
    return Neural(network=network, training=usual(min(network.kinds)))


def fit_learner(learner: Learner | None, task: Task, run: Run, weight: Any = None) -> TorchAdapted:
    """Fit on the pooled sources; None takes Linear on tables and Neural on everything else."""
    if learner is None:
        kind = task.schema.kind
        learner = Linear() if kind == "table" else Neural(training=usual(kind))
    if isinstance(learner, Neural):
        return learner.fit_task(task, weight, run)
    source = task.source
    return learner.fit(source.x, source.y, weight, task.schema, run)


def adapt_network(
    task: Task,
    run: Run,
    network: Architecture | None,
    training: Training,
    objective: Callable[[Network], Objective],
    weight: Any = None,
    *,
    apart: bool = False,
) -> TorchAdapted:
    """Build a network for the task, train it on sources and target, and return it.

    ``apart``: a batch holds as many rows of each source, one source after the other, instead of
    rows of all sources pooled.
    """
    labelled = task.sources if apart else task.source
    with seeded(run):
        net = network_for(task, network)
        done = train(net, objective(net), labelled, task.target, run, training, weight=weight)
    return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


def usual(kind: str) -> Training:
    """Return the default training of a kind: full-batch epochs on graphs, else batches."""
    return FULL_BATCH if kind == "graph" else Training()
