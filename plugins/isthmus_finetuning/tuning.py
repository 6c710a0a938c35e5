"""What fine-tuning methods share: where to start, and training on the labelled target rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

from isthmus import Adapted, Needs, Run, Task, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Objective, Supervised, Training, seeded, train
from isthmus.learners.network import Network, network_for

NEEDS = Needs(
    kinds=frozenset({"table", "image"}), sources="optional", support=True, start="or-sources"
)
FEW_ROWS = Training(steps=300, batch_size=32, lr=0.003, weight_decay=0.0, schedule="cosine")


def tune(
    task: Task,
    run: Run,
    network: Architecture | None,
    pretraining: Training,
    training: Training,
    objective: Callable[[Network], Objective],
) -> Adapted:
    """Train on ``task.support``, from ``task.start`` or from a network trained on the sources."""
    assert task.support is not None  # needs.support
    with seeded(run):
        if task.start is None:
            net = network_for(task, network)
            stage = "pretrain"
            train(net, Supervised(), task.source, task.target, run, pretraining, stage=stage)
            run = replace(run, log=_later(run, pretraining.steps))
        else:
            net = _network(task.start, task)
        done = train(net, objective(net), task.support, task.target, run, training, stage="tune")
    return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


def _later(run: Run, steps: int) -> Callable[[int, Mapping[str, float]], None]:
    """Count the steps of the second stage on from the first."""
    return lambda step, values: run.log(step + steps, values)


def _network(start: Adapted, task: Task) -> Network:
    part = getattr(start, "part", None)
    if not isinstance(part, Network):
        kind = type(part or start).__name__
        raise UnsupportedTask(f"fine-tuning starts from a neural network, got {kind}")
    if part.schema != task.schema:
        raise UnsupportedTask(
            f"the model to start from was made for {part.schema}, the target has {task.schema}"
        )
    return copy.deepcopy(part).requires_grad_(True)
